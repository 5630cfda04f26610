//! Files of streams: what is read, and what is told of the rest.

use serde_json::json;

use super::*;
use crate::delivery::jsonl::Rotation;
use crate::delivery::video::series::Cut;

fn read(json: &Json) -> Result<Streams, String> {
    parse(json.to_string().as_bytes(), Path::new("/etc/millrace"))
}

#[test]
fn a_file_is_read_with_its_defaults() {
    let streams = read(&json!({"_note": "ours", "streams": {
        "gate": {"source": "rtsp://u:p@cam/a", "definition": "ws/flow", "version": "7"},
        "yard": {
            "sources": {"n": "clip.mp4", "s": 0}, "definition": "crowd.json",
            "max_fps": 5, "results": 8, "stage_workers": 2, "results_policy": "WAIT", "parameters": {"k": 1},
        },
        "off": {"source": 1, "definition": "local-one", "enabled": false},
    }}))
    .unwrap();
    assert_eq!(streams.keys().collect::<Vec<_>>(), ["gate", "yard"]);
    let gate = &streams["gate"];
    assert_eq!(gate.definition.name(), "ws/flow@7");
    assert_eq!(gate.sources[0].video_identifier.as_deref(), Some("gate"));
    let yard = &streams["yard"];
    assert_eq!(yard.definition.name(), "/etc/millrace/crowd.json");
    assert_eq!(
        yard.sources[0].uri,
        SourceUri::File("/etc/millrace/clip.mp4".into())
    );
    assert_eq!(yard.sources[1].video_identifier.as_deref(), Some("yard/s"));
    assert_eq!((yard.max_fps, yard.results), (Some(5.0), 8));
    assert_eq!(yard.results_policy, ResultsPolicy::Wait);
    assert_eq!(yard.parameters.len(), 1);
    assert_eq!(yard.stage_workers, std::num::NonZeroUsize::new(2));
    assert_eq!(gate.stage_workers, None);
}

#[test]
fn outputs_are_read_with_their_defaults() {
    let read_outputs = |outputs: Json| {
        let text = json!({"streams": {"a": {
            "source": 0, "definition": "x", "outputs": outputs,
        }}});
        read(&text).map(|mut streams| streams.remove("a").unwrap().outputs)
    };
    assert_eq!(read_outputs(json!({})), Ok(OutputsSpec::watchable()));
    let outputs = read_outputs(json!({
        "_note": "ours",
        "webhook": [{"url": "https://h/x", "when": "alarm"}, "http://h/y"],
        "redis": "redis://h/0?stream=s",
        "jsonl": "out/a.jsonl", "video": "films/a.mp4", "preview": {"output": "drawn"},
        "rtsp": false,
    }))
    .unwrap();
    let kinds: Vec<&str> = outputs.events.iter().map(|e| e.kind).collect();
    assert_eq!(kinds, ["webhook", "webhook", "redis"]);
    assert!(outputs.events[0].when.is_some() && outputs.events[1].when.is_none());
    let lines = outputs.lines.unwrap();
    assert_eq!(lines.path, Path::new("/etc/millrace/out/a.jsonl"));
    assert!(lines.append && !lines.with_images);
    let bounds = |rotation: Rotation| (rotation.bytes, rotation.keep);
    assert_eq!(lines.rotation.map(bounds), Some((1_000_000_000, 9)));
    let rotation = |jsonl: Json| {
        let outputs = read_outputs(json!({"jsonl": jsonl})).unwrap();
        outputs.lines.unwrap().rotation.map(bounds)
    };
    let own = json!({"path": "a.jsonl", "rotate": "500MB", "keep": 2});
    assert_eq!(rotation(own), Some((500_000_000, 2)));
    assert_eq!(rotation(json!({"path": "a.jsonl", "rotate": false})), None);
    for (name, value) in [
        ("rotate", json!("10m")),
        ("rotate", json!(5)),
        ("keep", json!(-1)),
    ] {
        let mut outputs = json!({"jsonl": {"path": "a.jsonl"}});
        outputs["jsonl"][name] = value;
        let told = read_outputs(outputs).unwrap_err();
        let place = format!("streams.a.outputs.jsonl.{name}: ");
        assert!(told.contains(&place), "{told}");
    }
    let plan = outputs.film.unwrap().plan;
    assert_eq!(plan.path, Path::new("/etc/millrace/films/a.mp4"));
    assert_eq!(plan.cut, Some(Cut::Time(Duration::from_secs(600))));
    assert_eq!(outputs.preview.unwrap().output.as_deref(), Some("drawn"));
    assert_eq!(outputs.rtsp, None);
    let twice = json!({"source": 0, "definition": "x", "outputs": {"jsonl": "a.jsonl"}});
    let told = read(&json!({"streams": {"a": twice, "b": twice}})).unwrap_err();
    assert!(
        told.contains("streams.b.outputs: a.jsonl is written by `a` too"),
        "{told}"
    );
}

