//! Inner workflows as definitions (engine specification 11), made of the blocks in `blocks::testing`.

mod library;

use serde_json::{Value as Json, json};

use super::*;
use crate::definition::document::{Document, InputType};
use crate::definition::step::FieldValue;
use crate::definition::testing::{cond, echo, step, workflow};
use crate::definition::{DefinitionHash, InnerWorkflows};

/// A step that stands for a definition.
fn inner(name: &str, definition: &Json, bindings: Json) -> Json {
    let fields = json!({"workflow_definition": definition, "parameter_bindings": bindings});
    step(name, BLOCK_TYPE, fields)
}

/// A definition that gives what it gets.
fn plain() -> Json {
    workflow(
        &["b"],
        json!([echo("e", "$inputs.b")]),
        &[("o", "$steps.e.o")],
    )
}

/// A definition around one step.
fn around(child: Json) -> Json {
    workflow(&["b"], json!([child]), &[("o", "$steps.s.o")])
}

fn refused(definition: &Json) -> WorkflowError {
    Document::parse(definition).err().unwrap()
}

fn names(document: &Document) -> Vec<&str> {
    document.steps.iter().map(|step| &*step.name).collect()
}

fn selectors(document: &Document, step: usize) -> Vec<String> {
    let values = document.steps[step].values.iter();
    let selectors = values.flat_map(|value| value.selectors());
    selectors
        .map(|(_, selector)| selector.to_string())
        .collect()
}

#[test]
fn the_steps_of_a_definition_take_the_place_of_its_step() {
    let child = workflow(
        &["b", "p"],
        json!([
            step("e", "Pair", json!({"a": "$inputs.b", "b": "$inputs.p"})),
            echo("f", "$steps.e.o"),
        ]),
        &[("o", "$steps.f.o"), ("given", "$inputs.b")],
    );
    let definition = workflow(
        &["b"],
        json!([
            echo("first", "$inputs.b"),
            inner("s", &child, json!({"b": "$steps.first.o", "p": 5})),
            echo("s__e", "$steps.s.o"),
            step(
                "last",
                "Pair",
                json!({"a": "$steps.s.given", "b": ["$steps.s.o"]})
            ),
        ]),
        &[
            ("x", "$steps.s.o"),
            ("y", "$steps.s.given"),
            ("z", "$inputs.b"),
        ],
    );
    let document = Document::parse(&definition).unwrap();
    // The outer step that has the first name already keeps it.
    assert_eq!(
        names(&document),
        ["first", "s__e__2", "s__f", "s__e", "last"]
    );
    assert_eq!(selectors(&document, 1), ["$steps.first.o"]);
    let bound = document.steps[1].literal("b");
    assert_eq!(bound, Some(&json!("5")), "a bound number arrives as text");
    assert_eq!(selectors(&document, 2), ["$steps.s__e__2.o"]);
    assert_eq!(selectors(&document, 3), ["$steps.s__f.o"]);
    assert_eq!(selectors(&document, 4), ["$steps.first.o"]);
    let shown: Vec<String> = document
        .outputs
        .iter()
        .map(|o| o.selector.to_string())
        .collect();
    assert_eq!(shown, ["$steps.s__f.o", "$steps.first.o", "$inputs.b"]);
    assert_eq!(document.hash, DefinitionHash::of(&definition));
    assert_eq!(document.groups[0].steps, [1, 2]);
    assert!(document.references.is_empty());
}

#[test]
fn names_inside_longer_texts_are_renamed_and_values_put_in() {
    let child = workflow(
        &["b", "p"],
        json!([
            echo("a", "$inputs.b"),
            echo("ab", "$inputs.b"),
            echo("text", "see $steps.a.o, $steps.ab, $inputs.p and $inputs.q"),
        ]),
        &[],
    );
    let definition = workflow(
        &["b"],
        json!([inner(
            "s",
            &child,
            json!({"b": "$inputs.b", "p": "$inputs.b"})
        )]),
        &[],
    );
    let document = Document::parse(&definition).unwrap();
    let text = document.steps[2].literal("v").unwrap();
    assert_eq!(
        text,
        "see $steps.s__a.o, $steps.s__ab, $inputs.b and $inputs.q"
    );
}

