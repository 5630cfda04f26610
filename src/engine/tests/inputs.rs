//! Run-time inputs: replication, sizes, nesting and identifiers (engine specification 1.2).

use super::*;
use crate::values::{Image, Matrix, Value};

fn pixels() -> Image {
    Image::new(Matrix::filled(2, 2, &[0, 0, 0]), "from-outside".into())
}

#[test]
fn single_values_and_lists_of_one_are_repeated() {
    let both = workflow(
        &["b", "b2"],
        json!([]),
        &[("x", "$inputs.b"), ("y", "$inputs.b2")],
    );
    for (b, b2) in [(json!(7), json!([1, 2])), (json!([7]), json!([1, 2]))] {
        let input = json!({"b": b, "b2": b2});
        assert_outputs(&both, input, json!([{"x": 7, "y": 1}, {"x": 7, "y": 2}]));
    }
    let input = json!({"b": [null], "b2": [1, 2]});
    assert_outputs(
        &both,
        input,
        json!([{"x": null, "y": 1}, {"x": null, "y": 2}]),
    );
    assert_outputs(&both, json!({"b": 7, "b2": [1]}), json!([{"x": 7, "y": 1}]));
}

#[test]
fn nested_lists_of_one_are_repeated() {
    let steps = json!([echo("e", "$inputs.bb"), collapse("c", "$inputs.bb")]);
    let outputs = [
        ("x", "$steps.e.o"),
        ("c", "$steps.c.output"),
        ("y", "$inputs.b"),
    ];
    let nested = workflow(&["bb", "b"], steps, &outputs);
    assert_outputs(
        &nested,
        json!({"bb": [[1, null, 3]], "b": ["m", "n"]}),
        json!([
            {"x": [1, null, 3], "c": [1, 3], "y": "m"},
            {"x": [1, null, 3], "c": [1, 3], "y": "n"},
        ]),
    );
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let both = workflow(&["b", "b2"], json!([]), &[]);
    for (b, b2) in [
        (json!([1, 2, 3]), json!([1, 2])),
        (json!([1, 2]), json!([1, 2, 3])),
        (json!([1, 2]), json!([])),
        (json!([]), json!([1, 2])),
        (json!([]), json!([])),
        (json!([]), json!(1)),
    ] {
        let result = run(&both, &json!({"b": b, "b2": b2}));
        assert_error(result, ErrorClass::RuntimeInput, "runtime_input_validation");
    }
}

#[test]
fn batches_are_mandatory_parameters_are_not() {
    let mut some = workflow(
        &["b", "image", "p", "p2"],
        json!([]),
        &[("p", "$inputs.p"), ("q", "$inputs.p2")],
    );
    for inputs in [
        json!({}),
        json!({"b": 1}),
        json!({"b": null, "image": null}),
    ] {
        let error = run(&some, &inputs).unwrap_err();
        assert_eq!(error.class, ErrorClass::RuntimeInput);
        assert!(error.message.contains("is not provided"), "{error}");
    }
    some = workflow(
        &["p", "p2"],
        json!([]),
        &[("p", "$inputs.p"), ("q", "$inputs.p2")],
    );
    some["inputs"][0]["default_value"] = json!([1, {"a": 2.5}]);
    some["inputs"][1]["default_value"] = json!("5");
    assert_outputs(&some, json!({}), json!([{"p": [1, {"a": 2.5}], "q": "5"}]));
    // An explicit null is no reason to take the default; what is not declared is ignored.
    let input = json!({"p": null, "p2": 3, "other": 1});
    assert_outputs(&some, input, json!([{"p": null, "q": 3}]));
}

