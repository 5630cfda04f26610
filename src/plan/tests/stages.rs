//! How steps are cut into stages.

use super::*;
use crate::blocks::Role;

fn model(name: &str, v: &str) -> Json {
    step(name, "Model", json!({"v": v}))
}

/// The stages by names, after a check of what holds for all of them.
fn stages(steps: Json) -> Vec<Vec<String>> {
    let plan = plan(steps).unwrap();
    let flat: Vec<usize> = plan.stages.concat();
    let mut all = flat.clone();
    all.sort_unstable();
    assert!(
        all.iter().copied().eq(0..plan.steps.len()),
        "each step once"
    );
    for (position, &s) in flat.iter().enumerate() {
        let before = &flat[..position];
        assert!(
            plan.steps[s]
                .dependencies
                .iter()
                .all(|d| before.contains(d)),
            "valid order"
        );
    }
    for stage in &plan.stages {
        let models = stage
            .iter()
            .filter(|&&s| plan.steps[s].step.spec.role == Role::Model);
        assert!(
            models.count() == 0 || stage.len() == 1,
            "a model stands alone"
        );
    }
    let name = |&s: &usize| plan.steps[s].step.name.to_string();
    plan.stages
        .iter()
        .map(|stage| stage.iter().map(name).collect())
        .collect()
}

#[test]
fn without_a_model_there_is_one_stage() {
    let steps = json!([
        echo("c", "$steps.b.o"),
        echo("b", "$steps.a.o"),
        echo("a", "$inputs.b"),
        echo("d", 1)
    ]);
    assert_eq!(stages(steps), [["a", "d", "b", "c"]]);
    assert!(stages(json!([])).is_empty());
}

#[test]
fn a_model_is_a_stage_and_steps_between_models_are_fused() {
    let steps = json!([
        echo("before", "$inputs.image"),
        model("m1", "$steps.before.o"),
        echo("crop", "$steps.m1.o"),
        echo("beside", "$inputs.image"),
        model("m2", "$steps.crop.o"),
        echo("after", "$steps.m2.o"),
    ]);
    assert_eq!(
        stages(steps),
        [
            vec!["before", "beside"],
            vec!["m1"],
            vec!["crop"],
            vec!["m2"],
            vec!["after"]
        ]
    );
}

#[test]
fn models_of_one_level_are_separate_stages() {
    let steps = json!([
        model("m2", "$inputs.image"),
        model("m1", "$inputs.image"),
        step(
            "both",
            "Pair",
            json!({"a": "$steps.m1.o", "b": "$steps.m2.o"})
        ),
        echo("of1", "$steps.m1.o"),
        cond("gate", "$steps.of1.o", ">", 1, &["m3"]),
        model("m3", "$steps.m2.o"),
    ]);
    assert_eq!(
        stages(steps),
        [
            vec!["m2"],
            vec!["m1"],
            vec!["both", "of1", "gate"],
            vec!["m3"]
        ]
    );
}

#[test]
fn any_graph_is_cut_into_a_valid_order() {
    // A pseudo-random graph: every step takes from two earlier ones, every fifth is a model.
    let mut seed = 7_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below.max(1)
    };
    let steps: Json = (0..200)
        .map(|i| {
            let earlier = |n: usize| match i {
                0 => json!("$inputs.b"),
                _ => json!(format!("$steps.s{n}.o")),
            };
            let (a, b) = (earlier(random(i)), earlier(random(i)));
            match i % 5 {
                4 => step(&format!("s{i}"), "Model", json!({"v": a})),
                _ => step(&format!("s{i}"), "Pair", json!({"a": a, "b": b})),
            }
        })
        .collect();
    assert!(stages(steps).len() > 40);
}
