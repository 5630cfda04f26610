//! What is broken or hostile is refused with a clear error and an exit code; nothing panics, nothing
//! hangs.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// Longest that any of these may take.
const LIMIT: Duration = Duration::from_secs(20);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Runs the program; it must end in time and without a panic.
fn millrace(args: &[&str]) -> Output {
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .current_dir(root())
        .args(args)
        // Not the outbox of whoever runs the tests.
        .env(
            "XDG_STATE_HOME",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("bad-input"),
        )
        .output()
        .unwrap();
    assert!(started.elapsed() < LIMIT, "took {:?}", started.elapsed());
    let said = said(&output);
    assert!(
        !said.contains("panicked at") && output.status.code().is_some(),
        "{said}"
    );
    output
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn file(folder: &TempDir, name: &str, content: &[u8]) -> String {
    let path = folder.path().join(name);
    std::fs::File::create(&path)
        .unwrap()
        .write_all(content)
        .unwrap();
    path.to_str().unwrap().to_owned()
}

fn definition(steps: Json, selector: &str) -> Vec<u8> {
    json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}, {"type": "WorkflowParameter", "name": "p"}],
        "steps": steps,
        "outputs": [{"type": "JsonField", "name": "o", "selector": selector}],
    })
    .to_string()
    .into_bytes()
}

fn property(name: &str, data: &str) -> Json {
    json!({"type": "roboflow_core/property_definition@v1", "name": name, "data": data, "operations": []})
}

/// Runs `exec` on a definition and one line of inputs; answers the line that it prints.
fn exec(definition: &[u8], inputs: &Json) -> (Json, Output) {
    let folder = tempfile::tempdir().unwrap();
    let definition = file(&folder, "definition.json", definition);
    let inputs = file(&folder, "inputs.jsonl", inputs.to_string().as_bytes());
    let output = millrace(&[
        "exec",
        &definition,
        "--inputs",
        &inputs,
        "--models",
        "fixtures/models",
    ]);
    let line = String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    (
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {}", said(&output))),
        output,
    )
}

/// The definition is refused with this class and a message that names `what`.
fn refused(definition: &[u8], class: &str, what: &str) {
    let (line, output) = exec(definition, &json!({}));
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert_eq!(line["error"]["error_type"], class, "{line}");
    let message = line["error"]["message"].as_str().unwrap();
    assert!(message.contains(what), "{message}");
}

#[test]
fn what_is_no_definition_is_refused() {
    refused(b"{\"version\": ", "WorkflowDefinitionError", "is not JSON");
    refused(b"[1, 2]", "WorkflowSyntaxError", "must be a JSON object");
    refused(
        &definition(
            json!([{"type": "roboflow_core/no_such_block@v1", "name": "x"}]),
            "$inputs.p",
        ),
        "WorkflowSyntaxError",
        "unknown block type",
    );
    let cycle = json!([
        property("a", "$steps.b.output"),
        property("b", "$steps.a.output")
    ]);
    refused(
        &definition(cycle, "$steps.a.output"),
        "ExecutionGraphStructureError",
        "cycle",
    );
}

#[test]
fn hostile_depths_are_refused() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    refused(
        format!("{{\"version\": {deep}}}").as_bytes(),
        "WorkflowDefinitionError",
        "is not JSON",
    );
    let selector = format!("$steps{}", ".a".repeat(10_000));
    refused(
        &definition(json!([property("a", &selector)]), "$inputs.p"),
        "WorkflowSyntaxError",
        "data",
    );
    refused(
        &definition(json!([]), &selector),
        "InvalidReferenceTargetError",
        "refers to nothing",
    );
    let (line, output) = exec(
        &definition(json!([]), "$inputs.p"),
        &json!({"image": Json::Null}),
    );
    assert_eq!(
        (output.status.code(), &line["error"]["error_type"]),
        (Some(1), &json!("RuntimeInputError"))
    );
}

#[test]
fn a_missing_model_fails_the_frame_and_names_the_model() {
    let step = json!({"type": "roboflow_core/roboflow_object_detection_model@v2", "name": "m", "images": "$inputs.image", "model_id": "no-such/7"});
    let (line, output) = exec(
        &definition(json!([step]), "$steps.m.predictions"),
        &json!({"image": picture(8, 8)}),
    );
    assert_eq!(output.status.code(), Some(1));
    let message = line["error"]["message"].as_str().unwrap();
    assert!(message.contains("no-such/7"), "{message}");
}

/// A PNG whose header promises this size and whose pixels are missing.
fn header_only_png(width: u32, height: u32) -> Vec<u8> {
    let mut png = vec![0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    for chunk in [header, b"IDAT".to_vec(), b"IEND".to_vec()] {
        png.extend((chunk.len() as u32 - 4).to_be_bytes());
        png.extend(&chunk);
        png.extend(crc(&chunk).to_be_bytes());
    }
    png
}

/// CRC-32 as PNG uses it (ISO 3309).
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |mut crc: u32, &b| {
        crc ^= u32::from(b);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                0xedb8_8320 ^ (crc >> 1)
            } else {
                crc >> 1
            };
        }
        crc
    })
}