#[test]
fn definitions_inside_definitions_are_inlined_from_the_inside() {
    let deep = inner("deep", &plain(), json!({"b": "$steps.e.o"}));
    let child = workflow(
        &["b"],
        json!([
            echo("e", "$inputs.b"),
            deep,
            cond("c", "$inputs.b", ">", 0, &["deep"])
        ]),
        &[("o", "$steps.deep.o")],
    );
    let definition = around(inner("s", &child, json!({"b": "$inputs.b"})));
    let document = Document::parse(&definition).unwrap();
    assert_eq!(names(&document), ["s__e", "s__deep__e", "s__c"]);
    assert_eq!(selectors(&document, 1), ["$steps.s__e.o"]);
    assert_eq!(selectors(&document, 2), ["$inputs.b", "$steps.s__deep"]);
    assert_eq!(
        document.outputs[0].selector.to_string(),
        "$steps.s__deep__e.o"
    );
    let groups: Vec<(&str, &[usize])> = document
        .groups
        .iter()
        .map(|group| (&*group.name, &group.steps[..]))
        .collect();
    assert_eq!(groups, [("s", &[0, 1, 2][..]), ("s__deep", &[1])]);
}

#[test]
fn a_sibling_of_the_same_inside_is_not_confused() {
    // Both definitions have a step named as the other inner workflow.
    let child = |own: &str| {
        workflow(
            &["b"],
            json!([echo(own, "$inputs.b")]),
            &[("o", &format!("$steps.{own}.o"))],
        )
    };
    let definition = workflow(
        &["b"],
        json!([
            inner("one", &child("two"), json!({"b": "$steps.two.o"})),
            inner("two", &child("one"), json!({"b": "$inputs.b"})),
        ]),
        &[("o", "$steps.one.o")],
    );
    let document = Document::parse(&definition).unwrap();
    assert_eq!(names(&document), ["one__two", "two__one"]);
    assert_eq!(selectors(&document, 0), ["$steps.two__one.o"]);
    assert_eq!(selectors(&document, 1), ["$inputs.b"]);
}

#[test]
fn an_input_that_nobody_binds_has_its_default() {
    let mut child = workflow(
        &["b", "p", "q"],
        json!([
            step("a", "Typed", json!({"int": "$inputs.p"})),
            step(
                "b",
                "FirstNonEmpty",
                json!({"data": ["$inputs.b", "$inputs.p"]})
            ),
            step(
                "c",
                "BatchMix",
                json!({"ref": "$inputs.b", "items": "$inputs.p"})
            ),
            echo("d", "$inputs.q"),
        ]),
        &[("o", "$inputs.p")],
    );
    child["inputs"][1]["default_value"] = json!(7);
    child["inputs"][1]["kind"] = json!(["integer"]);
    child["inputs"][2]["default_value"] = json!("$100");
    let definition = around(inner("s", &child, json!({"b": "$inputs.b"})));
    let document = Document::parse(&definition).unwrap();
    assert_eq!(document.steps[0].literal("int"), Some(&json!(7)));
    // Where only references may stand one does, to a value that no caller sets.
    assert_eq!(selectors(&document, 1), ["$inputs.b", "$inputs.s__p"]);
    assert_eq!(selectors(&document, 2), ["$inputs.b", "$inputs.s__p"]);
    assert_eq!(selectors(&document, 3), ["$inputs.s__q"]);
    assert_eq!(document.outputs[0].selector.to_string(), "$inputs.s__p");
    let constants: Vec<_> = document
        .inputs
        .iter()
        .filter(|i| !i.is_declared())
        .collect();
    assert_eq!(constants.len(), 2);
    assert_eq!(constants[0].input_type, InputType::Constant(json!(7)));
    assert_eq!(constants[0].kinds, ["integer"]);
    assert_eq!(constants[1].input_type, InputType::Constant(json!("$100")));
}

