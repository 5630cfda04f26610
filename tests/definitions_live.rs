//! A changed definition reaches the streams of a running process, and a broken one changes nothing.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// One request; status line and body.
fn request(port: u16, method: &str, path: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.lines().next()?.to_owned(), body.to_owned()))
}

fn freshness(port: u16) -> Option<Json> {
    serde_json::from_str(&request(port, "GET", "/freshness")?.1).ok()
}

/// Waits until the freshness of a process meets a condition; answers how long it took.
fn wait_for(port: u16, what: &str, limit: Duration, met: impl Fn(&Json) -> bool) -> Duration {
    let started = Instant::now();
    loop {
        let told = freshness(port);
        if told.as_ref().is_some_and(&met) {
            return started.elapsed();
        }
        assert!(
            started.elapsed() < limit,
            "{what} not within {limit:?}: {told:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Process {
    child: Child,
    port: u16,
    results: PathBuf,
}

/// Starts `run` on a definition file, with two streams of the same clip at its own speed.
fn start(definition: &Path, folder: &Path) -> Process {
    start_with(definition, folder, &[])
}

fn start_with(definition: &Path, folder: &Path, further: &[&str]) -> Process {
    let port = free_port();
    let clip = "fixtures/video/shapes_a_640x360_25fps.mp4";
    let child = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .current_dir(root())
        .arg("run")
        .arg(definition)
        .args([
            "--source",
            clip,
            "--video-id",
            "a",
            "--source",
            clip,
            "--video-id",
            "b",
            "--realtime",
        ])
        .args([
            "--models",
            "fixtures/models",
            "--http",
            &format!("127.0.0.1:{port}"),
        ])
        .arg("--output")
        .arg(folder)
        .args(further)
        .env("MODEL_CACHE_DIR", folder.join("cache"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let process = Process {
        child,
        port,
        results: folder.to_owned(),
    };
    wait_for(port, "the first results", Duration::from_secs(30), |told| {
        let streams = told["streams"].as_array().unwrap();
        streams.len() == 2 && streams.iter().all(|s| s["results"].as_i64() > Some(5))
    });
    process
}

impl Process {
    /// Waits for the end; the lines of a stream.
    fn finish(mut self) -> impl Fn(&str) -> Vec<Json> {
        let deadline = Instant::now() + Duration::from_secs(40);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the process does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
        let results = self.results.clone();
        move |stream| {
            let text = std::fs::read_to_string(results.join(format!("{stream}.jsonl"))).unwrap();
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
    }
}

fn definition(thickness: u32) -> String {
    let text =
        std::fs::read_to_string(root().join("pipelines/shapes-crossing-a-line.json")).unwrap();
    let mut json: Json = serde_json::from_str(&text).unwrap();
    json["steps"][3]["thickness"] = thickness.into();
    json.to_string()
}

fn swaps(told: &Json) -> Vec<i64> {
    told["streams"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|s| s["swaps"].as_i64())
        .collect()
}

#[test]
fn a_changed_file_reaches_running_streams_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("live.json");
    std::fs::write(&file, definition(2)).unwrap();
    let process = start(&file, folder.path());
    let mut slowest = Duration::ZERO;
    for k in 1..=5 {
        std::fs::write(&file, definition(2 + k)).unwrap();
        let took = wait_for(process.port, "the swap", Duration::from_secs(5), |told| {
            swaps(told) == [i64::from(k), i64::from(k)]
        });
        slowest = slowest.max(took);
        std::thread::sleep(Duration::from_millis(300));
    }
    println!("slowest of 5 changes reached both streams after {slowest:?}");
    let (_, metrics) = request(process.port, "GET", "/metrics").unwrap();
    assert!(
        metrics.contains("millrace_stream_swaps_total{stream=\"a\"} 5"),
        "{metrics}"
    );
    assert!(
        metrics.contains("millrace_stream_definition_info{stream=\"b\",definition=\""),
        "{metrics}"
    );
    let lines = process.finish();
    for stream in ["a", "b"] {
        let lines = lines(stream);
        let numbers: Vec<i64> = lines
            .iter()
            .filter_map(|l| l["frame_number"].as_i64())
            .collect();
        assert_eq!(
            numbers,
            (1..=300).collect::<Vec<_>>(),
            "every frame once, in order"
        );
        let mut hashes: Vec<&str> = lines
            .iter()
            .filter_map(|l| l["definition"]["hash"].as_str())
            .collect();
        hashes.dedup();
        assert_eq!(hashes.len(), 6, "{hashes:?}");
        assert_eq!(
            (
                &lines[299]["outputs"]["count_in"],
                &lines[299]["outputs"]["count_out"]
            ),
            (&3.into(), &4.into())
        );
    }
}

#[test]
fn broken_definitions_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("live.json");
    std::fs::write(&file, definition(2)).unwrap();
    let process = start(&file, folder.path());
    let sound: Json = serde_json::from_str(&definition(2)).unwrap();
    for k in 0..50 {
        let mut broken = sound.clone();
        match k % 5 {
            0 => broken["steps"][0]["type"] = "roboflow_core/no_such_block@v1".into(),
            1 => broken["steps"][0]["model_id"] = format!("no-such-model/{k}").into(),
            2 => broken["inputs"] = serde_json::json!([]),
            3 => broken["steps"][1]["detections"] = "$steps.nobody.predictions".into(),
            _ => broken["outputs"][0]["selector"] = "$steps.line.nothing".into(),
        }
        let text = if k == 7 {
            "{\"half\": ".to_owned()
        } else {
            broken.to_string()
        };
        std::fs::write(&file, text).unwrap();
        std::thread::sleep(Duration::from_millis(60));
    }
    wait_for(
        process.port,
        "the refusal",
        Duration::from_secs(5),
        |told| {
            !told["definitions"][0]["refused"].is_null()
                || !told["definitions"][0]["last_error"].is_null()
        },
    );
    assert_eq!(swaps(&freshness(process.port).unwrap()), [0, 0]);
    let (status, _) = request(process.port, "POST", "/definitions/refresh").unwrap();
    assert!(status.contains("200"), "{status}");
    let lines = process.finish();
    for stream in ["a", "b"] {
        let lines = lines(stream);
        assert_eq!(lines.len(), 300);
        assert!(
            lines.iter().all(|l| l["error"].is_null()
                && l["definition"]["hash"] == lines[0]["definition"]["hash"])
        );
        assert_eq!(lines[299]["outputs"]["count_out"], 4);
    }
}

/// Detections alone: nothing in it remembers, so a canary must agree to the letter.
fn detection(confidence: f64, thickness: u32) -> String {
    serde_json::json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": [
            {"type": "roboflow_core/roboflow_object_detection_model@v2", "name": "shapes", "images": "$inputs.image",
             "model_id": "shapes/1", "confidence": confidence},
            {"type": "roboflow_core/bounding_box_visualization@v1", "name": "boxes", "image": "$inputs.image",
             "predictions": "$steps.shapes.predictions", "thickness": thickness},
        ],
        "outputs": [
            {"type": "JsonField", "name": "shapes", "selector": "$steps.shapes.predictions"},
            {"type": "JsonField", "name": "picture", "selector": "$steps.boxes.image"},
        ],
    })
    .to_string()
}

#[test]
fn a_canary_lets_equal_outputs_pass_and_holds_others_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("live.json");
    std::fs::write(&file, detection(0.4, 2)).unwrap();
    let process = start_with(&file, folder.path(), &["--canary", "15"]);
    std::fs::write(&file, detection(0.4, 4)).unwrap();
    wait_for(
        process.port,
        "the swap after an equal canary",
        Duration::from_secs(8),
        |told| swaps(told) == [1, 1],
    );
    std::fs::write(&file, detection(0.97, 4)).unwrap();
    wait_for(
        process.port,
        "the refusal after another canary",
        Duration::from_secs(8),
        |told| {
            let refused = told["definitions"][0]["refused"].to_string();
            refused.contains("canary was not equal") && refused.contains("shapes differs")
        },
    );
    assert_eq!(swaps(&freshness(process.port).unwrap()), [1, 1]);
    let lines = process.finish();
    assert_eq!(lines("a").len(), 300);
}
