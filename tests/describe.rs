//! The description of every block that exists, held against the reference's catalogue
//! (`fixtures/catalogue/blocks.json`, see `fixtures/README.md`).

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use millrace::blocks::registry;
use millrace::describe;
use serde_json::{Map, Value as Json, json};

/// The catalogue, whose repeated parts stand in tables.
struct Catalogue(Json);

impl Catalogue {
    fn read() -> Self {
        let text = include_str!("../fixtures/catalogue/blocks.json");
        Self(serde_json::from_str(text).unwrap())
    }

    fn blocks(&self) -> HashMap<&str, &Json> {
        let blocks = self.0["blocks"].as_array().unwrap().iter();
        blocks.map(|b| (b["type"].as_str().unwrap(), b)).collect()
    }

    fn kinds(&self, names: &Json) -> Json {
        let names = names.as_array().unwrap().iter();
        names
            .map(|name| match name {
                Json::String(name) => {
                    let types = &self.0["kinds"][name];
                    json!({"name": name, "internal_data_type": types[0], "serialised_data_type": types[1]})
                }
                several => self.kinds(several),
            })
            .collect()
    }

    /// A schema with its selectors, kinds and unions of operations written out.
    fn whole(&self, schema: &Json) -> Json {
        match schema {
            Json::Array(items) => items.iter().map(|item| self.whole(item)).collect(),
            Json::Object(entries) => {
                let mut whole = Map::new();
                for (key, value) in entries {
                    match key.as_str() {
                        "selector" => {
                            let name = value.as_str().unwrap();
                            whole.extend(self.0["selectors"][name].as_object().unwrap().clone());
                        }
                        "any_operation" => {
                            whole.extend(self.0["any_operation"].as_object().unwrap().clone());
                        }
                        "kind" if entries.contains_key("selector") => {
                            whole.insert(key.clone(), self.kinds(value));
                        }
                        "input_kind"
                        | "output_kind"
                        | "nested_operation_input_kind"
                        | "nested_operation_output_kind"
                        | "operands_kinds" => {
                            whole.insert(key.clone(), self.kinds(value));
                        }
                        _ => {
                            whole.insert(key.clone(), self.whole(value));
                        }
                    }
                }
                whole.into()
            }
            other => other.clone(),
        }
    }

    fn definitions(&self, block: &Json) -> Json {
        let mut names: Vec<&Json> = Vec::new();
        for name in block["definitions"].as_array().unwrap() {
            match name.as_str() {
                Some("query_language") => {
                    names.extend(self.0["query_language"].as_array().unwrap());
                }
                _ => names.push(name),
            }
        }
        let names = names.into_iter().map(|name| name.as_str().unwrap());
        names
            .map(|name| (name.to_owned(), self.whole(&self.0["definitions"][name])))
            .collect::<Map<_, _>>()
            .into()
    }

    /// The catalogue's entry of a block in the form of our description without texts.
    fn entry(&self, block: &Json) -> Json {
        let mut properties = self.whole(&block["properties"]);
        properties["name"] = json!({"type": "string"});
        let outputs = block["outputs"].as_array().unwrap().iter();
        json!({
            "type": block["type"],
            "aliases": block["aliases"],
            "name": block["name"],
            "category": block["category"],
            "engine": block["engine"],
            "required": block["required"],
            "properties": properties,
            "definitions": self.definitions(block),
            "outputs": outputs
                .map(|o| json!({"name": o["name"], "kind": self.kinds(&o["kinds"])}))
                .collect::<Vec<_>>(),
            "dimensionality": block["dimensionality"],
        })
    }
}

/// Our description of a block in the same form.
fn ours(described: &Json) -> Json {
    let schema = &described["block_schema"];
    json!({
        "type": described["manifest_type_identifier"],
        "aliases": described["manifest_type_identifier_aliases"],
        "name": described["human_friendly_block_name"],
        "category": schema["block_type"],
        "engine": described["execution_engine_compatibility"],
        "required": schema["required"],
        "properties": without_texts_by_name(&schema["properties"]),
        "definitions": without_texts_by_name(schema.get("$defs").unwrap_or(&json!({}))),
        "outputs": without_texts(&described["outputs_manifest"]),
        "dimensionality": {
            "inputs": described["input_dimensionality_offsets"],
            "reference": described["dimensionality_reference_property"],
            "output": described["output_dimensionality_offset"],
        },
    })
}

