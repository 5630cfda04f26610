//! Edges between inputs, steps and outputs: every reference resolved, kinds checked, order found.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Branch, CONSTRUCTION, OutputSource, Source, StepOutput};
use crate::blocks::{Field, Ty};
use crate::definition::Document;
use crate::definition::error::{BlockProblem, ErrorClass, WorkflowError};
use crate::definition::selector::Selector;
use crate::definition::step::{FieldValue, Member, Step};
use crate::values::kind;

/// The resolved graph.
pub(super) struct Graph {
    /// Outputs of each step.
    pub outputs: Vec<Vec<StepOutput>>,
    /// Branches of each step.
    pub branches: Vec<Vec<Branch>>,
    /// Steps that must run before each step.
    pub dependencies: Vec<Vec<usize>>,
    /// Order of execution: by longest path from the start, then definition order.
    pub order: Vec<usize>,
    /// Number of branches in all.
    pub branch_count: usize,
    inputs: HashMap<Arc<str>, usize>,
    steps: HashMap<Arc<str>, usize>,
}

impl Graph {
    pub(super) fn build(document: &Document) -> Result<Self, WorkflowError> {
        check_step_names(document)?;
        let mut graph = Self {
            outputs: document.steps.iter().map(|s| step_outputs(s)).collect(),
            branches: vec![Vec::new(); document.steps.len()],
            dependencies: vec![Vec::new(); document.steps.len()],
            order: Vec::new(),
            branch_count: 0,
            inputs: names(document.inputs.iter().map(|i| &i.name)),
            steps: names(document.steps.iter().map(|s| &s.name)),
        };
        for (at, step) in document.steps.iter().enumerate() {
            graph.connect_step(document, at, step)?;
        }
        for output in &document.outputs {
            graph.resolve_output(&output.name, &output.selector)?;
        }
        graph.order = graph.sort(document)?;
        Ok(graph)
    }

    fn connect_step(
        &mut self,
        document: &Document,
        at: usize,
        step: &Step,
    ) -> Result<(), WorkflowError> {
        let mut targets: Vec<usize> = Vec::new();
        for (field, value) in step.spec.fields.iter().zip(&step.values) {
            let takes_steps = accepts_steps(field);
            for (member, selector) in value.selectors() {
                if let Selector::Step(name) = selector {
                    let Some(&target) = self.steps.get(name) else {
                        return Err(missing_target(step, field.name, value, selector));
                    };
                    if !takes_steps {
                        return Err(wrong_structure(
                            step,
                            field.name,
                            format!(
                                "field `{}` takes data, but {selector} is a step; write {selector}.<output>",
                                field.name
                            ),
                        ));
                    }
                    if targets.contains(&target) {
                        return Err(wrong_structure(
                            step,
                            field.name,
                            format!("{selector} is a target twice"),
                        ));
                    }
                    targets.push(target);
                    self.add_target(at, field.name, &member, target);
                    self.dependencies[target].push(at);
                    continue;
                }
                if takes_steps {
                    let message =
                        format!("field `{}` takes steps, but {selector} is data", field.name);
                    return Err(wrong_structure(step, field.name, message));
                }
                let source = self.resolve(step, field.name, value, selector)?;
                let actual = self.kinds_of(document, &source);
                check_kinds(step, field, selector, &actual)?;
                if let Source::Step(other, _) = source {
                    self.dependencies[at].push(other);
                }
            }
        }
        Ok(())
    }

    fn add_target(&mut self, at: usize, field: &'static str, member: &Member, target: usize) {
        let key = match member {
            Member::Key(key) => Some(key.clone()),
            Member::Whole | Member::Item(_) => None,
        };
        let branches = &mut self.branches[at];
        match branches
            .iter_mut()
            .find(|b| b.field == field && b.key == key)
        {
            Some(branch) => branch.targets.push(target),
            None => {
                branches.push(Branch {
                    number: self.branch_count,
                    field,
                    key,
                    targets: vec![target],
                });
                self.branch_count += 1;
            }
        }
    }

