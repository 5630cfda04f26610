//! The routes of pipelines against recorded exchanges with the reference server: the same status and
//! the same body, but for ids, times and measured values.
//!
//! Every file of `fixtures/http-examples/pipelines` is asked in the situation it was recorded in, or
//! stands in [`OTHERWISE`] with the reason why millrace answers otherwise.
#![allow(clippy::unwrap_used, clippy::panic)]

mod exchange;
#[path = "../support/platform.rs"]
mod platform;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use exchange::Server;
use platform::{Manner, Platform};
use serde_json::{Value as Json, json};
use support::clips;
use support::http_camera::{Answer, HttpCamera};

/// Answered otherwise on purpose.
const OTHERWISE: &[(&str, &str)] = &[
    (
        "pipe_list_zombies",
        "a failed initialise leaves no pipeline behind",
    ),
    (
        "pipe_list_limit",
        "for the same reason; the limit itself is asked",
    ),
    (
        "pipe_status_after_end",
        "a pipeline that failed tells why for a while before it is gone",
    ),
    (
        "pipe_status_live_down",
        "a camera that is away is no reason to end the pipeline",
    ),
    (
        "pipe_status_live_reconnected",
        "a camera that comes back goes through fewer states",
    ),
    ("pipe_status_live", "the same as pipe_live_2_status"),
    (
        "pipe_status_rtsp_down",
        "a camera that cannot be reached is tried on, and shown as such",
    ),
    (
        "pipe_status_wrong_image_input",
        "every round fails and says so; the thread goes on",
    ),
];

/// The definition `vid3` of the recordings.
fn vid3() -> Json {
    json!({
        "version": "1.0",
        "inputs": [
            {"type": "WorkflowImage", "name": "image"},
            {"type": "WorkflowParameter", "name": "tag", "default_value": "v"},
        ],
        "steps": [],
        "outputs": [
            {"type": "JsonField", "name": "tag", "selector": "$inputs.tag"},
            {"type": "JsonField", "name": "image", "selector": "$inputs.image"},
        ],
    })
}

