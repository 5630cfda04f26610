//! `millrace run`: a definition on recorded files and live cameras.

mod progress;
mod writer;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::Args;
use serde_json::{Value as Json, json};

use super::cameras::CameraArgs;
use super::outbox::OutboxPlaceArgs;
use super::stage::StageArgs;
use super::store::{self, StoreArgs};
use super::{HostArgs, ImageUrlArgs, LoadError, REFUSED, host};
use crate::blocks::CacheStore;
use crate::blocks::{Family, Services};
use crate::clock::Clock;
use crate::definitions::{DefinitionKey, DefinitionStore, Demand, Fetched, Provenance, Refresher};
use crate::delivery::Counts;
use crate::delivery::webhook::{Condition, Webhook};
use crate::engine::{Engine, RuntimeInput, RuntimeInputs};
use crate::http::{Listening, Process, RunningStream, Server, operation};
use crate::models::ModelStore;
use crate::plan::Plan;
use crate::sources::{Source, SourceSpec, SourceUri};
use crate::streams::{
    CanaryPlan, CanaryUntil, Control, End, FollowSpec, Followed, Follower, Replacement, Reporter,
    Snapshot, Stream, StreamSpec,
};
use crate::values::deserialise::InputOptions;
use crate::values::serialise::OutputOptions;
use progress::Progress;
use writer::{Writer, Written};

/// How long events under way may take after the last frame.
const LAST_EVENTS: Duration = Duration::from_secs(10);

/// Arguments of `millrace run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
millrace run people.json --source clip.mp4 --output out --video out/annotated.mp4\n  \
millrace run people.json --source rtsp://user:pass@10.0.0.7/main --webhook http://127.0.0.1:8000/events --webhook-when alarm\n  \
millrace run people.json --source videotestsrc:// --max-fps 5 --preview\n\n\
Each line of the results is a JSON object: stream, frame_number, frame_timestamp, arrived_at, finished_at, latency_ms, definition, models, \
and outputs (or error). Ctrl-C ends cleanly, a second one at once.\n\
Exit code: 0 all well, 1 a stream failed or frames had errors, 2 refused before anything ran.")]
pub struct RunArgs {
    /// File of the definition, or `workspace/workflow` of the platform.
    definition: PathBuf,
    /// Where frames come from: a file, rtsp://, rtsps://, http(s):// (file, MJPEG, HLS), udp://, srt://,
    /// /dev/video0, videotestsrc://.
    /// May stand several times; each source is a stream with state of its own.
    #[arg(long = "source", value_name = "URI", required = true)]
    sources: Vec<String>,
    /// Name of the stream, one for each --source; made from the address without.
    #[arg(long = "video-id", value_name = "ID")]
    video_ids: Vec<String>,
    /// Parameter of the workflow; the value is JSON, or text if it is none. An image is given by its
    /// path or URL, and read once.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// Name of the image input that gets the frames; the first one without.
    #[arg(long, value_name = "NAME")]
    image_input: Option<String>,
    /// Folder for results: `results.jsonl`, or `<stream>.jsonl` for several sources.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Write pictures in outputs as base64 JPEG into results and events too.
    #[arg(long)]
    include_images: bool,
    /// Post each result to this address, in order, with retries.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Post or send only results in which this output is true, e.g. `alarm` or `line.count_in`.
    #[arg(long, value_name = "OUTPUT")]
    webhook_when: Option<Condition>,
    /// Send each result to Kafka: kafka://host:9092/TOPIC, kafkas:// with TLS, further brokers as
    /// `?brokers=`; the key is the name of the stream, or `?key=TEXT`.
    #[arg(long, value_name = "URL")]
    kafka: Option<String>,
    /// Publish each result over MQTT 5 with QoS 1: mqtt://user:pass@host:1883/TOPIC, mqtts:// with
    /// TLS; `?retain=true` keeps the last one.
    #[arg(long, value_name = "URL")]
    mqtt: Option<String>,
    /// Publish each result over NATS: nats://host:4222/SUBJECT, tls:// with TLS; `?ack=jetstream`
    /// waits until a JetStream stream has stored it.
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// Send each result to Redis: redis://host:6379/0?stream=NAME, or `?list=NAME`, or
    /// `?channel=NAME`; rediss:// with TLS.
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Film of the annotated frames, H.264 in MP4; `-<stream>` is added for several sources.
    #[arg(long, value_name = "FILE.mp4")]
    video: Option<PathBuf>,
    /// Output to film and preview; without, the first output that is an image, else the frame.
    #[arg(long, value_name = "OUTPUT")]
    video_output: Option<String>,
    /// Most frames per second to run: further ones of a camera are dropped, a file is slowed down.
    #[arg(long, value_name = "N")]
    max_fps: Option<f64>,
    /// Play files at their own speed.
    #[arg(long)]
    realtime: bool,
    /// Show the annotated frames in a window.
    #[arg(long)]
    preview: bool,
    /// Keep the definition as it is now, whatever becomes of its source.
    #[arg(long)]
    no_follow: bool,
    /// Try a new version of the definition beside the old one on so many frames of the first stream,
    /// and tell how their outputs differ. Steps with memory start anew in the trial; sinks are off.
    #[arg(long, value_name = "FRAMES")]
    canary: Option<u64>,
    /// When the streams move to a new version that was tried.
    #[arg(
        long,
        value_enum,
        default_value = "equal",
        requires = "canary",
        value_name = "WHEN"
    )]
    canary_until: CanaryUntil,
    /// Tell over HTTP how fresh everything is, e.g. at 127.0.0.1:9001.
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    #[command(flatten)]
    stages: StageArgs,
    #[command(flatten)]
    cameras: CameraArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    image_urls: ImageUrlArgs,
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    outbox: OutboxPlaceArgs,
}