#[test]
fn nothing_else_can_refer_to_a_constant() {
    let mut child = workflow(
        &["b", "p"],
        json!([echo("e", "$inputs.b")]),
        &[("o", "$inputs.p")],
    );
    child["inputs"][1]["default_value"] = json!([1]);
    let mut definition = around(inner("s", &child, json!({"b": "$inputs.b"})));
    let steps = definition["steps"].as_array_mut().unwrap();
    steps.push(echo("sly", "$inputs.s__p"));
    let document = Document::parse(&definition).unwrap();
    let own = document.inputs.iter().find(|i| !i.is_declared()).unwrap();
    assert_ne!(&*own.name, "s__p");
    assert_eq!(
        document.outputs[0].selector.to_string(),
        format!("$inputs.{}", own.name)
    );
}

#[test]
fn bindings_must_fit_the_inputs() {
    let bound = |bindings: Json| refused(&around(inner("s", &plain(), bindings)));
    let error = bound(json!({"b": "$inputs.b", "c": "$inputs.b"}));
    assert_eq!(
        error.class,
        ErrorClass::InnerWorkflowParameterBindingsUnknownInput
    );
    assert_eq!(
        error.context,
        "workflow_compilation | inner_workflow | parameter_bindings"
    );
    assert_eq!(error.status(), 400);
    assert!(error.message.contains("c; it has: b"), "{error}");
    let error = bound(json!({}));
    assert_eq!(
        error.class,
        ErrorClass::InnerWorkflowParameterBindingsMissingRequired
    );
    // A parameter without a default is needed too.
    let child = workflow(&["p"], json!([echo("e", "$inputs.p")]), &[]);
    let error = refused(&around(inner("s", &child, json!({}))));
    assert_eq!(
        error.class,
        ErrorClass::InnerWorkflowParameterBindingsMissingRequired
    );
}

#[test]
fn definitions_nest_four_deep_and_32_in_all() {
    let nested = |levels: usize| {
        (0..levels).fold(plain(), |child, _| {
            around(inner("s", &child, json!({"b": "$inputs.b"})))
        })
    };
    assert!(Document::parse(&nested(4)).is_ok());
    let error = refused(&nested(5));
    assert_eq!(error.class, ErrorClass::InnerWorkflowNestingDepth);
    assert_eq!(
        error.context,
        "workflow_compilation | inner_workflow | composition"
    );
    let many = |count: usize| {
        let step = |i| inner(&format!("s{i}"), &plain(), json!({"b": "$inputs.b"}));
        workflow(&["b"], (0..count).map(step).collect(), &[])
    };
    assert_eq!(Document::parse(&many(32)).unwrap().steps.len(), 32);
    assert_eq!(
        refused(&many(33)).class,
        ErrorClass::InnerWorkflowTotalCount
    );
    // What another server runs does not count.
    let mut definition = many(32);
    let mut dispatched = inner("far", &nested(4), json!({"b": "$inputs.b"}));
    dispatched["execution_mode"] = json!("remote_dispatch");
    definition["steps"].as_array_mut().unwrap().push(dispatched);
    assert!(Document::parse(&definition).is_ok());
}

#[test]
fn entries_that_are_no_inner_workflows_are_refused() {
    let of = |entry: Json| refused(&around(entry)).class;
    let invalid = ErrorClass::InnerWorkflowInvalidStepEntry;
    let empty = workflow(&["b"], json!([]), &[]);
    let mut with_text = plain();
    with_text["steps"] = json!(["no step"]);
    let mut unnamed = inner("s", &plain(), json!({}));
    unnamed.as_object_mut().unwrap().remove("name");
    for entry in [
        step("s", BLOCK_TYPE, json!({"parameter_bindings": {}})),
        step(
            "s",
            BLOCK_TYPE,
            json!({"workflow_definition": {}, "workflow_id": "w"}),
        ),
        inner("s", &json!("text"), json!({})),
        inner("s", &empty, json!({"b": "$inputs.b"})),
        inner("s", &with_text, json!({"b": "$inputs.b"})),
        inner("s", &plain(), json!(["$inputs.b"])),
        unnamed,
    ] {
        assert_eq!(of(entry.clone()), invalid, "{entry}");
    }
    let mut both = inner("s", &plain(), json!({"b": "$inputs.b"}));
    both["workflow_workspace_id"] = json!("ws");
    both["workflow_id"] = json!("w");
    assert_eq!(of(both), ErrorClass::WorkflowDefinition);
    let mode = step(
        "s",
        BLOCK_TYPE,
        json!({"execution_mode": "elsewhere", "parameter_bindings": {}}),
    );
    assert_eq!(of(mode), ErrorClass::WorkflowSyntax);
    let twice = workflow(
        &["b"],
        json!([
            inner("s", &plain(), json!({"b": "$inputs.b"})),
            echo("s", 1)
        ]),
        &[],
    );
    assert_eq!(refused(&twice).class, ErrorClass::DuplicatedName);
}

