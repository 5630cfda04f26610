//! Validation and coercion of one field of a step: JSON against the shapes that the field accepts.
//!
//! Rules are those of section 1.5 of the engine specification: a shape that the value has exactly
//! wins, then one that takes it as it is, then the first that accepts it after coercion.

use serde_json::Value as Json;

use super::{coerce, selector};
use crate::blocks::{Bounds, Field, Ty};

/// Something wrong inside a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// Path below the field, e.g. `[0].type`; empty for the field itself.
    pub path: String,
    /// Category, by the names that clients know from pydantic.
    pub category: &'static str,
    /// What is wrong.
    pub message: String,
}

impl FieldProblem {
    /// A problem of the field itself.
    pub(super) fn new(category: &'static str, message: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            category,
            message: message.into(),
        }
    }

    /// The problem of a field that is not there and has no default.
    pub(super) fn missing() -> Self {
        Self::new("missing", "field required")
    }
}

type Checked = Result<Json, Vec<FieldProblem>>;

fn problem(category: &'static str, message: impl Into<String>) -> Vec<FieldProblem> {
    vec![FieldProblem::new(category, message)]
}

fn below(path: &str, problems: Vec<FieldProblem>) -> impl Iterator<Item = FieldProblem> {
    problems.into_iter().map(move |p| FieldProblem {
        path: format!("{path}{}", p.path),
        ..p
    })
}

/// Checks a literal or selector text against a field; answers the coerced JSON.
pub fn check(field: &Field, json: &Json) -> Checked {
    let coerced = check_union(field.types, json)?;
    let number = match &coerced {
        Json::String(text) if !takes_text(field.types) => coerce::non_finite(text),
        other => other.as_f64(),
    };
    if let Some(x) = number {
        field
            .bounds
            .check(x)
            .map_err(|why| problem("out_of_range", why))?;
    }
    Ok(coerced)
}

/// Whether a field has a shape that refers to something, and where: in itself, in list items, in
/// object values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReferencePlaces {
    /// The value itself may be a reference.
    pub whole: bool,
    /// Items of a list may be.
    pub items: bool,
    /// Values of an object may be.
    pub values: bool,
}

impl ReferencePlaces {
    /// Whether there is any.
    pub fn any(self) -> bool {
        self.whole || self.items || self.values
    }
}

/// Whether a field takes text that is no reference.
pub(super) fn takes_text(types: &[Ty]) -> bool {
    let text = |ty: &Ty| {
        matches!(
            ty,
            Ty::Str | Ty::Pattern(_) | Ty::OneOf(_) | Ty::NamedOneOf(..) | Ty::Any | Ty::Custom(..)
        )
    };
    types.iter().any(text)
}

/// Where a field may hold references.
pub fn reference_places(types: &[Ty]) -> ReferencePlaces {
    let mut places = ReferencePlaces::default();
    for ty in types {
        match ty {
            Ty::List(inner) | Ty::ListIn(inner, ..) => {
                places.items |= inner.iter().any(is_reference)
            }
            Ty::Map(inner) => places.values |= inner.iter().any(is_reference),
            Ty::Tuple(parts) => {
                places.items |= parts.iter().flat_map(|p| p.iter()).any(is_reference)
            }
            other => places.whole |= is_reference(other),
        }
    }
    places
}

/// Whether a shape is a selector.
pub fn is_reference(ty: &Ty) -> bool {
    matches!(
        ty,
        Ty::Selector(_)
            | Ty::StepOutput(_)
            | Ty::InputImage
            | Ty::InputParameter(_)
            | Ty::InputVideo
            | Ty::Step
    )
}

/// How close the own form of a value comes to a shape, whether or not the shape accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    /// It would have to be converted.
    Coerced,
    /// It may stay as it is: anything where anything goes, a whole number for a number.
    Kept,
    /// It has the very type.
    Exact,
}

fn closeness(ty: &Ty, json: &Json) -> Closeness {
    let exact_if = |fits: bool| {
        if fits {
            Closeness::Exact
        } else {
            Closeness::Coerced
        }
    };
    let best = |types: &[Ty], item: &Json| {
        let all = types.iter().map(|ty| closeness(ty, item));
        all.max().unwrap_or(Closeness::Coerced)
    };
    let least = |all: &mut dyn Iterator<Item = Closeness>| all.min().unwrap_or(Closeness::Exact);
    match (ty, json) {
        (Ty::Any, _) => Closeness::Kept,
        (Ty::Bool, _) => exact_if(json.is_boolean()),
        (Ty::Int | Ty::IntIn(..) | Ty::IntAbove(..), _) => exact_if(json.is_i64() || json.is_u64()),
        (Ty::Float | Ty::FloatIn(_), Json::Number(n)) if !n.is_f64() => Closeness::Kept,
        (Ty::Float | Ty::FloatIn(_), _) => exact_if(json.is_f64()),
        (Ty::List(types) | Ty::ListIn(types, ..), Json::Array(items)) => {
            least(&mut items.iter().map(|item| best(types, item)))
        }
        (Ty::Tuple(parts), Json::Array(items)) => {
            let pairs = parts.iter().zip(items);
            least(&mut pairs.map(|(types, item)| best(types, item)))
        }
        (Ty::Map(types), Json::Object(entries)) => {
            least(&mut entries.values().map(|item| best(types, item)))
        }
        _ => Closeness::Exact,
    }
}