/// Why nothing was run.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{0}")]
    Arguments(String),
}

pub(super) fn run(args: &RunArgs) -> ExitCode {
    match prepare(args) {
        Ok(job) => job.run(),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(REFUSED)
        }
    }
}

/// Everything that the streams of one run share.
struct Job<'a> {
    args: &'a RunArgs,
    plan: Arc<Plan>,
    image_input: String,
    parameters: RuntimeInputs,
    services: Services,
    store: Arc<DefinitionStore>,
    key: DefinitionKey,
    fetched: Arc<Fetched>,
    provenance: Provenance,
    reporter: Reporter,
    webhooks: Vec<Webhook>,
    specs: Vec<SourceSpec>,
}

fn prepare(args: &RunArgs) -> Result<Job<'_>, RunError> {
    let services = args
        .stages
        .apply(host::services(&args.host, &args.outbox)?)?;
    let store = store::open(services.clock.clone())?;
    let key = store::key(&args.definition, &args.store);
    let fetched = store
        .get_blocking(&key, Demand::Cached)
        .map_err(LoadError::from)?;
    let compiled = store.compile(&fetched, Some(&key), None);
    let plan = Arc::new(compiled.plan.map_err(LoadError::from)?);
    let image_input = image_input(args, &plan)?;
    let parameters = parameters(args, &plan)?;
    let specs = source_specs(args)?;
    // Refused parameters of a block show now, not when the first camera is there.
    Engine::new(plan.clone(), services.clone(), InputOptions::default())
        .map_err(LoadError::from)?;
    let webhooks = webhooks(args, &services)?;
    if let Some(condition) = &args.webhook_when {
        known_output(&plan, "--webhook-when", condition.output())?;
    }
    if !webhooks.is_empty() || args.outbox.is_named() || has_sinks(&plan) {
        // What waits from the last time goes out now, and an outbox that cannot be used shows now.
        let opened = services.dispatcher.resume();
        opened.map_err(|e| RunError::Arguments(e.to_string()))?;
    }
    if let Some(name) = &args.video_output {
        known_output(&plan, "--video-output", name)?;
    }
    let options = OutputOptions::new(services.clock.now());
    let reporter = Reporter::new(options, args.include_images);
    Ok(Job {
        args,
        plan,
        image_input,
        parameters,
        services,
        store,
        key,
        fetched,
        provenance: compiled.provenance,
        reporter,
        webhooks,
        specs,
    })
}

