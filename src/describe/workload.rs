//! What running a definition takes: its graph, nesting depths, models and kinds of work.
//!
//! Lists are *discoveries*: they say whether they are complete and, if not, why.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use crate::blocks::{BlockSpec, Family};
use crate::definition::InnerWorkflows;
use crate::definition::document::ENGINE_VERSION;
use crate::definition::error::WorkflowError;
use crate::definition::step::FieldValue;
use crate::plan::{OutputSource, Plan, PlannedStep, Source};

/// What is known of a model without loading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelFacts {
    /// Architecture, e.g. `yolov8`.
    pub architecture: Option<String>,
    /// Variant of the architecture, e.g. `yolov8n`.
    pub variant: Option<String>,
    /// What the model does, e.g. `object-detection`.
    pub task: String,
}

/// What running a definition takes, with nothing told of its models but their names.
///
/// # Errors
/// Those of [`Plan::compile`].
pub fn workload(definition: &Json) -> Result<Json, WorkflowError> {
    workload_with(definition, &InnerWorkflows::default(), &|_| None)
}

/// What running a definition takes, with what the host lends to inner workflows. `facts` is asked
/// for each model that a step names.
///
/// # Errors
/// Those of [`Plan::compile`].
pub fn workload_with(
    definition: &Json,
    inner: &InnerWorkflows<'_>,
    facts: &dyn Fn(&str) -> Option<ModelFacts>,
) -> Result<Json, WorkflowError> {
    let plan = Plan::compile_with(definition, inner)?;
    Ok(json!({
        "type": "workflow_introspection_v1",
        "execution_engine_version": ENGINE_VERSION,
        "nodes": nodes(&plan),
        "edges": edges(&plan),
        "steps": plan.steps.iter().map(|step| step_json(&plan, step)).collect::<Vec<_>>(),
        "summary": summary(&plan, facts),
    }))
}

fn input_id(plan: &Plan, at: usize) -> String {
    let name = plan.inputs().get(at).map_or("", |input| &*input.name);
    format!("$inputs.{name}")
}

fn step_id(step: &PlannedStep) -> String {
    format!("$steps.{}", step.step.name)
}

fn output_id(name: &str) -> String {
    format!("$outputs.{name}")
}

fn nodes(plan: &Plan) -> Vec<Json> {
    let node = |id: String, kind: &str| json!({"type": "graph_node_v1", "id": id, "kind": kind});
    let inputs = (0..plan.inputs().len()).map(|at| node(input_id(plan, at), "input"));
    let steps = plan.steps.iter().map(|step| node(step_id(step), "step"));
    let outputs = plan.outputs.iter();
    let outputs = outputs.map(|output| node(output_id(&output.name), "output"));
    inputs.chain(steps).chain(outputs).collect()
}

/// Edges by source and target, each once.
fn edges(plan: &Plan) -> Vec<Json> {
    let step_at = |at: usize| plan.steps.get(at).map(step_id);
    let mut edges: BTreeSet<(String, String, &str)> = BTreeSet::new();
    for step in &plan.steps {
        for part in step.fields.iter().flat_map(|field| field.shape.parts()) {
            let source = match part.source {
                Source::Literal(_) => None,
                Source::Input(at) => Some(input_id(plan, at)),
                Source::Step(at, _) => step_at(at),
            };
            edges.extend(source.map(|source| (source, step_id(step), "data")));
        }
        let targets = step.branches.iter().flat_map(|branch| &branch.targets);
        edges.extend(
            targets
                .filter_map(|at| step_at(*at))
                .map(|target| (step_id(step), target, "control")),
        );
    }
    for output in &plan.outputs {
        let source = match output.source {
            OutputSource::Input(at) => Some(input_id(plan, at)),
            OutputSource::Step(at, _) | OutputSource::AllOf(at) => step_at(at),
        };
        edges.extend(source.map(|source| (source, output_id(&output.name), "data")));
    }
    let edge = |(source, target, kind): (String, String, &str)| json!({"type": "graph_edge_v1", "source": source, "target": target, "kind": kind});
    edges.into_iter().map(edge).collect()
}

fn discovery(items: Vec<Json>, unknown: Vec<String>) -> Json {
    json!({
        "type": "discovery_v1",
        "items": items,
        "complete": unknown.is_empty(),
        "unknown_reasons": unknown,
    })
}

fn output_depth(plan: &Plan, step: &PlannedStep) -> usize {
    let lineage = step.output_lineage.and_then(|id| plan.lineages.get(id));
    lineage.map_or(0, |lineage| lineage.len())
}

