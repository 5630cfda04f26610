//! A stage: some steps of a plan with their blocks, run one after the other in one thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value as Json;
use smallvec::{SmallVec, smallvec};

use super::elements::{FieldValues, StepElements};
use super::run::{BranchState, Rows, Run, StepResult, StepTime};
use crate::blocks::{Block, BlockError, Context, Decision, Inputs, Output, Role, Row, Services};
use crate::definition::error::{BlockProblem, ErrorClass, WorkflowError};
use crate::plan::{Branch, Elements, Plan, PlannedStep, WORKFLOW_INPUT};
use crate::values::{Index, Value};

/// Steps with their blocks.
pub struct Stage {
    pub(super) plan: Arc<Plan>,
    pub(super) services: Services,
    pub(super) blocks: Vec<(usize, Box<dyn Block>)>,
}

/// What a step gave for its elements, before it is put into the run.
enum Given {
    /// A row per element, none where skipped.
    Rows(Rows),
    /// A new level of elements.
    Level(Level),
    /// A decision per element, none where skipped.
    Decisions(SmallVec<[Option<Decision>; 1]>),
}

/// A new level of elements, with their places.
#[derive(Default)]
struct Level {
    places: Vec<Index>,
    rows: Rows,
}

impl Stage {
    pub(super) fn new(
        plan: Arc<Plan>,
        services: Services,
        blocks: Vec<(usize, Box<dyn Block>)>,
    ) -> Self {
        Self {
            plan,
            services,
            blocks,
        }
    }

    pub(super) fn name_definition(&mut self, stamp: Arc<Json>) {
        self.services.definition = stamp;
    }

    /// Positions of the steps in the plan.
    pub fn steps(&self) -> impl Iterator<Item = usize> {
        self.blocks.iter().map(|(at, _)| *at)
    }

    /// Whether the stage runs a model.
    pub fn is_model(&self) -> bool {
        self.steps()
            .any(|at| self.plan.steps[at].step.spec.role == Role::Model)
    }

    /// Names of the steps, for logs and thread names.
    pub fn name(&self) -> String {
        let names: Vec<&str> = self
            .steps()
            .map(|at| &*self.plan.steps[at].step.name)
            .collect();
        names.join("+")
    }

    /// The plan that the stage belongs to.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Puts another instance in the place of a step's block: the one that ran the step before a
    /// swap, with its state. The block that was there is closed.
    pub fn replace_block(&mut self, at: usize, block: Box<dyn Block>) {
        if let Some((_, own)) = self.blocks.iter_mut().find(|(step, _)| *step == at) {
            close(std::mem::replace(own, block).as_mut());
        }
    }

    /// Gives up the blocks, by step: a swap takes those of kept steps over and closes the others.
    pub fn into_blocks(mut self) -> Vec<(usize, Box<dyn Block>)> {
        std::mem::take(&mut self.blocks)
    }

    /// Runs the steps on one run.
    ///
    /// # Errors
    /// The first failure of a step; a panic in a block is one.
    pub fn run(&mut self, run: &mut Run) -> Result<(), WorkflowError> {
        for (at, block) in &mut self.blocks {
            let step = StepRun {
                plan: &self.plan,
                planned: &self.plan.steps[*at],
                services: &self.services,
                at: *at,
            };
            match (&self.services.profile, &run.steps) {
                (None, None) => step.run(block.as_mut(), run)?,
                (Some(profile), _) => {
                    let begun = Instant::now();
                    let ran = step.run(block.as_mut(), run);
                    profile.note(&step.planned.step.name, "workflow_block_operation", begun);
                    ran?;
                }
                (None, Some(_)) => step.run_observed(block.as_mut(), run)?,
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for (_, block) in &mut self.blocks {
            close(block.as_mut());
        }
    }
}

/// Closes a block that is given up. A panic there is no reason to leave other blocks open.
pub(super) fn close(block: &mut dyn Block) {
    if catch_unwind(AssertUnwindSafe(|| block.close())).is_err() {
        tracing::error!("a block panicked while it was closed");
    }
}

struct StepRun<'a> {
    plan: &'a Plan,
    planned: &'a PlannedStep,
    services: &'a Services,
    at: usize,
}

impl StepRun<'_> {
    fn run_observed(&self, block: &mut dyn Block, run: &mut Run) -> Result<(), WorkflowError> {
        let began = self.services.clock.monotonic();
        let ran = self.run(block, run);
        if let Some(steps) = &mut run.steps {
            steps.push(StepTime {
                at: self.at,
                began,
                ended: self.services.clock.monotonic(),
                failed: ran.is_err(),
            });
        }
        ran
    }

