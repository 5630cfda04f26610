//! What a block is handed and what it may return (engine specification 5.3, 5.7, 6.4).

use super::*;
use crate::blocks::testing::take_calls;

#[test]
fn an_empty_element_skips_a_step_for_that_element_only() {
    let steps = json!([
        step("m", "Pair", json!({"a": "$inputs.b", "b": "$inputs.b2"})),
        echo("e", "$steps.m.o"),
        step("d", "BatchDesc", json!({"v": "$inputs.b", "w": "lit"})),
    ]);
    let outputs = [
        ("m", "$steps.m.o"),
        ("e", "$steps.e.o"),
        ("d", "$steps.d.o"),
    ];
    let pairs = workflow(&["b", "b2"], steps, &outputs);
    assert_outputs(
        &pairs,
        json!({"b": [1, null, 3], "b2": [null, 5, 6]}),
        json!([
            {"m": null, "e": null, "d": [[0], 1, 2]},
            {"m": null, "e": null, "d": null},
            {"m": [3, 6], "e": [3, 6], "d": [[2], 3, 2]},
        ]),
    );
}

#[test]
fn a_batch_block_is_not_called_when_nothing_remains() {
    // It returns one row whatever it gets, so a call with none would fail.
    let steps = json!([step("w", "WrongBatch", json!({"v": "$inputs.b"}))]);
    let skipped = workflow(&["b"], steps, &[("x", "$steps.w.o")]);
    assert_x(&skipped, json!({"b": [null, null]}), json!([null, null]));
}

#[test]
fn a_scalar_none_of_a_step_discards_what_follows() {
    let steps = json!([
        step("f", "Fail", json!({"v": null})),
        echo("e", "$steps.f.o"),
        step("m", "Pair", json!({"a": "$inputs.b", "b": "$steps.f.o"})),
        step("s", "Sink", json!({"v": "$steps.f.o"})),
        split("n", "$steps.f.o"),
        step(
            "k",
            "FirstNonEmpty",
            json!({"data": ["$steps.f.o"], "default": "kept"})
        ),
    ]);
    let outputs = [
        ("e", "$steps.e.*"),
        ("m", "$steps.m.o"),
        ("n", "$steps.n.o"),
        ("k", "$steps.k.o"),
    ];
    let after = workflow(&["b"], steps, &outputs);
    take_calls();
    assert_outputs(
        &after,
        json!({"b": [1, 2]}),
        json!([
            {"e": {"o": null}, "k": "kept", "m": null, "n": []},
            {"e": {"o": null}, "k": "kept", "m": null, "n": []},
        ]),
    );
    assert!(take_calls().is_empty());
}

#[test]
fn a_none_parameter_or_literal_discards_nothing() {
    let steps = json!([
        echo("e", "$inputs.p"),
        step("m", "Pair", json!({"a": "$inputs.b", "b": "$inputs.p"})),
        step("n", "Pair", json!({"a": "$inputs.b", "b": null})),
    ]);
    let outputs = [
        ("e", "$steps.e.*"),
        ("m", "$steps.m.o"),
        ("n", "$steps.n.o"),
    ];
    let nulls = workflow(&["b", "p"], steps, &outputs);
    assert_outputs(
        &nulls,
        json!({"b": [1]}),
        json!([{"e": {"o": null}, "m": [1, null], "n": [1, null]}]),
    );
}

#[test]
fn lifted_scalars_are_repeated_for_every_element() {
    let steps = json!([
        step(
            "v",
            "BatchList",
            json!({"all": ["$inputs.b", "$inputs.p", "lit", null]})
        ),
        step("n", "BatchList", json!({"all": ["$inputs.p", null]})),
    ]);
    let lifted = workflow(
        &["b", "p"],
        steps,
        &[("v", "$steps.v.o"), ("n", "$steps.n.o")],
    );
    // A literal null is not lifted: the block sees it as a scalar, which it shows in a list.
    assert_outputs(
        &lifted,
        json!({"b": [1, 2], "p": 7}),
        json!([
            {"n": [7, [null]], "v": [1, 7, "lit", [null]]},
            {"n": [7, [null]], "v": [2, 7, "lit", [null]]},
        ]),
    );
    // A null from an input is lifted: all elements are empty.
    assert_outputs(
        &lifted,
        json!({"b": [1, 2], "p": null}),
        json!([{"n": null, "v": null}, {"n": null, "v": null}]),
    );
}

