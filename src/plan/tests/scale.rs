//! Large definitions compile in time that grows with their size. The limits are generous: they are
//! for unoptimised builds on a busy machine and catch squares, not slowness.

use std::time::{Duration, Instant};

use super::*;

const STEPS: usize = 10_000;
const LIMIT: Duration = Duration::from_secs(20);

#[track_caller]
fn compiles_in_time(what: &str, steps: Json) -> Plan {
    let start = Instant::now();
    let plan = plan(steps).unwrap();
    let took = start.elapsed();
    println!("{what}: {took:?}");
    assert!(took < LIMIT, "{what} took {took:?}");
    plan
}

fn name(i: usize) -> String {
    format!("s{i}")
}

#[test]
fn a_long_chain() {
    let of = |i: usize| match i {
        0 => "$inputs.b".to_owned(),
        i => format!("$steps.s{}.o", i - 1),
    };
    let steps: Json = (0..STEPS).map(|i| echo(&name(i), of(i))).collect();
    let plan = compiles_in_time("chain", steps);
    assert!(plan.order.iter().copied().eq(0..STEPS));
    assert_eq!(plan.stages.len(), 1);
}

#[test]
fn many_levels_side_by_side() {
    let steps: Json = (0..STEPS).map(|i| split(&name(i), "$inputs.b")).collect();
    assert_eq!(compiles_in_time("levels", steps).lineages.len(), STEPS + 2);
}

#[test]
fn many_conditions() {
    let half = STEPS / 2;
    let condition = |i: usize| cond(&format!("c{i}"), "$inputs.b", ">", 1, &[&*name(i)]);
    let steps: Json = (0..half)
        .map(condition)
        .chain((0..half).map(|i| echo(&name(i), "lit")))
        .collect();
    assert_eq!(compiles_in_time("conditions", steps).branch_count, half);
}

#[test]
fn one_condition_with_many_targets() {
    let targets: Vec<String> = (0..STEPS).map(|i| format!("$steps.s{i}")).collect();
    let cases: Json = targets
        .iter()
        .map(|t| (t[7..].to_owned(), json!(t)))
        .collect();
    let echoes = || (0..STEPS).map(|i| echo(&name(i), "$inputs.b"));
    let listed = step(
        "c",
        "Cond",
        json!({"value": "$inputs.p", "next_steps": targets}),
    );
    let switched = step("c", "Switch", json!({"value": "$inputs.p", "cases": cases}));
    let plan = compiles_in_time("targets", std::iter::once(listed).chain(echoes()).collect());
    assert_eq!(plan.branch_count, 1);
    let plan = compiles_in_time("cases", std::iter::once(switched).chain(echoes()).collect());
    assert_eq!(plan.branch_count, STEPS);
}

#[test]
fn a_cycle_through_many_steps() {
    let of = |i: usize| format!("$steps.s{}.o", (i + 1) % STEPS);
    let steps: Json = (0..STEPS).map(|i| echo(&name(i), of(i))).collect();
    let start = Instant::now();
    let error = plan(steps).unwrap_err();
    assert!(start.elapsed() < LIMIT);
    assert_eq!(error.class, ErrorClass::ExecutionGraphStructure);
    assert!(error.message.len() < 300, "{error}");
}
