//! Texts with placeholders: `{{ $parameters.name }}`.
//!
//! A placeholder whose name is no parameter stays as it is. Values go in as Python prints them, one
//! parameter after another in the order in which they first occur.

use std::sync::{Arc, LazyLock};

use regex::Regex;

use super::operations::Operations;
use super::report::entries;
use crate::blocks::{BlockError, BuildError, Context, Inputs};
use crate::definition::step::Step;
use crate::values::{Dict, Value, python};

#[allow(clippy::unwrap_used)] // a constant pattern, compiled by every test of this file
static PLACEHOLDER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{\{\s*\$parameters\.(\w+)\s*\}\}").unwrap());

/// The text of a step: its field `message`, the parameters and their operations.
pub(super) struct Message(Operations);

impl Message {
    pub(super) fn new(step: &Step) -> Result<Self, BuildError> {
        Operations::new(step, "message_parameters_operations").map(Self)
    }

    /// The parameters that the text names, after their operations.
    pub(super) fn parameters(
        &self,
        inputs: &Inputs<'_>,
        cx: &Context<'_>,
    ) -> Result<Dict, BlockError> {
        let given = entries(inputs, "message_parameters")?;
        let mut used = Dict::new();
        for (_, name) in placeholders(inputs.text("message")?) {
            if let Some(value) = given.get(name) {
                used.insert(name.into(), self.0.apply_one(name, value, cx)?);
            }
        }
        Ok(used)
    }

    /// All parameters after their operations.
    pub(super) fn all(&self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Dict, BlockError> {
        self.0.apply(entries(inputs, "message_parameters")?, cx)
    }

    /// The text with its values.
    pub(super) fn text(&self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<String, BlockError> {
        let values = self.parameters(inputs, cx)?;
        let print = |_: &Arc<str>, value: &Value| python::to_str(value);
        Ok(fill(inputs.text("message")?, &values, print))
    }
}

fn placeholders(text: &str) -> Vec<(&str, &str)> {
    let found = PLACEHOLDER.captures_iter(text);
    found
        .filter_map(|found| Some((found.get(0)?.as_str(), found.get(1)?.as_str())))
        .collect()
}

/// The text with each placeholder replaced by what `print` makes of its value.
pub(super) fn fill(
    text: &str,
    values: &Dict,
    mut print: impl FnMut(&Arc<str>, &Value) -> String,
) -> String {
    let mut filled = text.to_owned();
    for (whole, name) in placeholders(text) {
        if let Some((name, value)) = values.get_key_value(name)
            && filled.contains(whole)
        {
            filled = filled.replace(whole, &print(name, value));
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn known_placeholders_are_filled_and_others_stay() {
        let values = Value::from_json(&json!({
            "n": 3, "yes": true, "none": null, "list": ["q", null], "é": 1.0,
        }));
        let text = "{{$parameters.n}} {{  $parameters.yes }} {{ $parameters.none }} \
                    {{ $parameters.list }} {{ $parameters.é }} {{ $parameters.x }} \
                    {{ $parameters.n.m }} {{ $parameters.n }}";
        let print = |_: &Arc<str>, value: &Value| python::to_str(value);
        assert_eq!(
            fill(text, values.as_dict().unwrap(), print),
            "3 True None ['q', None] 1.0 {{ $parameters.x }} {{ $parameters.n.m }} 3"
        );
    }
}
