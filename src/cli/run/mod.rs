//! `millrace run`: a definition on recorded files and live cameras.

mod args;
mod preparation;
mod progress;
mod results;
mod signals;

use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use args::RunArgs;

use super::{LoadError, REFUSED};
use crate::blocks::{CacheStore, Services};
use crate::definitions::{DefinitionKey, DefinitionStore, Fetched, Provenance, Refresher};
use crate::delivery::Counts;
use crate::delivery::jsonl::JsonLines;
use crate::delivery::window::Window;
use crate::engine::{Engine, RuntimeInputs};
use crate::http::streams::{self, RunStream, RunStreams};
use crate::http::{Listening, Process, RunningStream, Server, operation};
use crate::outputs::rtsp::RtspServer;
use crate::outputs::{Conduct, EventsSpec, Outputs};
use crate::plan::Plan;
use crate::redact::Redacted;
use crate::sources::{Source, SourceSpec};
use crate::streams::{
    CanaryPlan, Control, FollowSpec, Followed, Follower, Replacement, Stream, StreamSpec,
};
use crate::values::deserialise::InputOptions;
use progress::Progress;
use results::{Finished, ResultLoop};

/// How long events under way may take after the last frame.
const LAST_EVENTS: Duration = Duration::from_secs(10);

/// Why nothing was run.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{0}")]
    Arguments(String),
}

pub(super) fn run(args: &RunArgs) -> ExitCode {
    match preparation::prepare(args) {
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
    events: Vec<EventsSpec>,
    specs: Vec<SourceSpec>,
}

/// What all streams of a run share while it lasts.
struct Shared {
    process: Arc<Process>,
    /// The streams as those see them who look over HTTP.
    table: Arc<RunStreams>,
    rtsp: Option<Arc<RtspServer>>,
    follower: Option<Follower>,
    _refresher: Option<Refresher>,
    _server: Option<Server>,
}

/// A stream under way, with the thread that takes its results.
struct Running {
    name: String,
    control: Control,
    figures: Arc<crate::streams::Figures>,
    thread: JoinHandle<Finished>,
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
        signals::stop_on_ctrl_c(running.iter().map(|r| r.control.clone()).collect());
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
        if let Some(rtsp) = &shared.rtsp {
            rtsp.stop();
        }
        let elapsed = self.services.clock.monotonic().saturating_sub(started);
        for (name, finished) in &summaries {
            failures += usize::from(progress::summarise(name, finished, elapsed));
        }
        self.tell_of_events(&delivered);
        failures += usize::from(delivered.lost() > 0);
        if failures == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn tell_of_events(&self, delivered: &Counts) {
        if !self.events.is_empty() {
            let names = self.events.iter();
            let names: Vec<String> = names.map(|e| Redacted::text(&e.url).to_string()).collect();
            say!("events to {}: {delivered}", names.join(", "));
        } else if *delivered != Counts::default() {
            say!("events: {delivered}");
        }
        if delivered.waiting > 0 {
            say!("what waits is delivered with the next start; `millrace outbox list` shows it");
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
        let table = Arc::new(RunStreams::default());
        let server = self
            .args
            .http
            .map(|address| {
                let router = operation::alone(process.clone()).merge(streams::alone(table.clone()));
                Server::start(&[address], router, Listening::default())
            })
            .transpose()?;
        if let Some(server) = &server {
            tracing::info!(address = %server.address(), "listening");
        }
        let rtsp = self.args.rtsp.start()?;
        if self.args.no_follow {
            return Ok(Shared {
                process,
                table,
                rtsp,
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
            table,
            rtsp,
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
        let outputs = Arc::new(self.outputs(&name, shared)?);
        let window = self.args.preview.then(Window::open).transpose();
        let window = window.map_err(|e| e.to_string())?;
        let stream = self.stream(source, &services)?;
        progress.add(&name);
        let (control, figures) = (stream.control(), stream.figures().clone());
        shared.process.add(RunningStream {
            name: name.clone(),
            definition: self.key.to_string(),
            figures: figures.clone(),
            cache: services.cache.clone(),
        });
        shared.table.add(RunStream {
            name: name.clone(),
            definition: self.key.to_string(),
            figures: figures.clone(),
            outputs: outputs.clone(),
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
            outputs,
            window,
            wanted: self.args.video_output.clone(),
            clock: self.services.clock.clone(),
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

    fn outputs(&self, stream: &str, shared: &Shared) -> Result<Outputs, String> {
        let spec = self.args.outputs(stream, self.specs.len() > 1)?;
        if let Some(lines) = &spec.lines {
            // A folder that cannot be written shows now, and a run without results has an empty file.
            JsonLines::create(&lines.path).map_err(|e| e.to_string())?;
        }
        let conduct = Conduct {
            dispatcher: self.services.dispatcher.clone(),
            models: self.services.models.clone(),
            clock: self.services.clock.clone(),
            rtsp: shared.rtsp.clone(),
            strict: true,
        };
        Ok(Outputs::new(stream.into(), &spec, conduct))
    }

    fn stream(&self, source: Source, services: &Services) -> Result<Stream, String> {
        let engine = Engine::new(self.plan.clone(), services.clone(), InputOptions::default())
            .map_err(|e| e.to_string())?;
        let started = Stream::start(StreamSpec {
            source,
            definition: Replacement {
                engine,
                provenance: self.provenance.clone(),
                image_input: self.image_input.clone(),
            },
            parameters: self.parameters.clone(),
            clock: self.services.clock.clone(),
        });
        started.map_err(|e| format!("the machine refuses a thread: {e}"))
    }
}
