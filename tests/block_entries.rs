//! Every block of the registry can be measured: the workflow that `benches/blocks` makes of it compiles
//! and runs on its frames.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../benches/blocks/scene.rs"]
mod scene;

use std::sync::Arc;

use millrace::blocks::{BlockSpec, Role, Services, registry};
use millrace::engine::Engine;
use millrace::plan::Plan;
use millrace::values::deserialise::InputOptions;
use scene::Scene;

#[test]
fn every_block_is_in_the_bench_and_runs_there() {
    let scene = Scene {
        size: [320, 180],
        objects: 12,
        churn: 0,
        masks: true,
    };
    let frames: Vec<_> = (1..=3).map(|n| scene.inputs("a", n).unwrap()).collect();
    let mut problems = Vec::new();
    for spec in registry::all() {
        let run = || -> anyhow::Result<bool> {
            let Some(definition) = scene::definition(spec)? else {
                return Ok(false);
            };
            let plan = Arc::new(Plan::compile(&definition)?);
            let mut engine = Engine::new(plan, Services::default(), InputOptions::default())?;
            for inputs in &frames {
                engine.execute(inputs)?;
            }
            Ok(true)
        };
        match run() {
            Ok(measured) => assert_eq!(
                measured,
                !matches!(spec.role, Role::Model | Role::Sink),
                "{}",
                spec.type_id()
            ),
            Err(error) => problems.push(format!("{}: {error:#}", spec.type_id())),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let known: Vec<_> = registry::all().map(BlockSpec::type_id).collect();
    scene::check_steps(&known).unwrap();
}
