//! The body of an initialise request, read into a [`PipelineSpec`] (server specification 4.6).
//!
//! What does not fit is told as the reference tells it: pydantic's `type`, `loc`, `msg` and `input`,
//! one entry for each problem. Unknown fields are ignored. Besides the reference's fields there are
//! `sink_configuration.results_buffer_policy`, `"DROP_OLDEST"` (default) or `"WAIT"`, and `millrace`:
//! its `name` is the id of the pipeline, its `outputs` are as in a file of streams. Files and events
//! are for clients of servers that name a folder for them ([`Settings::client_outputs`]).
//!
//! [`Settings::client_outputs`]: super::Settings::client_outputs

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::declaration;
use super::error::FleetError;
use super::reference;
use super::results::ResultsPolicy;
use super::spec::{Buffering, Consumption, Filling, PipelineSpec, Wanted};
use crate::definitions::{ApiKey, DefinitionKey};
use crate::engine::{RuntimeInput, RuntimeInputs};
use crate::outputs::OutputsSpec;
use crate::sources::{SourceSpec, SourceUri};

/// Longest time that a request may name, seconds.
const MAX_SECONDS: f64 = 365.0 * 86_400.0;

/// Reads the body of an initialise request. `key` is the API key of the caller's headers, which wins
/// over the body's; `folder` is the one for files of outputs, if there is one.
///
/// # Errors
/// [`FleetError::Invalid`] with every problem; [`FleetError::NoDefinition`].
pub fn initialise(
    body: &Map<String, Json>,
    key: Option<ApiKey>,
    folder: Option<&Path>,
) -> Result<PipelineSpec, FleetError> {
    let mut problems = Vec::new();
    let mut top = Reader::new(body, json!(["body"]), &mut problems);
    let body_key = top.text("api_key").map(ApiKey::new);
    let consumption_timeout = top.seconds("consumption_timeout");
    let size = top.count("decoding_buffer_size", 64);
    let video = top
        .object("video_configuration", true)
        .and_then(|object| Video::read(object, size, &mut problems));
    let mut top = Reader::new(body, json!(["body"]), &mut problems);
    let processing = top
        .object("processing_configuration", true)
        .map(|object| Processing::read(object, &mut problems));
    let mut top = Reader::new(body, json!(["body"]), &mut problems);
    let sink = top.object("sink_configuration", false);
    let (results, results_policy) = match sink {
        Some(object) => read_sink(object, &mut problems),
        None => (64, ResultsPolicy::default()),
    };
    let mut top = Reader::new(body, json!(["body"]), &mut problems);
    let own = top.object("millrace", false);
    let (name, outputs) = match own {
        Some(object) => read_own(object, folder, &mut problems),
        None => (None, OutputsSpec::watchable()),
    };
    let (Some(video), Some(processing), []) = (video, processing, &*problems) else {
        return Err(FleetError::Invalid(problems));
    };
    let mut spec = PipelineSpec::new(video.sources, processing.wanted(key.or(body_key))?);
    spec.buffering = video.buffering;
    spec.max_fps = video.max_fps;
    spec.round_wait = video.round_wait;
    spec.image_input = Some(processing.image_input.unwrap_or_else(|| "image".into()));
    spec.parameters = processing.parameters;
    spec.disable_sinks = processing.disable_sinks;
    spec.results = results;
    spec.results_policy = results_policy;
    spec.consumption_timeout = consumption_timeout;
    spec.name = name;
    spec.outputs = outputs;
    Ok(spec)
}

/// Reads a source of an `add source` request: its `video_reference`.
///
/// # Errors
/// [`FleetError::Invalid`].
pub fn source(body: &Map<String, Json>) -> Result<SourceUri, FleetError> {
    let mut problems = Vec::new();
    let mut top = Reader::new(body, json!(["body"]), &mut problems);
    let uri = top
        .required("video_reference")
        .and_then(|value| read_reference(value, json!(["body", "video_reference"]), &mut problems));
    uri.ok_or(FleetError::Invalid(problems))
}

