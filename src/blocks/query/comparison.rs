//! Comparators of two operands and tests of one.

use std::cmp::Ordering;

use super::node::{Node, Read};
use super::zone;
use crate::values::{Value, python, sequence};

/// Compares a left and a right operand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Comparator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Lower,
    LowerOrEqual,
    InRange,
    StartsWith,
    EndsWith,
    Contains,
    In,
    AnyIn,
    AllIn,
    InZone,
}

impl Comparator {
    pub(super) fn read(node: &Node<'_>) -> Read<Self> {
        node.need("type")?.one_of(&[
            ("==", Self::Equal),
            ("(Number) ==", Self::Equal),
            ("!=", Self::NotEqual),
            ("(Number) !=", Self::NotEqual),
            ("(Number) >", Self::Greater),
            ("(Number) >=", Self::GreaterOrEqual),
            ("(Number) <", Self::Lower),
            ("(Number) <=", Self::LowerOrEqual),
            ("(Number) in range", Self::InRange),
            ("(String) startsWith", Self::StartsWith),
            ("(String) endsWith", Self::EndsWith),
            ("(String) contains", Self::Contains),
            ("in (Sequence)", Self::In),
            ("any in (Sequence)", Self::AnyIn),
            ("all in (Sequence)", Self::AllIn),
            ("(Detection) in zone", Self::InZone),
        ])
    }

    /// The result, or why the operands cannot be compared.
    pub(super) fn compare(self, left: &Value, right: &Value) -> Result<bool, String> {
        match self {
            Self::Equal => Ok(python::equal(left, right)),
            Self::NotEqual => Ok(!python::equal(left, right)),
            Self::Greater => Ok(order(left, right)? == Some(Ordering::Greater)),
            Self::GreaterOrEqual => at_most(right, left),
            Self::Lower => Ok(order(left, right)? == Some(Ordering::Less)),
            Self::LowerOrEqual => at_most(left, right),
            Self::InRange => {
                let not_a_list = || format!("a range must be a list, got {}", right.type_name());
                let ends = right.as_slice().ok_or_else(not_a_list)?;
                let end = |i: usize| {
                    let missing = || "a range needs a lower and an upper end".to_owned();
                    ends.get(i).ok_or_else(missing)
                };
                // The upper end is not looked at below the lower one.
                Ok(at_most(end(0)?, left)? && at_most(left, end(1)?)?)
            }
            Self::StartsWith => affix(left, right, |text, part| text.starts_with(part)),
            Self::EndsWith => affix(left, right, |text, part| text.ends_with(part)),
            Self::Contains => sequence::contains(left, right),
            Self::In => sequence::contains(right, left),
            Self::AnyIn => any(left, right, true),
            Self::AllIn => any(left, right, false).map(|found| !found),
            Self::InZone => zone::strictly_inside(left, right),
        }
    }
}

fn order(left: &Value, right: &Value) -> Result<Option<Ordering>, String> {
    python::compare(left, right).ok_or_else(|| {
        format!(
            "a {} and a {} have no order",
            left.type_name(),
            right.type_name()
        )
    })
}

fn at_most(left: &Value, right: &Value) -> Result<bool, String> {
    let order = order(left, right)?;
    Ok(matches!(order, Some(Ordering::Less | Ordering::Equal)))
}

fn affix(left: &Value, right: &Value, test: fn(&str, &str) -> bool) -> Result<bool, String> {
    match (left, right) {
        (Value::Str(text), Value::Str(part)) => Ok(test(text, part)),
        _ => Err(format!(
            "both sides must be text, got {} and {}",
            left.type_name(),
            right.type_name()
        )),
    }
}

