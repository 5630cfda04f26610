//! The checked graph: which value goes where, at which nesting depth, in which order, in which
//! stage. A plan is a pure function of a definition and the registry of blocks; it knows no threads.

mod depths;
mod faults;
mod gates;
mod graph;
pub mod identity;
mod lifting;
mod lineage;
mod stages;
mod step;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::definition::document::{Coordinates, InputDef, InputType};
use crate::definition::error::WorkflowError;
use crate::definition::step::Step;
use crate::definition::{Document, InnerWorkflows};
use crate::values::Value;

pub use graph::step_outputs;
pub use identity::{PlanDifference, StepIdentity};
pub use lineage::{Lineage, MAX_DEPTH, WORKFLOW_INPUT};

/// Context of errors that the graph shows.
pub const CONSTRUCTION: &str = "workflow_compilation | execution_graph_construction";

/// A definition that is ready to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The definition.
    pub document: Document,
    /// Steps in definition order.
    pub steps: Vec<PlannedStep>,
    /// Positions in `steps` in the order of execution.
    pub order: Vec<usize>,
    /// Positions in `steps`, cut into stages; concatenated they are a valid order of execution.
    pub stages: Vec<Vec<usize>>,
    /// Outputs in definition order.
    pub outputs: Vec<PlannedOutput>,
    /// Every lineage of the graph; [`LineageId`] points into it.
    pub lineages: Vec<Lineage>,
    /// Lineages of each input, by position: one per level from the top, none for parameters.
    pub input_levels: Vec<Vec<LineageId>>,
    /// Number of branches of all flow-control steps.
    pub branch_count: usize,
}

/// Position of a lineage in [`Plan::lineages`].
pub type LineageId = usize;

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A literal.
    Literal(Value),
    /// A workflow input, by position.
    Input(usize),
    /// An output of a step: position of the step, position of the output.
    Step(usize, usize),
}

/// One value of a field: its source and at which depth it arrives.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it comes from.
    pub source: Source,
    /// Lineage of the source; `None` for scalars.
    pub lineage: Option<LineageId>,
}

/// The shape of a field's value.
#[derive(Clone, Debug)]
pub enum FieldShape {
    /// One value.
    Whole(Part),
    /// A list.
    List(Vec<Part>),
    /// An object.
    Map(Vec<(Arc<str>, Part)>),
}

impl FieldShape {
    /// The values of the field.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        let (whole, list, map) = match self {
            Self::Whole(part) => (Some(part), &[][..], &[][..]),
            Self::List(parts) => (None, &parts[..], &[][..]),
            Self::Map(parts) => (None, &[][..], &parts[..]),
        };
        whole
            .into_iter()
            .chain(list)
            .chain(map.iter().map(|(_, part)| part))
    }
}

/// A field as the engine fills it.
#[derive(Clone, Debug)]
pub struct PlannedField {
    /// The values.
    pub shape: FieldShape,
    /// Depth of the field's data: 0 for scalars, else the length of its lineage (after lifting).
    pub depth: usize,
    /// Whether a scalar is lifted to a batch here.
    pub lifted: bool,
}

/// An output of a step.
#[derive(Clone, Debug)]
pub struct StepOutput {
    /// Name.
    pub name: Arc<str>,
    /// Kinds.
    pub kinds: Vec<String>,
}

/// A condition on a step: one branch of a flow-control step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Number of the branch.
    pub branch: usize,
    /// Lineage of the decision; `None` for scalar decisions.
    pub lineage: Option<LineageId>,
}

/// A branch of a flow-control step: the targets that one decision reaches together.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Number in the plan.
    pub number: usize,
    /// The field that holds the targets.
    pub field: &'static str,
    /// The key, for targets in an object.
    pub key: Option<Arc<str>>,
    /// Positions of the target steps.
    pub targets: Vec<usize>,
}

/// Over which elements a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elements {
    /// Once, without a place in any batch.
    Once,
    /// Over the elements of this lineage.
    Of(LineageId),
    /// Over the single element of an artificial batch of this depth (all data are lifted scalars).
    Artificial(usize),
}

