//! Operations on sequences (lists, tuples, texts, objects by key, boxes) and lookups.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::node::{Node, Read};
use super::operation::Chain;
use super::{QueryError, Scope};
use crate::values::sequence::{self, Key};
use crate::values::{Dict, Value, python};

/// An operation on a sequence, or a lookup.
#[derive(Debug)]
pub(super) enum SequenceOperation {
    /// `LookupTable`
    Lookup(Arc<Dict>),
    /// `SequenceMap`
    Map(Arc<Dict>),
    /// `SequenceApply`
    Apply(Chain),
    /// `SequenceLength`
    Length,
    /// `SequenceElementsCount`
    Count,
    /// `SequenceJoin`
    Join { separator: String },
    /// `NumericSequenceAggregate`
    Numeric { function: Function, neutral: Value },
    /// `SequenceAggregate`
    Aggregate(Mode),
}

/// Function of `NumericSequenceAggregate`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Function {
    Min,
    Max,
    Sum,
}

/// Mode of `SequenceAggregate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    First,
    Last,
    MostCommon,
    LeastCommon,
}

/// Characters that a joined text may have.
const LONGEST_JOIN: usize = 1_000_000;
/// Elements and characters, at all depths, that the results of one operation may have.
pub(super) const LARGEST: usize = 256 << 20;
/// Characters of an element that count as its name in `SequenceElementsCount`.
const LONGEST_NAME: usize = 128;

impl SequenceOperation {
    pub(super) fn read(name: &str, node: &Node<'_>, path: &str) -> Option<Read<Self>> {
        Some(match name {
            "LookupTable" => read_table(node).map(Self::Lookup),
            "SequenceMap" => read_table(node).map(Self::Map),
            "SequenceApply" => node
                .need("operations")
                .and_then(|chain| Ok(Self::Apply(Chain::read_at(&chain, path)?))),
            "SequenceLength" => Ok(Self::Length),
            "SequenceElementsCount" => Ok(Self::Count),
            "SequenceJoin" => node
                .or("separator", ", ".to_owned(), |text| {
                    text.text().map(str::to_owned)
                })
                .map(|separator| Self::Join { separator }),
            "NumericSequenceAggregate" => read_numeric(node),
            "SequenceAggregate" => read_mode(node).map(Self::Aggregate),
            _ => return None,
        })
    }

    pub(super) fn apply(&self, value: Value, scope: &Scope<'_>) -> Result<Value, QueryError> {
        match self {
            Self::Lookup(table) => look_up(table, &value, scope),
            Self::Map(table) => {
                let elements = elements(&value, scope)?;
                let mapped = elements.iter().map(|key| look_up(table, key, scope));
                mapped.collect::<Result<_, _>>().map(Value::list)
            }
            Self::Apply(chain) => apply_each(chain, &elements(&value, scope)?, scope),
            Self::Length => length(&value, scope).map(Value::from),
            Self::Count => Ok(count(&elements(&value, scope)?)),
            Self::Join { separator } => join(&elements(&value, scope)?, separator, scope),
            Self::Numeric { function, neutral } => match length(&value, scope)? {
                0 => Ok(neutral.clone()),
                _ => aggregate(*function, &elements(&value, scope)?, scope),
            },
            Self::Aggregate(mode) => pick(*mode, &value, scope),
        }
    }

    /// Whether a set of boxes comes out as a set of boxes.
    pub(super) fn keeps_detections(&self) -> bool {
        matches!(self, Self::Aggregate(Mode::First | Mode::Last))
    }

    pub(super) fn collect_names(&self, names: &mut Vec<Arc<str>>) {
        if let Self::Apply(chain) = self {
            chain.collect_names(names);
        }
    }
}

fn read_table(node: &Node<'_>) -> Read<Arc<Dict>> {
    match node.need("lookup_table")?.object()? {
        Value::Dict(table) => Ok(table),
        _ => Ok(Arc::default()),
    }
}

fn read_numeric(node: &Node<'_>) -> Read<SequenceOperation> {
    let function = node.need("function")?.one_of(&[
        ("min", Function::Min),
        ("max", Function::Max),
        ("sum", Function::Sum),
    ])?;
    let neutral = node.field("neutral_value");
    Ok(SequenceOperation::Numeric {
        function,
        neutral: neutral.map_or(Value::None, |field| Value::from_json(field.json)),
    })
}