/// Where each result goes, by the flags and the schemes of their addresses.
fn webhooks(args: &RunArgs, services: &Services) -> Result<Vec<Webhook>, RunError> {
    let flags: [(&str, &Option<String>, [&str; 2]); 5] = [
        ("--webhook", &args.webhook, ["http", "https"]),
        ("--kafka", &args.kafka, ["kafka", "kafkas"]),
        ("--mqtt", &args.mqtt, ["mqtt", "mqtts"]),
        ("--nats", &args.nats, ["nats", "tls"]),
        ("--redis", &args.redis, ["redis", "rediss"]),
    ];
    let mut webhooks = Vec::new();
    for (flag, url, schemes) in flags {
        let Some(url) = url else { continue };
        let wrong = |why: &dyn std::fmt::Display| RunError::Arguments(format!("{flag}: {why}"));
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        if !schemes.contains(&scheme.to_ascii_lowercase().as_str()) {
            let [plain, secure] = schemes;
            return Err(wrong(&format!("write {plain}://… or {secure}://…")));
        }
        let when = args.webhook_when.clone();
        let webhook = Webhook::new(services.dispatcher.clone(), url, when);
        webhooks.push(webhook.map_err(|e| wrong(&e))?);
    }
    if webhooks.is_empty() && args.webhook_when.is_some() {
        let text = "--webhook-when: there is nothing to post to, add --webhook, --kafka, --mqtt, \
                    --nats or --redis";
        return Err(RunError::Arguments(text.into()));
    }
    Ok(webhooks)
}

/// Whether a step of the definition sends something out.
fn has_sinks(plan: &Plan) -> bool {
    let mut specs = plan.steps.iter().map(|step| step.step.spec);
    specs.any(|spec| spec.family == Family::Sink)
}

fn known_output(plan: &Plan, flag: &str, name: &str) -> Result<(), RunError> {
    if plan.outputs.iter().any(|o| &*o.name == name) {
        return Ok(());
    }
    let known: Vec<&str> = plan.outputs.iter().map(|o| &*o.name).collect();
    Err(RunError::Arguments(format!(
        "{flag}: the definition has no output `{name}`; its outputs: {}",
        known.join(", ")
    )))
}

fn image_input(args: &RunArgs, plan: &Plan) -> Result<String, RunError> {
    let images: Vec<&str> = plan.image_inputs().map(|i| &*i.name).collect();
    match &args.image_input {
        Some(name) if images.contains(&name.as_str()) => Ok(name.clone()),
        Some(name) => Err(RunError::Arguments(format!(
            "--image-input: the definition has no image input `{name}`; its image inputs: {}",
            images.join(", ")
        ))),
        None => images.first().map(|name| (*name).to_owned()).ok_or_else(|| {
            RunError::Arguments("the definition has no image input (type WorkflowImage); there is nothing to feed frames to".into())
        }),
    }
}

fn parameters(args: &RunArgs, plan: &Plan) -> Result<RuntimeInputs, RunError> {
    let mut parameters = RuntimeInputs::new();
    let options = InputOptions {
        local_files: true,
        ..args.image_urls.input_options()
    };
    for text in &args.parameters {
        let Some((name, value)) = text.split_once('=') else {
            return Err(RunError::Arguments(format!(
                "--param {text}: write NAME=VALUE"
            )));
        };
        let Some(input) = plan.declared_inputs().find(|i| &*i.name == name) else {
            let known: Vec<&str> = plan.declared_inputs().map(|i| &*i.name).collect();
            return Err(RunError::Arguments(format!(
                "--param {name}: the definition has no such input; its inputs: {}",
                known.join(", ")
            )));
        };
        let json = serde_json::from_str(value).unwrap_or_else(|_| Json::from(value));
        let given = RuntimeInput::Json(json).with_images_read(input, &options);
        let given = given.map_err(|e| RunError::Arguments(format!("--param {name}: {e}")))?;
        parameters.insert(name.to_owned(), given);
    }
    Ok(parameters)
}

fn source_specs(args: &RunArgs) -> Result<Vec<SourceSpec>, RunError> {
    if !args.video_ids.is_empty() && args.video_ids.len() != args.sources.len() {
        return Err(RunError::Arguments(
            "give one --video-id for each --source, or none".into(),
        ));
    }
    args.sources
        .iter()
        .enumerate()
        .map(|(i, text)| {
            let uri: SourceUri = text
                .parse()
                .map_err(|e| RunError::Arguments(format!("--source: {e}")))?;
            let mut spec = SourceSpec::new(uri);
            spec.video_identifier = args.video_ids.get(i).map(|id| id.as_str().into());
            spec.realtime = args.realtime;
            spec.max_fps = args.max_fps;
            args.cameras.apply(&mut spec);
            Ok(spec)
        })
        .collect()
}

/// What all streams of a run share while it lasts.
struct Shared {
    process: Arc<Process>,
    follower: Option<Follower>,
    _refresher: Option<Refresher>,
    _server: Option<Server>,
}

