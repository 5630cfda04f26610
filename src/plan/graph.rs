//! Edges between inputs, steps and outputs: every reference resolved, kinds checked, order found.

use std::collections::HashMap;
use std::sync::Arc;

use super::faults::{
    missing_output, missing_step, missing_target, takes_no_data, unreachable_name, wrong_kinds,
    wrong_structure,
};
use super::{Branch, CONSTRUCTION, OutputSource, Source, StepOutput};
use crate::blocks::{Field, Ty};
use crate::definition::Document;
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::definition::selector::Selector;
use crate::definition::step::{Member, Step};
use crate::values::kind;

/// Steps that the message about a cycle names.
const NAMED_OF_CYCLE: usize = 12;

/// The resolved graph.
pub(super) struct Graph {
    /// Outputs of each step.
    pub outputs: Vec<Vec<StepOutput>>,
    /// Branches of each step.
    pub branches: Vec<Vec<Branch>>,
    /// The branches of which each step is a target.
    pub gated_by: Vec<Vec<GateOrigin>>,
    /// Steps whose outputs each step takes.
    pub sources: Vec<Vec<usize>>,
    /// Steps that must run before each step.
    pub dependencies: Vec<Vec<usize>>,
    /// Order of execution: by longest path from the start, then definition order.
    pub order: Vec<usize>,
    /// Number of branches in all.
    pub branch_count: usize,
    inputs: HashMap<Arc<str>, usize>,
    steps: HashMap<Arc<str>, usize>,
    /// Outputs of the inner workflows.
    groups: HashMap<Arc<str>, Vec<String>>,
}

/// Where a condition on a step comes from.
pub(super) struct GateOrigin {
    /// The flow-control step.
    pub source: usize,
    /// Number of its branch.
    pub branch: usize,
    /// The inner workflow that is the target, by its place in [`Document::groups`], if the step is
    /// not the first of it.
    pub through: Option<usize>,
}

/// A step that a condition reaches.
#[derive(Clone, Copy)]
struct Target {
    step: usize,
    through: Option<usize>,
}

