//! WebRTC sessions of the real `inference_sdk` against the real binary: uploads, tracks, cameras,
//! changes in flight, and every way in which a session ends or is refused.
//!
//! `scripts/setup.sh --test` installs the client from PyPI; without it the tests fail and say so.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on ends

#[path = "support/sdk.rs"]
mod client;
#[path = "webrtc/offline.rs"]
mod offline;
#[path = "support/platform.rs"]
mod platform;
#[path = "support/server.rs"]
mod server;
#[path = "webrtc/silence.rs"]
mod silence;
mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use platform::Platform;
use serde_json::{Value as Json, json};
use server::Server;
use support::awake::awake;
use support::clips::{SHAPES_ABSOLUTE, changed_copy};
use support::http_camera::{Answer, HttpCamera};
use support::rtsp_server::{CameraClip, RtspServer, Setup};

/// An offer as aiortc writes it, for channels only.
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 127.0.0.1\r\na=mid:0\r\n\
    a=sctp-port:5000\r\na=max-message-size:65536\r\na=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n";

fn tagged() -> Json {
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

fn request(sdp: &str) -> Json {
    json!({
        "workflow_configuration": {
            "type": "WorkflowConfiguration",
            "workflow_specification": tagged(),
        },
        "webrtc_offer": {"type": "offer", "sdp": sdp},
        "video_file_upload": true,
        "data_output": ["tag"],
    })
}

/// Starts a scenario of the script.
fn start(server: &Server, scenario: &str, arguments: &[&str]) -> Child {
    client::script("webrtc/sessions.py")
        .args([&server.url(""), scenario])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Two scenarios at a time: each keeps a processor busy, and a handshake may only take so long.
fn turn() -> MutexGuard<'static, ()> {
    static TURNS: [Mutex<()>; 2] = [const { Mutex::new(()) }; 2];
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let place = NEXT.fetch_add(1, Ordering::Relaxed) % TURNS.len();
    TURNS[place].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a scenario to its end; answers how many things were as expected.
fn run(server: &Server, scenario: &str, arguments: &[&str]) -> usize {
    let _turn = turn();
    let output = start(server, scenario, arguments).wait_with_output();
    client::steps(&output.unwrap())
}

struct Client {
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    fn new() -> Self {
        Self {
            // No connection waits for the next request: it would count as a descriptor of the server.
            http: reqwest::Client::builder()
                .pool_max_idle_per_host(0)
                .build()
                .unwrap(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    fn get(&self, server: &Server, path: &str) -> String {
        self.runtime.block_on(async {
            let answer = self.http.get(server.url(path)).send().await.unwrap();
            answer.text().await.unwrap()
        })
    }

    fn post(&self, server: &Server, path: &str, body: &Json) -> (u16, Json, Option<String>) {
        self.runtime.block_on(async {
            let ask = self.http.post(server.url(path)).json(body);
            let answer = ask.send().await.unwrap();
            let session = answer.headers().get("x-millrace-session");
            let session = session.map(|name| name.to_str().unwrap().to_owned());
            let status = answer.status().as_u16();
            (status, answer.json().await.unwrap(), session)
        })
    }

    fn sessions(&self, server: &Server) -> Vec<Json> {
        let health: Json = serde_json::from_str(&self.get(server, "/healthz")).unwrap();
        health["webrtc"].as_array().cloned().unwrap_or_default()
    }

    fn wait_until_none_is_left(&self, server: &Server, within: Duration) {
        let until = awake() + within;
        while !self.sessions(server).is_empty() {
            assert!(awake() < until, "{:?}", self.sessions(server));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Threads and descriptors of a server.
fn held(server: &Server) -> (usize, usize) {
    let count = |what: &str| {
        let folder = format!("/proc/{}/{what}", server.pid());
        Path::new(&folder).read_dir().unwrap().count()
    };
    (count("task"), count("fd"))
}

fn uploads_in(folder: &Path) -> usize {
    folder.read_dir().unwrap().count()
}

#[test]
fn a_file_comes_back_frame_by_frame_and_nothing_of_it_stays() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(
        &[],
        &[(
            "MILLRACE_WEBRTC_UPLOAD_DIR",
            folder.path().to_str().unwrap(),
        )],
    );
    let client = Client::new();
    assert!(run(&server, "upload", &[SHAPES_ABSOLUTE, "300"]) >= 9);
    client.wait_until_none_is_left(&server, Duration::from_secs(12));
    assert_eq!(uploads_in(folder.path()), 0);
    let broken = changed_copy(SHAPES_ABSOLUTE, folder.path(), "broken.mp4", |bytes| {
        bytes.iter_mut().for_each(|byte| *byte ^= 0x5a);
    });
    assert_eq!(
        run(&server, "broken_upload", &[broken.to_str().unwrap()]),
        1
    );
    client.wait_until_none_is_left(&server, Duration::from_secs(12));
    assert_eq!(uploads_in(folder.path()), 1);
    let figures = client.get(&server, "/metrics");
    assert!(
        figures.contains("millrace_webrtc_sessions_total 2\n"),
        "{figures}"
    );
    assert!(
        figures.contains("millrace_webrtc_upload_bytes 0\n"),
        "{figures}"
    );
}

#[test]
fn a_file_is_shown_on_a_track_and_run_for_a_client_that_acknowledges_nothing() {
    let server = Server::start(&[], &[]);
    assert!(run(&server, "upload_with_track", &[SHAPES_ABSOLUTE, "300"]) >= 4);
    assert_eq!(run(&server, "deaf", &[SHAPES_ABSOLUTE, "300"]), 1);
}

#[test]
fn pictures_of_a_client_come_back_and_its_wishes_may_change() {
    let platform = Platform::start();
    platform.publish("test-workspace/tagged", &tagged());
    let url = platform.url().to_string();
    let url = url.trim_end_matches('/');
    let server = Server::start(&[], &[("API_BASE_URL", url), ("ROBOFLOW_API_HOST", url)]);
    assert!(run(&server, "track", &[]) >= 12);
    assert!(run(&server, "named", &[]) >= 5);
}

#[test]
fn the_codec_that_a_client_offers_is_spoken_and_sound_is_left_alone() {
    let server = Server::start(&[], &[]);
    assert!(run(&server, "codecs", &[]) >= 12);
}

#[test]
fn cameras_that_the_server_reaches_are_shown() {
    let camera = RtspServer::start(CameraClip::shapes(), Setup::default());
    let http = HttpCamera::start(Answer::Mjpeg(1_000_000));
    let private = [("WEBRTC_MJPEG_ALLOW_NON_GLOBAL_ADDRESSES", "true")];
    let server = Server::start(&[], &private);
    assert!(run(&server, "camera", &[&camera.url()]) >= 5);
    assert_eq!(run(&server, "mjpeg", &[&http.url("http", "cam")]), 1);
}

#[test]
fn sessions_that_cannot_be_are_refused_and_leave_nothing() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = dead.local_addr().unwrap();
    drop(dead);
    let platform = Platform::start();
    let url = platform.url().to_string();
    let url = url.trim_end_matches('/');
    let server = Server::start(&[], &[("API_BASE_URL", url), ("ROBOFLOW_API_HOST", url)]);
    let client = Client::new();
    let (rtsp, http) = (format!("rtsp://{address}/a"), format!("http://{address}/a"));
    assert_eq!(run(&server, "refused", &[&rtsp, &http]), 8);
    let path = "/initialise_webrtc_worker";
    let told = |change: &dyn Fn(&mut Json)| {
        let mut body = request(OFFER);
        change(&mut body);
        let (status, answer, session) = client.post(&server, path, &body);
        assert_eq!(session, None);
        (status, answer)
    };
    for (sdp, words) in [
        (String::new(), "it is no SDP"),
        ("garbage".repeat(100), "it is no SDP"),
        ("v=0\r\n".repeat(100_000), "bytes"),
        (OFFER.replace("a=ice-ufrag:abcd\r\n", ""), "no a=ice-ufrag"),
        (OFFER.replace("a=fingerprint", "a=x"), "no a=fingerprint"),
        (
            OFFER.replace("m=application 9", "m=application 0"),
            "switched off",
        ),
    ] {
        let (status, answer) = told(&|body| body["webrtc_offer"]["sdp"] = sdp.clone().into());
        assert_eq!(status, 400, "{answer}");
        assert_eq!(answer["error_type"], "WebRTCConfigurationError");
        assert!(answer["message"].to_string().contains(words), "{answer}");
    }
    let (status, answer) = told(&|body| body["webrtc_offer"] = json!({"type": "offer"}));
    assert_eq!(status, 422);
    assert_eq!(
        answer["detail"][0]["loc"],
        json!(["body", "webrtc_offer", "sdp"])
    );
    let (status, answer) = told(&|body| {
        body["workflow_configuration"] = json!({"type": "WorkflowConfiguration"});
    });
    assert_eq!(status, 400);
    assert!(
        answer["message"]
            .to_string()
            .contains("Either 'workflow_specification'"),
        "{answer}"
    );
    let (status, answer) = told(&|body| {
        body["workflow_configuration"]["image_input_name"] = "picture".into();
    });
    assert_eq!(status, 400);
    assert!(
        answer["message"].to_string().contains("no image input"),
        "{answer}"
    );
    let (status, _) = told(&|body| body["rtsp_url"] = "file:///etc/passwd".into());
    assert_eq!(status, 400);
    assert!(client.sessions(&server).is_empty());
    assert!(
        client
            .get(&server, "/metrics")
            .contains("millrace_webrtc_sessions_total 0\n")
    );
}

#[test]
fn sessions_are_bounded_in_number() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(
        &[],
        &[
            ("MILLRACE_WEBRTC_SESSIONS", "2"),
            (
                "MILLRACE_WEBRTC_UPLOAD_DIR",
                folder.path().to_str().unwrap(),
            ),
        ],
    );
    let client = Client::new();
    let path = "/initialise_webrtc_worker";
    for _ in 0..2 {
        let (status, answer, session) = client.post(&server, path, &request(OFFER));
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["type"], "answer");
        assert!(
            answer["sdp"].to_string().contains("a=candidate"),
            "{answer}"
        );
        assert!(session.is_some());
    }
    let (status, answer, _) = client.post(&server, path, &request(OFFER));
    assert_eq!(status, 503, "{answer}");
    assert!(
        answer["message"]
            .to_string()
            .contains("MILLRACE_WEBRTC_SESSIONS"),
        "{answer}"
    );
    assert_eq!(client.sessions(&server).len(), 2);
    assert_eq!(client.sessions(&server)[0]["phase"], "connecting");
    assert_eq!(uploads_in(folder.path()), 2);
}

#[test]
fn sessions_of_a_workspace_are_counted_told_and_ended_by_its_keys() {
    let platform = Platform::start();
    platform.accept("K1", "test-workspace");
    platform.accept("K2", "other-workspace");
    let url = platform.url().to_string();
    let url = url.trim_end_matches('/');
    let server = Server::start(
        &[],
        &[
            ("API_BASE_URL", url),
            ("ROBOFLOW_API_HOST", url),
            ("WEBRTC_WORKSPACE_STREAM_QUOTA_ENABLED", "true"),
            ("WEBRTC_WORKSPACE_STREAM_QUOTA", "1"),
        ],
    );
    let client = Client::new();
    let path = "/initialise_webrtc_worker";
    let mut body = request(OFFER);
    body["api_key"] = "K1".into();
    body["session_id"] = "mine".into();
    let (status, _, session) = client.post(&server, path, &body);
    assert_eq!((status, session.as_deref()), (200, Some("mine")));
    let (status, answer, _) = client.post(&server, path, &body);
    let words = "You have reached the maximum of 1 concurrent streams.";
    assert_eq!((status, &answer["message"]), (429, &json!(words)));
    body["api_key"] = "K2".into();
    assert_eq!(client.post(&server, path, &body).0, 200);
    let beat = |key: Json, session: &str, path: &str| {
        let body = json!({"api_key": key, "session_id": session});
        let (status, answer, _) = client.post(&server, path, &body);
        (status, answer)
    };
    let detail = |message: &str| json!({"detail": {"status": "error", "message": message}});
    let (alive, end) = ("/webrtc/session/heartbeat", "/webrtc/session/heartbeat/end");
    assert_eq!(
        beat("K1".into(), "mine", alive),
        (200, json!({"status": "ok"}))
    );
    assert_eq!(
        beat("K2".into(), "mine", alive),
        (404, detail("session not found"))
    );
    assert_eq!(
        beat("K1".into(), "none", alive),
        (404, detail("session not found"))
    );
    assert_eq!(
        beat("bad".into(), "mine", alive),
        (401, detail("unauthorized"))
    );
    assert_eq!(
        beat(Json::Null, "mine", alive),
        (401, detail("unauthorized"))
    );
    assert_eq!(
        beat("K2".into(), "mine", end),
        (200, json!({"status": "ok"}))
    );
    assert_eq!(client.sessions(&server).len(), 2);
    assert_eq!(
        beat("K1".into(), "mine", end),
        (200, json!({"status": "ok"}))
    );
    let until = awake() + Duration::from_secs(2);
    while client.sessions(&server).len() > 1 {
        assert!(awake() < until);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_older_route_starts_the_same_session() {
    let server = Server::start(&[], &[("MILLRACE_WEBRTC_CONNECT_SECONDS", "1")]);
    let client = Client::new();
    let path = "/inference_pipelines/initialise_webrtc";
    let body = json!({
        "video_configuration": {"type": "VideoConfiguration", "video_reference": 0},
        "processing_configuration": {
            "type": "WorkflowConfiguration",
            "workflow_specification": tagged(),
        },
        "webrtc_offer": {"type": "offer", "sdp": OFFER},
        "webrtc_turn_config": {"urls": "turn:127.0.0.1:9", "username": "u", "credential": "c"},
    });
    let (status, answer, session) = client.post(&server, path, &body);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["type"], "answer");
    assert_eq!(answer["context"]["pipeline_id"], session.unwrap());
    let off = Server::start(&[], &[("WEBRTC_WORKER_ENABLED", "false")]);
    let (status, ..) = client.post(&off, "/initialise_webrtc_worker", &body);
    assert_eq!(status, 405);
}

#[test]
fn every_end_of_a_session_gives_back_what_it_held() {
    let mut server = Server::start(&[], &[]);
    let client = Client::new();
    // What is made once per process is there after the first one.
    assert!(run(&server, "track", &[]) >= 12);
    client.wait_until_none_is_left(&server, Duration::from_secs(3));
    let before = held(&server);
    assert_eq!(run(&server, "timed", &[]), 1);
    for _ in 0..2 {
        run(&server, "track", &[]);
    }
    // Told to end.
    let mut waiting = start(&server, "waiting", &[]);
    let mut lines = BufReader::new(waiting.stdout.take().unwrap()).lines();
    let running = |line: &String| line == "running";
    assert!(
        lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| running(&line))
    );
    let session = client.sessions(&server)[0]["session"].clone();
    let body = json!({"api_key": "K1", "session_id": session});
    let (status, ..) = client.post(&server, "/webrtc/session/heartbeat/end", &body);
    assert_eq!(status, 200);
    client.wait_until_none_is_left(&server, Duration::from_secs(2));
    assert!(
        lines
            .map_while(Result::ok)
            .any(|line| line == "ok ended by the server")
    );
    assert!(waiting.wait().unwrap().success());
    let until = Instant::now() + Duration::from_secs(10);
    let as_before = |now: (usize, usize)| now.0 <= before.0 && now.1 <= before.1;
    while !as_before(held(&server)) {
        assert!(
            Instant::now() < until,
            "{:?}, before {before:?}",
            held(&server)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    // And with the server.
    let mut waiting = start(&server, "waiting", &[]);
    let lines = BufReader::new(waiting.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| running(&line)));
    let begun = awake();
    assert_eq!(server.terminate(), Some(0));
    let took = awake() - begun;
    assert!(took < Duration::from_millis(2_500), "{took:?}");
    let _ = waiting.kill();
    let _ = waiting.wait();
}
