//! The rows of `decided.md` on which we differ from the reference (Q1 to Q15).

use super::*;
use crate::blocks::testing::take_calls;

#[test]
fn q1_a_condition_that_selects_nothing_counts() {
    let steps = json!([
        cond("c", "$inputs.b", ">", 1, &["e"]),
        cond("d", "$inputs.b", "<", 0, &["e"]),
        echo("e", "$inputs.b"),
    ]);
    let gated = workflow(&["b"], steps, &[("x", "$steps.e.o")]);
    assert_x(
        &gated,
        json!({"b": [1, 2, 3, 4]}),
        json!([null, null, null, null]),
    );
}

#[test]
fn q2_a_condition_on_images_gates_deeper_data() {
    let steps = json!([
        cond("c", "$inputs.b", "not empty", 0, &["e"]),
        split("s", "$inputs.b"),
        echo("e", "$steps.s.o"),
    ]);
    let gated = workflow(&["b"], steps, &[("x", "$steps.e.o")]);
    let input = json!({"b": [[1, 2], [], [3]]});
    assert_x(&gated, input, json!([[1, 2], [], [3]]));

    let steps = json!([
        cond("c", "$inputs.b2", ">", 1, &["e"]),
        split("s", "$inputs.b"),
        echo("e", "$steps.s.o"),
    ]);
    let gated = workflow(&["b", "b2"], steps, &[("x", "$steps.e.o")]);
    let input = json!({"b": [[1, 2], [7, 8], [3]], "b2": [1, 2, 3]});
    assert_x(&gated, input, json!([[null, null], [7, 8], [3]]));
}

#[test]
fn q3_each_level_is_restricted_by_its_prefix() {
    let on_images = json!([
        cond("c", "$inputs.b2", ">", 1, &["m"]),
        split("s", "$inputs.b"),
        step(
            "m",
            "Mix",
            json!({"ref": "$inputs.b2", "items": "$steps.s.o"})
        ),
    ]);
    let gated = workflow(&["b", "b2"], on_images, &[("x", "$steps.m.o")]);
    let input = json!({"b": [[1, 2], [7, 8], [3]], "b2": [1, 2, 3]});
    assert_x(&gated, input.clone(), json!([null, [2, [7, 8]], [3, [3]]]));

    let on_elements = json!([
        split("s", "$inputs.b"),
        cond("c", "$steps.s.o", ">", 2, &["m"]),
        step(
            "m",
            "Mix",
            json!({"ref": "$inputs.b2", "items": "$steps.s.o"})
        ),
    ]);
    let gated = workflow(&["b", "b2"], on_elements, &[("x", "$steps.m.o")]);
    assert_x(
        &gated,
        input.clone(),
        json!([[1, []], [2, [7, 8]], [3, [3]]]),
    );

    let on_both = json!([
        split("s", "$inputs.b"),
        cond("c", "$steps.s.o", ">", 2, &["m"]),
        cond("d", "$inputs.b2", "<", 3, &["m"]),
        step(
            "m",
            "BatchMix",
            json!({"ref": "$inputs.b2", "items": "$steps.s.o"})
        ),
    ]);
    let gated = workflow(&["b", "b2"], on_both, &[("x", "$steps.m.o")]);
    assert_x(&gated, input, json!([[1, []], [2, [7, 8]], null]));
}

#[test]
fn q4_lifted_scalars_honour_the_condition() {
    let steps = json!([
        cond("c", "$inputs.b", ">", 1, &["d"]),
        step("d", "BatchDesc", json!({"v": "$inputs.p"})),
    ]);
    let gated = workflow(&["b", "p"], steps.clone(), &[("x", "$steps.d.o")]);
    assert_x(
        &gated,
        json!({"b": [1, 2, 3], "p": "s"}),
        json!([null, [[1], "s", 2], [[2], "s", 2]]),
    );
    let scalar = json!([
        cond("c", "$inputs.p2", ">", 1, &["d"]),
        step("d", "BatchDesc", json!({"v": "$inputs.p"})),
    ]);
    let gated = workflow(&["p", "p2"], scalar, &[("x", "$steps.d.o")]);
    assert_x(&gated, json!({"p": "s", "p2": 0}), json!([null]));
    assert_x(&gated, json!({"p": "s", "p2": 2}), json!([[[0], "s", 1]]));
}

#[test]
fn q5_scalars_in_mixed_fields_run_once_per_selected_element() {
    let steps = json!([
        cond("c", "$inputs.b", ">", 1, &["m"]),
        step("m", "Mixed", json!({"m": "$inputs.p"})),
    ]);
    let gated = workflow(&["b", "p"], steps, &[("x", "$steps.m.o")]);
    assert_x(&gated, json!({"b": [1, 2, 3], "p": 9}), json!([null, 9, 9]));
}

#[test]
fn q6_a_step_without_fields_runs_once_per_selected_element() {
    let steps = json!([
        cond("c", "$inputs.b", ">", 1, &["n"]),
        step("n", "Bare", json!({}))
    ]);
    let gated = workflow(&["b"], steps, &[("x", "$steps.n.o")]);
    take_calls();
    assert_x(&gated, json!({"b": [1, 2, 3]}), json!([null, "ran", "ran"]));
    assert_eq!(take_calls().len(), 2);
}

