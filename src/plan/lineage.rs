//! Lineages: the families of elements in a graph, and which of them each input and output has
//! (engine specification, section 5.1).

use std::collections::HashMap;

use smallvec::SmallVec;

use super::graph::Graph;
use super::step::StepPlanner;
use super::{CONSTRUCTION, LineageId, OutputSource, PlannedOutput, PlannedStep};
use crate::definition::Document;
use crate::definition::document::{InputDef, InputType};
use crate::definition::error::{ErrorClass, WorkflowError};

/// One number per nesting level, from the top: who made that level.
pub type Lineage = SmallVec<[u32; 4]>;

/// The level that all batch inputs share.
pub const WORKFLOW_INPUT: u32 = 0;

/// Nesting levels that data may have. JSON itself is not read much deeper.
pub const MAX_DEPTH: usize = 64;

/// What planning adds to the graph.
pub(super) struct Planned {
    pub steps: Vec<PlannedStep>,
    pub lineages: Vec<Lineage>,
    pub input_levels: Vec<Vec<LineageId>>,
}

/// Every lineage of a graph.
#[derive(Default)]
pub(super) struct Lineages {
    all: Vec<Lineage>,
    ids: HashMap<Lineage, LineageId>,
    next_level: u32,
}

impl Lineages {
    pub(super) fn id(&mut self, lineage: Lineage) -> LineageId {
        if let Some(&id) = self.ids.get(&lineage) {
            return id;
        }
        let id = self.all.len();
        self.all.push(lineage.clone());
        self.ids.insert(lineage, id);
        id
    }

    pub(super) fn get(&self, id: LineageId) -> &Lineage {
        &self.all[id]
    }

    pub(super) fn new_level(&mut self) -> u32 {
        self.next_level += 1;
        self.next_level
    }

    /// The first `depth` levels of a lineage.
    pub(super) fn cut(&mut self, id: LineageId, depth: usize) -> LineageId {
        let cut = self.all[id][..depth].into();
        self.id(cut)
    }

    pub(super) fn depth(&self, id: Option<LineageId>) -> usize {
        id.map_or(0, |id| self.all[id].len())
    }
}

/// The lineages of the inputs, by position: one per level from the top, none for parameters.
pub(super) fn plan_inputs(
    document: &Document,
) -> Result<(Lineages, Vec<Vec<LineageId>>), WorkflowError> {
    let mut lineages = Lineages::default();
    let inputs = document.inputs.iter();
    let levels = inputs
        .map(|input| plan_input(input, &mut lineages))
        .collect::<Result<_, _>>()?;
    Ok((lineages, levels))
}

pub(super) fn plan_steps(
    document: &Document,
    graph: &Graph,
    (mut lineages, input_levels): (Lineages, Vec<Vec<LineageId>>),
) -> Result<Planned, WorkflowError> {
    let mut planned: Vec<Option<PlannedStep>> = vec![None; document.steps.len()];
    for &at in &graph.order {
        let step = StepPlanner {
            document,
            graph,
            planned: &planned,
            input_levels: &input_levels,
            lineages: &mut lineages,
            step: &document.steps[at],
            at,
        }
        .plan()?;
        planned[at] = Some(step);
    }
    Ok(Planned {
        steps: planned.into_iter().flatten().collect(),
        lineages: lineages.all,
        input_levels,
    })
}

/// The lineages of an input, one per level from the top; none for a scalar.
fn plan_input(input: &InputDef, lineages: &mut Lineages) -> Result<Vec<LineageId>, WorkflowError> {
    let depth = match input.input_type {
        InputType::Parameter(_) | InputType::Constant(_) => return Ok(Vec::new()),
        InputType::Image | InputType::VideoMetadata => 1,
        InputType::Batch(depth) => match usize::try_from(depth) {
            Ok(depth) if (1..=MAX_DEPTH).contains(&depth) => depth,
            _ => {
                let message = format!(
                    "input `{}`: `dimensionality` must be from 1 to {MAX_DEPTH}, got {depth}",
                    input.name
                );
                return Err(WorkflowError::new(
                    ErrorClass::ExecutionGraphStructure,
                    CONSTRUCTION,
                    message,
                ));
            }
        },
    };
    let mut lineage: Lineage = SmallVec::from_slice(&[WORKFLOW_INPUT]);
    let mut levels = vec![lineages.id(lineage.clone())];
    for _ in 1..depth {
        lineage.push(lineages.new_level());
        levels.push(lineages.id(lineage.clone()));
    }
    Ok(levels)
}

pub(super) fn plan_outputs(
    document: &Document,
    graph: &Graph,
    planned: &Planned,
) -> Result<Vec<PlannedOutput>, WorkflowError> {
    document
        .outputs
        .iter()
        .map(|output| {
            let source = graph.resolve_output(&output.name, &output.selector)?;
            let lineage = match source {
                OutputSource::Input(i) => planned.input_levels[i].last().copied(),
                OutputSource::Step(s, _) | OutputSource::AllOf(s) => {
                    planned.steps[s].output_lineage
                }
            };
            Ok(PlannedOutput {
                name: output.name.clone(),
                source,
                lineage,
                coordinates: output.coordinates,
            })
        })
        .collect()
}