fn check_union(types: &[Ty], json: &Json) -> Checked {
    let mut problems = Vec::new();
    for wanted in [Closeness::Exact, Closeness::Kept, Closeness::Coerced] {
        for (at, ty) in types.iter().enumerate() {
            if closeness(ty, json) == wanted {
                match accept(ty, json) {
                    Ok(value) => return Ok(value),
                    Err(found) => problems.push((at, ty, found)),
                }
            }
        }
    }
    problems.sort_by_key(|(at, ..)| *at);
    let problems = problems.into_iter().map(|(_, ty, found)| (ty, found));
    Err(blame(types, json, problems.collect()))
}

/// The problems to show of a union none of whose shapes fits: those of the one structured shape
/// that the value resembles, or one that lists what is accepted.
fn blame(
    types: &[Ty],
    json: &Json,
    mut problems: Vec<(&Ty, Vec<FieldProblem>)>,
) -> Vec<FieldProblem> {
    if problems.len() == 1 {
        return problems.remove(0).1;
    }
    let resembles = |ty: &Ty| match json {
        Json::Array(_) => matches!(
            ty,
            Ty::List(_) | Ty::ListIn(..) | Ty::Tuple(_) | Ty::Operations
        ),
        Json::Object(_) => matches!(ty, Ty::Map(_) | Ty::Statement | Ty::Object),
        Json::Number(_) => matches!(ty, Ty::FloatIn(_) | Ty::IntIn(..) | Ty::IntAbove(..)),
        _ => false,
    };
    if let Some(at) = problems.iter().position(|(ty, _)| resembles(ty)) {
        return problems.remove(at).1;
    }
    let accepted: Vec<String> = types.iter().map(describe).collect();
    problem(
        "union",
        format!("must be {}, got {}", accepted.join(" or "), shape_of(json)),
    )
}

/// What a value is, in the words of messages; the value itself is never shown.
pub(super) fn shape_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(n) if n.is_f64() => "a number",
        Json::Number(_) => "a whole number",
        Json::String(s) if selector::is_selector(s) => "a selector of another form",
        Json::String(_) => "text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

fn describe(ty: &Ty) -> String {
    match ty {
        Ty::Selector(kinds) => format!("a selector of {}", kinds.join("/")),
        Ty::StepOutput(kinds) => format!("a step output of {}", kinds.join("/")),
        Ty::InputImage => "a selector of an input image".into(),
        Ty::InputParameter(_) => "a selector of an input parameter".into(),
        Ty::InputVideo => "a selector of input video metadata".into(),
        Ty::Step => "a step selector ($steps.<name>)".into(),
        Ty::Bool => "true or false".into(),
        Ty::Int | Ty::IntIn(..) | Ty::IntAbove(..) => "a whole number".into(),
        Ty::Float | Ty::FloatIn(_) => "a number".into(),
        Ty::Str | Ty::Pattern(_) => "text".into(),
        Ty::Null => "null".into(),
        Ty::Any => "anything".into(),
        Ty::OneOf(names) | Ty::NamedOneOf(_, names) => format!("one of {}", names.join(", ")),
        Ty::List(_) | Ty::ListIn(..) => "a list".into(),
        Ty::Tuple(parts) => format!("a list of {} items", parts.len()),
        Ty::Map(_) | Ty::Object | Ty::Custom(..) => "an object".into(),
        Ty::Operations => "a list of operations".into(),
        Ty::Statement => "a statement group".into(),
    }
}

/// The value in the form of a shape, converted where that is allowed.
fn accept(ty: &Ty, json: &Json) -> Checked {
    match ty {
        Ty::Selector(_)
        | Ty::StepOutput(_)
        | Ty::InputImage
        | Ty::InputParameter(_)
        | Ty::InputVideo
        | Ty::Step => check_selector(ty, json),
        Ty::Bool => one(coerce::bool(json).map(Json::Bool)),
        Ty::Int => one(coerce::int(json).map(Json::from)),
        Ty::IntIn(low, high) => check_int(json, *low, *high),
        Ty::IntAbove(low, high) => check_int(json, low.saturating_add(1), *high),
        Ty::Float => one(coerce::float(json, &Bounds::NONE)),
        Ty::FloatIn(bounds) => one(coerce::float(json, bounds)),
        Ty::Str => match json {
            Json::String(_) => Ok(json.clone()),
            _ => Err(problem(
                "string_type",
                format!("must be text, got {}", shape_of(json)),
            )),
        },
        Ty::Pattern(pattern) => match json {
            Json::String(s) if matches_pattern(pattern, s) => Ok(json.clone()),
            _ => Err(problem(
                "string_pattern_mismatch",
                format!("must be text that matches `{pattern}`"),
            )),
        },
        Ty::Null => match json {
            Json::Null => Ok(Json::Null),
            _ => Err(problem("none_required", "must be null")),
        },
        Ty::Any => Ok(json.clone()),
        Ty::OneOf(names) | Ty::NamedOneOf(_, names) => match json {
            Json::String(s) if names.contains(&s.as_str()) => Ok(json.clone()),
            _ => Err(problem(
                "enum",
                format!("must be one of {}", names.join(", ")),
            )),
        },
        Ty::List(types) => check_list(types, json, 0, usize::MAX),
        Ty::ListIn(types, least, most) => check_list(types, json, *least, *most),
        Ty::Tuple(parts) => check_tuple(parts, json),
        Ty::Map(types) => check_map(types, json),
        Ty::Object => match json {
            Json::Object(_) => Ok(json.clone()),
            _ => Err(problem(
                "dict_type",
                format!("must be an object, got {}", shape_of(json)),
            )),
        },
        Ty::Operations => crate::blocks::query::parse_chain(json)
            .map(|_| json.clone())
            .map_err(query_problems),
        Ty::Statement => crate::blocks::query::parse_statement(json)
            .map(|_| json.clone())
            .map_err(query_problems),
        Ty::Custom(check, _) => check(json).map_err(|why| problem("value_error", why)),
    }
}

