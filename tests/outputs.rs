//! Outputs of streams as their users meet them: the real binary, a file of streams, a browser's way of
//! reading a preview, a player of RTSP, `millrace streams`.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "support/receiver.rs"]
mod receiver;
#[path = "support/server.rs"]
mod server;

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

/// Reads the parts of a preview as a browser does: numbers of frames and pictures.
async fn parts(mut answer: reqwest::Response, count: usize) -> Vec<(i64, Matrix)> {
    let kind = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let boundary = kind
        .strip_prefix("multipart/x-mixed-replace; boundary=")
        .unwrap();
    let mut bytes = Vec::new();
    let mut parts = Vec::new();
    while parts.len() < count {
        bytes.extend_from_slice(&answer.chunk().await.unwrap().expect("the preview goes on"));
        while let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let head = head.trim_start();
            assert!(
                head.starts_with(&format!("--{boundary}\r\nContent-Type: image/jpeg")),
                "{head}"
            );
            let value = |name: &str| -> usize {
                let line = head.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_else(|| panic!("{name}: {head}"))
                    .trim()
                    .parse()
                    .unwrap()
            };
            let length = value("Content-Length:");
            if bytes.len() < end + 4 + length + 2 {
                break;
            }
            let picture = decode_image(&bytes[end + 4..end + 4 + length], 1_000_000).unwrap();
            parts.push((value("x-millrace-frame:") as i64, picture));
            bytes.drain(..end + 4 + length + 2);
        }
    }
    parts
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

#[test]
fn a_run_cuts_its_film_and_keeps_what_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("show.json");
    std::fs::write(&file, definition().to_string()).unwrap();
    let run = |film: &str, more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_millrace"))
            .args(["run", file.to_str().unwrap(), "--source", CLIP, "--video"])
            .arg(folder.path().join(film))
            .args(["--video-segment", "5s", "--no-outbox"])
            .args(more)
            .output()
            .unwrap()
    };
    let output = run("all/film.mp4", &[]);
    assert!(output.status.success(), "{}", text(&output));
    let all = films(&folder.path().join("all"));
    let frames: Vec<usize> = all.iter().map(|path| frames_of(path)).collect();
    assert_eq!(frames, [125, 125, 50]);
    for path in &all {
        assert!(
            text(&output).contains(path.to_str().unwrap()),
            "{}",
            text(&output)
        );
    }
    let output = run("some/film.mp4", &["--video-keep", "2"]);
    assert!(output.status.success(), "{}", text(&output));
    let some = films(&folder.path().join("some"));
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap()[..11].to_owned();
    let names: Vec<String> = some.iter().map(name).collect();
    assert_eq!(names, ["film-000002", "film-000003"]);
}