#[test]
fn outputs_of_clients_stay_in_their_folder() {
    let film = |path: &str| json!({"video": path});
    let folder = Some(Path::new("/srv/films"));
    let outputs = client_outputs(&film("a/b.mp4"), folder).unwrap();
    let plan = outputs.film.unwrap().plan;
    assert_eq!(plan.path, Path::new("/srv/films/a/b.mp4"));
    for path in ["/etc/b.mp4", "../b.mp4", "a/../../b.mp4"] {
        let told = client_outputs(&film(path), folder).unwrap_err();
        assert_eq!(
            told,
            ["outputs: paths are relative and without `..`"],
            "{path}"
        );
    }
    for outputs in [film("b.mp4"), json!({"webhook": "http://127.0.0.1/"})] {
        let told = client_outputs(&outputs, None).unwrap_err();
        assert!(told[0].contains("--client-outputs"), "{told:?}");
    }
    assert!(client_outputs(&json!({"rtsp": false}), None).is_ok());
}

#[test]
fn every_problem_is_told_with_its_place_and_without_secrets() {
    let told = read(&json!({"cameras": 1, "streams": {
        "a b": {"source": "ftp://u:hunter2@h/x", "definition": "w/f"},
        "b": {"sources": {}, "definition": 4, "max_fps": -1},
        "c": {"definition": "x", "version": "1"},
        "d": {"source": 0, "definition": "x", "fps": 4, "stage_workers": 0, "results_policy": "ALL", "enabled": 1},
        "e": {"source": 0, "definition": "x", "outputs": {"webhook": "mqtt://u:hunter2@h/t",
            "mqtt": "mqtt://h", "video": {"path": "a.avi", "segment": "10M", "keep": 0},
            "jsonl": 4, "rtsp": "yes", "nats": {"when": "a..b"}, "email": "a@b"}},
    }}))
    .unwrap_err();
    for place in [
        "cameras: unknown field",
        "streams.a b: a name",
        "streams.a b.source: source address",
        "streams.b.sources: at least one",
        "streams.b.definition: `workspace/workflow`",
        "streams.c: give either",
        "streams.c.version: only definitions",
        "streams.d.fps: unknown field",
        "streams.d.results_policy: DROP_OLDEST or WAIT",
        "streams.d.stage_workers: a whole number",
        "streams.d.enabled: true or false",
        "streams.e.outputs.webhook: write http://… or https://…",
        "streams.e.outputs.mqtt: the address needs",
        "streams.e.outputs.video.path: a film ends in .mp4",
        "streams.e.outputs.video.segment: `10M` is neither",
        "streams.e.outputs.video.keep: a whole number from 1",
        "streams.e.outputs.jsonl: a text, or an object",
        "streams.e.outputs.rtsp: true, false",
        "streams.e.outputs.nats.url: it is missing",
        "streams.e.outputs.nats.when: `a..b` names no output",
        "streams.e.outputs.email: unknown output",
    ] {
        assert!(told.contains(place), "{place}\n{told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
    assert!(
        parse(b"{", Path::new("."))
            .unwrap_err()
            .starts_with("it is no JSON")
    );
    assert_eq!(read(&json!({})).unwrap_err(), "streams: it is missing");
}

#[test]
fn the_example_is_sound() {
    let text = include_bytes!("../../../pipelines/streams.example.json");
    let streams = parse(text, Path::new("pipelines")).unwrap();
    assert!(streams.len() >= 2);
    for spec in streams.values() {
        if let Wanted::Key(DefinitionKey::File(path)) = &spec.definition {
            assert!(path.is_file(), "{}", path.display());
        }
    }
}
