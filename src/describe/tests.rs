//! Answers as the reference's server gave them (`fixtures/http-examples`).

use serde_json::{Value as Json, json};

use super::*;
use crate::definition::{InnerWorkflows, testing};

/// A recorded exchange.
macro_rules! exchange {
    ($name:literal) => {
        serde_json::from_str::<Json>(include_str!(concat!(
            "../../fixtures/http-examples/",
            $name,
            ".json"
        )))
        .unwrap()
    };
}

/// The definition of the recorded requests.
fn recorded() -> Json {
    exchange!("server/describe_interface_spec")["request"]["body"]["specification"].take()
}

/// Whether an answer is the recorded one, where `"..."` stands for a text that was cut out.
fn same(answer: &Json, recorded: &Json) -> bool {
    match (answer, recorded) {
        (Json::String(_), Json::String(text)) if text == "..." => true,
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(v, w)| same(v, w))
        }
        _ => answer == recorded,
    }
}

#[test]
fn interfaces_are_described_as_recorded() {
    let answer = interface(&recorded()).unwrap();
    for exchange in [
        exchange!("server/describe_interface_spec"),
        exchange!("server/describe_interface_named"),
        exchange!("server/describe_interface_bearer"),
    ] {
        assert!(same(&answer, &exchange["response"]["body"]), "{answer:#}");
    }
    let versions = exchange!("server/ee_versions");
    assert_eq!(engine_versions(), versions["response"]["body"]);
}

#[test]
fn outputs_of_a_step_are_told_as_recorded() {
    for exchange in [
        exchange!("server/dynamic_outputs_json_parser"),
        exchange!("server/dynamic_outputs_ok"),
    ] {
        let answer = dynamic_outputs(&exchange["request"]["body"]).unwrap();
        assert!(same(&answer, &exchange["response"]["body"]), "{answer:#}");
    }
}

#[test]
fn outputs_of_an_unknown_step_are_refused_as_recorded() {
    let mut exchange = exchange!("errors/err_dynamic_outputs");
    let error = dynamic_outputs(&exchange["request"]["body"]).unwrap_err();
    assert_eq!(json!(error.status()), exchange["response"]["status"]);
    let mut answer = error.to_json();
    // The words on what is wrong are ours here; the HTTP layer puts the reference's in front.
    let words = [
        "/message",
        "/inner_error_message",
        "/blocks_errors/0/property_details",
    ];
    for body in [&mut answer, &mut exchange["response"]["body"]] {
        for words in words {
            let words = body.pointer_mut(words).unwrap();
            assert!(!words.take().as_str().unwrap().is_empty());
        }
    }
    assert_eq!(answer, exchange["response"]["body"]);
    assert!(dynamic_outputs(&json!("text")).is_err());
}

#[test]
fn the_workload_is_told_as_recorded() {
    let facts = |model: &str| {
        (model == "tiny/1").then(|| ModelFacts {
            architecture: Some("yolov8".into()),
            variant: Some("yolov8n".into()),
            task: "object-detection".into(),
        })
    };
    let mut exchange = exchange!("server/workload_spec");
    let definition = exchange["request"]["body"]["specification"].take();
    let answer = workload_with(&definition, &InnerWorkflows::default(), &facts).unwrap();
    assert!(same(&answer, &exchange["response"]["body"]), "{answer:#}");
}

#[test]
fn what_the_workload_does_not_know_it_says() {
    let mut definition = recorded();
    let unknown = workload(&definition).unwrap();
    let model = &unknown["summary"]["models"]["items"][0];
    assert_eq!(model["metadata_status"], "unavailable");
    assert!(model["metadata"].is_null());
    definition["steps"][0]["model_id"] = json!("$inputs.tag");
    let answer = workload(&definition).unwrap();
    let resources = &answer["steps"][0]["resources"];
    assert_eq!(resources["complete"], false);
    let reason = json!(["unresolved_selector:$steps.det.model_id"]);
    assert_eq!(resources["unknown_reasons"], reason);
    assert_eq!(answer["summary"]["models"]["unknown_reasons"], reason);
}

