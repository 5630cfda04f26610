//! The elements of one step in one run: which of them may run, and what their fields hold.

use std::ops::Range;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::run::{BranchState, Run};
use crate::plan::{
    Elements, FieldShape, Gate, LineageId, Part, Plan, PlannedField, PlannedStep, Source,
};
use crate::values::{Batch, Dict, Index, Value};

/// The values of a step's fields for one element, in the order of the fields.
pub(super) type FieldValues = SmallVec<[Value; 12]>;

/// View of one step's elements.
pub(super) struct StepElements<'a> {
    plan: &'a Plan,
    run: &'a Run,
    at: usize,
    planned: &'a PlannedStep,
    accepts_empty: bool,
    /// Whether a closed condition keeps all elements from a block that wants to see empty ones: it
    /// sees them as such.
    all_masked: bool,
    /// Places of the elements.
    pub places: Places<'a>,
    /// Ranges of children of each element in the one lineage that is a level deeper.
    children: Option<(LineageId, Vec<Range<usize>>)>,
}

/// Places of the elements of a step.
pub(super) enum Places<'a> {
    /// Those of a lineage.
    Known(&'a [Index]),
    /// One place of its own.
    Single(Index),
}

impl Places<'_> {
    pub(super) fn as_slice(&self) -> &[Index] {
        match self {
            Self::Known(places) => places,
            Self::Single(place) => std::slice::from_ref(place),
        }
    }
}

/// One element of a step.
#[derive(Clone, Copy)]
struct Element {
    position: usize,
    /// Whether a condition keeps it away, so that its data count as empty.
    masked: bool,
}

/// What became of a field (or a whole element) while its value was put together.
enum Filled {
    Value(Value),
    /// A part is empty and the block does not accept that.
    Empty,
}

impl<'a> StepElements<'a> {
    pub(super) fn new(plan: &'a Plan, run: &'a Run, at: usize) -> Self {
        let planned = &plan.steps[at];
        let places = match planned.elements {
            Elements::Once => Places::Single(Index::new()),
            Elements::Of(id) => Places::Known(&run.indices[id]),
            Elements::Artificial(depth) => Places::Single(smallvec![0; depth]),
        };
        let children = planned
            .deeper
            .map(|id| (id, group(places.as_slice(), &run.indices[id])));
        let mut elements = Self {
            plan,
            run,
            at,
            planned,
            accepts_empty: planned.step.spec.accepts_empty,
            all_masked: false,
            places,
            children,
        };
        elements.all_masked = elements.sees_masked() && elements.is_closed();
        elements
    }

    /// Whether nothing of the step may run: a closed scalar condition, or an empty scalar input.
    pub(super) fn is_discarded(&self) -> bool {
        if self.accepts_empty {
            return !self.all_masked && self.is_closed();
        }
        self.is_closed() || self.lacks_a_scalar()
    }

    /// Whether elements behind a closed condition reach the block as empty ones (engine
    /// specification 6.3, 6.4). Without batches there is nothing that could be empty.
    fn sees_masked(&self) -> bool {
        let mut parts = self.planned.fields.iter().flat_map(|f| f.shape.parts());
        self.accepts_empty && parts.any(|part| part.lineage.is_some())
    }

    fn is_closed(&self) -> bool {
        let closed = |gate: &Gate| match &self.run.branches[gate.branch] {
            BranchState::Unregistered => true,
            BranchState::Scalar(open) => !open,
            // A condition over a batch on a step that has no place in any batch.
            BranchState::Batch(_, open) => {
                self.planned.elements == Elements::Once
                    && self.children.is_none()
                    && !open.contains(&true)
            }
        };
        self.planned.gates.iter().any(closed)
    }

    fn lacks_a_scalar(&self) -> bool {
        let mut needs = self.planned.needs.iter();
        needs.any(|&(step, output)| self.run.output(step, output).is_none())
    }

