//! Inner workflows with what is around them: definitions out of the store, and servers that run them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "support/platform.rs"]
mod platform;
#[path = "support/receiver.rs"]
#[allow(dead_code)]
mod receiver;
#[path = "support/server.rs"]
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::blocks::Services;
use millrace::clock::{Clock, SystemClock};
use millrace::definition::error::{ErrorClass, WorkflowError};
use millrace::definitions::{
    ApiKey, DefinitionKey, DefinitionStore, Demand, Fetched, Provenance, Refresher, Settings,
    StoreLibrary,
};
use millrace::delivery::{self, AddressPolicy, Dispatcher, RemoteWorkflows};
use millrace::engine::{Engine, RuntimeInput, RuntimeInputs};
use millrace::plan::{Plan, PlanDifference};
use millrace::sources::{QueuePolicy, Source, SourceSpec};
use millrace::streams::{
    FollowSpec, Followed, Follower, FrameResult, Replacement, Stream, StreamSpec,
};
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
/// The height of a picture so many times.
fn heights(factor: Json) -> Json {
    json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": [{
            "type": "roboflow_core/property_definition@v1", "name": "height", "data": "$inputs.image",
            "operations": [{"type": "ExtractImageProperty", "property_name": "height"},
                           {"type": "Multiply", "other": factor}],
        }],
        "outputs": [{"type": "JsonField", "name": "o", "selector": "$steps.height.output"}],
    })
}

/// A stream that follows a definition which names another one.
struct Live {
    stream: Stream,
    clock: Arc<dyn Clock>,
    last: u64,
}

impl Live {
    /// The next results until one meets a condition; the last one, as its output and the definition
    /// on it. No frame is lost on the way.
    fn until(&mut self, what: &str, met: impl Fn(i64, &Json) -> bool) -> Json {
        let began = Instant::now();
        loop {
            let result = self.stream.results().recv_timeout(Duration::from_secs(10));
            let result: FrameResult = result.unwrap();
            self.last += 1;
            assert_eq!(result.frame.number as u64, self.last, "{what}");
            let run = result.run.unwrap();
            let produced = run.produced(&result.generation.plan).remove(0);
            let output = produced[0].value.as_i64().unwrap();
            let definition = result.generation.provenance.to_json(self.clock.now());
            if met(output, &definition) {
                return definition;
            }
            let waited = began.elapsed();
            assert!(
                waited < Duration::from_secs(20),
                "{what}: {output} {definition}"
            );
        }
    }
}

/// A definition that follows the platform, with the streams that run it.
struct Following {
    platform: Platform,
    services: Services,
    store: Arc<DefinitionStore>,
    _refresher: Refresher,
    key: DefinitionKey,
    running: Arc<Fetched>,
    plan: Arc<Plan>,
    provenance: Provenance,
    _folder: tempfile::TempDir,
}

impl Following {
    /// A definition that names `ws/tag`, which makes twice the height of a picture.
    fn new() -> Self {
        let platform = Platform::start();
        platform.publish("ws/tag", &heights(json!(2)));
        let outer = json!({
            "version": "1.0",
            "inputs": [{"type": "WorkflowImage", "name": "image"}],
            "steps": [{
                "type": "roboflow_core/inner_workflow@v1", "name": "inner",
                "workflow_workspace_id": "ws", "workflow_id": "tag",
                "parameter_bindings": {"image": "$inputs.image"},
            }],
            "outputs": [{"type": "JsonField", "name": "o", "selector": "$steps.inner.o"}],
        });
        platform.publish("ws/outer", &outer);
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(platform.url(), folder.path());
        settings.api_key = Some(ApiKey::new("key"));
        settings.ttl = Duration::from_millis(500);
        let services = Services::default();
        let store = Arc::new(DefinitionStore::open(settings, services.clock.clone()).unwrap());
        let refresher = Refresher::start(&store);
        let key = DefinitionKey::workflow("ws", "outer", None, None);
        let running = store.get_blocking(&key, Demand::Cached).unwrap();
        let compiled = store.compile(&running, Some(&key), None);
        Self {
            platform,
            services,
            store,
            _refresher: refresher,
            key,
            running,
            plan: Arc::new(compiled.plan.unwrap()),
            provenance: compiled.provenance,
            _folder: folder,
        }
    }

    /// A stream that runs the definition as it was at first.
    fn stream(&self) -> Live {
        let (plan, services) = (self.plan.clone(), self.services.clone());
        let engine = Engine::new(plan, services, InputOptions::default()).unwrap();
        let mut source = SourceSpec::new("videotestsrc://?size=64x48&fps=25".parse().unwrap());
        source.realtime = true;
        // Its frames are counted, so it waits where a camera would go on.
        source.queue = Some(QueuePolicy::Wait { capacity: 4 });
        source.staleness = None;
        let stream = Stream::start(StreamSpec {
            source: Source::open(source).unwrap(),
            definition: Replacement {
                engine,
                provenance: self.provenance.clone(),
                image_input: "image".into(),
            },
            parameters: RuntimeInputs::new(),
            clock: self.services.clock.clone(),
        });
        Live {
            stream: stream.unwrap(),
            clock: self.services.clock.clone(),
            last: 0,
        }
    }