#[test]
fn control_and_depths_show_in_the_workload() {
    let definition = json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": [
            {"type": "roboflow_core/image_slicer@v1", "name": "cut", "image": "$inputs.image"},
            {"type": "roboflow_core/convert_grayscale@v1", "name": "gray", "image": "$steps.cut.slices"},
            {"type": "roboflow_core/rate_limiter@v1", "name": "gate", "depends_on": "$steps.cut.slices",
             "next_steps": ["$steps.gray"]},
        ],
        "outputs": [{"type": "JsonField", "name": "gray", "selector": "$steps.gray.image"}],
    });
    let answer = workload(&definition).unwrap();
    let control = json!({"type": "graph_edge_v1", "source": "$steps.gate", "target": "$steps.gray", "kind": "control"});
    assert!(answer["edges"].as_array().unwrap().contains(&control));
    assert_eq!(answer["steps"][0]["output_dimensionality"], 2);
    let summary = &answer["summary"];
    assert_eq!(summary["max_dimensionality"], 2);
    assert_eq!(summary["steps_by_dimensionality"], json!({"1": 1, "2": 2}));
}

#[test]
fn all_outputs_of_a_step_are_an_object_of_kinds() {
    let mut definition = recorded();
    definition["outputs"] =
        json!([{"type": "JsonField", "name": "all", "selector": "$steps.det.*"}]);
    let answer = interface(&definition).unwrap();
    assert_eq!(
        answer["outputs"]["all"],
        json!({
            "inference_id": ["inference_id"],
            "predictions": ["object_detection_prediction"],
            "model_id": ["roboflow_model_id"],
        })
    );
    assert_eq!(answer["typing_hints"]["roboflow_model_id"], "str");
}

fn refused(change: impl FnOnce(&mut Json)) -> (String, String) {
    let mut definition = recorded();
    change(&mut definition);
    let error = interface(&definition).unwrap_err();
    assert_eq!(error.status(), 400);
    assert_eq!(error.class, ErrorClass::WorkflowDefinition);
    (error.context, error.message)
}

#[test]
fn interfaces_that_contradict_themselves_are_refused() {
    let (context, message) = refused(|d| d["steps"][0]["confidence"] = json!("$inputs.image"));
    assert_eq!(context, "describing_workflow_inputs");
    assert!(message.contains("used for different things"), "{message}");
    let (_, message) = refused(|d| d["inputs"][0]["kind"] = json!(["string"]));
    assert!(message.contains("is declared as string"), "{message}");
    let (_, message) = refused(|d| d["steps"][0]["images"] = json!("$inputs.other"));
    assert!(
        message.contains("`other`, which the definition does not have"),
        "{message}"
    );
    let (_, message) = refused(|d| d["steps"][0]["type"] = json!("nope"));
    assert!(message.contains("cannot be described"), "{message}");
    let (context, _) = refused(|d| d["outputs"][0]["selector"] = json!("$steps.none.x"));
    assert_eq!(context, "describing_workflow_outputs");
    let (_, message) = refused(|d| d["outputs"][0]["selector"] = json!("$steps.det.none"));
    assert!(message.contains("does not give"), "{message}");
    let (_, message) = refused(|d| d["outputs"][2]["selector"] = json!("$inputs.none"));
    assert!(message.contains("does not exist"), "{message}");
}

#[test]
fn uses_in_lists_and_objects_count() {
    let steps = json!([{"type": "roboflow_core/string_template@v1", "name": "t",
        "template": "{a}", "data": {"a": "$inputs.p"}}]);
    let mut definition = testing::workflow(&["p"], steps, &[]);
    definition["inputs"] = json!([{"type": "WorkflowParameter", "name": "p", "kind": ["string"]}]);
    assert_eq!(
        interface(&definition).unwrap()["inputs"],
        json!({"p": ["*"]})
    );
}

#[test]
fn the_text_of_the_description_is_the_description() {
    let text = blocks_text();
    let read: Json = serde_json::from_slice(&text).unwrap();
    assert_eq!(read, blocks());
    let schema: Json = serde_json::from_slice(&definition_schema_text()).unwrap();
    assert_eq!(schema["schema"], definition_schema());
}

/// Every `$ref` below `at`.
fn targets<'a>(at: &'a Json, into: &mut Vec<&'a str>) {
    match at {
        Json::Array(items) => items.iter().for_each(|item| targets(item, into)),
        Json::Object(entries) => entries.iter().for_each(|(key, value)| match value {
            Json::String(target) if key == "$ref" => into.push(target),
            other => targets(other, into),
        }),
        _ => {}
    }
}

#[test]
fn references_in_schemas_lead_somewhere() {
    let schema = definition_schema();
    let blocks = blocks();
    let own = blocks["blocks"].as_array().unwrap().iter();
    let mut schemas: Vec<&Json> = own.map(|block| &block["block_schema"]).collect();
    schemas.extend([&schema, &blocks["dynamic_block_definition_schema"]]);
    for schema in schemas {
        let mut found = Vec::new();
        targets(schema, &mut found);
        for target in found {
            let place = target.trim_start_matches('#');
            assert!(schema.pointer(place).is_some(), "{target}");
        }
    }
}
