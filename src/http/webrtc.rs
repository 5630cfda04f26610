//! Routes of WebRTC sessions (section 4.8 of the server specification).
//!
//! A session is started with an offer and answered with `sdp`. Its name is in the header
//! `x-millrace-session`; a client that brought a `session_id` chose it itself. The old route below
//! `/inference_pipelines` starts the same kind of session.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::app::App;
use super::fields::Fields;
use super::layers::Stamped;
use super::rejection::Rejection;
use super::table::Route;
use super::{body, caller};
use crate::definitions::ApiKey;
use crate::engine::RuntimeInput;
use crate::webrtc::{
    Answered, DataOutput, Feed, IceServer, SessionSpec, Settings, StreamOutput, Wanted, WebrtcError,
};

type Shared = State<Arc<App>>;

/// What these routes are shown under.
pub const TAG: &str = "WebRTC";
/// The header with the name of a session.
const SESSION: &str = "x-millrace-session";
/// Time that a session has less than it asks for, so that the end can be told.
const RESERVE: Duration = Duration::from_secs(1);

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let route = |path, summary, handler| Route::new(TAG, "POST", path, summary, handler);
    vec![
        route(
            "/initialise_webrtc_worker",
            "Start a session on video over WebRTC",
            post(initialise),
        ),
        route(
            "/inference_pipelines/initialise_webrtc",
            "The same, in the older form",
            post(initialise_pipeline),
        ),
        route(
            "/webrtc/session/heartbeat",
            "Whether a session lives",
            post(heartbeat),
        ),
        route("/webrtc/session/heartbeat/end", "End a session", post(end)),
    ]
}

/// Why a session is not started.
enum Refusal {
    Request(Rejection),
    Session(WebrtcError),
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Request(rejection)
    }
}

impl From<WebrtcError> for Refusal {
    fn from(error: WebrtcError) -> Self {
        match error {
            WebrtcError::Workflow(error) => Self::Request(Rejection::Workflow(error)),
            WebrtcError::Definition(error) => Self::Request(Rejection::Definition(error)),
            WebrtcError::Source(_) | WebrtcError::Host { .. } => {
                Self::Request(Rejection::Internal(error.to_string()))
            }
            other => Self::Session(other),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Request(rejection) => return rejection.into_response(),
            Self::Session(error) => error,
        };
        tracing::warn!(%error, "a WebRTC session is refused");
        let status = StatusCode::from_u16(error.status());
        let mut body = json!({"message": error.to_string()});
        if let Some(kind) = error.kind() {
            body["error_type"] = kind.into();
        }
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(body)).into_response()
    }
}

/// Which of the two forms a body has.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Worker,
    Pipeline,
}

impl Form {
    /// The field that names the workflow.
    fn workflow(self) -> &'static str {
        match self {
            Self::Worker => "workflow_configuration",
            Self::Pipeline => "processing_configuration",
        }
    }

    fn fps(self) -> &'static str {
        match self {
            Self::Worker => "declared_fps",
            Self::Pipeline => "webcam_fps",
        }
    }
}

async fn initialise(
    State(app): Shared,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let (answered, kept) = start(app, &headers, request, Form::Worker).await?;
    let context = json!({"request_id": null, "pipeline_id": null});
    let response = answer(&answered, context);
    kept.claim();
    Ok(response)
}

async fn initialise_pipeline(
    State(app): Shared,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let (answered, kept) = start(app, &headers, request, Form::Pipeline).await?;
    let request_id = Uuid::new_v4().to_string();
    let context = json!({"request_id": request_id, "pipeline_id": answered.id});
    let response = answer(&answered, context);
    kept.claim();
    Ok(response)
}

fn answer(answered: &Answered, context: Value) -> Response {
    let body = json!({
        "status": "success",
        "context": context,
        "sdp": answered.sdp,
        "type": "answer",
    });
    let mut response = Json(body).into_response();
    if let Ok(id) = HeaderValue::from_str(&answered.id) {
        response.headers_mut().insert(SESSION, id);
    }
    let stamp = Stamped(answered.definition.clone());
    response.extensions_mut().insert(stamp);
    response
}