    /// The source behind a selector of a step's field.
    fn resolve(
        &self,
        step: &Step,
        field: &str,
        value: &FieldValue,
        selector: &Selector,
    ) -> Result<Source, WorkflowError> {
        match selector {
            Selector::Input(name) => match self.inputs.get(name) {
                Some(&i) => Ok(Source::Input(i)),
                None => Err(missing_target(step, field, value, selector)),
            },
            Selector::StepOutput(name, output) => {
                let Some(&other) = self.steps.get(name) else {
                    return Err(missing_target(step, field, value, selector));
                };
                match self.output_position(other, output) {
                    Some(o) => Ok(Source::Step(other, o)),
                    None => Err(wrong_structure(
                        step,
                        field,
                        self.no_such_output(other, name, output),
                    )),
                }
            }
            Selector::AllOutputs(_) => Err(wrong_structure(
                step,
                field,
                format!("{selector} may stand in outputs only"),
            )),
            Selector::Step(_) | Selector::Malformed(_) => {
                Err(missing_target(step, field, value, selector))
            }
        }
    }

    /// The source of a field's value, once the graph is known to be sound.
    pub(super) fn source(&self, selector: &Selector) -> Option<Source> {
        match selector {
            Selector::Input(name) => self.inputs.get(name).map(|&i| Source::Input(i)),
            Selector::StepOutput(name, output) => {
                let step = *self.steps.get(name)?;
                self.output_position(step, output)
                    .map(|o| Source::Step(step, o))
            }
            _ => None,
        }
    }

    fn output_position(&self, step: usize, output: &str) -> Option<usize> {
        self.outputs[step].iter().position(|o| &*o.name == output)
    }

    fn no_such_output(&self, step: usize, name: &str, output: &str) -> String {
        let known: Vec<&str> = self.outputs[step].iter().map(|o| &*o.name).collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        format!("step `{name}` has no output `{output}`; its outputs: {known}")
    }

    fn kinds_of(&self, document: &Document, source: &Source) -> Vec<String> {
        match source {
            Source::Input(i) => document.inputs[*i].kinds.clone(),
            Source::Step(step, output) => self.outputs[*step][*output].kinds.clone(),
            Source::Literal(_) => Vec::new(),
        }
    }

    /// What an output shows.
    pub(super) fn resolve_output(
        &self,
        name: &str,
        selector: &Selector,
    ) -> Result<OutputSource, WorkflowError> {
        let missing = |details: String| {
            let problem = BlockProblem {
                block_id: Some("$outputs".into()),
                property_name: Some(name.to_owned()),
                property_details: Some(details.clone()),
                ..BlockProblem::default()
            };
            let message = format!("output `{name}`: {details}");
            Err(
                WorkflowError::new(ErrorClass::InvalidReferenceTarget, CONSTRUCTION, message)
                    .with_block(problem),
            )
        };
        match selector {
            Selector::Input(input) => match self.inputs.get(input) {
                Some(&i) => Ok(OutputSource::Input(i)),
                None => missing(format!("{selector} refers to no input")),
            },
            Selector::StepOutput(step, output) => match self.steps.get(step) {
                Some(&s) => match self.output_position(s, output) {
                    Some(o) => Ok(OutputSource::Step(s, o)),
                    None => missing(self.no_such_output(s, step, output)),
                },
                None => missing(format!("{selector} refers to no step")),
            },
            Selector::AllOutputs(step) => match self.steps.get(step) {
                Some(&s) => Ok(OutputSource::AllOf(s)),
                None => missing(format!("{selector} refers to no step")),
            },
            Selector::Step(_) => missing(format!(
                "{selector} is a step; write {selector}.<output> or {selector}.*"
            )),
            Selector::Malformed(_) => missing(format!("{selector} refers to nothing")),
        }
    }

    /// Steps by longest path from the start, then by definition order.
    fn sort(&self, document: &Document) -> Result<Vec<usize>, WorkflowError> {
        let n = self.dependencies.len();
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); n];
        let mut open: Vec<usize> = vec![0; n];
        for (step, dependencies) in self.dependencies.iter().enumerate() {
            open[step] = dependencies.len();
            for &d in dependencies {
                followers[d].push(step);
            }
        }
        let mut level = vec![0usize; n];
        let mut ready: Vec<usize> = (0..n).filter(|&s| open[s] == 0).collect();
        let mut done = 0;
        while let Some(step) = ready.pop() {
            done += 1;
            for &f in &followers[step] {
                level[f] = level[f].max(level[step] + 1);
                open[f] -= 1;
                if open[f] == 0 {
                    ready.push(f);
                }
            }
        }
        if done < n {
            let names: Vec<&str> = (0..n)
                .filter(|&s| open[s] > 0)
                .map(|s| &*document.steps[s].name)
                .collect();
            let message = format!(
                "steps depend on each other in a cycle; it runs through: {}",
                names.join(", ")
            );
            return Err(WorkflowError::new(
                ErrorClass::ExecutionGraphStructure,
                CONSTRUCTION,
                message,
            ));
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by_key(|&s| (level[s], s));
        Ok(order)
    }
}

