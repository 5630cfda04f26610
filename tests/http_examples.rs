//! Recorded exchanges with the reference server, asked of the real binary: the same status and the
//! same body, but for ids, times, encoded pictures and the server's name.
//!
//! Folders of `fixtures/http-examples` are groups, each with the situation it was recorded in. What
//! millrace answers otherwise on purpose is listed with its reason; nothing else is left out.

#![allow(clippy::unwrap_used)] // a test that cannot go on ends

#[path = "support/platform.rs"]
mod platform;
#[path = "support/server.rs"]
mod server;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use platform::{Manner, Platform};
use serde_json::{Value as Json, json};
use server::Server;

const FOLDER: &str = "fixtures/http-examples";

/// Answered otherwise on purpose.
const OTHERWISE: &[(&str, &str)] = &[
    (
        "cache/cache_5_still_old",
        "a fresh answer replaces the one in memory: nobody sees yesterday's definition",
    ),
    (
        "cache/platform_500_use_cache_false_disk_not_read",
        "a platform that fails is no reason to fail: the disk copy stands in and says so",
    ),
    (
        "errors/err_model_add_dotdot",
        "an id that cannot be one is the client's mistake, not the server's: 400",
    ),
    ("server/metrics", "millrace has figures of its own"),
    (
        "sdk/run_workflow_profiling",
        "the events are those of another engine; the first one and the form are checked below",
    ),
];

/// Parts of bodies that hold the words of the reference's libraries, or the server's name.
const WORDS: &[(&str, &[&str])] = &[
    ("sdk/get_server_info", &["/name"]),
    // The variant is a fact of the platform, which a local package does not tell.
    (
        "server/workload_spec",
        &["/summary/models/items/0/metadata/model_variant"],
    ),
    // We say what the other server answered.
    ("server/legacy_get_image_url", &["/message"]),
    ("errors/image_url_404", &["/message"]),
    (
        "errors/err_dynamic_outputs",
        &["/inner_error_message", "/blocks_errors/0/property_details"],
    ),
    ("errors/err_image_file", &["/message"]),
    ("errors/err_image_plain_path", &["/message"]),
    ("errors/err_image_type", &["/message"]),
    ("errors/err_bad_image", &["/message"]),
    ("errors/err_bad_image_used", &["/message"]),
    ("errors/err_image_url_refused", &["/message"]),
    ("errors/image_video_metadata_bad", &["/message"]),
    (
        "errors/err_unknown_block",
        &["/inner_error_message", "/blocks_errors/0/property_details"],
    ),
    (
        "errors/err_block_validation",
        &["/inner_error_message", "/blocks_errors/0/property_details"],
    ),
];

/// The offer of a client for data channels, whole where the recording has a cut one.
const OFFER: &str = "v=0\r\no=- 4004279696 4004279696 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
    a=group:BUNDLE 0\r\na=msid-semantic:WMS *\r\n\
    m=application 59146 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 127.0.0.1\r\na=mid:0\r\n\
    a=sctp-port:5000\r\na=max-message-size:65536\r\na=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n";

/// A recorded exchange.
struct Exchange {
    name: String,
    request: Json,
    response: Json,
}

fn exchange(name: &str) -> Exchange {
    let text = std::fs::read_to_string(format!("{FOLDER}/{name}.json")).expect(name);
    let mut json: Json = serde_json::from_str(&text).expect(name);
    Exchange {
        name: name.to_owned(),
        request: json["request"].take(),
        response: json["response"].take(),
    }
}

fn names(folder: &str) -> Vec<String> {
    let mut names: Vec<String> = Path::new(FOLDER)
        .join(folder)
        .read_dir()
        .expect(folder)
        .map(|entry| entry.expect("entry").path())
        .map(|path| format!("{folder}/{}", path.file_stem().unwrap().to_str().unwrap()))
        .collect();
    names.sort();
    names
}

/// The recorded picture, in the forms in which it was sent.
fn png() -> String {
    let plain = exchange("server/image_plain_base64");
    let text = plain.request["body"]["inputs"]["image"].as_str();
    text.expect("an image").to_owned()
}