/// A session whose client does not know of it yet. If the client never gets to know, it ends.
struct Unclaimed {
    app: Arc<App>,
    id: Option<String>,
}

impl Unclaimed {
    fn claim(mut self) {
        self.id = None;
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            tracing::warn!(session = %id, "nobody waits for it any more");
            self.app.sessions.end(&id);
        }
    }
}

async fn start(
    app: Arc<App>,
    headers: &HeaderMap,
    request: Request<Body>,
    form: Form,
) -> Result<(Answered, Unclaimed), Refusal> {
    let object = body::object(request, app.settings.body).await?;
    let mut spec = read(&app, headers, &object, form)?;
    let settings = app.sessions.settings();
    if let (Some(_), Some(key)) = (settings.quota, &spec.api_key) {
        spec.workspace = app.workspace_of(key.expose()).await;
    }
    let worker = app.clone();
    let started = tokio::task::spawn_blocking(move || {
        let answered = worker.sessions.start(spec)?;
        let id = Some(answered.id.clone());
        Ok::<_, WebrtcError>((answered, Unclaimed { app: worker, id }))
    });
    Ok(started.await.map_err(Rejection::from)??)
}

/// Reads a body.
fn read(
    app: &App,
    headers: &HeaderMap,
    object: &Map<String, Value>,
    form: Form,
) -> Result<SessionSpec, Refusal> {
    let settings = app.sessions.settings();
    let mut fields = Fields::of(object);
    let key = fields.text("api_key").map(str::to_owned);
    let key = caller::api_key(headers, app.settings.keys_from_headers, key.as_deref());
    let workflow = Workflow::read(&mut fields, form);
    let offer = read_offer(&mut fields);
    if form == Form::Pipeline {
        // The track takes the place of the source that it names.
        fields.required_object("video_configuration");
    }
    let ice = read_ice(&mut fields);
    let realtime = fields.flag("webrtc_realtime_processing", settings.realtime);
    let names = |names: Option<Vec<&str>>| -> Option<Vec<String>> {
        Some(names?.into_iter().map(str::to_owned).collect())
    };
    let stream_output = names(fields.texts("stream_output"));
    let data_output = names(fields.texts("data_output"));
    let absent = form == Form::Pipeline && !object.contains_key("stream_output");
    let stream_output = match absent {
        true => None,
        false => StreamOutput::of_request(stream_output.as_deref()),
    };
    let declared_fps = fields.number(form.fps()).filter(|fps| *fps > 0.0);
    let feed = read_feed(&mut fields);
    let timeout = match form {
        Form::Worker => read_timeout(&mut fields, object, settings),
        Form::Pipeline => settings.timeout,
    };
    let id = fields.text("session_id").map(str::to_owned);
    fields.finish()?;
    let (Some(workflow), Some(offer)) = (workflow, offer) else {
        return Err(Rejection::Internal("a field was lost".into()).into());
    };
    Ok(SessionSpec {
        id,
        offer,
        definition: workflow.wanted(app, key.clone())?,
        image_input: workflow.image_input,
        parameters: workflow
            .parameters
            .into_iter()
            .map(|(name, value)| (name, RuntimeInput::Json(value)))
            .collect(),
        disable_sinks: workflow.disable_sinks,
        api_key: key,
        workspace: None,
        realtime,
        stream_output,
        data_output: DataOutput::of(data_output.as_deref()),
        ice,
        declared_fps,
        feed,
        timeout: Some(timeout.saturating_sub(RESERVE).max(RESERVE)),
    })
}

