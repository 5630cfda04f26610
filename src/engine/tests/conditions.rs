//! Flow control beyond the small cases (engine specification, section 6).

use super::*;
use crate::blocks::testing::take_calls;

#[test]
fn a_scalar_condition_gates_everything_or_nothing() {
    let steps = json!([
        cond("c", "$inputs.p", ">", 1, &["e", "d", "s"]),
        echo("e", "$inputs.b"),
        step("d", "BatchDesc", json!({"v": "$inputs.b"})),
        split("s", "$inputs.b"),
        echo("f", "$steps.e.o"),
    ]);
    let outputs = [
        ("e", "$steps.e.o"),
        ("d", "$steps.d.o"),
        ("s", "$steps.s.o"),
        ("f", "$steps.f.o"),
    ];
    let gated = workflow(&["b", "p"], steps, &outputs);
    assert_outputs(
        &gated,
        json!({"b": [[1]], "p": 0}),
        json!([{"e": null, "d": null, "s": [], "f": null}]),
    );
    assert_outputs(
        &gated,
        json!({"b": [[1]], "p": 2}),
        json!([{"e": [1], "d": [[0], [1], 1], "s": [1], "f": [1]}]),
    );
}

#[test]
fn a_condition_that_did_not_run_is_closed() {
    // The first is closed; the second never runs and keeps its target closed too.
    let steps = json!([
        cond("c", "$inputs.p", ">", 1, &["d"]),
        cond("d", "$inputs.p", "<", 9, &["e"]),
        echo("e", "$inputs.b"),
        step("f", "Fail", json!({"v": null})),
        cond("g", "$steps.f.o", "not empty", 0, &["h"]),
        echo("h", "$inputs.b"),
    ]);
    let gated = workflow(
        &["b", "p"],
        steps,
        &[("e", "$steps.e.o"), ("h", "$steps.h.o")],
    );
    let input = json!({"b": [1], "p": 0});
    assert_outputs(&gated, input, json!([{"e": null, "h": null}]));
}

#[test]
fn a_none_parameter_reaches_a_condition() {
    let steps = json!([
        step(
            "w",
            "Switch",
            json!({"value": "$inputs.p", "cases": {"None": "$steps.e"}, "default": ["$steps.f"]})
        ),
        echo("e", "$inputs.b"),
        echo("f", "$inputs.b"),
    ]);
    let routed = workflow(
        &["b", "p"],
        steps,
        &[("e", "$steps.e.o"), ("f", "$steps.f.o")],
    );
    assert_outputs(&routed, json!({"b": 1}), json!([{"e": 1, "f": null}]));
    assert_outputs(
        &routed,
        json!({"b": 1, "p": true}),
        json!([{"e": null, "f": 1}]),
    );
}

#[test]
fn conditions_on_two_levels_combine() {
    let steps = json!([
        split("s", "$inputs.b"),
        cond("c", "$inputs.b2", ">", 1, &["e"]),
        cond("d", "$steps.s.o", ">", 3, &["e"]),
        echo("e", "$steps.s.o"),
    ]);
    let gated = workflow(&["b", "b2"], steps, &[("x", "$steps.e.o")]);
    assert_x(
        &gated,
        json!({"b": [[1, 5], [2, 6], []], "b2": [1, 2, 3]}),
        json!([[null, null], [null, 6], []]),
    );
}

#[test]
fn a_gated_scalar_step_goes_as_deep_as_its_conditions() {
    let steps = json!([
        split("s", "$inputs.b"),
        cond("c", "$inputs.b2", ">", 1, &["k"]),
        cond("d", "$steps.s.o", ">", 3, &["k"]),
        step("k", "Sink", json!({"v": "$inputs.p"})),
        step("n", "Bare", json!({})),
        cond("f", "$steps.s.o", ">", 5, &["n"]),
    ]);
    let gated = workflow(
        &["b", "b2", "p"],
        steps,
        &[("k", "$steps.k.*"), ("n", "$steps.n.o")],
    );
    take_calls();
    assert_outputs(
        &gated,
        json!({"b": [[1, 5], [2, 6, 7]], "b2": [1, 2], "p": "hit"}),
        json!([
            {"k": [{}, {}], "n": [null, null]},
            {"k": [{}, {}, {}], "n": [null, "ran", "ran"]},
        ]),
    );
    let calls = take_calls();
    assert_eq!(calls.iter().filter(|(name, _)| name == "k").count(), 2);
    assert_eq!(calls.iter().filter(|(name, _)| name == "n").count(), 2);
}

#[test]
fn a_condition_before_a_new_level() {
    let steps = json!([
        cond("c", "$inputs.b2", ">", 1, &["s", "t"]),
        split("s", "$inputs.b"),
        step("t", "BatchSplit", json!({"v": "$inputs.b"})),
        collapse("l", "$steps.s.o"),
    ]);
    let outputs = [
        ("s", "$steps.s.o"),
        ("t", "$steps.t.o"),
        ("l", "$steps.l.output"),
    ];
    let gated = workflow(&["b", "b2"], steps, &outputs);
    assert_outputs(
        &gated,
        json!({"b": [[1], [2, 3]], "b2": [1, 2]}),
        json!([{"s": [], "t": [], "l": null}, {"s": [2, 3], "t": [2, 3], "l": [2, 3]}]),
    );
}

