//! A stage: some steps of a plan with their blocks, run one after the other in one thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use smallvec::SmallVec;

use super::elements::StepElements;
use super::run::{BranchState, Run, StepResult};
use crate::blocks::{Block, BlockError, Context, Decision, Inputs, Output, Role, Row, Services};
use crate::definition::error::{BlockProblem, ErrorClass, WorkflowError};
use crate::plan::{Branch, Plan, PlannedStep};
use crate::values::{Index, Value};

/// Steps with their blocks.
pub struct Stage {
    plan: Arc<Plan>,
    services: Services,
    blocks: Vec<(usize, Box<dyn Block>)>,
}

/// What a step gave for its elements, before it is put into the run.
enum Given {
    /// A row per element, none where skipped.
    Rows(Vec<Option<Row>>),
    /// New elements per element.
    Nested(Vec<Vec<Row>>),
    /// A decision per element.
    Decisions(Vec<Option<Decision>>),
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

    /// Gives up the blocks, by step: a swap takes those of kept steps over.
    pub fn into_blocks(self) -> Vec<(usize, Box<dyn Block>)> {
        self.blocks
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
            step.run(block.as_mut(), run)?;
        }
        Ok(())
    }
}

struct StepRun<'a> {
    plan: &'a Plan,
    planned: &'a PlannedStep,
    services: &'a Services,
    at: usize,
}

