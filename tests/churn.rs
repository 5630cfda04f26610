//! Streams that come and go leave nothing in a server: memory, threads and descriptors are as before.
//!
//! The short form adds and removes 48 streams; `MILLRACE_CHURN=1000 cargo test --test churn --
//! --nocapture` that many. They are started and ended over HTTP in the real binary: a file, a live
//! camera, a camera that cannot be reached, and one that does not answer, with a followed definition
//! and a buffer of pictures.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/server.rs"]
mod server;
#[path = "support/mod.rs"]
mod support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use server::Server;
use support::rtsp_server::{CameraClip, RtspServer, Setup};

/// Streams that run at once.
const AT_ONCE: usize = 8;
/// Streams before the first count: what the process keeps for good is there then.
const WARM_UP: usize = 64;
/// Bytes by which memory may have grown.
const ALLOWED: i64 = 5 << 20;
const CLIP: &str = "fixtures/video/shapes_a_640x360_25fps.mp4";

#[derive(Clone, Copy, Debug)]
struct Use {
    /// Resident memory, bytes.
    memory: i64,
    threads: usize,
    descriptors: usize,
}

impl Use {
    fn of(server: &Server) -> Self {
        let entries = |folder: &str| {
            let folder = format!("/proc/{}/{folder}", server.pid());
            std::fs::read_dir(folder).unwrap().count()
        };
        Self {
            memory: i64::try_from(server.memory_kib()).unwrap() << 10,
            threads: entries("task"),
            descriptors: entries("fd"),
        }
    }

    /// What is used once all that was told to end has ended, and the server gave its memory back:
    /// it does so by itself a second after the last end.
    fn settled(server: &Server, want: Option<Self>) -> Self {
        let began = Instant::now();
        loop {
            let now = Self::of(server);
            let back = |w: Self| {
                now.threads <= w.threads
                    && now.descriptors == w.descriptors
                    && now.memory - w.memory <= ALLOWED
            };
            let patience = Duration::from_secs(if want.is_some() { 20 } else { 6 });
            if want.is_some_and(back) || began.elapsed() > patience {
                return now;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A server and what its streams are pointed at.
struct Churn {
    server: Server,
    client: reqwest::Client,
    /// What is shown, in turn; the first two give results.
    references: [String; 4],
}

impl Churn {
    async fn ask(&self, path: &str, body: Option<Json>) -> Json {
        let url = self.server.url(&format!("/inference_pipelines/{path}"));
        let request = match body {
            Some(body) => self.client.post(url).json(&body),
            None => self.client.get(url),
        };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let answer: Json = answer.json().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    async fn start(&self, number: usize) -> String {
        let body = json!({
            "video_configuration": {
                "type": "VideoConfiguration",
                "video_reference": self.references[number % 4],
            },
            "processing_configuration": {
                "type": "WorkflowConfiguration",
                "workspace_name": "local",
                "workflow_id": "flow",
            },
            "sink_configuration": {"type": "MemorySinkConfiguration", "results_buffer_size": 8},
        });
        let answer = self.ask("initialise", Some(body)).await;
        answer["context"]["pipeline_id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Waits for a result with a picture in it.
    async fn result(&self, id: &str) {
        let began = Instant::now();
        loop {
            let answer = self.ask(&format!("{id}/consume"), None).await;
            if answer["outputs"][0]["image"]["value"].is_string() {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{id}: {answer}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Adds and removes so many streams, a few at a time. Answers the longest stop.
    async fn run(&self, streams: usize) -> Duration {
        let mut longest = Duration::ZERO;
        for first in (0..streams).step_by(AT_ONCE) {
            let mut ids = Vec::new();
            for number in first..streams.min(first + AT_ONCE) {
                ids.push((number, self.start(number).await));
            }
            for (number, id) in &ids {
                if number % 4 < 2 {
                    self.result(id).await;
                }
            }
            for (_, id) in ids {
                let began = Instant::now();
                self.ask(&format!("{id}/terminate"), Some(json!({}))).await;
                longest = longest.max(began.elapsed());
            }
        }
        longest
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_come_and_go_leave_nothing() {
    let streams: usize = match std::env::var("MILLRACE_CHURN") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => 48,
    };
    let folder = tempfile::tempdir().unwrap();
    let definition = json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": [{
            "type": "roboflow_core/image_blur@v1", "name": "blur",
            "image": "$inputs.image", "blur_type": "gaussian", "kernel_size": 5,
        }],
        "outputs": [{"type": "JsonField", "name": "image", "selector": "$steps.blur.image"}],
    });
    std::fs::write(folder.path().join("flow.json"), definition.to_string()).unwrap();
    let camera = RtspServer::start(CameraClip::shapes(), Setup::default());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let clip = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(CLIP);
    let churn = Churn {
        server: Server::start(
            &["--pipelines", folder.path().to_str().unwrap()],
            &[("STREAM_MANAGER_MAX_ACTIVE_PIPELINES", "64")],
        ),
        // No connection waits for the next request: it would count as a descriptor.
        client: reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap(),
        references: [
            clip.to_str().unwrap().to_owned(),
            camera.url(),
            "rtsp://127.0.0.1:9/cam".to_owned(),
            format!("rtsp://{}/cam", silent.local_addr().unwrap()),
        ],
    };
    churn.run(WARM_UP).await;
    let before = Use::settled(&churn.server, None);
    let began = Instant::now();
    let longest = churn.run(streams).await;
    let took = began.elapsed();
    let after = Use::settled(&churn.server, Some(before));
    let mib = |bytes: i64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{streams} streams added and removed in {took:.1?}, longest stop {longest:.1?}; memory {:.1} → {:.1} MiB ({:+.1}), threads {} → {}, descriptors {} → {}",
        mib(before.memory),
        mib(after.memory),
        mib(after.memory - before.memory),
        before.threads,
        after.threads,
        before.descriptors,
        after.descriptors,
    );
    assert!(longest < Duration::from_secs(2), "a stop took {longest:?}");
    // GLib ends idle threads of its pool by itself, so there may be fewer.
    assert!(after.threads <= before.threads, "threads");
    assert_eq!(after.descriptors, before.descriptors, "descriptors");
    assert!(after.memory - before.memory <= ALLOWED, "memory");
}
