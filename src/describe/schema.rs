//! JSON schemas of fields, from the shapes that they accept.
//!
//! References are texts with a pattern and with keys of their own: the kinds that they may have and
//! what they may point to. Bounds that hold for a union as a whole stand beside it by the names
//! `ge`, `gt`, `le`, `lt`.

use serde_json::{Map, Value as Json, json};

use super::kinds;
use crate::blocks::{Bounds, Field, Ty};
use crate::values::{Kind, kind};

const STEP_OUTPUT: &str = r"^\$steps\.[A-Za-z_\-0-9]+\.[A-Za-z_*0-9\-]+$";
const INPUT: &str = r"^\$inputs.[A-Za-z_0-9\-]+$";
const STEP: &str = r"^\$steps\.[A-Za-z_0-9\-]+";

/// Place of definitions in a schema.
pub(super) const DEFINITIONS: &str = "#/$defs/";

/// The schema of a field.
pub(super) fn property(field: &Field) -> Json {
    let mut schema = bounded(field.shown_types(), &field.bounds);
    let Some(keys) = schema.as_object_mut() else {
        return schema;
    };
    let default = field.default.filter(|text| !silent(field, text));
    if let Some(value) = default.and_then(|text| serde_json::from_str(text).ok()) {
        keys.insert("default".into(), value);
    }
    keys.insert("title".into(), title(field.name).into());
    if !field.about.is_empty() {
        keys.insert("description".into(), field.about.into());
    }
    for (key, value) in extra(field) {
        match value {
            Json::Null => keys.shift_remove(&key),
            value => keys.insert(key, value),
        };
    }
    schema
}

/// Keys that stand in the field's own declaration.
fn extra(field: &Field) -> Map<String, Json> {
    match serde_json::from_str(field.extra) {
        Ok(Json::Object(keys)) => keys,
        _ => Map::new(),
    }
}

fn silent(field: &Field, default: &str) -> bool {
    field.silent_default || default == "{}"
}

/// `x_center` as `X Center`.
fn title(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The schema of a union with bounds on its number.
fn bounded(types: &[Ty], bounds: &Bounds) -> Json {
    if *bounds == Bounds::NONE {
        return union(types);
    }
    match types {
        [Ty::Int] => number("integer", bounds),
        [Ty::Float] => number("number", bounds),
        // What may be null is bounded within: the null has no bounds.
        [shapes @ .., Ty::Null] if !shapes.is_empty() => {
            json!({"anyOf": [bounded(shapes, bounds), {"type": "null"}]})
        }
        _ => {
            let mut schema = union(types);
            for (key, limit) in [
                ("ge", bounds.ge),
                ("gt", bounds.gt),
                ("le", bounds.le),
                ("lt", bounds.lt),
            ] {
                if let Some(limit) = limit {
                    schema[key] = json!(limit);
                }
            }
            schema
        }
    }
}

/// The schema of one of several shapes.
pub(super) fn union(types: &[Ty]) -> Json {
    match types {
        [single] => shape(single),
        several => json!({"anyOf": several.iter().map(shape).collect::<Vec<_>>()}),
    }
}

fn shape(ty: &Ty) -> Json {
    match ty {
        Ty::Selector(of) => {
            let pattern = format!("({STEP_OUTPUT})|({INPUT})");
            reference("any_data", &pattern, Some(of), Some(json!("dynamic")))
        }
        Ty::StepOutput(of) => reference("step_output", STEP_OUTPUT, Some(of), Some(json!(true))),
        Ty::InputImage => reference(
            "workflow_image",
            INPUT,
            Some(&[kind::IMAGE]),
            Some(json!(true)),
        ),
        Ty::InputParameter(of) => reference("workflow_parameter", INPUT, Some(of), None),
        Ty::InputVideo => reference(
            "workflow_video_metadata",
            INPUT,
            Some(&[kind::VIDEO_METADATA]),
            Some(json!(true)),
        ),
        Ty::Step => reference("step", STEP, None, None),
        Ty::Bool => json!({"type": "boolean"}),
        Ty::Int => json!({"type": "integer"}),
        Ty::Float => json!({"type": "number"}),
        Ty::IntIn(low, high) => whole("minimum", *low, *high),
        Ty::IntAbove(low, high) => whole("exclusiveMinimum", *low, *high),
        Ty::FloatIn(bounds) => number("number", bounds),
        Ty::Str => json!({"type": "string"}),
        Ty::Pattern(pattern) => json!({"pattern": pattern, "type": "string"}),
        Ty::Null => json!({"type": "null"}),
        Ty::Any => json!({}),
        Ty::OneOf(names) => one_of(names),
        Ty::NamedOneOf(name, _) => to(name),
        Ty::List(types) => list(types, 0, usize::MAX),
        Ty::ListIn(types, least, most) => list(types, *least, *most),
        Ty::Tuple(parts) => json!({
            "maxItems": parts.len(),
            "minItems": parts.len(),
            "prefixItems": parts.iter().map(|types| union(types)).collect::<Vec<_>>(),
            "type": "array",
        }),
        Ty::Map(types) => json!({"additionalProperties": union(types), "type": "object"}),
        Ty::Object => json!({"additionalProperties": true, "type": "object"}),
        Ty::Operations => super::query::chain(),
        Ty::Statement => to("StatementGroup"),
        Ty::Custom(_, schema) => serde_json::from_str(schema).unwrap_or_default(),
    }
}

/// A reference to a definition of the schema.
pub(super) fn to(definition: &str) -> Json {
    json!({"$ref": format!("{DEFINITIONS}{definition}")})
}

/// One of these texts.
pub(super) fn one_of(names: &[&str]) -> Json {
    match names {
        [single] => json!({"const": single, "type": "string"}),
        several => json!({"enum": several, "type": "string"}),
    }
}

fn reference(element: &str, pattern: &str, of: Option<&[Kind]>, to_batch: Option<Json>) -> Json {
    let mut schema = json!({
        "pattern": pattern,
        "reference": true,
        "selected_element": element,
        "type": "string",
    });
    if let Some(of) = of {
        schema["kind"] = kinds::describe_all(of);
    }
    if let Some(to_batch) = to_batch {
        schema["selector_points_to_batch"] = to_batch;
    }
    schema
}

fn whole(low_key: &str, low: i64, high: i64) -> Json {
    let mut schema = json!({"type": "integer"});
    if low != i64::MIN {
        schema[low_key] = low.into();
    }
    if high != i64::MAX {
        schema["maximum"] = high.into();
    }
    schema
}

fn number(ty: &str, bounds: &Bounds) -> Json {
    let mut schema = json!({"type": ty});
    for (key, limit) in [
        ("minimum", bounds.ge),
        ("exclusiveMinimum", bounds.gt),
        ("maximum", bounds.le),
        ("exclusiveMaximum", bounds.lt),
    ] {
        if let Some(limit) = limit {
            schema[key] = if ty == "integer" {
                json!(limit as i64)
            } else {
                json!(limit)
            };
        }
    }
    schema
}

fn list(types: &[Ty], least: usize, most: usize) -> Json {
    let mut schema = json!({"items": union(types), "type": "array"});
    if least > 0 {
        schema["minItems"] = least.into();
    }
    if most < usize::MAX {
        schema["maxItems"] = most.into();
    }
    schema
}
