//! What makes a step the same step in another version of its definition.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::Plan;
use crate::definition::step::{FieldValue, Step};

/// Identity of a step: name, block and the values of all fields. A step that has the same identity
/// in two definitions keeps its state when a stream moves from one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepIdentity([u8; 32]);

impl StepIdentity {
    /// The identity of a step.
    pub fn of(step: &Step) -> Self {
        let mut hash = Sha256::new();
        hash.update(step.name.as_bytes());
        hash.update([0]);
        hash.update(step.spec.type_id().as_bytes());
        for value in &step.values {
            hash.update([0]);
            digest(value, &mut hash);
        }
        Self(hash.finalize().into())
    }
}

fn digest(value: &FieldValue, hash: &mut Sha256) {
    match value {
        FieldValue::Literal(json, _) => hash.update(json.to_string().as_bytes()),
        FieldValue::Selector(selector) => hash.update(selector.to_string().as_bytes()),
        FieldValue::List(items) => {
            hash.update(b"[");
            for item in items {
                digest(item, hash);
                hash.update(b",");
            }
        }
        FieldValue::Map(entries) => {
            hash.update(b"{");
            for (key, item) in entries {
                hash.update(key.as_bytes());
                hash.update(b":");
                digest(item, hash);
                hash.update(b",");
            }
        }
    }
}

/// Which steps two plans have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanDifference {
    /// Steps of the new plan by position, with their position in the old one.
    pub kept: HashMap<usize, usize>,
    /// Names of steps that only the new plan has, or has with other parameters.
    pub added: Vec<String>,
    /// Names of steps that only the old plan has, or had with other parameters.
    pub dropped: Vec<String>,
}

impl PlanDifference {
    /// Compares two plans.
    pub fn between(old: &Plan, new: &Plan) -> Self {
        let identities = |plan: &Plan| -> Vec<StepIdentity> {
            plan.steps
                .iter()
                .map(|s| StepIdentity::of(&s.step))
                .collect()
        };
        let (before, after) = (identities(old), identities(new));
        let mut difference = Self::default();
        for (at, identity) in after.iter().enumerate() {
            match before.iter().position(|b| b == identity) {
                Some(was) => {
                    difference.kept.insert(at, was);
                }
                None => difference.added.push(new.steps[at].step.name.to_string()),
            }
        }
        for (at, identity) in before.iter().enumerate() {
            if !after.contains(identity) {
                difference.dropped.push(old.steps[at].step.name.to_string());
            }
        }
        difference
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn plan(kernel: i64, extra: bool) -> Plan {
        let mut steps = vec![
            json!({"type": "roboflow_core/image_blur@v1", "name": "soft", "image": "$inputs.image", "kernel_size": kernel}),
            json!({"type": "roboflow_core/qr_code_detector@v1", "name": "codes", "images": "$inputs.image"}),
        ];
        if extra {
            steps.insert(0, json!({"type": "roboflow_core/convert_grayscale@v1", "name": "gray", "image": "$inputs.image"}));
        }
        let definition: Json = json!({"version": "1.0", "inputs": [{"type": "WorkflowImage", "name": "image"}], "steps": steps, "outputs": []});
        Plan::compile(&definition).unwrap()
    }

    #[test]
    fn a_changed_parameter_makes_another_step() {
        let difference = PlanDifference::between(&plan(3, false), &plan(5, true));
        assert_eq!(difference.kept, HashMap::from([(2, 1)]));
        assert_eq!(difference.added, ["gray", "soft"]);
        assert_eq!(difference.dropped, ["soft"]);
        assert_eq!(
            PlanDifference::between(&plan(3, true), &plan(3, true))
                .kept
                .len(),
            3
        );
    }

    #[test]
    fn a_change_inside_an_inner_workflow_changes_the_step_it_is_made_in() {
        let plan = |kernel: i64| {
            let child = json!({"version": "1.0", "inputs": [{"type": "WorkflowImage", "name": "image"}],
                "steps": [
                    {"type": "roboflow_core/image_blur@v1", "name": "soft", "image": "$inputs.image", "kernel_size": kernel},
                    {"type": "roboflow_core/qr_code_detector@v1", "name": "codes", "images": "$inputs.image"}],
                "outputs": []});
            let definition = json!({"version": "1.0", "inputs": [{"type": "WorkflowImage", "name": "image"}],
                "steps": [{"type": "roboflow_core/inner_workflow@v1", "name": "inner", "workflow_definition": child,
                           "parameter_bindings": {"image": "$inputs.image"}}],
                "outputs": []});
            Plan::compile(&definition).unwrap()
        };
        let difference = PlanDifference::between(&plan(3), &plan(5));
        assert_eq!(difference.kept, HashMap::from([(1, 1)]));
        assert_eq!(difference.added, ["inner__soft"]);
        assert_eq!(difference.dropped, ["inner__soft"]);
    }
}
