//! `millrace serve`: the HTTP server that `inference_sdk` talks to.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::outbox::OutboxPlaceArgs;
use super::rtsp::RtspArgs;
use super::stage::StageArgs;
use super::store::StoreArgs;
use super::webrtc::WebrtcArgs;
use super::{HostArgs, ImageUrlArgs, LoadError, REFUSED, host};
use crate::definitions::{ApiKey, DefinitionStore, Refresher, Settings};
use crate::fleet::{self, Declared, Fleet};
use crate::http::{self, App, BodyLimits, Listening, Process, Server, ServerSettings};
use crate::network::listen;
use crate::outputs::rtsp::RtspServer;
use crate::webrtc::Sessions;

/// Arguments of `millrace serve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
millrace serve --models models\n  \
millrace serve --host 0.0.0.0 --token \"$TOKEN\" --pipelines pipelines\n\n\
Clients use it as they use the hosted server:\n  \
InferenceHTTPClient(api_url=\"http://127.0.0.1:9001\", api_key=\"…\").run_workflow(…)\n  \
curl -F image=@frame.jpg -F specification=@definition.json http://127.0.0.1:9001/workflows/run\n\n\
The definitions of --pipelines run as workspace `local`. Every answer names the definition that made \
it in its header x-millrace-definition. Ctrl-C or SIGTERM ends: requests under way finish first.\n\
Exit code: 0 ended as asked, 2 refused to start.")]
pub struct ServeArgs {
    /// Address to listen at, or a name of this machine such as localhost. Anyone who reaches it may
    /// use the server: give a --token when it is not this machine's own.
    #[arg(
        long = "host",
        env = "HOST",
        default_value = "127.0.0.1",
        value_name = "HOST"
    )]
    host_address: String,
    /// Port to listen at; 0 takes a free one.
    #[arg(long, env = "PORT", default_value_t = 9001)]
    port: u16,
    /// Folder of definitions, watched for changes; each runs as `local/<name of the file>`.
    #[arg(long, env = "MILLRACE_PIPELINES", value_name = "DIR")]
    pipelines: Option<PathBuf>,
    /// File of streams that run while the server does, watched: a change of it changes just the
    /// streams that changed. See pipelines/streams.example.json.
    #[arg(long, env = "MILLRACE_STREAMS", value_name = "FILE")]
    streams: Option<PathBuf>,
    /// Folder for files that clients ask for as outputs of their streams; without one they may ask
    /// for neither files nor events.
    #[arg(long, env = "MILLRACE_CLIENT_OUTPUTS", value_name = "DIR")]
    client_outputs: Option<PathBuf>,
    /// What every request but those for health must show, as bearer or in x-millrace-token.
    #[arg(
        long,
        env = "MILLRACE_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<String>,
    /// Largest body of a request, in MiB.
    #[arg(
        long,
        env = "MILLRACE_MAX_BODY_MIB",
        default_value_t = 64,
        value_name = "MIB"
    )]
    max_body_mib: usize,
    /// Time that a client has for the head of a request, in seconds.
    #[arg(
        long,
        env = "MILLRACE_HEAD_SECONDS",
        default_value_t = 15,
        value_name = "S"
    )]
    head_seconds: u64,
    /// Time that a client has for the body of a request, in seconds.
    #[arg(
        long,
        env = "MILLRACE_BODY_SECONDS",
        default_value_t = 60,
        value_name = "S"
    )]
    body_seconds: u64,
    /// Requests that run at once; others wait [default: four for each core].
    #[arg(long, env = "MILLRACE_WORKERS", value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// Origins whose pages may call from a browser; `*` for all.
    #[arg(
        long,
        env = "ALLOW_ORIGINS",
        default_value = "*",
        value_delimiter = ',',
        value_name = "ORIGINS"
    )]
    allow_origins: Vec<String>,
    /// Workspaces whose API keys may call; all if empty. The platform is asked whom a key belongs to.
    #[arg(
        long = "allow-workspace",
        env = "WORKSPACES_WHITELISTED_FOR_LOCAL_DEPLOYMENT",
        value_delimiter = ',',
        value_name = "WORKSPACES"
    )]
    workspaces: Vec<String>,
    /// Let requests ask where their time goes (`enable_profiling`).
    #[arg(long, env = "ENABLE_WORKFLOWS_PROFILING", value_parser = clap::builder::BoolishValueParser::new(), default_value = "false", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    profiling: bool,
    /// Take API keys from the header `Authorization` too.
    #[arg(long, env = "ALLOW_API_KEY_FROM_HEADERS", value_parser = clap::builder::BoolishValueParser::new(), default_value = "true", value_name = "BOOL")]
    keys_from_headers: bool,
    /// Serve models at `/{project}/{version}`.
    #[arg(long, env = "LEGACY_ROUTE_ENABLED", value_parser = clap::builder::BoolishValueParser::new(), default_value = "true", value_name = "BOOL")]
    legacy_route: bool,
    /// Serve the local editor of workflows at `/build`.
    #[arg(long, env = "ENABLE_BUILDER", value_parser = clap::builder::BoolishValueParser::new(), default_value = "false", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    builder: bool,
    /// Where the editor's page loads it from.
    #[arg(
        long,
        env = "BUILDER_ORIGIN",
        default_value = "https://app.roboflow.com",
        value_name = "URL"
    )]
    builder_origin: String,
    /// What `/info` calls this server; made up at each start without.
    #[arg(long, env = "INFERENCE_SERVER_ID", value_name = "ID")]
    server_id: Option<String>,
    #[command(flatten)]
    stages: StageArgs,
    #[command(flatten)]
    image_urls: ImageUrlArgs,
    #[command(flatten)]
    webrtc: WebrtcArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    rtsp: RtspArgs,
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    outbox: OutboxPlaceArgs,
}