/// A stream under way, with the thread that writes its results.
struct Running {
    name: String,
    control: Control,
    figures: Arc<crate::streams::Figures>,
    thread: JoinHandle<Finished>,
}

/// What became of a stream.
struct Finished {
    end: Option<End>,
    written: Written,
    snapshot: Snapshot,
    problem: Option<String>,
    /// Numbers, texts and truth values of the last result, as `name value`.
    last: Vec<String>,
}

impl Job<'_> {
    fn run(self) -> ExitCode {
        let started = self.services.clock.monotonic();
        let mut failures = 0usize;
        let mut running = Vec::new();
        let progress = Progress::new(self.specs.len());
        let shared = match self.shared() {
            Ok(shared) => shared,
            Err(why) => {
                eprintln!("error: {why}");
                return ExitCode::from(REFUSED);
            }
        };
        for spec in &self.specs {
            let shown = spec.uri.redacted().to_string();
            match self.start_stream(spec, &progress, &shared) {
                Ok(stream) => running.push(stream),
                Err(why) => {
                    failures += 1;
                    progress.say(&format!("error: {shown}: {why}"));
                }
            }
        }
        stop_on_ctrl_c(running.iter().map(|r| r.control.clone()).collect());
        progress.follow(&running);
        let mut summaries = Vec::new();
        for stream in running {
            let name = stream.name;
            match stream.thread.join() {
                Ok(finished) => summaries.push((name, finished)),
                Err(_) => {
                    failures += 1;
                    progress.say(&format!(
                        "error: {name}: the thread that writes results broke down"
                    ));
                }
            }
        }
        progress.clear();
        let delivered = self.services.dispatcher.close(LAST_EVENTS);
        let elapsed = self.services.clock.monotonic().saturating_sub(started);
        for (name, finished) in &summaries {
            failures += usize::from(progress::summarise(name, finished, elapsed));
        }
        if !self.webhooks.is_empty() {
            let names = self.webhooks.iter().map(|w| w.redacted_url().to_string());
            let names: Vec<String> = names.collect();
            say!("events to {}: {delivered}", names.join(", "));
        } else if delivered != Counts::default() {
            say!("events: {delivered}");
        }
        if delivered.waiting > 0 {
            say!("what waits is delivered with the next start; `millrace outbox list` shows it");
        }
        failures += usize::from(delivered.lost() > 0);
        if failures == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// Starts what all streams share: the refresher, the follower of the definition, the HTTP side.
    fn shared(&self) -> Result<Shared, String> {
        let clock = self.services.clock.clone();
        let process = Arc::new(Process::new(
            clock,
            self.store.clone(),
            self.services.models.clone(),
        ));
        let server = self
            .args
            .http
            .map(|address| {
                let router = operation::alone(process.clone());
                Server::start(address, router, Listening::default())
            })
            .transpose()?;
        if let Some(server) = &server {
            tracing::info!(address = %server.address(), "listening");
        }
        if self.args.no_follow {
            return Ok(Shared {
                process,
                follower: None,
                _refresher: None,
                _server: server,
            });
        }
        let refresher = Refresher::start(&self.store);
        let follower = Follower::start(FollowSpec {
            store: self.store.clone(),
            key: Some(self.key.clone()),
            api_key: None,
            running: self.fetched.clone(),
            provenance: self.provenance.clone(),
            plan: self.plan.clone(),
            parameters: self.parameters.clone(),
            image_input: self.image_input.clone(),
            canary: self.args.canary.map(|frames| CanaryPlan {
                frames,
                until: self.args.canary_until,
            }),
        })?;
        Ok(Shared {
            process,
            follower: Some(follower),
            _refresher: Some(refresher),
            _server: server,
        })
    }

    fn start_stream(
        &self,
        spec: &SourceSpec,
        progress: &Progress,
        shared: &Shared,
    ) -> Result<Running, String> {
        let source = Source::open_with_clock(spec.clone(), self.services.clock.clone())
            .map_err(|e| e.to_string())?;
        let name = source.video_identifier().to_string();
        let services = Services {
            cache: Arc::new(CacheStore::default()),
            ..self.services.clone()
        };
        let engine = Engine::new(self.plan.clone(), services.clone(), InputOptions::default())
            .map_err(|e| e.to_string())?;
        let writer =
            Writer::create(self.args, &name, self.specs.len() > 1).map_err(|e| e.to_string())?;
        let stream = Stream::start(StreamSpec {
            source,
            definition: Replacement {
                engine,
                provenance: self.provenance.clone(),
                image_input: self.image_input.clone(),
            },
            parameters: self.parameters.clone(),
            clock: self.services.clock.clone(),
        })
        .map_err(|e| format!("the machine refuses a thread: {e}"))?;
        progress.add(&name);
        let (control, figures) = (stream.control(), stream.figures().clone());
        shared.process.add(RunningStream {
            name: name.clone(),
            definition: self.key.to_string(),
            figures: figures.clone(),
            cache: services.cache.clone(),
        });
        if let Some(follower) = &shared.follower {
            follower.add(Followed {
                name: name.clone(),
                control: control.clone(),
                services,
            });
        }
        let job = ResultLoop {
            stream,
            writer,
            reporter: self.reporter.clone(),
            webhooks: self.webhooks.clone(),
            wanted: self.args.video_output.clone(),
            clock: self.services.clock.clone(),
            models: self.services.models.clone(),
        };
        let thread = thread::Builder::new()
            .name(format!("write:{name}"))
            .spawn(move || job.run())
            .map_err(|e| format!("the machine refuses a thread: {e}"))?;
        Ok(Running {
            name,
            control,
            figures,
            thread,
        })
    }
}

