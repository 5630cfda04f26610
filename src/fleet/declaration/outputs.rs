//! The `outputs` of a stream in a file of streams; see the table there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::{Reader, Streams};
use crate::delivery::Request;
use crate::delivery::jsonl::Rotation;
use crate::delivery::video::series::{Cut, FilmPlan};
use crate::outputs::{
    EventsSpec, FilmSpec, LinesSpec, OutputsSpec, PictureSpec, RECEIVERS, wrong_scheme,
};

/// Length of the files of a film where none is said: a server films for weeks.
const SEGMENT: Duration = Duration::from_secs(600);
/// Bounds of a file of results where none are said, for the same reason.
const ROTATION: Rotation = Rotation {
    bytes: 1_000_000_000,
    keep: 9,
};
/// Most files that are put aside: each is renamed when the next one is.
const MOST_KEPT: usize = 999;

impl Reader<'_> {
    /// Reads the outputs of a stream; what is wrong with them is noted, and left out.
    pub(super) fn outputs(&mut self, place: &str, json: &Json) -> OutputsSpec {
        let mut spec = OutputsSpec::watchable();
        let Some(object) = self.object(place, json) else {
            return spec;
        };
        for (name, json) in object.iter().filter(|(name, _)| !name.starts_with('_')) {
            let place = format!("{place}.{name}");
            let receiver = RECEIVERS.iter().find(|(kind, _)| kind == name);
            match (receiver, name.as_str()) {
                (Some((kind, _)), _) => {
                    let several = json.as_array().map_or(std::slice::from_ref(json), |v| v);
                    let read = several
                        .iter()
                        .filter_map(|one| self.events(&place, kind, one));
                    let read: Vec<EventsSpec> = read.collect();
                    spec.events.extend(read);
                }
                (None, "jsonl") => spec.lines = self.lines(&place, json),
                (None, "video") => spec.film = self.film(&place, json),
                (None, "preview") => spec.preview = self.picture(&place, json),
                (None, "rtsp") => spec.rtsp = self.picture(&place, json),
                (None, _) => {
                    let kinds = RECEIVERS.map(|(kind, _)| kind).join(", ");
                    let known = format!("{kinds}, jsonl, video, preview, rtsp");
                    self.wrong(&place, format!("unknown output; known: {known}"));
                }
            }
        }
        spec
    }

    /// An output that is a text, or an object in which a field is that text.
    fn output<'j>(
        &mut self,
        place: &str,
        json: &'j Json,
        main: &str,
        fields: &[&str],
    ) -> (Option<&'j str>, Map<String, Json>) {
        match json {
            Json::String(text) => (Some(text), Map::new()),
            Json::Object(object) => {
                self.known_fields(place, object, main, fields);
                let text = self.text(place, object, main);
                if object.get(main).is_none() {
                    self.wrong(&format!("{place}.{main}"), "it is missing");
                }
                (text, object.clone())
            }
            _ => {
                self.wrong(place, format!("a text, or an object with `{main}`"));
                (None, Map::new())
            }
        }
    }

    fn known_fields(
        &mut self,
        place: &str,
        object: &Map<String, Json>,
        main: &str,
        fields: &[&str],
    ) {
        let known = |name: &str| name == main || fields.contains(&name) || name.starts_with('_');
        for name in object.keys().filter(|name| !known(name)) {
            let fields = fields.join(", ");
            self.wrong(
                &format!("{place}.{name}"),
                format!("unknown field; known: {main}, {fields}"),
            );
        }
    }

    fn events(&mut self, place: &str, kind: &'static str, json: &Json) -> Option<EventsSpec> {
        let (url, object) = self.output(place, json, "url", &["when", "include_images"]);
        let when = self.text(place, &object, "when");
        let when = when.map(str::parse).transpose();
        let with_images = self.flag(place, &object, "include_images", false);
        let when = match when {
            Ok(when) => when,
            Err(error) => {
                self.wrong(&format!("{place}.when"), error);
                None
            }
        };
        let url = url?;
        let wrong = wrong_scheme(kind, url).or_else(|| {
            let checked = Request::event(url, String::new());
            checked.err().map(|error| error.to_string())
        });
        if let Some(why) = wrong {
            self.wrong(place, why);
            return None;
        }
        Some(EventsSpec {
            kind,
            url: url.to_owned(),
            when,
            with_images,
        })
    }

    fn lines(&mut self, place: &str, json: &Json) -> Option<LinesSpec> {
        let fields = ["include_images", "rotate", "keep"];
        let (path, object) = self.output(place, json, "path", &fields);
        let with_images = self.flag(place, &object, "include_images", false);
        let rotation = self.rotation(place, &object);
        Some(LinesSpec {
            path: self.folder.join(path.filter(|path| !path.is_empty())?),
            with_images,
            append: true,
            rotation,
        })
    }

    fn rotation(&mut self, place: &str, object: &Map<String, Json>) -> Option<Rotation> {
        let mut rotation = ROTATION;
        if let Some(json) = object.get("keep") {
            match json.as_u64().and_then(|keep| usize::try_from(keep).ok()) {
                Some(keep) if keep <= MOST_KEPT => rotation.keep = keep,
                _ => self.wrong(
                    &format!("{place}.keep"),
                    format!("a whole number up to {MOST_KEPT}"),
                ),
            }
        }
        match object.get("rotate") {
            None | Some(Json::Bool(true)) => {}
            Some(Json::Bool(false)) => return None,
            Some(json) => match json.as_str().map(str::parse) {
                Some(Ok(Cut::Size(bytes))) => rotation.bytes = bytes,
                _ => self.wrong(
                    &format!("{place}.rotate"),
                    "a size such as 500MB or 2GB, or false",
                ),
            },
        }
        Some(rotation)
    }

    fn film(&mut self, place: &str, json: &Json) -> Option<FilmSpec> {
        let fields = ["output", "segment", "keep"];
        let (path, object) = self.output(place, json, "path", &fields);
        let output = self.text(place, &object, "output").map(str::to_owned);
        let cut = match self.text(place, &object, "segment").map(str::parse) {
            None => Cut::Time(SEGMENT),
            Some(Ok(cut)) => cut,
            Some(Err(error)) => {
                self.wrong(&format!("{place}.segment"), error);
                Cut::Time(SEGMENT)
            }
        };
        let keep = object.get("keep").map(|json| json.as_u64().unwrap_or(0));
        if keep == Some(0) {
            self.wrong(&format!("{place}.keep"), "a whole number from 1");
        }
        let path = path?;
        if !path.ends_with(".mp4") || path == ".mp4" {
            self.wrong(&format!("{place}.path"), "a film ends in .mp4");
            return None;
        }
        Some(FilmSpec {
            plan: FilmPlan {
                path: self.folder.join(path),
                cut: Some(cut),
                keep: keep.and_then(|keep| usize::try_from(keep).ok()),
            },
            output,
        })
    }

    fn picture(&mut self, place: &str, json: &Json) -> Option<PictureSpec> {
        match json {
            Json::Bool(shown) => shown.then(PictureSpec::default),
            Json::Object(object) => {
                self.known_fields(place, object, "output", &[]);
                let output = self.text(place, object, "output");
                Some(PictureSpec {
                    output: output.map(str::to_owned),
                })
            }
            _ => {
                self.wrong(place, "true, false, or an object with `output`");
                None
            }
        }
    }

    /// Notes files that two streams would write.
    pub(super) fn files_of_their_own(&mut self, streams: &Streams) {
        let mut writers: BTreeMap<&PathBuf, &str> = BTreeMap::new();
        for (name, spec) in streams {
            for path in spec.outputs.paths() {
                if let Some(other) = writers.insert(path, name) {
                    let shown = path.strip_prefix(self.folder).unwrap_or(path).display();
                    let text = format!("{shown} is written by `{other}` too");
                    self.wrong(&format!("streams.{name}.outputs"), text);
                }
            }
        }
    }
}