fn names<'a>(all: impl Iterator<Item = &'a Arc<str>>) -> HashMap<Arc<str>, usize> {
    all.enumerate().map(|(i, name)| (name.clone(), i)).collect()
}

fn step_outputs(step: &Step) -> Vec<StepOutput> {
    if let Some(dynamic) = step.spec.dynamic_outputs {
        return dynamic(step)
            .into_iter()
            .map(|o| StepOutput {
                name: o.name.into(),
                kinds: o.kinds.into_iter().map(str::to_owned).collect(),
            })
            .collect();
    }
    step.spec
        .outputs
        .iter()
        .map(|o| StepOutput {
            name: o.name.into(),
            kinds: o.kinds.iter().map(|k| (*k).to_owned()).collect(),
        })
        .collect()
}

fn check_step_names(document: &Document) -> Result<(), WorkflowError> {
    match document.steps.iter().find(|s| s.name.contains('.')) {
        None => Ok(()),
        Some(step) => {
            let message = format!(
                "the name of step `{}` has a dot; it could never be referred to",
                step.name
            );
            Err(WorkflowError::new(
                ErrorClass::InvalidReferenceTarget,
                CONSTRUCTION,
                message,
            ))
        }
    }
}

fn flatten(types: &[Ty]) -> Vec<&Ty> {
    types
        .iter()
        .flat_map(|ty| match ty {
            Ty::List(inner) | Ty::ListIn(inner, ..) | Ty::Map(inner) => flatten(inner),
            Ty::Tuple(parts) => parts.iter().flat_map(|p| flatten(p)).collect(),
            other => vec![other],
        })
        .collect()
}

/// Whether a field holds targets of flow control.
pub(super) fn accepts_steps(field: &Field) -> bool {
    flatten(field.types).iter().any(|ty| matches!(ty, Ty::Step))
}

/// The kinds that a field takes, over all its selector shapes.
fn expected_kinds(field: &Field) -> Vec<&'static str> {
    flatten(field.types)
        .into_iter()
        .flat_map(|ty| match ty {
            Ty::Selector(kinds) | Ty::StepOutput(kinds) | Ty::InputParameter(kinds) => {
                kinds.to_vec()
            }
            Ty::InputImage => vec![kind::IMAGE],
            Ty::InputVideo => vec![kind::VIDEO_METADATA],
            _ => Vec::new(),
        })
        .collect()
}

fn check_kinds(
    step: &Step,
    field: &Field,
    selector: &Selector,
    actual: &[String],
) -> Result<(), WorkflowError> {
    let expected = expected_kinds(field);
    let fits = expected.contains(&kind::WILDCARD)
        || actual
            .iter()
            .any(|k| k == kind::WILDCARD || expected.contains(&k.as_str()));
    if fits {
        return Ok(());
    }
    let message = format!(
        "step $steps.{}: field `{}` takes {}, but {selector} gives {}",
        step.name,
        field.name,
        expected.join(", "),
        actual.join(", ")
    );
    Err(WorkflowError::new(
        ErrorClass::ReferenceType,
        CONSTRUCTION,
        message,
    ))
}

fn missing_target(
    step: &Step,
    field: &str,
    value: &FieldValue,
    selector: &Selector,
) -> WorkflowError {
    let details = format!("{selector} refers to nothing in this definition");
    let whole = matches!(value, FieldValue::Selector(_));
    let problem = BlockProblem {
        block_id: Some(step.name.to_string()),
        block_type: Some(step.type_tag.clone()),
        property_name: whole.then(|| field.to_owned()),
        property_details: Some(details.clone()),
        ..BlockProblem::default()
    };
    let message = format!("step `{}`, field `{field}`: {details}", step.name);
    WorkflowError::new(ErrorClass::InvalidReferenceTarget, CONSTRUCTION, message)
        .with_block(problem)
}

fn wrong_structure(step: &Step, field: &str, details: String) -> WorkflowError {
    let problem = BlockProblem {
        block_id: Some(step.name.to_string()),
        block_type: Some(step.type_tag.clone()),
        property_name: Some(field.to_owned()),
        property_details: Some(details.clone()),
        ..BlockProblem::default()
    };
    let message = format!("step `{}`, field `{field}`: {details}", step.name);
    WorkflowError::new(ErrorClass::ExecutionGraphStructure, CONSTRUCTION, message)
        .with_block(problem)
}
