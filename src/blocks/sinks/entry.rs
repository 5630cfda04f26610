//! Entries of logs and the names of what holds them, as the file and S3 sinks write them.

use chrono::Local;

use super::shapes::{self, CHOSEN_TEXT, LIMIT};
use crate::blocks::{BlockError, Context, Field, Inputs, StepProblem, Ty};
use crate::definition::step::Step;
use crate::values::{Value, python_json};

const NOT_JSON: &str = "Invalid JSON content";

pub(super) const CONTENT: Field =
    Field::required("content", shapes::CONTENT).about("What is written.");
pub(super) const FILE_TYPE: Field = Field::optional(
    "file_type",
    &[Ty::OneOf(&["csv", "json", "txt"])],
    r#""csv""#,
)
.about("Kind of the content.");
pub(super) const OUTPUT_MODE: Field = Field::required("output_mode", &[Ty::OneOf(&["append_log", "separate_files"])]).about("Whether entries are gathered in one file.").extra(r#"{"values_metadata": {"append_log": {"name": "Append Log"}, "separate_files": {"name": "Separate File"}}}"#);
pub(super) const FILE_NAME_PREFIX: Field =
    Field::optional("file_name_prefix", CHOSEN_TEXT, r#""workflow_output""#)
        .about("Start of the name of each file.")
        .always_visible();
pub(super) const MAX_ENTRIES: Field = Field::optional("max_entries_per_file", LIMIT, "1024")
    .about("Entries after which a new file is begun.")
    .extra(r#"{"relevant_for": {"output_mode": {"required": true, "values": ["append_log"]}}}"#);

/// What a step writes.
pub(super) struct Written<'a> {
    pub(super) content: &'a str,
    file_type: &'a str,
    /// Whether entries are gathered.
    pub(super) appends: bool,
    /// Entries that one file or object holds.
    pub(super) most: usize,
    prefix: &'a str,
}

impl<'a> Written<'a> {
    pub(super) fn read(inputs: &Inputs<'a>) -> Result<Self, BlockError> {
        let most = most(inputs.value("max_entries_per_file"));
        Ok(Self {
            content: inputs.text("content")?,
            file_type: inputs.text("file_type")?,
            appends: inputs.text("output_mode")? == "append_log",
            most: most.ok_or_else(|| {
                BlockError::Input("`max_entries_per_file` cannot be lower than 1.".into())
            })?,
            prefix: inputs.text("file_name_prefix")?,
        })
    }

    /// End of the name.
    pub(super) fn extension(&self) -> &'a str {
        match (self.file_type, self.appends) {
            ("json", true) => "jsonl",
            (other, _) => other,
        }
    }

    /// Media type.
    pub(super) fn media_type(&self) -> &'static str {
        match self.extension() {
            "csv" => "text/csv",
            "json" => "application/json",
            "jsonl" => "application/x-ndjson",
            _ => "text/plain",
        }
    }

    /// Name with the local time, so many microseconds from now.
    pub(super) fn name(&self, later: i64, cx: &Context<'_>) -> String {
        let micros = (cx.now().unix_seconds() * 1e6).round() as i64 + later;
        let time = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
        let time = time.with_timezone(&Local).format("%Y_%m_%d_%H_%M_%S_%6f");
        format!("{}_{time}.{}", self.prefix, self.extension())
    }

    /// The entry as a log has it: JSON on one line, CSV without its header unless it is the first,
    /// a line end behind it.
    pub(super) fn entry(&self, first: bool) -> Result<String, &'static str> {
        let text = match self.file_type {
            "json" => {
                let json: serde_json::Value =
                    serde_json::from_str(self.content).map_err(|_| NOT_JSON)?;
                python_json::to_json(&Value::from_json(&json)).map_err(|_| NOT_JSON)?
            }
            "csv" if !first => {
                let rows = self.content.split_once('\n');
                rows.map_or("", |(_, rows)| rows).to_owned()
            }
            _ => self.content.to_owned(),
        };
        Ok(ended(text))
    }
}

/// A text that ends its last line.
pub(super) fn ended(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// A positive number; selectors may bring it as text.
fn most(value: &Value) -> Option<usize> {
    let number = match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => value.as_i64(),
    };
    number
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| *n > 0)
}

/// The check of a literal limit.
pub(super) fn check(step: &Step) -> Vec<StepProblem> {
    let wrong = step.number("max_entries_per_file").is_some_and(|n| n < 1.0);
    let problem = StepProblem {
        field: Some("max_entries_per_file"),
        message: "`max_entries_per_file` cannot be lower than 1.".into(),
    };
    wrong.then_some(problem).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written<'a>(content: &'a str, file_type: &'a str) -> Written<'a> {
        Written {
            content,
            file_type,
            appends: true,
            most: 1,
            prefix: "p",
        }
    }

    #[test]
    fn entries_of_a_log() {
        let json = written("{\"a\": \"\u{e9}\",\n \"b\":[1]}", "json");
        let line = "{\"a\": \"\\u00e9\", \"b\": [1]}\n";
        assert_eq!(json.entry(true).unwrap(), line);
        assert_eq!(json.extension(), "jsonl");
        assert_eq!(written("{", "json").entry(true), Err(NOT_JSON));
        let csv = written("h\n1\n", "csv");
        assert_eq!(csv.entry(true).unwrap(), "h\n1\n");
        assert_eq!(csv.entry(false).unwrap(), "1\n");
        assert_eq!(written("t", "txt").entry(false).unwrap(), "t\n");
    }

    #[test]
    fn limits_are_positive_numbers_also_as_text() {
        assert_eq!(most(&"7".into()), Some(7));
        assert_eq!(most(&Value::Int(2)), Some(2));
        for wrong in [Value::Int(0), "x".into(), Value::None] {
            assert_eq!(most(&wrong), None);
        }
    }
}
