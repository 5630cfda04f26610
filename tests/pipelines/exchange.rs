//! A fleet behind its routes, asked as recorded, and the comparison of its answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use millrace::blocks::Services;
use millrace::clock::SystemClock;
use millrace::definitions::{DefinitionStore, Settings as StoreSettings};
use millrace::fleet::{Fleet, Settings};
use millrace::http::{ServerSettings, pipelines};
use serde_json::{Value as Json, json};
use tower::ServiceExt;

use crate::platform::Platform;

/// The recordings.
pub const FOLDER: &str = "fixtures/http-examples/pipelines";

/// Values that are measured or made up: their type is compared.
const MEASURED: &[&str] = &[
    "request_id",
    "pipeline_id",
    "pipelines",
    "timestamp",
    "value",
    "frame_timestamp",
    "frame_id",
    "frame_number",
    "fps",
    "measured_fps",
    "total_frames",
    "width",
    "height",
    "timestamp_created",
    "frame_decoding_latency",
    "inference_latency",
    "e2e_latency",
    "inference_throughput",
    "sampled_at_monotonic",
    "completed_frames",
    "last_completed_at_monotonic",
    "last_frame_id",
    "error_message",
    "source_reference",
];

/// Parts that millrace has and the reference has not.
const OWN: &[&str] = &["millrace", "definition", "timing"];

