//! Everything about a run that can be refused before its first frame.

use std::sync::Arc;

use serde_json::Value as Json;

use super::super::{LoadError, host, store};
use super::args::RunArgs;
use super::{Job, RunError};
use crate::blocks::Family;
use crate::definitions::Demand;
use crate::engine::{Engine, RuntimeInput, RuntimeInputs};
use crate::plan::Plan;
use crate::sources::{SourceSpec, SourceUri};
use crate::values::deserialise::InputOptions;

/// Checks the arguments against the definition, the sources and the outbox.
///
/// # Errors
/// What is wrong, and what to do.
pub(super) fn prepare(args: &RunArgs) -> Result<Job<'_>, RunError> {
    let services = args
        .stages
        .apply(host::services(&args.host, &args.outbox)?)?;
    let store = store::open(services.clock.clone())?;
    let key = store::key(&args.definition, &args.store);
    let fetched = store
        .get_blocking(&key, Demand::Cached)
        .map_err(LoadError::from)?;
    let compiled = store.compile(&fetched, Some(&key), None);
    let plan = Arc::new(compiled.plan.map_err(LoadError::from)?);
    let image_input = image_input(args, &plan)?;
    let parameters = parameters(args, &plan)?;
    let specs = source_specs(args)?;
    // Refused parameters of a block show now, not when the first camera is there.
    Engine::new(plan.clone(), services.clone(), InputOptions::default())
        .map_err(LoadError::from)?;
    let events = args.events().map_err(RunError::Arguments)?;
    if let Some(condition) = &args.webhook_when {
        known_output(&plan, "--webhook-when", condition.output())?;
    }
    if !events.is_empty() || args.outbox.is_named() || has_sinks(&plan) {
        // What waits from the last time goes out now, and an outbox that cannot be used shows now.
        let opened = services.dispatcher.resume();
        opened.map_err(|e| RunError::Arguments(e.to_string()))?;
    }
    if let Some(name) = &args.video_output {
        known_output(&plan, "--video-output", name)?;
    }
    Ok(Job {
        args,
        plan,
        image_input,
        parameters,
        services,
        store,
        key,
        fetched,
        provenance: compiled.provenance,
        events,
        specs,
    })
}

/// Whether a step of the definition sends something out.
fn has_sinks(plan: &Plan) -> bool {
    let mut specs = plan.steps.iter().map(|step| step.step.spec);
    specs.any(|spec| spec.family == Family::Sink)
}

fn known_output(plan: &Plan, flag: &str, name: &str) -> Result<(), RunError> {
    if plan.outputs.iter().any(|o| &*o.name == name) {
        return Ok(());
    }
    let known: Vec<&str> = plan.outputs.iter().map(|o| &*o.name).collect();
    Err(RunError::Arguments(format!(
        "{flag}: the definition has no output `{name}`; its outputs: {}",
        known.join(", ")
    )))
}

fn image_input(args: &RunArgs, plan: &Plan) -> Result<String, RunError> {
    let images: Vec<&str> = plan.image_inputs().map(|i| &*i.name).collect();
    match &args.image_input {
        Some(name) if images.contains(&name.as_str()) => Ok(name.clone()),
        Some(name) => Err(RunError::Arguments(format!(
            "--image-input: the definition has no image input `{name}`; its image inputs: {}",
            images.join(", ")
        ))),
        None => images.first().map(|name| (*name).to_owned()).ok_or_else(|| {
            RunError::Arguments("the definition has no image input (type WorkflowImage); there is nothing to feed frames to".into())
        }),
    }
}

fn parameters(args: &RunArgs, plan: &Plan) -> Result<RuntimeInputs, RunError> {
    let mut parameters = RuntimeInputs::new();
    let options = InputOptions {
        local_files: true,
        ..args.image_urls.input_options()
    };
    for text in &args.parameters {
        let Some((name, value)) = text.split_once('=') else {
            return Err(RunError::Arguments(format!(
                "--param {text}: write NAME=VALUE"
            )));
        };
        let Some(input) = plan.declared_inputs().find(|i| &*i.name == name) else {
            let known: Vec<&str> = plan.declared_inputs().map(|i| &*i.name).collect();
            return Err(RunError::Arguments(format!(
                "--param {name}: the definition has no such input; its inputs: {}",
                known.join(", ")
            )));
        };
        let json = serde_json::from_str(value).unwrap_or_else(|_| Json::from(value));
        let given = RuntimeInput::Json(json).with_images_read(input, &options);
        let given = given.map_err(|e| RunError::Arguments(format!("--param {name}: {e}")))?;
        parameters.insert(name.to_owned(), given);
    }
    Ok(parameters)
}

fn source_specs(args: &RunArgs) -> Result<Vec<SourceSpec>, RunError> {
    if !args.video_ids.is_empty() && args.video_ids.len() != args.sources.len() {
        return Err(RunError::Arguments(
            "give one --video-id for each --source, or none".into(),
        ));
    }
    args.sources
        .iter()
        .enumerate()
        .map(|(i, text)| {
            let uri: SourceUri = text
                .parse()
                .map_err(|e| RunError::Arguments(format!("--source: {e}")))?;
            let mut spec = SourceSpec::new(uri);
            spec.video_identifier = args.video_ids.get(i).map(|id| id.as_str().into());
            spec.realtime = args.realtime;
            spec.max_fps = args.max_fps;
            args.cameras.apply(&mut spec);
            Ok(spec)
        })
        .collect()
}
