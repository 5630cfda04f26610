//! Nesting depths and lineages: over which elements each step runs and where its results lie
//! (engine specification, section 5; decisions Q1 to Q12).

use smallvec::SmallVec;

use super::gates;
use super::graph::Graph;
use super::{
    CONSTRUCTION, Elements, FieldShape, LineageId, OutputSource, Part, PlannedField, PlannedOutput,
    PlannedStep, Source,
};
use crate::blocks::{BlockSpec, Field, Role, Ty};
use crate::definition::Document;
use crate::definition::document::InputType;
use crate::definition::error::{BlockProblem, ErrorClass, WorkflowError};
use crate::definition::step::{FieldValue, Step};
use crate::values::Value;

/// One number per nesting level, from the top: who made that level.
pub type Lineage = SmallVec<[u32; 4]>;

/// The level that all batch inputs share.
pub const WORKFLOW_INPUT: u32 = 0;

/// What planning adds to the graph.
pub(super) struct Planned {
    pub steps: Vec<PlannedStep>,
    pub lineages: Vec<Lineage>,
    pub input_lineages: Vec<Option<LineageId>>,
}

#[derive(Default)]
struct Lineages {
    all: Vec<Lineage>,
    next_level: u32,
}

impl Lineages {
    fn id(&mut self, lineage: Lineage) -> LineageId {
        match self.all.iter().position(|l| *l == lineage) {
            Some(id) => id,
            None => {
                self.all.push(lineage);
                self.all.len() - 1
            }
        }
    }

    fn optional_id(&mut self, lineage: Lineage) -> Option<LineageId> {
        (!lineage.is_empty()).then(|| self.id(lineage))
    }

    fn new_level(&mut self) -> u32 {
        self.next_level += 1;
        self.next_level
    }

    /// The first `depth` levels of a lineage.
    fn cut(&mut self, id: LineageId, depth: usize) -> LineageId {
        let cut = self.all[id][..depth].into();
        self.id(cut)
    }

    fn depth(&self, id: Option<LineageId>) -> usize {
        id.map_or(0, |id| self.all[id].len())
    }
}

pub(super) fn plan_steps(document: &Document, graph: &Graph) -> Result<Planned, WorkflowError> {
    let mut lineages = Lineages::default();
    let input_lineages = plan_inputs(document, &mut lineages)?;
    let mut planned: Vec<Option<PlannedStep>> = vec![None; document.steps.len()];
    for &at in &graph.order {
        let mut planner = StepPlanner {
            document,
            graph,
            planned: &planned,
            input_lineages: &input_lineages,
            lineages: &mut lineages,
            step: &document.steps[at],
            at,
        };
        let step = planner.plan()?;
        planned[at] = Some(step);
    }
    let steps = planned.into_iter().flatten().collect();
    Ok(Planned {
        steps,
        lineages: lineages.all,
        input_lineages,
    })
}

fn plan_inputs(
    document: &Document,
    lineages: &mut Lineages,
) -> Result<Vec<Option<LineageId>>, WorkflowError> {
    document
        .inputs
        .iter()
        .map(|input| match input.input_type {
            InputType::Parameter(_) => Ok(None),
            InputType::Image | InputType::VideoMetadata => {
                Ok(Some(lineages.id(SmallVec::from_slice(&[WORKFLOW_INPUT]))))
            }
            InputType::Batch(depth) if depth < 1 => Err(WorkflowError::new(
                ErrorClass::ExecutionGraphStructure,
                CONSTRUCTION,
                format!(
                    "input `{}`: `dimensionality` must be at least 1, got {depth}",
                    input.name
                ),
            )),
            InputType::Batch(depth) => {
                let mut lineage: Lineage = SmallVec::from_slice(&[WORKFLOW_INPUT]);
                lineages.id(lineage.clone());
                for _ in 1..depth.min(64) {
                    lineage.push(lineages.new_level());
                    lineages.id(lineage.clone());
                }
                Ok(Some(lineages.id(lineage)))
            }
        })
        .collect()
}