fn exchange(name: &str) -> Json {
    let text = std::fs::read_to_string(format!("{FOLDER}/{name}.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The body of a recorded request.
pub fn body_of(name: &str) -> Json {
    exchange(name)["request"]["body"].clone()
}

/// A fleet behind its routes.
pub struct Server {
    router: Router,
    _folder: tempfile::TempDir,
    replaced: Vec<(String, String)>,
    id: Option<String>,
}

impl Server {
    pub fn start(platform: &Platform, max_pipelines: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = StoreSettings::new(platform.url(), folder.path());
        let store = DefinitionStore::open(store, Arc::new(SystemClock::default())).unwrap();
        let settings = Settings {
            max_pipelines,
            ..Settings::default()
        };
        let fleet = Fleet::start(Services::default(), Arc::new(store), settings).unwrap();
        Self {
            router: pipelines::alone(Arc::new(fleet), &ServerSettings::default()),
            _folder: folder,
            replaced: Vec::new(),
            id: None,
        }
    }

    /// What stands in requests in the place of what was recorded.
    pub fn replace(&mut self, recorded: &str, ours: &str) {
        self.replaced.push((recorded.to_owned(), ours.to_owned()));
    }

    /// The pipeline that was started last.
    pub fn id(&self) -> &str {
        self.id.as_deref().unwrap()
    }

    pub fn take_id(&mut self, answer: &Json) {
        self.id = answer["context"]["pipeline_id"].as_str().map(str::to_owned);
    }

    /// Asks as recorded and compares the answer.
    pub async fn ask(&mut self, name: &str) {
        let exchange = exchange(name);
        let (request, response) = (&exchange["request"], &exchange["response"]);
        let mut path = request["path"].as_str().unwrap().to_owned();
        let recorded_id = path.split('/').nth(2).unwrap().to_owned();
        if recorded_id.len() == 36 {
            path = path.replace(&recorded_id, self.id());
        }
        let mut body = request["body"].to_string();
        for (recorded, ours) in &self.replaced {
            body = body.replace(recorded, ours);
        }
        let method = request["method"].as_str().unwrap();
        let body: Json = serde_json::from_str(&body).unwrap();
        let (status, answer) = self.request(method, &path, &body).await;
        assert_eq!(json!(status), response["status"], "{name}: {answer}");
        let mut want = response["body"].to_string();
        if recorded_id.len() == 36 {
            want = want.replace(&recorded_id, self.id());
        }
        let want: Json = serde_json::from_str(&want).unwrap();
        let mut differences = Vec::new();
        compare(&want, &answer, name, &mut differences);
        assert!(
            differences.is_empty(),
            "{}\n{answer:#}",
            differences.join("\n")
        );
        if name.contains("_init") && status == 200 {
            self.take_id(&answer);
        }
    }

    async fn request(&self, method: &str, path: &str, body: &Json) -> (u16, Json) {
        let request = Request::builder().method(method).uri(path);
        let request = match body {
            Json::Null => request.body(Body::empty()),
            body => request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string())),
        };
        let response = self.router.clone().oneshot(request.unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Json::Null))
    }

    pub async fn send(&self, method: &str, what: &str, body: &Json) -> (u16, Json) {
        self.request(method, &format!("/inference_pipelines/{what}"), body)
            .await
    }

    pub async fn post(&self, what: &str, body: &Json) -> (u16, Json) {
        self.send("POST", what, body).await
    }

    pub async fn get(&self, what: &str, body: &Json) -> (u16, Json) {
        self.send("GET", &format!("{}/{what}", self.id()), body)
            .await
    }

    pub async fn list(&self) -> Json {
        self.send("GET", "list", &Json::Null).await.1["pipelines"].clone()
    }

    pub async fn status(&self) -> Json {
        self.get("status", &Json::Null).await.1["report"].clone()
    }

    pub async fn until(&self, holds: impl Fn(&Json) -> bool) {
        let began = Instant::now();
        loop {
            let status = self.status().await;
            if holds(&status) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{status:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn until_completed(&self, frames: u64) {
        let enough = |row: &Json| row["completed_frames"].as_u64() >= Some(frames);
        self.until(|status| {
            let rows = status["completion_statistics"]["sources"].as_array();
            rows.is_some_and(|rows| rows.iter().all(enough))
        })
        .await;
    }

    pub async fn drain(&self) {
        let excluded = json!({"excluded_fields": ["image"]});
        while self.get("consume", &excluded).await.1["outputs"] != json!([]) {}
    }
}

/// Compares two bodies; what differs is written down with its place.
fn compare(want: &Json, got: &Json, place: &str, differences: &mut Vec<String>) {
    let kind = |value: &Json| match value {
        Json::Null => "null",
        Json::Bool(_) => "flag",
        Json::Number(_) => "number",
        Json::String(_) => "text",
        Json::Array(_) => "list",
        Json::Object(_) => "object",
    };
    match (want, got) {
        (Json::Object(want), Json::Object(got)) => {
            for (key, value) in want {
                let place = format!("{place}.{key}");
                match got.get(key) {
                    None => differences.push(format!("{place} is missing")),
                    Some(own) if MEASURED.contains(&&**key) => {
                        if kind(value) != kind(own) {
                            differences.push(format!("{place}: {value} became {own}"));
                        }
                    }
                    // What the reference does not know it need not be told.
                    Some(_) if key == "is_reconnectable" && value.is_null() => {}
                    // Which of several sources is first is chance.
                    Some(own) if key == "video_source_status_updates" => {
                        compare(&by_source(value), &by_source(own), &place, differences);
                    }
                    Some(own) => compare(value, own, &place, differences),
                }
            }
            for key in got
                .keys()
                .filter(|k| !want.contains_key(*k) && !OWN.contains(&&***k))
            {
                differences.push(format!("{place}.{key} is new"));
            }
        }
        (Json::Array(want), Json::Array(got)) if want.len() == got.len() => {
            for (at, (want, got)) in want.iter().zip(got).enumerate() {
                compare(want, got, &format!("{place}[{at}]"), differences);
            }
        }
        _ if want == got => {}
        _ => differences.push(format!("{place}: {want} became {got}")),
    }
}

/// Updates in the order of their sources.
fn by_source(updates: &Json) -> Json {
    let mut updates = updates.as_array().cloned().unwrap_or_default();
    updates.sort_by_key(|update| update["payload"]["source_id"].as_u64());
    updates.into()
}