#[test]
fn a_declared_stream_feeds_receivers_and_viewers() {
    let receiver = Receiver::ok();
    let gate = |outputs: Json| json!({"gate": {"source": CAMERA, "definition": definition(), "outputs": outputs}});
    let streams = Streams::start(
        &gate(json!({"webhook": receiver.url("/events?token=hush")})),
        &["--rtsp-listen", "127.0.0.1:0"],
    );
    // Events come in order, each once, and say where they are from.
    let events = receiver.wait_for(10);
    let bodies: Vec<Json> = events
        .iter()
        .map(|e| serde_json::from_str(e.text()).unwrap())
        .collect();
    assert!(bodies.iter().all(|body| body["stream"] == "gate"));
    let numbers: Vec<i64> = bodies
        .iter()
        .map(|b| b["frame_number"].as_i64().unwrap())
        .collect();
    assert!(numbers.windows(2).all(|w| w[0] < w[1]), "{numbers:?}");
    let row = streams.row("gate");
    assert_eq!(
        row["outputs"]["preview"],
        json!({"viewers": 0, "encoded": 0})
    );
    assert!(!row.to_string().contains("hush"), "{row}");

    // The newest picture.
    assert_eq!(
        streams.picture("/streams/gate/picture.jpg").size(),
        [320, 240]
    );
    let small = streams.picture("/streams/gate/picture.jpg?width=160&quality=50&output=picture");
    assert_eq!(small.size(), [160, 120]);
    for (path, status, word) in [
        ("/streams/yard/picture.jpg", 404, "there is no stream yard"),
        (
            "/streams/gate/picture.jpg?output=x",
            404,
            "pictures: picture",
        ),
        ("/streams/gate/preview?source=x", 404, "its sources: gate"),
        ("/streams/gate/preview?fps=x", 400, "fps"),
        ("/streams/gate/picture.jpg?quality=0", 400, "quality"),
    ] {
        let (code, told) = streams.status(path);
        assert!(
            code == status && told.contains(word),
            "{path}: {code} {told}"
        );
    }

    // Two who look share the pictures; one who asks for fewer gets fewer.
    let before = streams.row("gate")["outputs"]["preview"]["encoded"]
        .as_u64()
        .unwrap();
    let seen: Vec<Vec<(i64, Matrix)>> = streams.runtime.block_on(async {
        let look = |query: &str, count| {
            let url = streams.server.url(&format!("/streams/gate/preview{query}"));
            async move { parts(reqwest::get(url).await.unwrap(), count).await }
        };
        let (a, b, c) = tokio::join!(
            look("?fps=120", 20),
            look("?fps=120", 20),
            look("?fps=4&width=80", 4)
        );
        vec![a, b, c]
    });
    for viewer in &seen {
        assert!(
            viewer.windows(2).all(|w| w[0].0 < w[1].0),
            "one picture twice"
        );
    }
    assert!(
        seen[0]
            .iter()
            .all(|(_, picture)| picture.size() == [320, 240])
    );
    assert!(
        seen[2]
            .iter()
            .all(|(_, picture)| picture.size() == [80, 60])
    );
    let rare = seen[2].last().unwrap().0 - seen[2][0].0;
    assert!(
        rare >= 9,
        "three quarters of a second at 20 a second: {rare} frames"
    );
    let encoded = streams.row("gate")["outputs"]["preview"]["encoded"]
        .as_u64()
        .unwrap()
        - before;
    assert!(encoded < 20 + 20 + 4, "{encoded} encodings for 44 pictures");
    until("nobody looks", || {
        (streams.row("gate")["outputs"]["preview"]["viewers"] == 0).then_some(())
    });
    let rest = streams.row("gate")["outputs"]["preview"]["encoded"].clone();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(streams.row("gate")["outputs"]["preview"]["encoded"], rest);

    // The same over RTSP.
    let url = streams.row("gate")["outputs"]["rtsp"][0]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(url.ends_with("/gate"), "{url}");
    let source = Source::open(SourceSpec::new(url.parse().unwrap())).unwrap();
    let frame = until("a picture over RTSP", || match source.next(SOON).unwrap() {
        Some(Event::Frame(frame)) => Some(frame),
        _ => None,
    });
    assert_eq!((frame.image.width(), frame.image.height()), (320, 240));
    drop(source);

    // Other outputs, the same stream: events stop, films begin.
    let so_far = streams.results("gate");
    streams.write(&gate(
        json!({"video": {"path": "films/gate.mp4", "segment": "1s", "keep": 2}}),
    ));
    let films_folder = streams.folder.path().join("films");
    until("films", || {
        let third = |path: &PathBuf| path.to_str().unwrap().contains("gate-000003-");
        films(&films_folder).iter().any(third).then_some(())
    });
    assert!(streams.results("gate") > so_far, "the stream began anew");
    assert_eq!(films(&films_folder).len(), 2);
    let events = receiver.received().len();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(receiver.received().len(), events);
}

