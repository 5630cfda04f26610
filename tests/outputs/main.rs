//! Outputs of streams as their users meet them: the real binary, a file of streams, a browser's way of
//! reading a preview, a player of RTSP, `millrace streams`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod command;
mod films;
#[allow(dead_code)]
#[path = "../support/receiver.rs"]
mod receiver;
#[path = "../support/server.rs"]
mod server;
mod viewers;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use millrace::sources::{Event, Source, SourceSpec, SourceUri};
use millrace::values::Matrix;
use millrace::values::codec::decode_image;
use receiver::Receiver;
use serde_json::{Value as Json, json};
use server::Server;

const CLIP: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/fixtures/video/shapes_a_640x360_25fps.mp4"
);
const CAMERA: &str = "videotestsrc://?size=320x240&fps=20&live=true";
const SOON: Duration = Duration::from_secs(20);

/// Shows the frame.
fn definition() -> Json {
    json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": [],
        "outputs": [{"type": "JsonField", "name": "picture", "selector": "$inputs.image"}],
    })
}

#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A server with streams of a file.
struct Streams {
    server: Server,
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Streams {
    fn start(streams: &Json, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("streams.json");
        std::fs::write(&file, json!({"streams": streams}).to_string()).unwrap();
        let outbox = folder.path().join("outbox");
        let mut all = vec!["--streams", file.to_str().unwrap(), "--outbox"];
        all.push(outbox.to_str().unwrap());
        all.extend_from_slice(args);
        let server = Server::start(&all, &[]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            server,
            folder,
            runtime,
        }
    }

    fn write(&self, streams: &Json) {
        let file = self.folder.path().join("streams.json");
        let new = file.with_extension("new");
        std::fs::write(&new, json!({"streams": streams}).to_string()).unwrap();
        std::fs::rename(&new, &file).unwrap();
    }

    fn ask(&self, path: &str) -> reqwest::Response {
        let request = reqwest::Client::new().get(self.server.url(path));
        self.runtime
            .block_on(async { request.timeout(SOON).send().await })
            .unwrap()
    }

    fn row(&self, id: &str) -> Json {
        let answer = self.ask(&format!("/streams/{id}"));
        self.runtime.block_on(answer.json()).unwrap()
    }

    fn results(&self, id: &str) -> u64 {
        self.row(id)["figures"]["results"].as_u64().unwrap_or(0)
    }

    fn status(&self, path: &str) -> (u16, String) {
        let answer = self.ask(path);
        let status = answer.status().as_u16();
        (status, self.runtime.block_on(answer.text()).unwrap())
    }

    fn picture(&self, path: &str) -> Matrix {
        let answer = self.ask(path);
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "image/jpeg");
        let bytes = self.runtime.block_on(answer.bytes()).unwrap();
        decode_image(&bytes, 1_000_000).unwrap()
    }
}

fn frames_of(path: &Path) -> usize {
    let source = Source::open(SourceSpec::new(SourceUri::File(path.to_owned()))).unwrap();
    let mut frames = 0;
    loop {
        match source.next(SOON).unwrap() {
            Some(Event::Frame(_)) => frames += 1,
            Some(Event::Ended(_)) => return frames,
            Some(_) => {}
            None => panic!("{} does not go on", path.display()),
        }
    }
}

fn films(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut films: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "mp4"))
        .collect();
    films.sort();
    films
}

fn text(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr];
    parts.map(|part| String::from_utf8_lossy(part)).concat()
}

/// `millrace streams` against a server.
fn command(address: &str, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["streams", "--server", address])
        .args(args)
        .env_remove("ROBOFLOW_API_KEY")
        .output()
        .unwrap();
    (output.status.code(), text(&output).trim().to_owned())
}
