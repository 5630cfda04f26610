//! Over which elements a step runs and where its results lie (engine specification, sections 5.4
//! to 5.6; decisions Q1 to Q12).

use std::sync::Arc;

use super::depths::{self, DENOTING, OUTPUT_OFFSET};
use super::faults::{of_class, wrong_depth, wrong_structure};
use super::gates;
use super::graph::Graph;
use super::lifting::Takes;
use super::lineage::{Lineage, Lineages, MAX_DEPTH};
use super::{
    CONSTRUCTION, Elements, FieldShape, LineageId, Part, PlannedField, PlannedStep, Source,
};
use crate::blocks::BlockSpec;
use crate::definition::Document;
use crate::definition::document::InputType;
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::definition::step::{FieldValue, Step};
use crate::values::Value;

const LINEAGE: &str = "collecting_step_inputs_lineage";
const CONTROL: &str = "verification_of_control_flow_lineage";

/// Plans one step, after all steps that it depends on.
pub(super) struct StepPlanner<'a> {
    pub document: &'a Document,
    pub graph: &'a Graph,
    pub planned: &'a [Option<PlannedStep>],
    pub input_levels: &'a [Vec<LineageId>],
    pub lineages: &'a mut Lineages,
    pub step: &'a Arc<Step>,
    pub at: usize,
}