#[test]
fn data_must_be_nested_as_declared() {
    let nested = workflow(&["bbb"], json!([]), &[("x", "$inputs.bbb")]);
    // Recorded: what is no list at all has another class.
    let error = run(&nested, &json!({"bbb": 1})).unwrap_err();
    assert_eq!(error.class, ErrorClass::Assumption);
    let mut numbers = nested.clone();
    numbers["inputs"][0]["kind"] = json!(["integer"]);
    let result = run(&numbers, &json!({"bbb": "x"}));
    assert_error(result, ErrorClass::RuntimeInput, "runtime_input_validation");
    for refused in [
        json!([1, 2]),
        json!([[1], [2]]),
        json!([[[1]], [2]]),
        json!([[[1]], null]),
    ] {
        let result = run(&nested, &json!({"bbb": refused}));
        assert_error(result, ErrorClass::RuntimeInput, "runtime_input_validation");
    }
    let input = json!({"bbb": [[[1], []], [[[2]]], []]});
    assert_x(&nested, input, json!([[[1]], [[[2]]], [[]]]));
}

#[test]
fn nested_inputs_are_related_at_the_top_only() {
    let pair = |a: &str, b: &str| {
        let steps = json!([step("m", "Pair", json!({"a": a, "b": b}))]);
        workflow(&["b", "bb", "bb2"], steps, &[])
    };
    let inputs = json!({"b": 1, "bb": [[1]], "bb2": [[1]]});
    assert!(run(&pair("$inputs.bb", "$inputs.bb"), &inputs).is_ok());
    let siblings = run(&pair("$inputs.bb", "$inputs.bb2"), &inputs);
    assert_error(
        siblings,
        ErrorClass::StepInputLineage,
        "collecting_step_inputs_lineage",
    );
    let mix = json!([step(
        "m",
        "Mix",
        json!({"ref": "$inputs.b", "items": "$inputs.bb"})
    )]);
    let related = workflow(&["b", "bb"], mix, &[("x", "$steps.m.o")]);
    let inputs = json!({"b": [1, 2], "bb": [[3], [4, 5]]});
    assert_x(&related, inputs, json!([[1, [3]], [2, [4, 5]]]));
}

#[test]
fn identifiers_tell_where_in_the_input_a_value_stood() {
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC";
    let steps = json!([step("s", "Stream", json!({"v": "$inputs.image"}))]);
    let named = workflow(&["image", "b"], steps, &[("x", "$steps.s.o")]);
    let image = json!({"type": "base64", "value": png});
    for (images, wanted) in [
        (json!(image), json!(["image"])),
        (json!([image]), json!(["image.[0]"])),
        (json!([image, image]), json!(["image.[0]", "image.[1]"])),
    ] {
        assert_x(&named, json!({"image": images, "b": 1}), wanted);
    }
    let input = json!({"image": image, "b": [1, 2]});
    assert_x(&named, input, json!(["image", "image"]));
    let input = json!({"image": [image], "b": [1, 2]});
    assert_x(&named, input, json!(["image.[0]", "image.[0]"]));
    let error = run(&named, &json!({"image": [image, {"value": 5}], "b": 1})).unwrap_err();
    assert!(error.message.contains("image.[1]"), "{error}");
}

#[test]
fn values_of_the_host_are_taken_as_they_are() {
    let steps = json!([step("s", "Stream", json!({"v": "$inputs.image"}))]);
    let mut engine = engine(&workflow(&["image"], steps, &[("x", "$steps.s.o")])).unwrap();
    let frame = RuntimeInput::Value(Value::Image(pixels()));
    let inputs = RuntimeInputs::from_iter([("image".to_owned(), frame)]);
    let options = OutputOptions::new(Timestamp::from_unix_micros(0));
    let objects = engine.run(&inputs, &options).unwrap();
    assert_eq!(json!(objects), json!([{"x": "from-outside"}]));
}

#[test]
fn depth_of_an_input_is_bounded() {
    for (depth, accepted) in [(-1, false), (0, false), (1, true), (64, true), (65, false)] {
        let definition = json!({
            "version": "1.0", "steps": [], "outputs": [],
            "inputs": [{"type": "WorkflowBatchInput", "name": "b", "dimensionality": depth}],
        });
        match engine(&definition) {
            Ok(_) => assert!(accepted, "{depth}"),
            Err(error) => {
                assert!(!accepted, "{depth}");
                assert_eq!(error.class, ErrorClass::ExecutionGraphStructure);
            }
        }
    }
}
