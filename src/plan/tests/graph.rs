//! References, kinds, cycles, and which of several errors is seen (engine specification 2.3, 3.2,
//! 4.3, 6.1).

use super::*;

const MISSING: ErrorClass = ErrorClass::InvalidReferenceTarget;
const STRUCTURE: ErrorClass = ErrorClass::ExecutionGraphStructure;

#[test]
fn references_must_lead_somewhere() {
    let named = |field: &str| Some(field.to_owned());
    for (v, class) in [
        ("$inputs.nope", MISSING),
        ("$steps.nope.o", MISSING),
        ("$steps.nope", MISSING),
        ("$steps.nope.*", MISSING),
        ("$100.50", MISSING),
        ("$", MISSING),
        ("$steps.e.nope", STRUCTURE),
        ("$steps.e", STRUCTURE),
        ("$steps.e.*", STRUCTURE),
    ] {
        let steps = json!([echo("e", 1), echo("f", v)]);
        assert_eq!(assert_refused(steps, class), named("v"), "{v}");
    }
}

#[test]
fn the_field_is_named_only_if_its_text_is_the_reference() {
    let in_list = json!([step(
        "g",
        "Gather",
        json!({"all": ["$inputs.p", "$steps.nope.o"]})
    )]);
    assert_eq!(assert_refused(in_list, MISSING), None);
    let in_object = json!([step("g", "Gather", json!({"all": {"k": "$inputs.nope"}}))]);
    assert_eq!(assert_refused(in_object, MISSING), None);
    let second = json!([step(
        "g",
        "Pair",
        json!({"a": "$inputs.p", "b": "$inputs.nope"})
    )]);
    assert_eq!(assert_refused(second, MISSING), Some("b".to_owned()));
    let target = json!([step(
        "c",
        "Cond",
        json!({"value": 1, "next_steps": ["$steps.nope"]})
    )]);
    assert_eq!(assert_refused(target, MISSING), None);
}

#[test]
fn the_missing_step_is_named_without_its_output() {
    let error = plan(json!([echo("e", "$steps.nope.o")])).unwrap_err();
    let details = error.blocks[0].property_details.clone().unwrap();
    assert!(
        details.contains("$steps.nope ") && !details.contains("$steps.nope.o"),
        "{details}"
    );
}

#[test]
fn outputs_must_show_something() {
    for (selector, named) in [
        ("$inputs.nope", "$inputs.nope"),
        ("$steps.nope.o", "$steps.nope"),
        ("$steps.nope.*", "$steps.nope"),
        ("$steps.e.nope", "`nope`"),
        ("$steps.c.anything", "`anything`"),
        ("$steps.e", "$steps.e.*"),
        ("", "$inputs.<name>"),
    ] {
        let steps = json!([echo("e", 1), cond("c", "$inputs.p", ">", 1, &["e"])]);
        let definition = workflow(&["p"], steps, &[("fine", "$inputs.p"), ("shown", selector)]);
        let error = Plan::compile(&definition).unwrap_err();
        assert_eq!(error.class, MISSING, "{selector}");
        let problem = &error.blocks[0];
        assert_eq!(problem.block_id.as_deref(), Some("$outputs"));
        assert_eq!(
            (
                problem.block_type.as_deref(),
                problem.property_name.as_deref()
            ),
            (None, Some("shown"))
        );
        assert!(error.message.contains(named), "{error}");
    }
}

#[test]
fn kinds_must_have_one_in_common() {
    let typed = |kind: Json, field: &str| {
        let mut definition = workflow(
            &["p"],
            json!([step("t", "Typed", json!({field: "$inputs.p"}))]),
            &[],
        );
        definition["inputs"][0]["kind"] = kind;
        Plan::compile(&definition).map(|_| ())
    };
    for (kind, field, fits) in [
        (json!(["integer"]), "int", true),
        (json!(["*"]), "int", true),
        (json!(["string", "integer"]), "int", true),
        (json!(["float_zero_to_one"]), "float", true),
        (json!(["float"]), "int", false),
        (json!(["float_zero_to_one"]), "int", false),
        (json!(["unheard_of"]), "flag", false),
        (json!([]), "flag", false),
    ] {
        match typed(kind.clone(), field) {
            Ok(()) => assert!(fits, "{kind} {field}"),
            Err(error) => {
                assert!(!fits, "{error}");
                assert_eq!(
                    (error.class, error.status()),
                    (ErrorClass::ReferenceType, 400)
                );
                for named in ["$steps.t", field, "$inputs.p"] {
                    assert!(error.message.contains(named), "{error}");
                }
            }
        }
    }
    let steps = json!([
        step("t", "Typed", json!({})),
        step("u", "Typed", json!({"text": "$steps.t.n"}))
    ]);
    assert_refused(steps, ErrorClass::ReferenceType);
    let steps = json!([
        step("t", "Typed", json!({})),
        step("u", "Typed", json!({"text": "$steps.t.o"}))
    ]);
    assert!(plan(steps).is_ok());
    let image = json!([step("t", "Picture", json!({"image": "$inputs.image"}))]);
    assert!(plan(image).is_ok());
}