fn read_mode(node: &Node<'_>) -> Read<Mode> {
    node.need("mode")?.one_of(&[
        ("first", Mode::First),
        ("last", Mode::Last),
        ("most_common", Mode::MostCommon),
        ("least_common", Mode::LeastCommon),
    ])
}

fn elements<'a>(value: &'a Value, scope: &Scope<'_>) -> Result<Cow<'a, [Value]>, QueryError> {
    sequence::elements(value).ok_or_else(|| scope.takes("a sequence", value))
}

fn length(value: &Value, scope: &Scope<'_>) -> Result<usize, QueryError> {
    sequence::len(value).ok_or_else(|| scope.takes("something with a length", value))
}

fn look_up(table: &Dict, key: &Value, scope: &Scope<'_>) -> Result<Value, QueryError> {
    match key {
        Value::Str(name) => table.get(name).cloned(),
        _ => None,
    }
    .ok_or_else(|| scope.input(format!("the lookup table has no key {}", python::repr(key))))
}

fn count(elements: &[Value]) -> Value {
    let mut counts: IndexMap<Arc<str>, i64> = IndexMap::new();
    for element in elements {
        *counts.entry(name_of(element)).or_insert(0) += 1;
    }
    let counted = counts.into_iter().map(|(name, n)| (name, Value::Int(n)));
    Value::dict(counted.collect())
}

fn name_of(element: &Value) -> Arc<str> {
    let text: Arc<str> = match element {
        Value::Str(text) => text.clone(),
        other => python::to_str(other).into(),
    };
    match text.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{} [...]", &text[..end]).into(),
        None => text,
    }
}

fn apply_each(chain: &Chain, elements: &[Value], scope: &Scope<'_>) -> Result<Value, QueryError> {
    let mut results = Vec::with_capacity(elements.len());
    let mut room = LARGEST;
    for element in elements {
        let result = chain.apply(element.clone(), &scope.params, scope.cx)?;
        room = room.saturating_sub(sequence::extent(&result, room));
        if room == 0 {
            return Err(scope.failed(too_large()));
        }
        results.push(result);
    }
    Ok(Value::list(results))
}

/// What to say of a value beyond [`LARGEST`].
pub(super) fn too_large() -> String {
    format!("the result would have more than {LARGEST} elements and characters in all: take fewer")
}

fn join(elements: &[Value], separator: &str, scope: &Scope<'_>) -> Result<Value, QueryError> {
    let mut joined = String::new();
    let mut length = 0;
    for (i, element) in elements.iter().enumerate() {
        let start = joined.len();
        if i > 0 {
            joined.push_str(separator);
        }
        match element {
            Value::Str(text) => joined.push_str(text),
            other => joined.push_str(&python::to_str(other)),
        }
        length += joined[start..].chars().count();
        if length > LONGEST_JOIN {
            return Err(scope.failed(format!(
                "the joined text is longer than {LONGEST_JOIN} characters"
            )));
        }
    }
    Ok(joined.into())
}

fn aggregate(
    function: Function,
    elements: &[Value],
    scope: &Scope<'_>,
) -> Result<Value, QueryError> {
    use std::cmp::Ordering::{Greater, Less};
    let wanted = match function {
        Function::Sum => {
            return elements
                .iter()
                .try_fold(Value::Int(0), |sum, element| add(&sum, element))
                .ok_or_else(|| scope.input("cannot add elements that are not numbers"));
        }
        Function::Min => Less,
        Function::Max => Greater,
    };
    let mut best = &elements[0];
    for element in &elements[1..] {
        let order = python::compare(element, best).ok_or_else(|| {
            scope.input(format!(
                "cannot order a {} and a {}",
                element.type_name(),
                best.type_name()
            ))
        })?;
        if order == Some(wanted) {
            best = element;
        }
    }
    Ok(best.clone())
}

fn add(a: &Value, b: &Value) -> Option<Value> {
    if let (Some(a), Some(b)) = (a.as_whole(), b.as_whole())
        && let Some(sum) = a.checked_add(b)
    {
        return Some(Value::whole(sum));
    }
    Some(Value::Float(a.as_f64()? + b.as_f64()?))
}

fn pick(mode: Mode, value: &Value, scope: &Scope<'_>) -> Result<Value, QueryError> {
    let length = length(value, scope)?;
    if length == 0 {
        return Err(scope.input("an empty sequence has no elements"));
    }
    match mode {
        Mode::First => element(value, 0, scope),
        Mode::Last => element(value, length - 1, scope),
        Mode::MostCommon | Mode::LeastCommon => match value {
            Value::Dict(counts) => counted(mode, counts, scope),
            other => common(mode, &elements(other, scope)?, scope),
        },
    }
}

