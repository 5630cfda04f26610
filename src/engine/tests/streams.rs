//! To which stream the data of a step belong (`decided.md`, "State and streams").

use super::*;

const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC";

fn image(stream: &str) -> Json {
    let video = json!({"video_identifier": stream, "frame_number": 1, "frame_timestamp": "2026-01-01T00:00:00"});
    json!({"type": "base64", "value": PNG, "video_metadata": video})
}

fn stream(name: &str, v: &str) -> Json {
    step(name, "Stream", json!({"v": v}))
}

#[test]
fn every_element_knows_the_stream_of_its_image() {
    let steps = json!([
        stream("s", "$inputs.image"),
        echo("e", "$inputs.image"),
        step("m", "Pair", json!({"a": "$steps.e.o", "b": "$inputs.b"})),
        split("t", "$steps.m.o"),
        stream("deep", "$steps.t.o"),
        cond("c", "$inputs.image", "not empty", 0, &["gated"]),
        stream("gated", "literal"),
        stream("none", "$inputs.b"),
    ]);
    let outputs = ["s", "deep", "gated", "none"].map(|s| (s, format!("$steps.{s}.o")));
    let outputs: Vec<(&str, &str)> = outputs.iter().map(|(n, s)| (*n, &**s)).collect();
    let streams = workflow(&["b", "image"], steps, &outputs);
    assert_outputs(
        &streams,
        json!({"image": [image("cam-1"), image("cam-2")], "b": [1, 2]}),
        json!([
            {"s": "cam-1", "deep": ["cam-1", "cam-1"], "gated": "cam-1", "none": ""},
            {"s": "cam-2", "deep": ["cam-2", "cam-2"], "gated": "cam-2", "none": ""},
        ]),
    );
}

#[test]
fn scalars_made_from_images_belong_to_the_only_stream() {
    let steps = json!([
        echo("e", "$inputs.image"),
        collapse("l", "$steps.e.o"),
        stream("scalar", "$steps.l.output"),
        split("made", "$steps.l.output"),
        stream("again", "$steps.made.o"),
    ]);
    let outputs = [("x", "$steps.scalar.o"), ("y", "$steps.again.o")];
    let streams = workflow(&["image"], steps, &outputs);
    let input = json!({"image": [image("cam-1"), image("cam-1")]});
    assert_outputs(
        &streams,
        input,
        json!([{"x": "cam-1", "y": ["cam-1", "cam-1"]}]),
    );
    // Of two streams it is neither, although the new elements have the places of the images.
    let input = json!({"image": [image("cam-1"), image("cam-2")]});
    assert_outputs(&streams, input, json!([{"x": "", "y": ["", ""]}]));
}
