//! Parsing of whole definitions (engine specification 1, 2.2, 4.2).

mod fields;

use serde_json::{Value as Json, json};

use super::document::{Coordinates, InputType};
use super::error::{ErrorClass, WorkflowError};
use super::selector::Selector;
use super::step::FieldValue;
use super::testing::{echo, step, workflow};
use super::{DefinitionHash, Document};
use crate::values::Value;

fn refused(definition: &Json) -> WorkflowError {
    Document::parse(definition).err().unwrap()
}

/// One step with fields of `Typed`.
fn typed(fields: Json) -> Json {
    workflow(&["p"], json!([step("t", "Typed", fields)]), &[])
}

#[test]
fn a_definition_is_read_as_written() {
    let mut definition = workflow(
        &["image", "bb", "p"],
        json!([step(
            "e",
            "EchoAlias",
            json!({"v": "$inputs.bb", "unknown": 1})
        )]),
        &[("x", "$steps.e.o"), ("y", "$steps.e.*"), ("z", "$inputs.p")],
    );
    definition["id"] = json!("ignored");
    definition["inputs"][1]["kind"] = json!(["string", {"name": "mine", "extra": 1}]);
    definition["inputs"][2]["default_value"] = json!("5");
    definition["outputs"][0]["coordinates_system"] = json!("own");
    let document = Document::parse(&definition).unwrap();
    assert_eq!(document.hash, DefinitionHash::of(&definition));
    let inputs: Vec<_> = document
        .inputs
        .iter()
        .map(|i| (&i.input_type, i.kinds.join(" ")))
        .collect();
    assert_eq!(
        inputs,
        [
            (&InputType::Image, "image".to_owned()),
            (&InputType::Batch(2), "string mine".to_owned()),
            (&InputType::Parameter(json!("5")), "*".to_owned()),
        ]
    );
    assert_eq!(document.steps[0].type_tag, "EchoAlias");
    assert_eq!(document.steps[0].spec.type_id(), "Echo");
    let shown: Vec<_> = document
        .outputs
        .iter()
        .map(|o| (&o.selector, o.coordinates))
        .collect();
    assert_eq!(
        shown,
        [
            (
                &Selector::StepOutput("e".into(), "o".into()),
                Coordinates::Own
            ),
            (&Selector::AllOutputs("e".into()), Coordinates::Parent),
            (&Selector::Input("p".into()), Coordinates::Parent),
        ]
    );
}

#[test]
fn a_field_may_be_named_by_its_alias() {
    let value = |fields: Json| {
        let document =
            Document::parse(&workflow(&[], json!([step("e", "Echo", fields)]), &[])).unwrap();
        document.steps[0].literal("v").cloned()
    };
    assert_eq!(value(json!({"value": 1})), Some(json!(1)));
    assert_eq!(value(json!({"value": 1, "v": 2})), Some(json!(2)));
}