fn platform() -> Platform {
    let platform = Platform::start();
    platform.publish("test-workspace/vid3", &vid3());
    platform
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file() {
    let platform = platform();
    let mut server = Server::start(&platform, 8);
    server.replace("/data/long.mp4", clips::SHAPES_ABSOLUTE);
    server.ask("pipe_init").await;
    server.until_completed(3).await;
    server.ask("pipe_status").await;
    server.ask("pipe_consume").await;
    server.ask("pipe_consume_excluded").await;
    server.ask("pipe_list").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_files() {
    let platform = platform();
    let mut server = Server::start(&platform, 8);
    server.replace("/data/long.mp4", clips::SHAPES_ABSOLUTE);
    server.ask("pipe_init_two_sources").await;
    server.until_completed(3).await;
    server.ask("pipe_status_two_sources").await;
    server.ask("pipe_consume_two_sources").await;
    server.ask("pipe_terminate_two_sources").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused() {
    let platform = platform();
    let mut server = Server::start(&platform, 8);
    for name in [
        "pipe_init_bad_ref",
        "pipe_init_bad_workflow",
        "pipe_init_no_processing",
        "pipe_init_no_spec",
        "pipe_init_workflow_404",
        "pipe_consume_unknown",
        "pipe_terminate_unknown",
    ] {
        server.ask(name).await;
        assert_eq!(
            server.list().await,
            json!([]),
            "{name} left something behind"
        );
    }
    let mut full = Server::start(&platform, 1);
    full.replace("/data/long.mp4", clips::SHAPES_ABSOLUTE);
    full.ask("pipe_init").await;
    full.ask("pipe_init_limit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_cannot_be_opened() {
    let platform = platform();
    let mut server = Server::start(&platform, 8);
    server.ask("pipe_init_missing_file").await;
    server
        .until(|status| status["sources_metadata"][0]["state"] == "ERROR")
        .await;
    server
        .until(|status| {
            status["video_source_status_updates"]
                .as_array()
                .unwrap()
                .len()
                == 5
        })
        .await;
    server.ask("pipe_status_missing_file").await;
    server.ask("pipe_init_rtsp_down").await;
    server
        .until(|status| status["sources_metadata"][0]["state"] == "RESTARTING")
        .await;
    let status = server.status().await;
    let shown = &status["sources_metadata"][0]["source_reference"];
    assert_eq!(shown, "rtsp://127.0.0.1:5999/cam");
    assert!(!status.to_string().contains("secret"));
    server.replace("/data/long.mp4", clips::SHAPES_ABSOLUTE);
    server.ask("pipe_init_wrong_image_input").await;
    server
        .until(|status| status["millrace"]["errors"].as_u64() > Some(10))
        .await;
    let (_, body) = server.get("consume", &json!({})).await;
    assert_eq!(body["outputs"], json!([null]));
    assert_eq!(body["error"]["error_type"], "RuntimeInputError");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera() {
    let platform = platform();
    let camera = HttpCamera::start(Answer::Mjpeg(100_000));
    let mut server = Server::start(&platform, 8);
    server.replace("http://camera.example/mjpg", &camera.url("http", "mjpg"));
    server.ask("pipe_init_mjpeg").await;
    server.ask("pipe_live_1_init").await;
    server.until_completed(3).await;
    server.ask("pipe_live_2_status").await;
    server.ask("pipe_live_3_consume").await;
    server.ask("pipe_live_4_resume_while_running").await;
    server.ask("pipe_live_5_pause").await;
    server
        .until(|status| status["sources_metadata"][0]["state"] == "MUTED")
        .await;
    server.ask("pipe_live_6_status_paused").await;
    server.ask("pipe_live_7_pause_again").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.drain().await;
    server.ask("pipe_live_8_consume_empty").await;
    server.ask("pipe_live_9_resume").await;
    server
        .until(|status| status["millrace"]["results"]["waiting"].as_u64() > Some(0))
        .await;
    server.ask("pipe_live_a_consume_after_resume").await;
    server.ask("pipe_live_b_terminate").await;
    server.ask("pipe_live_c_status_gone").await;
    server.ask("pipe_live_d_terminate_again").await;
}

#[test]
fn every_recording_is_asked_or_told_apart() {
    let source = include_str!("main.rs");
    for entry in std::fs::read_dir(exchange::FOLDER).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.trim_end_matches(".json").to_owned();
        assert!(
            source.contains(&format!("\"{name}\"")),
            "{name} is not asked"
        );
    }
    for (name, reason) in OTHERWISE {
        let path = std::path::Path::new(exchange::FOLDER).join(format!("{name}.json"));
        assert!(path.is_file() && !reason.is_empty(), "{name}");
    }
}

/// Statuses of the platform and what the reference makes of each (section 4.6).
#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_does_not_give_the_definition() {
    let mut platform = platform();
    for (asked, want, kind) in [
        (401, 401, None),
        (402, 500, Some("ProcessesManagerInternalError")),
        (403, 500, Some("ProcessesManagerInternalError")),
        (404, 404, Some("ProcessesManagerNotFoundError")),
        (423, 500, Some("ProcessesManagerInternalError")),
        (500, 500, Some("ProcessesManagerInternalError")),
    ] {
        platform.answer(Manner::Status(asked, None));
        let server = Server::start(&platform, 8);
        let (status, body) = server
            .post("initialise", &exchange::body_of("pipe_init"))
            .await;
        assert_eq!(status, want, "{asked}: {body}");
        assert_eq!(body["error_type"].as_str(), kind, "{asked}: {body}");
        assert!(body["message"].is_string());
        assert_eq!(server.list().await, json!([]));
    }
    platform.refuse();
    let server = Server::start(&platform, 8);
    let (status, body) = server
        .post("initialise", &exchange::body_of("pipe_init"))
        .await;
    assert_eq!(
        (status, &body["error_type"]),
        (500, &json!("ProcessesManagerOperationError"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_fit_are_told_whole() {
    let server = Server::start(&platform(), 8);
    let body = json!({
        "video_configuration": {
            "type": "Video", "video_reference": ["./a.mp4", "b.mp4"], "max_fps": "fast",
            "source_buffer_filling_strategy": "SOME",
        },
        "processing_configuration": {"type": "WorkflowConfiguration", "workflow_specification": []},
        "sink_configuration": {"results_buffer_size": 1.5},
    });
    let (status, answer) = server.post("initialise", &body).await;
    assert_eq!(status, 422);
    let told: Vec<(String, String)> = answer["detail"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| {
            let place: Vec<&str> = d["loc"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Json::as_str)
                .collect();
            (
                d["type"].as_str().unwrap().to_owned(),
                place.last().unwrap().to_string(),
            )
        })
        .collect();
    let want = [
        ("literal_error", "type"),
        ("float_parsing", "max_fps"),
        ("enum", "source_buffer_filling_strategy"),
        ("value_error", "video_reference"),
        ("dict_type", "workflow_specification"),
        ("int_from_float", "results_buffer_size"),
    ];
    let want: Vec<(String, String)> = want.map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    assert_eq!(told, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_added_and_removed_over_http() {
    let mut server = Server::start(&platform(), 8);
    let mut body = exchange::body_of("pipe_live_1_init");
    body["video_configuration"]["video_reference"] =
        json!("videotestsrc://?size=64x48&fps=20&live=true");
    body["processing_configuration"]["workflow_specification"] = vid3();
    body["processing_configuration"]["workspace_name"] = Json::Null;
    body["processing_configuration"]["workflow_id"] = Json::Null;
    let (status, answer) = server.post("initialise", &body).await;
    assert_eq!(status, 200, "{answer}");
    server.take_id(&answer);
    server.until_completed(2).await;
    let id = server.id().to_owned();
    let more = json!({"video_reference": "videotestsrc://?size=64x48&fps=20&live=true"});
    let (status, answer) = server.post(&format!("{id}/sources"), &more).await;
    assert_eq!((status, &answer["source_id"]), (200, &json!(1)), "{answer}");
    let (status, answer) = server
        .post(&format!("{id}/sources"), &json!({"video_reference": "x"}))
        .await;
    assert_eq!(
        (status, &answer["detail"][0]["type"]),
        (422, &json!("value_error"))
    );
    server
        .until(|status| {
            status["completion_statistics"]["sources"][1]["completed_frames"].as_u64() > Some(2)
        })
        .await;
    let (status, _) = server
        .send("DELETE", &format!("{id}/sources/0"), &json!({}))
        .await;
    assert_eq!(status, 200);
    let status = server.status().await;
    assert_eq!(status["sources_metadata"].as_array().unwrap().len(), 1);
    let (status, answer) = server
        .send("DELETE", &format!("{id}/sources/1"), &json!({}))
        .await;
    assert_eq!(status, 400, "{answer}");
    let (status, _) = server
        .send("DELETE", &format!("{id}/sources/7"), &json!({}))
        .await;
    assert_eq!(status, 404);
}
