//! The parts of a stage: steps whose blocks remember nothing, of which there may be several instances,
//! and steps that must see the runs in order.

use super::Stage;
use crate::blocks::Role;
use crate::plan::Plan;

fn is_stateless(plan: &Plan, at: usize) -> bool {
    let spec = plan.steps[at].step.spec;
    spec.stateless && spec.role != Role::Sink
}

impl Stage {
    /// Whether all of its steps leave nothing behind, by the descriptions of their blocks: then rounds
    /// may go through several instances of it in any order.
    pub fn is_stateless(&self) -> bool {
        self.steps().all(|at| is_stateless(&self.plan, at))
    }

    /// The same steps cut where steps that leave nothing behind meet others.
    pub fn into_parts(mut self) -> Vec<Self> {
        let mut parts: Vec<Self> = Vec::new();
        let mut last = None;
        for (at, block) in std::mem::take(&mut self.blocks) {
            let stateless = is_stateless(&self.plan, at);
            match parts.last_mut().filter(|_| last == Some(stateless)) {
                Some(part) => part.blocks.push((at, block)),
                None => {
                    let (plan, services) = (self.plan.clone(), self.services.clone());
                    parts.push(Self::new(plan, services, vec![(at, block)]));
                }
            }
            last = Some(stateless);
        }
        parts
    }

    /// The same steps with blocks of their own; `None` if a block cannot be made once more.
    pub fn replica(&self) -> Option<Self> {
        let mut replica = Self::new(self.plan.clone(), self.services.clone(), Vec::new());
        for at in self.steps() {
            let step = &self.plan.steps[at].step;
            let block = (step.spec.build)(step, &self.services).ok()?;
            replica.blocks.push((at, block));
        }
        Some(replica)
    }
}