/// Whether the membership of any element of `left` in `right` is `wanted`.
fn any(left: &Value, right: &Value, wanted: bool) -> Result<bool, String> {
    let elements = sequence::elements(left)
        .ok_or_else(|| format!("a value of type {} has no elements", left.type_name()))?;
    for element in elements.iter() {
        if sequence::contains(right, element)? == wanted {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tests a single operand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test {
    Exists,
    Missing,
    True,
    False,
    Empty,
    NotEmpty,
}

impl Test {
    pub(super) fn read(node: &Node<'_>) -> Read<Self> {
        node.need("type")?.one_of(&[
            ("Exists", Self::Exists),
            ("DoesNotExist", Self::Missing),
            ("(Boolean) is True", Self::True),
            ("(Boolean) is False", Self::False),
            ("(Sequence) is empty", Self::Empty),
            ("(Sequence) is not empty", Self::NotEmpty),
        ])
    }

    /// The result, or why the operand cannot be tested.
    pub(super) fn holds(self, value: &Value) -> Result<bool, String> {
        let length = || {
            sequence::len(value)
                .ok_or_else(|| format!("a value of type {} has no length", value.type_name()))
        };
        Ok(match self {
            Self::Exists => !value.is_none(),
            Self::Missing => value.is_none(),
            Self::True => matches!(value, Value::Bool(true)),
            Self::False => matches!(value, Value::Bool(false)),
            Self::Empty => length()? == 0,
            Self::NotEmpty => length()? != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::query::node::read_whole;
    use serde_json::{Value as Json, json};

    fn compare(name: &str, left: &Json, right: &Json) -> Option<bool> {
        let tag = json!({"type": name});
        let comparator = read_whole(&tag, Comparator::read).unwrap();
        comparator
            .compare(&Value::from_json(left), &Value::from_json(right))
            .ok()
    }

    #[test]
    fn comparators_follow_python() {
        let (yes, no, error) = (Some(true), Some(false), None);
        for (name, left, right, result) in [
            ("==", json!(1), json!(true), yes),
            ("(Number) ==", json!("1"), json!(1), no),
            (
                "==",
                json!({"k": 1, "j": [2]}),
                json!({"j": [2.0], "k": 1}),
                yes,
            ),
            ("!=", json!([]), json!({}), yes),
            ("(Number) >", json!("b"), json!("a"), yes),
            ("(Number) >=", json!(1), json!(1.0), yes),
            ("(Number) <", json!([1, 2]), json!([1, 3]), yes),
            ("(Number) <=", json!(true), json!(0), no),
            ("(Number) <", json!(null), json!(0), error),
            ("(Number) <", json!("a"), json!(0), error),
            ("(Number) in range", json!(10.0), json!([1, 10]), yes),
            ("(Number) in range", json!(5), json!([10, 1]), no),
            ("(Number) in range", json!(0.5), json!([0, 1, 7]), yes),
            ("(Number) in range", json!(5), json!([5]), error),
            ("(Number) in range", json!(4), json!([5]), no),
            ("(Number) in range", json!(4), json!([]), error),
            ("(Number) in range", json!(5), json!(5), error),
            ("(String) startsWith", json!("abc"), json!("ab"), yes),
            ("(String) endsWith", json!("abc"), json!(""), yes),
            ("(String) startsWith", json!(5), json!("5"), error),
            ("(String) contains", json!("abc"), json!("bc"), yes),
            ("(String) contains", json!([1, 2]), json!(2), yes),
            ("(String) contains", json!("abc"), json!(1), error),
            ("in (Sequence)", json!("k"), json!({"k": 1}), yes),
            ("in (Sequence)", json!("ell"), json!("hello"), yes),
            ("in (Sequence)", json!([1]), json!([[1], 2]), yes),
            ("in (Sequence)", json!(5), json!(5), error),
            ("any in (Sequence)", json!([1, 4]), json!([1, 2]), yes),
            ("any in (Sequence)", json!([]), json!([1]), no),
            ("any in (Sequence)", json!("ax"), json!(["a"]), yes),
            ("all in (Sequence)", json!([1, 4]), json!([1, 2]), no),
            ("all in (Sequence)", json!([]), json!([]), yes),
            ("all in (Sequence)", json!(1), json!([1]), error),
            (
                "(Detection) in zone",
                json!([1, 1]),
                json!([[0, 0], [3, 0], [0, 3]]),
                yes,
            ),
            (
                "(Detection) in zone",
                json!([0, 1]),
                json!([[0, 0], [3, 0], [0, 3]]),
                no,
            ),
        ] {
            assert_eq!(
                compare(name, &left, &right),
                result,
                "{left} {name} {right}"
            );
        }
        assert_eq!(
            Comparator::Lower.compare(&Value::Float(f64::NAN), &Value::Int(1)),
            Ok(false)
        );
    }

    #[test]
    fn tests_tell_absence_truth_and_emptiness_apart() {
        let results = |json: Json| {
            let value = Value::from_json(&json);
            let tests = [Test::Exists, Test::True, Test::False, Test::Empty];
            tests.map(|test| test.holds(&value).ok())
        };
        let (yes, no, error) = (Some(true), Some(false), None);
        for (json, expected) in [
            (json!(null), [no, no, no, error]),
            (json!(true), [yes, yes, no, error]),
            (json!(false), [yes, no, yes, error]),
            (json!(1), [yes, no, no, error]),
            (json!(""), [yes, no, no, yes]),
            (json!([0]), [yes, no, no, no]),
        ] {
            assert_eq!(results(json.clone()), expected, "{json}");
        }
    }
}
