//! How definitions nest: limits, entries that are no steps, custom blocks (engine specification
//! 11.3 and 11.5).

use std::collections::HashSet;

use serde_json::{Map, Value as Json};

use super::{
    Child, GIVES_BOTH, GIVES_NEITHER, Limits, embedded, invalid_entry, place, steps, too_deep,
    too_many,
};
use crate::definition::error::WorkflowError;

const CUSTOM_BLOCKS: &str = "dynamic_blocks_definitions";

/// Checks the tree of definitions.
pub(super) fn check(definition: &Map<String, Json>, limits: Limits) -> Result<(), WorkflowError> {
    let mut count = 0;
    check_level(definition, "", 1, limits, &mut count)
}

fn check_level(
    definition: &Map<String, Json>,
    outer: &str,
    depth: usize,
    limits: Limits,
    count: &mut usize,
) -> Result<(), WorkflowError> {
    for (i, step) in steps(definition).enumerate() {
        if !step.is_object() {
            let at = if outer.is_empty() { "steps" } else { outer };
            return Err(invalid_entry(
                at,
                &format!("entry {i} of `steps` must be an object"),
            ));
        }
        let Some(fields) = embedded(step) else {
            continue;
        };
        let at = place(outer, fields);
        if !fields.get("name").is_some_and(Json::is_string) {
            return Err(invalid_entry(&at, "it needs a `name` that is text"));
        }
        let bindings = fields.get("parameter_bindings");
        if bindings.is_some_and(|bindings| !bindings.is_object() && !bindings.is_null()) {
            return Err(invalid_entry(
                &at,
                "its `parameter_bindings` must be an object",
            ));
        }
        *count += 1;
        if depth > limits.depth {
            return Err(too_deep(&at, limits.depth));
        }
        if *count > limits.count {
            return Err(too_many(limits.count));
        }
        match Child::of(|key| fields.get(key)) {
            Child::Written(child) => check_level(child, &at, depth + 1, limits, count)?,
            Child::Both => return Err(invalid_entry(&at, GIVES_BOTH)),
            // References are gone by now.
            Child::Named(_) | Child::Neither => return Err(invalid_entry(&at, GIVES_NEITHER)),
        }
    }
    Ok(())
}

/// Brings the custom blocks of embedded definitions to the outermost one. Of several with one type
/// the first stays: outer before inner, in the order of the steps.
pub(super) fn hoist_custom_blocks(definition: &mut Map<String, Json>) {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    gather_custom_blocks(definition, &mut found, &mut seen);
    if !found.is_empty() {
        definition.insert(CUSTOM_BLOCKS.into(), Json::Array(found));
    }
}

fn gather_custom_blocks(
    definition: &Map<String, Json>,
    found: &mut Vec<Json>,
    seen: &mut HashSet<String>,
) {
    let own = definition.get(CUSTOM_BLOCKS).and_then(Json::as_array);
    for block in own.into_iter().flatten() {
        let block_type = block["manifest"]["block_type"].as_str();
        if block_type.is_none_or(|name| seen.insert(name.to_owned())) {
            found.push(block.clone());
        } else {
            tracing::warn!(
                block_type,
                "a custom block of an inner workflow is left out: its type stands further out too"
            );
        }
    }
    for fields in steps(definition).filter_map(embedded) {
        if let Child::Written(child) = Child::of(|key| fields.get(key)) {
            gather_custom_blocks(child, found, seen);
        }
    }
}
