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
mod parts;
mod run;
mod stage;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value as Json, json};

pub use collect::Produced;
pub use inputs::{RuntimeInput, RuntimeInputs};
pub use run::{Run, StepTime};
pub use stage::Stage;

use crate::blocks::{Block, BuildError, Services};
use crate::definition::error::{BlockProblem, ErrorClass, WorkflowError};
use crate::definition::step::Step;
use crate::plan::Plan;
use crate::values::deserialise::InputOptions;
use crate::values::serialise::OutputOptions;

/// A plan with its blocks, ready to run.
pub struct Engine {
    plan: Arc<Plan>,
    stages: Vec<Stage>,
    assembler: Assembler,
    services: Services,
}

/// What turns run-time inputs into a [`Run`]; a stream keeps it at its entry.
#[derive(Clone)]
pub struct Assembler {
    plan: Arc<Plan>,
    reader: inputs::InputReader,
    parameters: parameters::ParameterCheck,
}

impl Assembler {
    /// Checks and converts the inputs of one run.
    ///
    /// # Errors
    /// `RuntimeInputError` for missing inputs, sizes that do not fit, values of the wrong form.
    pub fn assemble(&mut self, inputs: &RuntimeInputs) -> Result<Run, WorkflowError> {
        let mut run = self.reader.read(inputs)?;
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
        let services = Services {
            definition: Arc::new(json!({"hash": plan.document.hash.to_string()})),
            ..services
        };
        let profile = services.profile.clone();
        let begun = Instant::now();
        let mut blocks: Vec<Option<Box<dyn Block>>> = Vec::with_capacity(plan.steps.len());
        for planned in &plan.steps {
            match (planned.step.spec.build)(&planned.step, &services) {
                Ok(block) => blocks.push(Some(block)),
                Err(e) => {
                    let made = blocks.iter_mut().flatten();
                    made.for_each(|block| stage::close(block.as_mut()));
                    return Err(refused(&planned.step, &e));
                }
            }
        }
        let stages = plan
            .stages
            .iter()
            .map(|steps| {
                let own = steps.iter().filter_map(|&s| Some((s, blocks[s].take()?)));
                Stage::new(plan.clone(), services.clone(), own.collect())
            })
            .collect();
        let parameters = parameters::ParameterCheck::of(&plan);
        let assembler = Assembler {
            reader: inputs::InputReader::new(plan.clone(), options),
            plan: plan.clone(),
            parameters,
        };
        if let Some(profile) = &profile {
            profile.note("steps_initialisation", "execution_engine_operation", begun);
        }
        Ok(Self {
            plan,
            stages,
            assembler,
            services,
        })
    }

    /// What the host lends to the blocks.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Names the definition in full on what its steps send out, as
    /// [`crate::definitions::Provenance::on_requests`] has it. The hash alone is known without.
    pub fn name_definition(&mut self, stamp: Json) {
        let stamp = Arc::new(stamp);
        for stage in &mut self.stages {
            stage.name_definition(stamp.clone());
        }
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
        let begun = Instant::now();
        let mut run = self.assembler.assemble(inputs)?;
        if let Some(profile) = &self.services.profile {
            profile.note(
                "workflow_inputs_assembly",
                "execution_engine_operation",
                begun,
            );
        }
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

/// The error for a block that could not be made.
fn refused(step: &Step, error: &BuildError) -> WorkflowError {
    let problem = BlockProblem {
        block_id: Some(step.name.to_string()),
        block_type: Some(step.type_tag.clone()),
        property_details: Some(error.to_string()),
        ..BlockProblem::default()
    };
    let context = "workflow_compilation | steps_initialisation";
    let message = format!("step `{}`: {error}", step.name);
    WorkflowError::new(ErrorClass::BlockInterface, context, message).with_block(problem)
}