#[test]
fn a_gated_collapse_gathers_what_is_selected() {
    let steps = json!([
        cond("c", "$inputs.b", ">", 1, &["l"]),
        collapse("l", "$inputs.b")
    ]);
    let gated = workflow(&["b"], steps, &[("x", "$steps.l.output")]);
    assert_x(&gated, json!({"b": [1, 2, 3]}), json!([[2, 3]]));
    assert_x(&gated, json!({"b": [1, 0]}), json!([null]));
}

#[test]
fn the_targets_of_a_list_share_a_branch_those_of_an_object_do_not() {
    let steps = json!([
        step(
            "w",
            "Switch",
            json!({
                "value": "$inputs.p",
                "cases": {"a": "$steps.e1", "b": "$steps.e2"},
                "default": ["$steps.e3", "$steps.e4"],
            })
        ),
        echo("e1", 1),
        echo("e2", 2),
        echo("e3", 3),
        echo("e4", 4),
    ]);
    let outputs = ["e1", "e2", "e3", "e4"].map(|s| (s, format!("$steps.{s}.o")));
    let outputs: Vec<(&str, &str)> = outputs.iter().map(|(n, s)| (*n, &**s)).collect();
    let routed = workflow(&["p"], steps, &outputs);
    let objects = [
        ("b", json!([{"e1": null, "e2": 2, "e3": null, "e4": null}])),
        ("z", json!([{"e1": null, "e2": null, "e3": 3, "e4": 4}])),
    ];
    for (value, wanted) in objects {
        assert_outputs(&routed, json!({"p": value}), wanted);
    }
}

#[test]
fn conditions_that_do_not_fit_the_step_are_refused() {
    let sibling = json!([
        split("s", "$inputs.b"),
        split("t", "$inputs.b"),
        cond("c", "$steps.s.o", ">", 1, &["e"]),
        echo("e", "$steps.t.o"),
    ]);
    let unrelated = json!([
        split("s", "$inputs.b"),
        split("t", "$inputs.p"),
        cond("c", "$steps.s.o", ">", 1, &["e"]),
        cond("d", "$steps.t.o", ">", 1, &["e"]),
        echo("e", "lit"),
    ]);
    for steps in [sibling, unrelated] {
        assert_error(
            run(&workflow(&["b", "p"], steps, &[]), &json!({})),
            ErrorClass::ControlFlowDefinition,
            "verification_of_control_flow_lineage",
        );
    }
    let equally_deep = json!([
        split("s", "$inputs.b"),
        split("t", "$inputs.b"),
        cond("c", "$steps.s.o", ">", 1, &["e"]),
        cond("d", "$steps.t.o", ">", 1, &["e"]),
        echo("e", "lit"),
    ]);
    let error = run(&workflow(&["b"], equally_deep, &[]), &json!({})).unwrap_err();
    assert_eq!((error.class, error.status()), (ErrorClass::Assumption, 500));
}

#[test]
fn a_block_that_accepts_empty_elements_sees_masked_ones_as_such() {
    let first = step(
        "f",
        "FirstNonEmpty",
        json!({"data": ["$inputs.b"], "default": "none"}),
    );
    let on_elements = json!([cond("c", "$inputs.b", ">", 2, &["f"]), first]);
    let gated = workflow(&["b"], on_elements, &[("x", "$steps.f.o")]);
    assert_x(&gated, json!({"b": [1, 5]}), json!(["none", 5]));

    let on_scalar = json!([cond("c", "$inputs.p", ">", 2, &["f"]), first]);
    let gated = workflow(&["b", "p"], on_scalar, &[("x", "$steps.f.o")]);
    assert_x(
        &gated,
        json!({"b": [1, 5], "p": 1}),
        json!(["none", "none"]),
    );
    assert_x(&gated, json!({"b": [1, 5], "p": 3}), json!([1, 5]));

    // Without batches the step is discarded, or runs over the selected elements.
    let first = step(
        "f",
        "FirstNonEmpty",
        json!({"data": ["$inputs.p"], "default": "none"}),
    );
    let scalar = json!([cond("c", "$inputs.p", ">", 2, &["f"]), first]);
    let gated = workflow(&["p"], scalar, &[("x", "$steps.f.o")]);
    assert_x(&gated, json!({"p": 1}), json!([null]));
    let over_batch = json!([cond("c", "$inputs.b", ">", 2, &["f"]), first]);
    let gated = workflow(&["b", "p"], over_batch, &[("x", "$steps.f.o")]);
    assert_x(&gated, json!({"b": [1, 5], "p": 1}), json!([null, 1]));
}

#[test]
fn masked_groups_reach_a_block_that_accepts_empty_elements() {
    let steps = json!([
        split("s", "$inputs.b"),
        cond("c", "$inputs.b2", ">", 1, &["m"]),
        step(
            "m",
            "EmptyMix",
            json!({"ref": "$inputs.b2", "items": "$steps.s.o"})
        ),
    ]);
    let gated = workflow(&["b", "b2"], steps, &[("x", "$steps.m.o")]);
    assert_x(
        &gated,
        json!({"b": [[1, 2], [3, null], []], "b2": [1, 2, 3]}),
        json!([[null, [null, null]], [2, [3, null]], [3, null]]),
    );
}
