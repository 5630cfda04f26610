//! Running aggregates over values, as `data_aggregator` offers them (specification 1.7).
//!
//! Numbers, comparison and equality are Python's: whole numbers stay whole, 1, 1.0 and true are one
//! value. A value that an aggregate cannot take leaves it as it was.

use std::cmp::Ordering;

use indexmap::IndexMap;

use crate::values::hash_order::{HashOrder, number_hash};
use crate::values::sequence::{self, Key};
use crate::values::{Dict, Value, python};

/// Different values that one aggregate remembers at most; one more is an error.
pub const MAX_DISTINCT: usize = 1 << 20;

/// Names in definitions.
pub const MODES: &[&str] = &[
    "sum",
    "avg",
    "max",
    "min",
    "count",
    "distinct",
    "count_distinct",
    "values_counts",
    "values_difference",
];

/// One running aggregate.
#[derive(Clone, Debug)]
pub enum Aggregate {
    /// Sum.
    Sum(Value),
    /// Sum and number of values.
    Avg(Value, i64),
    /// Greatest value.
    Max(Option<Value>),
    /// Least value.
    Min(Option<Value>),
    /// Number of values; what has a length counts as that many.
    Count(i64),
    /// The different values and how often each was there. Says what is told of them in the end.
    Values(Tally, IndexMap<Key, (Value, i64)>),
    /// Least and greatest value.
    Difference(Option<(Value, Value)>),
}

/// What is told of different values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// The values.
    Distinct,
    /// Their number.
    Number,
    /// How often each was there.
    Counts,
}

impl Aggregate {
    /// A fresh aggregate of this name.
    pub fn new(mode: &str) -> Option<Self> {
        let values = |tally| Self::Values(tally, IndexMap::new());
        Some(match mode {
            "sum" => Self::Sum(Value::Int(0)),
            "avg" => Self::Avg(Value::Int(0), 0),
            "max" => Self::Max(None),
            "min" => Self::Min(None),
            "count" => Self::Count(0),
            "distinct" => values(Tally::Distinct),
            "count_distinct" => values(Tally::Number),
            "values_counts" => values(Tally::Counts),
            "values_difference" => Self::Difference(None),
            _ => return None,
        })
    }

    /// Takes a value in; else why it cannot be.
    pub fn add(&mut self, value: &Value) -> Result<(), String> {
        match self {
            Self::Sum(sum) => *sum = plus(sum, value)?,
            Self::Avg(sum, count) => {
                *sum = plus(sum, value)?;
                *count += 1;
            }
            Self::Max(best) => keep_furthest(best, value, Ordering::Greater)?,
            Self::Min(best) => keep_furthest(best, value, Ordering::Less)?,
            Self::Count(count) => *count += sequence::len(value).map_or(1, |n| n as i64),
            Self::Values(tally, seen) => {
                let parts = match value {
                    Value::List(items) => items.as_slice(),
                    Value::Tuple(items) if *tally != Tally::Counts => items.as_slice(),
                    single => std::slice::from_ref(single),
                };
                for part in parts {
                    note(seen, part)?;
                }
            }
            Self::Difference(ends) => {
                let (low, high) = ends.get_or_insert_with(|| (value.clone(), value.clone()));
                let lower = lies(value, low, Ordering::Less)?;
                if lies(value, high, Ordering::Greater)? {
                    *high = value.clone();
                }
                if lower {
                    *low = value.clone();
                }
            }
        }
        Ok(())
    }

    /// The result; else why there is none.
    pub fn result(&self) -> Result<Value, String> {
        Ok(match self {
            Self::Sum(sum) => sum.clone(),
            Self::Avg(sum, count) => Value::Float(sum.as_f64().unwrap_or(f64::NAN) / *count as f64),
            Self::Max(best) | Self::Min(best) => best.clone().into(),
            Self::Count(count) => Value::Int(*count),
            Self::Values(Tally::Distinct, seen) => Value::list(distinct(seen)),
            Self::Values(Tally::Number, seen) => Value::from(seen.len()),
            Self::Values(Tally::Counts, seen) => {
                let counts = seen
                    .values()
                    .map(|(v, n)| (key_text(v).into(), (*n).into()));
                Value::dict(counts.collect::<Dict>())
            }
            Self::Difference(None) => Value::None,
            Self::Difference(Some((low, high))) => minus(high, low)?,
        })
    }
}

fn note(seen: &mut IndexMap<Key, (Value, i64)>, value: &Value) -> Result<(), String> {
    let Some(key) = Key::of(value) else {
        return Err(format!(
            "cannot tell values of type {} apart: make texts or numbers of them by `data_operations`",
            value.type_name()
        ));
    };
    if seen.len() >= MAX_DISTINCT && !seen.contains_key(&key) {
        return Err(format!(
            "more than {MAX_DISTINCT} different values in one interval: make it shorter"
        ));
    }
    seen.entry(key).or_insert_with(|| (value.clone(), 0)).1 += 1;
    Ok(())
}

