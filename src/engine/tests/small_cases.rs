//! The rows of section 15.2 of the engine specification.

use super::*;
use crate::blocks::testing::take_calls;

#[test]
fn elements_pass_one_by_one() {
    let echo_b = workflow(
        &["b"],
        json!([echo("e", "$inputs.b")]),
        &[("x", "$steps.e.o")],
    );
    assert_x(
        &echo_b,
        json!({"b": [1, 2, null, 4]}),
        json!([1, 2, null, 4]),
    );
    assert_x(&echo_b, json!({"b": "one"}), json!(["one"]));
}

#[test]
fn a_step_may_make_a_level() {
    let once = workflow(
        &["b"],
        json!([split("s", "$inputs.b")]),
        &[("x", "$steps.s.o")],
    );
    let input = json!({"b": [[1, 2], [], [3]]});
    assert_x(&once, input, json!([[1, 2], [], [3]]));

    let steps = json!([split("s", "$inputs.b"), split("t", "$steps.s.o")]);
    let twice = workflow(&["b"], steps, &[("x", "$steps.t.o")]);
    let input = json!({"b": [[[1], [2, 3]], [], [[]]]});
    assert_x(&twice, input, json!([[[1], [2, 3]], [[]], [[]]]));
}

#[test]
fn collapse_takes_a_level_away() {
    let input = json!({"b": [[1, 2], [], [3]]});
    let steps = json!([
        split("s", "$inputs.b"),
        collapse("c", "$steps.s.o"),
        collapse("d", "$steps.c.output")
    ]);
    let once = workflow(&["b"], steps.clone(), &[("x", "$steps.c.output")]);
    assert_x(&once, input.clone(), json!([[1, 2], null, [3]]));
    let twice = workflow(&["b"], steps, &[("x", "$steps.d.output")]);
    assert_x(&twice, input, json!([[[1, 2], [3]]]));
}

#[test]
fn elements_made_from_a_scalar_stand_in_every_object() {
    let steps = json!([split("s", "$inputs.p"), echo("e", "$inputs.b")]);
    let beside = workflow(
        &["p", "b"],
        steps,
        &[("x", "$steps.s.o"), ("y", "$steps.e.o")],
    );
    assert_outputs(
        &beside,
        json!({"p": [1, 2], "b": [7, 8, 9]}),
        json!([{"y": 7, "x": [1, 2]}, {"y": 8, "x": [1, 2]}, {"y": 9, "x": [1, 2]}]),
    );
    let alone = workflow(
        &["p"],
        json!([split("s", "$inputs.p")]),
        &[("x", "$steps.s.o"), ("p", "$inputs.p")],
    );
    assert_outputs(
        &alone,
        json!({"p": [1, 2]}),
        json!([{"p": [1, 2], "x": [1, 2]}]),
    );
}

#[test]
fn conditions_gate_single_elements() {
    let steps = json!([
        cond("c", "$inputs.b", ">", 2, &["e"]),
        echo("e", "$inputs.b"),
        step(
            "f",
            "FirstNonEmpty",
            json!({"data": ["$steps.e.o"], "default": "DEF"})
        ),
    ]);
    let gated = workflow(&["b"], steps.clone(), &[("x", "$steps.e.o")]);
    assert_x(
        &gated,
        json!({"b": [1, 2, 3, 4]}),
        json!([null, null, 3, 4]),
    );
    let merged = workflow(&["b"], steps, &[("x", "$steps.f.o")]);
    assert_x(&merged, json!({"b": [1, 5, 6]}), json!(["DEF", 5, 6]));
}

#[test]
fn a_gated_scalar_step_runs_once_per_selected_element() {
    let steps = json!([
        cond("c", "$inputs.b", ">", 2, &["e"]),
        echo("e", "$inputs.p")
    ]);
    let gated = workflow(&["b", "p"], steps, &[("x", "$steps.e.o")]);
    assert_x(&gated, json!({"b": [1, 5, 6], "p": 5}), json!([null, 5, 5]));

    let steps = json!([
        cond("c", "$inputs.b", ">", 2, &["sink"]),
        step("sink", "Sink", json!({"v": "lit"})),
    ]);
    let sink = workflow(&["b"], steps, &[("x", "$steps.sink.*")]);
    take_calls();
    assert_x(&sink, json!({"b": [1, 5, 6]}), json!([{}, {}, {}]));
    assert_eq!(take_calls().len(), 2);
}

#[test]
fn conditions_combine() {
    let both = json!([
        cond("c", "$inputs.b", ">", 1, &["e"]),
        cond("d", "$inputs.b", "<", 4, &["e"]),
        echo("e", "$inputs.b"),
    ]);
    let chained = json!([
        cond("c", "$inputs.b", ">", 1, &["d"]),
        cond("d", "$inputs.b", "<", 4, &["e"]),
        echo("e", "$inputs.b"),
    ]);
    for steps in [both, chained] {
        let gated = workflow(&["b"], steps, &[("x", "$steps.e.o")]);
        assert_x(
            &gated,
            json!({"b": [1, 2, 3, 4]}),
            json!([null, 2, 3, null]),
        );
    }
}