fn jpeg() -> String {
    let bytes = STANDARD.decode(png()).unwrap();
    let picture = image::load_from_memory(&bytes).unwrap().to_rgb8();
    let mut out = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, 95);
    picture.write_with_encoder(encoder).unwrap();
    STANDARD.encode(out)
}

/// Serves the picture under the path of the recordings.
fn picture_host() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let bytes = STANDARD.decode(png()).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let picture = axum::routing::get(move || async move { bytes.clone() });
            let router = axum::Router::new().route("/files/tiny/1/img.png", picture);
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    address
}

/// Puts whole pictures where the recordings have cut ones, and the stand-in's address where they
/// name the platform's.
fn completed(value: &Json, host: SocketAddr) -> Json {
    match value {
        Json::String(text) if text.ends_with("base64 chars>") => jpeg().into(),
        Json::String(text) if text.ends_with("<sdp cut>") => OFFER.into(),
        Json::String(text) => text.replace("platform.example", &host.to_string()).into(),
        Json::Array(items) => items.iter().map(|item| completed(item, host)).collect(),
        Json::Object(entries) => entries
            .iter()
            .map(|(name, item)| (name.clone(), completed(item, host)))
            .collect(),
        other => other.clone(),
    }
}

/// JSON with the blanks that the recording client put; refusals quote it.
fn python_text(json: &Json) -> String {
    struct Blanks;
    impl serde_json::ser::Formatter for Blanks {
        fn begin_array_value<W: ?Sized + std::io::Write>(
            &mut self,
            out: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            out.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_key<W: ?Sized + std::io::Write>(
            &mut self,
            out: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            out.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_value<W: ?Sized + std::io::Write>(
            &mut self,
            out: &mut W,
        ) -> std::io::Result<()> {
            out.write_all(b": ")
        }
    }
    let mut text = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut text, Blanks);
    serde::Serialize::serialize(json, &mut writer).unwrap();
    String::from_utf8(text).unwrap()
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Json,
}

struct Client {
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    host: SocketAddr,
}

impl Client {
    fn new() -> Self {
        let policy = reqwest::redirect::Policy::none();
        Self {
            http: reqwest::Client::builder().redirect(policy).build().unwrap(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
            host: picture_host(),
        }
    }

    fn ask(&self, server: &Server, exchange: &Exchange) -> Answer {
        let request = &exchange.request;
        let path = request["path"].as_str().unwrap();
        let path = path.replace("platform.example", &self.host.to_string());
        let method = request["method"].as_str().unwrap().parse().unwrap();
        let mut ask = self.http.request(method, server.url(&path));
        for (name, value) in request["headers"].as_object().unwrap() {
            ask = ask.header(name, value.as_str().unwrap());
        }
        ask = match special_body(exchange) {
            Some(bytes) => ask.body(bytes),
            None => match completed(&request["body"], self.host) {
                Json::Null => ask,
                Json::String(text) => ask.body(text),
                json => ask.body(python_text(&json)),
            },
        };
        self.runtime.block_on(async {
            let response = ask.send().await.expect("an answer");
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let bytes = response.bytes().await.expect("a body");
            let body =
                serde_json::from_slice(&bytes).unwrap_or_else(|_| {
                    match std::str::from_utf8(&bytes) {
                        Ok("") => Json::Null,
                        Ok(text) => text.into(),
                        Err(_) => format!(
                            "<{} bytes, starts {}>",
                            bytes.len(),
                            hex::encode(&bytes[..8])
                        )
                        .into(),
                    }
                });
            Answer {
                status,
                headers,
                body,
            }
        })
    }

    /// Asks and compares; answers what differs.
    fn check(&self, server: &Server, name: &str) -> Vec<String> {
        let exchange = exchange(name);
        let answer = self.ask(server, &exchange);
        let want = &exchange.response;
        let mut differences = Vec::new();
        if want["status"] != answer.status {
            differences.push(format!("status {} not {}", answer.status, want["status"]));
        }
        let ignored = WORDS
            .iter()
            .find(|(other, _)| *other == name)
            .map_or(&[][..], |(_, at)| at);
        compare(
            &completed_answer(&want["body"], self.host),
            &answer.body,
            "",
            ignored,
            &mut differences,
        );
        for header in [
            "content-type",
            "x-model-id",
            "location",
            "x-workspace-id",
            "allow",
        ] {
            let wanted = want["headers"].get(header).and_then(Json::as_str);
            let got = answer
                .headers
                .get(header)
                .map(|value| value.to_str().unwrap());
            let plain = |text: &str| text.split(';').next().unwrap().to_owned();
            if wanted.is_some() && wanted.map(plain) != got.map(plain) {
                differences.push(format!("header {header}: {got:?} not {wanted:?}"));
            }
        }
        differences
            .into_iter()
            .map(|d| format!("{name}: {d}"))
            .collect()
    }
}

/// Answers may name the stand-in too; cut pictures stay cut.
fn completed_answer(value: &Json, host: SocketAddr) -> Json {
    let text = value
        .to_string()
        .replace("platform.example", &host.to_string());
    serde_json::from_str(&text).unwrap()
}

/// Bodies that the recordings cut because they are no text.
fn special_body(exchange: &Exchange) -> Option<Vec<u8>> {
    let picture = STANDARD.decode(png()).unwrap();
    let form = |part: &str| {
        let head = format!(
            "--BOUND\r\nContent-Disposition: form-data; name=\"{part}\"; filename=\"a.png\"\r\n\
             Content-Type: image/png\r\n\r\n"
        );
        [head.as_bytes(), &picture, b"\r\n--BOUND--\r\n"].concat()
    };
    match exchange.name.as_str() {
        "server/legacy_multipart" => Some(form("file")),
        "errors/err_legacy_multipart_wrong_part" => Some(form("wrong")),
        "errors/err_legacy_raw_bytes" => Some(picture.clone()),
        _ => None,
    }
}

/// Fields whose value is another one in each answer.
const VOLATILE: &[&str] = &[
    "model_package_id",
    // Depends on what was asked before.
    "request_paths",
    "inference_id",
    "time",
    "detection_id",
    "uuid",
    "frame_timestamp",
    "id",
];

/// What millrace tells of a model in memory beyond the reference.
const ADDED: &[&str] = &["version", "sha256", "size_bytes", "loaded_since", "source"];

fn compare(want: &Json, got: &Json, at: &str, ignored: &[&str], out: &mut Vec<String>) {
    if ignored.contains(&at) {
        if at.ends_with("model_variant") && got.is_null() {
            return;
        }
        // What comes before the library's words is ours too.
        let own = |text: &Json| {
            text.as_str()
                .map(|t| t.split("Details: ").next().map(str::len))
        };
        let (Some(wanted), Some(got_text)) = (want.as_str(), got.as_str()) else {
            return out.push(format!("{at} is {got}, not text"));
        };
        let until = own(want).flatten().unwrap_or_default();
        if until < wanted.len() && wanted.get(..until) != got_text.get(..until) {
            out.push(format!("{at} begins otherwise: {got_text:?}"));
        }
        return;
    }
    match (want, got) {
        (Json::Object(want), Json::Object(got)) => {
            for (name, value) in want {
                let at = format!("{at}/{name}");
                match got.get(name) {
                    None => out.push(format!("{at} is missing")),
                    Some(other) if VOLATILE.contains(&name.as_str()) => {
                        if std::mem::discriminant(value) != std::mem::discriminant(other) {
                            out.push(format!("{at} is {other}, another type than {value}"));
                        }
                    }
                    Some(other) => compare(value, other, &at, ignored, out),
                }
            }
            for name in got.keys().filter(|name| {
                !want.contains_key(*name) && *name != "id" && !ADDED.contains(&name.as_str())
            }) {
                out.push(format!("{at}/{name} is too much"));
            }
        }
        (Json::Array(want), Json::Array(got)) => {
            if want.len() != got.len() {
                out.push(format!("{at} has {} items, not {}", got.len(), want.len()));
            }
            for (i, (want, got)) in want.iter().zip(got).enumerate() {
                compare(want, got, &format!("{at}/{i}"), ignored, out);
            }
        }
        (Json::String(want), Json::String(got)) if want.ends_with("base64 chars>") => {
            let start = want.split("...").next().unwrap();
            if !got.starts_with(start) {
                out.push(format!(
                    "{at} starts {:?}",
                    &got[..start.len().min(got.len())]
                ));
            }
        }
        (Json::String(want), Json::String(got)) if want.contains(" bytes, starts ") => {
            let start = |text: &str| text.split("starts ").nth(1).map(str::to_owned);
            if start(want) != start(got) {
                out.push(format!("{at} is {got}, not {want}"));
            }
        }
        (Json::String(want), Json::String(got)) if want.ends_with("<sdp cut>") => {
            let (start, section) = ("v=0\r\no=- ", "m=application ");
            if !got.starts_with(start) || !got.contains(section) {
                out.push(format!("{at} is no session: {got:?}"));
            }
        }
        (Json::String(want), Json::String(got)) if want.ends_with("...(list cut)") => {
            let start = want.split(" ...(list cut)").next().unwrap();
            if !got.starts_with(start) {
                out.push(format!("{at} is {got:?}, not {want:?}"));
            }
        }
        // Documentation that the recording cut; ours is in our words.
        (Json::String(want), Json::String(_)) if want == "..." => {}
        (Json::Number(a), Json::Number(b)) if a.as_f64() == b.as_f64() => {}
        (want, got) if want == got => {}
        _ => out.push(format!("{at} is {got}, not {want}")),
    }
}

/// A definition with a tag that tells which one it is.
fn tagged(tag: &str) -> Json {
    let mut definition = exchange("server/null_output").request["body"]["specification"].take();
    definition["inputs"][1]["default_value"] = tag.into();
    definition
}

fn detecting() -> Json {
    exchange("server/describe_interface_spec").request["body"]["specification"].take()
}

const URLS: &[(&str, &str)] = &[
    ("ALLOW_NON_HTTPS_URL_INPUT", "true"),
    ("ALLOW_URL_INPUT_WITHOUT_FQDN", "true"),
    ("ALLOW_URL_TO_NON_GLOBAL_ADDRESSES", "true"),
];

const MODELS: [&str; 2] = ["--models", "fixtures/models"];

fn platform() -> Platform {
    let platform = Platform::start();
    platform.publish("test-workspace/tagged", &tagged("v1"));
    platform.publish("test-workspace/tagged@ver-7", &tagged("pinned-7"));
    platform.publish("test-workspace/cached", &tagged("v1"));
    platform.publish("test-workspace/det", &detecting());
    platform
}

/// A server that talks to this platform.
fn server_of(platform: &Platform, args: &[&str], env: &[(&str, &str)]) -> Server {
    let url = platform.url().to_string();
    let url = url.trim_end_matches('/');
    let mut all = vec![("API_BASE_URL", url), ("ROBOFLOW_API_HOST", url)];
    all.extend(env);
    Server::start(&[&MODELS[..], args].concat(), &all)
}

fn is_otherwise(name: &str) -> bool {
    OTHERWISE.iter().any(|(other, _)| *other == name)
}

fn assert_none(differences: &[String]) {
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn single_requests_are_answered_as_recorded() {
    let platform = platform();
    let client = Client::new();
    let mut differences = Vec::new();
    let mut asked = 0;
    for folder in ["sdk", "server", "errors"] {
        let server = server_of(&platform, &["--profiling", "true"], URLS);
        let mut names = names(folder);
        // Was asked before any model was loaded.
        names.sort_by_key(|name| name != "sdk/list_loaded_models");
        for name in names {
            if is_otherwise(&name) {
                continue;
            }
            asked += 1;
            differences.extend(client.check(&server, &name));
        }
    }
    println!("{asked} exchanges");
    assert_none(&differences);
}

#[test]
fn a_failing_platform_is_told_as_recorded() {
    let mut platform = platform();
    let client = Client::new();
    let server = server_of(&platform, &[], &[]);
    let mut differences = Vec::new();
    for name in names("platform-errors") {
        let manner = match name.rsplit('_').next().unwrap() {
            "unknown" => Manner::Well,
            "malformed" => Manner::Body(b"<html>".to_vec()),
            "drop" => Manner::Drop,
            "refused" => {
                platform.refuse();
                differences.extend(client.check(&server, &name));
                platform.listen();
                continue;
            }
            status => Manner::Status(status.parse().unwrap(), None),
        };
        platform.answer(manner);
        differences.extend(client.check(&server, &name));
        platform.answer(Manner::Well);
    }
    assert_none(&differences);
}

#[test]
fn definitions_are_kept_as_recorded() {
    let mut platform = platform();
    let client = Client::new();
    let server = server_of(&platform, &[], &[]);
    let mut differences = Vec::new();
    let mut ask = |name: &str| {
        assert!(!is_otherwise(name), "{name}");
        differences.extend(client.check(&server, name));
    };
    ask("cache/cache_1_first");
    ask("cache/cache_2_hit");
    platform.publish("test-workspace/cached", &tagged("v2"));
    ask("cache/cache_3_after_publish");
    ask("cache/cache_4_use_cache_false");
    let after = client.ask(&server, &exchange("cache/cache_5_still_old"));
    assert_eq!(after.body["outputs"][0]["tag"], "v2", "{}", OTHERWISE[0].1);
    ask("cache/cache_6_other_key");
    platform.answer(Manner::Drop);
    let kept = client.ask(&server, &exchange("cache/platform_drop_but_memory"));
    assert_eq!(kept.body["outputs"][0]["tag"], "v2", "{}", OTHERWISE[0].1);
    ask("cache/platform_drop_use_cache_false_disk");
    platform.answer(Manner::Status(500, None));
    let failing = exchange("cache/platform_500_use_cache_false_disk_not_read");
    let stood_in = client.ask(&server, &failing);
    assert_eq!(stood_in.status, 200, "{}", OTHERWISE[1].1);
    let stamp = stood_in.headers["x-millrace-definition"].to_str().unwrap();
    assert!(
        stamp.contains("source=disk") && stamp.contains("stale=?1"),
        "{stamp}"
    );
    platform.refuse();
    ask("cache/platform_refused_disk");
    assert_none(&differences);
}

#[test]
fn keys_of_other_workspaces_are_refused_as_recorded() {
    let platform = platform();
    platform.accept("K1", "test-workspace");
    platform.accept("K2", "other-workspace");
    let client = Client::new();
    let allowed = ["--allow-workspace", "test-workspace"];
    let server = server_of(&platform, &allowed, &[]);
    let mut differences = Vec::new();
    for name in names("auth-offline")
        .iter()
        .filter(|n| n.contains("/auth_"))
    {
        differences.extend(client.check(&server, name));
    }
    assert_none(&differences);
}

#[test]
fn a_slow_platform_and_no_platform_are_told_as_recorded() {
    let mut platform = platform();
    platform.publish("test-workspace/ttl", &tagged("v3"));
    let client = Client::new();
    let server = server_of(
        &platform,
        &[],
        &[
            ("ROBOFLOW_API_REQUEST_TIMEOUT", "1"),
            ("WORKFLOWS_DEFINITION_CACHE_EXPIRY", "0.1"),
        ],
    );
    let mut differences = Vec::new();
    let mut ask = |name: &str| differences.extend(client.check(&server, name));
    ask("auth-offline/slow_disk");
    platform.answer(Manner::Slowly(Duration::from_secs(3)));
    std::thread::sleep(Duration::from_millis(200));
    ask("auth-offline/slow_disk");
    ask("auth-offline/slow_no_disk");
    platform.answer(Manner::Well);
    for name in ["sdk/run_workflow_named", "auth-offline/auth_ok"] {
        client.ask(&server, &exchange(name));
    }
    platform.refuse();
    ask("auth-offline/offline_infer_nokey");
    assert_none(&differences);
}

#[test]
fn the_editor_is_answered_as_recorded() {
    let platform = platform();
    let client = Client::new();
    let server = server_of(&platform, &["--builder"], &[]);
    let mut differences = Vec::new();
    // All were recorded with the token of another server.
    for name in names("builder") {
        differences.extend(client.check(&server, &name));
    }
    assert_none(&differences);
    let token = server.cache.path().join("workflow/local/.csrf");
    let token = std::fs::read_to_string(token).unwrap();
    let with_token = |name: &str| {
        let mut exchange = exchange(name);
        exchange.request["headers"]["X-CSRF"] = token.clone().into();
        let answer = client.ask(&server, &exchange);
        (answer.status, answer.body)
    };
    assert_eq!(with_token("builder/builder_list").1, json!({"data": {}}));
    assert_eq!(with_token("builder/builder_save").0, 201);
    assert_eq!(with_token("builder/builder_bad_id").0, 400);
    assert_eq!(with_token("builder/builder_reserved").0, 400);
    assert_eq!(with_token("builder/builder_missing").0, 404);
    let (status, saved) = with_token("builder/builder_get");
    assert_eq!(
        (status, &saved["data"]["config"]["id"]),
        (200, &json!("my-flow"))
    );
    let run = client.ask(&server, &exchange("builder/local_run"));
    assert_eq!(run.body["outputs"][0]["tag"], "local-1");
    assert_eq!(with_token("builder/builder_rename").0, 201);
    assert_eq!(with_token("builder/builder_get").0, 404);
    assert_eq!(with_token("builder/builder_delete").0, 200);
    assert_eq!(with_token("builder/builder_delete_again").0, 404);
}

#[test]
fn the_last_lines_of_the_log_are_told_where_they_are_kept() {
    let platform = platform();
    let client = Client::new();
    let server = server_of(&platform, &[], &[("ENABLE_IN_MEMORY_LOGS", "true")]);
    client.ask(&server, &exchange("server/null_output"));
    let recorded = exchange("auth-offline/logs_on");
    let answer = client.ask(&server, &recorded);
    assert_eq!(answer.status, 200);
    let lines = answer.body["logs"].as_array().unwrap();
    assert_eq!(answer.body["total_count"], lines.len());
    let names = |line: &Json| {
        line.as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let want = &recorded.response["body"]["logs"][0];
    assert!(
        lines.iter().all(|line| names(line) == names(want)),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line["message"].to_string().contains("/workflows/run"))
    );
}

#[test]
fn a_profile_of_a_run_is_a_chrome_trace() {
    let platform = platform();
    let server = server_of(&platform, &["--profiling", "true"], &[]);
    let client = Client::new();
    let answer = client.ask(&server, &exchange("sdk/run_workflow_profiling"));
    let trace = answer.body["profiler_trace"].as_array().unwrap();
    assert_eq!(trace[0]["name"], "workflow_definition_fetching");
    for event in trace {
        assert_eq!(event["ph"], "X");
        for field in ["ts", "dur", "pid", "tid"] {
            assert!(event[field].is_u64(), "{event}");
        }
        assert!(event["cat"].is_string(), "{event}");
    }
    let plain = client.ask(&server, &exchange("sdk/run_workflow_named"));
    assert_eq!(plain.body["profiler_trace"], json!([]));
}

#[test]
fn a_session_over_webrtc_is_started_as_recorded() {
    let client = Client::new();
    let server = server_of(&platform(), &[], &[]);
    let names = names("webrtc");
    let checked = names.iter().flat_map(|name| client.check(&server, name));
    let differences: Vec<String> = checked.collect();
    assert!(!names.is_empty());
    assert_none(&differences);
}

#[test]
fn every_recorded_exchange_is_asked() {
    let groups = [
        "sdk",
        "server",
        "errors",
        "cache",
        "platform-errors",
        "auth-offline",
        "builder",
        "webrtc",
    ];
    for (name, reason) in OTHERWISE {
        assert!(
            Path::new(FOLDER).join(format!("{name}.json")).exists(),
            "{name}"
        );
        assert!(!reason.is_empty());
    }
    for folder in Path::new(FOLDER).read_dir().unwrap() {
        let folder = folder.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        if folder.is_dir() && !["platform", "pipelines"].contains(&name.as_str()) {
            assert!(groups.contains(&name.as_str()), "{name}");
        }
    }
}