#[test]
fn cycles_are_refused_whatever_they_are_made_of() {
    for steps in [
        json!([echo("e", "$steps.e.o")]),
        json!([
            echo("e", "$steps.g.o"),
            echo("f", "$steps.e.o"),
            echo("g", "$steps.f.o")
        ]),
        json!([step(
            "c",
            "Cond",
            json!({"value": 1, "next_steps": ["$steps.c"]})
        )]),
        json!([echo("e", 1), cond("c", "$steps.e.o", ">", 1, &["e"])]),
        json!([
            cond("c", "$steps.e.o", ">", 1, &["d"]),
            cond("d", "$inputs.p", ">", 1, &["e"]),
            echo("e", 1),
        ]),
    ] {
        assert_eq!(assert_refused(steps, STRUCTURE), None);
    }
}

#[test]
fn the_error_about_a_cycle_names_its_steps_only() {
    let steps = json!([
        echo("before", 1),
        step(
            "a",
            "Pair",
            json!({"a": "$steps.before.o", "b": "$steps.c.o"})
        ),
        echo("b", "$steps.a.o"),
        echo("c", "$steps.b.o"),
        echo("after", "$steps.c.o"),
    ]);
    let message = plan(steps).unwrap_err().message;
    let (_, names) = message.split_once(": ").unwrap();
    let mut names: Vec<&str> = names.split(", ").collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn a_condition_may_target_a_step_once() {
    let twice = json!([
        step(
            "c",
            "Cond",
            json!({"value": 1, "next_steps": ["$steps.e", "$steps.e"]})
        ),
        echo("e", 1)
    ]);
    assert_eq!(
        assert_refused(twice, STRUCTURE),
        Some("next_steps".to_owned())
    );
    let data = json!([
        step(
            "c",
            "Cond",
            json!({"value": 1, "next_steps": ["$steps.e.o"]})
        ),
        echo("e", 1)
    ]);
    assert_refused(data, ErrorClass::ReferenceType);
    let over_fields = json!([
        step(
            "w",
            "Switch",
            json!({"value": 1, "cases": {"a": "$steps.e"}, "default": ["$steps.e"]})
        ),
        echo("e", 1),
    ]);
    assert_eq!(
        assert_refused(over_fields, STRUCTURE),
        Some("default".to_owned())
    );
}

#[test]
fn errors_are_seen_in_the_order_of_the_definition() {
    let class = |steps: Json, output: &str| {
        let definition = workflow(&["p"], steps, &[("x", output)]);
        let error = Plan::compile(&definition).unwrap_err();
        (
            error.class,
            error.blocks.first().and_then(|b| b.block_id.clone()),
        )
    };
    let of = |class, step: &str| (class, Some(step.to_owned()));
    // Steps before outputs, earlier steps before later ones.
    let steps = json!([echo("e", "$inputs.nope"), echo("f", "$steps.e.nope")]);
    assert_eq!(class(steps, "$steps.gone.o"), of(MISSING, "e"));
    let steps = json!([echo("f", "$steps.e.nope"), echo("e", "$inputs.nope")]);
    assert_eq!(class(steps, "$steps.gone.o"), of(STRUCTURE, "f"));
    // Fields in the order of the block, whatever the order in the definition.
    let steps = json!([{"type": "Pair", "name": "m", "b": "$inputs.nope", "a": "$steps.m.nope"}]);
    assert_eq!(class(steps, "$inputs.p"), of(STRUCTURE, "m"));
    // References before kinds of the next field, outputs before cycles, cycles before depths.
    let steps = json!([echo("e", "$steps.e.o")]);
    assert_eq!(class(steps, "$steps.gone.o"), of(MISSING, "$outputs"));
    let steps = json!([
        echo("e", "$steps.e.o"),
        collapse("c", "$inputs.p"),
        step("m", "Mix", json!({"ref": 1, "items": 1}))
    ]);
    assert_eq!(class(steps, "$inputs.p"), (STRUCTURE, None));
    // Duplicated names before the graph.
    let steps = json!([echo("e", "$inputs.nope"), echo("e", 1)]);
    assert_eq!(
        class(steps, "$inputs.p"),
        (ErrorClass::DuplicatedName, None)
    );
}

#[test]
fn steps_run_by_longest_path_and_then_as_defined() {
    let steps = json!([
        echo("last", "$steps.mid.o"),
        echo("free", 1),
        step(
            "mid",
            "Pair",
            json!({"a": "$steps.first.o", "b": "$steps.free.o"})
        ),
        echo("first", "$inputs.b"),
        cond("gate", "$inputs.p", ">", 1, &["free"]),
    ]);
    let plan = plan(steps).unwrap();
    let names: Vec<&str> = plan
        .order
        .iter()
        .map(|&s| &*plan.steps[s].step.name)
        .collect();
    assert_eq!(names, ["first", "gate", "free", "mid", "last"]);
}

#[test]
fn an_input_that_cannot_be_is_told_before_references() {
    let mut flat = workflow(&["b"], json!([echo("e", "$inputs.nope")]), &[]);
    flat["inputs"][0]["dimensionality"] = json!(0);
    let error = Plan::compile(&flat).unwrap_err();
    assert_eq!(error.class, STRUCTURE, "{error}");
}

#[test]
fn a_batch_where_one_value_is_needed_is_told_before_depths() {
    let crop = json!({"image": "$inputs.bb", "x_center": "$inputs.b", "y_center": 1, "width": 1, "height": 1});
    let steps = json!([step("c", "roboflow_core/absolute_static_crop@v1", crop)]);
    assert_eq!(
        assert_refused(steps, STRUCTURE).as_deref(),
        Some("x_center")
    );
}