#[test]
fn q7_scalars_that_become_a_level_take_no_condition_on_a_batch() {
    let steps = json!([
        cond("c", "$inputs.b", ">", 1, &["s"]),
        split("s", "$inputs.p")
    ]);
    let error = assert_error(
        run(&workflow(&["b", "p"], steps, &[]), &json!({})),
        ErrorClass::StepInputDimensionality,
        "verification_of_output_offset",
    );
    assert_eq!(error.status(), 400);
    assert_eq!(error.blocks[0].block_id.as_deref(), Some("s"));
}

#[test]
fn q8_a_discarded_step_gives_an_empty_batch() {
    let steps = json!([
        cond("c", "$inputs.p2", ">", 1, &["s"]),
        split("s", "$inputs.p"),
        echo("e", "$steps.s.o"),
        split("t", "$steps.e.o"),
        collapse("l", "$steps.e.o"),
        step("d", "BatchDesc", json!({"v": "$steps.s.o"})),
    ]);
    let outputs = [
        ("s", "$steps.s.o"),
        ("e", "$steps.e.*"),
        ("t", "$steps.t.o"),
        ("l", "$steps.l.output"),
        ("d", "$steps.d.o"),
    ];
    let gated = workflow(&["p", "p2"], steps, &outputs);
    assert_outputs(
        &gated,
        json!({"p": [[1]], "p2": 0}),
        json!([{"l": null, "s": [], "e": [], "t": [[]], "d": []}]),
    );
    assert_outputs(
        &gated,
        json!({"p": [[1]], "p2": 2}),
        json!([{"l": [[1]], "s": [[1]], "e": [{"o": [1]}], "t": [[1]], "d": [[[0], [1], 1]]}]),
    );
}

#[test]
fn q9_flow_control_without_targets_gates_nothing() {
    for value in ["$inputs.b", "$inputs.p"] {
        let steps = json!([
            cond("c", value, ">", 1, &[]),
            step("w", "Switch", json!({"value": value})),
            echo("e", "$inputs.b"),
        ]);
        let free = workflow(&["b", "p"], steps, &[("x", "$steps.e.o")]);
        assert_x(&free, json!({"b": [1, 2], "p": 1}), json!([1, 2]));
    }
}

#[test]
fn q10_each_object_gets_its_own_part_of_a_nested_input() {
    let echoed = workflow(
        &["bb", "bbb"],
        json!([]),
        &[("x", "$inputs.bb"), ("y", "$inputs.bbb")],
    );
    assert_outputs(
        &echoed,
        json!({"bb": [[1, 2], [3], []], "bbb": [[[1], []], [], [[], [2, 3]]]}),
        json!([
            {"x": [1, 2], "y": [[1]]},
            {"x": [3], "y": [[]]},
            {"x": [], "y": [[], [2, 3]]},
        ]),
    );
}

#[test]
fn q12_a_lifted_scalar_cannot_be_a_level_deeper() {
    let steps = json!([step(
        "m",
        "CastMix",
        json!({"ref": "$inputs.b", "items": "$inputs.p"})
    )]);
    let error = assert_error(
        run(&workflow(&["b", "p"], steps, &[]), &json!({})),
        ErrorClass::StepInputDimensionality,
        "denoting_step_inputs_dimensionality",
    );
    assert_eq!(error.blocks[0].property_name.as_deref(), Some("items"));
}

#[test]
fn q13_references_that_go_nowhere_are_the_clients_mistake() {
    let nested = workflow(&["a"], json!([echo("e", "$inputs.a.b")]), &[]);
    let bare = workflow(
        &["b"],
        json!([echo("e", "$inputs.b")]),
        &[("x", "$steps.e")],
    );
    let of_output = workflow(&["b"], json!([]), &[("x", "$inputs.b.c")]);
    let text = workflow(&["b"], json!([]), &[("x", "just text")]);
    let dotted = workflow(&["b"], json!([echo("e.f", "$inputs.b")]), &[]);
    for definition in [nested, bare, of_output, text, dotted] {
        let error = assert_error(
            run(&definition, &json!({})),
            ErrorClass::InvalidReferenceTarget,
            "execution_graph_construction",
        );
        assert_eq!(error.status(), 400);
        assert_eq!(error.blocks.len(), 1);
    }
}

#[test]
fn q15_an_output_is_no_target() {
    let steps = json!([
        step(
            "c",
            "Cond",
            json!({"value": "$inputs.b", "next_steps": ["$steps.e.o"]})
        ),
        echo("e", "$inputs.b"),
    ]);
    let error = assert_error(
        run(&workflow(&["b"], steps, &[]), &json!({})),
        ErrorClass::ReferenceType,
        "execution_graph_construction",
    );
    assert_eq!(error.status(), 400);
    assert_eq!(error.blocks[0].property_name.as_deref(), Some("next_steps"));
}
