//! What the planner makes of definitions, by question.

mod depths;
mod graph;
mod scale;
mod stages;

use serde_json::{Value as Json, json};

use super::{Elements, Plan};
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::definition::testing::{collapse, cond, echo, split, step, workflow};

/// Compiles steps over a batch `b`, a nested batch `bb`, an image and parameters `p` and `q`.
fn plan(steps: Json) -> Result<Plan, WorkflowError> {
    Plan::compile(&workflow(&["b", "bb", "image", "p", "q"], steps, &[]))
}

/// Asserts that steps are refused, and for which reason; answers the field that is blamed.
#[track_caller]
fn assert_refused(steps: Json, class: ErrorClass) -> Option<String> {
    let error = plan(steps).unwrap_err();
    assert_eq!(error.class, class, "{error}");
    let problem = error.blocks.into_iter().next();
    problem.and_then(|p| p.property_name)
}