/// Reads the `excluded_fields` of a consume request.
///
/// # Errors
/// [`FleetError::Invalid`].
pub fn excluded(body: &Map<String, Json>) -> Result<Vec<String>, FleetError> {
    let mut problems = Vec::new();
    let mut names = Vec::new();
    match body.get("excluded_fields") {
        None | Some(Json::Null) => {}
        Some(Json::Array(items)) => {
            for (at, item) in items.iter().enumerate() {
                match item.as_str() {
                    Some(name) => names.push(name.to_owned()),
                    None => problems.push(json!({
                        "type": "string_type", "loc": ["body", "excluded_fields", at],
                        "msg": "Input should be a valid string", "input": item,
                    })),
                }
            }
        }
        Some(other) => problems.push(json!({
            "type": "list_type", "loc": ["body", "excluded_fields"],
            "msg": "Input should be a valid list", "input": other,
        })),
    }
    match problems.is_empty() {
        true => Ok(names),
        false => Err(FleetError::Invalid(problems)),
    }
}

/// Where frames come from.
struct Video {
    sources: Vec<SourceSpec>,
    buffering: Buffering,
    max_fps: Option<f64>,
    round_wait: Option<Duration>,
}

impl Video {
    fn read(object: &Map<String, Json>, size: usize, problems: &mut Vec<Json>) -> Option<Self> {
        let place = json!(["body", "video_configuration"]);
        let mut reader = Reader::new(object, place, problems);
        reader.tag("VideoConfiguration");
        let reference = reader.required("video_reference");
        let max_fps = reader.number("max_fps");
        let filling = reader.choice(
            "source_buffer_filling_strategy",
            &Filling::ALL.map(|f| (f.name(), f)),
            Filling::DropOldest,
        );
        let consumption = reader.choice(
            "source_buffer_consumption_strategy",
            &Consumption::ALL.map(|c| (c.name(), c)),
            Consumption::Eager,
        );
        reader.object("video_source_properties", false);
        let round_wait = reader.seconds("batch_collection_timeout");
        let uris = read_references(reference?, problems)?;
        let buffering = Buffering {
            filling,
            consumption,
            size,
        };
        let sources = uris
            .into_iter()
            .enumerate()
            .map(|(number, uri)| {
                let mut spec = SourceSpec::new(uri);
                // As the reference names them.
                spec.video_identifier = Some(number.to_string().into());
                spec
            })
            .collect();
        Some(Self {
            sources,
            buffering,
            max_fps,
            round_wait,
        })
    }
}

fn read_references(value: &Json, problems: &mut Vec<Json>) -> Option<Vec<SourceUri>> {
    let place = json!(["body", "video_configuration", "video_reference"]);
    match value {
        Json::Array(items) if items.is_empty() => {
            let message = "at least one source is needed";
            problems.push(refused(place, message, value));
            None
        }
        Json::Array(items) => items
            .iter()
            .map(|item| read_reference(item, place.clone(), problems))
            .collect(),
        other => read_reference(other, place, problems).map(|uri| vec![uri]),
    }
}

fn read_reference(value: &Json, place: Json, problems: &mut Vec<Json>) -> Option<SourceUri> {
    let read = match value {
        Json::String(text) => reference::parse(text),
        Json::Number(number) => match number.as_u64() {
            Some(index) => reference::camera(index),
            None => Err("a camera index is a whole number from 0".into()),
        },
        _ => {
            let message = "Input should be a valid string";
            problems
                .push(json!({"type": "string_type", "loc": place, "msg": message, "input": value}));
            return None;
        }
    };
    match read {
        Ok(uri) => Some(uri),
        Err(message) => {
            problems.push(refused(place, &message, value));
            None
        }
    }
}

/// A problem that a check of ours found, as pydantic writes those.
fn refused(place: Json, message: &str, input: &Json) -> Json {
    json!({
        "type": "value_error", "loc": place, "msg": format!("Value error, {message}"),
        "input": input, "ctx": {"error": {}},
    })
}

/// What is run on the frames.
struct Processing {
    inline: Option<Json>,
    workspace: Option<String>,
    workflow: Option<String>,
    version: Option<String>,
    image_input: Option<String>,
    parameters: RuntimeInputs,
    disable_sinks: bool,
}

