//! A file of streams: what changes when it changes.

use super::*;
use crate::fleet::{Declared, Phase};

pub(super) struct File {
    pub(super) path: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl File {
    pub(super) fn new(streams: &Json) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = Self {
            path: folder.path().join("streams.json"),
            _folder: folder,
        };
        file.write(&json!({"streams": streams}).to_string());
        file
    }

    /// Replaces the file as editors do: as a whole.
    fn write(&self, text: &str) {
        let new = self.path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &self.path).unwrap();
    }

    pub(super) fn streams(&self, streams: &Json) {
        self.write(&json!({"streams": streams}).to_string());
    }
}

fn stream(v: &str) -> Json {
    json!({"source": CAMERA, "definition": definition("Echo", v)})
}

pub(super) fn watched() -> Arc<Fleet> {
    let settings = Settings {
        poll: Duration::from_millis(30),
        ..Settings::default()
    };
    Arc::new(fleet_with(settings))
}

#[test]
fn a_changed_file_changes_just_what_changed() {
    let file = File::new(&json!({"a": stream("a"), "b": stream("b"), "c": stream("c")}));
    let fleet = watched();
    let declared = Declared::start(fleet.clone(), &file.path).unwrap();
    assert_eq!(fleet.list(), ["a", "b", "c"]);
    for id in ["a", "b", "c"] {
        until_results(&fleet, id);
    }
    let video = fleet.consume("a", &[]).unwrap().unwrap().outputs[0]["image"].clone();
    assert_eq!(video["video_metadata"]["video_identifier"], "a");
    let before = results(&fleet, "a");
    file.streams(&json!({"a": stream("a"), "b": stream("other"), "d": stream("d")}));
    until("the change", || declared.to_json()["changes"] == 2);
    assert_eq!(declared.to_json()["streams"], json!(["a", "b", "d"]));
    let mut ids = fleet.list();
    ids.sort();
    assert_eq!(ids, ["a", "b", "d"]);
    until("the changed stream", || {
        let result = fleet.consume("b", &["image".into()]).unwrap();
        result.is_some_and(|result| result.outputs == [json!({"o": "other"})])
    });
    assert!(
        results(&fleet, "a") >= before,
        "the unchanged stream began anew"
    );
    drop(declared);
    assert_eq!(fleet.list().len(), 3, "its streams go on");
}

#[test]
fn other_sources_do_not_restart_the_stream() {
    let several =
        |sources: Json| json!({"a": {"sources": sources, "definition": definition("Echo", "x")}});
    let file = File::new(&several(json!({"n": CAMERA})));
    let fleet = watched();
    let declared = Declared::start(fleet.clone(), &file.path).unwrap();
    until("results", || results(&fleet, "a") > 10);
    file.streams(&several(json!({"n": CAMERA, "s": CAMERA})));
    until("the change", || declared.to_json()["changes"] == 2);
    assert!(results(&fleet, "a") >= 10);
    let sources = || {
        let rows = own(&fleet, "a")["sources"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["video_identifier"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(sources(), ["a/n", "a/s"]);
    file.streams(&several(json!({"s": CAMERA})));
    until("the next change", || declared.to_json()["changes"] == 3);
    assert_eq!(sources(), ["a/s"]);
    let so_far = results(&fleet, "a");
    assert!(so_far >= 10);
    until("more results", || results(&fleet, "a") > so_far + 3);
}

#[test]
fn a_broken_file_changes_nothing_and_says_so() {
    let file = File::new(&json!({"a": stream("a")}));
    let fleet = watched();
    let declared = Declared::start(fleet.clone(), &file.path).unwrap();
    until_results(&fleet, "a");
    let before = results(&fleet, "a");
    for (text, word) in [
        ("{\"streams\": {\"a\": ", "no JSON"),
        (
            "{\"streams\": {\"a\": {\"source\": 0}}}",
            "streams.a.definition",
        ),
    ] {
        file.write(text);
        until("the problem", || {
            declared.to_json()["problem"]
                .as_str()
                .is_some_and(|p| p.contains(word))
        });
        assert_eq!(fleet.list(), ["a"]);
    }
    std::fs::remove_file(&file.path).unwrap();
    until("the problem", || {
        declared.to_json()["problem"]
            .as_str()
            .is_some_and(|p| p.contains("not there"))
    });
    assert_eq!(fleet.phase("a").unwrap(), Phase::Running);
    assert!(results(&fleet, "a") >= before);
    file.streams(&json!({"a": stream("a"), "b": stream("b")}));
    until("the mended file", || fleet.list().len() == 2);
    assert_eq!(declared.to_json()["problem"], Json::Null);
}

#[test]
fn a_file_that_cannot_be_used_refuses_the_start() {
    let file = File::new(&json!({"a": {"source": 0}}));
    let refused = Declared::start(watched(), &file.path).err().unwrap();
    assert!(
        refused
            .to_string()
            .contains("streams.a.definition: it is missing"),
        "{refused}"
    );
    assert!(Declared::start(watched(), "/absent/streams.json").is_err());
}