impl StepPlanner<'_> {
    fn spec(&self) -> &'static BlockSpec {
        self.step.spec
    }

    pub(super) fn plan(mut self) -> Result<PlannedStep, WorkflowError> {
        let shapes: Vec<FieldShape> = self.step.values.iter().map(|v| self.shape(v)).collect();
        self.refuse_batches(&shapes)?;
        let common_depth = depths::common(self.step, &shapes, self.lineages)?;
        let data = distinct_lineages(&shapes);
        let (document, graph) = (self.document, self.graph);
        let gates = gates::of(self.at, document, graph, self.planned, &data, self.lineages);
        let support = self.control_support(&data, &gates::distinct_lineages(&gates))?;
        let fields = self.fields(shapes, common_depth, support)?;
        depths::check(self.step, &fields, self.lineages)?;
        self.check_lineages(&fields, &data)?;
        gates::check(self.step, &gates, &data, self.lineages)?;

        let base = self.base(&fields, &data, support);
        let output_lineage = self.output_lineage(base)?;
        let shallowest = fields.iter().map(|f| f.depth).filter(|&d| d > 0).min();
        let (elements, depth) = self.elements(shallowest, &data, support);
        let parts = || fields.iter().flat_map(|f| f.shape.parts());
        let deeper = parts()
            .filter_map(|p| p.lineage)
            .find(|&id| self.lineages.get(id).len() == depth + 1);
        let needs = parts()
            .filter(|p| p.lineage.is_none())
            .filter_map(|p| match p.source {
                Source::Step(s, o) => Some((s, o)),
                _ => None,
            })
            .collect();
        Ok(PlannedStep {
            step: self.step.clone(),
            outputs: self.graph.outputs[self.at].clone(),
            batch_mode: self.spec().accepts_batch() && shallowest.is_some(),
            stream_input: self.stream_input(&fields),
            fields,
            elements,
            depth,
            deeper,
            needs,
            simd: shallowest.is_some() || support.is_some(),
            output_lineage,
            gates,
            branches: self.graph.branches[self.at].clone(),
            dependencies: self.graph.dependencies[self.at].clone(),
        })
    }

    fn part(&self, value: &FieldValue) -> Part {
        let source = match value {
            FieldValue::Selector(selector) => match self.graph.source(selector) {
                Some(source) => source,
                // A step as a target: the field's value is its text, which no block reads.
                None => Source::Literal(Value::from(selector.to_string())),
            },
            FieldValue::Literal(_, value) => Source::Literal(value.clone()),
            FieldValue::List(_) | FieldValue::Map(_) => Source::Literal(Value::None),
        };
        let lineage = match &source {
            Source::Literal(_) => None,
            Source::Input(i) => self.input_levels[*i].last().copied(),
            Source::Step(s, _) => self.planned[*s].as_ref().and_then(|p| p.output_lineage),
        };
        Part { source, lineage }
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

    /// Fields that take one value for all elements get no batch. Told before the depths of batches.
    fn refuse_batches(&self, shapes: &[FieldShape]) -> Result<(), WorkflowError> {
        let spec = self.spec();
        let fields = spec.fields.iter().zip(shapes);
        for (field, shape) in fields.filter(|_| spec.accepts_batch()) {
            let gets_batch = shape.parts().any(|part| part.lineage.is_some());
            if gets_batch && Takes::of(spec, field, shape).refuses_batches() {
                let details = "takes one value for all elements, but gets a batch".to_owned();
                return Err(wrong_structure(self.step, field.name, details));
            }
        }
        Ok(())
    }

    /// The lineage over which a step without batch data runs because of its conditions.
    fn control_support(
        &self,
        data: &[LineageId],
        control: &[LineageId],
    ) -> Result<Option<LineageId>, WorkflowError> {
        let longest = |&&id: &&LineageId| self.lineages.get(id).len();
        // Of several longest ones the first, so that the others are found below.
        let Some(&deepest) = control.iter().rev().max_by_key(longest) else {
            return Ok(None);
        };
        if !data.is_empty() || self.spec().output_offset < 0 {
            return Ok(None);
        }
        if self.spec().output_offset > 0 {
            let details =
                "it adds a nesting level to scalars and cannot depend on a condition over a batch";
            return Err(wrong_depth(self.step, None, OUTPUT_OFFSET, details.into()));
        }
        let own = self.lineages.get(deepest);
        for &other in control.iter().filter(|&&id| id != deepest) {
            let details = "it depends on conditions over unrelated batches";
            if self.lineages.get(other).len() == own.len() {
                let message = format!("step `{}`: {details}", self.step.name);
                return Err(WorkflowError::new(
                    ErrorClass::Assumption,
                    CONSTRUCTION,
                    message,
                ));
            }
            if !own.starts_with(self.lineages.get(other)) {
                let class = ErrorClass::ControlFlowDefinition;
                return Err(of_class(class, self.step, CONTROL, details));
            }
        }
        Ok(Some(deepest))
    }

    /// Fields with their depths after lifting (section 5.3).
    fn fields(
        &self,
        shapes: Vec<FieldShape>,
        common_depth: Option<usize>,
        support: Option<LineageId>,
    ) -> Result<Vec<PlannedField>, WorkflowError> {
        let spec = self.spec();
        let lifted_depth =
            common_depth.unwrap_or_else(|| support.map_or(1, |id| self.lineages.get(id).len()));
        let mut fields = Vec::with_capacity(shapes.len());
        for (field, shape) in spec.fields.iter().zip(shapes) {
            let own_depth = shape
                .parts()
                .map(|p| self.lineages.depth(p.lineage))
                .max()
                .unwrap_or(0);
            let takes = Takes::of(spec, field, &shape);
            let lifted = takes.lifts() && shape.parts().any(Part::is_liftable);
            if lifted && spec.offset(field.name) > 0 {
                let details = format!(
                    "field `{}` must be one nesting level deeper than the others, but a scalar stands there",
                    field.name
                );
                return Err(wrong_depth(self.step, Some(field.name), DENOTING, details));
            }
            let depth = if lifted {
                own_depth.max(lifted_depth)
            } else {
                own_depth
            };
            fields.push(PlannedField {
                shape,
                depth,
                lifted,
            });
        }
        Ok(fields)
    }

    /// All data of a step belong together (section 5.5).
    fn check_lineages(
        &self,
        fields: &[PlannedField],
        data: &[LineageId],
    ) -> Result<(), WorkflowError> {
        let unrelated = |details: &str| {
            Err(of_class(
                ErrorClass::StepInputLineage,
                self.step,
                LINEAGE,
                details,
            ))
        };
        for (field, planned) in self.spec().fields.iter().zip(fields) {
            let mut own = planned.shape.parts().filter_map(|p| p.lineage);
            let first = own.next();
            if own.any(|id| Some(id) != first) {
                return unrelated(&format!(
                    "the members of field `{}` come from unrelated batches",
                    field.name
                ));
            }
        }
        let mut sorted: Vec<&Lineage> = data.iter().map(|&id| self.lineages.get(id)).collect();
        sorted.sort_by_key(|l| l.len());
        let related = match sorted.as_slice() {
            [] | [_] => true,
            [short, long] => short.len() < long.len() && long.starts_with(short),
            _ => false,
        };
        if related {
            return Ok(());
        }
        unrelated("it combines data of unrelated batches (for example of two different crops)")
    }

    /// The lineage to which the output is relative.
    fn base(
        &self,
        fields: &[PlannedField],
        data: &[LineageId],
        support: Option<LineageId>,
    ) -> Option<LineageId> {
        match data {
            [] => support,
            [only] => Some(*only),
            _ => {
                let reference = self.spec().field_index(self.spec().reference?)?;
                let mut parts = fields[reference].shape.parts();
                parts.find_map(|p| p.lineage)
            }
        }
    }

    fn output_lineage(
        &mut self,
        base: Option<LineageId>,
    ) -> Result<Option<LineageId>, WorkflowError> {
        let mut lineage: Lineage = base
            .map(|id| self.lineages.get(id).clone())
            .unwrap_or_default();
        match self.spec().output_offset {
            0 => return Ok(base),
            1 if lineage.len() >= MAX_DEPTH => {
                let details = format!("its results would be nested more than {MAX_DEPTH} deep");
                return Err(wrong_depth(self.step, None, OUTPUT_OFFSET, details));
            }
            1 => lineage.push(self.lineages.new_level()),
            _ => {
                lineage.pop();
            }
        }
        Ok((!lineage.is_empty()).then(|| self.lineages.id(lineage)))
    }

    /// Over which elements the step runs, and how deep they lie.
    fn elements(
        &mut self,
        shallowest: Option<usize>,
        data: &[LineageId],
        support: Option<LineageId>,
    ) -> (Elements, usize) {
        if let Some(id) = support {
            return (Elements::Of(id), self.lineages.get(id).len());
        }
        let collapses = usize::from(self.spec().output_offset < 0);
        let depth = shallowest.map_or(0, |least| least - collapses);
        let deepest = data
            .iter()
            .copied()
            .max_by_key(|&id| self.lineages.get(id).len());
        let elements = match (depth, deepest) {
            (0, _) => Elements::Once,
            (_, Some(id)) => Elements::Of(self.lineages.cut(id, depth)),
            (_, None) => Elements::Artificial(depth),
        };
        (elements, depth)
    }

    /// The image (or video metadata) input from which the step's data, else its conditions, descend.
    fn stream_input(&self, fields: &[PlannedField]) -> Option<usize> {
        let of_step = |s: usize| self.planned[s].as_ref().and_then(|p| p.stream_input);
        let mut parts = fields.iter().flat_map(|f| f.shape.parts());
        let from_data = parts.find_map(|part| match part.source {
            Source::Input(i) => {
                let input = &self.document.inputs[i].input_type;
                matches!(input, InputType::Image | InputType::VideoMetadata).then_some(i)
            }
            Source::Step(s, _) => of_step(s),
            Source::Literal(_) => None,
        });
        let mut gates = self.graph.gated_by[self.at].iter();
        from_data.or_else(|| gates.find_map(|gate| of_step(gate.source)))
    }
}

/// The lineages of the batches in the fields, each once, in the order of the fields.
fn distinct_lineages(shapes: &[FieldShape]) -> Vec<LineageId> {
    let mut data: Vec<LineageId> = Vec::new();
    for id in shapes
        .iter()
        .flat_map(FieldShape::parts)
        .filter_map(|p| p.lineage)
    {
        if !data.contains(&id) {
            data.push(id);
        }
    }
    data
}
