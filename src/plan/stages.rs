//! Stages: steps that run in one thread. A model step is a stage of its own; the steps between two
//! models are fused, because a call costs nothing and a hop between threads microseconds.

use super::PlannedStep;
use crate::blocks::Role;

/// Cuts the steps into stages. `order` is the order of execution.
pub(super) fn cut(steps: &[PlannedStep], order: &[usize]) -> Vec<Vec<usize>> {
    // (number of models on the longest path before the step, 0 or position of the model among those)
    let mut key = vec![(0usize, 0usize); steps.len()];
    for &s in order {
        let before = steps[s]
            .dependencies
            .iter()
            .map(|&d| key[d].0 + usize::from(key[d].1 > 0))
            .max()
            .unwrap_or(0);
        let model = steps[s].step.spec.role == Role::Model;
        key[s] = (before, if model { s + 1 } else { 0 });
    }
    let mut sorted = order.to_vec();
    sorted.sort_by_key(|&s| (key[s], order.iter().position(|&o| o == s)));
    let mut stages: Vec<Vec<usize>> = Vec::new();
    let mut last = None;
    for s in sorted {
        if last == Some(key[s]) {
            if let Some(stage) = stages.last_mut() {
                stage.push(s);
            }
        } else {
            stages.push(vec![s]);
            last = Some(key[s]);
        }
    }
    stages
}