fn check_int(json: &Json, low: i64, high: i64) -> Checked {
    let i = coerce::int(json).map_err(|p| vec![p])?;
    if i < low {
        let message = format!("must be at least {low}");
        Err(problem("greater_than_equal", message))
    } else if i > high {
        let message = format!("must be at most {high}");
        Err(problem("less_than_equal", message))
    } else {
        Ok(Json::from(i))
    }
}

fn one(checked: Result<Json, FieldProblem>) -> Checked {
    checked.map_err(|problem| vec![problem])
}

fn query_problems(problems: Vec<crate::blocks::query::ParseProblem>) -> Vec<FieldProblem> {
    problems
        .into_iter()
        .map(|p| FieldProblem {
            path: p.path,
            category: "value_error",
            message: p.message,
        })
        .collect()
}

fn matches_pattern(pattern: &str, text: &str) -> bool {
    regex::Regex::new(pattern).is_ok_and(|r| r.is_match(text))
}

fn check_selector(ty: &Ty, json: &Json) -> Checked {
    let fits = json.as_str().is_some_and(|text| match ty {
        Ty::Selector(_) => selector::is_step_output(text) || selector::is_input(text),
        Ty::StepOutput(_) => selector::is_step_output(text),
        Ty::Step => selector::is_step(text),
        _ => selector::is_input(text),
    });
    if fits {
        return Ok(json.clone());
    }
    let message = format!("must be {}, got {}", describe(ty), shape_of(json));
    Err(problem(
        if json.is_string() {
            "string_pattern_mismatch"
        } else {
            "string_type"
        },
        message,
    ))
}

fn check_list(types: &[Ty], json: &Json, least: usize, most: usize) -> Checked {
    let Json::Array(items) = json else {
        return Err(problem(
            "list_type",
            format!("must be a list, got {}", shape_of(json)),
        ));
    };
    if items.len() < least {
        return Err(problem(
            "too_short",
            format!("must have at least {least} items, has {}", items.len()),
        ));
    }
    if items.len() > most {
        return Err(problem(
            "too_long",
            format!("must have at most {most} items, has {}", items.len()),
        ));
    }
    let mut problems = Vec::new();
    let mut coerced = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        match check_union(types, item) {
            Ok(value) => coerced.push(value),
            Err(found) => problems.extend(below(&format!("[{i}]"), found)),
        }
    }
    if problems.is_empty() {
        Ok(Json::Array(coerced))
    } else {
        Err(problems)
    }
}

fn check_tuple(parts: &[&[Ty]], json: &Json) -> Checked {
    let Json::Array(items) = json else {
        return Err(problem(
            "tuple_type",
            format!("must be a list, got {}", shape_of(json)),
        ));
    };
    if items.len() != parts.len() {
        let message = format!("must have {} items, has {}", parts.len(), items.len());
        return Err(problem("too_short", message));
    }
    let mut problems = Vec::new();
    let mut coerced = Vec::with_capacity(items.len());
    for (i, (types, item)) in parts.iter().zip(items).enumerate() {
        match check_union(types, item) {
            Ok(value) => coerced.push(value),
            Err(found) => problems.extend(below(&format!("[{i}]"), found)),
        }
    }
    if problems.is_empty() {
        Ok(Json::Array(coerced))
    } else {
        Err(problems)
    }
}

fn check_map(types: &[Ty], json: &Json) -> Checked {
    let Json::Object(entries) = json else {
        return Err(problem(
            "dict_type",
            format!("must be an object, got {}", shape_of(json)),
        ));
    };
    let mut problems = Vec::new();
    let mut coerced = serde_json::Map::new();
    for (key, value) in entries {
        match check_union(types, value) {
            Ok(value) => {
                coerced.insert(key.clone(), value);
            }
            Err(found) => problems.extend(below(&format!(".{key}"), found)),
        }
    }
    if problems.is_empty() {
        Ok(Json::Object(coerced))
    } else {
        Err(problems)
    }
}
