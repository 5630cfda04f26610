//! `millrace doctor` finds what was planted, names what mends it, and reports nothing on a healthy
//! machine. The platform and the other servers are real servers on this machine.
#![allow(clippy::unwrap_used, clippy::panic)]

mod installation;
mod machine;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use machine::{KEY, Machine, Server, definition, root};
use serde_json::json;

fn roboflow(id: &str, version: &str) -> Router {
    let info = json!({"name": "Roboflow Inference Server", "version": version, "uuid": id});
    Router::new()
        .route("/info", get(move || async { axum::Json(info) }))
        .route(
            "/healthz",
            get(async || axum::Json(json!({"status": "healthy"}))),
        )
}

#[test]
fn a_healthy_machine_has_no_findings() {
    let report = Machine::healthy().examine();
    assert_eq!(report.checks("fault"), BTreeSet::new(), "{report:#?}");
    // Where a folder for a test lies is the machine's matter: on a disk, or in a layer of a container.
    let mut warnings = report.checks("warning");
    warnings.remove("cache volume");
    assert_eq!(warnings, BTreeSet::new(), "{report:#?}");
    assert_eq!(report.code, 0);
    for check in [
        "settings",
        "port",
        "platform",
        "api key",
        "clock",
        "definition",
        "publication",
        "version tag",
        "cache writable",
        "cache space",
        "models",
        "onnx runtime",
        "gstreamer",
        "decoders",
        "encoder",
        "webrtc",
        "rtsp output",
        "compiles",
    ] {
        report.one(check, "ok");
    }
    let (evidence, _) = report.one("definition", "ok");
    assert!(evidence.contains("asks again in 14 min"), "{evidence}");
    assert!(report.took < Duration::from_secs(20), "{:?}", report.took);
}

#[test]
fn an_examination_leaves_the_machine_as_it_was() {
    let machine = Machine::healthy();
    machine.publish(&definition("v2"));
    let listing = |folder: &Path| {
        let output = Command::new("find")
            .arg(folder)
            .args(["-printf", "%p %s %T@\n"])
            .output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        // The times of folders change with the file that is written for trial.
        lines.retain(|line| line.contains(".json") || line.contains(".onnx"));
        lines.sort();
        lines
    };
    let before = listing(machine.folder.path());
    machine.examine();
    assert_eq!(listing(machine.folder.path()), before);
    let left = Command::new("find")
        .arg(machine.cache())
        .args(["-name", "*.tmp"])
        .output();
    assert_eq!(left.unwrap().stdout, b"");
}

#[test]
fn another_server_on_the_port() {
    let machine = Machine::healthy();
    let _other = Server::start(
        roboflow("AbC123", "1.8.3"),
        &format!("127.0.0.1:{}", machine.port),
    );
    let report = machine.examine();
    report.only_fault(
        "port",
        "the Roboflow Inference Server 1.8.3 (AbC123)",
        "--port",
    );
    let (evidence, _) = report.one("port", "fault");
    let us = format!("process {}", std::process::id());
    assert!(evidence.contains(&us), "{evidence}");
}

#[test]
fn two_servers_that_share_the_port() {
    let machine = Machine::healthy();
    let _docker = Server::start(
        roboflow("AbC123", "1.8.3"),
        &format!("127.0.0.1:{}", machine.port),
    );
    let _native = Server::start(
        roboflow("xYz789", "1.5.0"),
        &format!("127.0.0.2:{}", machine.port),
    );
    machine.has_one_fault("port", "two servers share port", "keep one of them");
}

#[test]
fn a_program_on_the_port_that_says_nothing() {
    let machine = Machine::healthy();
    let _mute = TcpListener::bind(("127.0.0.1", machine.port)).unwrap();
    let report = machine.examine();
    report.only_fault("port", "does not answer HTTP", "stop it");
    assert!(report.took < Duration::from_secs(20), "{:?}", report.took);
}

#[test]
fn a_running_millrace_that_refused_a_definition() {
    let machine = Machine::healthy();
    let stamp =
        json!({"hash": "aaaaaaaaaaaa", "source": "file", "age_seconds": 1.0, "stale": false});
    let told = json!({
        "server": {"name": "millrace", "version": env!("CARGO_PKG_VERSION"), "started": "now"},
        "definitions": [{"id": "flow.json", "definition": stamp, "streams": ["cam"],
            "refused": {"hash": "bbbbbbbbbbbb", "reason": "unknown block"}}],
        "models": [], "streams": [],
    });
    let router = Router::new().route("/freshness", get(move || async { axum::Json(told) }));
    let _server = Server::start(router, &format!("127.0.0.1:{}", machine.port));
    let report = machine.examine();
    report.only_fault(
        "running",
        "refused the newer bbbbbbbbbbbb: unknown block",
        "validate",
    );
    report.one("port", "ok");
}

#[test]
fn a_key_that_the_platform_refuses() {
    let machine = Machine::healthy().with("ROBOFLOW_API_KEY", "another-key");
    let report = machine.examine();
    assert!(report.checks("fault").contains("api key"), "{report:#?}");
    let (evidence, remedy) = report.one("api key", "fault");
    assert!(evidence.contains("401") && remedy.contains("export ROBOFLOW_API_KEY"));
    assert!(!format!("{report:?}").contains("another-key"));
    let (foreign, _) = report.one("definition", "warning");
    assert!(foreign.contains("left by other API keys"), "{foreign}");
}

