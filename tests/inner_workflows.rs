//! Inner workflows with what is around them: definitions out of the store, and servers that run them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "support/platform.rs"]
mod platform;
#[path = "support/receiver.rs"]
#[allow(dead_code)]
mod receiver;

use std::sync::Arc;
use std::time::Duration;

use millrace::blocks::Services;
use millrace::clock::SystemClock;
use millrace::definition::error::{ErrorClass, WorkflowError};
use millrace::definitions::{ApiKey, DefinitionKey, DefinitionStore, Settings, StoreLibrary};
use millrace::delivery::{self, AddressPolicy, Dispatcher, RemoteWorkflows};
use millrace::engine::{Engine, RuntimeInput, RuntimeInputs};
use millrace::plan::{Plan, PlanDifference};
use millrace::values::deserialise::InputOptions;
use millrace::values::serialise::OutputOptions;
use platform::Platform;
use receiver::{Receiver, Reply};
use serde_json::{Value as Json, json};

/// A definition around one step over a batch.
fn around(step: Json, outputs: Json) -> Json {
    json!({"version": "1.0", "inputs": [{"type": "WorkflowBatchInput", "name": "v"}],
           "steps": [step], "outputs": outputs})
}

/// Multiplies what it gets.
fn times(factor: i64) -> Json {
    let step = json!({"type": "roboflow_core/property_definition@v1", "name": "times", "data": "$inputs.v",
                      "operations": [{"type": "Multiply", "other": factor}]});
    around(
        step,
        json!([{"type": "JsonField", "name": "o", "selector": "$steps.times.output"}]),
    )
}

/// An inner workflow with these fields.
fn inner(fields: Json) -> Json {
    let mut step = json!({"type": "roboflow_core/inner_workflow@v1", "name": "inner",
                          "parameter_bindings": {"v": "$inputs.v"}});
    step.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    step
}

fn naming(workspace: &str, workflow: &str) -> Json {
    let step = inner(json!({"workflow_workspace_id": workspace, "workflow_id": workflow}));
    around(
        step,
        json!([{"type": "JsonField", "name": "o", "selector": "$steps.inner.o"}]),
    )
}

fn run(plan: Plan, services: Services, inputs: Json) -> Result<Json, WorkflowError> {
    let mut engine = Engine::new(Arc::new(plan), services, InputOptions::default())?;
    let inputs: RuntimeInputs = inputs
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, json)| (name.clone(), RuntimeInput::Json(json.clone())))
        .collect();
    let options = OutputOptions::new(Services::default().clock.now());
    let objects = engine.run(&inputs, &options)?;
    Ok(objects.into_iter().map(Json::Object).collect())
}

fn store(
    platform: &Platform,
    folder: &tempfile::TempDir,
    api_key: Option<&str>,
) -> DefinitionStore {
    let mut settings = Settings::new(platform.url(), folder.path());
    settings.api_key = api_key.map(ApiKey::new);
    DefinitionStore::open(settings, Arc::new(SystemClock::default())).unwrap()
}

fn compile(store: &DefinitionStore, definition: &Json) -> Result<Plan, WorkflowError> {
    let library = StoreLibrary::new(store, None);
    Plan::compile_with(definition, &library.inner_workflows())
}

#[test]
fn a_named_definition_comes_from_the_platform_once() {
    let platform = Platform::start();
    platform.publish("ws/double", &times(2));
    let folder = tempfile::tempdir().unwrap();
    let store = store(&platform, &folder, Some("key"));
    let plan = compile(&store, &naming("ws", "double")).unwrap();
    assert_eq!(
        plan.document.references[0].reference.to_string(),
        "ws/double"
    );
    let answer = run(plan, Services::default(), json!({"v": [1, 2]}));
    assert_eq!(answer.unwrap(), json!([{"o": 2}, {"o": 4}]));
    compile(&store, &naming("ws", "double")).unwrap();
    assert_eq!(
        platform.count(),
        1,
        "within its time-to-live it is not asked for again"
    );
    let error = compile(&store, &naming("ws", "gone")).unwrap_err();
    assert_eq!(
        (error.class, error.status()),
        (ErrorClass::WorkflowDefinition, 404)
    );
}