    /// Whether the conditions let a place of a lineage through: the place's prefix is selected at
    /// the level of each condition.
    fn is_open(&self, place: &Index) -> bool {
        let mut gates = self.planned.gates.iter();
        !self.all_masked
            && gates.all(|gate| {
                let BranchState::Batch(id, open) = &self.run.branches[gate.branch] else {
                    return true;
                };
                let level = self.plan.lineages[*id].len();
                if place.len() < level {
                    return true;
                }
                let places = &self.run.indices[*id];
                match places.binary_search_by(|p| p.as_slice().cmp(&place[..level])) {
                    Ok(position) => open.get(position).copied().unwrap_or(false),
                    Err(_) => false,
                }
            })
    }

    /// Puts the values of the fields for the element at `position` into `values`; answers whether
    /// the element may run: it is neither masked nor empty.
    pub(super) fn fill(&self, position: usize, values: &mut FieldValues) -> bool {
        values.clear();
        let gated = !self.planned.gates.is_empty();
        let masked = gated && !self.is_open(&self.places.as_slice()[position]);
        if masked && !self.sees_masked() {
            return false;
        }
        let element = Element { position, masked };
        for (f, field) in self.planned.fields.iter().enumerate() {
            match self.field(f, field, element) {
                Filled::Value(value) => values.push(value),
                Filled::Empty => return false,
            }
        }
        true
    }

    /// The values of the fields for a whole batch: elements that remain, and per field a batch.
    pub(super) fn batch(&self) -> (Vec<usize>, FieldValues) {
        let places = self.places.as_slice();
        let mut remaining = Vec::with_capacity(places.len());
        let mut rows: Vec<FieldValues> = Vec::with_capacity(places.len());
        for position in 0..places.len() {
            let mut values = FieldValues::new();
            if self.fill(position, &mut values) {
                remaining.push(position);
                rows.push(values);
            }
        }
        let indices: Vec<Index> = remaining.iter().map(|&p| places[p].clone()).collect();
        let fields = self
            .planned
            .fields
            .iter()
            .enumerate()
            .map(|(f, field)| self.transpose(f, field, &indices, &mut rows))
            .collect();
        (remaining, fields)
    }

    /// A field of all elements as one value: the scalar, or a batch of what each element has.
    fn transpose(
        &self,
        f: usize,
        field: &PlannedField,
        indices: &[Index],
        rows: &mut [FieldValues],
    ) -> Value {
        let gather = |items: Vec<Value>| {
            Value::Batch(Arc::new(Batch {
                indices: indices.to_vec(),
                items,
            }))
        };
        if field.depth == 0 {
            return rows
                .first_mut()
                .map_or(Value::None, |row| std::mem::take(&mut row[f]));
        }
        let member = |i: usize, part: &Part| {
            if part.lineage.is_none() && !is_lifted(field, part) {
                return self.run.scalar(&part.source).clone();
            }
            gather(rows.iter().map(|row| member(&row[f], i).clone()).collect())
        };
        match &field.shape {
            FieldShape::Whole(_) => {
                let whole = rows.iter_mut().map(|row| std::mem::take(&mut row[f]));
                gather(whole.collect())
            }
            FieldShape::List(parts) => {
                let members = parts.iter().enumerate();
                Value::list(members.map(|(i, part)| member(i, part)).collect())
            }
            FieldShape::Map(parts) => {
                let members = parts.iter().enumerate();
                let entries = members.map(|(i, (key, part))| (key.clone(), member(i, part)));
                Value::dict(entries.collect::<Dict>())
            }
        }
    }