impl Processing {
    fn read(object: &Map<String, Json>, problems: &mut Vec<Json>) -> Self {
        let place = json!(["body", "processing_configuration"]);
        let mut reader = Reader::new(object, place, problems);
        reader.tag("WorkflowConfiguration");
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let parameters = reader.object("workflows_parameters", false);
        Self {
            inline: reader
                .object("workflow_specification", false)
                .map(|object| Json::Object(object.clone())),
            workspace: owned(reader.text("workspace_name")),
            workflow: owned(reader.text("workflow_id")),
            version: owned(reader.text("workflow_version_id")),
            image_input: owned(reader.text("image_input_name")),
            disable_sinks: reader.flag("disable_sinks"),
            parameters: parameters
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), RuntimeInput::Json(value.clone())))
                .collect(),
        }
    }

    fn wanted(&self, key: Option<ApiKey>) -> Result<Wanted, FleetError> {
        match (&self.inline, &self.workspace, &self.workflow) {
            (Some(inline), ..) => Ok(Wanted::Inline(inline.clone().into())),
            (None, Some(workspace), Some(workflow)) => Ok(Wanted::Key(DefinitionKey::workflow(
                workspace,
                workflow,
                self.version.as_deref(),
                key,
            ))),
            _ => Err(FleetError::NoDefinition),
        }
    }
}

fn read_sink(object: &Map<String, Json>, problems: &mut Vec<Json>) -> (usize, ResultsPolicy) {
    let mut reader = Reader::new(object, json!(["body", "sink_configuration"]), problems);
    reader.tag("MemorySinkConfiguration");
    let policies = [ResultsPolicy::DropOldest, ResultsPolicy::Wait].map(|p| (p.name(), p));
    let policy = reader.choice("results_buffer_policy", &policies, ResultsPolicy::default());
    (
        reader.count("results_buffer_size", 64),
        policy.unwrap_or_default(),
    )
}

/// What the reference does not know: a name, and outputs.
fn read_own(
    object: &Map<String, Json>,
    folder: Option<&Path>,
    problems: &mut Vec<Json>,
) -> (Option<String>, OutputsSpec) {
    let mut reader = Reader::new(object, json!(["body", "millrace"]), problems);
    let name = reader.text("name").map(str::to_owned);
    let input = || Json::Object(object.clone());
    if let Some(name) = &name
        && !declaration::is_name(name)
    {
        let message = "a name has letters, digits, `-`, `_` and `.` only";
        problems.push(refused(
            json!(["body", "millrace", "name"]),
            message,
            &input(),
        ));
    }
    let outputs = match object.get("outputs") {
        None => Ok(OutputsSpec::watchable()),
        Some(json) => declaration::client_outputs(json, folder),
    };
    match outputs {
        Ok(outputs) => (name, outputs),
        Err(told) => {
            let place = || json!(["body", "millrace", "outputs"]);
            let told = told
                .iter()
                .map(|message| refused(place(), message, &input()));
            problems.extend(told);
            (name, OutputsSpec::default())
        }
    }
}

/// Reads the fields of an object at a place of the body.
struct Reader<'a, 'p> {
    object: &'a Map<String, Json>,
    place: Json,
    problems: &'p mut Vec<Json>,
}

impl<'a, 'p> Reader<'a, 'p> {
    fn new(object: &'a Map<String, Json>, place: Json, problems: &'p mut Vec<Json>) -> Self {
        Self {
            object,
            place,
            problems,
        }
    }

    fn problem(&mut self, name: &str, kind: &str, message: &str, input: Json) {
        let place = self.place_of(name);
        self.problems
            .push(json!({"type": kind, "loc": place, "msg": message, "input": input}));
    }

    fn place_of(&self, name: &str) -> Json {
        let mut place = self.place.as_array().cloned().unwrap_or_default();
        place.push(name.into());
        Json::Array(place)
    }

    fn get(&self, name: &str) -> Option<&'a Json> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn required(&mut self, name: &str) -> Option<&'a Json> {
        let found = self.object.get(name);
        if found.is_none() {
            let input = Json::Object(self.object.clone());
            self.problem(name, "missing", "Field required", input);
        }
        found
    }

