//! Inner workflows at work (engine specification 11; decisions on 11.4).

use super::*;
use crate::blocks::testing::take_calls;
use crate::definition::inner::BLOCK_TYPE;

fn inner(name: &str, definition: Json, bindings: Json) -> Json {
    let fields = json!({"workflow_definition": definition, "parameter_bindings": bindings});
    step(name, BLOCK_TYPE, fields)
}

#[test]
fn a_condition_on_an_inner_workflow_gates_all_of_its_steps() {
    let child = workflow(
        &["b", "p"],
        json!([
            echo("one", "$inputs.b"),
            echo("two", "$inputs.b"),
            step("told", "Sink", json!({"v": "$inputs.p"})),
        ]),
        &[("one", "$steps.one.o"), ("two", "$steps.two.o")],
    );
    let steps = json!([
        cond("c", "$inputs.b", ">", 1, &["s"]),
        inner("s", child, json!({"b": "$inputs.b", "p": "$inputs.p"})),
    ]);
    let outputs = [("one", "$steps.s.one"), ("two", "$steps.s.two")];
    let gated = workflow(&["b", "p"], steps, &outputs);
    take_calls();
    assert_outputs(
        &gated,
        json!({"b": [1, 2], "p": "hit"}),
        json!([{"one": null, "two": null}, {"one": 2, "two": 2}]),
    );
    let calls = take_calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!(calls[0].0, "s__told");
}

#[test]
fn a_case_may_lead_to_an_inner_workflow() {
    let child = workflow(
        &["b"],
        json!([echo("one", "$inputs.b"), echo("two", "$inputs.b")]),
        &[("one", "$steps.one.o"), ("two", "$steps.two.o")],
    );
    let steps = json!([
        step(
            "w",
            "Switch",
            json!({"value": "$inputs.p", "cases": {"in": "$steps.s"}, "default": ["$steps.e"]})
        ),
        inner("s", child, json!({"b": "$inputs.b"})),
        echo("e", "$inputs.b"),
    ]);
    let outputs = [
        ("one", "$steps.s.one"),
        ("two", "$steps.s.two"),
        ("e", "$steps.e.o"),
    ];
    let routed = workflow(&["b", "p"], steps, &outputs);
    assert_outputs(
        &routed,
        json!({"b": 1, "p": "in"}),
        json!([{"one": 1, "two": 1, "e": null}]),
    );
    assert_outputs(
        &routed,
        json!({"b": 1, "p": "out"}),
        json!([{"one": null, "two": null, "e": 1}]),
    );
}

#[test]
fn a_condition_does_not_change_how_deep_results_lie() {
    // Behind the collapse there are scalars, which the condition over elements does not multiply.
    let child = workflow(
        &["b"],
        json!([
            echo("each", "$inputs.b"),
            collapse("all", "$steps.each.o"),
            echo("seen", "$steps.all.output"),
        ]),
        &[("o", "$steps.seen.o")],
    );
    let steps = json!([
        cond("c", "$inputs.b", ">", 1, &["s"]),
        inner("s", child, json!({"b": "$inputs.b"})),
    ]);
    let gated = workflow(&["b"], steps, &[("x", "$steps.s.o")]);
    assert_outputs(&gated, json!({"b": [1, 2, 3]}), json!([{"x": [2, 3]}]));
    // A condition deeper than some of the steps reaches those that lie as deep.
    let child = workflow(
        &["b", "bb"],
        json!([echo("deep", "$inputs.bb"), echo("top", "$inputs.b")]),
        &[("deep", "$steps.deep.o"), ("top", "$steps.top.o")],
    );
    let steps = json!([
        cond("c", "$inputs.bb", ">", 1, &["s"]),
        inner("s", child, json!({"b": "$inputs.b", "bb": "$inputs.bb"})),
    ]);
    let outputs = [("deep", "$steps.s.deep"), ("top", "$steps.s.top")];
    let gated = workflow(&["b", "bb"], steps, &outputs);
    assert_outputs(
        &gated,
        json!({"b": [7], "bb": [[1, 2]]}),
        json!([{"deep": [null, 2], "top": 7}]),
    );
}

#[test]
fn a_default_works_where_a_bound_value_works() {
    let mut child = workflow(
        &["b", "p"],
        json!([step(
            "first",
            "FirstNonEmpty",
            json!({"data": ["$inputs.b", "$inputs.p"]})
        ),]),
        &[("first", "$steps.first.o"), ("given", "$inputs.p")],
    );
    child["inputs"][1]["default_value"] = json!({"a": 1});
    let steps = json!([inner("s", child, json!({"b": "$inputs.b"}))]);
    let outputs = [("first", "$steps.s.first"), ("given", "$steps.s.given")];
    let definition = workflow(&["b"], steps, &outputs);
    assert_outputs(
        &definition,
        // Nobody can set the constant, whatever its name.
        json!({"b": [null, 2], "s__p": 3}),
        json!([{"given": {"a": 1}, "first": {"a": 1}}, {"given": {"a": 1}, "first": 2}]),
    );
}

#[test]
fn an_output_that_is_not_there_is_missed() {
    let child = || {
        workflow(
            &["b"],
            json!([echo("e", "$inputs.b")]),
            &[("o", "$steps.e.o")],
        )
    };
    let class = ErrorClass::InvalidReferenceTarget;
    let with = |step: Json, output: &str| {
        let steps = json!([inner("s", child(), json!({"b": "$inputs.b"})), step]);
        run(&workflow(&["b"], steps, &[("x", output)]), &json!({"b": 1}))
    };
    for output in ["$steps.s.nothing", "$steps.s.*"] {
        let error = assert_error(
            with(echo("f", 1), output),
            class,
            "execution_graph_construction",
        );
        assert!(
            error.message.contains("outputs of the inner workflow: o"),
            "{error}"
        );
    }
    let error = assert_error(
        with(echo("f", "$steps.s.nothing"), "$inputs.b"),
        class,
        "construction",
    );
    assert!(
        error.message.ends_with("outputs of the inner workflow: o"),
        "{error}"
    );
    let structure = ErrorClass::ExecutionGraphStructure;
    assert_error(
        with(echo("f", "$steps.s"), "$inputs.b"),
        structure,
        "construction",
    );
    assert_error(
        with(cond("c", "$inputs.b", ">", 1, &["s.o"]), "$inputs.b"),
        ErrorClass::ReferenceType,
        "construction",
    );
}
