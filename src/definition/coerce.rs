//! Lax reading of booleans and numbers, as in the table of section 1.5 of the engine specification.

use serde_json::{Number, Value as Json};

use super::fields::{FieldProblem, shape_of};
use crate::blocks::Bounds;

pub(crate) fn bool(json: &Json) -> Result<bool, FieldProblem> {
    let parsed = match json {
        Json::Bool(b) => Some(*b),
        Json::Number(n) => match n.as_f64() {
            Some(0.0) => Some(false),
            Some(1.0) => Some(true),
            _ => None,
        },
        Json::String(s) => match s.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "t" | "y" | "1" => Some(true),
            "false" | "no" | "off" | "f" | "n" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    };
    parsed.ok_or_else(|| wrong("bool_parsing", "true or false", json))
}

pub(crate) fn int(json: &Json) -> Result<i64, FieldProblem> {
    let parsed = match json {
        Json::Bool(b) => Some(i64::from(*b)),
        Json::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => Some(i),
            (None, Some(f)) if f.fract() == 0.0 && f.abs() < 9.2e18 => Some(f as i64),
            _ => None,
        },
        Json::String(s) => parse_int(s),
        _ => None,
    };
    parsed.ok_or_else(|| wrong("int_parsing", "a whole number", json))
}

/// A number within bounds, as JSON.
pub(super) fn float(json: &Json, bounds: &Bounds) -> Result<Json, FieldProblem> {
    let parsed = match json {
        Json::Bool(b) => Some(f64::from(u8::from(*b))),
        Json::Number(n) => n.as_f64(),
        Json::String(s) => parse_float(s),
        _ => None,
    };
    let x = parsed.ok_or_else(|| wrong("float_parsing", "a number", json))?;
    bounds
        .check(x)
        .map_err(|why| FieldProblem::new("out_of_range", why))?;
    // JSON has no NaN and no infinity: such text stays text (see `non_finite`).
    Ok(Number::from_f64(x).map_or_else(|| json.clone(), Json::Number))
}

/// The number that a text means and that JSON cannot hold: NaN or an infinity.
pub(super) fn non_finite(text: &str) -> Option<f64> {
    parse_float(text).filter(|x| !x.is_finite())
}

fn wrong(category: &'static str, wanted: &str, json: &Json) -> FieldProblem {
    FieldProblem::new(
        category,
        format!("must be {wanted}, got {}", shape_of(json)),
    )
}

/// The number that a text means: blanks around and single underscores between digits are allowed.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    without_underscores(text.trim())?.parse().ok()
}

fn parse_int(text: &str) -> Option<i64> {
    let text = text.trim();
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|b| b == b'0') => whole,
        Some(_) => return None,
        None => text,
    };
    without_underscores(whole)?.parse().ok()
}

/// The text without single underscores between digits; `None` if one stands elsewhere.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    for (i, &b) in bytes.iter().enumerate() {
        if b == b'_' {
            let digit = |at: Option<&u8>| at.is_some_and(u8::is_ascii_digit);
            if i == 0 || !digit(bytes.get(i - 1)) || !digit(bytes.get(i + 1)) {
                return None;
            }
        }
    }
    Some(text.replace('_', ""))
}
