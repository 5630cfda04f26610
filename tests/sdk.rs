//! The real `inference_sdk` against the real binary: workflows, models, errors.
//!
//! `scripts/setup.sh --test` installs the client from PyPI; without it the test fails and says so.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on ends

#[path = "support/platform.rs"]
mod platform;
#[path = "support/server.rs"]
mod server;
mod support;

use std::net::SocketAddr;
use std::process::Command;

use platform::Platform;
use serde_json::{Value as Json, json};
use server::Server;
use support::rtsp_server::{CameraClip, RtspServer, Setup};

const PYTHON: &str = ".cache/sdk/bin/python";

fn tagged(tag: &str) -> Json {
    json!({
        "version": "1.0",
        "inputs": [
            {"type": "WorkflowImage", "name": "image"},
            {"type": "WorkflowParameter", "name": "tag", "default_value": tag},
        ],
        "steps": [],
        "outputs": [{"type": "JsonField", "name": "tag", "selector": "$inputs.tag"}],
    })
}

fn detecting() -> Json {
    let text =
        std::fs::read_to_string("fixtures/http-examples/server/describe_interface_spec.json");
    let recorded: Json = serde_json::from_str(&text.unwrap()).unwrap();
    recorded["request"]["body"]["specification"].clone()
}

/// Serves one picture.
fn picture_host() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(64, 48, image::Rgb([90; 3]))
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    let png = png.into_inner();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let picture = axum::routing::get(move || async move { png.clone() });
            let router = axum::Router::new().route("/picture.png", picture);
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    address
}

#[test]
fn every_call_of_the_client_gets_what_it_expects() {
    let platform = Platform::start();
    platform.accept("K1", "test-workspace");
    platform.publish("test-workspace/tagged", &tagged("v1"));
    platform.publish("test-workspace/tagged@ver-7", &tagged("pinned-7"));
    platform.publish("test-workspace/det", &detecting());
    let url = platform.url().to_string();
    let url = url.trim_end_matches('/');
    let server = Server::start(
        &["--models", "fixtures/models", "--profiling", "true"],
        &[
            ("API_BASE_URL", url),
            ("ROBOFLOW_API_HOST", url),
            ("ALLOW_NON_HTTPS_URL_INPUT", "true"),
            ("ALLOW_URL_INPUT_WITHOUT_FQDN", "true"),
            ("ALLOW_URL_TO_NON_GLOBAL_ADDRESSES", "true"),
        ],
    );
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("picture.jpg");
    let host = format!("http://{}", picture_host());
    let steps = run("calls.py", &server, &[&host, picture.to_str().unwrap()]);
    assert!(steps >= 30, "{steps} steps");
}

#[test]
fn a_pipeline_on_a_camera_is_started_consumed_paused_and_ended_by_the_client() {
    let camera = RtspServer::start(CameraClip::shapes(), Setup::default());
    let server = Server::start(&[], &[]);
    let steps = run(
        "pipelines.py",
        &server,
        &[&camera.url_with("viewer", "password")],
    );
    assert!(steps >= 10, "{steps} steps");
}

/// Runs a script with the client; answers how many steps it took.
fn run(script: &str, server: &Server, arguments: &[&str]) -> usize {
    let root = std::env::current_dir().unwrap();
    let python = root.join(PYTHON);
    assert!(
        python.exists(),
        "inference_sdk is not installed: run scripts/setup.sh --test"
    );
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(python)
        .arg(root.join("tests/sdk").join(script))
        .arg(server.url(""))
        .args(arguments)
        // Profiles are written into the folder in which the client runs.
        .current_dir(folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    println!("{out}");
    assert!(output.status.success(), "{err}");
    out.lines().filter(|line| line.starts_with("ok ")).count()
}
