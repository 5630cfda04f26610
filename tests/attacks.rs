//! What hostile clients try over HTTP, against the real binary: a clear refusal each time, the server
//! alive, its memory flat.

#![allow(clippy::unwrap_used)] // a test that cannot go on ends

#[path = "support/server.rs"]
mod server;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use server::Server;

fn definition() -> Json {
    json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": [],
        "outputs": [{"type": "JsonField", "name": "image", "selector": "$inputs.image"}],
    })
}

struct Client {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
}

impl Client {
    fn new() -> Self {
        Self {
            runtime: tokio::runtime::Runtime::new().unwrap(),
            // Each request has a connection of its own: the server may close one that waits for the next
            // request at the very moment at which that is sent.
            http: reqwest::Client::builder()
                .pool_max_idle_per_host(0)
                .build()
                .unwrap(),
        }
    }

    fn post(&self, url: &str, body: impl Into<reqwest::Body>) -> (u16, Json) {
        let request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .body(body);
        self.runtime.block_on(async {
            let response = request.send().await.expect("an answer");
            let status = response.status().as_u16();
            let json = response.json().await.unwrap_or_default();
            (status, json)
        })
    }

    fn run(&self, server: &Server, image: Json) -> (u16, String) {
        let body = json!({"specification": definition(), "inputs": {"image": image}});
        let (status, answer) = self.post(&server.url("/workflows/run"), body.to_string());
        (
            status,
            answer["message"].as_str().unwrap_or_default().to_owned(),
        )
    }

    fn is_healthy(&self, server: &Server) -> bool {
        self.runtime.block_on(async {
            let url = server.url("/healthz");
            self.http
                .get(url)
                .send()
                .await
                .is_ok_and(|r| r.status() == 200)
        })
    }
}

/// A host on this machine that no image may be fetched from; counts who comes.
fn trap() -> (
    std::net::SocketAddr,
    std::sync::Arc<std::sync::atomic::AtomicUsize>,
) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = count.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            drop(connection);
        }
    });
    (address, count)
}

#[test]
fn images_are_not_fetched_from_this_machine_or_its_network() {
    let (trap, came) = trap();
    let models = ["--models", "fixtures/models"];
    let server = Server::start(&models, &[]);
    let open = Server::start(
        &models,
        &[
            ("ALLOW_NON_HTTPS_URL_INPUT", "true"),
            ("ALLOW_URL_INPUT_WITHOUT_FQDN", "true"),
        ],
    );
    let client = Client::new();
    let port = trap.port();
    for url in [
        format!("http://127.0.0.1:{port}/x.png"),
        format!("https://127.0.0.1:{port}/x.png"),
        format!("http://localhost:{port}/x.png"),
        format!("http://localhost.:{port}/x.png"),
        format!("http://[::1]:{port}/x.png"),
        format!("http://[::ffff:127.0.0.1]:{port}/x.png"),
        format!("http://0.0.0.0:{port}/x.png"),
        format!("http://2130706433:{port}/x.png"),
        format!("http://0x7f.1:{port}/x.png"),
        format!("http://user@127.0.0.1:{port}/x.png"),
        format!("http://example.com\\@127.0.0.1:{port}/x.png"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://10.0.0.1/x.png".to_owned(),
        "file:///etc/passwd".to_owned(),
        "/etc/passwd".to_owned(),
        "ftp://127.0.0.1/x.png".to_owned(),
    ] {
        for server in [&server, &open] {
            for image in [json!({"type": "url", "value": url}), json!(url)] {
                let (status, message) = client.run(server, image);
                assert_eq!(status, 400, "{url}: {message}");
                assert!(!message.contains("root:"), "{url}: {message}");
            }
            let body = json!({"model_id": "tiny/1", "image": {"type": "url", "value": url}});
            let (status, _) = client.post(&server.url("/infer/object_detection"), body.to_string());
            assert!((400..500).contains(&status), "{url}: {status}");
        }
    }
    assert_eq!(
        came.load(std::sync::atomic::Ordering::SeqCst),
        0,
        "somebody was led astray"
    );
    assert!(client.is_healthy(&server) && client.is_healthy(&open));
}

#[test]
fn files_of_the_server_are_not_read() {
    let server = Server::start(&["--models", "fixtures/models"], &[]);
    let client = Client::new();
    for kind in ["file", "numpy", "numpy_object", "multipart"] {
        let image = json!({"type": kind, "value": "fixtures/images/none.png"});
        let (status, _) = client.run(&server, image);
        assert_eq!(status, 400, "{kind}");
        let image = json!({"type": kind, "value": "/etc/passwd"});
        let body = json!({"model_id": "tiny/1", "image": image});
        let (status, _) = client.post(&server.url("/infer/object_detection"), body.to_string());
        assert_eq!(status, 400, "{kind}");
    }
}

#[test]
fn ids_cannot_climb_out_of_their_folders() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret.json"), definition().to_string()).unwrap();
    let folder = outside.path().join("pipelines");
    std::fs::create_dir(&folder).unwrap();
    let server = Server::start(
        &[
            "--models",
            "fixtures/models",
            "--pipelines",
            folder.to_str().unwrap(),
        ],
        &[],
    );
    let client = Client::new();
    for id in [
        "../secret",
        "..%2Fsecret",
        "%2e%2e%2fsecret",
        "..\\secret",
        "secret%00",
    ] {
        let url = server.url(&format!("/local/workflows/{id}"));
        let (status, _) = client.post(&url, r#"{"inputs": {}}"#);
        assert!(status >= 400, "{id}: {status}");
    }
    for id in ["../x", "..", "/etc", "a/../../b", "a/b/c", "", "a\u{0}/1"] {
        let body = json!({"model_id": id}).to_string();
        let (status, _) = client.post(&server.url("/model/add"), body);
        assert!((400..500).contains(&status), "{id:?}: {status}");
    }
    assert!(client.is_healthy(&server));
}

#[test]
fn huge_and_deep_bodies_are_refused_and_cost_no_memory() {
    let server = Server::start(&[], &[]);
    let client = Client::new();
    assert!(client.is_healthy(&server));
    let before = server.memory_kib();
    // Announced, and not announced.
    let huge = vec![b' '; 100 << 20];
    let (status, _) = client.post(&server.url("/workflows/run"), huge);
    assert_eq!(status, 413);
    let chunks = (0..100).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1 << 20]));
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let (status, _) = client.post(&server.url("/workflows/run"), stream);
    assert_eq!(status, 413);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let (status, told) = client.post(&server.url("/workflows/run"), deep.clone());
    assert_eq!(status, 422);
    assert_eq!(told["detail"][0]["type"], "json_invalid");
    let within = format!(r#"{{"specification": {deep}, "inputs": {{}}}}"#);
    assert_eq!(client.post(&server.url("/workflows/run"), within).0, 422);
    assert!(client.is_healthy(&server));
    let grown = server.memory_kib().saturating_sub(before) / 1024;
    assert!(grown < 100, "{grown} MiB more");
}