fn without_texts_by_name(schemas: &Json) -> Json {
    let schemas = schemas.as_object().unwrap().iter();
    schemas
        .map(|(name, schema)| (name.clone(), without_texts(schema)))
        .collect::<Map<_, _>>()
        .into()
}

/// A schema without the texts that are meant for people; values of fields stay whole.
fn without_texts(schema: &Json) -> Json {
    match schema {
        Json::Array(items) => items.iter().map(without_texts).collect(),
        Json::Object(entries) => {
            let mut rest = Map::new();
            for (key, value) in entries {
                let value = match key.as_str() {
                    "title" | "description" | "docs" => continue,
                    "default" | "const" | "enum" | "mapping" | "values_metadata"
                    | "relevant_for" => value.clone(),
                    "properties" => without_texts_by_name(value),
                    _ => without_texts(value),
                };
                rest.insert(key.clone(), value);
            }
            rest.into()
        }
        other => other.clone(),
    }
}

/// Every place where two values differ. Numbers are compared as JSON has them: 1 is 1.0.
fn differences(path: &str, ours: &Json, theirs: &Json, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Json::Object(a), Json::Object(b)) => {
            for (key, value) in a {
                match b.get(key) {
                    Some(other) => differences(&format!("{path}.{key}"), value, other, found),
                    None => found.push(format!("{path}.{key}: not in the catalogue: {value}")),
                }
            }
            for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                found.push(format!("{path}.{key}: missing, the catalogue has {value}"));
            }
        }
        (Json::Array(a), Json::Array(b)) if a.len() == b.len() => {
            for (i, (x, y)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}[{i}]"), x, y, found);
            }
        }
        (Json::Number(a), Json::Number(b)) if a.as_f64() == b.as_f64() => {}
        _ if ours == theirs => {}
        _ => found.push(format!("{path}: {ours}, the catalogue has {theirs}")),
    }
}

#[test]
fn every_block_is_described_as_the_catalogue_has_it() {
    let catalogue = Catalogue::read();
    let known = catalogue.blocks();
    let described = describe::blocks();
    let described = described["blocks"].as_array().unwrap();
    assert_eq!(described.len(), registry::all().count());
    let mut found = Vec::new();
    for block in described {
        let type_id = block["manifest_type_identifier"].as_str().unwrap();
        match known.get(type_id) {
            Some(entry) => {
                differences(type_id, &ours(block), &catalogue.entry(entry), &mut found);
            }
            None => found.push(format!("{type_id}: the catalogue has no such block")),
        }
    }
    assert!(
        found.is_empty(),
        "{} differences:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn the_comparison_sees_every_kind_of_difference() {
    let catalogue = Catalogue::read();
    let known = catalogue.blocks();
    let described = describe::blocks();
    let mut blocks = described["blocks"].as_array().unwrap().iter();
    let type_id = "roboflow_core/detections_consensus@v1";
    let block = blocks
        .find(|b| b["manifest_type_identifier"] == type_id)
        .unwrap();
    let entry = catalogue.entry(known[type_id]);
    let changes: [(&str, Json); 6] = [
        ("/manifest_type_identifier_aliases/0", json!("Other")),
        ("/block_schema/properties/iou_threshold/default", json!(0.5)),
        (
            "/block_schema/properties/iou_threshold/anyOf/0/maximum",
            json!(2),
        ),
        (
            "/block_schema/properties/predictions_batches/items/kind/0/name",
            json!("image"),
        ),
        ("/block_schema/$defs/AggregationMode/enum/0", json!("mean")),
        ("/outputs_manifest/0/kind/0/name", json!("image")),
    ];
    for (place, value) in changes {
        let mut changed = block.clone();
        *changed.pointer_mut(place).unwrap() = value;
        let mut found = Vec::new();
        differences("", &ours(&changed), &entry, &mut found);
        assert_eq!(found.len(), 1, "{place}: {found:?}");
    }
}
