//! Python's `format(value, spec)`: the small language behind `{name:spec}`.
//!
//! A spec is `[[fill]align][sign][z][#][0][width][grouping][.precision][type]`. Which parts a value
//! allows depends on its type, as in Python; a point in time takes `strftime` codes instead.

use chrono::format::{Item, StrftimeItems};

use super::{Timestamp, Value, python};

/// The value as text, laid out by `spec`, or why Python refuses.
pub fn format(value: &Value, spec: &str) -> Result<String, String> {
    if spec.is_empty() {
        return Ok(python::to_str(value));
    }
    match value {
        Value::Str(text) => text_in(text, &Spec::parse(spec, "str")?),
        Value::Bool(_) | Value::Int(_) | Value::BigInt(_) => {
            let kind = if matches!(value, Value::Bool(_)) {
                "bool"
            } else {
                "int"
            };
            let spec = Spec::parse(spec, kind)?;
            match value.as_whole() {
                Some(i) if !matches!(spec.code, Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%')) => {
                    whole_in(i, &spec, kind)
                }
                _ => float_in(value.as_f64().unwrap_or(f64::NAN), &spec),
            }
        }
        Value::Float(f) => float_in(*f, &Spec::parse(spec, "float")?),
        Value::Timestamp(time) => Ok(strftime(time, spec)),
        other => Err(format!(
            "unsupported format string passed to {}.__format__",
            other.type_name()
        )),
    }
}

/// A parsed spec.
#[derive(Debug, Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    no_negative_zero: bool,
    alternate: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    code: Option<char>,
}

impl Spec {
    fn parse(text: &str, kind: &str) -> Result<Self, String> {
        let invalid = || {
            Err(format!(
                "Invalid format specifier '{text}' for object of type '{kind}'"
            ))
        };
        let chars: Vec<char> = text.chars().collect();
        let mut spec = Self::default();
        let mut at = 0;
        let is_align = |c: Option<&char>| matches!(c, Some('<' | '>' | '=' | '^'));
        if is_align(chars.get(1)) {
            (spec.fill, spec.align) = (Some(chars[0]), Some(chars[1]));
            at = 2;
        } else if is_align(chars.first()) {
            spec.align = Some(chars[0]);
            at = 1;
        }
        let take = |at: &mut usize, wanted: &[char]| {
            let found = chars.get(*at).copied().filter(|c| wanted.contains(c));
            *at += usize::from(found.is_some());
            found
        };
        spec.sign = take(&mut at, &['+', '-', ' ']);
        spec.no_negative_zero = take(&mut at, &['z']).is_some();
        spec.alternate = take(&mut at, &['#']).is_some();
        if spec.fill.is_none() && take(&mut at, &['0']).is_some() {
            spec.fill = Some('0');
            if spec.align.is_none() && kind != "str" {
                spec.align = Some('=');
            }
        }
        spec.width = number(&chars, &mut at)?.unwrap_or(0);
        spec.grouping = take(&mut at, &[',', '_']);
        if take(&mut at, &['.']).is_some() {
            spec.precision = number(&chars, &mut at)?;
            if spec.precision.is_none() {
                return Err("Format specifier missing precision".into());
            }
        }
        spec.code = chars.get(at).copied();
        if chars.len() > at + 1 {
            return invalid();
        }
        Ok(spec)
    }

    /// `sign` and `prefix`, then `digits` grouped by `every`, then `rest`, in the width of the spec.
    fn number(
        &self,
        negative: bool,
        prefix: &str,
        digits: &str,
        every: usize,
        rest: &str,
    ) -> String {
        let sign = match (negative, self.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(' ')) => " ",
            _ => "",
        };
        let align = self.align.unwrap_or('>');
        let around = sign.len() + prefix.len() + rest.chars().count();
        let zeros = align == '=' && self.fill == Some('0') && self.grouping.is_some();
        let least = if zeros {
            self.width.saturating_sub(around)
        } else {
            0
        };
        let digits = match self.grouping {
            Some(separator) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
                grouped(digits, separator, every, least)
            }
            _ => digits.to_owned(),
        };
        if align == '=' {
            let missing = self.width.saturating_sub(around + digits.len());
            let fill = String::from_iter(vec![self.fill.unwrap_or(' '); missing]);
            return format!("{sign}{prefix}{fill}{digits}{rest}");
        }
        self.padded(&format!("{sign}{prefix}{digits}{rest}"), align)
    }

    fn padded(&self, text: &str, align: char) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        let before = match align {
            '>' => missing,
            '^' => missing / 2,
            _ => 0,
        };
        let fill = |n: usize| String::from_iter(vec![self.fill.unwrap_or(' '); n]);
        format!("{}{text}{}", fill(before), fill(missing - before))
    }
}

