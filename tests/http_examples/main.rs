//! Recorded exchanges with the reference server, asked of the real binary: the same status and the
//! same body, but for ids, times, encoded pictures and the server's name.
//!
//! Folders of `fixtures/http-examples` are groups, each with the situation it was recorded in. What
//! millrace answers otherwise on purpose is listed with its reason; nothing else is left out.

#![allow(clippy::unwrap_used)] // a test that cannot go on ends

mod client;
mod comparison;
mod exchange;
#[path = "../support/picture_host.rs"]
mod picture_host;
#[path = "../support/platform.rs"]
mod platform;
#[path = "../support/server.rs"]
mod server;

use std::path::Path;
use std::time::Duration;

use client::Client;
use exchange::{FOLDER, exchange, names};
use platform::{Manner, Platform};
use serde_json::{Value as Json, json};
use server::Server;

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
