//! Runs a plan on inputs.
//!
//! An [`Engine`] owns one block instance per step, and with them all state. [`Engine::run`] takes
//! one set of inputs through all stages; a stream takes the stages apart ([`Engine::into_stages`])
//! and runs each in a thread of its own, handing the [`Run`] on from stage to stage. Neither knows
//! where frames come from.

mod collect;
mod elements;
mod inputs;
mod parameters;
mod run;
mod stage;

use std::sync::Arc;

use serde_json::{Map, Value as Json};

pub use collect::Produced;
pub use inputs::{RuntimeInput, RuntimeInputs};
pub use run::Run;
pub use stage::Stage;

use crate::blocks::{Block, Services};
use crate::definition::error::{BlockProblem, ErrorClass, WorkflowError};
use crate::plan::Plan;
use crate::values::deserialise::InputOptions;
use crate::values::serialise::OutputOptions;

/// A plan with its blocks, ready to run.
pub struct Engine {
    plan: Arc<Plan>,
    stages: Vec<Stage>,
    assembler: Assembler,
}

/// What turns run-time inputs into a [`Run`]; a stream keeps it at its entry.
#[derive(Clone)]
pub struct Assembler {
    plan: Arc<Plan>,
    options: InputOptions,
    parameters: parameters::ParameterCheck,
}

impl Assembler {
    /// Checks and converts the inputs of one run.
    ///
    /// # Errors
    /// `RuntimeInputError` for missing inputs, sizes that do not fit, values of the wrong form.
    pub fn assemble(&mut self, inputs: &RuntimeInputs) -> Result<Run, WorkflowError> {
        let mut run = inputs::assemble(&self.plan, inputs, &self.options)?;
        run.overrides = self.parameters.check(&self.plan, &run)?;
        Ok(run)
    }
}

impl Engine {
    /// Makes the blocks of a plan.
    ///
    /// # Errors
    /// `BlockInterfaceError` if a block refuses its parameters.
    pub fn new(
        plan: Arc<Plan>,
        services: Services,
        options: InputOptions,
    ) -> Result<Self, WorkflowError> {
        let mut blocks: Vec<Option<Box<dyn Block>>> = Vec::with_capacity(plan.steps.len());
        for planned in &plan.steps {
            let step = &planned.step;
            let block = (step.spec.build)(step, &services).map_err(|e| {
                let message = format!("step `{}`: {e}", step.name);
                let problem = BlockProblem {
                    block_id: Some(step.name.to_string()),
                    block_type: Some(step.type_tag.clone()),
                    property_details: Some(e.to_string()),
                    ..BlockProblem::default()
                };
                let context = "workflow_compilation | steps_initialisation";
                WorkflowError::new(ErrorClass::BlockInterface, context, message).with_block(problem)
            })?;
            blocks.push(Some(block));
        }
        let stages = plan
            .stages
            .iter()
            .map(|steps| {
                let blocks = steps
                    .iter()
                    .filter_map(|&s| blocks[s].take().map(|b| (s, b)))
                    .collect();
                Stage::new(plan.clone(), services.clone(), blocks)
            })
            .collect();
        let parameters = parameters::ParameterCheck::of(&plan);
        let assembler = Assembler {
            plan: plan.clone(),
            options,
            parameters,
        };
        Ok(Self {
            plan,
            stages,
            assembler,
        })
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Runs the workflow once and gives the outputs as JSON, one object per element of the batch.
    ///
    /// # Errors
    /// The first failure ends the run; its class tells whether inputs, a block or the engine failed.
    pub fn run(
        &mut self,
        inputs: &RuntimeInputs,
        options: &OutputOptions,
    ) -> Result<Vec<Map<String, Json>>, WorkflowError> {
        let run = self.execute(inputs)?;
        run.to_json(&self.plan, options)
    }

    /// Runs the workflow once.
    ///
    /// # Errors
    /// See [`Self::run`].
    pub fn execute(&mut self, inputs: &RuntimeInputs) -> Result<Run, WorkflowError> {
        let mut run = self.assembler.assemble(inputs)?;
        for stage in &mut self.stages {
            stage.run(&mut run)?;
        }
        Ok(run)
    }

    /// Takes the engine apart: the entry and the stages, in order.
    pub fn into_stages(self) -> (Assembler, Vec<Stage>) {
        (self.assembler, self.stages)
    }
}
