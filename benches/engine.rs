//! What the engine adds to the work of light steps, by shape of the workflow: a plain chain, steps
//! behind conditions, elements gathered into lists, a batch of frames.
//!
//! `cargo bench --bench engine`. Each figure is the best of several passes; no clip and no model is
//! needed. The bar: at most 5 µs per light step.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use millrace::blocks::Services;
use millrace::engine::{Engine, RuntimeInput, RuntimeInputs};
use millrace::plan::Plan;
use millrace::values::deserialise::InputOptions;
use millrace::values::{Image, Matrix, Value};
use serde_json::{Value as Json, json};

const PASSES: usize = 7;
const RUNS: u32 = 20_000;

fn main() -> Result<()> {
    report("chain of 10 steps", &chain(), 1)?;
    report("10 steps, 2 conditions", &gated(), 1)?;
    report("4 steps that gather elements", &gathered(), 1)?;
    report("chain of 10 steps, 16 frames", &chain(), 16)
}

/// A workflow over images and one number.
fn workflow(steps: Vec<Json>) -> Json {
    json!({
        "version": "1.0",
        "inputs": [
            {"type": "WorkflowImage", "name": "image"},
            {"type": "WorkflowParameter", "name": "limit", "default_value": 100},
        ],
        "steps": steps,
        "outputs": [],
    })
}

fn first_non_empty(name: &str, data: &str) -> Json {
    json!({"type": "FirstNonEmptyOrDefault", "name": name, "data": [data, "$inputs.limit"]})
}

fn width(name: &str, image: &str) -> Json {
    let operation = json!({"type": "ExtractImageProperty", "property_name": "width"});
    json!({"type": "PropertyDefinition", "name": name, "data": image, "operations": [operation]})
}

fn times_two(name: &str, number: &str) -> Json {
    let operation = json!({"type": "Multiply", "other": 2});
    json!({"type": "PropertyDefinition", "name": name, "data": number, "operations": [operation]})
}

fn at_least(name: &str, number: &str, targets: &[&str]) -> Json {
    let operand = |name: &str| json!({"type": "DynamicOperand", "operand_name": name});
    json!({
        "type": "ContinueIf",
        "name": name,
        "condition_statement": {"type": "StatementGroup", "statements": [{
            "type": "BinaryStatement",
            "left_operand": operand("x"),
            "comparator": {"type": "(Number) >="},
            "right_operand": operand("limit"),
        }]},
        "evaluation_parameters": {"x": number, "limit": "$inputs.limit"},
        "next_steps": targets,
    })
}

fn chain() -> Json {
    let mut steps = vec![width("s0", "$inputs.image")];
    for i in 1..10 {
        let (name, before) = (format!("s{i}"), format!("$steps.s{}.output", i - 1));
        steps.push(match i % 2 {
            0 => times_two(&name, &before),
            _ => first_non_empty(&name, &before),
        });
    }
    workflow(steps)
}

fn gated() -> Json {
    workflow(vec![
        width("a", "$inputs.image"),
        times_two("b", "$steps.a.output"),
        at_least("open", "$steps.b.output", &["$steps.c", "$steps.d"]),
        times_two("c", "$steps.b.output"),
        first_non_empty("d", "$steps.b.output"),
        at_least("shut", "$steps.a.output", &["$steps.e"]),
        times_two("e", "$steps.b.output"),
        first_non_empty("f", "$steps.e.output"),
        times_two("g", "$steps.f.output"),
        first_non_empty("h", "$steps.c.output"),
    ])
}

fn gathered() -> Json {
    workflow(vec![
        width("a", "$inputs.image"),
        json!({"type": "DimensionCollapse", "name": "all", "data": "$steps.a.output"}),
        first_non_empty("b", "$steps.all.output"),
        json!({"type": "DimensionCollapse", "name": "again", "data": "$steps.a.output"}),
    ])
}

fn report(what: &str, definition: &Json, frames: usize) -> Result<()> {
    let plan = Arc::new(Plan::compile(definition)?);
    let calls = plan.steps.len() * frames;
    let mut engine = Engine::new(plan, Services::default(), InputOptions::default())?;
    let frame = Image::new(Matrix::filled(64, 48, &[0, 0, 0]), "camera".into());
    let batch = Value::list(vec![Value::Image(frame); frames]);
    let inputs = RuntimeInputs::from_iter([("image".to_owned(), RuntimeInput::Value(batch))]);
    let mut best = Duration::MAX;
    for _ in 0..PASSES {
        let started = Instant::now();
        for _ in 0..RUNS {
            black_box(engine.execute(&inputs)?);
        }
        best = best.min(started.elapsed() / RUNS);
    }
    let per_step = best.as_secs_f64() * 1e6 / calls as f64;
    println!("{what:32} {best:>10.2?} a run  {per_step:6.3} µs per step and frame");
    Ok(())
}
