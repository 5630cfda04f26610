//! Run-time validation of parameters (engine specification 7.2; decision Q11).

use super::*;

/// One `Typed` step fed by parameters; `x` shows what it got.
fn typed(fields: Json) -> Json {
    let steps = json!([step("t", "Typed", fields), echo("e", "$inputs.p")]);
    let mut definition = workflow(&["p", "p2"], steps, &[("x", "$steps.e.o")]);
    definition["inputs"][0]["default_value"] = json!(1);
    definition["inputs"][1]["default_value"] = json!("a");
    definition
}

/// The engine's word on a value of `p` for a field.
fn check(field: &str, value: &Json) -> Result<(), WorkflowError> {
    let mut engine = engine(&typed(json!({field: "$inputs.p"})))?;
    let mut assembler = engine.assembler.clone();
    engine.stages.clear();
    assembler
        .assemble(&runtime_inputs(&json!({"p": value})))
        .map(|_| ())
}

#[test]
fn a_value_must_suit_the_field_as_if_it_stood_there() {
    for (field, value) in [
        ("int", json!(5)),
        ("int", json!("5")),
        ("int", json!(true)),
        ("int", json!(5.0)),
        ("float", json!(0)),
        ("float", json!("0.5")),
        ("float", json!("$inputs.other")),
        ("flag", json!("yes")),
        ("flag", json!(0)),
        ("choice", json!("b")),
        ("choice", json!("$steps.any.thing")),
        ("text", json!("")),
    ] {
        assert_eq!(check(field, &value), Ok(()), "{field} {value}");
    }
    for (field, value) in [
        ("int", json!(5.5)),
        ("int", json!(101)),
        ("int", json!(-1)),
        ("int", json!("five")),
        ("int", json!(null)),
        ("int", json!([5])),
        ("float", json!(1.5)),
        ("float", json!("2")),
        ("float", json!({"x": 1})),
        ("flag", json!(2)),
        ("choice", json!("c")),
        ("text", json!(7)),
        ("text", json!(null)),
    ] {
        let error = check(field, &value).unwrap_err();
        assert_eq!(error.class, ErrorClass::RuntimeInput, "{field} {value}");
        assert_eq!(
            error.context,
            "workflow_execution | runtime_input_validation"
        );
        assert_eq!(error.inner.as_ref().unwrap().0, "ValidationError");
        for named in ["`p`", "`t`", field] {
            assert!(error.message.contains(named), "{error}");
        }
    }
}

#[test]
fn defaults_are_checked_too_and_checks_see_the_whole_step() {
    let mut wrong_default = typed(json!({"int": "$inputs.p"}));
    wrong_default["inputs"][0]["default_value"] = json!("many");
    let error = run(&wrong_default, &json!({})).unwrap_err();
    assert_eq!(error.class, ErrorClass::RuntimeInput);

    let together = typed(json!({"int": "$inputs.p", "choice": "b"}));
    let error = run(&together, &json!({"p": 13})).unwrap_err();
    assert!(error.message.contains("13 and b"), "{error}");
    assert_eq!(error.class, ErrorClass::RuntimeInput);
}

#[test]
fn each_run_is_checked_anew() {
    let mut engine = engine(&workflow(
        &["p"],
        json!([
            step("d", "Pair", json!({"a": "$inputs.p"})),
            step("t", "Refuse", json!({"how": "$inputs.p"}))
        ]),
        &[],
    ))
    .unwrap();
    for _ in 0..2 {
        assert_eq!(
            run_again(&mut engine, &json!({"p": "client"}))
                .unwrap_err()
                .status(),
            404
        );
        assert_eq!(
            run_again(&mut engine, &json!({"p": "input"}))
                .unwrap_err()
                .status(),
            400
        );
    }
    let mut assembler = super::super::Engine::into_stages(
        super::engine(&typed(json!({"int": "$inputs.p"}))).unwrap(),
    )
    .0;
    for (value, accepted) in [(1, true), (1, true), (200, false), (200, false), (2, true)] {
        let result = assembler.assemble(&runtime_inputs(&json!({"p": value})));
        assert_eq!(result.is_ok(), accepted, "{value}");
    }
}

#[test]
fn blocks_get_values_as_they_came() {
    // The value is checked as a number but stays the text that it is (Q11); flags become flags.
    let steps = json!([
        step(
            "t",
            "Typed",
            json!({"int": "$inputs.p", "float": "$inputs.p2", "flag": "$inputs.p3"})
        ),
        step("s", "Sink", json!({"v": "$inputs.p"})),
    ]);
    let definition = workflow(&["p", "p2", "p3"], steps, &[]);
    let mut engine = engine(&definition).unwrap();
    let inputs = runtime_inputs(&json!({"p": "5", "p2": 1, "p3": "no"}));
    let run = engine.assembler.assemble(&inputs).unwrap();
    assert_eq!(run.overrides.len(), 1);
    assert_eq!(run.overrides[&(0, 2)].as_bool(), Some(false));
    let unchanged = runtime_inputs(&json!({"p": 5, "p2": 1, "p3": true}));
    assert!(
        engine
            .assembler
            .assemble(&unchanged)
            .unwrap()
            .overrides
            .is_empty()
    );
}

#[test]
fn fields_that_take_references_only_take_any_parameter() {
    let steps = json!([
        collapse("c", "$inputs.p"),
        step(
            "f",
            "FirstNonEmpty",
            json!({"data": ["$inputs.p"], "default": "$inputs.p2"})
        ),
    ]);
    let passed = workflow(
        &["p", "p2"],
        steps,
        &[("c", "$steps.c.output"), ("f", "$steps.f.o")],
    );
    assert_outputs(
        &passed,
        json!({"p": 5, "p2": 6}),
        json!([{"c": [5], "f": 5}]),
    );
    assert_outputs(&passed, json!({"p2": 6}), json!([{"c": null, "f": 6}]));
}
