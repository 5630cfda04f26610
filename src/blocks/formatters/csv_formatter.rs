//! Writes values as CSV, a row per element of a batch.
//!
//! # Inputs and outputs
//! `columns_data`, each value changed by its chain in `columns_operations` if it has one →
//! `csv_content`. Columns stand in the order of the definition, `timestamp` (UTC) last. With a batch
//! among the values the last element holds the whole text and the others are empty; without one
//! there is one row.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Numbers are written by column, as pandas does: one fraction or one missing number makes a column
//! of numbers fractional. Texts that a spreadsheet would take for a formula get an apostrophe.
//! `timestamp` cannot be the name of a column.

use std::sync::Arc;

use crate::blocks::query::{Chain, Params, step as query_step};
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, StepProblem, Ty, output,
};
use crate::definition::step::Step;
use crate::row;
use crate::values::{Dict, Value, kind, python};

const TIMESTAMP: &str = "timestamp";

/// `roboflow_core/csv_formatter@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/csv_formatter@v1"],
    name: "CSV Formatter",
    family: Family::Formatter,
    stateless: true,
    about: "Writes values as CSV, a row per element of a batch.",
    fields: &[
        Field::required(
            "columns_data",
            &[Ty::Map(&[
                Ty::Selector(&[kind::WILDCARD]),
                Ty::Str,
                Ty::Int,
                Ty::Float,
                Ty::Bool,
            ])],
        )
        .about("The values by column."),
        Field::optional("columns_operations", &[Ty::Map(&[Ty::Operations])], "{}")
            .about("Chains that change values first."),
    ],
    outputs: &[output("csv_content", &[kind::STRING])],
    mixed: &["columns_data"],
    check: Some(check),
    build: |step, _| {
        Ok(Box::new(CsvFormatter {
            prepare: query_step::chains(step, "columns_operations")?,
        }))
    },
    ..BlockSpec::DEFAULT
};

fn check(step: &Step) -> Vec<StepProblem> {
    let declared = query_step::declared(step, "columns_data");
    let mut problems = query_step::chain_problems(step, "columns_operations", &declared);
    if declared.contains(&TIMESTAMP) {
        problems.push(StepProblem {
            field: Some("columns_data"),
            message: format!("`{TIMESTAMP}` is reserved; give the column another name"),
        });
    }
    problems
}

struct CsvFormatter {
    prepare: Vec<(Arc<str>, Chain)>,
}

impl Block for CsvFormatter {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let none = Dict::new();
        let given = inputs.value("columns_data").as_dict().unwrap_or(&none);
        let batches = given.values().filter_map(|value| match value {
            Value::Batch(batch) => Some(batch.items.len()),
            _ => None,
        });
        let elements = batches.max();
        let rows = elements.unwrap_or(1);
        let mut columns: Vec<(&str, Vec<Value>)> = Vec::with_capacity(given.len() + 1);
        for (name, value) in given {
            let chain = self.prepare.iter().find(|(n, _)| n == name);
            let cells = (0..rows).map(|row| {
                let cell = cell(name, value, row, rows)?;
                match chain {
                    Some((_, chain)) => Ok(chain.apply(cell, &Params::NONE, cx)?),
                    None => Ok(cell),
                }
            });
            columns.push((name, cells.collect::<Result<_, BlockError>>()?));
        }
        let now = Value::from(cx.now().isoformat());
        columns.push((TIMESTAMP, vec![now; rows]));
        let text = written(&columns, rows);
        Ok(match elements {
            None => Output::One(row![text]),
            Some(n) => {
                let mut out = vec![row![Value::None]; n];
                if let Some(last) = out.last_mut() {
                    *last = row![text];
                }
                Output::Many(out)
            }
        })
    }
}

/// The cell of a column in one of `rows` rows; a batch of one serves every row.
fn cell(name: &str, value: &Value, row: usize, rows: usize) -> Result<Value, BlockError> {
    match value {
        Value::Batch(batch) => match batch.items.as_slice() {
            [one] => Ok(one.clone()),
            items if items.len() == rows => Ok(items[row].clone()),
            items => Err(BlockError::failed(format!(
                "column `{name}` has {} elements, another one {rows}",
                items.len()
            ))),
        },
        other => Ok(other.clone()),
    }
}

fn written(columns: &[(&str, Vec<Value>)], rows: usize) -> String {
    let mut text = String::new();
    let fractional: Vec<bool> = columns
        .iter()
        .map(|(_, cells)| is_fractional(cells))
        .collect();
    for (i, (name, _)) in columns.iter().enumerate() {
        put(&mut text, i, name);
    }
    text.push('\n');
    for row in 0..rows {
        for (i, (_, cells)) in columns.iter().enumerate() {
            put(&mut text, i, &cell_text(&cells[row], fractional[i]));
        }
        text.push('\n');
    }
    text
}

