//! The description of one block: identifiers, JSON schema, outputs, batch behaviour.

use serde_json::{Map, Value as Json, json};

use super::{kinds, query, schema};
use crate::blocks::{BlockSpec, Ty};

/// One entry of the list of blocks.
pub(super) fn describe(spec: &BlockSpec) -> Json {
    let outputs = spec.outputs.iter();
    let offsets: Map<String, Json> = spec
        .offsets
        .iter()
        .map(|(field, offset)| ((*field).to_owned(), (*offset).into()))
        .collect();
    json!({
        "manifest_type_identifier": spec.type_id(),
        "manifest_type_identifier_aliases": &spec.types[1..],
        "human_friendly_block_name": spec.name,
        "fully_qualified_block_class_name": class_name(spec),
        "block_source": "workflows_core",
        "block_schema": block_schema(spec),
        "outputs_manifest": outputs
            .map(|output| json!({"name": output.name, "kind": kinds::describe_all(output.kinds)}))
            .collect::<Vec<_>>(),
        "execution_engine_compatibility": spec.engine,
        "input_dimensionality_offsets": offsets,
        "dimensionality_reference_property": spec.reference,
        "output_dimensionality_offset": spec.output_offset,
        "restrictions": [],
    })
}

/// The block's type without its namespace, and its version.
fn stem(spec: &BlockSpec) -> (&'static str, &'static str) {
    let type_id = spec.type_id();
    let name = type_id.rsplit('/').next().unwrap_or(type_id);
    name.split_once('@').unwrap_or((name, "v1"))
}

fn class_name(spec: &BlockSpec) -> String {
    let (name, version) = stem(spec);
    format!("millrace.blocks.{}.{name}.{version}", spec.family.name())
}

/// The JSON schema of a step of the block, with the definitions that it refers to.
pub(super) fn block_schema(spec: &BlockSpec) -> Json {
    let mut schema = step_schema(spec);
    let definitions = definitions(&schema, &[spec]);
    if !definitions.is_empty() {
        schema["$defs"] = definitions.into();
    }
    schema["name"] = spec.name.into();
    schema["version"] = stem(spec).1.into();
    schema["short_description"] = spec.about.into();
    schema["long_description"] = spec.about.into();
    schema["license"] = "Apache-2.0".into();
    schema["block_type"] = spec.family.name().into();
    schema
}

/// The JSON schema of a step of the block; what it refers to must be added.
pub(super) fn step_schema(spec: &BlockSpec) -> Json {
    let mut properties = Map::new();
    let mut tag = schema::one_of(spec.types);
    tag["title"] = "Type".into();
    properties.insert("type".into(), tag);
    let name = json!({"type": "string", "title": "Name", "description": "Name of the step."});
    properties.insert("name".into(), name);
    for field in spec.fields {
        properties.insert(field.name.into(), schema::property(field));
    }
    let needed = spec.fields.iter().filter(|field| field.default.is_none());
    let required: Vec<&str> = ["type", "name"]
        .into_iter()
        .chain(needed.map(|field| field.name))
        .collect();
    json!({
        "title": spec.name,
        "description": spec.about,
        "type": "object",
        "properties": properties,
        "required": required,
    })
}

/// Every definition that a schema refers to, directly or through others. Sets of texts that have a
/// name are found in the fields of `specs`.
pub(super) fn definitions(schema: &Json, specs: &[&BlockSpec]) -> Map<String, Json> {
    let mut found = Map::new();
    let mut open = Vec::new();
    collect_references(schema, &mut open);
    while let Some(name) = open.pop() {
        if found.contains_key(&name) {
            continue;
        }
        let definition = query::definition(&name).or_else(|| named_set(&name, specs));
        if let Some(definition) = definition {
            collect_references(&definition, &mut open);
            found.insert(name, definition);
        }
    }
    found.sort_keys();
    found
}

fn collect_references(schema: &Json, into: &mut Vec<String>) {
    match schema {
        Json::Array(items) => items.iter().for_each(|item| collect_references(item, into)),
        Json::Object(entries) => {
            for (key, value) in entries {
                match value.as_str() {
                    Some(target) if key == "$ref" => {
                        into.extend(target.strip_prefix(schema::DEFINITIONS).map(str::to_owned));
                    }
                    _ => collect_references(value, into),
                }
            }
        }
        _ => {}
    }
}

fn named_set(name: &str, specs: &[&BlockSpec]) -> Option<Json> {
    let fields = specs.iter().flat_map(|spec| spec.fields);
    let mut types = fields.flat_map(|field| field.types);
    types.find_map(|ty| match ty {
        Ty::NamedOneOf(known, names) if *known == name => Some(schema::one_of(names)),
        _ => None,
    })
}
