//! The errors of a step in the graph, in the words and with the details that clients know.

use super::CONSTRUCTION;
use crate::definition::error::{BlockProblem, ErrorClass, WorkflowError};
use crate::definition::selector::Selector;
use crate::definition::step::{FieldValue, Step};
use serde_json::Value as Json;

fn problem(step: &Step) -> BlockProblem {
    BlockProblem {
        block_id: Some(step.name.to_string()),
        block_type: Some(step.type_tag.clone()),
        ..BlockProblem::default()
    }
}

/// A reference to an input or step that is not there; `hint` is what else to say.
pub(super) fn missing_target(
    step: &Step,
    field: &str,
    selector: &Selector,
    hint: &str,
) -> WorkflowError {
    let target = match selector {
        Selector::StepOutput(name, _) | Selector::AllOutputs(name) => format!("$steps.{name}"),
        other => other.to_string(),
    };
    let details = format!("{target} refers to nothing in this definition{hint}");
    let problem = BlockProblem {
        property_name: holder_of(step, &target),
        property_details: Some(details.clone()),
        ..problem(step)
    };
    let message = format!("step `{}`, field `{field}`: {details}", step.name);
    WorkflowError::new(ErrorClass::InvalidReferenceTarget, CONSTRUCTION, message)
        .with_block(problem)
}

/// The first field whose text holds a reference; none if it stands in lists or objects only.
fn holder_of(step: &Step, target: &str) -> Option<String> {
    let holds = |value: &FieldValue| match value {
        FieldValue::Selector(selector) => selector.to_string().contains(target),
        FieldValue::Literal(Json::String(text), _) => text.contains(target),
        _ => false,
    };
    let mut fields = step.spec.fields.iter().zip(&step.values);
    fields
        .find(|(_, value)| holds(value))
        .map(|(field, _)| field.name.to_owned())
}

/// A field that makes the graph impossible.
pub(super) fn wrong_structure(step: &Step, field: &str, details: String) -> WorkflowError {
    let message = format!("step `{}`, field `{field}`: {details}", step.name);
    let problem = BlockProblem {
        property_name: Some(field.to_owned()),
        property_details: Some(details),
        ..problem(step)
    };
    WorkflowError::new(ErrorClass::ExecutionGraphStructure, CONSTRUCTION, message)
        .with_block(problem)
}

/// Kinds of a source that a field does not take.
pub(super) fn wrong_kinds(
    step: &Step,
    field: &str,
    selector: &Selector,
    expected: &[&str],
    actual: &[String],
) -> WorkflowError {
    let message = format!(
        "step $steps.{}: field `{field}` takes {}, but {selector} gives {}",
        step.name,
        expected.join(", "),
        actual.join(", ")
    );
    WorkflowError::new(ErrorClass::ReferenceType, CONSTRUCTION, message)
}

/// A value where a step is meant.
pub(super) fn takes_no_data(step: &Step, field: &str, selector: &Selector) -> WorkflowError {
    let details = format!("field `{field}` takes steps, but {selector} is data");
    WorkflowError {
        class: ErrorClass::ReferenceType,
        ..wrong_structure(step, field, details)
    }
}

/// An output that shows nothing.
pub(super) fn missing_output(name: &str, details: String) -> WorkflowError {
    let message = format!("output `{name}`: {details}");
    let problem = BlockProblem {
        block_id: Some("$outputs".into()),
        property_name: Some(name.to_owned()),
        property_details: Some(details),
        ..BlockProblem::default()
    };
    WorkflowError::new(ErrorClass::InvalidReferenceTarget, CONSTRUCTION, message)
        .with_block(problem)
}

/// An output names a step that does not exist, in the reference's words.
pub(super) fn missing_step(name: &str, step: &str) -> WorkflowError {
    let message =
        format!("Workflow references '$steps.{step}' which points to a non-existent block.");
    let problem = BlockProblem {
        block_id: Some("$outputs".into()),
        property_name: Some(name.to_owned()),
        property_details: Some(format!("Invalid reference to $steps.{step}")),
        ..BlockProblem::default()
    };
    WorkflowError::new(ErrorClass::InvalidReferenceTarget, CONSTRUCTION, message)
        .with_block(problem)
}

/// A step name that no selector can hold.
pub(super) fn unreachable_name(step: &Step) -> WorkflowError {
    let details = "the name of a step must have no dot: nothing could refer to it".to_owned();
    let message = format!("step `{}`: {details}", step.name);
    let problem = BlockProblem {
        property_name: Some("name".into()),
        property_details: Some(details),
        ..problem(step)
    };
    WorkflowError::new(ErrorClass::InvalidReferenceTarget, CONSTRUCTION, message)
        .with_block(problem)
}

/// Nesting depths that do not fit.
pub(super) fn wrong_depth(
    step: &Step,
    field: Option<&str>,
    phase: &str,
    details: String,
) -> WorkflowError {
    let message = format!("step `{}`: {details}", step.name);
    let problem = BlockProblem {
        block_details: Some(details),
        property_name: field.map(str::to_owned),
        ..problem(step)
    };
    let context = format!("{CONSTRUCTION} | {phase}");
    WorkflowError::new(ErrorClass::StepInputDimensionality, context, message).with_block(problem)
}

/// An error of a class that carries no details by field.
pub(super) fn of_class(
    class: ErrorClass,
    step: &Step,
    phase: &str,
    details: &str,
) -> WorkflowError {
    let message = format!("step `{}`: {details}", step.name);
    WorkflowError::new(class, format!("{CONSTRUCTION} | {phase}"), message)
}
