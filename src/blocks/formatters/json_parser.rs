//! Takes fields out of the JSON that a language model wrote.
//!
//! # Inputs and outputs
//! `raw_json`, text that is JSON or holds a block fenced as `json` → `error_status`, and one output
//! for each of `expected_fields`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! A field that is missing is empty and sets `error_status`. Text that is no JSON object empties all
//! fields and does not fail the step; a value that is no text does. Other fences and unclosed ones are
//! not recognised.

use std::sync::OnceLock;

use regex::Regex;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, DynamicOutput, Family, Field, Inputs, Output, Row,
    StepProblem, Ty, output,
};
use crate::definition::step::Step;
use crate::values::{Value, json_text, kind};

const ERROR_STATUS: &str = "error_status";

/// `roboflow_core/json_parser@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/json_parser@v1"],
    name: "JSON Parser",
    family: Family::Formatter,
    stateless: true,
    about: "Takes fields out of the JSON that a language model wrote.",
    fields: &[
        Field::required(
            "raw_json",
            &[Ty::Str, Ty::Selector(&[kind::LANGUAGE_MODEL_OUTPUT])],
        )
        .about("The text."),
        Field::required("expected_fields", &[Ty::List(&[Ty::Str])]).about("Fields to take out."),
    ],
    outputs: &[
        output(ERROR_STATUS, &[kind::BOOLEAN]),
        output("*", &[kind::WILDCARD]),
    ],
    dynamic_outputs: Some(outputs),
    check: Some(check),
    build: |step, _| {
        Ok(Box::new(JsonParser {
            fields: expected(step).map(str::to_owned).collect(),
        }))
    },
    ..BlockSpec::DEFAULT
};

fn expected(step: &Step) -> impl Iterator<Item = &str> {
    let names = step.literal("expected_fields").and_then(|v| v.as_array());
    let mut seen = Vec::new();
    names
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str())
        .filter(move |name| {
            let new = !seen.contains(name);
            seen.push(*name);
            new
        })
}

fn outputs(step: &Step) -> Vec<DynamicOutput> {
    let of = |name: &str, kind| DynamicOutput {
        name: name.to_owned(),
        kinds: vec![kind],
    };
    let status = of(ERROR_STATUS, kind::BOOLEAN);
    std::iter::once(status)
        .chain(expected(step).map(|name| of(name, kind::WILDCARD)))
        .collect()
}

fn check(step: &Step) -> Vec<StepProblem> {
    let reserved = expected(step).any(|name| name == ERROR_STATUS);
    reserved
        .then(|| StepProblem {
            field: Some("expected_fields"),
            message: format!("`{ERROR_STATUS}` is reserved; no expected field can have that name"),
        })
        .into_iter()
        .collect()
}

struct JsonParser {
    fields: Vec<String>,
}

impl Block for JsonParser {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let parsed = read(inputs.text("raw_json")?);
        let object = parsed.as_ref().and_then(Value::as_dict);
        let missing = match object {
            Some(object) => self.fields.iter().any(|f| !object.contains_key(f.as_str())),
            // Where nothing is expected, any JSON will do.
            None => parsed.is_none() || !self.fields.is_empty(),
        };
        let mut row = Row::new();
        row.push(Value::Bool(missing));
        for field in &self.fields {
            row.push(
                object
                    .and_then(|o| o.get(field.as_str()))
                    .cloned()
                    .unwrap_or_default(),
            );
        }
        Ok(Output::One(row))
    }
}

fn read(text: &str) -> Option<Value> {
    static FENCED: OnceLock<Option<Regex>> = OnceLock::new();
    let fenced = FENCED.get_or_init(|| Regex::new(r"(?is)```json\n?(.*?)```").ok());
    let inside = fenced.as_ref().and_then(|fenced| fenced.captures(text));
    json_text::parse(inside.map_or(text, |found| found.get(1).map_or("", |m| m.as_str())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocks::query::trial::{Host, problems, step, values};
    use crate::values::python;
    use serde_json::json;

    fn parsed(text: &str) -> String {
        let host = Host::default();
        let fields = json!({"raw_json": "$inputs.t", "expected_fields": ["a", "b"]});
        let mut block = (BLOCK.build)(&step(&BLOCK, fields), &host.services).unwrap();
        let values = values(&BLOCK, &[("raw_json", text.into())]);
        match block.run(&Inputs::new(&BLOCK, &values), &host.cx(&Arc::default())) {
            Ok(Output::One(row)) => {
                let texts: Vec<String> = row.iter().map(python::repr).collect();
                texts.join(" ")
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields_are_taken_out_of_objects_only() {
        // Recorded case json_parser_texts.
        for (text, outputs) in [
            (
                r#"{"a": 1, "b": {"c": [true, null]}}"#,
                "False 1 {'c': [True, None]}",
            ),
            (r#"{"a": "x"}"#, "True 'x' None"),
            ("```json\n{\"a\": 2, \"b\": 3}\n```", "False 2 3"),
            (
                "Sure!\n```JSON {\"a\": 4, \"b\": 5} ``` and ```json {\"a\": 6}```",
                "False 4 5",
            ),
            ("```\n{\"a\": 2}\n```", "True None None"),
            ("", "True None None"),
            ("[1, 2]", "True None None"),
            (r#"{"a": 1, "a": 9, "b": null, "z": 3}"#, "False 9 None"),
            (r#"{"a": 1.0, "b": 1e3}"#, "False 1.0 1000.0"),
            ("{'a': 1}", "True None None"),
            (r#"{"a": "", "b": ""} trailing"#, "True None None"),
        ] {
            assert_eq!(parsed(text), outputs, "{text}");
        }
    }

    #[test]
    fn outputs_follow_from_the_step() {
        let fields = json!({"raw_json": "{}", "expected_fields": ["b", "a", "b"]});
        let names: Vec<String> = outputs(&step(&BLOCK, fields))
            .into_iter()
            .map(|o| o.name)
            .collect();
        assert_eq!(names, ["error_status", "b", "a"]);
        let reserved = json!({"raw_json": "{}", "expected_fields": ["error_status"]});
        assert!(problems(&BLOCK, reserved)[0].contains("reserved"));
    }
}
