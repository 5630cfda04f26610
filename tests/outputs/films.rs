//! Films that are cut, kept and cut short.

use super::*;

#[test]
fn a_run_cuts_its_film_and_keeps_what_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("show.json");
    std::fs::write(&file, definition().to_string()).unwrap();
    let run = |film: &str, more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_millrace"))
            .args(["run", file.to_str().unwrap(), "--source", CLIP, "--video"])
            .arg(folder.path().join(film))
            .args(["--video-segment", "5s", "--no-outbox"])
            .args(more)
            .output()
            .unwrap()
    };
    let output = run("all/film.mp4", &[]);
    assert!(output.status.success(), "{}", text(&output));
    let all = films(&folder.path().join("all"));
    let frames: Vec<usize> = all.iter().map(|path| frames_of(path)).collect();
    assert_eq!(frames, [125, 125, 50]);
    for path in &all {
        assert!(
            text(&output).contains(path.to_str().unwrap()),
            "{}",
            text(&output)
        );
    }
    let output = run("some/film.mp4", &["--video-keep", "2"]);
    assert!(output.status.success(), "{}", text(&output));
    let some = films(&folder.path().join("some"));
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap()[..11].to_owned();
    let names: Vec<String> = some.iter().map(name).collect();
    assert_eq!(names, ["film-000002", "film-000003"]);
}

#[test]
fn a_film_whose_writer_was_killed_can_be_played() {
    let folder = tempfile::tempdir().unwrap();
    let video = json!({"path": folder.path().join("film.mp4"), "segment": "1h"});
    let wanted = json!({"a": {
        "source": CAMERA, "definition": definition(), "outputs": {"video": video},
    }});
    let streams = Streams::start(&wanted, &[]);
    let filmed = until("a film of some seconds", || {
        let written = streams.row("a")["outputs"]["video"]["written"].as_u64();
        written.filter(|written| *written >= 100)
    });
    // Its process is killed.
    drop(streams);
    let frames = frames_of(&films(folder.path()).pop().unwrap()) as u64;
    // Fragments of a second, and what the encoder had in hand.
    assert!(frames >= filmed - 50, "{frames} of {filmed} frames");
}
