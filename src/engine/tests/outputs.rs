//! The shape of results (engine specification, section 8).

use super::*;

#[test]
fn lists_are_as_long_as_their_largest_index() {
    // The existing elements decide: trailing empty groups vanish, those between others stay.
    let steps = json!([
        split("s", "$inputs.b"),
        split("t", "$steps.s.o"),
        split("u", "$steps.t.o")
    ]);
    let nested = workflow(&["b"], steps, &[("x", "$steps.t.o"), ("y", "$steps.u.o")]);
    assert_outputs(
        &nested,
        json!({"b": [[[[1], [2]], []], [[[3]]], [], [[], [[4]]], [[], []]]}),
        json!([
            {"x": [[[1], [2]]], "y": [[[1], [2]]]},
            {"x": [[[3]]], "y": [[[3]]]},
            {"x": [[]], "y": [[[]]]},
            {"x": [[], [[4]]], "y": [[[]], [[4]]]},
            {"x": [[]], "y": [[[]]]},
        ]),
    );
}

#[test]
fn elements_without_a_value_are_null_or_empty_lists_by_depth() {
    let steps = json!([
        echo("d1", "$inputs.b"),
        split("d2", "$steps.d1.o"),
        split("d3", "$steps.d2.o"),
        split("d4", "$steps.d3.o"),
    ]);
    let outputs = ["d1", "d2", "d3", "d4"].map(|s| (s, format!("$steps.{s}.o")));
    let outputs: Vec<(&str, &str)> = outputs.iter().map(|(n, s)| (*n, &**s)).collect();
    let empty = workflow(&["b"], steps, &outputs);
    assert_outputs(
        &empty,
        json!({"b": [null]}),
        json!([{"d1": null, "d2": [], "d3": [[]], "d4": [[[]]]}]),
    );
}

#[test]
fn elements_that_were_filtered_away_are_null() {
    let steps = json!([
        split("s", "$inputs.b"),
        cond("c", "$steps.s.o", ">", 2, &["e"]),
        echo("e", "$steps.s.o"),
    ]);
    let filtered = workflow(&["b"], steps, &[("x", "$steps.e.o")]);
    let input = json!({"b": [[1, 5], [1], []]});
    assert_x(&filtered, input, json!([[null, 5], [null], []]));
}

#[test]
fn keys_are_scalars_then_batches_then_made_elements() {
    let steps = json!([
        split("made", "$inputs.p"),
        split("made2", "$inputs.p"),
        echo("e", "$inputs.b"),
        echo("s", "$inputs.p"),
        step("n", "Bare", json!({})),
    ]);
    let outputs = [
        ("g1", "$steps.made.o"),
        ("z", "$steps.e.o"),
        ("s2", "$steps.n.o"),
        ("g2", "$steps.made2.*"),
        ("b", "$inputs.b"),
        ("s1", "$steps.s.o"),
    ];
    let all = workflow(&["b", "p"], steps.clone(), &outputs);
    assert_outputs(
        &all,
        json!({"b": [1, 2], "p": ["k"]}),
        json!([
            {"s2": "ran", "s1": ["k"], "z": 1, "b": 1, "g1": ["k"], "g2": [{"o": "k"}]},
            {"s2": "ran", "s1": ["k"], "z": 2, "b": 2, "g1": ["k"], "g2": [{"o": "k"}]},
        ]),
    );
    // Without outputs of batches there is one object, whatever the batch size.
    let made = workflow(&["b", "p"], steps.clone(), &[("x", "$steps.made.o")]);
    assert_x(&made, json!({"b": [1, 2], "p": [3]}), json!([[3]]));
    let scalar = workflow(&["b", "p"], steps, &[("x", "$steps.n.o")]);
    assert_x(&scalar, json!({"b": [1, 2], "p": [3]}), json!(["ran"]));
}

#[test]
fn all_outputs_of_nested_and_skipped_steps() {
    let steps = json!([
        step("t", "Typed", json!({"int": 7})),
        split("s", "$inputs.b"),
        echo("e", "$steps.s.o"),
        cond("c", "$steps.s.o", ">", 1, &["e"]),
    ]);
    let outputs = [
        ("e", "$steps.e.*"),
        ("c", "$steps.c.*"),
        ("t", "$steps.t.*"),
    ];
    let nested = workflow(&["b"], steps, &outputs);
    assert_outputs(
        &nested,
        json!({"b": [[1, 2], []]}),
        json!([
            {"t": {"o": [7, 0.5, false], "n": 7}, "e": [{"o": null}, {"o": 2}], "c": [{}, {}]},
            {"t": {"o": [7, 0.5, false], "n": 7}, "e": [], "c": []},
        ]),
    );
}

#[test]
fn one_step_may_be_shown_several_times() {
    let steps = json!([echo("e", "$inputs.b")]);
    let twice = workflow(
        &["b"],
        steps,
        &[
            ("x", "$steps.e.o"),
            ("y", "$steps.e.o"),
            ("z", "$steps.e.*"),
        ],
    );
    assert_outputs(
        &twice,
        json!({"b": 1}),
        json!([{"x": 1, "y": 1, "z": {"o": 1}}]),
    );
}

#[test]
fn outputs_show_what_has_any_name() {
    let expected = json!({"raw_json": "$inputs.p", "expected_fields": ["a b", "é"]});
    let steps = json!([
        step("my step", "roboflow_core/json_parser@v1", expected),
        echo("e", "$inputs.p"),
    ]);
    let mut odd = workflow(
        &["p"],
        steps,
        &[
            ("x", "$steps.my step.a b"),
            ("y", "$steps.my step.é"),
            ("z", "$inputs.other one"),
        ],
    );
    let other = json!({"type": "WorkflowParameter", "name": "other one"});
    odd["inputs"].as_array_mut().unwrap().push(other);
    let input = json!({"p": r#"{"a b": 1, "é": 2}"#, "other one": 3});
    assert_outputs(&odd, input, json!([{"x": 1, "y": 2, "z": 3}]));
}
