//! Stages: steps that run in one thread. A model step is a stage of its own; the steps between two
//! models are fused, because a call costs nothing and a hop between threads microseconds.

use super::PlannedStep;
use crate::blocks::Role;

/// Where a step runs: the number of models on the longest path before it, then, for a model, which
/// one it is. Steps of one place form a stage.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    models_before: usize,
    /// Steps that are no models come first.
    model: Option<usize>,
}

/// Cuts the steps into stages. `order` is the order of execution.
pub(super) fn cut(steps: &[PlannedStep], order: &[usize]) -> Vec<Vec<usize>> {
    let mut places = vec![Place::default(); steps.len()];
    for &s in order {
        let models_before = steps[s]
            .dependencies
            .iter()
            .map(|&d| places[d].models_before + usize::from(places[d].model.is_some()))
            .max()
            .unwrap_or(0);
        let is_model = steps[s].step.spec.role == Role::Model;
        places[s] = Place {
            models_before,
            model: is_model.then_some(s),
        };
    }
    let mut sorted = order.to_vec();
    // The sort is stable: steps of one stage keep the order of execution.
    sorted.sort_by_key(|&s| places[s]);
    sorted
        .chunk_by(|&a, &b| places[a] == places[b])
        .map(<[usize]>::to_vec)
        .collect()
}
