//! The body of a request for a session, in the form of the worker's route and in the older one.

use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::{Map, Value, json};

use super::super::app::App;
use super::super::caller;
use super::super::fields::Fields;
use super::super::rejection::Rejection;
use super::Refusal;
use crate::definitions::ApiKey;
use crate::engine::RuntimeInput;
use crate::webrtc::{
    DataOutput, Feed, IceServer, SessionSpec, Settings, StreamOutput, Wanted, WebrtcError,
};

/// Time that a session has less than it asks for, so that the end can be told.
const RESERVE: Duration = Duration::from_secs(1);

/// Which of the two forms a body has.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
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

/// Reads a body.
pub(super) fn read(
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
    let stream_output = read_stream_output(&mut fields, object, form);
    let data_output = owned(fields.texts("data_output"));
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

fn owned(names: Option<Vec<&str>>) -> Option<Vec<String>> {
    Some(names?.into_iter().map(str::to_owned).collect())
}

/// What goes to the track: by the older form nothing, where it does not say.
fn read_stream_output(
    fields: &mut Fields<'_>,
    object: &Map<String, Value>,
    form: Form,
) -> Option<StreamOutput> {
    let names = owned(fields.texts("stream_output"));
    match form == Form::Pipeline && !object.contains_key("stream_output") {
        true => None,
        false => StreamOutput::of_request(names.as_deref()),
    }
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
