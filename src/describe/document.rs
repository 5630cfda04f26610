//! The JSON schema of definitions: inputs, steps of every block, outputs, custom blocks.

use serde_json::{Map, Value as Json, json};

use super::schema::{DEFINITIONS, to};
use super::{block, custom};
use crate::blocks::{BlockSpec, registry};

/// Schema of a definition.
pub(super) fn schema() -> Json {
    let specs: Vec<&BlockSpec> = registry::all().collect();
    let mut definitions = Map::new();
    for input in inputs() {
        if let Some(title) = input["title"].as_str().map(str::to_owned) {
            definitions.insert(title, input);
        }
    }
    definitions.insert("JsonField".into(), output());
    let steps: Map<String, Json> = specs
        .iter()
        .map(|spec| (definition_name(spec), block::step_schema(spec)))
        .collect();
    let steps = Json::Object(steps);
    definitions.extend(block::definitions(&steps, &specs));
    if let Json::Object(steps) = steps {
        definitions.extend(steps);
    }
    let mut custom = custom::schema();
    if let Some(Json::Object(parts)) = custom.as_object_mut().and_then(|c| c.remove("$defs")) {
        definitions.extend(parts);
    }
    json!({
        "$defs": definitions,
        "properties": {
            "version": {"title": "Version", "type": "string"},
            "inputs": {
                "items": tagged(&[
                    ("InferenceImage", "WorkflowImage"),
                    ("WorkflowImage", "WorkflowImage"),
                    ("WorkflowVideoMetadata", "WorkflowVideoMetadata"),
                    ("WorkflowBatchInput", "WorkflowBatchInput"),
                    ("InferenceParameter", "WorkflowParameter"),
                    ("WorkflowParameter", "WorkflowParameter"),
                ]),
                "title": "Inputs",
                "type": "array",
            },
            "steps": {"items": any_step(&specs), "title": "Steps", "type": "array"},
            "outputs": {"items": to("JsonField"), "title": "Outputs", "type": "array"},
            "dynamic_blocks_definitions": {
                "items": custom,
                "title": "Dynamic Blocks Definitions",
                "type": "array",
            },
        },
        "required": ["version", "inputs", "steps", "outputs"],
        "title": "WorkflowSpecificationV1",
        "type": "object",
    })
}

/// A block's name among the definitions.
fn definition_name(spec: &BlockSpec) -> String {
    spec.type_id().replace(['/', '@'], "_")
}

fn any_step(specs: &[&BlockSpec]) -> Json {
    let names: Vec<String> = specs.iter().map(|spec| definition_name(spec)).collect();
    let named = specs.iter().zip(&names);
    let tags: Vec<(&str, &str)> = named
        .flat_map(|(spec, name)| spec.types.iter().map(move |tag| (*tag, name.as_str())))
        .collect();
    tagged(&tags)
}

/// One of several definitions, told apart by their `type`.
fn tagged(variants: &[(&str, &str)]) -> Json {
    let mapping: Map<String, Json> = variants
        .iter()
        .map(|(tag, name)| ((*tag).to_owned(), format!("{DEFINITIONS}{name}").into()))
        .collect();
    let mut names: Vec<&str> = variants.iter().map(|(_, name)| *name).collect();
    names.dedup();
    json!({
        "discriminator": {"mapping": mapping, "propertyName": "type"},
        "oneOf": names.into_iter().map(to).collect::<Vec<_>>(),
    })
}

fn inputs() -> [Json; 4] {
    let one_batch = || Some(json!({"const": 1, "default": 1, "type": "integer"}));
    [
        input(
            "WorkflowImage",
            &["WorkflowImage", "InferenceImage"],
            one_batch(),
        ),
        input(
            "WorkflowVideoMetadata",
            &["WorkflowVideoMetadata"],
            one_batch(),
        ),
        input(
            "WorkflowBatchInput",
            &["WorkflowBatchInput"],
            Some(json!({"default": 1, "type": "integer"})),
        ),
        input(
            "WorkflowParameter",
            &["WorkflowParameter", "InferenceParameter"],
            None,
        ),
    ]
}

/// An input; without a depth it is a parameter, which has a default.
fn input(title: &str, tags: &[&str], depth: Option<Json>) -> Json {
    let kinds = json!({
        "items": {"anyOf": [{"type": "string"}, {"additionalProperties": true, "type": "object"}]},
        "title": "Kind",
        "type": "array",
    });
    let mut properties = json!({
        "type": super::schema::one_of(tags),
        "name": {"title": "Name", "type": "string"},
        "kind": kinds,
    });
    match depth {
        Some(depth) => properties["dimensionality"] = depth,
        None => properties["default_value"] = json!({"default": null, "title": "Default Value"}),
    }
    json!({
        "properties": properties,
        "required": ["type", "name"],
        "title": title,
        "type": "object",
    })
}

fn output() -> Json {
    json!({
        "properties": {
            "type": {"const": "JsonField", "title": "Type", "type": "string"},
            "name": {"title": "Name", "type": "string"},
            "coordinates_system": {
                "default": "parent",
                "enum": ["own", "parent"],
                "title": "Coordinates System",
                "type": "string",
            },
            "selector": {
                "pattern": r"(^\$steps\.[A-Za-z_\-0-9]+\.[A-Za-z_*0-9\-]+$)|(^\$inputs.[A-Za-z_0-9\-]+$)",
                "reference": true,
                "title": "Selector",
                "type": "string",
            },
        },
        "required": ["type", "name", "selector"],
        "title": "JsonField",
        "type": "object",
    })
}
