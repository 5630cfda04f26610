use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::BLOCK;
use crate::blocks::sinks::settings::{FilePlace, SinkHost, SinkSettings};
use crate::blocks::sinks::testing::Bench;
use crate::blocks::{BlockError, Services};

fn bench(folder: &Path, fields: Json) -> Bench {
    let settings = SinkSettings {
        files: FilePlace::Folder(folder.to_owned()),
        ..SinkSettings::default()
    };
    let services = Services {
        sinks: Arc::new(SinkHost::new(settings)),
        ..Services::default()
    };
    Bench::new(&BLOCK, fields, services)
}

fn fields(folder: &Path, mode: &str) -> Json {
    json!({"content": "h\n1", "output_mode": mode, "target_directory": folder})
}

/// Names and contents of the files in a folder, by name.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), text)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn each_text_gets_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = bench(folder.path(), fields(folder.path(), "separate_files"));
    for _ in 0..2 {
        let saved = (false, "Data saved successfully".to_owned());
        assert_eq!(bench.plain("a"), saved);
    }
    let files = files(folder.path());
    assert_eq!(files.len(), 2, "the same microsecond overwrites nothing");
    let (name, text) = &files[0];
    assert!(name.starts_with("workflow_output_19") && name.ends_with("000000.csv"));
    assert_eq!(text, "h\n1\n");
}

#[test]
fn a_log_gathers_entries_and_goes_over_to_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut given = fields(folder.path(), "append_log");
    given["max_entries_per_file"] = json!(2);
    let mut bench = bench(folder.path(), given);
    for _ in 0..3 {
        assert!(!bench.plain("a").0);
        bench.clock.advance(Duration::from_secs(1));
    }
    assert!(!bench.plain("b").0);
    let texts: Vec<String> = files(folder.path()).into_iter().map(|f| f.1).collect();
    assert_eq!(texts, ["h\n1\n1\n", "h\n1\n", "h\n1\n"]);
}

#[test]
fn a_log_of_json_takes_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut given = fields(folder.path(), "append_log");
    given["file_type"] = json!("json");
    let mut bench = bench(folder.path(), given);
    assert_eq!(bench.plain("a"), (true, "Invalid JSON content".to_owned()));
    bench.set("content", json!("{\"a\":\n1}"));
    assert!(!bench.plain("a").0);
    let files = files(folder.path());
    assert!(files[0].0.ends_with(".jsonl"));
    assert_eq!(files[0].1, "{\"a\": 1}\n");
}

#[test]
fn nothing_leaves_the_allowed_folder() {
    let outside = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let allowed = folder.path().join("data");
    std::fs::create_dir_all(allowed.join("sub")).unwrap();
    std::os::unix::fs::symlink(outside.path(), allowed.join("link")).unwrap();
    std::os::unix::fs::symlink(outside.path(), allowed.join("sub/link")).unwrap();
    let sibling = folder.path().join("data2");
    for mode in ["separate_files", "append_log"] {
        for (target, prefix) in [
            (sibling.clone(), "p"),
            (allowed.join(".."), "p"),
            (allowed.join("sub/../../x"), "p"),
            (allowed.clone(), "../p"),
            (allowed.clone(), "/etc/p"),
            (allowed.join("link"), "p"),
            (allowed.clone(), "link/p"),
            (allowed.join("sub/link/deeper"), "p"),
        ] {
            let mut given = fields(&target, mode);
            given["file_name_prefix"] = json!(prefix);
            let error = bench(&allowed, given).run("a").unwrap_err();
            let BlockError::Failed(text) = &error else {
                panic!("{error:?}");
            };
            assert!(text.contains("not sub-directory of"), "{text}");
        }
        let mut given = fields(&allowed.join("new/deeper"), mode);
        given["file_name_prefix"] = json!("a/../b/p");
        assert!(!bench(&allowed, given).plain("a").0);
    }
    assert!(files(outside.path()).is_empty() && !sibling.exists());
    assert_eq!(files(&allowed.join("new/deeper/b")).len(), 2);
}

#[test]
fn without_leave_of_the_operator_the_step_fails() {
    let folder = tempfile::tempdir().unwrap();
    let given = fields(folder.path(), "separate_files");
    let mut bench = Bench::new(&BLOCK, given, Services::default());
    let error = bench.run("a").unwrap_err().to_string();
    assert!(
        error.contains("local file system usage is forbidden"),
        "{error}"
    );
    assert!(files(folder.path()).is_empty());
}