#[test]
fn the_platform_wants_a_key_and_this_machine_none() {
    let platform = Platform::start();
    let folder = tempfile::tempdir().unwrap();
    let store = store(&platform, &folder, None);
    let error = compile(&store, &naming("ws", "double")).unwrap_err();
    assert_eq!(
        (error.class, error.status()),
        (ErrorClass::WorkflowDefinition, 400)
    );
    assert!(error.message.contains("API key"), "{error}");
    assert_eq!(platform.count(), 0);
    // The key of the definition around it is its key too.
    platform.publish("ws/double", &times(2));
    let outer = DefinitionKey::workflow("ws", "outer", None, Some(ApiKey::new("key")));
    let library = StoreLibrary::inside(&store, &outer);
    assert!(Plan::compile_with(&naming("ws", "double"), &library.inner_workflows()).is_ok());
    // `local` is a folder of this machine; what is not there is missing, but no key is.
    let error = compile(&store, &naming("local", "mine")).unwrap_err();
    assert!(!error.message.contains("API key"), "{error}");
}

#[test]
fn a_changed_inner_definition_replaces_the_steps_that_changed() {
    let platform = Platform::start();
    let folder = tempfile::tempdir().unwrap();
    let plan = |factor: i64| {
        platform.publish("ws/flow", &times(factor));
        let store = store(&platform, &folder, Some("key"));
        compile(&store, &naming("ws", "flow")).unwrap()
    };
    let (old, same, new) = (plan(2), plan(2), plan(3));
    assert_eq!(PlanDifference::between(&old, &same).kept.len(), 1);
    let difference = PlanDifference::between(&old, &new);
    assert_eq!(difference.added, ["inner__times"]);
    assert_ne!(
        old.document.references[0].hash,
        new.document.references[0].hash
    );
}

/// Services that dispatch inner workflows, and wait for the exchange.
fn dispatching(target: &str, settings: delivery::Settings) -> Services {
    Services {
        dispatcher: Arc::new(Dispatcher::new(settings)),
        remote: Arc::new(RemoteWorkflows {
            target: target.into(),
            api_key: Some("k3y".into()),
            timeout: Duration::from_secs(5),
            ..RemoteWorkflows::default()
        }),
        ..Services::default()
    }
}

fn foreground() -> delivery::Settings {
    delivery::Settings {
        background: false,
        ..delivery::Settings::default()
    }
}

fn dispatch(services: Services, fields: Json) -> Result<Json, WorkflowError> {
    let mut step = inner(fields);
    step["execution_mode"] = json!("remote_dispatch");
    let outputs = json!([{"type": "JsonField", "name": "v", "selector": "$inputs.v"}]);
    run(
        Plan::compile(&around(step, outputs))?,
        services,
        json!({"v": [1, [2.5, null]]}),
    )
}

