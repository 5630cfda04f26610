//! Which fields of which blocks take references of a kind, and which take literals.

use serde_json::{Map, Value as Json, json};

use super::schema;
use crate::blocks::{BlockSpec, Field, Ty};
use crate::values::{Kind, kind};

/// Where references may stand in a field.
#[derive(Clone, Copy, Default)]
struct Place {
    list: bool,
    dict: bool,
}

/// By kind, every field that takes references of it.
pub(super) fn by_kind(specs: &[&BlockSpec]) -> Json {
    let mut by_kind: Map<String, Json> = Map::new();
    for spec in specs {
        for field in spec.fields {
            for (kind, element, place) in references(field) {
                let entries = by_kind
                    .entry(kind)
                    .or_insert_with(|| Json::Array(Vec::new()));
                if let Json::Array(entries) = entries {
                    entries.push(json!({
                        "manifest_type_identifier": spec.type_id(),
                        "property_name": field.name,
                        "property_description": field.about,
                        "compatible_element": element,
                        "is_list_element": place.list,
                        "is_dict_element": place.dict,
                    }));
                }
            }
        }
    }
    by_kind.sort_keys();
    by_kind.into()
}

/// Kinds that a field takes with what they may come from, each once.
fn references(field: &Field) -> Vec<(Kind, &'static str, Place)> {
    let (shapes, place) = match field.shown_types() {
        [Ty::List(items) | Ty::ListIn(items, ..)] => (
            *items,
            Place {
                list: true,
                ..Place::default()
            },
        ),
        [Ty::Map(values)] => (
            *values,
            Place {
                dict: true,
                ..Place::default()
            },
        ),
        shapes => (shapes, Place::default()),
    };
    let mut found: Vec<(Kind, &'static str, Place)> = Vec::new();
    let mut add = |kinds: &[Kind], element: &'static str| {
        for kind in kinds {
            if !found.iter().any(|(k, e, _)| k == kind && *e == element) {
                found.push((*kind, element, place));
            }
        }
    };
    for ty in shapes.iter().flat_map(one_level) {
        match ty {
            Ty::Selector(kinds) => add(kinds, "any_data"),
            Ty::StepOutput(kinds) => add(kinds, "step_output"),
            Ty::InputParameter(kinds) => add(kinds, "workflow_parameter"),
            Ty::InputImage => add(&[kind::IMAGE], "workflow_image"),
            Ty::InputVideo => add(&[kind::VIDEO_METADATA], "workflow_video_metadata"),
            _ => {}
        }
    }
    found
}

/// A shape, or the shapes of its items.
fn one_level(ty: &'static Ty) -> impl Iterator<Item = &'static Ty> {
    let (items, single) = match ty {
        Ty::List(items) | Ty::ListIn(items, ..) => (*items, None),
        other => (&[][..], Some(other)),
    };
    items.iter().chain(single)
}

/// Every field that takes literals, with their type in Python's notation.
pub(super) fn primitives(specs: &[&BlockSpec]) -> Json {
    let name = |spec: &BlockSpec| {
        json!({
            "manifest_type_identifier": spec.type_id(),
            "property_name": "name",
            "property_description": "Name of the step.",
            "type_annotation": "str",
        })
    };
    let of_field = |spec: &BlockSpec, field: &Field| {
        let annotation = annotation(&schema::property(field))?;
        Some(json!({
            "manifest_type_identifier": spec.type_id(),
            "property_name": field.name,
            "property_description": field.about,
            "type_annotation": annotation,
        }))
    };
    let all = specs.iter().flat_map(|spec| {
        let fields = spec.fields.iter().filter_map(|field| of_field(spec, field));
        std::iter::once(name(spec)).chain(fields)
    });
    all.collect()
}

/// The type of the literals that fit a schema; `None` if only references do.
fn annotation(schema: &Json) -> Option<String> {
    if schema.get("reference").is_some() {
        return None;
    }
    if let Some(items) = schema.get("items") {
        return Some(format!("List[{}]", annotation(items)?));
    }
    if let Some(target) = schema.get("$ref").and_then(Json::as_str) {
        return target.rsplit('/').next().map(str::to_owned);
    }
    let variants = schema.get("anyOf").or_else(|| schema.get("oneOf"));
    if let Some(variants) = variants.and_then(Json::as_array) {
        return of_union(variants);
    }
    let name = match schema.get("type").and_then(Json::as_str) {
        Some("number") => "float",
        Some("integer") => "int",
        Some("boolean") => "bool",
        Some("string") => "str",
        Some("null") => "None",
        Some("object") => return of_object(schema.get("additionalProperties")),
        _ => "Any",
    };
    Some(name.to_owned())
}

fn of_object(values: Option<&Json>) -> Option<String> {
    match values {
        None => Some("Dict[Any, Any]".to_owned()),
        Some(Json::Bool(_)) => Some("Dict[str, Any]".to_owned()),
        Some(values) => Some(format!("Dict[str, {}]", annotation(values)?)),
    }
}

fn of_union(variants: &[Json]) -> Option<String> {
    let mut names: Vec<String> = variants.iter().filter_map(annotation).collect();
    names.sort();
    names.dedup();
    let count = names.len();
    names.retain(|name| name != "None");
    let outer = if names.len() < count {
        "Optional"
    } else {
        "Union"
    };
    match names.as_slice() {
        [] => None,
        [single] => Some(single.clone()),
        several => Some(format!("{outer}[{}]", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::registry::find;

    fn entry<'a>(list: &'a Json, block: &str, field: &str) -> Option<&'a Json> {
        let mut entries = list.as_array().unwrap().iter();
        entries.find(|e| e["manifest_type_identifier"] == block && e["property_name"] == field)
    }

    #[test]
    fn fields_stand_under_the_kinds_that_they_take() {
        let block = "roboflow_core/detections_consensus@v1";
        let all = by_kind(&[find(block).unwrap()]);
        let boxes = &all["object_detection_prediction"];
        let batches = entry(boxes, block, "predictions_batches").unwrap();
        assert_eq!(batches["is_list_element"], true);
        assert_eq!(batches["compatible_element"], "any_data");
        let votes = entry(&all["integer"], block, "required_votes").unwrap();
        assert_eq!(votes["is_list_element"], false);
    }

    #[test]
    fn literals_have_a_type() {
        let of = |block: &str, field: &str| {
            let all = primitives(&[find(block).unwrap()]);
            entry(&all, block, field).map(|e| e["type_annotation"].as_str().unwrap().to_owned())
        };
        let consensus = "roboflow_core/detections_consensus@v1";
        assert_eq!(of(consensus, "predictions_batches"), None);
        assert_eq!(of(consensus, "required_votes").unwrap(), "int");
        assert_eq!(
            of(consensus, "required_objects").unwrap(),
            "Optional[Dict[str, int], int]"
        );
        assert_eq!(
            of("roboflow_core/continue_if@v1", "evaluation_parameters"),
            None
        );
        let template = of("roboflow_core/string_template@v1", "data").unwrap();
        assert_eq!(template, "Dict[str, Union[bool, float, int, str]]");
    }
}