#[test]
fn problems_of_a_definition_say_where_it_stands() {
    let child = workflow(
        &["b"],
        json!([
            echo("e", "$inputs.b"),
            step("f", "Typed", json!({"int": 500}))
        ]),
        &[],
    );
    let outer = around(inner("deep", &child, json!({"b": "$inputs.b"})));
    let error = refused(&around(inner("s", &outer, json!({"b": "$inputs.b"}))));
    assert_eq!(error.class, ErrorClass::WorkflowSyntax);
    assert!(
        error
            .message
            .starts_with("inner workflow `s` > `deep`: 1 problem"),
        "{error}"
    );
    assert_eq!(error.blocks[0].block_id.as_deref(), Some("f"));
}

#[test]
fn custom_blocks_inside_are_custom_blocks_of_the_whole() {
    let mut child = plain();
    child["dynamic_blocks_definitions"] = json!([{"manifest": {"block_type": "Mine"}}]);
    let error = refused(&around(inner("s", &child, json!({"b": "$inputs.b"}))));
    assert_eq!(error.class, ErrorClass::WorkflowEnvironmentConfiguration);
}

#[test]
fn of_two_custom_blocks_of_one_type_the_outer_one_stays() {
    let block = |by: &str| json!({"manifest": {"block_type": "Mine"}, "by": by});
    let mut child = plain();
    child["dynamic_blocks_definitions"] =
        json!([block("child"), {"manifest": {"block_type": "Other"}, "by": "child"}]);
    let mut definition = around(inner("s", &child, json!({"b": "$inputs.b"})));
    definition["dynamic_blocks_definitions"] = json!([block("root")]);
    let mut top = definition.as_object().unwrap().clone();
    composition::hoist_custom_blocks(&mut top);
    let by: Vec<&str> = top["dynamic_blocks_definitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block["by"].as_str().unwrap())
        .collect();
    assert_eq!(by, ["root", "child"]);
}

#[test]
fn texts_that_repeat_each_other_do_not_fill_the_memory() {
    let long = "x".repeat(1 << 20);
    let text = "$inputs.p ".repeat(1000);
    let child = workflow(&["p"], json!([echo("e", text)]), &[]);
    let error = refused(&around(inner("s", &child, json!({"p": long}))));
    assert_eq!(error.class, ErrorClass::WorkflowDefinition);
    let mut child = workflow(
        &["p"],
        json!([echo("e", vec![json!({"deep": "$inputs.p"}); 1000])]),
        &[],
    );
    child["inputs"][0]["default_value"] = json!(long);
    let error = refused(&around(inner("s", &child, json!({}))));
    assert_eq!(error.class, ErrorClass::WorkflowDefinition);
}

#[test]
fn what_another_server_runs_refers_to_itself() {
    let mut far = inner("far", &plain(), json!({"b": "$inputs.b"}));
    far["execution_mode"] = json!("remote_dispatch");
    let child = workflow(&["b"], json!([echo("e", "$inputs.b"), far]), &[]);
    let definition = workflow(
        &["b2"],
        json!([inner("s", &child, json!({"b": "$inputs.b2"}))]),
        &[],
    );
    let document = Document::parse(&definition).unwrap();
    assert_eq!(
        document.steps[1].literal("workflow_definition"),
        Some(&plain())
    );
    let FieldValue::Map(bindings) = document.steps[1].field("parameter_bindings") else {
        panic!("bindings expected");
    };
    assert!(matches!(&bindings[0].1, FieldValue::Selector(s) if s.to_string() == "$inputs.b2"));
}
