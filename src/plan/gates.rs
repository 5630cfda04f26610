//! Conditions on steps: which branches gate a step, and whether their lineages fit its data.

use super::graph::Graph;
use super::{CONSTRUCTION, Gate, Lineage, LineageId, PlannedStep};
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::definition::step::Step;

/// The conditions on the step at position `at`.
pub(super) fn of(at: usize, graph: &Graph, planned: &[Option<PlannedStep>]) -> Vec<Gate> {
    let mut gates = Vec::new();
    for (source, branches) in graph.branches.iter().enumerate() {
        for branch in branches.iter().filter(|b| b.targets.contains(&at)) {
            let lineage = planned[source].as_ref().and_then(|p| p.output_lineage);
            gates.push(Gate {
                branch: branch.number,
                lineage,
            });
        }
    }
    gates
}

/// The lineages of conditions over batches, each once.
pub(super) fn distinct_lineages(gates: &[Gate]) -> Vec<LineageId> {
    let mut ids: Vec<LineageId> = gates.iter().filter_map(|g| g.lineage).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The lineage of each condition must be that of one of the step's data or of a level above.
pub(super) fn check(
    step: &Step,
    gates: &[Gate],
    data: &[LineageId],
    lineages: &[Lineage],
) -> Result<(), WorkflowError> {
    if data.is_empty() {
        return Ok(());
    }
    for id in distinct_lineages(gates) {
        if !data.iter().any(|&d| lineages[d].starts_with(&lineages[id])) {
            return Err(WorkflowError::new(
                ErrorClass::ControlFlowDefinition,
                format!("{CONSTRUCTION} | verification_of_control_flow_lineage"),
                format!(
                    "step `{}` depends on a condition over elements that its data do not belong to",
                    step.name
                ),
            ));
        }
    }
    Ok(())
}