#[test]
fn collapse_of_a_scalar_is_a_list_of_one() {
    let steps = json!([
        echo("e", "$inputs.p"),
        collapse("c", "$steps.e.o"),
        collapse("d", "$inputs.p")
    ]);
    let lifted = workflow(
        &["p"],
        steps,
        &[("c", "$steps.c.output"), ("d", "$steps.d.output")],
    );
    assert_outputs(&lifted, json!({"p": 5}), json!([{"c": [5], "d": [5]}]));
    assert_outputs(&lifted, json!({"p": null}), json!([{"c": null, "d": null}]));
}

#[test]
fn a_group_keeps_what_is_left_of_it() {
    let steps = json!([
        split("s", "$inputs.b"),
        collapse("c", "$steps.s.o"),
        step(
            "m",
            "BatchMix",
            json!({"ref": "$inputs.b", "items": "$steps.s.o"})
        ),
    ]);
    let groups = workflow(
        &["b"],
        steps,
        &[("c", "$steps.c.output"), ("m", "$steps.m.o")],
    );
    assert_outputs(
        &groups,
        json!({"b": [[1, null], [null], [], null]}),
        json!([
            {"c": [1], "m": [[1, null], [1]]},
            {"c": [], "m": [[null], []]},
            {"c": null, "m": null},
            {"c": null, "m": null},
        ]),
    );
}

#[test]
fn batch_blocks_may_make_levels() {
    let steps = json!([
        step("s", "BatchSplit", json!({"v": "$inputs.b"})),
        step("t", "BatchSplit", json!({"v": "$steps.s.o"})),
    ]);
    let split = workflow(&["b"], steps, &[("s", "$steps.s.o"), ("t", "$steps.t.o")]);
    assert_outputs(
        &split,
        json!({"b": [[[1], [2, 3]], null, [[]]]}),
        json!([
            {"s": [[1], [2, 3]], "t": [[1], [2, 3]]},
            {"s": [], "t": [[]]},
            {"s": [[]], "t": [[]]},
        ]),
    );
    // All fields lifted: the artificial level does not show.
    let steps = json!([
        step("s", "BatchSplit", json!({"v": "$inputs.p"})),
        echo("e", "$steps.s.o")
    ]);
    let scalar = workflow(&["p"], steps, &[("x", "$steps.e.o")]);
    assert_x(&scalar, json!({"p": [1, 2]}), json!([[1, 2]]));
    assert_x(&scalar, json!({"p": null}), json!([[]]));
}

#[test]
fn mixed_fields_take_batches_and_scalars() {
    let steps = json!([
        step("bb", "Mixed", json!({"m": "$inputs.b", "v": "$inputs.b2"})),
        step("bs", "Mixed", json!({"m": "$inputs.p", "v": "$inputs.b2"})),
        step("bl", "Mixed", json!({"m": "lit", "v": "$inputs.b2"})),
        step("b", "Mixed", json!({"m": "$inputs.b"})),
        step("s", "Mixed", json!({"m": "$inputs.p"})),
        step("l", "Mixed", json!({"m": "lit"})),
    ]);
    let outputs = ["bb", "bs", "bl", "b", "s", "l"].map(|s| (s, format!("$steps.{s}.o")));
    let outputs: Vec<(&str, &str)> = outputs.iter().map(|(n, s)| (*n, &**s)).collect();
    let mixed = workflow(&["b", "b2", "p"], steps, &outputs);
    assert_outputs(
        &mixed,
        json!({"b": [1, 2], "b2": [7, 8], "p": "p"}),
        json!([
            {"s": "p", "l": "lit", "bb": [7, "batch", 1], "bs": [7, "p"], "bl": [7, "lit"], "b": 1},
            {"s": "p", "l": "lit", "bb": [8, "batch", 2], "bs": [8, "p"], "bl": [8, "lit"], "b": 2},
        ]),
    );
}

