//! Which scalars become batches: where a block wants a batch and a scalar stands, the scalar is
//! repeated for every element (engine specification 5.3).

use super::{FieldShape, Part, Source};
use crate::blocks::{BlockSpec, Field, Ty};
use crate::values::Value;

impl Part {
    /// Whether this is a scalar that is lifted where a batch is wanted: all but a literal `null`.
    pub(crate) fn is_liftable(&self) -> bool {
        self.lineage.is_none() && !matches!(self.source, Source::Literal(Value::None))
    }
}

/// What may stand in a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Takes {
    pub batches: bool,
    pub scalars: bool,
}

impl Takes {
    /// What a field of a step may hold; neither for literals in a field that no declaration names.
    pub(super) fn of(spec: &BlockSpec, field: &Field, shape: &FieldShape) -> Self {
        let generic = Self::declared(spec, field);
        let refers = shape
            .parts()
            .any(|p| !matches!(p.source, Source::Literal(_)));
        if !refers {
            return if generic.batches {
                generic
            } else {
                Self::default()
            };
        }
        let mut union = Self::default();
        for ty in field.types {
            match ty {
                Ty::List(inner) | Ty::ListIn(inner, ..) | Ty::Map(inner) => {
                    inner.iter().for_each(|ty| union.add(ty, generic));
                }
                Ty::Tuple(parts) => {
                    let all = parts.iter().flat_map(|p| p.iter());
                    all.for_each(|ty| union.add(ty, generic));
                }
                other => union.add(other, generic),
            }
        }
        union
    }

    /// What a selector of any source may bring, by the declarations of the block.
    fn declared(spec: &BlockSpec, field: &Field) -> Self {
        let listed = |names: &[&str]| names.contains(&field.name);
        let cast = listed(spec.cast);
        let mixed = listed(spec.mixed);
        Self {
            batches: cast || mixed || listed(spec.batch),
            scalars: !cast && (mixed || !listed(spec.batch)),
        }
    }

    fn add(&mut self, ty: &Ty, generic: Self) {
        match ty {
            Ty::StepOutput(_) | Ty::InputImage | Ty::InputVideo => self.batches = true,
            Ty::InputParameter(_) | Ty::Step => self.scalars = true,
            Ty::Selector(_) => {
                self.batches |= generic.batches;
                self.scalars |= generic.scalars;
            }
            _ => {}
        }
    }

    /// Whether scalars in the field are lifted.
    pub(super) fn lifts(self) -> bool {
        self.batches && !self.scalars
    }

    /// Whether a batch in the field of a block that takes batches is a mistake.
    pub(super) fn refuses_batches(self) -> bool {
        self.scalars && !self.batches
    }
}