    fn follower(&self) -> Follower {
        let follower = Follower::start(FollowSpec {
            store: self.store.clone(),
            key: Some(self.key.clone()),
            api_key: None,
            running: self.running.clone(),
            provenance: self.provenance.clone(),
            plan: self.plan.clone(),
            parameters: RuntimeInputs::new(),
            image_input: "image".into(),
            canary: None,
        });
        follower.unwrap()
    }

    fn add(&self, follower: &Follower, name: &str, live: &Live) {
        follower.add(Followed {
            name: name.into(),
            control: live.stream.control(),
            services: self.services.clone(),
        });
    }
}

/// Takes results until one is this.
fn reaches(live: &Live, wanted: i64) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let result = live.stream.results().recv_timeout(Duration::from_secs(10));
        let result: FrameResult = result.unwrap();
        let run = result.run.unwrap();
        let produced = run.produced(&result.generation.plan).remove(0);
        if produced[0].value.as_i64() == Some(wanted) {
            return;
        }
        assert!(Instant::now() < until, "{wanted}: {:?}", produced[0].value);
    }
}

/// A camera may take longer to open than a definition to change.
#[test]
fn a_stream_that_comes_after_a_change_moves_too() {
    let following = Following::new();
    let follower = following.follower();
    let early = following.stream();
    following.add(&follower, "early", &early);
    reaches(&early, 96);
    following.platform.publish("ws/tag", &heights(json!(3)));
    reaches(&early, 144);

    let late = following.stream();
    reaches(&late, 96);
    following.add(&follower, "late", &late);
    reaches(&late, 144);
    early.stream.control().stop();
    following.platform.publish("ws/tag", &heights(json!(4)));
    reaches(&late, 192);
    late.stream.control().stop();
}

#[test]
fn a_changed_inner_definition_reaches_running_streams_and_stands_on_their_results() {
    let following = Following::new();
    let platform = &following.platform;
    let mut live = following.stream();
    let follower = following.follower();
    following.add(&follower, "live", &live);
    let first = live.until("the first", |o, _| o == 96);
    assert_eq!(first["inner"][0]["id"], "ws/tag");

    // Confirmed again and again, it stays fresh although the stream was started long before.
    let began = Instant::now();
    let confirmed = live.until("a confirmation", |_, d| {
        let newer = d["fetched_at"] != first["fetched_at"]
            && d["inner"][0]["fetched_at"] != first["inner"][0]["fetched_at"];
        newer && began.elapsed() > Duration::from_secs(2)
    });
    assert_eq!(confirmed["stale"], false, "{confirmed}");
    assert_eq!(confirmed["inner"][0]["stale"], false, "{confirmed}");

    platform.publish("ws/tag", &heights(json!(3)));
    let second = live.until("the changed inner definition", |o, _| o == 144);
    assert_eq!(second["hash"], first["hash"]);
    assert_ne!(second["inner"][0]["hash"], first["inner"][0]["hash"]);

    // One that does not compile is refused, and that stands on the results.
    platform.publish(
        "ws/tag",
        &json!({"version": "1.0", "inputs": [], "steps": [{"type": "no"}], "outputs": []}),
    );
    let refused = live.until("the refusal", |o, d| {
        assert_eq!(o, 144);
        d["inner"][0]["last_error"].is_string()
    });
    assert_eq!(refused["inner"][0]["hash"], second["inner"][0]["hash"]);
    assert_eq!(refused["inner"][0]["stale"], true, "{refused}");

    platform.publish("ws/tag", &heights(json!(4)));
    let mended = live.until("the mended one", |o, _| o == 192);
    assert_eq!(mended["inner"][0]["last_error"], Json::Null, "{mended}");

    // The platform is away: what runs goes on and says why it may be out of date.
    platform.answer(platform::Manner::Status(503, None));
    live.until("the failing platform", |o, d| {
        assert_eq!(o, 192);
        d["last_error"].is_string() && d["stale"] == true
    });
    live.stream.control().stop();
    drop(follower);
}

#[tokio::test]
async fn an_answer_names_the_inner_definitions() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("double.json"), times(2).to_string()).unwrap();
    let server = server::Server::start(&["--pipelines", folder.path().to_str().unwrap()], &[]);
    let body = json!({
        "specification": naming("local", "double"), "inputs": {"v": [4]}, "include_definition": true,
    });
    let request = reqwest::Client::new().post(server.url("/workflows/run"));
    let answer = request.json(&body).send().await.unwrap();
    let header = answer.headers()["x-millrace-definition"].to_str().unwrap();
    let header = header.to_owned();
    let answer: Json = answer.json().await.unwrap();
    assert_eq!(answer["outputs"], json!([{"o": 8}]));
    let inner = &answer["definition"]["inner"][0];
    assert_eq!(
        (&inner["id"], &inner["source"]),
        (&json!("double"), &json!("folder"))
    );
    let hash = inner["hash"].as_str().unwrap();
    assert!(
        header.contains(&format!("inner=(\"double\";hash=\"{hash}")),
        "{header}"
    );
}

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