/// A step with everything that the engine needs to run it.
#[derive(Clone, Debug)]
pub struct PlannedStep {
    /// The step.
    pub step: Arc<Step>,
    /// Its outputs, in the order in which the block returns them.
    pub outputs: Vec<StepOutput>,
    /// Its fields, in the block's order.
    pub fields: Vec<PlannedField>,
    /// Over which elements it runs.
    pub elements: Elements,
    /// Depth of `elements`.
    pub depth: usize,
    /// The lineage of those data that lie one level deeper than `elements`.
    pub deeper: Option<LineageId>,
    /// Scalars that other steps give, by step and output: without one of them nothing runs.
    pub needs: Vec<(usize, usize)>,
    /// Whether the block is called once with whole batches.
    pub batch_mode: bool,
    /// Whether the step runs over elements at all (also once over one artificial element).
    pub simd: bool,
    /// Lineage of its outputs; `None` for scalars.
    pub output_lineage: Option<LineageId>,
    /// Conditions that must all hold.
    pub gates: Vec<Gate>,
    /// Its own branches, if it is a flow-control step.
    pub branches: Vec<Branch>,
    /// Steps that must have run before.
    pub dependencies: Vec<usize>,
    /// The image input whose stream the step's data belong to.
    pub stream_input: Option<usize>,
}

/// What an output shows.
#[derive(Clone, Debug)]
pub enum OutputSource {
    /// A workflow input.
    Input(usize),
    /// An output of a step.
    Step(usize, usize),
    /// All outputs of a step.
    AllOf(usize),
}

/// An output of the workflow.
#[derive(Clone, Debug)]
pub struct PlannedOutput {
    /// Name.
    pub name: Arc<str>,
    /// What it shows.
    pub source: OutputSource,
    /// Lineage; `None` for scalars.
    pub lineage: Option<LineageId>,
    /// Frame of detections.
    pub coordinates: Coordinates,
}

impl Plan {
    /// Compiles a definition.
    ///
    /// # Errors
    /// Those of [`Document::parse`], then those of sections 4.3 to 5.6 of the engine specification:
    /// missing targets, kinds, cycles, nesting depths, lineages, conditions.
    pub fn compile(definition: &serde_json::Value) -> Result<Self, WorkflowError> {
        Self::of(Document::parse(definition)?)
    }

    /// Compiles a definition with what the host lends to its inner workflows. Waits for the library
    /// if a definition is only named.
    ///
    /// # Errors
    /// See [`Self::compile`].
    pub fn compile_with(
        definition: &serde_json::Value,
        host: &InnerWorkflows<'_>,
    ) -> Result<Self, WorkflowError> {
        Self::of(Document::parse_with(definition, host)?)
    }

    /// Compiles a parsed definition.
    ///
    /// # Errors
    /// See [`Self::compile`].
    pub fn of(document: Document) -> Result<Self, WorkflowError> {
        // An input that cannot be is told before references that lead nowhere.
        let inputs = lineage::plan_inputs(&document)?;
        let graph = graph::Graph::build(&document)?;
        let planned = lineage::plan_steps(&document, &graph, inputs)?;
        let outputs = lineage::plan_outputs(&document, &graph, &planned)?;
        let stages = stages::cut(&planned.steps, &graph.order);
        Ok(Self {
            steps: planned.steps,
            order: graph.order,
            stages,
            outputs,
            lineages: planned.lineages,
            input_levels: planned.input_levels,
            branch_count: graph.branch_count,
            document,
        })
    }

    /// The inputs of the definition and, behind them, the constants of inner workflows.
    pub fn inputs(&self) -> &[InputDef] {
        &self.document.inputs
    }

    /// The inputs that callers give.
    pub fn declared_inputs(&self) -> impl Iterator<Item = &InputDef> {
        self.document.inputs.iter().filter(|i| i.is_declared())
    }

    /// The image inputs, to which streams feed their frames.
    pub fn image_inputs(&self) -> impl Iterator<Item = &InputDef> {
        self.document
            .inputs
            .iter()
            .filter(|i| i.input_type == InputType::Image)
    }
}
