//! Operations on numbers, and those that make one or a boolean.

use super::node::{Node, Read};
use super::{QueryError, Scope};
use crate::definition::coerce::parse_float;
use crate::values::{Array, Value, python, sequence};

/// An operation on a number, or one that makes a number or a boolean.
#[derive(Debug)]
pub(super) enum NumberOperation {
    /// `ToNumber` with `cast_to: int`
    ToInt,
    /// `ToNumber` with `cast_to: float`
    ToFloat,
    /// `NumberRound`
    Round { digits: i64 },
    /// `Multiply`; the factor is an [`Value::Int`] or a [`Value::Float`].
    Multiply(Value),
    /// `Divide`
    Divide(f64),
    /// `ToBoolean`
    ToBoolean,
    /// `RandomNumber`
    Random { min: f64, max: f64 },
}

/// Elements or characters that a repetition may have.
const LONGEST_REPETITION: usize = 1_000_000;

/// Whole numbers from 2^127 on stay floats.
const EXACT: f64 = 1.7e38;

impl NumberOperation {
    pub(super) fn read(name: &str, node: &Node<'_>) -> Option<Read<Self>> {
        Some(match name {
            "ToNumber" => read_cast(node),
            "NumberRound" => node.need("decimal_digits").and_then(|digits| {
                Ok(Self::Round {
                    digits: digits.int()?,
                })
            }),
            "Multiply" => node
                .need("other")
                .and_then(|other| Ok(Self::Multiply(other.number()?))),
            "Divide" => node
                .need("other")
                .and_then(|other| Ok(Self::Divide(other.float()?))),
            "ToBoolean" => Ok(Self::ToBoolean),
            "RandomNumber" => read_random(node),
            _ => return None,
        })
    }

    pub(super) fn apply(&self, value: Value, scope: &Scope<'_>) -> Result<Value, QueryError> {
        match self {
            Self::ToFloat => to_float(&value, scope).map(Value::Float),
            Self::ToInt => to_int(to_float(&value, scope)?, scope),
            Self::Round { digits } => match (value.as_whole(), &value) {
                (Some(whole), _) => Ok(round_int(whole, *digits)),
                (None, Value::Float(f)) => Ok(Value::Float(round_float(*f, *digits))),
                (None, other) => Err(scope.takes("a number", other)),
            },
            Self::Multiply(factor) => multiply(value, factor, scope),
            Self::Divide(divisor) => divide(&value, *divisor, scope),
            Self::ToBoolean => {
                match &value {
                    Value::Array(array) if array.data.len() > 1 => Err(scope
                        .input("the truth of an array with more than one element is not defined")),
                    Value::Array(array) => Ok(array.data.iter().any(|&x| x != 0.0).into()),
                    other => Ok(python::truthy(other).into()),
                }
            }
            Self::Random { min, max } if min == max => Ok(Value::Float(*min)),
            Self::Random { min, max } => Ok(Value::Float(min + random() * (max - min).abs())),
        }
    }
}

fn read_cast(node: &Node<'_>) -> Read<NumberOperation> {
    let int = node
        .need("cast_to")?
        .one_of(&[("int", true), ("float", false)])?;
    Ok(match int {
        true => NumberOperation::ToInt,
        false => NumberOperation::ToFloat,
    })
}

fn read_random(node: &Node<'_>) -> Read<NumberOperation> {
    let min = node.or("min_value", 0.0, |field| field.float());
    let max = node.or("max_value", 1.0, |field| field.float());
    Ok(NumberOperation::Random {
        min: min?,
        max: max?,
    })
}

/// A number from 0 (included) to 1 (excluded) with 53 random bits.
fn random() -> f64 {
    (uuid::Uuid::new_v4().as_u128() & ((1 << 53) - 1)) as f64 / (1_u64 << 53) as f64
}