    fn run(&self, block: &mut dyn Block, run: &mut Run) -> Result<(), WorkflowError> {
        let elements = StepElements::new(self.plan, run, self.at);
        let given = if elements.is_discarded() {
            None
        } else if self.planned.batch_mode {
            Some(self.run_batch(block, run, &elements)?)
        } else {
            Some(self.run_each(block, run, &elements)?)
        };
        drop(elements);
        match given {
            Some(given) => self.store(run, given),
            None => self.skip(run),
        }
        Ok(())
    }

    fn run_each(
        &self,
        block: &mut dyn Block,
        run: &Run,
        elements: &StepElements<'_>,
    ) -> Result<Given, WorkflowError> {
        let places = elements.places.as_slice();
        let mut given = self.nothing_given(places.len());
        let mut values = FieldValues::new();
        for (position, place) in places.iter().enumerate() {
            if !elements.fill(position, &mut values) {
                match &mut given {
                    Given::Rows(rows) => rows.push(None),
                    Given::Level(_) => {}
                    Given::Decisions(all) => all.push(None),
                }
                continue;
            }
            let top = self.of_inputs().then(|| place.first().copied()).flatten();
            match (&mut given, self.call(block, run, &values, top)?) {
                (Given::Rows(rows), Output::One(row)) => {
                    self.check_row(&row)?;
                    rows.push(Some(row));
                }
                (Given::Level(level), Output::Many(new)) => self.add(level, place, new)?,
                (Given::Decisions(all), Output::Next(decision)) => all.push(Some(decision)),
                _ => return Err(self.misbehaves()),
            }
        }
        Ok(given)
    }

    fn run_batch(
        &self,
        block: &mut dyn Block,
        run: &Run,
        elements: &StepElements<'_>,
    ) -> Result<Given, WorkflowError> {
        let places = elements.places.as_slice();
        let mut given = self.nothing_given(0);
        if let Given::Rows(rows) = &mut given {
            rows.resize(places.len(), None);
        }
        let (remaining, values) = elements.batch();
        let (Some(&first), Some(&last)) = (remaining.first(), remaining.last()) else {
            return Ok(given);
        };
        // Elements of several images belong to no one stream.
        let one_image = self.of_inputs() && places[first].first() == places[last].first();
        let top = one_image.then(|| places[first].first().copied()).flatten();
        let output = self.call(block, run, &values, top)?;
        let complete = |got: usize| {
            let wanted = remaining.len();
            (got == wanted).then_some(()).ok_or_else(|| {
                self.broken(format!("it returned {got} results for {wanted} elements"))
            })
        };
        match (&mut given, output) {
            (Given::Rows(rows), Output::Many(new)) => {
                complete(new.len())?;
                for (&position, row) in remaining.iter().zip(new) {
                    self.check_row(&row)?;
                    rows[position] = Some(row);
                }
            }
            (Given::Level(level), Output::Nested(new)) => {
                complete(new.len())?;
                for (&position, rows) in remaining.iter().zip(new) {
                    self.add(level, &places[position], rows)?;
                }
            }
            _ => return Err(self.misbehaves()),
        }
        Ok(given)
    }

    /// What the step is going to give, by its description: room for so many elements.
    fn nothing_given(&self, elements: usize) -> Given {
        let spec = self.planned.step.spec;
        if spec.role == Role::FlowControl {
            Given::Decisions(SmallVec::with_capacity(elements))
        } else if spec.output_offset > 0 {
            Given::Level(Level::default())
        } else {
            Given::Rows(Rows::with_capacity(elements))
        }
    }

    /// Whether the top level of the step's elements is that of the workflow's inputs.
    fn of_inputs(&self) -> bool {
        match self.planned.elements {
            Elements::Of(id) => self.plan.lineages[id].first() == Some(&WORKFLOW_INPUT),
            Elements::Once | Elements::Artificial(_) => false,
        }
    }

    /// Adds the elements that one element gave to a new level.
    fn add(&self, level: &mut Level, upper: &Index, new: Vec<Row>) -> Result<(), WorkflowError> {
        let depth = self
            .planned
            .output_lineage
            .map_or(1, |id| self.plan.lineages[id].len());
        for (i, row) in new.into_iter().enumerate() {
            // The place of an artificial element is not part of the new level's places.
            let mut place: Index = upper[..(depth - 1).min(upper.len())].into();
            place.push(i as u32);
            self.check_row(&row)?;
            level.places.push(place);
            level.rows.push(Some(row));
        }
        Ok(())
    }

    fn call(
        &self,
        block: &mut dyn Block,
        run: &Run,
        values: &[Value],
        top: Option<u32>,
    ) -> Result<Output, WorkflowError> {
        let step = &self.planned.step;
        let inputs = Inputs::new(step.spec, values);
        let stream = run.stream(self.planned.stream_input, top);
        let cx = Context {
            step: &step.name,
            stream,
            services: self.services,
            claim: run.claim.as_deref(),
        };
        // A block that panicked may be half-way through a change of its own state; it holds no
        // locks and no state of others, so the next frame is no worse than after an error.
        match catch_unwind(AssertUnwindSafe(|| block.run(&inputs, &cx))) {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(self.step_error(error)),
            Err(panic) => Err(self.step_error(BlockError::failed(format!(
                "the block panicked: {}",
                panic_text(&*panic)
            )))),
        }
    }

