//! `millrace run` as its users see it: a process, a real camera, a real receiver of events.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "support/clips.rs"]
mod clips;
#[allow(dead_code)]
#[path = "support/receiver.rs"]
mod receiver;
#[allow(dead_code)]
#[path = "support/rtsp_server.rs"]
mod rtsp_server;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use millrace::sources::{Event, Source, SourceSpec};
use millrace::values::Timestamp;
use receiver::{Receiver, Reply};
use rtsp_server::{CameraClip, RtspServer, Setup};
use serde_json::Value as Json;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn millrace(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command
        .current_dir(root())
        .args(args)
        .args(["--models", "fixtures/models"]);
    // An outbox of its own for each: what one leaves behind is not for the next.
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let state = format!("state-{}-{count}", std::process::id());
    command
        .env(
            "XDG_STATE_HOME",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(state),
        )
        .env_remove("MILLRACE_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn lines(path: &Path) -> Vec<Json> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn interrupt(child: &Child) {
    let done = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(done.success());
}

/// Waits for a process, at most `limit`.
fn wait(mut child: Child, limit: Duration) -> Output {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            child
                .stdout
                .take()
                .unwrap()
                .read_to_end(&mut stdout)
                .unwrap();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_end(&mut stderr)
                .unwrap();
            return Output {
                status,
                stdout,
                stderr,
            };
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("still running after {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_clip_gives_a_line_and_a_filmed_frame_per_frame() {
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("film/annotated.mp4");
    let output = millrace(&["run", "pipelines/shapes-crossing-a-line.json"])
        .args([
            "--source",
            "fixtures/video/shapes_a_640x360_25fps.mp4",
            "--param",
            "line=[[320,0],[320,360]]",
        ])
        .arg("--output")
        .arg(folder.path())
        .arg("--video")
        .arg(&film)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let lines = lines(&folder.path().join("results.jsonl"));
    assert_eq!(lines.len(), 300);
    for (i, line) in lines.iter().enumerate() {
        assert_eq!(line["frame_number"], i as i64 + 1);
        let time = |name: &str| Timestamp::parse(line[name].as_str().unwrap()).unwrap();
        let took = time("finished_at").unix_seconds() - time("arrived_at").unix_seconds();
        let latency = line["latency_ms"].as_f64().unwrap();
        assert!((took * 1e3 - latency).abs() < 0.1, "{line}");
        assert_eq!(line["definition"]["hash"].as_str().map(str::len), Some(12));
        assert!(
            line["outputs"]["picture"].is_null(),
            "pictures are left out unless asked for"
        );
    }
    assert_eq!(
        (
            &lines[299]["outputs"]["count_in"],
            &lines[299]["outputs"]["count_out"]
        ),
        (&3.into(), &4.into())
    );
    assert_eq!(lines[299]["models"][0]["id"], "shapes/1");
    let source = Source::open(SourceSpec::new(film.to_str().unwrap().parse().unwrap())).unwrap();
    let mut filmed = 0;
    loop {
        match source.next(Duration::from_secs(10)).unwrap() {
            Some(Event::Frame(frame)) => {
                filmed += 1;
                assert_eq!(frame.video.fps, Some(25.0));
            }
            Some(Event::Ended(_)) => break,
            Some(_) => {}
            None => panic!("the film does not go on"),
        }
    }
    assert_eq!(filmed, 300);
}

/// The second demo of `make run`: many blocks with memory in one definition, all of one mind.
#[test]
fn counts_zones_speeds_and_dwell_times_come_from_one_definition() {
    let folder = tempfile::tempdir().unwrap();
    let output = millrace(&["run", "pipelines/flow-and-dwell-time.json"])
        .args(["--source", "fixtures/video/pedestrians_640x480_10fps.mp4"])
        .arg("--output")
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let lines = lines(&folder.path().join("results.jsonl"));
    assert_eq!(lines.len(), 400);
    let (mut seen, mut longest, mut busy) = (std::collections::BTreeSet::new(), 0.0f64, 0);
    for line in &lines {
        let outputs = &line["outputs"];
        let times = outputs["dwell_times"].as_array().unwrap();
        let present = outputs["present"].as_i64().unwrap();
        assert_eq!(times.len() as i64, present);
        let mood = if present >= 3 { "busy" } else { "calm" };
        assert_eq!(outputs["mood"], mood);
        busy += i32::from(present >= 3);
        let people = outputs["people"]["predictions"].as_array().unwrap();
        for person in people {
            seen.insert(person["tracker_id"].as_i64().unwrap());
            assert!(person["speed"].as_f64().unwrap() >= 0.0);
        }
        let times = times.iter().map(|t| t.as_f64().unwrap());
        longest = times.fold(longest, f64::max);
        let headline = outputs["headline"].as_str().unwrap();
        let counts = format!("in {}  out {}", outputs["count_in"], outputs["count_out"]);
        assert!(headline.starts_with(&counts), "{headline}");
    }
    let last = &lines[399]["outputs"];
    assert_eq!(
        (&last["count_in"], &last["count_out"]),
        (&4.into(), &7.into())
    );
    let visits = last["visits"].as_i64().unwrap();
    assert!(
        (1..=seen.len() as i64).contains(&visits),
        "{visits} of {}",
        seen.len()
    );
    // Nobody stays longer than the clip of 40 s, somebody a good part of it; the zone is not always full.
    assert!((5.0..=40.0).contains(&longest), "{longest} s");
    assert!((20..380).contains(&busy), "{busy} busy frames");
}

#[test]
fn two_sources_keep_their_results_and_counts_apart() {
    let folder = tempfile::tempdir().unwrap();
    let clip = "fixtures/video/shapes_a_640x360_25fps.mp4";
    let output = millrace(&[
        "run",
        "pipelines/shapes-crossing-a-line.json",
        "--source",
        clip,
        "--video-id",
        "left",
    ])
    .args([
        "--source",
        clip,
        "--video-id",
        "right/../x",
        "--source",
        "fixtures/video/none.mp4",
        "--video-id",
        "none",
    ])
    .arg("--output")
    .arg(folder.path())
    .output()
    .unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "one source failed: {}",
        text(&output)
    );
    assert!(text(&output).contains("none.mp4"), "{}", text(&output));
    for name in ["left.jsonl", "right_.._x.jsonl"] {
        let lines = lines(&folder.path().join(name));
        assert_eq!(lines.len(), 300, "{name}");
        assert_eq!(lines[299]["outputs"]["count_out"], 4, "{name}");
    }
}

#[test]
fn a_camera_feeds_a_receiver_goes_away_and_comes_back() {
    let mut camera = RtspServer::start(
        CameraClip::shapes(),
        Setup {
            login: Some(("ada".into(), "s3cret".into())),
            ..Setup::default()
        },
    );
    // The receiver is busy for the first attempts: those events are delivered later, in order.
    let receiver = Receiver::start(
        vec![Reply::status(500), Reply::status(503)],
        Reply::status(200),
    );
    let folder = tempfile::tempdir().unwrap();
    let url = camera.url_with("ada", "s3cret");
    let child = millrace(&[
        "run",
        "pipelines/shapes-crossing-a-line.json",
        "--source",
        &url,
        "--video-id",
        "yard",
    ])
    .args(["--webhook", &receiver.url("/events?token=hush")])
    .arg("--output")
    .arg(folder.path())
    .spawn()
    .unwrap();
    let before = receiver.wait_for(40);
    camera.stop();
    std::thread::sleep(Duration::from_millis(700));
    let silent_since = receiver.received().len();
    camera.restart();
    receiver.wait_for(silent_since + 40);
    interrupt(&child);
    let output = wait(child, Duration::from_secs(20));
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        !said.contains("s3cret") && !said.contains("hush"),
        "secrets shown: {said}"
    );
    assert!(said.contains("reconnects 1"), "{said}");
    assert!(!said.contains('\x1b'), "colours in a pipe: {said}");
    // One warning of the loss: which stream, which camera, why, and what follows.
    let warned: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("WARN") && line.contains("rtsp://"))
        .collect();
    let [lost] = warned[..] else {
        panic!("{warned:#?}");
    };
    let next = "; it is tried again until it is back, at once when its port answers, else at least every 30 s";
    let shown = url.replace("ada:s3cret@", "***@");
    for word in ["stream=yard", &*shown, " lost (", next] {
        assert!(lost.contains(word), "no `{word}` in {lost}");
    }

    let mut numbers = Vec::new();
    let mut stamps = Vec::new();
    let mut keys = std::collections::HashSet::new();
    for request in receiver.received() {
        let body: Json = serde_json::from_str(request.text()).unwrap();
        assert_eq!(body["stream"], "yard");
        assert!(body["outputs"]["count_in"].is_i64(), "{body}");
        if keys.insert(request.header("idempotency-key").to_owned()) {
            numbers.push(body["frame_number"].as_i64().unwrap());
            stamps.push(
                Timestamp::parse(body["frame_timestamp"].as_str().unwrap())
                    .unwrap()
                    .unix_seconds(),
            );
        }
    }
    assert!(before.len() >= 40);
    assert!(
        numbers.windows(2).all(|w| w[0] < w[1]),
        "numbers do not grow: {numbers:?}"
    );
    assert!(stamps.windows(2).all(|w| w[0] < w[1]), "times do not grow");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let off = now - stamps.last().unwrap();
    assert!((0.0..20.0).contains(&off), "the last frame is {off} s old");
    let lines = lines(&folder.path().join("results.jsonl"));
    assert_eq!(lines.len(), numbers.len(), "as many lines as events");
}

#[test]
fn a_dead_receiver_stalls_no_stream() {
    let receiver = Receiver::start(Vec::new(), Reply::never());
    let folder = tempfile::tempdir().unwrap();
    let child = millrace(&[
        "run",
        "pipelines/read-qr-codes.json",
        "--source",
        "videotestsrc://?size=320x240&fps=30&frames=100",
    ])
    .args(["--webhook", &receiver.url("/events"), "--no-outbox"])
    .arg("--output")
    .arg(folder.path())
    .spawn()
    .unwrap();
    let started = Instant::now();
    let path = folder.path().join("results.jsonl");
    while !path.exists() || std::fs::read_to_string(&path).unwrap().lines().count() < 50 {
        assert!(
            started.elapsed() < Duration::from_secs(15),
            "results wait for the receiver"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = wait(child, Duration::from_secs(40));
    assert_eq!(
        output.status.code(),
        Some(1),
        "events were lost, and that is said: {}",
        text(&output)
    );
}
