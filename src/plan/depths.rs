//! Checks of nesting depths (engine specification 5.4, D1 to D5).

use super::faults::{of_class, wrong_depth};
use super::lineage::Lineages;
use super::{FieldShape, PlannedField};
use crate::blocks::Field;
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::definition::step::Step;

const COLLECTING: &str = "collecting_step_input_data";
pub(super) const DENOTING: &str = "denoting_step_inputs_dimensionality";
pub(super) const OUTPUT_OFFSET: &str = "verification_of_output_offset";

/// D1: all batches in fields of the ordinary level lie at one depth. Answers that depth.
pub(super) fn common(
    step: &Step,
    shapes: &[FieldShape],
    lineages: &Lineages,
) -> Result<Option<usize>, WorkflowError> {
    let fields = step.spec.fields.iter().zip(shapes);
    let mut depths = fields
        .filter(|(field, _)| step.spec.offset(field.name) == 0)
        .flat_map(|(_, shape)| shape.parts())
        .filter_map(|part| part.lineage)
        .map(|id| lineages.get(id).len());
    let Some(first) = depths.next() else {
        return Ok(None);
    };
    match depths.find(|&d| d != first) {
        None => Ok(Some(first)),
        Some(other) => {
            let details = format!(
                "its fields get data of different nesting depths ({first} and {other}); collapse or crop one of them first"
            );
            Err(wrong_depth(step, None, COLLECTING, details))
        }
    }
}

/// D2 to D5, on fields with their depths after lifting.
pub(super) fn check(
    step: &Step,
    fields: &[PlannedField],
    lineages: &Lineages,
) -> Result<(), WorkflowError> {
    check_members(step, fields, lineages)?;
    let spec = step.spec;
    let named = spec.fields.iter().zip(fields);
    let batches: Vec<(&Field, usize)> = named
        .map(|(field, planned)| (field, planned.depth))
        .filter(|(_, depth)| *depth > 0)
        .collect();
    let depths = || batches.iter().map(|(_, depth)| *depth);
    let (least, most) = (depths().min().unwrap_or(0), depths().max().unwrap_or(0));
    if most - least > 1 {
        let details = format!(
            "its fields get data of nesting depths {least} and {most}; they may differ by one level only"
        );
        return Err(wrong_depth(step, None, DENOTING, details));
    }
    if spec.output_offset < 0 && batches.is_empty() {
        let details = "it takes away a nesting level, but gets no batch".to_owned();
        return Err(wrong_depth(step, None, OUTPUT_OFFSET, details));
    }
    let Some(reference) = spec.reference else {
        if most != least {
            let details = format!("its fields get data of nesting depths {least} and {most}");
            return Err(wrong_depth(step, None, DENOTING, details));
        }
        return Ok(());
    };
    check_against(step, reference, &batches)
}

/// D2: the members of one field lie at one depth.
fn check_members(
    step: &Step,
    fields: &[PlannedField],
    lineages: &Lineages,
) -> Result<(), WorkflowError> {
    for (field, planned) in step.spec.fields.iter().zip(fields) {
        let parts = planned.shape.parts().filter_map(|part| part.lineage);
        let mut depths = parts.map(|id| lineages.get(id).len());
        let Some(first) = depths.next() else { continue };
        if let Some(other) = depths.find(|&d| d != first) {
            let details = format!(
                "the members of field `{}` lie at different nesting depths ({first} and {other})",
                field.name
            );
            return Err(wrong_depth(step, Some(field.name), DENOTING, details));
        }
    }
    Ok(())
}

/// D5 with a reference: each field lies where its offset says, seen from the reference.
fn check_against(
    step: &Step,
    reference: &str,
    batches: &[(&Field, usize)],
) -> Result<(), WorkflowError> {
    let Some(&(_, own)) = batches.iter().find(|(f, _)| f.name == reference) else {
        return Err(of_class(
            ErrorClass::BlockInterface,
            step,
            "verification_of_input_offset_definitions",
            &format!("field `{reference}` must get a batch"),
        ));
    };
    let offset = |name: &str| i64::from(step.spec.offset(name));
    for &(field, depth) in batches {
        let wanted = own as i64 + offset(field.name) - offset(reference);
        if depth as i64 != wanted {
            let details = format!(
                "field `{}` must get data of nesting depth {wanted}, gets {depth}",
                field.name
            );
            return Err(wrong_depth(step, Some(field.name), DENOTING, details));
        }
    }
    Ok(())
}
