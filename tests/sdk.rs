//! The real `inference_sdk` against the real binary: workflows, models, errors.
//!
//! `scripts/setup.sh --test` installs the client from PyPI; without it the test fails and says so.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on ends

#[path = "support/sdk.rs"]
mod client;
#[path = "support/picture_host.rs"]
mod picture_host;
#[path = "support/platform.rs"]
mod platform;
#[path = "support/server.rs"]
mod server;
mod support;

use platform::Platform;
use serde_json::{Value as Json, json};
use server::Server;
use support::rtsp_server::{CameraClip, RtspServer, Setup};

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

/// A small gray picture.
fn png() -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(64, 48, image::Rgb([90; 3]))
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    png.into_inner()
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
    let host = format!("http://{}", picture_host::serve("/picture.png", png()));
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
    let folder = tempfile::tempdir().unwrap();
    let output = client::script(&format!("sdk/{script}"))
        .arg(server.url(""))
        .args(arguments)
        // Profiles are written into the folder in which the client runs.
        .current_dir(folder.path())
        .output()
        .unwrap();
    client::steps(&output)
}