#[test]
fn conditions_on_made_elements() {
    let steps = json!([
        split("s", "$inputs.b"),
        cond("c", "$steps.s.o", ">", 2, &["e"]),
        echo("e", "$steps.s.o"),
        collapse("l", "$steps.e.o"),
    ]);
    let gated = workflow(
        &["b"],
        steps,
        &[("e", "$steps.e.o"), ("l", "$steps.l.output")],
    );
    assert_outputs(
        &gated,
        json!({"b": [[1, 5], [], [1]]}),
        json!([{"e": [null, 5], "l": [5]}, {"e": [], "l": null}, {"e": [null], "l": []}]),
    );
}

#[test]
fn a_switch_opens_one_branch() {
    let steps = json!([
        step(
            "s",
            "Switch",
            json!({
                "value": "$inputs.b",
                "cases": {"a": "$steps.e1", "b": "$steps.e2"},
                "default": ["$steps.e3"],
            })
        ),
        echo("e1", "$inputs.b"),
        echo("e2", "$inputs.b"),
        echo("e3", "$inputs.b"),
        step(
            "f",
            "FirstNonEmpty",
            json!({"data": ["$steps.e1.o", "$steps.e2.o"], "default": "other"})
        ),
    ]);
    let routed = workflow(
        &["b"],
        steps,
        &[
            ("x1", "$steps.e1.o"),
            ("x2", "$steps.e2.o"),
            ("x3", "$steps.e3.o"),
            ("f", "$steps.f.o"),
        ],
    );
    assert_outputs(
        &routed,
        json!({"b": ["a", "b", "c", null]}),
        json!([
            {"x1": "a", "x2": null, "x3": null, "f": "a"},
            {"x1": null, "x2": "b", "x3": null, "f": "b"},
            {"x1": null, "x2": null, "x3": "c", "f": "other"},
            {"x1": null, "x2": null, "x3": null, "f": "other"},
        ]),
    );
}

#[test]
fn all_outputs_of_a_step() {
    let steps = json!([
        cond("c", "$inputs.b", ">", 1, &["e"]),
        echo("e", "$inputs.b")
    ]);
    let wild = workflow(&["b"], steps, &[("x", "$steps.e.*"), ("c", "$steps.c.*")]);
    assert_outputs(
        &wild,
        json!({"b": [1, 2]}),
        json!([{"x": {"o": null}, "c": {}}, {"x": {"o": 2}, "c": {}}]),
    );
}

#[test]
fn an_element_meets_its_children() {
    let steps = json!([
        split("s", "$inputs.b"),
        step(
            "m",
            "Mix",
            json!({"ref": "$inputs.b", "items": "$steps.s.o"})
        ),
    ]);
    let mix = workflow(&["b"], steps, &[("x", "$steps.m.o")]);
    let input = json!({"b": [[1, 2], [], [3]]});
    assert_x(&mix, input, json!([[[1, 2], [1, 2]], null, [[3], [3]]]));
}

#[test]
fn a_batch_block_sees_all_elements_of_its_depth_at_once() {
    let steps = json!([
        split("s", "$inputs.b"),
        step("d", "BatchDesc", json!({"v": "$steps.s.o"}))
    ]);
    let described = workflow(&["b"], steps, &[("x", "$steps.d.o")]);
    assert_x(
        &described,
        json!({"b": [[10, 20], [], [30]]}),
        json!([[[[0, 0], 10, 3], [[0, 1], 20, 3]], [], [[[2, 0], 30, 3]]]),
    );
    let lifted = workflow(
        &[],
        json!([step("d", "BatchDesc", json!({"v": 5}))]),
        &[("x", "$steps.d.o")],
    );
    assert_x(&lifted, json!({}), json!([[[0], 5, 1]]));
}

#[test]
fn keys_stand_by_extent_and_then_as_defined() {
    let outputs = [("z", "$inputs.b"), ("p", "$inputs.p"), ("b", "$inputs.b")];
    let mixed = workflow(&["b", "p"], json!([]), &outputs);
    assert_outputs(
        &mixed,
        json!({"b": [1, 2], "p": 1}),
        json!([{"p": 1, "z": 1, "b": 1}, {"p": 1, "z": 2, "b": 2}]),
    );
    let none = workflow(&["b"], json!([]), &[]);
    assert_outputs(&none, json!({"b": [1, 2]}), json!([{}]));
}

#[test]
fn data_that_do_not_belong_together_are_refused() {
    let depths = workflow(
        &["b"],
        json!([
            split("s", "$inputs.b"),
            step("m", "Pair", json!({"a": "$inputs.b", "b": "$steps.s.o"}))
        ]),
        &[],
    );
    assert_error(
        run(&depths, &json!({"b": 1})),
        ErrorClass::StepInputDimensionality,
        "execution_graph_construction | collecting_step_input_data",
    );
    let lineages = workflow(
        &["b"],
        json!([
            split("s", "$inputs.b"),
            split("t", "$inputs.b"),
            step("m", "Pair", json!({"a": "$steps.s.o", "b": "$steps.t.o"})),
        ]),
        &[],
    );
    assert_error(
        run(&lineages, &json!({"b": 1})),
        ErrorClass::StepInputLineage,
        "execution_graph_construction | collecting_step_inputs_lineage",
    );
    let deeper_condition = workflow(
        &["b"],
        json!([
            split("s", "$inputs.b"),
            cond("c", "$steps.s.o", ">", 0, &["e"]),
            echo("e", "$inputs.b")
        ]),
        &[],
    );
    assert_error(
        run(&deeper_condition, &json!({"b": 1})),
        ErrorClass::ControlFlowDefinition,
        "execution_graph_construction | verification_of_control_flow_lineage",
    );
}