    fn check_row(&self, row: &Row) -> Result<(), WorkflowError> {
        let wanted = self.planned.outputs.len();
        if row.len() == wanted {
            return Ok(());
        }
        Err(self.broken(format!(
            "it returned {} outputs, its description says {wanted}",
            row.len()
        )))
    }

    fn store(&self, run: &mut Run, given: Given) {
        let rows: Rows = match given {
            Given::Rows(rows) => rows,
            Given::Level(level) => {
                if let Some(id) = self.planned.output_lineage {
                    run.indices[id] = Arc::new(level.places);
                }
                level.rows
            }
            Given::Decisions(decisions) => {
                self.register(run, &decisions);
                decisions
                    .iter()
                    .map(|d| d.as_ref().map(|_| Row::new()))
                    .collect()
            }
        };
        run.results[self.at] = match self.planned.output_lineage {
            None => StepResult::Scalar(rows.into_iter().next().flatten()),
            Some(_) => StepResult::Batch(rows),
        };
    }

    /// Nothing of the step ran: all its outputs are empty, a new level has no elements.
    fn skip(&self, run: &mut Run) {
        run.results[self.at] = match self.planned.output_lineage {
            None => StepResult::Scalar(None),
            Some(id) => {
                if self.planned.step.spec.output_offset > 0 {
                    run.indices[id] = Arc::default();
                }
                StepResult::Batch(smallvec![None; run.indices[id].len()])
            }
        };
    }

    fn register(&self, run: &mut Run, decisions: &[Option<Decision>]) {
        for branch in &self.planned.branches {
            let open: SmallVec<[bool; 8]> = decisions
                .iter()
                .map(|d| d.as_ref().is_some_and(|d| opens(d, branch)))
                .collect();
            run.branches[branch.number] = match self.planned.output_lineage {
                Some(id) => BranchState::Batch(id, open),
                None => match decisions {
                    [None] => BranchState::Unregistered,
                    _ => BranchState::Scalar(open.contains(&true)),
                },
            };
        }
    }

    fn problem(&self, details: &str) -> BlockProblem {
        BlockProblem {
            block_id: Some(self.planned.step.name.to_string()),
            block_type: Some(self.planned.step.type_tag.clone()),
            property_details: Some(details.to_owned()),
            ..BlockProblem::default()
        }
    }

    fn step_error(&self, error: BlockError) -> WorkflowError {
        let name = &self.planned.step.name;
        let context = "workflow_execution | step_execution";
        let text = error.to_string();
        match error {
            BlockError::Failed(message) => WorkflowError::new(
                ErrorClass::StepExecution,
                context,
                format!("step `{name}`: {message}"),
            )
            .with_inner("BlockError", message)
            .with_block(self.problem(&text)),
            BlockError::Input(message) => WorkflowError::new(
                ErrorClass::RuntimeInput,
                "workflow_execution | runtime_input_validation",
                format!("step `{name}`: {message}"),
            ),
            BlockError::Classed {
                class,
                context,
                message,
            } => WorkflowError::new(class, context, format!("step `{name}`: {message}")),
            BlockError::Client { status, message } => {
                let mut error = WorkflowError::new(
                    ErrorClass::ClientCausedStepExecution,
                    context,
                    format!("step `{name}`: {message}"),
                )
                .with_block(BlockProblem {
                    block_id: Some(name.to_string()),
                    ..BlockProblem::default()
                });
                error.status_override = Some(status);
                error
            }
        }
    }

    fn misbehaves(&self) -> WorkflowError {
        let message = format!(
            "step `{}`: it returned another form of result than its description says",
            self.planned.step.name
        );
        WorkflowError::new(
            ErrorClass::InvalidBlockBehaviour,
            "workflow_execution | step_output_registration",
            message,
        )
    }

    fn broken(&self, what: String) -> WorkflowError {
        let message = format!("step `{}`: {what}", self.planned.step.name);
        WorkflowError::new(
            ErrorClass::ExecutionEngineRuntime,
            "workflow_execution | step_output_registration",
            message,
        )
    }
}

fn opens(decision: &Decision, branch: &Branch) -> bool {
    match decision {
        Decision::All => true,
        Decision::None => false,
        Decision::Field(field) => branch.key.is_none() && branch.field == *field,
        Decision::Key { field, key } => branch.field == *field && branch.key.as_ref() == Some(key),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}

// Rows are small; a vector of them per step is the common case of one element.
const _: () = assert!(size_of::<SmallVec<[Value; 3]>>() <= 96);