#[test]
fn a_page_shows_the_streams_and_a_preview_ends_with_its_server() {
    let streams = json!({
        "gate": {"source": CAMERA, "definition": definition()},
        "dark": {"source": CAMERA, "definition": definition(), "outputs": {"preview": false}},
    });
    let mut streams = Streams::start(&streams, &[]);
    let request = reqwest::Client::new()
        .get(streams.server.url("/streams"))
        .header("accept", "text/html,application/xhtml+xml");
    let page = streams
        .runtime
        .block_on(async { request.send().await.unwrap().text().await });
    assert!(page.unwrap().contains("<title>millrace: streams</title>"));
    let list = streams.status("/streams").1;
    let list: Json = serde_json::from_str(&list).unwrap();
    let ids: Vec<&str> = list["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["dark", "gate"]);
    assert_eq!(streams.status("/streams/dark/picture.jpg").0, 403);
    let url = streams.server.url("/streams/gate/preview");
    let mut looking = streams.runtime.block_on(reqwest::get(url)).unwrap();
    streams.runtime.block_on(looking.chunk()).unwrap().unwrap();
    let began = Instant::now();
    assert_eq!(streams.server.terminate(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn who_lacks_the_token_sees_nothing() {
    let gate = json!({"gate": {"source": CAMERA, "definition": definition()}});
    let streams = Streams::start(&gate, &["--token", "open sesame"]);
    for path in [
        "/streams",
        "/streams/gate/picture.jpg",
        "/streams/gate/preview",
    ] {
        assert_eq!(streams.status(path).0, 401, "{path}");
    }
    let page = |user: &str, password: &str, origin: Option<&str>| {
        let request = reqwest::Client::new()
            .get(streams.server.url("/streams/gate/picture.jpg"))
            .basic_auth(user, Some(password));
        let request = match origin {
            Some(origin) => request.header("origin", origin),
            None => request,
        };
        let answer = streams
            .runtime
            .block_on(async { request.send().await.unwrap() });
        answer.status().as_u16()
    };
    assert_eq!(
        page("", "open sesame", None),
        200,
        "browsers ask for a password"
    );
    assert_eq!(page("", "wrong", None), 401);
    assert_eq!(page("", "open sesame", Some("http://evil.example")), 401);
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

#[test]
fn the_command_line_starts_follows_and_ends_streams() {
    let server = Server::start(&["--no-outbox"], &[]);
    let at = server.url("");
    let streams = |args: &[&str]| {
        let (code, told) = command(&at, args);
        assert_eq!(code, Some(0), "{args:?}: {told}");
        told
    };
    let refused = |args: &[&str], word: &str| {
        let (code, told) = command(&at, args);
        assert_eq!(code, Some(2), "{args:?}: {told}");
        assert!(told.contains(word), "{args:?}: {told}");
    };
    assert_eq!(streams(&["list"]), "no streams run");
    let start = [
        "start",
        "pipelines/read-qr-codes.json",
        "--source",
        CAMERA,
        "--name",
        "gate",
        "--max-fps",
        "10",
    ];
    assert_eq!(streams(&start), "gate");
    refused(&start, "there is a pipeline gate already");
    let row = until("results", || {
        let rows: Json = serde_json::from_str(&streams(&["list", "--json"])).unwrap();
        (rows[0]["figures"]["results"].as_u64() > Some(3)).then(|| rows[0].clone())
    });
    assert_eq!(
        (&row["id"], &row["state"]),
        (&json!("gate"), &json!("running"))
    );
    let table = streams(&["list"]);
    assert!(
        table.starts_with("STREAM") && table.contains("gate"),
        "{table}"
    );
    let watched = streams(&["watch", "--every", "0.2", "--times", "3"]);
    assert_eq!(watched.matches("STREAM").count(), 3, "{watched}");
    assert!(streams(&["status", "gate"]).contains("processed_fps"));

    assert_eq!(streams(&["pause", "gate"]), "gate pauses");
    refused(
        &["pause", "gate"],
        "pipeline gate is paused; it cannot pause now",
    );
    assert_eq!(streams(&["resume", "gate"]), "gate goes on");
    assert_eq!(streams(&["add-source", "gate", CAMERA]), "1");
    until("the new source", || {
        streams(&["status", "gate"])
            .contains("source_id 1")
            .then_some(())
    });
    streams(&["remove-source", "gate", "0"]);
    refused(
        &["remove-source", "gate", "1"],
        "is the last of pipeline gate",
    );
    refused(&["remove-source", "gate", "7"], "no source 7");
    assert_eq!(streams(&["stop", "gate"]), "gate has ended");
    assert_eq!(streams(&["list"]), "no streams run");

    refused(&["status", "gate"], "there is no stream gate");
    refused(&["stop", "gate"], "there is no pipeline gate");
    refused(&["start", "none.json", "--source", "0"], "none.json");
    refused(
        &[
            "start",
            "pipelines/read-qr-codes.json",
            "--source",
            "gopher://x",
        ],
        "video_configuration.video_reference",
    );
    refused(
        &[
            "start",
            "pipelines/read-qr-codes.json",
            "--source",
            CAMERA,
            "--outputs",
            r#"{"jsonl": "/etc/x"}"#,
        ],
        "--client-outputs",
    );
    drop(server);
    let (code, told) = command(&at, &["list"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("no millrace answers"), "{told}");
}

#[test]
fn a_viewer_that_reads_nothing_holds_up_nobody() {
    use std::io::Write;
    let camera = "videotestsrc://?size=1280x720&fps=20&live=true&pattern=snow";
    let gate = json!({"gate": {"source": camera, "definition": definition()}});
    let streams = Streams::start(&gate, &[]);
    until("a picture", || {
        (streams.status("/streams/gate").0 == 200 && streams.results("gate") > 2).then_some(())
    });
    let mut deaf = Vec::new();
    for _ in 0..3 {
        let mut viewer = std::net::TcpStream::connect(streams.server.address()).unwrap();
        viewer
            .write_all(b"GET /streams/gate/preview?fps=100&quality=95 HTTP/1.1\r\nHost: h\r\n\r\n")
            .unwrap();
        deaf.push(viewer);
    }
    let viewers = || streams.row("gate")["outputs"]["preview"]["viewers"].as_u64();
    until("the viewers", || (viewers() == Some(3)).then_some(()));
    // Noise fills what the system takes for them within a second or two.
    let encoded = || streams.row("gate")["outputs"]["preview"]["encoded"].as_u64();
    let mut last = encoded();
    until("they are stuck", || {
        std::thread::sleep(Duration::from_millis(400));
        let now = encoded();
        (std::mem::replace(&mut last, now) == now).then_some(())
    });
    let before = streams.results("gate");
    until("results", || {
        (streams.results("gate") > before + 20).then_some(())
    });
    let url = streams.server.url("/streams/gate/preview?width=64");
    let seen = streams
        .runtime
        .block_on(async { parts(reqwest::get(url).await.unwrap(), 5).await });
    assert_eq!(seen.len(), 5);
    drop(deaf);
    until("nobody looks", || (viewers() == Some(0)).then_some(()));
}

#[test]
fn a_film_whose_writer_was_killed_can_be_played() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("show.json");
    std::fs::write(&file, definition().to_string()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args([
            "run",
            file.to_str().unwrap(),
            "--source",
            CAMERA,
            "--no-outbox",
        ])
        .args(["--video-segment", "1h", "--video"])
        .arg(folder.path().join("film.mp4"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let film = until("a film", || films(folder.path()).pop());
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(4));
    child.kill().unwrap();
    child.wait().unwrap();
    let filmed = began.elapsed().as_secs_f64() * 20.0;
    let frames = frames_of(&film) as f64;
    // Fragments of a second, and what the encoder had in hand.
    assert!(frames >= filmed - 50.0, "{frames} of {filmed} frames");
}

#[test]
fn a_run_can_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("show.json");
    std::fs::write(&file, definition().to_string()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    let mut child = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args([
            "run",
            file.to_str().unwrap(),
            "--source",
            CAMERA,
            "--video-id",
            "gate",
        ])
        .args(["--http", &address, "--no-outbox"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let at = format!("http://{address}");
    until("the stream", || {
        let (code, told) = command(&at, &["list"]);
        (code == Some(0) && told.contains("gate")).then_some(())
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let seen = runtime.block_on(async {
        let answer = reqwest::get(format!("{at}/streams/gate/preview?width=64")).await;
        parts(answer.unwrap(), 3).await
    });
    assert!(seen.iter().all(|(_, picture)| picture.size() == [64, 48]));
    child.kill().unwrap();
    child.wait().unwrap();
}