fn number(chars: &[char], at: &mut usize) -> Result<Option<usize>, String> {
    let digits: String = chars[*at..]
        .iter()
        .take_while(|c| c.is_ascii_digit())
        .collect();
    *at += digits.len();
    match digits.as_str() {
        "" => Ok(None),
        // Larger numbers of digits than this serve nobody, and memory is not for the taking.
        text => match text.parse() {
            Ok(n) if n <= 60_000 => Ok(Some(n)),
            _ => Err("Too many decimal digits in format string".into()),
        },
    }
}

/// Digits with a separator every so many places, zeros in front up to a length.
fn grouped(digits: &str, separator: char, every: usize, least: usize) -> String {
    let join = |digits: &[u8]| {
        let mut text = String::new();
        for (i, &digit) in digits.iter().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(every) {
                text.push(separator);
            }
            text.push(char::from(digit));
        }
        text
    };
    let mut digits = digits.as_bytes().to_vec();
    while digits.len() + digits.len().saturating_sub(1) / every < least {
        digits.insert(0, b'0');
    }
    join(&digits)
}

fn text_in(text: &str, spec: &Spec) -> Result<String, String> {
    match spec {
        Spec { code: Some(c), .. } if *c != 's' => return Err(unknown(*c, "str")),
        Spec {
            sign: Some(' '), ..
        } => {
            return Err("Space not allowed in string format specifier".into());
        }
        Spec { sign: Some(_), .. } => {
            return Err("Sign not allowed in string format specifier".into());
        }
        Spec {
            alternate: true, ..
        } => {
            return Err("Alternate form (#) not allowed in string format specifier".into());
        }
        Spec {
            no_negative_zero: true,
            ..
        } => {
            return Err("Negative zero coercion (z) not allowed in string format specifier".into());
        }
        Spec {
            align: Some('='), ..
        } => return Err("'=' alignment not allowed in string format specifier".into()),
        Spec {
            grouping: Some(c), ..
        } => return Err(format!("Cannot specify '{c}' with 's'.")),
        _ => {}
    }
    let cut: String = match spec.precision {
        Some(n) => text.chars().take(n).collect(),
        None => text.to_owned(),
    };
    Ok(spec.padded(&cut, spec.align.unwrap_or('<')))
}

fn unknown(code: char, kind: &str) -> String {
    format!("Unknown format code '{code}' for object of type '{kind}'")
}

fn whole_in(i: i128, spec: &Spec, kind: &str) -> Result<String, String> {
    if spec.precision.is_some() {
        return Err("Precision not allowed in integer format specifier".into());
    }
    if spec.no_negative_zero {
        return Err("Negative zero coercion (z) not allowed in format specifier with integer presentation type".into());
    }
    let size = i.unsigned_abs();
    let (prefix, digits) = match spec.code {
        None | Some('d' | 'n') => ("", size.to_string()),
        Some('b') => ("0b", format!("{size:b}")),
        Some('o') => ("0o", format!("{size:o}")),
        Some('x') => ("0x", format!("{size:x}")),
        Some('X') => ("0X", format!("{size:X}")),
        Some('c') => return character(i, spec),
        Some(code) => return Err(unknown(code, kind)),
    };
    let every = match spec.code {
        Some('b' | 'o' | 'x' | 'X') => 4,
        _ => 3,
    };
    match (spec.grouping, spec.code) {
        (Some(c), Some('n')) => return Err(format!("Cannot specify '{c}' with 'n'.")),
        (Some(','), Some(code)) if every == 4 => {
            return Err(format!("Cannot specify ',' with '{code}'."));
        }
        _ => {}
    }
    let prefix = if spec.alternate { prefix } else { "" };
    Ok(spec.number(i < 0, prefix, &digits, every, ""))
}

