//! A file of streams.
//!
//! ```json
//! {
//!   "streams": {
//!     "gate": {
//!       "source": "rtsp://viewer:password@10.0.0.5/h264",
//!       "definition": "my-workspace/count-people"
//!     },
//!     "yard": {
//!       "sources": {"north": "rtsp://10.0.0.6/a", "south": "rtsp://10.0.0.7/a"},
//!       "definition": "crowd-alarm.json",
//!       "parameters": {"limit": 5},
//!       "max_fps": 10
//!     }
//!   }
//! }
//! ```
//!
//! | field | value | default |
//! | --- | --- | --- |
//! | `source` | an address as `millrace run --source` takes it, or the index of a camera | this or `sources` |
//! | `sources` | several, by name: their frames go through the workflow in rounds | |
//! | `definition` | `workspace/workflow`, a file (ends in `.json`), a name in the watched folder, or the definition itself | needed |
//! | `version` | pinned version of a definition of the platform | the published one |
//! | `image_input` | the input that gets the frames | the first for images |
//! | `parameters` | parameters of the workflow, by name | none |
//! | `max_fps` | most frames per second, over all sources | all |
//! | `round_wait` | seconds that a round waits for its frames | as [`crate::streams::Intake`] says |
//! | `results` | results that may wait for a client | 64 |
//! | `results_policy` | `DROP_OLDEST` or `WAIT` | `DROP_OLDEST` |
//! | `disable_sinks` | whether sinks do nothing | false |
//! | `outputs` | what the stream gives besides its results, see below | the picture for those who look |
//! | `stage_workers` | most threads that work on one of its stages | as `--stage-workers` says |
//! | `enabled` | whether it runs | true |
//!
//! Outputs of a stream, each a text, or an object with the fields in brackets (`url` or `path` is the
//! text then):
//!
//! | output | value |
//! | --- | --- |
//! | `webhook`, `mqtt`, `kafka`, `nats`, `redis` | an address as `millrace run` takes it, or a list of them [`url`, `when`: an output that has to be true, `include_images`]; they go through the outbox |
//! | `jsonl` | a file to which a line is added for each result [`path`, `include_images`, `rotate`: the size at which it is put aside as `path.1`, 1GB, or false; `keep`: files put aside that stay, 9] |
//! | `video` | film of the picture, in files of ten minutes [`path`, `output`, `segment`: `10m` or `500MB`, `keep`: files that stay] |
//! | `preview` | the picture over HTTP: true or false [`output`] |
//! | `rtsp` | the picture over RTSP where the server has `--rtsp-listen`: true or false [`output`] |
//!
//! The picture is the output named by `output`, else the first that is one, else the frame.
//!
//! Paths are relative to the folder of the file. A stream is named as in the file; that is its
//! pipeline's id, and the video identifier of its source; of several it is `stream/source`. Fields
//! and streams whose names begin with `_` are comments.

mod outputs;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::results::ResultsPolicy;
use super::spec::{PipelineSpec, Wanted};
use crate::definitions::DefinitionKey;
use crate::engine::RuntimeInput;
use crate::outputs::OutputsSpec;
use crate::sources::{SourceSpec, SourceUri};

/// Fields of a stream.
const FIELDS: &[&str] = &[
    "source",
    "sources",
    "definition",
    "version",
    "image_input",
    "parameters",
    "max_fps",
    "round_wait",
    "results",
    "results_policy",
    "disable_sinks",
    "outputs",
    "stage_workers",
    "enabled",
];

/// Streams by name.
pub(super) type Streams = BTreeMap<String, PipelineSpec>;

/// Reads a file of streams that lies in `folder`.
///
/// # Errors
/// Every problem with its place, one per line.
pub(super) fn parse(text: &[u8], folder: &Path) -> Result<Streams, String> {
    let json: Json = serde_json::from_slice(text).map_err(|e| format!("it is no JSON: {e}"))?;
    let mut reader = Reader {
        folder,
        problems: Vec::new(),
    };
    let streams = reader.file(&json);
    reader.files_of_their_own(&streams);
    match reader.problems.is_empty() {
        true => Ok(streams),
        false => Err(reader.problems.join("\n")),
    }
}

/// Whether a text can be the name of a stream.
pub(super) fn is_name(text: &str) -> bool {
    let harmless = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 128 && text.chars().all(harmless)
}