/// The different values: numbers in the order in which the reference lists a set of them, others in
/// the order of their arrival, as there is none that it keeps.
fn distinct(seen: &IndexMap<Key, (Value, i64)>) -> Vec<Value> {
    let values = || seen.values().map(|(value, _)| value);
    let mut set = HashOrder::default();
    for value in values() {
        let Some(hash) = number_hash(value) else {
            return values().cloned().collect();
        };
        set.add(hash, value.clone());
    }
    set.items().cloned().collect()
}

/// Keeps the value that lies further in this direction; the first one of equals.
fn keep_furthest(best: &mut Option<Value>, value: &Value, way: Ordering) -> Result<(), String> {
    let further = match best {
        None => true,
        Some(known) => lies(value, known, way)?,
    };
    if further {
        *best = Some(value.clone());
    }
    Ok(())
}

/// Whether a value lies this way of another one.
fn lies(value: &Value, known: &Value, way: Ordering) -> Result<bool, String> {
    match python::compare(value, known) {
        Some(order) => Ok(order == Some(way)),
        None => {
            let (a, b) = (value.type_name(), known.type_name());
            Err(format!(
                "cannot compare {a} with {b}: give it values of one type"
            ))
        }
    }
}

fn plus(sum: &Value, value: &Value) -> Result<Value, String> {
    arithmetic(sum, value, i128::checked_add, |a, b| a + b)
        .ok_or_else(|| format!("cannot add {}: numbers only", value.type_name()))
}

fn minus(a: &Value, b: &Value) -> Result<Value, String> {
    arithmetic(a, b, i128::checked_sub, |a, b| a - b)
        .ok_or_else(|| format!("cannot subtract {}: numbers only", b.type_name()))
}

/// Whole numbers stay whole unless they leave 128 bits.
fn arithmetic(
    a: &Value,
    b: &Value,
    whole: fn(i128, i128) -> Option<i128>,
    real: fn(f64, f64) -> f64,
) -> Option<Value> {
    let result = a.as_whole().zip(b.as_whole());
    match result.and_then(|(x, y)| whole(x, y)) {
        Some(result) => Some(Value::whole(result)),
        None => Some(Value::Float(real(a.as_f64()?, b.as_f64()?))),
    }
}

/// A value as a key of a JSON object.
fn key_text(value: &Value) -> String {
    match value {
        Value::None => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        other => python::to_str(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn over(mode: &str, values: &[serde_json::Value]) -> Result<String, String> {
        let mut aggregate = Aggregate::new(mode).unwrap();
        for value in values {
            aggregate.add(&Value::from_json(value))?;
        }
        aggregate.result().map(|v| python::to_str(&v))
    }

    #[test]
    fn numbers_stay_whole_where_they_can() {
        let of = |mode, values: &[_]| over(mode, values).unwrap();
        assert_eq!(of("sum", &[json!(1), json!(2), json!(true)]), "4");
        assert_eq!(of("sum", &[json!(1), json!(1.5)]), "2.5");
        assert_eq!(of("avg", &[json!(1), json!(2)]), "1.5");
        assert_eq!(
            of("values_difference", &[json!(4), json!(-1), json!(2)]),
            "5"
        );
        assert_eq!(of("max", &[json!("a"), json!("b")]), "b");
        let beyond = [json!(i64::MAX), json!(1)];
        assert_eq!(of("sum", &beyond), "9223372036854775808");
    }

    #[test]
    fn lists_count_by_their_elements() {
        let values = [json!([1, 1.0, true, "a"]), json!("ab")];
        assert_eq!(over("count", &values).unwrap(), "6");
        assert_eq!(over("distinct", &values).unwrap(), "[1, 'a', 'ab']");
        assert_eq!(over("count_distinct", &values).unwrap(), "3");
        assert_eq!(
            over("values_counts", &values).unwrap(),
            "{'1': 3, 'a': 1, 'ab': 1}"
        );
        let numbers = [json!(9), json!(8.0), json!(1), json!(9.0)];
        assert_eq!(over("distinct", &numbers).unwrap(), "[8.0, 9, 1]");
    }

    #[test]
    fn values_that_do_not_fit_are_named() {
        assert!(
            over("sum", &[json!(null)])
                .unwrap_err()
                .contains("NoneType")
        );
        assert!(over("max", &[json!(1), json!("a")]).is_err());
        assert!(over("distinct", &[json!([[1]])]).is_err());
        assert!(over("values_difference", &[json!("a"), json!("b")]).is_err());
    }

    #[test]
    fn a_value_that_is_refused_leaves_no_trace() {
        for (mode, result) in [("values_difference", "3"), ("max", "5"), ("sum", "7")] {
            let mut aggregate = Aggregate::new(mode).unwrap();
            for value in [json!(2), json!("a"), json!(5)] {
                let taken = aggregate.add(&Value::from_json(&value));
                assert_eq!(taken.is_ok(), value.is_number(), "{mode} {value}");
            }
            assert_eq!(
                aggregate.result().map(|v| python::to_str(&v)),
                Ok(result.into())
            );
        }
    }
}