fn picture(width: u32, height: u32) -> Json {
    let mut png = Vec::new();
    image::RgbImage::new(width, height)
        .write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png)
        .unwrap();
    json!({"type": "base64", "value": STANDARD.encode(png)})
}

#[test]
fn a_huge_or_broken_image_is_refused_before_memory_is_taken() {
    let size = json!([{"type": "roboflow_core/property_definition@v1", "name": "s", "data": "$inputs.image",
        "operations": [{"type": "ExtractImageProperty", "property_name": "size"}]}]);
    let size = definition(size, "$steps.s.output");
    let huge = json!({"type": "base64", "value": STANDARD.encode(header_only_png(20_000, 20_000))});
    let (line, _) = exec(&size, &json!({"image": huge}));
    assert_eq!(line["error"]["error_type"], "RuntimeInputError");
    let message = line["error"]["message"].as_str().unwrap();
    assert!(message.contains("20000"), "{message}");
    for broken in [
        "",
        "@@@@",
        "aGVsbG8=",
        "http://127.0.0.1:1/x.png",
        "file:///etc/passwd",
        "/etc/passwd",
    ] {
        let (line, output) = exec(
            &size,
            &json!({"image": {"type": "base64", "value": broken}}),
        );
        assert_eq!(
            line["error"]["error_type"], "RuntimeInputError",
            "{broken}: {line}"
        );
        assert_eq!(output.status.code(), Some(1));
    }
    let (line, output) = exec(&size, &json!({"image": picture(4, 5)}));
    assert_eq!(
        (output.status.code(), &line["outputs"][0]["o"]),
        (Some(0), &json!(20))
    );
}

#[test]
fn unusable_sources_end_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let clip = std::fs::read(root().join("fixtures/video/shapes_a_640x360_25fps.mp4")).unwrap();
    let mut corrupt = clip.clone();
    for (i, byte) in corrupt.iter_mut().enumerate().skip(40) {
        *byte ^= (i as u8).wrapping_mul(31) | 1;
    }
    let pipeline = "pipelines/read-qr-codes.json";
    for source in [
        file(&folder, "corrupt.mp4", &corrupt),
        file(&folder, "text.mp4", b"this is no film, only text\n"),
        file(&folder, "empty.mp4", b""),
        folder.path().join("none.mp4").to_str().unwrap().to_owned(),
        "gopher://example.org/film".to_owned(),
    ] {
        let output = millrace(&["run", pipeline, "--source", &source]);
        let refused = output.status.code() == Some(2) && source.starts_with("gopher");
        assert!(
            refused || output.status.code() == Some(1),
            "{source}: {}",
            said(&output)
        );
        assert!(
            said(&output).contains("error") || said(&output).contains("failed"),
            "{source}: {}",
            said(&output)
        );
    }
    // A film that breaks off gives the frames that are there and says what is missing.
    let half = file(&folder, "half.mp4", &clip[..clip.len() / 2]);
    let out = folder.path().join("out");
    let output = millrace(&[
        "run",
        pipeline,
        "--source",
        &half,
        "--output",
        out.to_str().unwrap(),
    ]);
    let lines = std::fs::read_to_string(out.join("results.jsonl"))
        .unwrap_or_default()
        .lines()
        .count();
    assert!(
        lines < 300 && !said(&output).is_empty(),
        "{}",
        said(&output)
    );
}

#[test]
fn every_worked_definition_is_sound() {
    let mut found = 0;
    for entry in std::fs::read_dir(root().join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        // A file of streams holds no definition; `millrace serve` checks it.
        if path.ends_with("streams.example.json") {
            continue;
        }
        let output = millrace(&["validate", path.to_str().unwrap()]);
        assert!(
            output.status.success(),
            "{}: {}",
            path.display(),
            said(&output)
        );
        found += 1;
    }
    assert!(found >= 6, "only {found} definitions");
}

#[test]
fn wrong_arguments_are_explained() {
    let clip = "fixtures/video/shapes_a_640x360_25fps.mp4";
    for (args, hint) in [
        (vec!["--param", "nope=1"], "no such input"),
        (vec!["--image-input", "nope"], "image inputs"),
        (
            vec!["--webhook", "http://127.0.0.1:9/", "--webhook-when", "nope"],
            "no output",
        ),
        (vec!["--webhook", "gopher://x/"], "--webhook"),
    ] {
        let mut all = vec![
            "run",
            "pipelines/shapes-crossing-a-line.json",
            "--source",
            clip,
        ];
        all.extend(args);
        let output = millrace(&all);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(hint), "{hint}: {}", said(&output));
    }
}

#[test]
fn a_host_that_names_no_place_is_refused() {
    for (host, words) in [
        (
            "no-such-host.invalid",
            "the host name `no-such-host.invalid` cannot be resolved",
        ),
        (
            "http://localhost",
            "`http://localhost` is no place to listen at",
        ),
    ] {
        let output = millrace(&["serve", "--host", host, "--port", "0"]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
}
