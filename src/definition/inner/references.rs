//! Puts definitions in the place of their names (engine specification 11.2).
//!
//! Depth first, each name asked for once. A name that leads back to a definition around it, under
//! that name or another, is a cycle. Nothing is asked beyond the limits of nesting.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::library::{Reference, unresolved};
use super::{
    COMPOSITION, Child, GIVES_BOTH, GIVES_NEITHER, InnerWorkflows, embedded, is_embedded, place,
    steps, steps_mut, too_deep, too_many,
};
use crate::definition::DefinitionHash;
use crate::definition::document::{MAX_NESTING, is_nested_deeper};
use crate::definition::error::{ErrorClass, WorkflowError};

/// A definition that stands in the place of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The name.
    pub reference: Reference,
    /// Which definition it stood for when the outer one was compiled.
    pub hash: DefinitionHash,
}

/// Resolves every reference of a definition and answers them, in the order in which they were
/// asked for. A definition without references is left alone, whatever else is wrong with it.
pub(super) fn resolve(
    definition: &mut Map<String, Json>,
    host: &InnerWorkflows<'_>,
) -> Result<Vec<Resolved>, WorkflowError> {
    if !refers(definition) {
        return Ok(Vec::new());
    }
    let root = DefinitionHash::of(&Json::Object(definition.clone()));
    let mut resolver = Resolver {
        host,
        known: HashMap::new(),
        resolved: Vec::new(),
        path: vec![(None, root)],
        count: 0,
    };
    resolver.visit(definition, "", 0)?;
    Ok(resolver.resolved)
}

/// Whether a definition, or one inside it, names another.
fn refers(definition: &Map<String, Json>) -> bool {
    steps(definition)
        .filter_map(embedded)
        .any(|fields| match Child::of(|key| fields.get(key)) {
            Child::Named(_) | Child::Both => true,
            Child::Written(child) => refers(child),
            Child::Neither => false,
        })
}

struct Resolver<'a> {
    host: &'a InnerWorkflows<'a>,
    known: HashMap<Reference, (Map<String, Json>, DefinitionHash)>,
    resolved: Vec<Resolved>,
    /// The definitions around the one that is visited: their names, if they have one, and contents.
    path: Vec<(Option<Reference>, DefinitionHash)>,
    count: usize,
}

impl Resolver<'_> {
    fn visit(
        &mut self,
        definition: &mut Map<String, Json>,
        outer: &str,
        depth: usize,
    ) -> Result<(), WorkflowError> {
        for step in steps_mut(definition).filter_map(Json::as_object_mut) {
            if is_embedded(step) {
                self.visit_step(step, outer, depth + 1)?;
            }
        }
        Ok(())
    }

    fn visit_step(
        &mut self,
        step: &mut Map<String, Json>,
        outer: &str,
        depth: usize,
    ) -> Result<(), WorkflowError> {
        let at = place(outer, step);
        let limits = self.host.limits;
        self.count += 1;
        if depth > limits.depth {
            return Err(too_deep(&at, limits.depth));
        }
        if self.count > limits.count {
            return Err(too_many(limits.count));
        }
        let refuse = |why: &str| {
            let message = format!("{at}: {why}");
            Err(unresolved(ErrorClass::WorkflowDefinition, message))
        };
        match Child::of(|key| step.get(key)) {
            Child::Both => return refuse(GIVES_BOTH),
            Child::Neither => return refuse(GIVES_NEITHER),
            Child::Written(_) => {
                let child = step.get_mut("workflow_definition");
                return match child.and_then(Json::as_object_mut) {
                    Some(child) => self.visit(child, &at, depth),
                    None => Ok(()),
                };
            }
            Child::Named(reference) => {
                let (mut child, hash) = self.fetch(&at, &reference)?;
                self.path.push((Some(reference), hash));
                self.visit(&mut child, &at, depth)?;
                self.path.pop();
                step.insert("workflow_definition".into(), Json::Object(child));
            }
        }
        for key in [
            "workflow_workspace_id",
            "workflow_id",
            "workflow_version_id",
        ] {
            step.remove(key);
        }
        Ok(())
    }

    fn fetch(
        &mut self,
        at: &str,
        reference: &Reference,
    ) -> Result<(Map<String, Json>, DefinitionHash), WorkflowError> {
        let around = |name: &Option<Reference>| name.as_ref() == Some(reference);
        if self.path.iter().any(|(name, _)| around(name)) {
            return Err(cycle(at, reference));
        }
        if !self.known.contains_key(reference) {
            let (child, hash) = self.ask(at, reference)?;
            self.resolved.push(Resolved {
                reference: reference.clone(),
                hash,
            });
            self.known.insert(reference.clone(), (child, hash));
        }
        let Some((child, hash)) = self.known.get(reference) else {
            return Err(cycle(at, reference));
        };
        if self.path.iter().any(|(_, own)| own == hash) {
            return Err(cycle(at, reference));
        }
        Ok((child.clone(), *hash))
    }

    fn ask(
        &self,
        at: &str,
        reference: &Reference,
    ) -> Result<(Map<String, Json>, DefinitionHash), WorkflowError> {
        let Some(library) = self.host.library else {
            let message = format!(
                "{at}: it names the definition {reference}, but definitions cannot be fetched here; write it out under `workflow_definition`"
            );
            let class = ErrorClass::WorkflowEnvironmentConfiguration;
            return Err(unresolved(class, message));
        };
        let fetched = library.definition(reference);
        let json = fetched.map_err(|error| error.at(at, reference))?;
        let hash = DefinitionHash::of(&json);
        match json {
            Json::Object(child) if !is_nested_deeper(&child, MAX_NESTING) => Ok((child, hash)),
            _ => {
                let message = format!(
                    "{at}: {reference} is no definition: it must be a JSON object of at most {MAX_NESTING} levels"
                );
                Err(unresolved(ErrorClass::WorkflowDefinition, message))
            }
        }
    }
}

fn cycle(at: &str, reference: &Reference) -> WorkflowError {
    let message = format!(
        "{at}: inner workflows contain each other in a cycle: {reference} is a definition around this one"
    );
    let class = ErrorClass::InnerWorkflowCompositionCycle;
    WorkflowError::new(class, COMPOSITION, message)
}
