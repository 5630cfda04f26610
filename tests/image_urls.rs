//! Images by URL as users of the program meet them: refused by default where it matters, fetched
//! once where they are allowed.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Value as Json, json};

const PICTURE: &[u8] = include_bytes!("../fixtures/images/edge_rgba.png");
/// What lets a test reach this machine.
const OPEN: &[&str] = &[
    "--plain-image-urls=true",
    "--bare-image-hosts=true",
    "--private-image-urls=true",
];

#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

/// Serves a picture, a page and redirects.
struct Server {
    address: SocketAddr,
    asked: Asked,
    _runtime: tokio::runtime::Runtime,
}

async fn answer(State(asked): State<Asked>, uri: Uri) -> Response {
    asked.0.lock().unwrap().push(uri.to_string());
    match uri.path() {
        "/picture.png" => PICTURE.into_response(),
        "/there" => Redirect::temporary("/picture.png").into_response(),
        "/page" => "<html>".into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let asked = Asked::default();
        let router = Router::new().fallback(answer).with_state(asked.clone());
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            asked,
            _runtime: runtime,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.0.lock().unwrap().len()
    }
}

/// The widths of two images.
fn definition() -> Json {
    let width = |of: &str| {
        json!({"type": "roboflow_core/property_definition@v1", "name": of, "data": format!("$inputs.{of}"),
            "operations": [{"type": "ExtractImageProperty", "property_name": "width"}]})
    };
    json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}, {"type": "WorkflowImage", "name": "other"}],
        "steps": [width("image"), width("other")],
        "outputs": [
            {"type": "JsonField", "name": "image", "selector": "$steps.image.output"},
            {"type": "JsonField", "name": "other", "selector": "$steps.other.output"},
        ],
    })
}

/// Runs the program in a folder of its own that has the definition; answers what it wrote.
fn millrace(command: &str, flags: &[&str], inputs: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("definition.json", &definition().to_string());
    write("inputs.jsonl", inputs);
    write("results.jsonl", "");
    let output = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .current_dir(folder.path())
        .args([command, "definition.json"])
        .args(flags)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked at"), "{said}");
    let results = std::fs::read_to_string(folder.path().join("results.jsonl")).unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    (output.status.code(), format!("{results}{printed}{said}"))
}

fn exec(flags: &[&str], inputs: &Json) -> Json {
    let flags = [&["--inputs", "inputs.jsonl"], flags].concat();
    let (_, said) = millrace("exec", &flags, &inputs.to_string());
    let line = said.lines().next().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {said}"))
}

#[test]
fn by_default_nothing_private_is_reached() {
    let server = Server::start();
    let port = server.address.port();
    let refused = |flags: &[&str], url: &str| {
        let line = exec(flags, &json!({"image": url, "other": url}));
        assert_eq!(line["error"]["error_type"], "RuntimeInputError", "{line}");
        line["error"]["message"].as_str().unwrap().to_owned()
    };
    let hosts = &OPEN[..2];
    for (flags, url, why) in [
        (
            &[][..],
            server.url("/picture.png"),
            "only https:// is allowed",
        ),
        (
            &[],
            "file:///etc/passwd".into(),
            "only https:// and http:// are fetched",
        ),
        (
            &[],
            "https://localhost/a.png".into(),
            "the host must be a full domain name",
        ),
        (
            &["--image-urls=false"],
            "https://example.com/a".into(),
            "images by URL are switched off",
        ),
        (
            hosts,
            server.url("/picture.png?key=hunter2"),
            "the host has no public address",
        ),
        (
            hosts,
            format!("http://localhost:{port}/picture.png"),
            "the host has no public address",
        ),
        (
            hosts,
            format!("http://2130706433:{port}/"),
            "the host has no public address",
        ),
        (
            hosts,
            "http://169.254.169.254/latest/".into(),
            "the host has no public address",
        ),
        (
            &["--blocked-image-hosts=example.com"],
            "https://a.example.com/".into(),
            "is not allowed",
        ),
    ] {
        let message = refused(flags, &url);
        assert!(
            message.contains("Could not load image from url: "),
            "{message}"
        );
        assert!(
            message.contains(why) && !message.contains("hunter2"),
            "{url}: {message}"
        );
    }
    assert_eq!(server.asked(), 0);
}

#[test]
fn where_it_is_allowed_each_image_is_fetched_once() {
    let server = Server::start();
    let (a, b) = (server.url("/picture.png"), server.url("/there"));
    let line = exec(
        OPEN,
        &json!({"image": [a, b], "other": {"type": "url", "value": a}}),
    );
    let outputs = line["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 2, "{line}");
    for output in outputs {
        assert!(
            output["image"].is_number() && output["image"] == output["other"],
            "{line}"
        );
    }
    assert_eq!(
        server.asked(),
        3,
        "the picture, the redirect and where it leads"
    );
    let gone = exec(
        OPEN,
        &json!({"image": server.url("/gone"), "other": server.url("/page")}),
    );
    let message = gone["error"]["message"].as_str().unwrap();
    assert!(message.contains("/gone"), "{message}");
}

#[test]
fn a_stream_reads_an_image_of_its_parameters_once() {
    let server = Server::start();
    let other = format!("--param=other={}", server.url("/picture.png"));
    let source = "--source=videotestsrc://?size=64x48&fps=10&frames=5&live=false";
    let flags = [&[source, &other, "--output=.", "--no-follow"], OPEN].concat();
    let (code, said) = millrace("run", &flags, "");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(server.asked(), 1);
    let line: Json = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert!(line["outputs"]["other"].is_number(), "{line}");
    let (code, said) = millrace("run", &[source, &other], "");
    assert_eq!(code, Some(2));
    assert!(
        said.contains("--param other") && said.contains("only https://"),
        "{said}"
    );
}
