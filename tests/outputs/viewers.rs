//! The picture for those who look, and events for those who are told.

use super::*;

/// A camera with these outputs.
fn gate(outputs: &Json) -> Json {
    json!({"gate": {"source": CAMERA, "definition": definition(), "outputs": outputs}})
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

#[test]
fn a_declared_stream_feeds_a_receiver_until_the_file_says_otherwise() {
    let receiver = Receiver::ok();
    let webhook = json!({"webhook": receiver.url("/events?token=hush")});
    let streams = Streams::start(&gate(&webhook), &[]);
    // Events come in order, each once, and say where they are from.
    let events = receiver.wait_for(10);
    let bodies = events
        .iter()
        .map(|e| serde_json::from_str(e.text()).unwrap());
    let bodies: Vec<Json> = bodies.collect();
    assert!(bodies.iter().all(|body| body["stream"] == "gate"));
    let numbers = bodies.iter().map(|b| b["frame_number"].as_i64().unwrap());
    let numbers: Vec<i64> = numbers.collect();
    assert!(numbers.windows(2).all(|w| w[0] < w[1]), "{numbers:?}");
    let row = streams.row("gate");
    assert!(!row.to_string().contains("hush"), "{row}");
    let figures = streams.status("/metrics").1;
    let counted = "millrace_output_written_total{stream=\"gate\",output=\"webhook\"}";
    assert!(figures.contains(counted), "{figures}");

    // Other outputs, the same stream: events stop, films begin.
    let so_far = streams.results("gate");
    let film = json!({"video": {"path": "films/gate.mp4", "segment": "1s", "keep": 2}});
    streams.write(&gate(&film));
    let films_folder = streams.folder.path().join("films");
    until("films", || {
        let third = |path: &PathBuf| path.to_str().unwrap().contains("gate-000003-");
        films(&films_folder).iter().any(third).then_some(())
    });
    assert!(streams.results("gate") > so_far, "the stream began anew");
    until("two films", || {
        (films(&films_folder).len() == 2).then_some(())
    });
    let events = receiver.received().len();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(receiver.received().len(), events);
}

#[test]
fn the_newest_picture_is_there_in_any_form() {
    let streams = Streams::start(&gate(&json!({})), &[]);
    until("a result", || (streams.results("gate") > 0).then_some(()));
    let row = streams.row("gate");
    let unseen = json!({"viewers": 0, "encoded": 0});
    assert_eq!(row["outputs"]["preview"], unseen);
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
}

#[test]
fn viewers_share_pictures_and_who_asks_for_fewer_gets_fewer() {
    let streams = Streams::start(&gate(&json!({})), &[]);
    until("a result", || (streams.results("gate") > 0).then_some(()));
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
}

#[test]
fn a_player_of_rtsp_sees_the_picture() {
    let args = ["--rtsp-listen", "127.0.0.1:0"];
    let streams = Streams::start(&gate(&json!({})), &args);
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