fn character(i: i128, spec: &Spec) -> Result<String, String> {
    if spec.sign.is_some() {
        return Err("Sign not allowed with integer format specifier 'c'".into());
    }
    if spec.alternate {
        return Err("Alternate form (#) not allowed with integer format specifier 'c'".into());
    }
    let c = u32::try_from(i).ok().and_then(char::from_u32);
    let c = c.ok_or("%c arg not in range(0x110000)")?;
    Ok(spec.padded(&c.to_string(), spec.align.unwrap_or('>')))
}

fn float_in(f: f64, spec: &Spec) -> Result<String, String> {
    let upper = matches!(spec.code, Some('E' | 'F' | 'G'));
    let size = f.abs();
    let body = match spec.code.map(|c| c.to_ascii_lowercase()) {
        _ if !f.is_finite() => if f.is_nan() { "nan" } else { "inf" }.to_owned(),
        None if spec.precision.is_none() => python::float_repr(size),
        None => general(size, spec.precision.unwrap_or(0), true, spec.alternate),
        Some('g' | 'n') => general(size, spec.precision.unwrap_or(6), false, spec.alternate),
        Some('f') => fixed(size, spec),
        Some('%') if spec.code == Some('%') => fixed(size * 100.0, spec),
        Some('e') => exponential(size, spec.precision.unwrap_or(6), spec.alternate),
        _ => return Err(unknown(spec.code.unwrap_or(' '), "float")),
    };
    if spec.grouping.is_some() && spec.code == Some('n') {
        return Err("Cannot specify ',' with 'n'.".into());
    }
    let body = if upper { body.to_uppercase() } else { body };
    let digits = body
        .find(|c: char| !c.is_ascii_digit())
        .filter(|_| f.is_finite());
    let (digits, rest) = body.split_at(digits.unwrap_or(body.len()));
    let rest = match spec.code {
        Some('%') => format!("{rest}%"),
        _ => rest.to_owned(),
    };
    let zero = !body.contains(|c| matches!(c, '1'..='9')) && f.is_finite();
    let negative = f.is_sign_negative() && !f.is_nan() && !(zero && spec.no_negative_zero);
    Ok(spec.number(negative, "", digits, 3, &rest))
}

fn fixed(f: f64, spec: &Spec) -> String {
    let precision = spec.precision.unwrap_or(6);
    let point = if spec.alternate && precision == 0 {
        "."
    } else {
        ""
    };
    format!("{f:.precision$}{point}")
}

fn exponential(f: f64, precision: usize, alternate: bool) -> String {
    let text = format!("{f:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let point = if alternate && precision == 0 { "." } else { "" };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}{point}e{sign}{:02}", exponent.abs())
}

