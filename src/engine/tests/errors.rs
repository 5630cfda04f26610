//! Errors as clients get them: status and JSON body (engine specification 4.7, 15.4).

use super::*;

/// The body without its message, which is ours to word; the details by field are cut likewise.
fn body(error: &WorkflowError) -> Json {
    let mut body = error.to_json();
    let message = body.as_object_mut().unwrap().remove("message").unwrap();
    assert!(message.as_str().is_some_and(|m| !m.is_empty()));
    let problems = body.get_mut("blocks_errors").and_then(Json::as_array_mut);
    for problem in problems.into_iter().flatten() {
        for key in ["block_details", "property_details"] {
            if problem[key].is_string() {
                problem[key] = json!("<text>");
            }
        }
    }
    body
}

fn fail(steps: Json, inputs: Json) -> WorkflowError {
    run(&workflow(&["b", "p"], steps, &[]), &inputs).unwrap_err()
}

#[test]
fn a_missing_step_is_body_a() {
    let error = fail(json!([echo("e", "$steps.q.o")]), json!({}));
    assert_eq!(error.status(), 400);
    assert!(
        error.blocks[0]
            .property_details
            .as_ref()
            .unwrap()
            .contains("$steps.q")
    );
    assert_eq!(
        body(&error),
        json!({
            "error_type": "InvalidReferenceTargetError",
            "context": "workflow_compilation | execution_graph_construction",
            "inner_error_type": "None",
            "inner_error_message": "None",
            "blocks_errors": [{
                "block_id": "e", "block_type": "Echo", "block_details": null,
                "property_name": "v", "property_details": "<text>", "block_traceback": null,
            }],
            "python_blocks_output_streams": null,
            "python_blocks_debug_traces": null,
        })
    );
}

#[test]
fn depths_that_do_not_fit_are_body_a() {
    let steps = json!([
        split("s", "$inputs.b"),
        step("m", "Pair", json!({"a": "$inputs.b", "b": "$steps.s.o"}))
    ]);
    let error = fail(steps, json!({}));
    assert_eq!(error.status(), 400);
    assert_eq!(
        body(&error),
        json!({
            "error_type": "StepInputDimensionalityError",
            "context": "workflow_compilation | execution_graph_construction | collecting_step_input_data",
            "inner_error_type": "None",
            "inner_error_message": "None",
            "blocks_errors": [{
                "block_id": "m", "block_type": "Pair", "block_details": "<text>",
                "property_name": null, "property_details": null, "block_traceback": null,
            }],
            "python_blocks_output_streams": null,
            "python_blocks_debug_traces": null,
        })
    );
}

#[test]
fn a_cycle_is_body_a_without_blocks() {
    let steps = json!([
        echo("e", "$steps.f.o"),
        echo("f", "$steps.e.o"),
        echo("g", "$steps.f.o")
    ]);
    let error = fail(steps, json!({}));
    let body = body(&error);
    assert_eq!(body["error_type"], "ExecutionGraphStructureError");
    assert_eq!(body["blocks_errors"], Json::Null);
    assert!(
        error.message.ends_with("e, f") || error.message.ends_with("f, e"),
        "{error}"
    );
}

#[test]
fn lineages_that_do_not_fit_are_body_f() {
    let steps = json!([
        split("s", "$inputs.b"),
        split("t", "$inputs.b"),
        step("m", "Pair", json!({"a": "$steps.s.o", "b": "$steps.t.o"})),
    ]);
    let error = fail(steps, json!({}));
    assert_eq!(error.status(), 500);
    assert_eq!(
        body(&error),
        json!({
            "error_type": "StepInputLineageError",
            "context": "workflow_compilation | execution_graph_construction | collecting_step_inputs_lineage",
            "inner_error_type": null,
            "inner_error_message": "None",
            "python_blocks_output_streams": null,
            "python_blocks_debug_traces": null,
        })
    );
}

#[test]
fn run_time_inputs_are_body_c() {
    let error = fail(json!([]), json!({"b": []}));
    assert_eq!(error.status(), 400);
    assert_eq!(
        body(&error),
        json!({
            "error_type": "RuntimeInputError",
            "context": "workflow_execution | runtime_input_validation",
            "inner_error_type": null,
            "inner_error_message": "None",
        })
    );
    let error = fail(
        json!([step("r", "Refuse", json!({"how": "input"}))]),
        json!({"b": 1}),
    );
    assert_eq!(
        (error.status(), body(&error)["error_type"].as_str()),
        (400, Some("RuntimeInputError"))
    );
}