#[test]
fn a_dispatched_workflow_is_posted_for_every_element() {
    let receiver = Receiver::ok();
    let services = dispatching(&receiver.url("/base/"), foreground());
    let answer = dispatch(services.clone(), json!({"workflow_definition": times(2)}));
    assert_eq!(answer.unwrap(), json!([{"v": 1}, {"v": [2.5, null]}]));
    let named =
        json!({"workflow_workspace_id": "ws", "workflow_id": "flow", "workflow_version_id": "7"});
    dispatch(services, named).unwrap();
    let received = receiver.received();
    let shown: Vec<(String, Json)> = received
        .iter()
        .map(|r| (r.uri.clone(), serde_json::from_slice(&r.body).unwrap()))
        .collect();
    let inline = |v: Json| json!({"api_key": "k3y", "inputs": {"v": v}, "inner_workflow_dispatch_depth": 1, "specification": times(2)});
    let named = |v: Json| json!({"api_key": "k3y", "inputs": {"v": v}, "inner_workflow_dispatch_depth": 1, "use_cache": true, "workflow_version_id": "7"});
    let run = || "/base/workflows/run".to_owned();
    let flow = || "/base/ws/workflows/flow".to_owned();
    let wanted = [
        (run(), inline(json!(1))),
        (run(), inline(json!([2.5, null]))),
        (flow(), named(json!(1))),
        (flow(), named(json!([2.5, null]))),
    ];
    assert_eq!(shown, wanted);
    assert!(received.iter().all(|r| r.method == "POST"));
}

#[test]
fn the_key_goes_to_the_configured_server_only() {
    let receiver = Receiver::ok();
    let services = dispatching("https://serverless.example", foreground());
    let fields = json!({"workflow_definition": times(2), "remote_target": receiver.url("")});
    dispatch(services, fields).unwrap();
    let body: Json = serde_json::from_slice(&receiver.received()[0].body).unwrap();
    assert_eq!(body["api_key"], Json::Null);
    let text = String::from_utf8(receiver.received()[0].body.clone()).unwrap();
    assert!(!text.contains("k3y"));
}

#[test]
fn what_goes_wrong_elsewhere_is_no_error_here_and_is_not_tried_again() {
    let elsewhere = Receiver::ok();
    let to = elsewhere.url("/");
    for reply in [Reply::status(503), Reply::status(307).with("location", &to)] {
        let receiver = Receiver::start(Vec::new(), reply);
        let background = dispatching(&receiver.url(""), delivery::Settings::default());
        dispatch(background.clone(), json!({"workflow_definition": times(2)})).unwrap();
        let counts = background.dispatcher.close(Duration::from_secs(20));
        assert_eq!((counts.retried, receiver.received().len()), (0, 2));
        let foreground = dispatching(&receiver.url(""), foreground());
        dispatch(foreground, json!({"workflow_definition": times(2)})).unwrap();
    }
    assert!(elsewhere.received().is_empty());
}

#[test]
fn what_is_wrong_with_the_step_is_an_error() {
    let receiver = Receiver::ok();
    let definition = || json!({"workflow_definition": times(2)});
    let failed = |services: Services, fields: Json| dispatch(services, fields).unwrap_err();
    let mut ftp = definition();
    ftp["remote_target"] = json!("ftp://somewhere");
    let error = failed(dispatching(&receiver.url(""), foreground()), ftp);
    assert_eq!(error.class, ErrorClass::StepExecution);
    let mut deep = dispatching(&receiver.url(""), foreground());
    deep.remote = Arc::new(RemoteWorkflows {
        depth: 4,
        ..(*deep.remote).clone()
    });
    assert_eq!(failed(deep, definition()).class, ErrorClass::StepExecution);
    // Refused before anything runs.
    let mut blank = definition();
    blank["remote_target"] = json!(" ");
    for fields in [blank, json!({"workflow_id": "w"})] {
        let error = failed(Services::default(), fields);
        assert_eq!(error.class, ErrorClass::WorkflowSyntax);
    }
    // Nothing goes out where sinks are off, or to private addresses where those are forbidden.
    let mut off = dispatching(&receiver.url(""), foreground());
    off.disable_sinks = true;
    dispatch(
        off,
        json!({"workflow_definition": times(2), "remote_target": "ftp://h"}),
    )
    .unwrap();
    let strict = delivery::Settings {
        addresses: AddressPolicy::GlobalOnly,
        ..foreground()
    };
    let mut private = definition();
    private["remote_target"] = json!(receiver.url(""));
    dispatch(dispatching("https://serverless.example", strict), private).unwrap();
    assert!(receiver.received().is_empty());
}