/// So many significant digits; with `point`, at least one of them behind a point (as for specs
/// without a type).
fn general(f: f64, precision: usize, point: bool, alternate: bool) -> String {
    let precision = precision.max(1);
    let rounded = format!("{f:.*e}", precision - 1);
    let exponent: i32 = rounded
        .split_once('e')
        .and_then(|(_, e)| e.parse().ok())
        .unwrap_or(0);
    let limit = precision as i32 - i32::from(point);
    let trimmed = |text: &str| match alternate {
        false if text.contains('.') => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => text.to_owned(),
    };
    if f != 0.0 && !(-4..limit).contains(&exponent) {
        let text = exponential(f, precision - 1, alternate);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
        return format!("{}e{exponent}", trimmed(mantissa));
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    let text = trimmed(&format!("{f:.decimals$}"));
    match (text.contains('.'), point, alternate) {
        (false, true, _) => text + ".0",
        (false, _, true) => text + ".",
        _ => text,
    }
}

/// `datetime.strftime`; codes that nobody knows stay as they are.
fn strftime(time: &Timestamp, codes: &str) -> String {
    let utc = time.offset_seconds() == Some(0);
    let mut text = String::new();
    let mut rest = codes;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        let code: String = rest[at..].chars().take(2).collect();
        rest = &rest[at + code.len()..];
        let own = match (code.as_str(), time.offset_seconds()) {
            ("%f", _) => "%6f",
            ("%z" | "%Z", None) => continue,
            ("%Z", Some(_)) if utc => {
                text.push_str("UTC");
                continue;
            }
            ("%Z", Some(_)) => "UTC%:z",
            ("%c", _) => "%a %b %e %H:%M:%S %Y",
            (other, _) => other,
        };
        let known = !StrftimeItems::new(own).any(|item| matches!(item, Item::Error));
        match (known && code.len() > 1, time.zoned_time()) {
            (false, _) => text.push_str(&code),
            (true, Some(zoned)) => text.push_str(&zoned.format(own).to_string()),
            (true, None) => text.push_str(&time.local().format(own).to_string()),
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn all(value: Json, specs: &[(&str, &str)]) {
        let value = Value::from_json(&value);
        for (spec, text) in specs {
            let result = format(&value, spec);
            assert_eq!(result.as_deref(), Ok(*text), "{value:?} {spec}");
        }
    }

    #[test]
    fn floats() {
        // From the recorded case string_template_format_specs, and Python 3.12.
        all(
            json!(1_234_567.891),
            &[
                (".2f", "1234567.89"),
                ("8.3f", "1234567.891"),
                ("<14", "1234567.891   "),
                ("+", "+1234567.891"),
                (",", "1,234,567.891"),
                ("e", "1.234568e+06"),
                (".3g", "1.23e+06"),
                (".1%", "123456789.1%"),
                ("020,.1f", "00,000,001,234,567.9"),
                (".3", "1.23e+06"),
                ("G", "1.23457E+06"),
            ],
        );
        all(
            json!(0.05),
            &[(".1%", "5.0%"), ("08.2f", "00000.05"), ("#.0f", "0.")],
        );
        all(
            json!(100.0),
            &[("g", "100"), (".4", "100.0"), ("#g", "100.000")],
        );
        all(json!(-0.001), &[(".1f", "-0.0"), ("z.1f", "0.0")]);
    }

    #[test]
    fn whole_numbers() {
        all(
            json!(1234),
            &[
                ("05d", "01234"),
                ("#x", "0x4d2"),
                ("X", "4D2"),
                ("b", "10011010010"),
                (",", "1,234"),
                ("_", "1_234"),
                ("08,", "0,001,234"),
                ("=+7d", "+  1234"),
                ("c", "\u{4d2}"),
                (".1f", "1234.0"),
            ],
        );
        all(json!(true), &[("", "True"), ("d", "1"), ("5", "    1")]);
    }

    #[test]
    fn texts() {
        all(
            json!("abc"),
            &[
                (">9", "      abc"),
                ("*^9", "***abc***"),
                (".2", "ab"),
                ("5", "abc  "),
                ("05", "abc00"),
            ],
        );
        all(json!([1, null]), &[("", "[1, None]")]);
    }

    #[test]
    fn what_a_type_does_not_allow_is_refused() {
        let why = |value: Json, spec: &str| format(&Value::from_json(&value), spec).unwrap_err();
        assert_eq!(
            why(json!("abc"), "d"),
            "Unknown format code 'd' for object of type 'str'"
        );
        assert_eq!(
            why(json!(1.5), "d"),
            "Unknown format code 'd' for object of type 'float'"
        );
        assert_eq!(
            why(json!(3), ".2"),
            "Precision not allowed in integer format specifier"
        );
        assert_eq!(
            why(json!(null), "5"),
            "unsupported format string passed to NoneType.__format__"
        );
        assert!(why(json!(1), "5 5").starts_with("Invalid format specifier"));
    }

    #[test]
    fn times_take_strftime_codes() {
        let time = Timestamp::parse("2026-01-02T03:04:05.000678+05:30").unwrap();
        let text = |spec| format(&Value::Timestamp(time), spec).unwrap();
        assert_eq!(text("%Y/%m/%d %H.%M.%S,%f"), "2026/01/02 03.04.05,000678");
        assert_eq!(text("%a %j %z %% %Q"), "Fri 002 +0530 % %Q");
        assert_eq!(text(""), "2026-01-02 03:04:05.000678+05:30");
        let naive = Timestamp::parse("2026-01-02T03:04:05").unwrap();
        assert_eq!(format(&Value::Timestamp(naive), "%z%Z|").unwrap(), "|");
    }
}