#[test]
fn duplicated_names_are_body_c() {
    let twice = |section: &str| {
        let mut definition = workflow(
            &["b"],
            json!([echo("e", "$inputs.b")]),
            &[("x", "$steps.e.o")],
        );
        let again = definition[section][0].clone();
        definition[section].as_array_mut().unwrap().push(again);
        run(&definition, &json!({})).unwrap_err()
    };
    for section in ["inputs", "steps", "outputs"] {
        let error = twice(section);
        assert_eq!(error.status(), 400);
        assert_eq!(
            body(&error),
            json!({
                "error_type": "DuplicatedNameError",
                "context": "workflow_compilation | specification_validation",
                "inner_error_type": null,
                "inner_error_message": "None",
            })
        );
    }
}

#[test]
fn a_block_that_fails_is_body_e() {
    for (block, inner) in [("Fail", "no good: 7"), ("Panic", "as the test wants it")] {
        let error = fail(
            json!([step("f", block, json!({"v": "$inputs.b"}))]),
            json!({"b": 7}),
        );
        assert_eq!(error.status(), 500);
        let body = body(&error);
        assert_eq!(body["error_type"], "StepExecutionError");
        assert_eq!(body["context"], "workflow_execution | step_execution");
        assert!(
            body["inner_error_message"]
                .as_str()
                .unwrap()
                .contains(inner),
            "{body}"
        );
        let problem = &body["blocks_errors"][0];
        assert_eq!(
            (&problem["block_id"], &problem["block_type"]),
            (&json!("f"), &json!(block))
        );
        assert_eq!(problem["property_name"], Json::Null);
        assert!(problem["block_traceback"].is_object());
        assert_eq!(
            error.blocks[0].property_details.as_deref(),
            error.inner.as_ref().map(|i| &*i.1)
        );
    }
}

#[test]
fn the_clients_own_mistakes_keep_their_status() {
    let error = fail(
        json!([step("r", "Refuse", json!({"how": "client"}))]),
        json!({"b": 1}),
    );
    assert_eq!(error.status(), 404);
    assert_eq!(
        body(&error),
        json!({
            "error_type": "ClientCausedStepExecutionError",
            "context": "workflow_execution | step_execution",
            "inner_error_type": "None",
            "inner_error_message": "None",
            "blocks_errors": [{
                "block_id": "r", "block_type": null, "block_details": null,
                "property_name": null, "property_details": null, "block_traceback": null,
            }],
            "python_blocks_output_streams": null,
            "python_blocks_debug_traces": null,
        })
    );
    let error = fail(
        json!([step("r", "Refuse", json!({"how": "class"}))]),
        json!({"b": 1}),
    );
    let body = body(&error);
    assert_eq!(body["error_type"], "InvalidInputTypeError");
    assert_eq!(
        body["context"],
        "step_execution | roboflow_query_language_evaluation"
    );
    assert!(body.get("blocks_errors").is_none());
}

#[test]
fn blocks_that_break_their_promises_are_body_f() {
    for (step_json, class) in [
        (
            step("w", "Wrong", json!({"how": "form"})),
            ErrorClass::InvalidBlockBehaviour,
        ),
        (
            step("w", "Wrong", json!({"how": "decision"})),
            ErrorClass::InvalidBlockBehaviour,
        ),
        (
            step("w", "Wrong", json!({"how": "outputs"})),
            ErrorClass::ExecutionEngineRuntime,
        ),
        (
            step("w", "WrongBatch", json!({"v": "$inputs.b"})),
            ErrorClass::ExecutionEngineRuntime,
        ),
    ] {
        let error = fail(json!([step_json]), json!({"b": [1, 2]}));
        assert_eq!(error.class, class);
        assert_eq!(error.status(), 500);
        let body = body(&error);
        assert_eq!(
            body["context"],
            "workflow_execution | step_output_registration"
        );
        assert!(body.get("python_blocks_output_streams").is_some());
    }
}

#[test]
fn the_engine_works_on_after_an_error() {
    let steps = json!([
        step("f", "Fail", json!({"v": "$inputs.b"})),
        echo("e", "$inputs.p")
    ]);
    let mut engine = engine(&workflow(&["b", "p"], steps, &[("x", "$steps.e.o")])).unwrap();
    assert!(run_again(&mut engine, &json!({"b": 1, "p": 2})).is_err());
    let after = run_again(&mut engine, &json!({"b": [null], "p": 2})).unwrap();
    assert_eq!(after, json!([{"x": 2}]));
}
