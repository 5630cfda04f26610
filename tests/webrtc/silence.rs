//! Clients that say nothing: one that is gone or never comes is missed, one that is only quiet is not.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::server::Server;
use super::support::http_camera::{Answer, HttpCamera};
use super::{Client, OFFER, client, request, start, uploads_in};

/// Waits until a scenario says a word.
fn wait_for_word(scenario: &mut Child, word: &str) {
    let lines = BufReader::new(scenario.stdout.as_mut().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == word));
}

/// A killed client leaves no trace of its end: nothing says that its port is gone.
#[test]
fn a_client_that_vanishes_without_a_word_is_missed() {
    let server = Server::start(&[], &[("MILLRACE_WEBRTC_SILENCE_SECONDS", "4")]);
    let client = Client::new();
    let mut waiting = start(&server, "waiting", &[]);
    wait_for_word(&mut waiting, "running");
    assert_eq!(client.sessions(&server).len(), 1);
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    let killed = Instant::now();
    client.wait_until_none_is_left(&server, Duration::from_secs(9));
    let missed = killed.elapsed();
    assert!(missed > Duration::from_secs(2), "{missed:?}");
}

/// A client without tracks says nothing by itself while no results come.
#[test]
fn a_client_that_is_quiet_is_asked_and_stays() {
    let camera = HttpCamera::start(Answer::Mjpeg(30));
    let env = [
        ("MILLRACE_WEBRTC_SILENCE_SECONDS", "3"),
        ("WEBRTC_MJPEG_ALLOW_NON_GLOBAL_ADDRESSES", "true"),
    ];
    let server = Server::start(&[], &env);
    let mut quiet = start(&server, "quiet", &[&camera.url("http", "cam")]);
    wait_for_word(&mut quiet, "running");
    drop(camera);
    stays_until_it_is_killed(&server, quiet);
}

/// A client stays while it is quiet, for longer than the silence that is allowed; killed, it is
/// missed.
fn stays_until_it_is_killed(server: &Server, mut quiet: Child) {
    let client = Client::new();
    let until = Instant::now() + Duration::from_secs(9);
    while Instant::now() < until {
        assert_eq!(client.sessions(server).len(), 1, "{until:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    quiet.kill().unwrap();
    quiet.wait().unwrap();
    client.wait_until_none_is_left(server, Duration::from_secs(8));
}

/// Starts a client without a data channel, which cannot be asked.
fn start_without_channel(server: &Server, arguments: &[&str]) -> Child {
    let mut started = client::script("webrtc/tracks.py")
        .arg(server.url(""))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_word(&mut started, "running");
    started
}

/// It goes on reporting when no picture comes from it any more.
#[test]
fn a_client_that_only_sends_may_pause_and_is_missed_when_it_is_killed() {
    let server = Server::start(&[], &[("MILLRACE_WEBRTC_SILENCE_SECONDS", "4")]);
    let sender = start_without_channel(&server, &["pausing"]);
    stays_until_it_is_killed(&server, sender);
}

/// It goes on reporting when no picture comes to it any more.
#[test]
fn a_client_that_only_receives_may_wait_and_is_missed_when_it_is_killed() {
    let camera = HttpCamera::start(Answer::Mjpeg(30));
    let env = [
        ("MILLRACE_WEBRTC_SILENCE_SECONDS", "4"),
        ("WEBRTC_MJPEG_ALLOW_NON_GLOBAL_ADDRESSES", "true"),
    ];
    let server = Server::start(&[], &env);
    let viewer = start_without_channel(&server, &["viewing", &camera.url("http", "cam")]);
    drop(camera);
    stays_until_it_is_killed(&server, viewer);
}

#[test]
fn a_client_that_never_connects_is_waited_for_so_long_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(
        &[],
        &[
            ("MILLRACE_WEBRTC_CONNECT_SECONDS", "2"),
            (
                "MILLRACE_WEBRTC_UPLOAD_DIR",
                folder.path().to_str().unwrap(),
            ),
        ],
    );
    let client = Client::new();
    let begun = Instant::now();
    for _ in 0..2 {
        let (status, ..) = client.post(&server, "/initialise_webrtc_worker", &request(OFFER));
        assert_eq!(status, 200);
    }
    client.wait_until_none_is_left(&server, Duration::from_secs(5));
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(uploads_in(folder.path()), 0);
}