fn read_feed(fields: &mut Fields<'_>) -> Feed {
    let rtsp = fields.text("rtsp_url").filter(|url| !url.is_empty());
    let mjpeg = fields.text("mjpeg_url").filter(|url| !url.is_empty());
    let upload = fields.flag("video_file_upload", false);
    fields.flag("manual_mode", false);
    match (rtsp, mjpeg, upload) {
        (Some(url), ..) => Feed::Rtsp(url.to_owned()),
        (_, Some(url), _) => Feed::Mjpeg(url.to_owned()),
        (.., true) => Feed::Upload,
        _ => Feed::Track,
    }
}

/// How long a session may run: what it asks for, within the operator's bounds. `null` asks for as
/// long as may be.
fn read_timeout(
    fields: &mut Fields<'_>,
    object: &Map<String, Value>,
    settings: &Settings,
) -> Duration {
    let asked = match object.get("processing_timeout") {
        None => Some(settings.timeout),
        Some(Value::Null) => None,
        Some(_) => {
            let seconds = fields.whole("processing_timeout").unwrap_or_default();
            Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
        }
    };
    asked.map_or(settings.max_timeout, |asked| {
        asked.min(settings.max_timeout)
    })
}

fn read_offer(fields: &mut Fields<'_>) -> Option<String> {
    let object = fields.required_object("webrtc_offer")?;
    let mut inner = Fields::within(object, "webrtc_offer");
    let kind = inner.required_text("type");
    let sdp = inner.required_text("sdp").map(str::to_owned);
    if let Some(kind) = kind
        && kind != "offer"
    {
        let place = json!(["body", "webrtc_offer", "type"]);
        let text = "Input should be 'offer'";
        inner.refuse("literal_error", place, text, &kind.into());
    }
    fields.absorb(inner);
    sdp
}

/// Servers that help to connect, of both forms.
fn read_ice(fields: &mut Fields<'_>) -> Vec<IceServer> {
    let mut found = Vec::new();
    let mut add = |fields: &mut Fields<'_>, name: &str, value: &Value| {
        let server = value.as_object().and_then(|object| {
            let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
            let urls = match object.get("urls")? {
                Value::String(url) => vec![url.clone()],
                Value::Array(urls) => {
                    let texts: Option<Vec<String>> = urls
                        .iter()
                        .map(|url| url.as_str().map(str::to_owned))
                        .collect();
                    texts?
                }
                _ => return None,
            };
            Some(IceServer {
                urls,
                username: text("username"),
                credential: text("credential"),
            })
        });
        match server {
            Some(server) => found.push(server),
            None => {
                let text = "Input should be an object with urls, username and credential";
                // It may hold a password, which an answer does not repeat.
                fields.refuse("model_type", json!(["body", name]), text, &Value::Null);
            }
        }
    };
    if let Some(config) = fields.get("webrtc_config") {
        match config.get("iceServers").and_then(Value::as_array) {
            Some(servers) => servers
                .iter()
                .for_each(|server| add(fields, "webrtc_config", server)),
            None => {
                let place = json!(["body", "webrtc_config", "iceServers"]);
                fields.refuse("missing", place, "Field required", &Value::Null);
            }
        }
    }
    if let Some(server) = fields.get("webrtc_turn_config") {
        add(fields, "webrtc_turn_config", server);
    }
    found
}

/// What is to run.
struct Workflow {
    inline: Option<Value>,
    workspace: Option<String>,
    id: Option<String>,
    version: Option<String>,
    image_input: String,
    parameters: Map<String, Value>,
    disable_sinks: bool,
}