impl Graph {
    pub(super) fn build(document: &Document) -> Result<Self, WorkflowError> {
        if let Some(step) = document.steps.iter().find(|s| s.name.contains('.')) {
            return Err(unreachable_name(step));
        }
        let count = document.steps.len();
        let mut graph = Self {
            outputs: document.steps.iter().map(|s| step_outputs(s)).collect(),
            branches: vec![Vec::new(); count],
            gated_by: (0..count).map(|_| Vec::new()).collect(),
            sources: vec![Vec::new(); count],
            dependencies: vec![Vec::new(); count],
            order: Vec::new(),
            branch_count: 0,
            inputs: names(document.inputs.iter().map(|i| &i.name)),
            steps: names(document.steps.iter().map(|s| &s.name)),
            groups: document
                .groups
                .iter()
                .map(|group| (group.name.clone(), group.outputs.clone()))
                .collect(),
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
                let wrong = |details: String| Err(wrong_structure(step, field.name, details));
                if let Selector::Step(name) = selector {
                    let reached = self.targets(document, name);
                    if reached.is_empty() {
                        return Err(self.missing(step, field.name, selector));
                    }
                    if !takes_steps {
                        return wrong(format!(
                            "field `{}` takes data, but {selector} is a step; write {selector}.<output>",
                            field.name
                        ));
                    }
                    targets.extend(reached.iter().map(|target| target.step));
                    self.add_targets(at, field.name, &member, &reached);
                    continue;
                }
                let source = self.resolve(step, field, selector)?;
                if takes_steps {
                    return Err(takes_no_data(step, field.name, selector));
                }
                self.check_kinds(document, step, field, selector, &source)?;
                if let Source::Step(other, _) = source {
                    self.sources[at].push(other);
                    self.dependencies[at].push(other);
                }
            }
            if let Some(twice) = repeated(&mut targets) {
                let details = format!("$steps.{} is a target twice", document.steps[twice].name);
                return Err(wrong_structure(step, field.name, details));
            }
        }
        Ok(())
    }

    /// The steps that a selector of a step means: all of them for an inner workflow.
    fn targets(&self, document: &Document, name: &str) -> Vec<Target> {
        if let Some(&step) = self.steps.get(name) {
            let through = None;
            return vec![Target { step, through }];
        }
        let mut groups = document.groups.iter().enumerate();
        let Some((number, group)) = groups.find(|(_, group)| &*group.name == name) else {
            return Vec::new();
        };
        let steps = group.steps.iter().enumerate();
        steps
            .map(|(i, &step)| Target {
                step,
                through: (i > 0).then_some(number),
            })
            .collect()
    }

    fn add_targets(&mut self, at: usize, field: &'static str, member: &Member, reached: &[Target]) {
        let key = match member {
            Member::Key(key) => Some(key.clone()),
            Member::Whole | Member::Item(_) => None,
        };
        // The targets of a list share a branch; those of an object have one each.
        let branches = &mut self.branches[at];
        let shared = branches
            .iter()
            .position(|b| key.is_none() && b.key.is_none() && b.field == field);
        let position = shared.unwrap_or_else(|| {
            branches.push(Branch {
                number: self.branch_count,
                field,
                key,
                targets: Vec::new(),
            });
            self.branch_count += 1;
            branches.len() - 1
        });
        let branch = &mut branches[position];
        for target in reached {
            branch.targets.push(target.step);
            self.dependencies[target.step].push(at);
            self.gated_by[target.step].push(GateOrigin {
                source: at,
                branch: branch.number,
                through: target.through,
            });
        }
    }

    /// The source behind a selector of a step's field.
    fn resolve(
        &self,
        step: &Step,
        field: &Field,
        selector: &Selector,
    ) -> Result<Source, WorkflowError> {
        let missing = || self.missing(step, field.name, selector);
        let of_step = |name: &Arc<str>| self.steps.get(name).copied().ok_or_else(missing);
        match selector {
            Selector::Input(name) => {
                let input = self.inputs.get(name).copied();
                input.map(Source::Input).ok_or_else(missing)
            }
            Selector::StepOutput(name, output) => {
                let other = of_step(name)?;
                let position = self.output_position(other, output);
                position.map(|o| Source::Step(other, o)).ok_or_else(|| {
                    let details = self.no_such_output(other, name, output);
                    wrong_structure(step, field.name, details)
                })
            }
            Selector::AllOutputs(name) => {
                of_step(name)?;
                let details = format!("{selector} may stand in outputs only");
                Err(wrong_structure(step, field.name, details))
            }
            Selector::Step(_) | Selector::Malformed(_) => Err(missing()),
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

    /// The error for a selector of a step's field that leads nowhere.
    fn missing(&self, step: &Step, field: &str, selector: &Selector) -> WorkflowError {
        missing_target(step, field, selector, &self.inner_outputs(selector))
    }

    /// What to say of a selector that means an inner workflow: which outputs it has.
    fn inner_outputs(&self, selector: &Selector) -> String {
        let (Selector::StepOutput(name, _) | Selector::AllOutputs(name)) = selector else {
            return String::new();
        };
        match self.groups.get(name).map(Vec::as_slice) {
            None => String::new(),
            Some([]) => "; the inner workflow has no outputs".into(),
            Some(outputs) => format!("; outputs of the inner workflow: {}", outputs.join(", ")),
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

    /// A field takes a source if they have a kind in common, or if either means anything.
    fn check_kinds(
        &self,
        document: &Document,
        step: &Step,
        field: &Field,
        selector: &Selector,
        source: &Source,
    ) -> Result<(), WorkflowError> {
        let actual: &[String] = match source {
            Source::Input(i) => &document.inputs[*i].kinds,
            Source::Step(step, output) => &self.outputs[*step][*output].kinds,
            Source::Literal(_) => &[],
        };
        let expected = expected_kinds(field);
        let fits = expected.contains(&kind::WILDCARD)
            || actual
                .iter()
                .any(|k| k == kind::WILDCARD || expected.contains(&k.as_str()));
        if fits {
            return Ok(());
        }
        Err(wrong_kinds(step, field.name, selector, &expected, actual))
    }

    /// What an output shows.
    pub(super) fn resolve_output(
        &self,
        name: &str,
        selector: &Selector,
    ) -> Result<OutputSource, WorkflowError> {
        let missing = |details: String| Err(missing_output(name, details));
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
                None => self.no_step(name, step, selector),
            },
            Selector::AllOutputs(step) => match self.steps.get(step) {
                Some(&s) => Ok(OutputSource::AllOf(s)),
                None => self.no_step(name, step, selector),
            },
            Selector::Step(_) => missing(format!(
                "{selector} is a step; write {selector}.<output> or {selector}.*"
            )),
            Selector::Malformed(_) => missing(format!(
                "{selector} refers to nothing; write $inputs.<name>, $steps.<step>.<output> or $steps.<step>.*"
            )),
        }
    }

    /// The error of an output that shows a step that is not there.
    fn no_step<T>(&self, name: &str, step: &str, selector: &Selector) -> Result<T, WorkflowError> {
        Err(match self.inner_outputs(selector) {
            hint if hint.is_empty() => missing_step(name, step),
            hint => missing_output(name, format!("{selector} refers to no step{hint}")),
        })
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
        while let Some(step) = ready.pop() {
            for &f in &followers[step] {
                level[f] = level[f].max(level[step] + 1);
                open[f] -= 1;
                if open[f] == 0 {
                    ready.push(f);
                }
            }
        }
        if let Some(start) = open.iter().position(|&o| o > 0) {
            return Err(self.cycle_error(document, &open, start));
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by_key(|&s| (level[s], s));
        Ok(order)
    }

    /// Names the steps of one cycle. `open` tells which steps could not be sorted: each of them
    /// depends on another, so going from one to the next comes round at last.
    fn cycle_error(&self, document: &Document, open: &[usize], start: usize) -> WorkflowError {
        let mut visited: HashMap<usize, usize> = HashMap::new();
        let mut path = Vec::new();
        let mut at = start;
        while !visited.contains_key(&at) {
            visited.insert(at, path.len());
            path.push(at);
            let unsorted = self.dependencies[at].iter().find(|&&d| open[d] > 0);
            at = unsorted.copied().unwrap_or(at);
        }
        let mut cycle = path.split_off(visited[&at]);
        cycle.reverse();
        let shown = cycle.iter().take(NAMED_OF_CYCLE);
        let names: Vec<&str> = shown.map(|&s| &*document.steps[s].name).collect();
        let more = match cycle.len().saturating_sub(NAMED_OF_CYCLE) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let message = format!(
            "steps depend on each other in a cycle: {}{more}",
            names.join(", ")
        );
        WorkflowError::new(ErrorClass::ExecutionGraphStructure, CONSTRUCTION, message)
    }
}

/// A number that stands twice. Leaves the numbers sorted.
fn repeated(numbers: &mut [usize]) -> Option<usize> {
    numbers.sort_unstable();
    numbers.windows(2).find(|w| w[0] == w[1]).map(|w| w[0])
}

fn names<'a>(all: impl Iterator<Item = &'a Arc<str>>) -> HashMap<Arc<str>, usize> {
    all.enumerate().map(|(i, name)| (name.clone(), i)).collect()
}

/// The outputs of a step: those of its block, or those that follow from its fields.
pub fn step_outputs(step: &Step) -> Vec<StepOutput> {
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
fn accepts_steps(field: &Field) -> bool {
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