fn element(value: &Value, i: usize, scope: &Scope<'_>) -> Result<Value, QueryError> {
    let found = match value {
        Value::List(items) | Value::Tuple(items) => items.get(i).cloned(),
        Value::Detections(set) => Some(set.take(&[i]).into()),
        Value::Dict(_) => None,
        other => sequence::elements(other).and_then(|items| items.get(i).cloned()),
    };
    found.ok_or_else(|| scope.broke(format!("a {} has no positions", value.type_name())))
}

/// The values of an object count its keys. Ties go as in [`common`].
fn counted(mode: Mode, counts: &Dict, scope: &Scope<'_>) -> Result<Value, QueryError> {
    let mut best: Option<(&Arc<str>, &Value)> = None;
    for (key, count) in counts {
        let better = match best {
            None => true,
            Some((_, most)) => {
                let order = python::compare(count, most).ok_or_else(|| {
                    scope.input("the counts of the object cannot be put in order")
                })?;
                match mode {
                    Mode::MostCommon => order == Some(Ordering::Greater),
                    _ => order != Some(Ordering::Greater),
                }
            }
        };
        if better {
            best = Some((key, count));
        }
    }
    Ok(best.map_or(Value::None, |(key, _)| key.clone().into()))
}

/// Counts equal elements. Ties go to the element seen first for the most common, to the one seen
/// last for the least common.
fn common(mode: Mode, elements: &[Value], scope: &Scope<'_>) -> Result<Value, QueryError> {
    let mut places: HashMap<Key, usize> = HashMap::new();
    let mut counts: Vec<(&Value, usize)> = Vec::new();
    for element in elements {
        let key = Key::of(element).ok_or_else(|| {
            scope.input(format!(
                "cannot count elements of type {}",
                element.type_name()
            ))
        })?;
        let place = *places.entry(key).or_insert_with(|| {
            counts.push((element, 0));
            counts.len() - 1
        });
        counts[place].1 += 1;
    }
    let better = |new: usize, best: usize| match mode {
        Mode::MostCommon => new > best,
        _ => new <= best,
    };
    let chosen = counts
        .iter()
        .reduce(|best, new| if better(new.1, best.1) { new } else { best });
    Ok(chosen.map_or(Value::None, |(element, _)| (*element).clone()))
}

#[cfg(test)]
mod tests {
    use crate::blocks::query::trial::{apply, boxes, ids, text};
    use serde_json::{Value as Json, json};

    fn check(cases: &[(Json, Json, &str)]) {
        for (operation, input, result) in cases {
            assert_eq!(
                text(json!([operation]), input.clone()),
                *result,
                "{operation} of {input}"
            );
        }
    }

    #[test]
    fn lookups_know_text_keys_only() {
        let table = json!({"a": 1, "b": null, "1": "one"});
        let look_up = json!({"type": "LookupTable", "lookup_table": table});
        let map = json!({"type": "SequenceMap", "lookup_table": table});
        check(&[
            (look_up.clone(), json!("a"), "1"),
            (look_up.clone(), json!("b"), "None"),
            (look_up.clone(), json!("1"), "'one'"),
            (look_up.clone(), json!(1), "!InvalidInputTypeError"),
            (look_up, json!(["a"]), "!InvalidInputTypeError"),
            (map.clone(), json!(["b", "a"]), "[None, 1]"),
            (map.clone(), json!("ab"), "[1, None]"),
            (map.clone(), json!(["a", "z"]), "!InvalidInputTypeError"),
            (map, json!(5), "!InvalidInputTypeError"),
        ]);
    }

    #[test]
    fn small_chains_make_no_giants() {
        let times = json!({"type": "Multiply", "other": 1_000_000});
        let apply = |operation: &Json| json!({"type": "SequenceApply", "operations": [operation]});
        let chain = json!([times, apply(&times), {"type": "SequenceLength"}]);
        assert_eq!(text(chain, json!("a")), "!OperationError");
        // The elements are one text of a million letters, a thousand times.
        let long = json!("a".repeat(1_000_000));
        let thousand = json!({"type": "Multiply", "other": 1_000});
        let written = json!([thousand, {"type": "ToString"}]);
        assert_eq!(text(written, json!([long])), "!OperationError");
    }

