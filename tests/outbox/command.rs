//! `millrace outbox` and the outbox of `millrace run`, as their users see them.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use millrace::delivery::outbox::OutboxSettings;
use millrace::delivery::{Dispatcher, RetryPolicy, Settings};
use serde_json::Value as Json;

use super::event;
use super::receiver::{Receiver, Reply};

fn millrace(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millrace"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .env_remove("MILLRACE_OUTBOX")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn outbox(folder: &Path, arguments: &[&str]) -> Output {
    let mut all = vec!["outbox"];
    all.extend(arguments);
    all.extend(["--outbox", folder.to_str().unwrap()]);
    millrace(&all)
}

fn listed(folder: &Path, arguments: &[&str]) -> Json {
    let mut all = vec!["list", "--json"];
    all.extend(arguments);
    serde_json::from_str(&stdout(&outbox(folder, &all))).unwrap()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn events_of_a_running_process_are_listed_dropped_and_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = [Reply::status(404), Reply::status(404), Reply::status(503)];
    let receiver = Receiver::start(wrong.to_vec(), Reply::status(200));
    let patient = Settings {
        retry: RetryPolicy {
            first: Duration::from_secs(3600),
            longest: Duration::from_secs(3600),
            ..RetryPolicy::default()
        },
        ..Settings::default()
    };
    let dispatcher = Dispatcher::with_outbox(patient, OutboxSettings::new(folder.path()));
    let url = receiver.url("/events?key=s3cret");
    for body in ["first", "second", "third", "fourth", "fifth"] {
        dispatcher.post(event(&url, "camera", body)).unwrap();
    }
    // Two are not wanted, the third waits for an hour, with the rest of its stream behind it.
    until("the outbox is written", || {
        let all = listed(folder.path(), &[]);
        all["dead"] == 2 && all["queued"] == 3 && all["events"][2]["attempts"] == 1
    });
    let all = listed(folder.path(), &[]);
    assert_eq!(all["live"], true);
    let first = &all["events"][0];
    assert_eq!(
        (&first["state"], &first["stream"]),
        (&"dead".into(), &"camera".into())
    );
    assert!(first["last_error"].as_str().unwrap().contains("404"));
    let id = |n: usize| all["events"][n]["id"].to_string();

    let table = stdout(&outbox(folder.path(), &["list"]));
    assert!(
        table.contains("3 queued, 2 given up") && table.contains("a process delivers"),
        "{table}"
    );
    let shown = stdout(&outbox(folder.path(), &["show", &id(0)]));
    assert!(
        shown.contains("key=***") && shown.contains("\nfirst\n"),
        "{shown}"
    );
    let exported = stdout(&outbox(folder.path(), &["export", "--dead", "--secrets"]));
    let lines: Vec<Json> = exported
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!((lines.len(), &lines[1]["body"]), (2, &"second".into()));
    assert_eq!(lines[0]["url"], url);
    assert!(!stdout(&outbox(folder.path(), &["export"])).contains("s3cret"));

    assert!(
        stdout(&outbox(folder.path(), &["drop", &id(1), &id(3)])).contains("2 events taken away")
    );
    assert!(
        stdout(&outbox(folder.path(), &["retry", &id(0), &id(2)])).contains("2 events sent again")
    );
    until("the process follows", || receiver.received().len() >= 6);
    let mut bodies: Vec<String> = receiver.received()[3..]
        .iter()
        .map(|r| r.text().to_owned())
        .collect();
    bodies.sort();
    assert_eq!(bodies, ["fifth", "first", "third"]);
    let counts = dispatcher.close(Duration::from_secs(10));
    assert_eq!(counts.waiting, 0);
    drop(dispatcher);
    let all = listed(folder.path(), &[]);
    assert_eq!(
        (&all["live"], &all["queued"], &all["dead"]),
        (&false.into(), &0.into(), &0.into())
    );
    assert_eq!(all["delivered_total"], 3);
}

#[test]
fn changes_need_to_be_told_which_events_and_a_missing_outbox_is_said() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(outbox(folder.path(), &["drop"]).status.code(), Some(2));
    let missing = outbox(folder.path(), &["list"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("there is no outbox in"));
    super::dispatcher(folder.path()).resume().unwrap();
    assert_eq!(outbox(folder.path(), &["show", "7"]).status.code(), Some(1));
    assert_eq!(
        outbox(folder.path(), &["retry", "--all"]).status.code(),
        Some(1)
    );
}

#[test]
fn a_receiver_can_be_tested() {
    let receiver = Receiver::start(
        vec![Reply::status(200), Reply::status(503)],
        Reply::status(404),
    );
    let url = receiver.url("/hook");
    let good = millrace(&["outbox", "test", &url]);
    assert!(stdout(&good).contains("200 OK"));
    let sent: Json = serde_json::from_str(receiver.received()[0].text()).unwrap();
    assert_eq!(sent["event"], "test");
    let busy = millrace(&["outbox", "test", &url, "--json", "--body", "x"]);
    assert_eq!(busy.status.code(), Some(1));
    let busy: Json = serde_json::from_slice(&busy.stdout).unwrap();
    assert_eq!(
        (&busy["delivered"], &busy["retried"]),
        (&false.into(), &true.into())
    );
    assert_eq!(
        millrace(&["outbox", "test", "nowhere"]).status.code(),
        Some(2)
    );
}

#[test]
fn a_run_whose_receiver_is_down_leaves_its_events_for_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("outbox");
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{address}/events");
    let run = || {
        millrace(&[
            "run",
            "pipelines/shapes-crossing-a-line.json",
            "--models",
            "fixtures/models",
            "--source",
            "videotestsrc://?size=320x240&fps=25&frames=20",
            "--video-id",
            "camera",
            "--webhook",
            &url,
            "--outbox",
            state.to_str().unwrap(),
        ])
    };
    let first = stdout(&run());
    assert!(
        first.contains("20 waiting") && first.contains("with the next start"),
        "{first}"
    );
    let events = listed(&state, &["--receiver", &format!("http://{address}")]);
    assert_eq!(events["queued"], 20);

    let busy = super::dispatcher(&state);
    busy.resume().unwrap();
    let refused = run();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("in use by process"));
    busy.close(Duration::ZERO);
    drop(busy);

    let receiver = Receiver::start_at(address, Vec::new(), Reply::status(200));
    assert!(stdout(&run()).contains("40 delivered"));
    let received = receiver.received();
    let results: Vec<Json> = received
        .iter()
        .map(|r| serde_json::from_str(r.text()).unwrap())
        .collect();
    let numbers: Vec<i64> = results
        .iter()
        .map(|r| r["frame_number"].as_i64().unwrap())
        .collect();
    let twice: Vec<i64> = (1..=20).chain(1..=20).collect();
    assert_eq!(numbers, twice, "those of the first run first");
    for (request, result) in received.iter().zip(&results) {
        let hash = result["definition"]["hash"].as_str().unwrap();
        let header = request.header("x-millrace-definition");
        assert!(header.starts_with(&format!("hash={hash}")), "{header}");
    }
}
