//! The JSON schema of custom Python blocks in definitions (engine specification 12.2).

use serde_json::{Value as Json, json};

use super::schema::to;

const SELECTOR_TYPES: &[&str] = &[
    "input_image",
    "step_output_image",
    "input_parameter",
    "step_output",
    "generic",
];
const VALUE_TYPES: &[&str] = &[
    "any", "integer", "float", "boolean", "dict", "list", "string",
];

/// Schema of one entry of `dynamic_blocks_definitions`.
pub(super) fn schema() -> Json {
    json!({
        "$defs": {
            "ManifestDescription": manifest(),
            "DynamicInputDefinition": input(),
            "DynamicOutputDefinition": output(),
            "PythonCode": code(),
            "SelectorType": {"enum": SELECTOR_TYPES, "type": "string"},
            "ValueType": {"enum": VALUE_TYPES, "type": "string"},
        },
        "properties": {
            "type": tag("DynamicBlockDefinition"),
            "manifest": to("ManifestDescription"),
            "code": to("PythonCode"),
        },
        "required": ["type", "manifest", "code"],
        "title": "DynamicBlockDefinition",
        "type": "object",
    })
}

fn tag(name: &str) -> Json {
    json!({"const": name, "title": "Type", "type": "string"})
}

fn flag(title: &str, about: &str) -> Json {
    json!({"default": false, "description": about, "title": title, "type": "boolean"})
}

fn names(title: &str, about: &str) -> Json {
    json!({"items": {"type": "string"}, "description": about, "title": title, "type": "array"})
}

fn text_or_null(title: &str, about: &str) -> Json {
    json!({
        "anyOf": [{"type": "string"}, {"type": "null"}],
        "default": null,
        "description": about,
        "title": title,
    })
}

fn offset(title: &str, about: &str) -> Json {
    json!({
        "default": 0,
        "description": about,
        "maximum": 1,
        "minimum": -1,
        "title": title,
        "type": "integer",
    })
}

fn map_of(definition: &str, about: &str) -> Json {
    json!({"additionalProperties": to(definition), "description": about, "type": "object"})
}

fn manifest() -> Json {
    json!({
        "properties": {
            "type": tag("ManifestDescription"),
            "block_type": {"title": "Block Type", "type": "string", "description": "The `type` of its steps."},
            "description": text_or_null("Description", "What the block does."),
            "ui_manifest": {"additionalProperties": true, "type": "object", "description": "Hints of editors."},
            "inputs": map_of("DynamicInputDefinition", "Inputs by name."),
            "outputs": map_of("DynamicOutputDefinition", "Outputs by name."),
            "output_dimensionality_offset": offset("Output Dimensionality Offset", "Depth of the outputs relative to the inputs."),
            "accepts_batch_input": flag("Accepts Batch Input", "Whether it is called with whole batches."),
            "accepts_empty_values": flag("Accepts Empty Values", "Whether it is called for missing values."),
            "batch_oriented_parameters": names("Batch Oriented Parameters", "Inputs that are batches."),
            "parameters_with_scalars_and_batches": names("Parameters With Scalars And Batches", "Inputs that are batches or not."),
            "get_parameters_enforcing_auto_batch_casting": names("Get Parameters Enforcing Auto Batch Casting", "Inputs whose single values become batches."),
            "tensor_compatibility": {
                "default": "legacy_compatibility",
                "enum": ["legacy_compatibility", "tensor_native"],
                "title": "Tensor Compatibility",
                "type": "string",
            },
        },
        "required": ["type", "block_type", "inputs"],
        "title": "ManifestDescription",
        "type": "object",
    })
}

fn input() -> Json {
    json!({
        "properties": {
            "type": tag("DynamicInputDefinition"),
            "has_default_value": flag("Has Default Value", "Whether the input may be left out."),
            "default_value": {"default": null, "title": "Default Value"},
            "is_optional": flag("Is Optional", "Whether it may be null."),
            "is_dimensionality_reference": flag("Is Dimensionality Reference", "Whether the outputs lie at its depth."),
            "dimensionality_offset": offset("Dimensionality Offset", "Its depth relative to the other inputs."),
            "selector_types": {"items": to("SelectorType"), "title": "Selector Types", "type": "array"},
            "selector_data_kind": {
                "additionalProperties": {"items": {"type": "string"}, "type": "array"},
                "title": "Selector Data Kind",
                "type": "object",
            },
            "value_types": {"items": to("ValueType"), "title": "Value Types", "type": "array"},
        },
        "required": ["type"],
        "title": "DynamicInputDefinition",
        "type": "object",
    })
}

fn output() -> Json {
    json!({
        "properties": {
            "type": tag("DynamicOutputDefinition"),
            "kind": names("Kind", "Kinds; none stands for any."),
        },
        "required": ["type"],
        "title": "DynamicOutputDefinition",
        "type": "object",
    })
}

fn code() -> Json {
    json!({
        "properties": {
            "type": tag("PythonCode"),
            "run_function_code": {"title": "Run Function Code", "type": "string"},
            "run_function_name": {"default": "run", "title": "Run Function Name", "type": "string"},
            "init_function_code": text_or_null("Init Function Code", "Code that runs once."),
            "init_function_name": {"default": "init", "title": "Init Function Name", "type": "string"},
            "imports": names("Imports", "Lines that import."),
        },
        "required": ["type", "run_function_code"],
        "title": "PythonCode",
        "type": "object",
    })
}