fn to_float(value: &Value, scope: &Scope<'_>) -> Result<f64, QueryError> {
    let parsed = match value {
        Value::Str(text) => parse_float(text),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok().and_then(parse_float),
        Value::Array(array) if array.data.len() == 1 => Some(array.data[0]),
        other => other.as_f64(),
    };
    parsed.ok_or_else(|| match value {
        Value::Str(text) => scope.input(format!("`{text}` is not a number")),
        other => scope.takes("a number or numeric text", other),
    })
}

fn to_int(number: f64, scope: &Scope<'_>) -> Result<Value, QueryError> {
    if number.is_nan() {
        return Err(scope.input("not-a-number has no whole part"));
    }
    if number.is_infinite() {
        return Err(scope.broke("infinity has no whole part"));
    }
    Ok(whole_part(number))
}

fn whole_part(number: f64) -> Value {
    match number.abs() < EXACT {
        true => Value::whole(number as i128),
        false => Value::Float(number.trunc()),
    }
}

/// Python's `round(int, digits)`: ties to the even neighbour.
fn round_int(number: i128, digits: i64) -> Value {
    if digits >= 0 {
        return Value::whole(number);
    }
    if digits < -37 {
        return whole_part(round_float(number as f64, digits));
    }
    let unit = 10_i128.pow(digits.unsigned_abs() as u32);
    let floor = number.div_euclid(unit);
    let up = match (number.rem_euclid(unit) * 2).cmp(&unit) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => floor & 1,
        std::cmp::Ordering::Greater => 1,
    };
    Value::whole((floor + up) * unit)
}

/// Python's `round(float, digits)`: correct rounding of the exact binary value, ties to even.
fn round_float(number: f64, digits: i64) -> f64 {
    match digits {
        _ if !number.is_finite() || digits > 323 => number,
        ..-308 => 0.0 * number,
        0.. => format!("{number:.*}", digits as usize)
            .parse()
            .unwrap_or(number),
        _ => round_tens(number.abs(), digits.unsigned_abs() as usize).copysign(number),
    }
}

/// Rounds a number that is not negative to a multiple of `10^places`.
fn round_tens(number: f64, places: usize) -> f64 {
    let text = format!("{:0>width$.0}", number.trunc(), width = places + 1);
    let (head, tail) = text.split_at(text.len() - places);
    let half = format!("{:0<places$}", 5);
    let odd = head.bytes().last().is_some_and(|b| (b - b'0') % 2 == 1);
    let up = match tail.cmp(half.as_str()) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => odd || number.fract() > 0.0,
        std::cmp::Ordering::Greater => true,
    };
    let head = if up { next(head) } else { head.to_owned() };
    format!("{head}e{places}").parse().unwrap_or(number)
}

/// The decimal number after `digits`.
fn next(digits: &str) -> String {
    let kept = digits.trim_end_matches('9');
    let zeros = "0".repeat(digits.len() - kept.len());
    match kept.as_bytes().split_last() {
        None => format!("1{zeros}"),
        Some((last, _)) => {
            let head = &kept[..kept.len() - 1];
            format!("{head}{}{zeros}", char::from(last + 1))
        }
    }
}

fn multiply(value: Value, factor: &Value, scope: &Scope<'_>) -> Result<Value, QueryError> {
    let by = factor.as_f64().unwrap_or(f64::NAN);
    if let (Some(a), Some(b)) = (value.as_whole(), factor.as_whole())
        && let Some(product) = a.checked_mul(b)
    {
        return Ok(Value::whole(product));
    }
    match (&value, factor) {
        (Value::Int(_) | Value::BigInt(_) | Value::Bool(_) | Value::Float(_), _) => {
            Ok(Value::Float(value.as_f64().unwrap_or(f64::NAN) * by))
        }
        (Value::Array(array), _) => {
            let scaled = Array {
                shape: array.shape.clone(),
                data: array.data.iter().map(|x| x * by).collect(),
                integer: array.integer && matches!(factor, Value::Int(_)),
            };
            Ok(Value::Array(scaled.into()))
        }
        (_, Value::Int(times)) => repeat(&value, usize::try_from(*times).unwrap_or(0), scope),
        _ => Err(scope.takes("a number for a factor with a fraction", &value)),
    }
}

