//! All blocks. Each family keeps a sorted slice; adding a block is one file and one line there.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::{
    BlockSpec, analytics, cache, classical_cv, flow_control, formatters, fusion, math, model,
    sampling, secrets, sinks, trackers, transformations, visualizations,
};

/// Every family's blocks.
pub static FAMILIES: &[&[&BlockSpec]] = &[
    analytics::BLOCKS,
    cache::BLOCKS,
    classical_cv::BLOCKS,
    flow_control::BLOCKS,
    formatters::BLOCKS,
    fusion::BLOCKS,
    math::BLOCKS,
    model::BLOCKS,
    sampling::BLOCKS,
    secrets::BLOCKS,
    sinks::BLOCKS,
    trackers::BLOCKS,
    transformations::BLOCKS,
    visualizations::BLOCKS,
];

/// Every block.
pub fn all() -> impl Iterator<Item = &'static BlockSpec> {
    FAMILIES.iter().flat_map(|family| family.iter().copied())
}

/// The block with this type identifier or alias.
pub fn find(type_tag: &str) -> Option<&'static BlockSpec> {
    static BY_TYPE: OnceLock<HashMap<&'static str, &'static BlockSpec>> = OnceLock::new();
    BY_TYPE
        .get_or_init(|| {
            // Blocks of tests can be named, but stand on no list.
            #[cfg(test)]
            let all = || all().chain(super::testing::BLOCKS.iter().copied());
            all()
                .flat_map(|spec| spec.types.iter().map(move |t| (*t, spec)))
                .collect()
        })
        .get(type_tag)
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_identifiers_are_unique_and_families_sorted() {
        let mut seen = std::collections::HashSet::new();
        for spec in all() {
            for tag in spec.types {
                assert!(seen.insert(*tag), "{tag} stands twice");
            }
        }
        for family in FAMILIES {
            let ids: Vec<_> = family.iter().map(|s| s.type_id()).collect();
            assert!(ids.is_sorted(), "not sorted: {ids:?}");
        }
    }

    #[test]
    fn declarations_name_existing_fields_and_defaults_parse() {
        for spec in all() {
            let named = spec
                .batch
                .iter()
                .chain(spec.mixed)
                .chain(spec.cast)
                .chain(&spec.reference)
                .copied()
                .chain(spec.offsets.iter().map(|(name, _)| *name));
            for name in named {
                assert!(
                    spec.field_index(name).is_some(),
                    "{}: {name}",
                    spec.type_id()
                );
            }
            for field in spec.fields {
                if let Some(text) = field.default {
                    let parsed = serde_json::from_str::<serde_json::Value>(text);
                    assert!(parsed.is_ok(), "{}.{}: {text}", spec.type_id(), field.name);
                }
                if !field.extra.is_empty() {
                    let parsed = serde_json::from_str::<serde_json::Value>(field.extra);
                    let object = parsed.is_ok_and(|keys| keys.is_object());
                    assert!(object, "{}.{}: {}", spec.type_id(), field.name, field.extra);
                }
            }
        }
    }
}