/// Whether whole numbers of a column are written with a fraction.
fn is_fractional(cells: &[Value]) -> bool {
    let numeric = |v: &Value| {
        matches!(
            v,
            Value::None | Value::Int(_) | Value::BigInt(_) | Value::Float(_)
        )
    };
    let fraction = |v: &Value| matches!(v, Value::None | Value::Float(_));
    cells.iter().all(numeric) && cells.iter().any(fraction)
}

fn cell_text(value: &Value, fractional: bool) -> String {
    match value {
        Value::None => String::new(),
        Value::Float(f) if f.is_nan() => String::new(),
        Value::Int(i) if fractional => python::float_repr(*i as f64),
        Value::BigInt(i) if fractional => python::float_repr(**i as f64),
        Value::Str(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
            format!("'{text}")
        }
        other => python::to_str(other),
    }
}

fn put(text: &mut String, position: usize, cell: &str) {
    if position > 0 {
        text.push(',');
    }
    // A carriage return alone needs no quotes, since lines end without one (recorded).
    if cell.contains([',', '"', '\n']) {
        text.push('"');
        text.push_str(&cell.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::query::trial::{Host, problems, step, values};
    use crate::values::{Batch, Index};
    use serde_json::{Value as Json, json};

    fn batch(items: Json) -> Value {
        let items = Value::from_json(&items).as_slice().unwrap().to_vec();
        let indices = (0..items.len() as u32).map(|i| Index::from_slice(&[i]));
        Value::Batch(Arc::new(Batch {
            indices: indices.collect(),
            items,
        }))
    }

    fn csv(columns: &[(&str, Value)], operations: Json) -> Vec<Option<String>> {
        let host = Host::default();
        let data: Dict = columns
            .iter()
            .map(|(name, value)| ((*name).into(), value.clone()))
            .collect();
        let fields = json!({"columns_data": {}, "columns_operations": operations});
        let mut block = (BLOCK.build)(&step(&BLOCK, fields), &host.services).unwrap();
        let values = values(&BLOCK, &[("columns_data", Value::dict(data))]);
        let texts = |row: &crate::blocks::Row| row[0].as_str().map(str::to_owned);
        match block.run(&Inputs::new(&BLOCK, &values), &host.cx(&Arc::default())) {
            Ok(Output::One(row)) => vec![texts(&row)],
            Ok(Output::Many(rows)) => rows.iter().map(texts).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn scalars_are_one_row() {
        // Recorded case csv_formatter_scalars.
        let columns = [
            ("text", "say \"hi\", you".into()),
            ("value", Value::Float(2.5)),
            ("flag", Value::Bool(true)),
            ("items", Value::from_json(&json!([1, "a"]))),
            ("none", Value::None),
            ("evil", "=1+1".into()),
        ];
        let written = csv(
            &columns,
            json!({"value": [{"type": "Multiply", "other": 2}]}),
        );
        assert_eq!(
            written[0].as_deref(),
            Some(
                "text,value,flag,items,none,evil,timestamp\n\
                 \"say \"\"hi\"\", you\",5.0,True,\"[1, 'a']\",,'=1+1,1970-01-01T00:00:00+00:00\n"
            )
        );
    }

    #[test]
    fn the_last_element_of_a_batch_holds_all_rows() {
        let columns = [("v", batch(json!(["a", "b"]))), ("site", "n".into())];
        let written = csv(&columns, json!({"site": [{"type": "StringToUpperCase"}]}));
        assert_eq!(written[0], None);
        let rows =
            "v,site,timestamp\na,N,1970-01-01T00:00:00+00:00\nb,N,1970-01-01T00:00:00+00:00\n";
        assert_eq!(written[1].as_deref(), Some(rows));
    }

    #[test]
    fn numbers_are_written_by_column() {
        for (cells, texts) in [
            (json!([1, 2.5, 3]), ["1.0", "2.5", "3.0"]),
            (json!([1, null, 3]), ["1.0", "", "3.0"]),
            (json!([1, "a", 2.0]), ["1", "a", "2.0"]),
            (json!([1, true, null]), ["1", "True", ""]),
        ] {
            let written = csv(&[("v", batch(cells))], json!({}));
            let text = written[2].clone().unwrap();
            let found: Vec<&str> = text.lines().map(|l| l.split(',').next().unwrap()).collect();
            assert_eq!(found[1..], texts);
        }
    }

    #[test]
    fn mistakes_of_the_definition_are_found_before_a_frame_runs() {
        let reserved = json!({"columns_data": {"timestamp": 3}});
        assert!(problems(&BLOCK, reserved)[0].contains("reserved"));
        let unknown = json!({"columns_data": {"a": 3}, "columns_operations": {"b": []}});
        assert!(problems(&BLOCK, unknown)[0].contains("`b`"));
    }
}