/// Takes the results of one stream and writes them.
struct ResultLoop {
    stream: Stream,
    writer: Writer,
    reporter: Reporter,
    webhooks: Vec<Webhook>,
    wanted: Option<String>,
    clock: Arc<dyn Clock>,
    models: Arc<ModelStore>,
}

/// What of the outputs fits into a line of the summary.
fn scalars(outputs: &Json) -> Vec<String> {
    let entries = outputs.as_object().into_iter().flatten();
    entries
        .filter(|(_, value)| {
            value.is_number() || value.is_boolean() || value.as_str().is_some_and(|s| s.len() < 60)
        })
        .map(|(name, value)| format!("{name} {value}"))
        .collect()
}

/// The models in memory: id and hash of the weights.
fn loaded_models(models: &ModelStore) -> Json {
    let loaded = models
        .list()
        .into_iter()
        .filter(|m| m.loaded_since.is_some());
    loaded
        .map(|m| json!({"id": m.id, "sha256": m.sha256}))
        .collect()
}

impl ResultLoop {
    fn run(mut self) -> Finished {
        let figures = self.stream.figures().clone();
        let control = self.stream.control();
        let mut problem = None;
        let mut stamped = false;
        let mut last = Json::Null;
        for result in self.stream.results() {
            if !stamped {
                // With the first result the models of the definition are loaded.
                self.reporter = self.reporter.with_models(loaded_models(&self.models));
                stamped = true;
            }
            let report = self
                .reporter
                .report(&result, self.clock.now(), self.wanted.as_deref());
            for webhook in &self.webhooks {
                let stream = &result.frame.video.video_identifier;
                if let Err(error) = webhook.post(stream, &report.json["outputs"], &report.json) {
                    tracing::warn!(%stream, %error, "event not queued");
                }
            }
            if problem.is_none()
                && let Err(error) = self.writer.write(&report, &result)
            {
                // Results that cannot be kept are no reason to go on as if they were.
                problem = Some(error.to_string());
                control.stop();
            }
            last = report.json;
        }
        let end = self.stream.join();
        let (written, finish) = self.writer.finish();
        problem = problem.or_else(|| finish.err().map(|e| e.to_string()));
        Finished {
            end: Some(end),
            written,
            snapshot: figures.snapshot(),
            problem,
            last: scalars(&last["outputs"]),
        }
    }
}

/// The first Ctrl-C (or SIGTERM) stops all streams, the second ends the process.
fn stop_on_ctrl_c(streams: Vec<Control>) {
    let watch = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        else {
            return;
        };
        runtime.block_on(async {
            interrupted().await;
            eprintln!("stopping; what is in flight is written (Ctrl-C again to end at once)");
            streams.iter().for_each(Control::stop);
            interrupted().await;
            std::process::exit(130);
        });
    };
    if let Err(e) = thread::Builder::new().name("signals".into()).spawn(watch) {
        tracing::warn!("signals are not watched, Ctrl-C ends at once: {e}");
    }
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
    }
}
