//! The state of one run: what has been computed so far.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::blocks::Row;
use crate::models::Claim;
use crate::plan::{LineageId, Plan, Source};
use crate::values::{Index, Value};

/// Rows of a step, one per element; none where skipped. A run of one frame allocates nothing here.
pub(super) type Rows = SmallVec<[Option<Row>; 1]>;

/// Parameters in another form than they came in, by step and field.
pub(super) type Overrides = Arc<HashMap<(usize, usize), Value>>;

/// One run on its way through the stages.
#[derive(Debug)]
pub struct Run {
    /// Number of elements of the batch inputs.
    pub(super) batch_size: usize,
    /// Values of the inputs, by position.
    pub(super) inputs: Vec<InputData>,
    /// Places of the elements of each lineage, once known; sorted.
    pub(super) indices: Vec<Arc<Vec<Index>>>,
    /// Results of the steps, by position.
    pub(super) results: Vec<StepResult>,
    /// Decisions taken, by number of the branch.
    pub(super) branches: Vec<BranchState>,
    /// Parameters in another form than they came in.
    pub(super) overrides: Overrides,
    /// The stream of a run without images.
    pub(super) no_stream: Arc<str>,
    /// The turn of its stream at the models of the stage that it is in.
    pub(super) claim: Option<Arc<Claim>>,
    /// When steps ran, if somebody wants to know.
    pub(super) steps: Option<Vec<StepTime>>,
}

/// When a step ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTime {
    /// Position of the step in the plan.
    pub at: usize,
    /// When it began, by the clock of the services.
    pub began: Duration,
    /// When it ended.
    pub ended: Duration,
    /// Whether it failed.
    pub failed: bool,
}

/// Values of an input.
#[derive(Debug)]
pub(super) enum InputData {
    /// A parameter.
    Scalar(Value),
    /// A batch, aligned with the places of its lineage.
    Batch(Vec<Value>),
}

/// Results of a step.
#[derive(Debug)]
pub(super) enum StepResult {
    /// Not run yet.
    Pending,
    /// One row, or none if the step was skipped.
    Scalar(Option<Row>),
    /// Rows aligned with the places of the output lineage.
    Batch(Rows),
}

/// State of a branch.
#[derive(Debug, Clone)]
pub(super) enum BranchState {
    /// The flow-control step did not run: counts as closed.
    Unregistered,
    /// One decision for everything.
    Scalar(bool),
    /// A decision per place of a lineage.
    Batch(LineageId, SmallVec<[bool; 8]>),
}

impl Run {
    pub(super) fn new(plan: &Plan, batch_size: usize) -> Self {
        Self {
            batch_size,
            inputs: Vec::with_capacity(plan.inputs().len()),
            indices: vec![Arc::default(); plan.lineages.len()],
            results: plan.steps.iter().map(|_| StepResult::Pending).collect(),
            branches: vec![BranchState::Unregistered; plan.branch_count],
            overrides: Arc::default(),
            no_stream: Arc::from(""),
            claim: None,
            steps: None,
        }
    }

    /// Sets the turn of its stream at the models of the next stage.
    pub fn set_claim(&mut self, claim: Option<Arc<Claim>>) {
        self.claim = claim;
    }

    /// Has the times of the steps noted from now on.
    pub fn observe_steps(&mut self) {
        self.steps.get_or_insert_default();
    }

    /// Takes the times that were noted.
    pub fn take_steps(&mut self) -> Vec<StepTime> {
        self.steps.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Number of elements of the batch inputs.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// A scalar: a literal, a parameter, an output of a step that ran once.
    pub(super) fn scalar<'a>(&'a self, source: &'a Source) -> &'a Value {
        match source {
            Source::Literal(value) => value,
            Source::Input(i) => match &self.inputs[*i] {
                InputData::Scalar(value) => value,
                InputData::Batch(values) => values.first().unwrap_or(&Value::None),
            },
            Source::Step(s, o) => self.output(*s, *o),
        }
    }

    /// An output of a step that ran once.
    pub(super) fn output(&self, step: usize, output: usize) -> &Value {
        match &self.results[step] {
            StepResult::Scalar(Some(row)) => &row[output],
            _ => &Value::None,
        }
    }

    /// The value at a position of a batch source; `None` where skipped.
    pub(super) fn element<'a>(&'a self, source: &'a Source, position: usize) -> &'a Value {
        let found = match source {
            Source::Literal(value) => Some(value),
            Source::Input(i) => match &self.inputs[*i] {
                InputData::Scalar(value) => Some(value),
                InputData::Batch(values) => values.get(position),
            },
            Source::Step(s, o) => match &self.results[*s] {
                StepResult::Batch(rows) => rows
                    .get(position)
                    .and_then(Option::as_ref)
                    .map(|row| &row[*o]),
                StepResult::Scalar(row) => row.as_ref().map(|row| &row[*o]),
                StepResult::Pending => None,
            },
        };
        found.unwrap_or(&Value::None)
    }

    /// Identifier of the stream to which the element at `top` of an input belongs; without `top`
    /// the one stream of the whole batch, or an empty text if there are several.
    pub(super) fn stream(&self, input: Option<usize>, top: Option<u32>) -> &Arc<str> {
        let Some(InputData::Batch(values)) = input.map(|i| &self.inputs[i]) else {
            return &self.no_stream;
        };
        fn of(value: &Value) -> Option<&Arc<str>> {
            match value {
                Value::Image(image) => Some(image.video_identifier()),
                Value::Video(video) => Some(&video.video_identifier),
                _ => None,
            }
        }
        match top {
            Some(i) => values
                .get(i as usize)
                .and_then(of)
                .unwrap_or(&self.no_stream),
            None => {
                let mut all = values.iter().filter_map(of);
                match all.next() {
                    Some(first) if all.all(|other| other == first) => first,
                    _ => &self.no_stream,
                }
            }
        }
    }
}
