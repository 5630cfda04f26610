//! A source is closed within two seconds, whatever it is doing, and leaves no thread behind.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use millrace::sources::{Condition, Source};
use socket2::{Domain, SockAddr, Socket, Type};

use super::support::awake::awake;
use super::support::fake_camera::FakeCamera;
use super::support::http_camera::{Answer, HttpCamera};
use super::{SOON, next_frame, spec};

/// A port that drops what it gets: its queue of connections is full and nobody takes them.
struct BlackHole {
    port: u16,
    _sockets: Vec<Socket>,
}

impl BlackHole {
    fn dig() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
        socket.bind(&SockAddr::from(any)).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap();
        let port = address.as_socket().unwrap().port();
        let mut sockets = vec![socket];
        for _ in 0..4 {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&address);
            sockets.push(filler);
        }
        std::thread::sleep(Duration::from_millis(50));
        Self {
            port,
            _sockets: sockets,
        }
    }
}

fn open(name: &str, uri: &str) -> Source {
    let mut spec = spec(uri);
    spec.video_identifier = Some(name.into());
    spec.check_certificate = false;
    Source::open(spec).unwrap()
}

/// Whether the supervisor of a source still runs.
fn supervised(name: &str) -> bool {
    let wanted = format!("source:{name}");
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .any(|comm| comm.trim() == wanted)
}

fn stops(source: Source, doing: &str) {
    let name = source.video_identifier().clone();
    assert!(supervised(&name), "{doing}");
    let begun = awake();
    source.close();
    let took = awake() - begun;
    assert!(took < Duration::from_secs(2), "{doing}: {took:?}");
    assert_eq!(source.stats().condition(), Condition::Closed);
    while supervised(&name) {
        let passed = awake() - begun;
        assert!(passed < Duration::from_secs(2), "{doing}: a thread is left");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn while_nobody_answers() {
    let hole = BlackHole::dig();
    let place = format!("127.0.0.1:{}", hole.port);
    let rtsp = open("hole1", &format!("rtsp://{place}/x"));
    let http = open("hole2", &format!("http://{place}/x.mp4"));
    let srt = open("hole3", &format!("srt://{place}"));
    let udp = open("hole4", "udp://127.0.0.1:0");
    std::thread::sleep(Duration::from_millis(400));
    stops(rtsp, "connecting over TCP");
    stops(http, "connecting for HTTP");
    stops(srt, "connecting over SRT");
    stops(udp, "waiting for packets");
}

#[test]
fn in_the_middle_of_a_tls_handshake() {
    let dumb = HttpCamera::start(Answer::Silence);
    let rtsps = open("tls1", &dumb.url("rtsps", "x"));
    let https = open("tls2", &dumb.url("https", "x.mp4"));
    std::thread::sleep(Duration::from_millis(400));
    stops(rtsps, "TLS of rtsps");
    stops(https, "TLS of https");
}

#[test]
fn while_the_camera_is_silent() {
    let mut camera = FakeCamera::start("main", "");
    let stalled = open("still1", &camera.url());
    next_frame(&stalled);
    camera.order("stall on");
    let joining = open("still2", &camera.url());
    std::thread::sleep(Duration::from_millis(700));
    stops(stalled, "stalled");
    stops(joining, "waiting for the first frame");
    camera.order("freeze on");
    let frozen = open("still3", &camera.url());
    std::thread::sleep(Duration::from_millis(300));
    stops(frozen, "waiting for an answer");
}

#[test]
fn during_the_wait_between_attempts() {
    let closed = {
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        port.local_addr().unwrap()
    };
    let source = open("wait1", &format!("rtsp://{closed}/x"));
    let named = open("wait2", "rtsp://no-such-host.invalid/x");
    let deadline = Instant::now() + SOON;
    while source.stats().failed_attempts < 3 {
        assert!(Instant::now() < deadline, "{:?}", source.stats());
        std::thread::sleep(Duration::from_millis(20));
    }
    stops(source, "waiting");
    stops(named, "resolving a name");
}