pub(super) fn run(args: &ServeArgs) -> ExitCode {
    match start(args) {
        Ok(running) => {
            let address = running.server.address();
            eprintln!("millrace serves at http://{address}; Ctrl-C ends");
            wait_for_the_end();
            eprintln!("ending: requests under way finish first");
            running.fleet.hide();
            // Sessions end beside, those that are being started too.
            std::thread::scope(|scope| {
                scope.spawn(|| running.sessions.shut_down());
                running.server.stop();
                drop(running.declared);
                running.fleet.shut_down();
            });
            if let Some(rtsp) = running.rtsp {
                rtsp.stop();
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(REFUSED)
        }
    }
}

/// What runs until the end.
struct Running {
    server: Server,
    fleet: Arc<Fleet>,
    sessions: Arc<Sessions>,
    declared: Option<Declared>,
    rtsp: Option<Arc<RtspServer>>,
    _refresher: Refresher,
}

fn start(args: &ServeArgs) -> Result<Running, String> {
    let addresses = listen::addresses(&args.host_address, args.port).map_err(|e| e.to_string())?;
    let app = app(args).map_err(|e| e.to_string())?;
    let refresher = Refresher::start(&app.process.store);
    let (fleet, sessions) = (app.fleet.clone(), app.sessions.clone());
    let rtsp = args.rtsp.start()?;
    if let Some(rtsp) = &rtsp {
        fleet.send_pictures_with(rtsp.clone());
    }
    let declared = args.streams.as_ref();
    let declared = declared
        .map(|path| Declared::start(fleet.clone(), path))
        .transpose()
        .map_err(|e| e.to_string())?;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
    let listening = Listening {
        threads,
        head: Duration::from_secs(args.head_seconds),
        ..Listening::default()
    };
    let server = Server::start(&addresses, http::router(app), listening)?;
    let address = server.address();
    if !address.ip().is_loopback() && args.token.is_none() {
        tracing::warn!(%address, "anyone who reaches this address may use the server; --token guards it");
    }
    Ok(Running {
        server,
        fleet,
        sessions,
        declared,
        rtsp,
        _refresher: refresher,
    })
}

/// What the handlers share, as the arguments say.
fn app(args: &ServeArgs) -> Result<Arc<App>, LoadError> {
    let mut host = args.host.clone();
    host.private_webhooks.get_or_insert(false);
    let services = args.stages.apply(host::services(&host, &args.outbox)?)?;
    if args.outbox.is_named() {
        services.dispatcher.resume()?;
    }
    let mut definitions = Settings::from_env(|name| std::env::var(name).ok())?;
    definitions.folder.clone_from(&args.pipelines);
    if let Some(key) = &args.store.api_key {
        definitions.api_key = Some(ApiKey::new(key));
    }
    let cache_dir = definitions.cache_dir.clone();
    let store = Arc::new(DefinitionStore::open(definitions, services.clock.clone())?);
    let process = Arc::new(Process::new(
        services.clock.clone(),
        store,
        services.models.clone(),
    ));
    let defaults = ServerSettings::default();
    let settings = ServerSettings {
        body: BodyLimits {
            bytes: args.max_body_mib << 20,
            time: Duration::from_secs(args.body_seconds),
        },
        workers: args.workers.unwrap_or(defaults.workers),
        token: args.token.clone().filter(|token| !token.is_empty()),
        keys_from_headers: args.keys_from_headers,
        profiling: args.profiling,
        origins: args.allow_origins.clone(),
        server_id: args.server_id.clone().unwrap_or(defaults.server_id),
        workspaces: args
            .workspaces
            .iter()
            .filter(|w| !w.is_empty())
            .cloned()
            .collect(),
        legacy_route: args.legacy_route,
        builder: args.builder,
        builder_origin: args.builder_origin.clone(),
        webrtc: args.webrtc.settings(),
        cache_dir,
        ..defaults
    };
    let input = args.image_urls.input_options();
    services.models.start_preload_of_settings();
    let mut fleet = fleet::Settings::from_env(|name| std::env::var(name).ok())?;
    fleet.client_outputs.clone_from(&args.client_outputs);
    let fleet = Fleet::start(services.clone(), process.store.clone(), fleet)?;
    let app = App::new(process, services, input, Arc::new(fleet), settings);
    Ok(Arc::new(app))
}

/// Waits for Ctrl-C or SIGTERM; a second Ctrl-C ends at once.
fn wait_for_the_end() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        loop {
            std::thread::park_timeout(Duration::from_secs(3_600));
        }
    };
    runtime.block_on(async {
        let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        match terminate {
            Ok(mut terminate) => tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            },
            Err(_) => {
                let _ = tokio::signal::ctrl_c().await;
            }
        }
    });
}