#[test]
fn a_key_of_another_workspace() {
    let machine = Machine::healthy();
    let report = machine.examine_with(&["--workflow", "theirs/flow"]);
    assert!(report.checks("fault").contains("api key"), "{report:#?}");
    let (evidence, remedy) = report.one("api key", "fault");
    assert!(evidence.contains("a key of the workspace ws, and theirs is asked for"));
    assert!(remedy.contains("a key of theirs"), "{remedy}");
}

#[test]
fn a_clock_that_is_an_hour_off() {
    let machine = Machine::healthy();
    machine.book.lock().unwrap().ahead = 3600;
    machine.has_one_fault("clock", "60 min behind", "timedatectl set-ntp true");
}

#[test]
fn a_platform_that_cannot_be_reached() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let machine = Machine::healthy()
        .with("API_BASE_URL", format!("http://user:{KEY}@{nobody}"))
        .with("ROBOFLOW_API_HOST", format!("http://user:{KEY}@{nobody}"));
    let report = machine.examine();
    report.only_fault(
        "platform",
        "cannot be reached: Connection refused",
        "curl -sSI",
    );
    report.one("clock", "not_applicable");
    let (evidence, _) = report.one("definition", "warning");
    assert!(evidence.contains("cannot be compared"), "{evidence}");
}

#[test]
fn a_platform_that_hangs_is_not_waited_for() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", hanging.local_addr().unwrap());
    let machine = Machine::healthy()
        .with("API_BASE_URL", &*address)
        .with("ROBOFLOW_API_HOST", &*address);
    let report = machine.examine();
    report.only_fault("platform", "no answer within 3 s", "check network");
    assert!(report.took < Duration::from_secs(20), "{:?}", report.took);
}

#[test]
fn a_platform_that_fails() {
    let machine = Machine::healthy();
    machine.book.lock().unwrap().status = Some(503);
    machine.has_one_fault("platform", "answers 503", "status.roboflow.com");
}

#[test]
fn a_copy_that_is_older_than_what_is_published() {
    let machine = Machine::healthy();
    machine.cache_copy(&definition("v0"), 4000);
    let report = machine.examine();
    let both = BTreeSet::from(["definition", "version tag"]);
    assert_eq!(report.checks("fault"), both, "{report:#?}");
    let (evidence, remedy) = report.one("definition", "fault");
    assert!(
        evidence.contains("older than the TTL of 15 min"),
        "{evidence}"
    );
    assert!(
        remedy.contains("millrace definitions refresh ws/flow"),
        "{remedy}"
    );
    let (evidence, _) = report.one("version tag", "fault");
    assert!(
        evidence.contains("says `v0` here, published is `v1`"),
        "{evidence}"
    );
}

#[test]
fn a_copy_within_its_ttl_is_a_warning_that_says_how_long() {
    let machine = Machine::healthy();
    machine.cache_copy(&definition("v0"), 300);
    let report = machine.examine();
    assert_eq!(
        (report.code, report.checks("fault").len()),
        (0, 0),
        "{report:#?}"
    );
    let (evidence, remedy) = report.one("definition", "warning");
    assert!(
        evidence.contains("serves it for another 10 min"),
        "{evidence}"
    );
    assert!(remedy.contains("wait, or"), "{remedy}");
}

#[test]
fn a_copy_that_is_damaged() {
    let machine = Machine::healthy();
    fs::write(machine.copy(), "{\"workflow\": {\"config\": \"{\\\"spec").unwrap();
    let remedy = format!("rm {}", machine.copy().display());
    machine.has_one_fault("definition", "is damaged", &remedy);
}

#[test]
fn a_definition_that_was_saved_and_not_published() {
    let machine = Machine::healthy();
    fs::write(machine.saved(), definition("v2").to_string()).unwrap();
    let report = machine.examine();
    assert_eq!(report.code, 0);
    let (evidence, remedy) = report.one("publication", "warning");
    assert!(evidence.contains("saved and not published"), "{evidence}");
    assert!(remedy.contains("publish it in the editor"), "{remedy}");
}

#[test]
fn a_definition_that_does_not_compile() {
    let machine = Machine::healthy();
    let mut broken = definition("v1");
    broken["steps"][0]["type"] = "roboflow_core/no_such_block@v1".into();
    fs::write(machine.saved(), broken.to_string()).unwrap();
    machine.has_one_fault("compiles", "no_such_block", "millrace validate");
}

#[test]
fn a_definition_whose_model_is_not_there() {
    let machine = Machine::healthy();
    let mut other = definition("v1");
    other["steps"][0]["model_id"] = "rockets/9".into();
    fs::write(machine.saved(), other.to_string()).unwrap();
    machine.has_one_fault(
        "model",
        "model `rockets/9` is unknown",
        "name one of shapes",
    );
}

#[test]
fn a_variable_that_cannot_be_read() {
    let machine = Machine::healthy().with("WORKFLOWS_DEFINITION_CACHE_EXPIRY", "soon");
    machine.has_one_fault(
        "settings",
        "WORKFLOWS_DEFINITION_CACHE_EXPIRY must be a number of seconds",
        "unset WORKFLOWS_DEFINITION_CACHE_EXPIRY",
    );
}

#[test]
fn the_table_for_people_says_the_same() {
    let machine = Machine::healthy();
    let output = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .current_dir(root())
        .args(["doctor", "--port", &machine.port.to_string()])
        .env("OFFLINE_MODE", "true")
        .env("MODEL_CACHE_DIR", machine.cache())
        .env("ORT_DYLIB_PATH", "/nowhere")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in [
        "FAULT    onnx runtime",
        "-> set ORT_DYLIB_PATH",
        "1 wrong, ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        text.contains("offline mode: the platform is not asked"),
        "{text}"
    );
}