pub(super) fn plan_outputs(
    document: &Document,
    graph: &Graph,
    planned: &Planned,
) -> Result<Vec<PlannedOutput>, WorkflowError> {
    document
        .outputs
        .iter()
        .map(|output| {
            let source = graph.resolve_output(&output.name, &output.selector)?;
            let lineage = match source {
                OutputSource::Input(i) => planned.input_lineages[i],
                OutputSource::Step(s, _) | OutputSource::AllOf(s) => {
                    planned.steps[s].output_lineage
                }
            };
            Ok(PlannedOutput {
                name: output.name.clone(),
                source,
                lineage,
                coordinates: output.coordinates,
            })
        })
        .collect()
}

struct StepPlanner<'a> {
    document: &'a Document,
    graph: &'a Graph,
    planned: &'a [Option<PlannedStep>],
    input_lineages: &'a [Option<LineageId>],
    lineages: &'a mut Lineages,
    step: &'a std::sync::Arc<Step>,
    at: usize,
}

impl StepPlanner<'_> {
    fn spec(&self) -> &'static BlockSpec {
        self.step.spec
    }

    fn plan(&mut self) -> Result<PlannedStep, WorkflowError> {
        let shapes: Vec<FieldShape> = self.step.values.iter().map(|v| self.shape(v)).collect();
        let gates = gates::of(self.at, self.graph, self.planned);
        let data = self.data_lineages(&shapes)?;
        let control = gates::distinct_lineages(&gates);
        gates::check(self.step, &gates, &data, &self.lineages.all)?;
        let support = self.control_support(&data, &control)?;
        let fields = self.fields(shapes, support)?;
        self.check_depths(&fields)?;

        let offset = self.spec().output_offset;
        let base = self.base(&data, support);
        let output_lineage = self.output_lineage(base)?;
        let deepest = data
            .iter()
            .copied()
            .max_by_key(|&id| self.lineages.all[id].len());
        let depths: Vec<usize> = fields.iter().map(|f| f.depth).filter(|&d| d > 0).collect();
        let shallowest = depths.iter().min().copied();
        let (elements, depth) = match (support, shallowest) {
            (Some(id), _) => (Elements::Of(id), self.lineages.all[id].len()),
            (None, None) => (Elements::Once, 0),
            (None, Some(least)) => match least - usize::from(offset < 0) {
                0 => (Elements::Once, 0),
                depth => match deepest {
                    Some(id) => (Elements::Of(self.lineages.cut(id, depth)), depth),
                    None => (Elements::Artificial(depth), depth),
                },
            },
        };
        let simd = shallowest.is_some() || support.is_some();
        Ok(PlannedStep {
            step: self.step.clone(),
            outputs: self.graph.outputs[self.at].clone(),
            batch_mode: self.spec().accepts_batch() && shallowest.is_some(),
            stream_input: self.stream_input(&fields, &gates),
            fields,
            elements,
            depth,
            simd,
            output_lineage,
            gates,
            branches: self.graph.branches[self.at].clone(),
            dependencies: self.graph.dependencies[self.at].clone(),
        })
    }

    fn part(&self, value: &FieldValue) -> Part {
        match value {
            FieldValue::Selector(selector) => match self.graph.source(selector) {
                Some(source) => Part {
                    lineage: self.lineage_of(&source),
                    source,
                },
                // A step as a target: the field's value is its text, which no block reads.
                None => Part {
                    source: Source::Literal(Value::from(selector.to_string())),
                    lineage: None,
                },
            },
            FieldValue::Literal(_, value) => Part {
                source: Source::Literal(value.clone()),
                lineage: None,
            },
            FieldValue::List(_) | FieldValue::Map(_) => Part {
                source: Source::Literal(Value::None),
                lineage: None,
            },
        }
    }

    fn shape(&self, value: &FieldValue) -> FieldShape {
        match value {
            FieldValue::List(items) => {
                FieldShape::List(items.iter().map(|v| self.part(v)).collect())
            }
            FieldValue::Map(entries) => FieldShape::Map(
                entries
                    .iter()
                    .map(|(k, v)| (k.clone(), self.part(v)))
                    .collect(),
            ),
            single => FieldShape::Whole(self.part(single)),
        }
    }

    fn lineage_of(&self, source: &Source) -> Option<LineageId> {
        match source {
            Source::Literal(_) => None,
            Source::Input(i) => self.input_lineages[*i],
            Source::Step(s, _) => self.planned[*s].as_ref().and_then(|p| p.output_lineage),
        }
    }

    /// Distinct lineages of batch sources, checked as in section 5.5 (after the depth checks D1 and
    /// D2, which the reference makes first).
    fn data_lineages(&self, shapes: &[FieldShape]) -> Result<Vec<LineageId>, WorkflowError> {
        let spec = self.spec();
        let depth = |p: &Part| self.lineages.depth(p.lineage);
        let mut level: Option<usize> = None;
        for (field, shape) in spec.fields.iter().zip(shapes) {
            let depths: Vec<usize> = shape.parts().map(depth).filter(|&d| d > 0).collect();
            if depths.iter().any(|d| *d != depths[0]) {
                return Err(self.depths_error(
                    Some(field.name),
                    "collecting_step_input_data",
                    format!(
                        "the members of field `{}` lie at different nesting depths",
                        field.name
                    ),
                ));
            }
            let Some(&own) = depths.first() else { continue };
            if spec.offset(field.name) != 0 {
                continue;
            }
            if *level.get_or_insert(own) != own {
                return Err(self.depths_error(None, "collecting_step_input_data", format!(
                    "its fields get data of different nesting depths ({} and {own}); collapse or crop one of them first",
                    level.unwrap_or(own))));
            }
        }
        let mut data: Vec<LineageId> = Vec::new();
        for (field, shape) in spec.fields.iter().zip(shapes) {
            let mut own: Vec<LineageId> = shape.parts().filter_map(|p| p.lineage).collect();
            own.sort_unstable();
            own.dedup();
            if own.len() > 1 {
                return Err(self.lineage_error(format!(
                    "the members of field `{}` come from unrelated batches",
                    field.name
                )));
            }
            if let Some(&id) = own.first()
                && !data.contains(&id)
            {
                data.push(id);
            }
        }
        self.check_related(&data)?;
        Ok(data)
    }

    fn check_related(&self, data: &[LineageId]) -> Result<(), WorkflowError> {
        let mut sorted: Vec<&Lineage> = data.iter().map(|&id| &self.lineages.all[id]).collect();
        sorted.sort_by_key(|l| l.len());
        let related = match sorted.as_slice() {
            [] | [_] => true,
            [short, long] => short.len() < long.len() && long.starts_with(short),
            _ => false,
        };
        if related {
            return Ok(());
        }
        Err(self.lineage_error(
            "it combines data of unrelated batches (for example of two different crops)".into(),
        ))
    }

    /// The lineage over which a step without batch data runs because of its conditions.
    fn control_support(
        &self,
        data: &[LineageId],
        control: &[LineageId],
    ) -> Result<Option<LineageId>, WorkflowError> {
        if !data.is_empty() || control.is_empty() {
            return Ok(None);
        }
        if self.spec().output_offset > 0 {
            return Err(self.depths_error(
                None,
                "verification_of_output_offset",
                "it adds a nesting level to scalars and cannot depend on a condition over a batch"
                    .into(),
            ));
        }
        if self.spec().output_offset < 0 {
            return Ok(None);
        }
        let deepest = control
            .iter()
            .map(|&id| self.lineages.all[id].len())
            .max()
            .unwrap_or(0);
        let mut candidates = control
            .iter()
            .filter(|&&id| self.lineages.all[id].len() == deepest);
        let first = candidates.next().copied();
        if candidates.next().is_some() {
            let message = format!(
                "step `{}` depends on conditions over unrelated batches",
                self.step.name
            );
            return Err(WorkflowError::new(
                ErrorClass::Assumption,
                CONSTRUCTION,
                message,
            ));
        }
        Ok(first)
    }

    /// Fields with their depths after lifting (section 5.3).
    fn fields(
        &self,
        shapes: Vec<FieldShape>,
        support: Option<LineageId>,
    ) -> Result<Vec<PlannedField>, WorkflowError> {
        let spec = self.spec();
        let base_depth = spec
            .fields
            .iter()
            .zip(&shapes)
            .filter(|(field, _)| spec.offset(field.name) == 0)
            .flat_map(|(_, shape)| shape.parts())
            .map(|p| self.lineages.depth(p.lineage))
            .find(|&d| d > 0)
            .unwrap_or_else(|| support.map_or(1, |id| self.lineages.all[id].len()));
        let mut fields = Vec::with_capacity(shapes.len());
        for (field, shape) in spec.fields.iter().zip(shapes) {
            let batch_depth = shape
                .parts()
                .map(|p| self.lineages.depth(p.lineage))
                .max()
                .unwrap_or(0);
            let (may_batch, may_scalar) = points_to(spec, field, &shape);
            if spec.accepts_batch() && may_scalar && !may_batch && batch_depth > 0 {
                return Err(self.structure_error(field.name));
            }
            let lifted = may_batch && !may_scalar && shape.parts().any(liftable);
            let offset = spec.offset(field.name);
            if lifted && offset > 0 && batch_depth == 0 {
                return Err(self.depths_error(Some(field.name), "denoting_step_inputs_dimensionality", format!(
                    "field `{}` must be one nesting level deeper than the others, but a scalar stands there", field.name)));
            }
            let depth = if lifted {
                batch_depth.max(base_depth)
            } else {
                batch_depth
            };
            fields.push(PlannedField {
                shape,
                depth,
                lifted,
            });
        }
        Ok(fields)
    }

    /// Checks D3 to D5 and the declarations of the block (section 5.4).
    fn check_depths(&self, fields: &[PlannedField]) -> Result<(), WorkflowError> {
        let spec = self.spec();
        let batch: Vec<(&Field, usize)> = spec
            .fields
            .iter()
            .zip(fields)
            .map(|(f, p)| (f, p.depth))
            .filter(|(_, d)| *d > 0)
            .collect();
        let most = batch.iter().map(|(_, d)| *d).max().unwrap_or(0);
        let least = batch.iter().map(|(_, d)| *d).min().unwrap_or(0);
        let phase = "denoting_step_inputs_dimensionality";
        if most - least > 1 {
            return Err(self.depths_error(None, phase, format!(
                "its fields get data of nesting depths {least} and {most}; they may differ by one level only")));
        }
        if spec.output_offset < 0 && batch.is_empty() {
            return Err(self.depths_error(
                None,
                "verification_of_output_offset",
                "it takes away a nesting level, but gets no batch".into(),
            ));
        }
        match spec.reference {
            None => {
                if most != least {
                    return Err(self.depths_error(
                        None,
                        phase,
                        format!("its fields get data of nesting depths {least} and {most}"),
                    ));
                }
            }
            Some(reference) => {
                let Some(&(_, own)) = batch.iter().find(|(f, _)| f.name == reference) else {
                    let message = format!(
                        "step `{}`: field `{reference}` must get a batch",
                        self.step.name
                    );
                    let context = format!("{CONSTRUCTION} | {phase}");
                    return Err(WorkflowError::new(
                        ErrorClass::BlockInterface,
                        context,
                        message,
                    ));
                };
                for (field, depth) in &batch {
                    let wanted = own as i64 + i64::from(spec.offset(field.name))
                        - i64::from(spec.offset(reference));
                    if *depth as i64 != wanted {
                        return Err(self.depths_error(
                            Some(field.name),
                            phase,
                            format!(
                                "field `{}` must get data of nesting depth {wanted}, gets {depth}",
                                field.name
                            ),
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// The lineage to which the output is relative.
    fn base(&self, data: &[LineageId], support: Option<LineageId>) -> Option<LineageId> {
        match data {
            [] => support,
            [only] => Some(*only),
            _ => {
                let reference = self.spec().reference?;
                let value = self
                    .spec()
                    .field_index(reference)
                    .map(|i| &self.step.values[i])?;
                self.shape(value).parts().find_map(|p| p.lineage)
            }
        }
    }

    fn output_lineage(
        &mut self,
        base: Option<LineageId>,
    ) -> Result<Option<LineageId>, WorkflowError> {
        let mut lineage: Lineage = base
            .map(|id| self.lineages.all[id].clone())
            .unwrap_or_default();
        match self.spec().output_offset {
            0 => {}
            1 => lineage.push(self.lineages.new_level()),
            _ => {
                lineage.pop();
            }
        }
        Ok(self.lineages.optional_id(lineage))
    }

    /// The image (or video metadata) input from which the step's data, else its conditions, descend.
    fn stream_input(&self, fields: &[PlannedField], gates: &[super::Gate]) -> Option<usize> {
        let of_step = |s: usize| self.planned[s].as_ref().and_then(|p| p.stream_input);
        let from_data = fields
            .iter()
            .flat_map(|f| f.shape.parts())
            .find_map(|part| match part.source {
                Source::Input(i) => {
                    let stream = matches!(
                        self.document.inputs[i].input_type,
                        InputType::Image | InputType::VideoMetadata
                    );
                    stream.then_some(i)
                }
                Source::Step(s, _) => of_step(s),
                Source::Literal(_) => None,
            });
        from_data.or_else(|| {
            gates.iter().find_map(|gate| {
                let owner = self
                    .graph
                    .branches
                    .iter()
                    .position(|all| all.iter().any(|b| b.number == gate.branch))?;
                of_step(owner)
            })
        })
    }

    fn depths_error(&self, field: Option<&str>, phase: &str, details: String) -> WorkflowError {
        let problem = BlockProblem {
            block_id: Some(self.step.name.to_string()),
            block_type: Some(self.step.type_tag.clone()),
            block_details: Some(details.clone()),
            property_name: field.map(str::to_owned),
            ..BlockProblem::default()
        };
        let message = format!("step `{}`: {details}", self.step.name);
        let context = format!("{CONSTRUCTION} | {phase}");
        WorkflowError::new(ErrorClass::StepInputDimensionality, context, message)
            .with_block(problem)
    }

    fn lineage_error(&self, details: String) -> WorkflowError {
        let context = format!("{CONSTRUCTION} | collecting_step_inputs_lineage");
        let message = format!("step `{}`: {details}", self.step.name);
        WorkflowError::new(ErrorClass::StepInputLineage, context, message)
    }

    fn structure_error(&self, field: &str) -> WorkflowError {
        let details = format!("field `{field}` takes one value for all elements, but gets a batch");
        let problem = BlockProblem {
            block_id: Some(self.step.name.to_string()),
            block_type: Some(self.step.type_tag.clone()),
            property_name: Some(field.to_owned()),
            property_details: Some(details.clone()),
            ..BlockProblem::default()
        };
        let message = format!("step `{}`: {details}", self.step.name);
        WorkflowError::new(ErrorClass::ExecutionGraphStructure, CONSTRUCTION, message)
            .with_block(problem)
    }
}

/// Whether a scalar in a field is lifted where batches are wanted: all but a literal `null`.
fn liftable(part: &Part) -> bool {
    part.lineage.is_none() && !matches!(part.source, Source::Literal(Value::None))
}

/// Whether a field may hold batches, and whether it may hold scalars (section 5.3).
fn points_to(spec: &BlockSpec, field: &Field, shape: &FieldShape) -> (bool, bool) {
    let listed = |names: &[&str]| names.contains(&field.name);
    let (mixed, cast) = (listed(spec.mixed), listed(spec.cast));
    let generic = if cast || (!mixed && listed(spec.batch)) {
        (true, false)
    } else if mixed {
        (true, true)
    } else {
        (false, true)
    };
    let refers = shape
        .parts()
        .any(|p| !matches!(p.source, Source::Literal(_)));
    if !refers {
        return if mixed {
            (true, true)
        } else if generic.0 {
            generic
        } else {
            (false, false)
        };
    }
    let mut union = (false, false);
    let mut add = |ty: &Ty| match ty {
        Ty::StepOutput(_) | Ty::InputImage | Ty::InputVideo => union.0 = true,
        Ty::InputParameter(_) | Ty::Step => union.1 = true,
        Ty::Selector(_) => {
            union.0 |= generic.0;
            union.1 |= generic.1;
        }
        _ => {}
    };
    for ty in field.types {
        match ty {
            Ty::List(inner) | Ty::ListIn(inner, ..) | Ty::Map(inner) => {
                inner.iter().for_each(&mut add)
            }
            Ty::Tuple(parts) => parts.iter().flat_map(|p| p.iter()).for_each(&mut add),
            other => add(other),
        }
    }
    // A flow-control field holds steps only; it never takes part in batching.
    if spec.role == Role::FlowControl && field.types.iter().all(|t| matches!(t, Ty::Step)) {
        return (false, true);
    }
    union
}
