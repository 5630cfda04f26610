//! Conditions on steps: which branches gate a step, and whether their lineages fit its data.

use super::faults::of_class;
use super::graph::Graph;
use super::lineage::Lineages;
use super::{Gate, LineageId, PlannedStep};
use crate::definition::Document;
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::definition::step::Step;

/// The conditions on the step at position `at`, whose data are of these lineages.
///
/// A condition on an inner workflow reaches those of its steps whose data lie in the condition's
/// elements or below, and those that are given no data by others of them. The rest works on what the
/// conditioned steps leave, so that a condition never changes the depth of what comes out.
pub(super) fn of(
    at: usize,
    document: &Document,
    graph: &Graph,
    planned: &[Option<PlannedStep>],
    data: &[LineageId],
    lineages: &Lineages,
) -> Vec<Gate> {
    let reaches = |through: Option<usize>, condition: Option<LineageId>| {
        let (Some(group), Some(condition)) = (through, condition) else {
            return true;
        };
        let own = lineages.get(condition);
        if data.is_empty() {
            let inside = &document.groups[group].steps;
            return graph.sources[at]
                .iter()
                .all(|source| !inside.contains(source));
        }
        data.iter().any(|&id| lineages.get(id).starts_with(own))
    };
    graph.gated_by[at]
        .iter()
        .filter_map(|gate| {
            let lineage = planned[gate.source].as_ref().and_then(|p| p.output_lineage);
            reaches(gate.through, lineage).then_some(Gate {
                branch: gate.branch,
                lineage,
            })
        })
        .collect()
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
    lineages: &Lineages,
) -> Result<(), WorkflowError> {
    if data.is_empty() {
        return Ok(());
    }
    for id in distinct_lineages(gates) {
        let of_condition = lineages.get(id);
        if !data
            .iter()
            .any(|&d| lineages.get(d).starts_with(of_condition))
        {
            return Err(of_class(
                ErrorClass::ControlFlowDefinition,
                step,
                "verification_of_control_flow_lineage",
                "it depends on a condition over elements that its data do not belong to",
            ));
        }
    }
    Ok(())
}