fn step_json(plan: &Plan, step: &PlannedStep) -> Json {
    let id = step_id(step);
    json!({
        "type": "step_metadata_v1",
        "node_id": id,
        "block_type": step.step.spec.type_id(),
        "input_dimensionality": step.depth,
        "output_dimensionality": output_depth(plan, step),
        "accepts_batch_input": step.step.spec.accepts_batch(),
        "resources": resources(step),
        "restrictions": discovery(Vec::new(), Vec::new()),
        "operations": match operations(step.step.spec) {
            Some(items) => discovery(items.iter().map(|op| (*op).into()).collect(), Vec::new()),
            None => discovery(Vec::new(), vec![format!("operations_not_declared:{id}")]),
        },
    })
}

/// The model that a step names; the error tells that another input or step names it.
fn model_of(step: &PlannedStep) -> Result<Option<&str>, ()> {
    let spec = step.step.spec;
    if spec.family != Family::Model || spec.field_index("model_id").is_none() {
        return Ok(None);
    }
    match step.step.field("model_id") {
        FieldValue::Literal(json, _) => Ok(json.as_str()),
        _ => Err(()),
    }
}

fn unknown_model(step: &PlannedStep) -> String {
    format!("unresolved_selector:{}.model_id", step_id(step))
}

fn resources(step: &PlannedStep) -> Json {
    match model_of(step) {
        Ok(None) => discovery(Vec::new(), Vec::new()),
        Err(()) => discovery(Vec::new(), vec![unknown_model(step)]),
        Ok(Some(model)) => discovery(
            vec![json!({
                "type": "dependent_resource_v1",
                "resource_type": "roboflow_platform_model",
                "metadata": {
                    "type": "roboflow_platform_model_v1",
                    "model_id": model,
                    "required_action": "execution",
                    "execution_location": "environment_defined",
                },
            })],
            Vec::new(),
        ),
    }
}

/// The kinds of work that a block does, where the vocabulary of clients has a word for it.
fn operations(spec: &BlockSpec) -> Option<&'static [&'static str]> {
    let gives = |name: &str| spec.outputs.iter().any(|output| output.name == name);
    Some(match spec.family {
        Family::Model => &["model_inference"],
        Family::Visualization => &["visualization"],
        Family::Transformation if gives("crops") => &["image_crop"],
        Family::Transformation if gives("tracked_detections") => &["tracking"],
        _ => return None,
    })
}

/// Number of steps by input depth.
fn by_depth<'a>(steps: impl Iterator<Item = &'a PlannedStep>) -> Json {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for step in steps {
        *counts.entry(step.depth).or_default() += 1;
    }
    let counts = counts.into_iter();
    counts
        .map(|(depth, count)| (depth.to_string(), Json::from(count)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn summary(plan: &Plan, facts: &dyn Fn(&str) -> Option<ModelFacts>) -> Json {
    let mut users: BTreeMap<&str, Vec<&PlannedStep>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for step in &plan.steps {
        match model_of(step) {
            Ok(Some(model)) => users.entry(model).or_default().push(step),
            Ok(None) => {}
            Err(()) => unknown.push(unknown_model(step)),
        }
    }
    let models = users
        .into_iter()
        .map(|(model, steps)| model_json(model, &steps, facts(model)))
        .collect();
    let of_steps = plan
        .steps
        .iter()
        .map(|step| step.depth.max(output_depth(plan, step)));
    let of_outputs = plan.outputs.iter().filter_map(|output| output.lineage);
    let of_outputs = of_outputs.filter_map(|id| plan.lineages.get(id).map(|l| l.len()));
    json!({
        "type": "workflow_summary_v1",
        "models": discovery(models, unknown),
        "max_dimensionality": of_steps.chain(of_outputs).max().unwrap_or(0),
        "steps_by_dimensionality": by_depth(plan.steps.iter()),
    })
}

fn model_json(model: &str, steps: &[&PlannedStep], facts: Option<ModelFacts>) -> Json {
    let mut used_by: Vec<String> = steps.iter().map(|step| step_id(step)).collect();
    used_by.sort();
    let status = if facts.is_some() {
        "available"
    } else {
        "unavailable"
    };
    json!({
        "type": "model_summary_v1",
        "provider": "roboflow",
        "model_id": model,
        "used_by_steps": used_by,
        "steps_by_dimensionality": by_depth(steps.iter().copied()),
        "metadata": facts.map(|facts| json!({
            "type": "model_metadata_v1",
            "model_type": facts.architecture,
            "model_variant": facts.variant,
            "task_type": facts.task,
        })),
        "metadata_status": status,
    })
}