#[test]
fn a_picture_that_explodes_is_refused() {
    let server = Server::start(&[], &[]);
    let client = Client::new();
    // The head of a picture of 60,000 x 60,000 pixels with next to no data.
    let mut bomb = Vec::new();
    {
        let mut encoder = png::Encoder::new(&mut bomb, 60_000, 60_000);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        let mut writer = encoder.write_header().unwrap();
        let mut stream = writer.stream_writer().unwrap();
        let row = vec![0; 7_500];
        for _ in 0..60_000 {
            stream.write_all(&row).unwrap();
        }
        stream.finish().unwrap();
    }
    assert!(bomb.len() < 2 << 20, "{}", bomb.len());
    let before = server.memory_kib();
    let image = json!({"type": "base64", "value": STANDARD.encode(&bomb)});
    let (status, message) = client.run(&server, image);
    assert_eq!(status, 400);
    assert!(message.contains("pixels"), "{message}");
    let grown = server.memory_kib().saturating_sub(before) / 1024;
    assert!(grown < 50, "{grown} MiB more");
}

#[test]
fn slow_clients_are_shown_the_door_and_keep_nobody_out() {
    let server = Server::start(&["--head-seconds", "1", "--body-seconds", "1"], &[]);
    let client = Client::new();
    let begun = Instant::now();
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|i| {
            let mut connection = TcpStream::connect(server.address()).unwrap();
            let part: &[u8] = match i % 2 {
                0 => b"POST /workflows/run HTTP/1.1\r\nHost: x\r\nX-Slow:",
                _ => b"POST /workflows/run HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
            };
            connection.write_all(part).unwrap();
            connection
        })
        .collect();
    assert!(client.is_healthy(&server), "others are served meanwhile");
    for connection in &mut slow {
        connection
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut answer = Vec::new();
        // Closed, with or without an answer; a reset is a close too.
        let _ = connection.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
    }
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert!(client.is_healthy(&server));
}

#[test]
fn a_token_guards_everything_but_health() {
    let server = Server::start(&["--token", "s3cret"], &[]);
    let client = Client::new();
    assert!(client.is_healthy(&server));
    let get = |path: &str, header: Option<(&str, &str)>| {
        client.runtime.block_on(async {
            let mut request = client.http.get(server.url(path));
            if let Some((name, value)) = header {
                request = request.header(name, value);
            }
            request.send().await.unwrap().status().as_u16()
        })
    };
    for path in [
        "/info",
        "/metrics",
        "/model/registry",
        "/freshness",
        "/docs",
        "/outbox",
    ] {
        assert_eq!(get(path, None), 401, "{path}");
        assert_eq!(
            get(path, Some(("authorization", "Bearer wrong!"))),
            401,
            "{path}"
        );
        assert_eq!(
            get(path, Some(("authorization", "Bearer s3cret"))),
            200,
            "{path}"
        );
        assert_eq!(
            get(path, Some(("x-millrace-token", "s3cret"))),
            200,
            "{path}"
        );
    }
}

#[test]
fn the_server_starts_fast_listens_on_loopback_and_ends_as_asked() {
    let mut server = Server::start(&[], &[]);
    assert!(server.address().ip().is_loopback());
    let client = Client::new();
    let begun = Instant::now();
    assert!(client.is_healthy(&server));
    println!(
        "first healthy answer {:?} after the start of the process",
        server.started_in + begun.elapsed()
    );
    assert_eq!(server.terminate(), Some(0));
}