    fn field(&self, f: usize, field: &PlannedField, element: Element) -> Filled {
        match &field.shape {
            FieldShape::Whole(part) => {
                if let Some(value) = self.run.overrides.get(&(self.at, f)) {
                    return Filled::Value(value.clone());
                }
                self.part(part, is_lifted(field, part), element)
            }
            FieldShape::List(parts) => {
                let mut items = Vec::with_capacity(parts.len());
                for part in parts {
                    match self.part(part, is_lifted(field, part), element) {
                        Filled::Value(value) => items.push(value),
                        Filled::Empty => return Filled::Empty,
                    }
                }
                Filled::Value(Value::list(items))
            }
            FieldShape::Map(parts) => {
                let mut entries = Dict::with_capacity(parts.len());
                for (key, part) in parts {
                    match self.part(part, is_lifted(field, part), element) {
                        Filled::Value(value) => {
                            entries.insert(key.clone(), value);
                        }
                        Filled::Empty => return Filled::Empty,
                    }
                }
                Filled::Value(Value::dict(entries))
            }
        }
    }

    fn part(&self, part: &Part, lifted: bool, element: Element) -> Filled {
        let Some(id) = part.lineage else {
            let value = self.run.scalar(&part.source);
            return if lifted && value.is_none() && !self.accepts_empty {
                Filled::Empty
            } else {
                // Of a lifted scalar that lies one level deeper than the element, a group of one.
                Filled::Value(self.lifted(value, lifted))
            };
        };
        if self.plan.lineages[id].len() == self.planned.depth {
            let value = if element.masked {
                &Value::None
            } else {
                self.run.element(&part.source, element.position)
            };
            return if value.is_none() && !self.accepts_empty {
                Filled::Empty
            } else {
                Filled::Value(value.clone())
            };
        }
        self.group(&part.source, id, element.position)
    }

    fn lifted(&self, value: &Value, lifted: bool) -> Value {
        let collapses = self.planned.step.spec.output_offset < 0;
        if !(lifted && collapses) || value.is_none() {
            return value.clone();
        }
        let place = Index::from_elem(0, self.planned.depth + 1);
        Value::Batch(Arc::new(Batch {
            indices: vec![place],
            items: vec![value.clone()],
        }))
    }

    /// The children of an element as a batch; empty ones and those behind a closed condition left
    /// out. An element may keep none of its children, but a whole batch of which nothing remains is
    /// nothing.
    fn group(&self, source: &Source, id: LineageId, position: usize) -> Filled {
        let range = match &self.children {
            Some((deeper, ranges)) if *deeper == id => ranges[position].clone(),
            _ => return Filled::Empty,
        };
        if range.is_empty() {
            return if self.accepts_empty {
                Filled::Value(Value::None)
            } else {
                Filled::Empty
            };
        }
        let places = &self.run.indices[id];
        let mut batch = Batch::default();
        for child in range {
            let open = self.planned.gates.is_empty() || self.is_open(&places[child]);
            let value = if open {
                self.run.element(source, child)
            } else {
                &Value::None
            };
            if !value.is_none() || self.accepts_empty {
                batch.indices.push(places[child].clone());
                batch.items.push(value.clone());
            }
        }
        if batch.items.is_empty() && self.planned.elements == Elements::Once {
            return Filled::Empty;
        }
        Filled::Value(Value::Batch(Arc::new(batch)))
    }
}

/// Whether a value of a field is a scalar that is repeated for every element.
fn is_lifted(field: &PlannedField, part: &Part) -> bool {
    field.lifted && part.is_liftable()
}

fn member(value: &Value, i: usize) -> &Value {
    let found = match value {
        Value::List(items) => items.get(i),
        Value::Dict(entries) => entries.get_index(i).map(|(_, v)| v),
        _ => None,
    };
    found.unwrap_or(&Value::None)
}

/// For each place the range of places one level deeper that begin with it. Both lists are sorted.
fn group(upper: &[Index], deeper: &[Index]) -> Vec<Range<usize>> {
    let mut at = 0;
    upper
        .iter()
        .map(|place| {
            while at < deeper.len() && deeper[at][..place.len()] < place[..] {
                at += 1;
            }
            let start = at;
            while at < deeper.len() && deeper[at].starts_with(place) {
                at += 1;
            }
            start..at
        })
        .collect()
}