/// Reads outputs that a client asks for. Their files are relative to `folder` and stay below it;
/// without one there are neither files nor events.
///
/// # Errors
/// Every problem.
pub(super) fn client_outputs(
    json: &Json,
    folder: Option<&Path>,
) -> Result<OutputsSpec, Vec<String>> {
    let mut reader = Reader {
        folder: folder.unwrap_or(Path::new("")),
        problems: Vec::new(),
    };
    let outputs = reader.outputs("outputs", json);
    let reaches_out = outputs.paths().next().is_some() || !outputs.events.is_empty();
    if folder.is_none() && reaches_out {
        reader.wrong(
            "outputs",
            "clients of this server may ask for `preview` and `rtsp` only; `--client-outputs DIR` allows the others",
        );
    }
    let below = |path: &PathBuf| {
        let own = path.strip_prefix(reader.folder).ok();
        own.is_some_and(|own| own.components().all(|c| matches!(c, Component::Normal(_))))
    };
    if !outputs.paths().all(below) {
        reader.wrong("outputs", "paths are relative and without `..`");
    }
    match reader.problems.is_empty() {
        true => Ok(outputs),
        false => Err(reader.problems),
    }
}

/// Reads values at places of the file, and gathers what is wrong with them.
struct Reader<'a> {
    folder: &'a Path,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn wrong(&mut self, place: &str, message: impl std::fmt::Display) {
        self.problems.push(format!("{place}: {message}"));
    }

    fn file(&mut self, json: &Json) -> Streams {
        let mut streams = Streams::new();
        let Some(top) = self.object("the file", json) else {
            return streams;
        };
        for name in top
            .keys()
            .filter(|n| *n != "streams" && !n.starts_with('_'))
        {
            self.wrong(name, "unknown field; the file has `streams` only");
        }
        let Some(declared) = top.get("streams") else {
            self.wrong("streams", "it is missing");
            return streams;
        };
        let Some(declared) = self.object("streams", declared) else {
            return streams;
        };
        for (name, json) in declared.iter().filter(|(n, _)| !n.starts_with('_')) {
            let place = format!("streams.{name}");
            if !is_name(name) {
                self.wrong(&place, "a name has letters, digits, `-`, `_` and `.` only");
            }
            if let Some(object) = self.object(&place, json)
                && let Some(mut spec) = self.stream(&place, name, object)
            {
                spec.name = Some(name.clone());
                if self.flag(&place, object, "enabled", true) {
                    streams.insert(name.clone(), spec);
                }
            }
        }
        streams
    }

    fn stream(
        &mut self,
        place: &str,
        name: &str,
        object: &Map<String, Json>,
    ) -> Option<PipelineSpec> {
        let known = |n: &&String| FIELDS.contains(&n.as_str()) || n.starts_with('_');
        for field in object.keys().filter(|n| !known(n)) {
            let known = FIELDS.join(", ");
            self.wrong(
                &format!("{place}.{field}"),
                format!("unknown field; known: {known}"),
            );
        }
        let sources = self.sources(place, name, object);
        let definition = self.definition(place, object);
        let mut spec = PipelineSpec::new(sources?, definition?);
        spec.image_input = self.text(place, object, "image_input").map(str::to_owned);
        if let Some(json) = object.get("parameters")
            && let Some(parameters) = self.object(&format!("{place}.parameters"), json)
        {
            let parameters = parameters.iter();
            spec.parameters = parameters
                .map(|(name, json)| (name.clone(), RuntimeInput::Json(json.clone())))
                .collect();
        }
        spec.max_fps = self.number(place, object, "max_fps");
        let wait = self.number(place, object, "round_wait");
        spec.round_wait = wait.and_then(|s| Duration::try_from_secs_f64(s).ok());
        if let Some(json) = object.get("results") {
            match json.as_u64().filter(|n| *n <= 65_536) {
                Some(results) => spec.results = results as usize,
                None => self.wrong(&format!("{place}.results"), "a whole number up to 65536"),
            }
        }
        match self.text(place, object, "results_policy") {
            None | Some("DROP_OLDEST") => {}
            Some("WAIT") => spec.results_policy = ResultsPolicy::Wait,
            Some(_) => self.wrong(&format!("{place}.results_policy"), "DROP_OLDEST or WAIT"),
        }
        spec.disable_sinks = self.flag(place, object, "disable_sinks", false);
        if let Some(json) = object.get("outputs") {
            spec.outputs = self.outputs(&format!("{place}.outputs"), json);
        }
        if let Some(json) = object.get("stage_workers") {
            let workers = json.as_u64().and_then(|n| usize::try_from(n).ok());
            spec.stage_workers = workers.and_then(NonZeroUsize::new);
            if spec.stage_workers.is_none() {
                self.wrong(&format!("{place}.stage_workers"), "a whole number from 1");
            }
        }
        Some(spec)
    }

    fn sources(
        &mut self,
        place: &str,
        name: &str,
        object: &Map<String, Json>,
    ) -> Option<Vec<SourceSpec>> {
        match (object.get("source"), object.get("sources")) {
            (Some(one), None) => {
                let uri = self.uri(&format!("{place}.source"), one)?;
                Some(vec![named(uri, name.to_owned())])
            }
            (None, Some(several)) => {
                let place = format!("{place}.sources");
                let several = self.object(&place, several)?;
                if several.is_empty() {
                    self.wrong(&place, "at least one source is needed");
                    return None;
                }
                let each = several.iter().map(|(own, json)| {
                    let uri = self.uri(&format!("{place}.{own}"), json)?;
                    Some(named(uri, format!("{name}/{own}")))
                });
                // Read to the end, so that all problems are told.
                let read: Vec<Option<SourceSpec>> = each.collect();
                read.into_iter().collect()
            }
            _ => {
                self.wrong(place, "give either `source` or `sources`");
                None
            }
        }
    }

    fn uri(&mut self, place: &str, json: &Json) -> Option<SourceUri> {
        let text = match json {
            Json::String(text) => text.clone(),
            Json::Number(index) if index.is_u64() => index.to_string(),
            _ => {
                self.wrong(place, "an address, or the index of a camera");
                return None;
            }
        };
        match text.parse() {
            Ok(SourceUri::File(path)) => Some(SourceUri::File(self.folder.join(path))),
            Ok(uri) => Some(uri),
            Err(error) => {
                self.wrong(place, error);
                None
            }
        }
    }

    fn definition(&mut self, stream: &str, object: &Map<String, Json>) -> Option<Wanted> {
        let place = format!("{stream}.definition");
        let version = self.text(stream, object, "version");
        let text = match object.get("definition") {
            Some(Json::Object(inline)) => {
                return Some(Wanted::Inline(Json::Object(inline.clone()).into()));
            }
            Some(Json::String(text)) if !text.is_empty() => text,
            Some(_) => {
                self.wrong(
                    &place,
                    "`workspace/workflow`, a file, a name in the watched folder, or a definition",
                );
                return None;
            }
            None => {
                self.wrong(&place, "it is missing");
                return None;
            }
        };
        let key = match text.split_once('/') {
            _ if text.ends_with(".json") => DefinitionKey::file(self.folder.join(text)),
            None => DefinitionKey::folder(text),
            Some((workspace, workflow)) if !workspace.is_empty() && !workflow.contains('/') => {
                DefinitionKey::workflow(workspace, workflow, version, None)
            }
            Some(_) => {
                self.wrong(
                    &place,
                    "a file ends in .json, a definition of the platform is `workspace/workflow`",
                );
                return None;
            }
        };
        if version.is_some() && !matches!(key, DefinitionKey::Platform(_)) {
            self.wrong(
                &format!("{stream}.version"),
                "only definitions of the platform have versions",
            );
        }
        Some(Wanted::Key(key))
    }

    fn object<'j>(&mut self, place: &str, json: &'j Json) -> Option<&'j Map<String, Json>> {
        let object = json.as_object();
        if object.is_none() {
            self.wrong(place, "an object");
        }
        object
    }

    fn text<'j>(
        &mut self,
        place: &str,
        object: &'j Map<String, Json>,
        name: &str,
    ) -> Option<&'j str> {
        let json = object.get(name)?;
        let text = json.as_str();
        if text.is_none() {
            self.wrong(&format!("{place}.{name}"), "a text");
        }
        text
    }

    fn flag(&mut self, place: &str, object: &Map<String, Json>, name: &str, default: bool) -> bool {
        match object.get(name) {
            None => default,
            Some(Json::Bool(flag)) => *flag,
            Some(_) => {
                self.wrong(&format!("{place}.{name}"), "true or false");
                default
            }
        }
    }

    fn number(&mut self, place: &str, object: &Map<String, Json>, name: &str) -> Option<f64> {
        let json = object.get(name)?;
        let number = json.as_f64().filter(|n| *n > 0.0 && n.is_finite());
        if number.is_none() {
            self.wrong(&format!("{place}.{name}"), "a number above 0");
        }
        number
    }
}

fn named(uri: SourceUri, identifier: String) -> SourceSpec {
    let mut spec = SourceSpec::new(uri);
    spec.video_identifier = Some(identifier.into());
    spec
}

#[cfg(test)]
mod tests;