#[test]
fn a_batch_in_a_scalar_field_of_a_batch_block_is_refused() {
    let steps = json!([step(
        "d",
        "BatchDesc",
        json!({"v": "$inputs.b", "w": "$inputs.b2"})
    )]);
    let error = assert_error(
        run(&workflow(&["b", "b2"], steps, &[]), &json!({})),
        ErrorClass::ExecutionGraphStructure,
        "execution_graph_construction",
    );
    assert_eq!(error.blocks[0].property_name.as_deref(), Some("w"));
    // A plain block takes batches anywhere: the engine goes through the elements.
    let steps = json!([step(
        "d",
        "Pair",
        json!({"a": "$inputs.p", "b": "$inputs.b"})
    )]);
    let plain = workflow(&["b", "p"], steps, &[("x", "$steps.d.o")]);
    assert_x(
        &plain,
        json!({"b": [1, 2], "p": 0}),
        json!([[0, 1], [0, 2]]),
    );
}

#[test]
fn references_in_lists_and_objects_are_followed_one_level_deep() {
    let steps = json!([
        step(
            "l",
            "Gather",
            json!({"all": ["$inputs.b", "lit", ["$inputs.b"], "$inputs.p"]})
        ),
        step(
            "m",
            "Gather",
            json!({"all": {"k": "$inputs.b", "$inputs.b": 1, "deep": {"d": "$inputs.b"}}})
        ),
        step("n", "Gather", json!({"all": ["no", "reference"]})),
    ]);
    let gathered = workflow(
        &["b", "p"],
        steps,
        &[
            ("l", "$steps.l.o"),
            ("m", "$steps.m.o"),
            ("n", "$steps.n.o"),
        ],
    );
    assert_outputs(
        &gathered,
        json!({"b": 1, "p": 2}),
        json!([{
            "n": ["no", "reference"],
            "l": [1, "lit", ["$inputs.b"], 2],
            "m": {"k": 1, "$inputs.b": 1, "deep": {"d": "$inputs.b"}},
        }]),
    );
}

#[test]
fn steps_without_inputs_run_once() {
    let steps = json!([step("n", "Bare", json!({}))]);
    let bare = workflow(&["b"], steps, &[("n", "$steps.n.o"), ("b", "$inputs.b")]);
    take_calls();
    assert_outputs(
        &bare,
        json!({"b": [1, 2]}),
        json!([{"n": "ran", "b": 1}, {"n": "ran", "b": 2}]),
    );
    assert_eq!(take_calls().len(), 1);
}

#[test]
fn a_batch_of_empty_elements_collapses_to_nothing() {
    let steps = json!([
        split("s", "$inputs.b"),
        collapse("one", "$steps.s.o"),
        collapse("two", "$steps.one.output"),
        collapse("all", "$inputs.b"),
    ]);
    let outputs = [
        ("two", "$steps.two.output"),
        ("all", "$steps.all.output"),
        ("one", "$steps.one.output"),
    ];
    let collapsed = workflow(&["b"], steps, &outputs);
    let input = json!({"b": [[]]});
    assert_outputs(
        &collapsed,
        input,
        json!([{"two": null, "all": [[]], "one": null}]),
    );
    let input = json!({"b": [[null]]});
    assert_outputs(
        &collapsed,
        input,
        json!([{"two": [[]], "all": [[null]], "one": []}]),
    );
    let input = json!({"b": [null]});
    assert_outputs(
        &collapsed,
        input,
        json!([{"two": null, "all": null, "one": null}]),
    );
}