impl Workflow {
    fn read(fields: &mut Fields<'_>, form: Form) -> Option<Self> {
        let name = form.workflow();
        let object = fields.required_object(name)?;
        let mut inner = Fields::within(object, name);
        if let Some(kind) = inner.required_text("type")
            && kind != "WorkflowConfiguration"
        {
            let text = "Input should be 'WorkflowConfiguration'";
            let place = json!(["body", name, "type"]);
            inner.refuse("literal_error", place, text, &kind.into());
        }
        let owned = |text: Option<&str>| text.filter(|t| !t.is_empty()).map(str::to_owned);
        let inline = inner.get("workflow_specification").cloned();
        let parameters = inner.get("workflows_parameters").cloned();
        for (what, value) in [
            ("workflow_specification", &inline),
            ("workflows_parameters", &parameters),
        ] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_object()) {
                let text = "Input should be a valid dictionary";
                inner.refuse("dict_type", json!(["body", name, what]), text, value);
            }
        }
        let read = Self {
            inline,
            workspace: owned(inner.text("workspace_name")),
            id: owned(inner.text("workflow_id")),
            version: owned(inner.text("workflow_version_id")),
            image_input: owned(inner.text("image_input_name")).unwrap_or_else(|| "image".into()),
            parameters: match parameters {
                Some(Value::Object(parameters)) => parameters,
                _ => Map::new(),
            },
            disable_sinks: inner.flag("disable_sinks", false),
        };
        fields.absorb(inner);
        Some(read)
    }

    fn wanted(&self, app: &App, key: Option<ApiKey>) -> Result<Wanted, Refusal> {
        match (&self.inline, &self.workspace, &self.id) {
            (Some(inline), ..) => Ok(Wanted::Inline(inline.clone())),
            (None, Some(workspace), Some(id)) => {
                let store = &app.process.store;
                let version = self.version.as_deref();
                Ok(Wanted::Key(store.key_of(workspace, id, version, key)))
            }
            _ => Err(WebrtcError::Field {
                what: "workflow_configuration",
                reason: "Either 'workflow_specification' or both 'workspace_name' and 'workflow_id' must be provided".into(),
            }
            .into()),
        }
    }
}

async fn heartbeat(
    State(app): Shared,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    match own_session(&app, &headers, request).await? {
        Ok(Some(_)) => Ok(Json(json!({"status": "ok"})).into_response()),
        Ok(None) => Ok(told(StatusCode::NOT_FOUND, "session not found")),
        Err(refused) => Ok(refused),
    }
}

async fn end(
    State(app): Shared,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    match own_session(&app, &headers, request).await? {
        Ok(found) => {
            if let Some(id) = found {
                app.sessions.end(&id);
            }
            Ok(Json(json!({"status": "ok"})).into_response())
        }
        Err(refused) => Ok(refused),
    }
}

/// The session that a request names, if it belongs to the workspace of its key; a response if the
/// key is none.
async fn own_session(
    app: &App,
    headers: &HeaderMap,
    request: Request<Body>,
) -> Result<Result<Option<String>, Response>, Rejection> {
    let object = body::object(request, app.settings.body).await?;
    let mut fields = Fields::of(&object);
    let id = fields.required_text("session_id").map(str::to_owned);
    let key = fields.text("api_key").map(str::to_owned);
    fields.finish()?;
    let key = caller::api_key(headers, app.settings.keys_from_headers, key.as_deref());
    let unauthorised = || told(StatusCode::UNAUTHORIZED, "unauthorized");
    let Some(key) = key else {
        return Ok(Err(unauthorised()));
    };
    let owner = id.as_deref().and_then(|id| app.sessions.owner(id));
    // Who started it need not be looked up.
    let same = |own: &ApiKey| caller::same_secret(own.expose(), key.expose());
    if let Some((Some(own), _)) = &owner
        && same(own)
    {
        return Ok(Ok(id));
    }
    let Some(workspace) = app.workspace_of(key.expose()).await else {
        return Ok(Err(unauthorised()));
    };
    let owners = match owner {
        Some((_, Some(owners))) => Some(owners),
        Some((Some(own), None)) => app.workspace_of(own.expose()).await,
        _ => None,
    };
    Ok(Ok(id.filter(|_| owners == Some(workspace))))
}

fn told(status: StatusCode, message: &str) -> Response {
    let body = json!({"detail": {"status": "error", "message": message}});
    (status, Json(body)).into_response()
}
