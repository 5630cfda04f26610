//! Outputs that a file of streams declares: what they write, and what changes when they change.

use std::path::Path;

use super::declared::{File, watched};
use super::*;
use crate::fleet::Declared;
use crate::sources::{Event, Source, SourceUri};

fn with_outputs(source: &Json, outputs: &Json) -> Json {
    let mut stream = json!({"definition": definition("Echo", "x"), "outputs": outputs});
    let name = if source.is_object() {
        "sources"
    } else {
        "source"
    };
    stream[name] = source.clone();
    json!({"a": stream})
}

fn lines(path: &Path) -> Vec<Json> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().map(serde_json::from_str);
    lines.map_while(Result::ok).collect()
}

fn frames_of(path: &Path) -> usize {
    let source = Source::open(SourceSpec::new(SourceUri::File(path.to_owned()))).unwrap();
    let mut frames = 0;
    loop {
        match source.next(Duration::from_secs(10)).unwrap() {
            Some(Event::Frame(_)) => frames += 1,
            Some(Event::Ended(_)) => return frames,
            Some(_) => {}
            None => panic!("{} does not go on", path.display()),
        }
    }
}

fn films(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut films: Vec<_> = paths
        .filter(|p| p.extension().is_some_and(|e| e == "mp4"))
        .collect();
    films.sort();
    films
}

#[test]
fn a_changed_output_does_not_touch_the_stream() {
    let outputs = json!({"jsonl": "one.jsonl"});
    let file = File::new(&with_outputs(&CAMERA.into(), &outputs));
    let folder = file.path.parent().unwrap().to_owned();
    let fleet = watched();
    let declared = Declared::start(fleet.clone(), &file.path).unwrap();
    let (one, two) = (folder.join("one.jsonl"), folder.join("two.jsonl"));
    until("lines", || lines(&one).len() > 5);
    let outputs = json!({"jsonl": "two.jsonl", "preview": false});
    file.streams(&with_outputs(&CAMERA.into(), &outputs));
    until("the change", || declared.to_json()["changes"] == 2);
    until("lines in the other file", || lines(&two).len() > 5);
    let (before, after) = (lines(&one), lines(&two));
    let number = |line: &Json| line["frame_number"].as_i64().unwrap();
    let last = number(before.last().unwrap());
    let first = number(&after[0]);
    // A stream that had begun anew would count from 1.
    assert!(first > last, "{last} {first}");
    assert_eq!(after[0]["stream"], "a");
    assert_eq!(after[0]["outputs"]["o"], "x");
    assert!(fleet.preview("a").unwrap().is_none());
    let told = own(&fleet, "a")["outputs"].clone();
    assert_eq!(told["jsonl"]["problem"], Json::Null);
    assert!(told["preview"].is_null(), "{told}");
}

#[test]
fn an_output_that_fails_is_told_and_the_stream_goes_on() {
    let outputs = json!({"jsonl": "/proc/none/a.jsonl", "video": "/proc/none/a.mp4"});
    let file = File::new(&with_outputs(&CAMERA.into(), &outputs));
    let fleet = watched();
    let _declared = Declared::start(fleet.clone(), &file.path).unwrap();
    until("the problems", || {
        let told = own(&fleet, "a")["outputs"].clone();
        let failed = |name: &str| {
            told[name]["problem"]
                .as_str()
                .is_some_and(|p| p.contains("/proc/none"))
        };
        failed("jsonl") && failed("video")
    });
    let so_far = results(&fleet, "a");
    until("more results", || results(&fleet, "a") > so_far + 10);
    assert_eq!(own(&fleet, "a")["state"], "running");
}

#[test]
fn every_frame_of_a_file_is_filmed_once_for_each_source() {
    let outputs = json!({
        "video": {"path": "films/a.mp4", "segment": "5s"}, "jsonl": "a.jsonl",
    });
    let sources = json!({"n": CLIP, "s": CLIP});
    let file = File::new(&with_outputs(&sources, &outputs));
    let folder = file.path.parent().unwrap().join("films");
    let fleet = watched();
    let declared = Declared::start(fleet.clone(), &file.path).unwrap();
    until("the end", || own(&fleet, "a")["state"] == "ended");
    drop(declared);
    fleet.terminate("a").unwrap();
    let films = films(&folder);
    let names: Vec<&str> = films
        .iter()
        .map(|p| p.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(films.len(), 6, "{names:?}");
    for (source, names) in ["n", "s"].into_iter().zip(names.chunks(3)) {
        for (number, name) in names.iter().enumerate() {
            let begins = format!("a-{source}-{:06}-", number + 1);
            assert!(name.starts_with(&begins), "{names:?}");
        }
    }
    let frames: Vec<usize> = films.iter().map(|path| frames_of(path)).collect();
    assert_eq!(frames, [125, 125, 50, 125, 125, 50]);
    let lines = lines(&folder.with_file_name("a.jsonl"));
    let of = |name: &str| lines.iter().filter(|line| line["stream"] == name).count();
    assert_eq!((of("a/n"), of("a/s"), lines.len()), (300, 300, 600));
}

#[test]
fn a_stream_that_films_stops_in_time_and_leaves_a_whole_film() {
    let camera = "videotestsrc://?size=640x480&fps=30&live=true";
    let outputs = json!({"video": "films/a.mp4"});
    let file = File::new(&with_outputs(&camera.into(), &outputs));
    let folder = file.path.parent().unwrap().join("films");
    let fleet = watched();
    let _declared = Declared::start(fleet.clone(), &file.path).unwrap();
    until("frames in the film", || {
        own(&fleet, "a")["outputs"]["video"]["written"].as_u64() > Some(30)
    });
    terminate(&fleet, "a");
    until("a whole film", || {
        let films = films(&folder);
        films.len() == 1
            && std::fs::read(&films[0])
                .unwrap()
                .windows(4)
                .any(|w| w == b"moov")
    });
    assert!(frames_of(&films(&folder)[0]) > 30);
}
