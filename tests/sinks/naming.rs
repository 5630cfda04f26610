//! Requests of sinks name the definition that made them, whoever runs it.

use serde_json::{Value as Json, json};

use crate::server::Server;
use crate::service::Service;

fn definition(url: &str) -> Json {
    json!({
        "version": "1.0",
        "inputs": [{
            "type": "WorkflowParameter", "name": "workflow_version", "default_value": "v7",
        }],
        "steps": [{
            "type": "roboflow_core/webhook_sink@v1", "name": "sink", "url": url, "method": "POST",
            "fire_and_forget": false,
        }],
        "outputs": [
            {"type": "JsonField", "name": "error", "selector": "$steps.sink.error_status"},
            {"type": "JsonField", "name": "message", "selector": "$steps.sink.message"},
        ],
    })
}

/// The parts of the header of a call, without the hash, which has twelve digits.
fn named(service: &Service, call: usize) -> Vec<String> {
    let call = &service.calls()[call];
    let parts: Vec<String> = call
        .header("x-millrace-definition")
        .split("; ")
        .map(str::to_owned)
        .collect();
    let hash = parts[0].strip_prefix("hash=").unwrap();
    assert_eq!(hash.len(), 12, "{parts:?}");
    parts[1..].to_vec()
}

#[test]
fn a_file_is_named_without_its_folder() {
    let service = Service::start(|_, _, _| (200, json!({})));
    let folder = tempfile::tempdir().unwrap();
    let definition = definition(&service.url());
    let output = crate::exec(folder.path(), "people.json", &definition)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        named(&service, 0),
        ["id=people.json", "version=v7", "source=file"]
    );
}

/// A definition that names `ws/inner` (or `local/inner`) before it posts.
fn naming(url: &str, workspace: &str) -> Json {
    let mut definition = definition(url);
    let step = json!({
        "type": "roboflow_core/inner_workflow@v1", "name": "inner", "parameter_bindings": {},
        "workflow_workspace_id": workspace, "workflow_id": "inner",
    });
    definition["steps"].as_array_mut().unwrap().insert(0, step);
    definition
}

/// What is named.
fn inner() -> Json {
    json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowParameter", "name": "n", "default_value": 1}],
        "steps": [{"type": "roboflow_core/current_time@v1", "name": "now"}],
        "outputs": [{"type": "JsonField", "name": "n", "selector": "$inputs.n"}],
    })
}

/// Whether the last part names the inner definition, with the twelve digits of its hash.
fn names_inner(parts: &[String], id: &str) {
    let last = parts.last().unwrap();
    let hash = last.strip_prefix(&format!("inner={id}@")).expect(last);
    assert_eq!(hash.len(), 12, "{parts:?}");
}

#[test]
fn a_file_is_named_with_what_it_names() {
    let service = Service::start(|call, _, _| {
        let config = json!({"specification": inner()}).to_string();
        match call.line.starts_with("GET /ws/workflows/inner") {
            true => (200, json!({"workflow": {"config": config}})),
            false => (200, json!({})),
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let definition = naming(&format!("{}/hook", service.url()), "ws");
    let output = crate::exec(folder.path(), "people.json", &definition)
        .env("API_BASE_URL", service.url())
        .env("ROBOFLOW_API_KEY", "K1")
        .env("MODEL_CACHE_DIR", folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let is_hook = |line: &String| line == "POST /hook";
    let hook = service.lines().iter().position(is_hook).unwrap();
    let parts = named(&service, hook);
    assert_eq!(parts[..3], ["id=people.json", "version=v7", "source=file"]);
    names_inner(&parts, "ws/inner");
}

/// The server listens at a name, too.
#[test]
fn a_request_is_named_by_what_it_runs() {
    let service = Service::start(|_, _, _| (200, json!({})));
    let folder = tempfile::tempdir().unwrap();
    let definition = definition(&service.url());
    std::fs::write(folder.path().join("hook.json"), definition.to_string()).unwrap();
    std::fs::write(folder.path().join("inner.json"), inner().to_string()).unwrap();
    let server = Server::start(
        &["--pipelines", folder.path().to_str().unwrap()],
        &[
            ("HOST", "localhost"),
            (
                "ALLOW_WEBHOOK_WORKFLOWS_SINK_TO_NON_GLOBAL_ADDRESSES",
                "true",
            ),
        ],
    );
    assert!(server.address().ip().is_loopback());
    let post = |path: &str, body: Json| -> Json {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let ask = reqwest::Client::new().post(server.url(path)).json(&body);
            ask.send().await.unwrap().json().await.unwrap()
        })
    };
    let inline = json!({"specification": definition, "inputs": {}, "api_key": "K1"});
    let naming = naming(&service.url(), "local");
    let naming = json!({"specification": naming, "inputs": {}, "api_key": "K1"});
    let kept = json!({"inputs": {}, "api_key": "K1"});
    for (path, body) in [
        ("/workflows/run", inline),
        ("/local/workflows/hook", kept),
        ("/workflows/run", naming),
    ] {
        let answer = post(path, body);
        assert_eq!(answer["outputs"][0]["error"], false, "{answer}");
    }
    assert_eq!(named(&service, 0), ["version=v7", "source=inline"]);
    assert_eq!(
        named(&service, 1),
        ["id=local/hook", "version=v7", "source=folder"]
    );
    let parts = named(&service, 2);
    assert_eq!(parts[..2], ["version=v7", "source=inline"]);
    names_inner(&parts, "inner");
}