#[test]
fn every_problem_is_reported_at_once() {
    let definition = json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage"}, {"type": "WorkflowBatchInput", "name": "b", "kind": "image"}],
        "steps": [
            {"type": "Typed", "name": "t", "int": "x", "float": 2, "choice": "c"},
            {"type": "Nope", "name": "n"},
            {"name": "untyped"},
            {"type": "Echo", "v": 1},
            {"type": "Typed", "name": "u", "int": 13, "choice": "b"},
            {"type": "Alike", "name": 5},
        ],
        "outputs": [{"type": "JsonField", "name": "o"}, {"type": "Other", "name": "o", "selector": "$inputs.b"}],
    });
    let error = refused(&definition);
    assert_eq!(error.class, ErrorClass::WorkflowSyntax);
    assert_eq!(
        error.context,
        "workflow_compilation | workflow_definition_parsing"
    );
    let (inner, text) = error.inner.clone().unwrap();
    assert_eq!((inner.as_str(), &text), ("ValidationError", &error.message));
    let places: Vec<&str> = text
        .lines()
        .skip(1)
        .map(|l| l.split(':').next().unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "inputs.0.WorkflowImage.name",
            "inputs.1.WorkflowBatchInput.kind",
            "steps.0.Typed.int",
            "steps.0.Typed.float",
            "steps.0.Typed.choice",
            "steps.1.Nope",
            "steps.2",
            "steps.3.Echo.name",
            "steps.4.Typed",
            "steps.5.Alike",
            "outputs.0.selector",
            "outputs.1.type",
        ]
    );
    let blocks: Vec<_> = error
        .blocks
        .iter()
        .map(|b| {
            (
                b.block_id.as_deref(),
                b.block_type.as_deref(),
                b.property_name.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        blocks,
        [
            (Some("t"), Some("Typed"), Some("int")),
            (Some("t"), Some("Typed"), Some("float")),
            (Some("t"), Some("Typed"), Some("choice")),
            (Some("n"), Some("Nope"), None),
            (Some("untyped"), None, None),
            (None, Some("Echo"), Some("name")),
            (Some("u"), Some("Typed"), None),
            (None, Some("Alike"), None),
        ]
    );
    assert!(
        error
            .blocks
            .iter()
            .all(|b| b.block_details.is_none() && b.property_details.is_some())
    );
}

#[test]
fn a_field_is_blamed_once_with_its_first_problem() {
    let steps = json!([step(
        "g",
        "FirstNonEmpty",
        json!({"data": [1, 2, "$inputs.p"]})
    )]);
    let error = refused(&workflow(&["p"], steps, &[]));
    assert_eq!(error.message.lines().count(), 3);
    assert!(error.message.contains("steps.0.FirstNonEmpty.data[1]"));
    assert_eq!(error.blocks.len(), 1);
}

#[test]
fn problems_outside_of_steps_name_no_block() {
    for section in ["version", "inputs", "steps", "outputs"] {
        let mut definition = workflow(&["b"], json!([]), &[]);
        definition.as_object_mut().unwrap().remove(section);
        let error = refused(&definition);
        assert_eq!(error.class, ErrorClass::WorkflowSyntax, "{section}");
        assert_eq!(error.to_json()["blocks_errors"], json!([]));
    }
    let mut null_version = workflow(&["b"], json!([]), &[]);
    null_version["version"] = Json::Null;
    assert_eq!(refused(&null_version).class, ErrorClass::WorkflowSyntax);
    assert_eq!(refused(&json!([])).class, ErrorClass::WorkflowSyntax);
}

#[test]
fn inputs_of_the_wrong_form() {
    for input in [
        json!({"type": "WorkflowSomething", "name": "i"}),
        json!({"type": 5, "name": "i"}),
        json!({"name": "i"}),
        json!({"type": "WorkflowImage", "name": 5}),
        json!({"type": "WorkflowImage", "name": "i", "dimensionality": 2}),
        json!({"type": "WorkflowParameter", "name": "i", "dimensionality": 1}),
        json!({"type": "WorkflowVideoMetadata", "name": "i", "dimensionality": "1"}),
        json!({"type": "WorkflowBatchInput", "name": "i", "dimensionality": "two"}),
        json!({"type": "WorkflowBatchInput", "name": "i", "dimensionality": null}),
        json!({"type": "WorkflowBatchInput", "name": "i", "kind": [5]}),
        json!({"type": "WorkflowBatchInput", "name": "i", "kind": [{"title": "x"}]}),
        json!("input"),
    ] {
        let mut definition = workflow(&[], json!([]), &[]);
        definition["inputs"] = json!([input]);
        assert_eq!(
            refused(&definition).class,
            ErrorClass::WorkflowSyntax,
            "{input}"
        );
    }
    let lax = json!({"type": "WorkflowBatchInput", "name": "i", "dimensionality": "2", "kind": ["unheard_of"]});
    let mut definition = workflow(&[], json!([]), &[]);
    definition["inputs"] = json!([lax]);
    let document = Document::parse(&definition).unwrap();
    assert_eq!(document.inputs[0].input_type, InputType::Batch(2));
}

#[test]
fn what_is_refused_before_parsing() {
    let mut definition = workflow(&["b"], json!([]), &[]);
    definition["steps"] = json!([{"type": "Nope"}, "step"]);
    assert_eq!(
        refused(&definition).class,
        ErrorClass::InnerWorkflowInvalidStepEntry
    );
    definition["steps"] = json!([{"type": "Nope"}]);
    definition["dynamic_blocks_definitions"] = json!([{"type": "DynamicBlockDefinition"}]);
    assert_eq!(
        refused(&definition).class,
        ErrorClass::WorkflowEnvironmentConfiguration
    );
    definition["dynamic_blocks_definitions"] = json!([]);
    assert_eq!(refused(&definition).class, ErrorClass::WorkflowSyntax);
    definition["version"] = json!("9.0");
    assert_eq!(
        refused(&definition).class,
        ErrorClass::NotSupportedExecutionEngine
    );
}

#[test]
fn literals_take_the_form_of_the_field() {
    let fields = json!({"int": "5.0", "float": " 1e-1 ", "flag": "ON", "choice": "b"});
    let document = Document::parse(&typed(fields)).unwrap();
    let t = &document.steps[0];
    assert_eq!(t.literal("int"), Some(&json!(5)));
    assert_eq!(
        (t.number("float"), t.flag("flag"), t.text("choice")),
        (Some(0.1), Some(true), Some("b"))
    );
    assert_eq!(t.text("text"), Some(""));
    for fields in [
        json!({"int": 101}),
        json!({"int": -1}),
        json!({"int": null}),
        json!({"float": 1.5}),
        json!({"float": "nan"}),
        json!({"float": "inf"}),
        json!({"flag": 2}),
        json!({"choice": "B"}),
        json!({"text": 1}),
        json!({"int": "$steps.x"}),
        json!({"int": "$inputs.a b"}),
    ] {
        assert_eq!(
            refused(&typed(fields.clone())).class,
            ErrorClass::WorkflowSyntax,
            "{fields}"
        );
    }
}

#[test]
fn all_text_with_a_dollar_is_a_reference_where_one_may_stand() {
    let document = Document::parse(&typed(json!({"text": "$100.50"}))).unwrap();
    let text = document.steps[0].field("text");
    assert!(
        matches!(text, FieldValue::Selector(Selector::Malformed(_))),
        "{text:?}"
    );
    let steps = json!([step(
        "c",
        "Cond",
        json!({"value": 1, "is": ">", "next_steps": []})
    )]);
    let document = Document::parse(&workflow(&[], steps, &[])).unwrap();
    let value = document.steps[0].field("value");
    assert!(
        matches!(value, FieldValue::Literal(_, Value::Int(1))),
        "{value:?}"
    );
}

#[test]
fn json_that_is_nested_too_deep_is_refused() {
    let text = "[".repeat(10_000) + &"]".repeat(10_000);
    assert!(serde_json::from_str::<Json>(&text).is_err());
    let literal = |depth: usize| {
        let nested = (1..depth).fold(json!([]), |inner, _| Json::Array(vec![inner]));
        let mut definition = workflow(&[], json!([echo("e", 1)]), &[]);
        definition["steps"][0]["v"] = nested;
        definition
    };
    assert!(Document::parse(&literal(120)).is_ok());
    let error = refused(&literal(10_000));
    assert_eq!(error.class, ErrorClass::WorkflowSyntax);
    assert!(error.message.contains("128"), "{error}");
}

#[test]
fn a_selector_of_ten_thousand_parts_is_just_wrong() {
    let long = format!("$steps{}", ".a".repeat(10_000));
    let error = refused(&typed(json!({"int": long})));
    assert_eq!(error.class, ErrorClass::WorkflowSyntax);
    assert!(error.message.len() < 1_000, "{}", error.message.len());
    let Selector::Malformed(whole) = Selector::read(&long) else {
        panic!("read as a selector");
    };
    assert_eq!(whole.len(), long.len());
    assert!(Selector::Malformed(whole).to_string().len() < 100);
}

#[test]
fn unknown_types_are_listed_once() {
    let steps: Json = (0..2_000)
        .map(|i| step(&format!("s{i}"), "Nope", json!({})))
        .collect();
    let error = refused(&workflow(&[], steps, &[]));
    assert_eq!(error.blocks.len(), 2_000);
    assert_eq!(
        error
            .message
            .matches("roboflow_core/dimension_collapse@v1")
            .count(),
        1
    );
    let near = workflow(
        &[],
        json!([step("c", "dimension-collapse", json!({}))]),
        &[],
    );
    assert!(
        refused(&near)
            .message
            .contains("did you mean roboflow_core/dimension_collapse@v1")
    );
}
