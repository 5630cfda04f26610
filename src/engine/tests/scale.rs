//! Large runs take time that grows with their size. The limits are generous: they are for
//! unoptimised builds on a busy machine and catch squares, not slowness.

use std::time::{Duration, Instant};

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

#[track_caller]
fn in_time<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    println!("{what}: {took:?}");
    assert!(took < LIMIT, "{what} took {took:?}");
    result
}

/// Echo after echo, from the input `b`; the output `x` shows the last.
fn chain(length: usize) -> Json {
    let of = |i: usize| match i {
        0 => "$inputs.b".to_owned(),
        i => format!("$steps.s{}.o", i - 1),
    };
    let steps: Json = (0..length).map(|i| echo(&format!("s{i}"), of(i))).collect();
    workflow(&["b"], steps, &[("x", &of(length))])
}

#[test]
fn a_chain_of_ten_thousand_steps() {
    let mut engine = engine(&chain(10_000)).unwrap();
    let run = || run_again(&mut engine, &json!({"b": 1}));
    assert_eq!(in_time("chain", run).unwrap(), json!([{"x": 1}]));
}

#[test]
fn a_batch_of_a_hundred_thousand_elements() {
    let steps = json!([
        echo("e", "$inputs.b"),
        cond("c", "$steps.e.o", ">", 10, &["d", "k"]),
        step("d", "BatchDesc", json!({"v": "$steps.e.o"})),
        step("k", "Bare", json!({})),
        collapse("l", "$steps.e.o"),
        step("m", "Pair", json!({"a": "$steps.d.o", "b": "$steps.k.o"})),
    ]);
    let outputs = [("e", "$steps.e.o"), ("m", "$steps.m.o")];
    let definition = workflow(&["b"], steps, &outputs);
    let count = 100_000;
    let batch: Json = (0..count).collect();
    let objects = in_time("batch", || run(&definition, &json!({"b": batch}))).unwrap();
    assert_eq!(objects.as_array().unwrap().len(), count);
    assert_eq!(objects[10], json!({"e": 10, "m": null}));
    assert_eq!(
        objects[11],
        json!({"e": 11, "m": [[[11], 11, count - 11], "ran"]})
    );
}

#[test]
fn wide_and_nested_batches() {
    let steps = json!([
        split("s", "$inputs.b"),
        step(
            "m",
            "Mix",
            json!({"ref": "$inputs.b2", "items": "$steps.s.o"})
        ),
        split("g", "$inputs.p"),
    ]);
    let outputs = [
        ("s", "$steps.s.o"),
        ("m", "$steps.m.o"),
        ("g", "$steps.g.o"),
    ];
    let definition = workflow(&["b", "b2", "p"], steps, &outputs);
    // Every object repeats the elements that were made from the parameter.
    let groups: Json = (0..2_000).map(|i| json!([i, i, i])).collect();
    let made: Json = (0..100).collect();
    let input = json!({"b": groups, "b2": 0, "p": made});
    let objects = in_time("nested", || run(&definition, &input)).unwrap();
    assert_eq!(objects[7]["s"], json!([7, 7, 7]));
    assert_eq!(objects[7]["m"], json!([0, [7, 7, 7]]));
    assert_eq!(objects[1_999]["g"].as_array().unwrap().len(), 100);

    let one_element: Json = (0..200_000).collect();
    let input = json!({"b": [one_element], "b2": 0, "p": []});
    let objects = in_time("wide", || run(&definition, &input)).unwrap();
    assert_eq!(objects[0]["s"][199_999], 199_999);
}

#[test]
fn the_deepest_batch() {
    let name = "b".repeat(64);
    let steps = json!([echo("e", format!("$inputs.{name}"))]);
    let definition = workflow(&[&name], steps, &[("x", "$steps.e.o")]);
    let nested = (1..64).fold(json!([5]), |inner, _| json!([inner]));
    let objects = in_time("deep", || run(&definition, &json!({ &*name: nested }))).unwrap();
    assert_eq!(objects[0]["x"], nested[0]);
}