fn repeat(value: &Value, times: usize, scope: &Scope<'_>) -> Result<Value, QueryError> {
    let length = sequence::len(value).unwrap_or(0).saturating_mul(times);
    if length > LONGEST_REPETITION {
        return Err(scope.failed(format!(
            "the result would have {length} elements, more than {LONGEST_REPETITION}"
        )));
    }
    let repeated = |items: &[Value]| {
        std::iter::repeat_n(items, times)
            .collect::<Vec<_>>()
            .concat()
    };
    match value {
        Value::Str(text) => Ok(text.repeat(times).into()),
        Value::Bytes(bytes) => Ok(Value::Bytes(bytes.repeat(times).into())),
        Value::List(items) => Ok(Value::list(repeated(items))),
        Value::Tuple(items) => Ok(Value::tuple(repeated(items))),
        other => Err(scope.takes("a number or a sequence to repeat", other)),
    }
}

fn divide(value: &Value, divisor: f64, scope: &Scope<'_>) -> Result<Value, QueryError> {
    match value {
        Value::Array(array) => {
            let data = array.data.iter().map(|x| x / divisor).collect();
            let quotients = Array::floats(array.shape.clone(), data);
            Ok(Value::Array(quotients.into()))
        }
        other => match other.as_f64() {
            Some(_) if divisor == 0.0 => Err(scope.input("cannot divide by zero")),
            Some(number) => Ok(Value::Float(number / divisor)),
            None => Err(scope.takes("a number", other)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::query::trial::{apply, text};
    use serde_json::json;

    #[test]
    fn numbers_are_cast_as_in_python() {
        for (cast, input, result) in [
            ("int", json!("-3.7"), "-3"),
            ("int", json!("1e3"), "1000"),
            ("int", json!("1_000"), "1000"),
            ("float", json!("1__0"), "!InvalidInputTypeError"),
            ("float", json!(" +1_0.5_0e0_1 "), "105.0"),
            ("float", json!("Infinity"), "inf"),
            ("float", json!("0x10"), "!InvalidInputTypeError"),
            ("float", json!("1_e5"), "!InvalidInputTypeError"),
            ("float", json!(" 7 "), "7.0"),
            ("float", json!(true), "1.0"),
            ("int", json!(1152921504606846977_i64), "1152921504606846976"),
            ("int", json!(1e20), "100000000000000000000"),
            ("int", json!(1e39), "1e+39"),
            ("float", json!("-inf"), "-inf"),
            ("float", json!("NaN"), "nan"),
            ("int", json!("nan"), "!InvalidInputTypeError"),
            ("int", json!("inf"), "!StepExecutionError"),
            ("float", json!("abc"), "!InvalidInputTypeError"),
            ("float", json!(""), "!InvalidInputTypeError"),
            ("float", json!(null), "!InvalidInputTypeError"),
            ("float", json!([1]), "!InvalidInputTypeError"),
        ] {
            let chain = json!([{"type": "ToNumber", "cast_to": cast}]);
            assert_eq!(text(chain, input.clone()), result, "{cast} of {input}");
        }
    }

    #[test]
    fn rounding_goes_to_the_even_neighbour() {
        for (digits, input, result) in [
            (0, json!(2.5), "2.0"),
            (0, json!(3.5), "4.0"),
            (0, json!(-0.4), "-0.0"),
            (2, json!(2.675), "2.67"),
            (2, json!(0.125), "0.12"),
            (2, json!(1250), "1250"),
            (-2, json!(1250), "1200"),
            (-2, json!(1350), "1400"),
            (-1, json!(-25), "-20"),
            (-1, json!(25.0), "20.0"),
            (-1, json!(25.5), "30.0"),
            (-1, json!(-3.0), "-0.0"),
            (-1, json!(9_996.0), "10000.0"),
            (-1, json!(5.0), "0.0"),
            (-1, json!(15.0), "20.0"),
            (-3, json!(1.5), "0.0"),
            (-22, json!(1.5e23), "1.5e+23"),
            (-400, json!(1e300), "0.0"),
            (400, json!(0.1), "0.1"),
            (-30, json!(7), "0"),
            (-40, json!(7), "0"),
            (
                -18,
                json!(9_500_000_000_000_000_000_u64),
                "10000000000000000000",
            ),
            (1, json!(true), "1"),
            (0, json!("nan"), "!InvalidInputTypeError"),
            (1, json!("1.23"), "!InvalidInputTypeError"),
        ] {
            let chain = json!([{"type": "NumberRound", "decimal_digits": digits}]);
            assert_eq!(text(chain, input.clone()), result, "{input} to {digits}");
        }
    }

    #[test]
    fn products_and_quotients() {
        for (operation, other, input, result) in [
            ("Multiply", json!(3), json!(-3), "-9"),
            ("Multiply", json!(-2.5), json!(3), "-7.5"),
            ("Multiply", json!(2), json!(true), "2"),
            ("Multiply", json!("2"), json!(3), "6"),
            ("Multiply", json!("2.5"), json!(3), "7.5"),
            ("Multiply", json!(true), json!("ab"), "'ab'"),
            ("Multiply", json!("2"), json!("ab"), "'abab'"),
            (
                "Multiply",
                json!("2.5"),
                json!("ab"),
                "!InvalidInputTypeError",
            ),
            ("Divide", json!(" 1_0 "), json!(5), "0.5"),
            (
                "Multiply",
                json!(100),
                json!(i64::MAX),
                "922337203685477580700",
            ),
            ("Multiply", json!(2), json!("ab"), "'abab'"),
            ("Multiply", json!(2), json!([1]), "[1, 1]"),
            ("Multiply", json!(-1), json!([1]), "[]"),
            ("Multiply", json!(1_000_001), json!("a"), "!OperationError"),
            ("Multiply", json!(1.5), json!("a"), "!InvalidInputTypeError"),
            ("Multiply", json!(2), json!(null), "!InvalidInputTypeError"),
            ("Multiply", json!(2), json!({}), "!InvalidInputTypeError"),
            ("Divide", json!(2), json!(6), "3.0"),
            ("Divide", json!(2), json!("a"), "!InvalidInputTypeError"),
            ("Divide", json!(0), json!(1), "!InvalidInputTypeError"),
        ] {
            let chain = json!([{"type": operation, "other": other}]);
            assert_eq!(
                text(chain, input.clone()),
                result,
                "{operation} {input} {other}"
            );
        }
    }

    #[test]
    fn truth_is_that_of_python() {
        let truth = json!([{"type": "ToBoolean"}]);
        for input in [
            json!(0),
            json!(-0.0),
            json!(""),
            json!(null),
            json!([]),
            json!({}),
        ] {
            assert_eq!(text(truth.clone(), input.clone()), "False", "{input}");
        }
        for input in [json!(1), json!("false"), json!([0]), json!({"a": 0})] {
            assert_eq!(text(truth.clone(), input.clone()), "True", "{input}");
        }
        let array = Value::Array(Array::floats(vec![2], vec![0.0, 1.0]).into());
        assert!(apply(truth, array).is_err());
    }

    #[test]
    fn random_numbers_stay_in_their_range() {
        let fixed = json!([{"type": "RandomNumber", "min_value": 3, "max_value": 3}]);
        assert_eq!(text(fixed, json!("x")), "3.0");
        let crossed = json!([{"type": "RandomNumber", "min_value": 5.0, "max_value": 3.0}]);
        let drawn: Vec<f64> = (0..200)
            .map(|_| {
                apply(crossed.clone(), Value::None)
                    .unwrap()
                    .as_f64()
                    .unwrap()
            })
            .collect();
        assert!(drawn.iter().all(|x| (5.0..7.0).contains(x)));
        assert!(drawn.iter().any(|x| *x > 6.0) && drawn.iter().any(|x| *x < 6.0));
    }
}
