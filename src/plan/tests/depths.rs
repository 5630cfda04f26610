//! Nesting depths, lineages, and over which elements steps run (engine specification 5.4 to 5.6).

use super::*;

const DEPTH: ErrorClass = ErrorClass::StepInputDimensionality;
const LINEAGE: ErrorClass = ErrorClass::StepInputLineage;

fn context(steps: Json) -> String {
    let context = plan(steps).unwrap_err().context;
    context.rsplit(" | ").next().unwrap().to_owned()
}

#[test]
fn d1_fields_of_the_ordinary_level_lie_at_one_depth() {
    let fields = json!([
        split("s", "$inputs.b"),
        step("m", "Pair", json!({"a": "$inputs.b", "b": "$steps.s.o"}))
    ]);
    assert_eq!(context(fields.clone()), "collecting_step_input_data");
    assert_eq!(assert_refused(fields, DEPTH), None);
    // Also within one field.
    let members = json!([
        split("s", "$inputs.b"),
        step("g", "Gather", json!({"all": ["$inputs.b", "$steps.s.o"]}))
    ]);
    assert_eq!(context(members.clone()), "collecting_step_input_data");
    assert_eq!(assert_refused(members, DEPTH), None);
}

#[test]
fn d3_depths_differ_by_one_level_at_most() {
    let steps = json!([
        split("s", "$inputs.b"),
        split("t", "$steps.s.o"),
        step(
            "m",
            "Mix",
            json!({"ref": "$inputs.b", "items": "$steps.t.o"})
        ),
    ]);
    assert_eq!(
        context(steps.clone()),
        "denoting_step_inputs_dimensionality"
    );
    assert_eq!(assert_refused(steps, DEPTH), None);
}

#[test]
fn d5_offsets_count_from_the_reference() {
    for fields in [
        json!({"ref": "$inputs.b", "items": "$inputs.b"}),
        json!({"ref": "$steps.s.o", "items": "$inputs.b"}),
        json!({"ref": "$steps.s.o", "items": "$steps.s.o"}),
    ] {
        let steps = json!([split("s", "$inputs.b"), step("m", "Mix", fields)]);
        assert_eq!(
            context(steps.clone()),
            "denoting_step_inputs_dimensionality"
        );
        assert_eq!(assert_refused(steps, DEPTH), Some("items".to_owned()));
    }
    let scalar_reference = json!([
        split("s", "$inputs.b"),
        step("m", "Mix", json!({"ref": 1, "items": "$steps.s.o"}))
    ]);
    assert_refused(scalar_reference, ErrorClass::BlockInterface);
    let scalar_items = json!([step("m", "Mix", json!({"ref": "$inputs.b", "items": 1}))]);
    assert!(plan(scalar_items).is_ok());
}

#[test]
fn d4_only_batches_collapse() {
    // Scalars are lifted first, but a literal null is not.
    let lifted = json!([
        echo("e", "$inputs.p"),
        collapse("c", "$steps.e.o"),
        collapse("d", "$steps.c.output")
    ]);
    assert!(plan(lifted).is_ok());
}

#[test]
fn depths_are_checked_before_lineages_and_these_before_conditions() {
    let both = json!([
        split("s", "$inputs.b"),
        split("t", "$inputs.b"),
        split("u", "$steps.s.o"),
        step(
            "m",
            "Mix",
            json!({"ref": "$inputs.b", "items": "$steps.u.o"})
        ),
        step("n", "Pair", json!({"a": "$steps.s.o", "b": "$steps.t.o"})),
    ]);
    assert_refused(both, LINEAGE);
    // One step with both faults: a list of other depth than the reference, from an unrelated batch.
    let one_step = json!([
        split("s", "$inputs.p"),
        split("u", "$steps.s.o"),
        split("w", "$steps.u.o"),
        step(
            "m",
            "Mix",
            json!({"ref": "$inputs.b", "items": "$steps.w.o"})
        ),
    ]);
    assert_refused(one_step, DEPTH);
    let condition_too = json!([
        split("s", "$inputs.b"),
        split("t", "$inputs.b"),
        split("r", "$inputs.b"),
        cond("c", "$steps.r.o", ">", 1, &["n"]),
        step("n", "Pair", json!({"a": "$steps.s.o", "b": "$steps.t.o"})),
    ]);
    assert_refused(condition_too, LINEAGE);
}

#[test]
fn unrelated_batches_are_not_combined() {
    for fields in [
        // Members of one field.
        step("m", "Gather", json!({"all": ["$steps.s.o", "$steps.t.o"]})),
        // A level above that is not the one the elements were made from.
        step(
            "m",
            "Mix",
            json!({"ref": "$steps.g.o", "items": "$steps.s.o"}),
        ),
        step(
            "m",
            "Mix",
            json!({"ref": "$steps.t.o", "items": "$steps.u.o"}),
        ),
        // Elements of the inputs and elements made from a scalar.
        step("m", "Pair", json!({"a": "$inputs.b", "b": "$steps.g.o"})),
        step("m", "Pair", json!({"a": "$inputs.bb", "b": "$steps.s.o"})),
    ] {
        let steps = json!([
            split("s", "$inputs.b"),
            split("t", "$inputs.b"),
            split("u", "$steps.s.o"),
            split("g", "$inputs.p"),
            fields,
        ]);
        assert_refused(steps, LINEAGE);
    }
}

#[test]
fn elements_and_results_of_each_step() {
    let steps = json!([
        split("s", "$inputs.b"),
        collapse("c", "$steps.s.o"),
        collapse("d", "$steps.c.output"),
        step(
            "m",
            "Mix",
            json!({"ref": "$inputs.b", "items": "$steps.s.o"})
        ),
        split("g", "$inputs.p"),
        step("l", "BatchDesc", json!({"v": 5})),
        cond("f", "$steps.s.o", ">", 1, &["n"]),
        step("n", "Bare", json!({})),
        step("once", "Bare", json!({})),
    ]);
    let plan = plan(steps).unwrap();
    // Name, depth of the elements, depth of the results.
    let wanted = [
        ("s", 1, 2),
        ("c", 1, 1),
        ("d", 0, 0),
        ("m", 1, 1),
        ("g", 0, 1),
        ("l", 1, 0),
        ("f", 2, 2),
        ("n", 2, 2),
        ("once", 0, 0),
    ];
    for (step, (name, depth, of_results)) in plan.steps.iter().zip(wanted) {
        assert_eq!((&*step.step.name, step.depth), (name, depth));
        let lineage = step.output_lineage.map_or(0, |id| plan.lineages[id].len());
        assert_eq!(lineage, of_results, "{name}");
        assert_eq!(step.elements == Elements::Once, depth == 0, "{name}");
    }
    assert_eq!(plan.steps[5].elements, Elements::Artificial(1));
    assert_eq!(plan.steps[3].deeper, plan.steps[0].output_lineage);
}

#[test]
fn nesting_has_a_limit() {
    let chain = |length: usize| -> Json {
        let of = |i: usize| match i {
            0 => "$inputs.b".to_owned(),
            i => format!("$steps.s{}.o", i - 1),
        };
        (0..length)
            .map(|i| split(&format!("s{i}"), of(i)))
            .collect()
    };
    assert!(plan(chain(63)).is_ok());
    assert_refused(chain(64), DEPTH);
    assert_refused(chain(5_000), DEPTH);
}