    #[test]
    fn sequences_are_counted_joined_and_mapped() {
        let apply = |operations: Json| json!({"type": "SequenceApply", "operations": operations});
        let long = "x".repeat(200);
        let counted = format!("{{'{} [...]': 1}}", "x".repeat(128));
        check(&[
            (json!({"type": "SequenceLength"}), json!("año"), "3"),
            (json!({"type": "SequenceLength"}), json!({"a": 1}), "1"),
            (
                json!({"type": "SequenceLength"}),
                json!(5),
                "!InvalidInputTypeError",
            ),
            (
                json!({"type": "SequenceElementsCount"}),
                json!(["a", "b", "a", 1, 1.0, null]),
                "{'a': 2, 'b': 1, '1': 1, '1.0': 1, 'None': 1}",
            ),
            (
                json!({"type": "SequenceElementsCount"}),
                json!([long]),
                &counted,
            ),
            (
                json!({"type": "SequenceElementsCount"}),
                json!(1),
                "!InvalidInputTypeError",
            ),
            (
                json!({"type": "SequenceJoin"}),
                json!(["a", 1, null]),
                "'a, 1, None'",
            ),
            (
                json!({"type": "SequenceJoin", "separator": "-"}),
                json!("abc"),
                "'a-b-c'",
            ),
            (
                json!({"type": "SequenceJoin"}),
                json!({"k": 1, "l": 2}),
                "'k, l'",
            ),
            (
                json!({"type": "SequenceJoin"}),
                json!(5),
                "!InvalidInputTypeError",
            ),
            (
                apply(json!([{"type": "ToString"}])),
                json!([5, true]),
                "['5', 'True']",
            ),
            (apply(json!([])), json!("ab"), "['a', 'b']"),
            (
                apply(json!([{"type": "StringToUpperCase"}])),
                json!([1]),
                "!InvalidInputTypeError",
            ),
            (apply(json!([])), json!(5), "!InvalidInputTypeError"),
        ]);
        let huge = json!([
            {"type": "Multiply", "other": 600_000},
            {"type": "SequenceJoin", "separator": "é"},
        ]);
        assert_eq!(text(huge, json!("é")), "!OperationError");
    }

    #[test]
    fn aggregates_of_numbers() {
        let of = |function: &str| json!({"type": "NumericSequenceAggregate", "function": function});
        check(&[
            (of("min"), json!([1, 2.5, -3]), "-3"),
            (of("max"), json!(["b", "c", "a"]), "'c'"),
            (of("max"), json!([1, 1.0]), "1"),
            (of("sum"), json!([0.1, 0.2, 0.3]), "0.6000000000000001"),
            (of("sum"), json!([true, 2]), "3"),
            (of("sum"), json!([1, 1.0]), "2.0"),
            (of("sum"), json!([]), "None"),
            (of("sum"), json!(["a"]), "!InvalidInputTypeError"),
            (of("min"), json!([1, "a"]), "!InvalidInputTypeError"),
            (of("min"), json!(5), "!InvalidInputTypeError"),
            (
                json!({"type": "NumericSequenceAggregate", "function": "max", "neutral_value": "none"}),
                json!([]),
                "'none'",
            ),
        ]);
    }

    #[test]
    fn elements_are_picked_by_place_and_by_number() {
        let of = |mode: &str| json!({"type": "SequenceAggregate", "mode": mode});
        check(&[
            (of("first"), json!([3, 1, 2]), "3"),
            (of("last"), json!("abc"), "'c'"),
            (of("most_common"), json!(["b", "a", "a", "b", "c"]), "'b'"),
            (of("least_common"), json!([3, 1, 2]), "2"),
            (of("least_common"), json!([1, 2, 2, true]), "2"),
            (of("most_common"), json!([5, 1, true, 1.0]), "1"),
            (of("most_common"), json!([[1]]), "!InvalidInputTypeError"),
            (of("first"), json!([]), "!InvalidInputTypeError"),
            (of("first"), json!(5), "!InvalidInputTypeError"),
            (of("first"), json!({"a": 1}), "!StepExecutionError"),
            (of("most_common"), json!({"a": 1}), "'a'"),
            (of("most_common"), json!({"a": 1, "b": 3, "c": 3}), "'b'"),
            (of("least_common"), json!({"a": 1, "b": 3, "c": 1}), "'c'"),
            (
                of("most_common"),
                json!({"a": 1, "b": "x"}),
                "!InvalidInputTypeError",
            ),
        ]);
        let last = apply(json!([of("last")]), boxes().into()).unwrap();
        assert_eq!(ids(&last), "d2");
    }
}