impl StepRun<'_> {
    fn run(&self, block: &mut dyn Block, run: &mut Run) -> Result<(), WorkflowError> {
        let given = {
            let elements = StepElements::new(self.plan, run, self.at);
            if elements.is_discarded() {
                None
            } else if self.planned.batch_mode {
                Some(self.run_batch(block, run, &elements)?)
            } else {
                Some(self.run_each(block, run, &elements)?)
            }
        };
        self.store(run, given)
    }

    fn run_each(
        &self,
        block: &mut dyn Block,
        run: &Run,
        elements: &StepElements<'_>,
    ) -> Result<Given, WorkflowError> {
        let places = elements.places.as_slice();
        let mut rows: Vec<Option<Row>> = Vec::with_capacity(places.len());
        let mut nested: Vec<Vec<Row>> = Vec::new();
        let mut decisions: Vec<Option<Decision>> = Vec::new();
        let deeper = self.planned.step.spec.output_offset > 0;
        let flow = self.planned.step.spec.role == Role::FlowControl;
        for (position, place) in places.iter().enumerate() {
            let output = match elements.values(position) {
                None => None,
                Some(values) => Some(self.call(block, run, &values, place.first().copied())?),
            };
            match (output, deeper, flow) {
                (None, false, false) => rows.push(None),
                (None, true, _) => nested.push(Vec::new()),
                (None, _, true) => decisions.push(None),
                (Some(Output::Next(decision)), _, true) => decisions.push(Some(decision)),
                (Some(Output::One(row)), false, false) => rows.push(Some(self.checked(row)?)),
                (Some(Output::Many(new)), true, false) => nested.push(self.all_checked(new)?),
                (Some(_), ..) => {
                    return Err(self.misbehaves(
                        "it returned another form of result than its description says",
                    ));
                }
            }
        }
        Ok(if flow {
            Given::Decisions(decisions)
        } else if deeper {
            Given::Nested(nested)
        } else {
            Given::Rows(rows)
        })
    }

    fn run_batch(
        &self,
        block: &mut dyn Block,
        run: &Run,
        elements: &StepElements<'_>,
    ) -> Result<Given, WorkflowError> {
        let n = elements.places.as_slice().len();
        let (remaining, values) = elements.batch();
        let deeper = self.planned.step.spec.output_offset > 0;
        if remaining.is_empty() {
            return Ok(if deeper {
                Given::Nested(vec![Vec::new(); n])
            } else {
                Given::Rows(vec![None; n])
            });
        }
        let top = elements.places.as_slice()[remaining[0]].first().copied();
        let output = self.call(block, run, &values, top)?;
        let wrong = |got: usize| {
            self.broken(format!(
                "it returned {got} results for {} elements",
                remaining.len()
            ))
        };
        match output {
            Output::Many(new) if !deeper => {
                if new.len() != remaining.len() {
                    return Err(wrong(new.len()));
                }
                let mut rows: Vec<Option<Row>> = vec![None; n];
                for (position, row) in remaining.into_iter().zip(new) {
                    rows[position] = Some(self.checked(row)?);
                }
                Ok(Given::Rows(rows))
            }
            Output::Nested(new) if deeper => {
                if new.len() != remaining.len() {
                    return Err(wrong(new.len()));
                }
                let mut nested: Vec<Vec<Row>> = vec![Vec::new(); n];
                for (position, rows) in remaining.into_iter().zip(new) {
                    nested[position] = self.all_checked(rows)?;
                }
                Ok(Given::Nested(nested))
            }
            _ => {
                Err(self.misbehaves("it returned another form of result than its description says"))
            }
        }
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

    fn checked(&self, row: Row) -> Result<Row, WorkflowError> {
        let wanted = self.planned.outputs.len();
        if row.len() == wanted {
            return Ok(row);
        }
        Err(self.broken(format!(
            "it returned {} outputs, its description says {wanted}",
            row.len()
        )))
    }

    fn all_checked(&self, rows: Vec<Row>) -> Result<Vec<Row>, WorkflowError> {
        rows.into_iter().map(|row| self.checked(row)).collect()
    }

    fn store(&self, run: &mut Run, given: Option<Given>) -> Result<(), WorkflowError> {
        let lineage = self.planned.output_lineage;
        match given {
            Some(Given::Decisions(decisions)) => {
                self.register(run, &decisions);
                run.results[self.at] = match lineage {
                    None => {
                        StepResult::Scalar(decisions.first().cloned().flatten().map(|_| Row::new()))
                    }
                    Some(_) => StepResult::Batch(
                        decisions
                            .into_iter()
                            .map(|d| d.map(|_| Row::new()))
                            .collect(),
                    ),
                };
            }
            Some(Given::Rows(mut rows)) => {
                run.results[self.at] = match lineage {
                    None => StepResult::Scalar(rows.pop().flatten()),
                    Some(_) => StepResult::Batch(rows),
                };
            }
            Some(Given::Nested(nested)) => self.store_nested(run, nested),
            None if self.planned.step.spec.output_offset > 0 => self.store_nested(run, Vec::new()),
            None => {
                run.results[self.at] = match lineage {
                    None => StepResult::Scalar(None),
                    Some(id) => StepResult::Batch(vec![None; run.indices[id].len()]),
                };
            }
        }
        Ok(())
    }

    /// Puts a new level of elements into the run.
    fn store_nested(&self, run: &mut Run, nested: Vec<Vec<Row>>) {
        let Some(id) = self.planned.output_lineage else {
            return;
        };
        let depth = self.plan.lineages[id].len();
        let mut places: Vec<Index> = Vec::new();
        let mut rows = Vec::new();
        {
            let elements = StepElements::new(self.plan, run, self.at);
            for (upper, new) in elements.places.as_slice().iter().zip(nested) {
                for (i, row) in new.into_iter().enumerate() {
                    // The place of an artificial element is not part of the new level's places.
                    let mut place: Index = upper[..(depth - 1).min(upper.len())].into();
                    place.push(i as u32);
                    places.push(place);
                    rows.push(Some(row));
                }
            }
        }
        run.indices[id] = Arc::new(places);
        run.results[self.at] = StepResult::Batch(rows);
    }

    fn register(&self, run: &mut Run, decisions: &[Option<Decision>]) {
        for branch in &self.planned.branches {
            let open: Vec<bool> = decisions
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

    fn misbehaves(&self, what: &str) -> WorkflowError {
        let message = format!("step `{}`: {what}", self.planned.step.name);
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