    fn object(&mut self, name: &str, required: bool) -> Option<&'a Map<String, Json>> {
        let value = match required {
            true => self.required(name)?,
            false => self.get(name)?,
        };
        if value.is_object() {
            return value.as_object();
        }
        let message = "Input should be a valid dictionary";
        self.problem(name, "dict_type", message, value.clone());
        None
    }

    /// The name of the configuration; absent it is not missed.
    fn tag(&mut self, expected: &str) {
        let Some(value) = self.get("type").filter(|value| *value != expected) else {
            return;
        };
        let place = self.place_of("type");
        self.problems.push(json!({
            "type": "literal_error", "loc": place, "msg": format!("Input should be '{expected}'"),
            "input": value, "ctx": {"expected": format!("'{expected}'")},
        }));
    }

    fn text(&mut self, name: &str) -> Option<&'a str> {
        let value = self.get(name)?;
        if value.is_string() {
            return value.as_str();
        }
        let message = "Input should be a valid string";
        self.problem(name, "string_type", message, value.clone());
        None
    }

    fn flag(&mut self, name: &str) -> bool {
        let Some(value) = self.get(name) else {
            return false;
        };
        let word = value.as_str().map(str::to_ascii_lowercase);
        match (value, word.as_deref()) {
            (Json::Bool(flag), _) => *flag,
            (_, Some("1" | "true" | "t" | "yes" | "y" | "on")) => true,
            (_, Some("0" | "false" | "f" | "no" | "n" | "off")) => false,
            (Json::Number(n), _) if n.as_f64() == Some(1.0) => true,
            (Json::Number(n), _) if n.as_f64() == Some(0.0) => false,
            _ => {
                let message = "Input should be a valid boolean, unable to interpret input";
                self.problem(name, "bool_parsing", message, value.clone());
                false
            }
        }
    }

    fn number(&mut self, name: &str) -> Option<f64> {
        let value = self.get(name)?;
        let read = match value {
            Json::Number(number) => number.as_f64(),
            Json::String(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
            _ => {
                let message = "Input should be a valid number";
                self.problem(name, "float_type", message, value.clone());
                return None;
            }
        };
        if read.is_none() {
            let message = "Input should be a valid number, unable to parse string as a number";
            self.problem(name, "float_parsing", message, value.clone());
        }
        read
    }

    /// A time in seconds; below zero counts as none.
    fn seconds(&mut self, name: &str) -> Option<Duration> {
        let seconds = self.number(name)?;
        (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(MAX_SECONDS)))
    }

    /// A number of things; below zero counts as zero.
    fn count(&mut self, name: &str, default: usize) -> usize {
        let Some(number) = self.number(name) else {
            return default;
        };
        if number.fract() != 0.0 {
            let message = "Input should be a valid integer, got a number with a fractional part";
            let input = self.object.get(name).cloned().unwrap_or_default();
            self.problem(name, "int_from_float", message, input);
        }
        number.clamp(0.0, 65_536.0) as usize
    }

    /// One of some words; null is none of them, absent the default.
    fn choice<T: Copy>(&mut self, name: &str, words: &[(&str, T)], default: T) -> Option<T> {
        let value = match self.object.get(name) {
            None => return Some(default),
            Some(Json::Null) => return None,
            Some(value) => value,
        };
        let found = words.iter().find(|(word, _)| value == word);
        if found.is_none() {
            let quoted: Vec<String> = words.iter().map(|(word, _)| format!("'{word}'")).collect();
            let (last, others) = quoted
                .split_last()
                .map_or(("", &[][..]), |(l, o)| (&**l, o));
            let expected = match others {
                [] => last.to_owned(),
                _ => format!("{} or {last}", others.join(", ")),
            };
            let place = self.place_of(name);
            self.problems.push(json!({
                "type": "enum", "loc": place, "msg": format!("Input should be {expected}"),
                "input": value, "ctx": {"expected": expected},
            }));
        }
        found.map(|(_, value)| *value)
    }
}
