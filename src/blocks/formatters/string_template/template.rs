//! Texts with placeholders in braces, by the rules of Python's `str.format` with names only.
//!
//! `{name}`, `{name!r}`, `{name:spec}`, both together, and `{{` and `}}` for braces. A spec may hold
//! placeholders of its own, one level deep. Positions, attributes and indices are refused.

use crate::values::{Dict, Value, python, python_format};

/// Longest text that a template may become, in characters.
const MAX_LENGTH: usize = 1_000_000;
/// Greatest number that a spec may hold (a width or a precision).
const MAX_NUMBER: u64 = 10_000;

/// A parsed template.
#[derive(Clone, Debug)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Value {
        name: String,
        conversion: Option<char>,
        spec: Vec<Part>,
    },
}

impl Template {
    /// Reads a template, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse(text, 2).map(Self)
    }

    /// Names of all placeholders, sorted, each once.
    pub fn names(&self) -> Vec<&str> {
        fn collect<'a>(parts: &'a [Part], names: &mut Vec<&'a str>) {
            for part in parts {
                if let Part::Value { name, spec, .. } = part {
                    names.push(name);
                    collect(spec, names);
                }
            }
        }
        let mut names = Vec::new();
        collect(&self.0, &mut names);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What is wrong if only these names are declared.
    pub fn check_names(&self, declared: &[&str]) -> Result<(), String> {
        let missing = self.names().into_iter().filter(|n| !declared.contains(n));
        let missing: Vec<String> = missing.map(|n| format!("`{n}`")).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the template uses {}, not declared in `data`; declared: [{}]",
            missing.join(", "),
            declared.join(", ")
        ))
    }

    /// The text with the values in place of the placeholders.
    pub fn render(&self, data: &Dict) -> Result<String, String> {
        let mut out = String::new();
        let length = render(&self.0, data, &mut out)?;
        if length > MAX_LENGTH {
            return Err(too_long(length));
        }
        Ok(out)
    }
}

fn too_long(length: usize) -> String {
    format!(
        "the template becomes a text of at least {length} characters; at most {MAX_LENGTH} are \
         allowed, so shorten the values or use fewer placeholders"
    )
}

fn unreadable(why: &str) -> String {
    format!("the template cannot be read: {why}; write braces of the text itself twice")
}

/// Parses text in which placeholders may nest `depth` deep.
fn parse(text: &str, depth: usize) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let brace = &rest[at..=at];
        literal.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix(brace) {
            literal.push_str(brace);
            rest = behind;
        } else if brace == "}" {
            return Err(unreadable("single '}' encountered"));
        } else if rest.is_empty() {
            return Err(unreadable("single '{' encountered"));
        } else {
            let end = end_of_placeholder(rest).ok_or_else(|| unreadable("'}' is missing"))?;
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(placeholder(&rest[..end], depth)?);
            rest = &rest[end + 1..];
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

/// Place of the brace that ends the placeholder at the start of the text.
fn end_of_placeholder(text: &str) -> Option<usize> {
    let mut open = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

fn placeholder(inside: &str, depth: usize) -> Result<Part, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(unreadable("placeholders are nested too deep"));
    };
    let end = inside.find(['!', ':']).unwrap_or(inside.len());
    let (name, mut rest) = inside.split_at(end);
    if name.contains('{') {
        return Err(unreadable("'{' stands in the name of a placeholder"));
    }
    if name.contains(['.', '[']) {
        return Err(format!(
            "placeholder `{{{name}}}` asks for an attribute or an index; take nested values out \
             with `data_operations` first"
        ));
    }
    if name.bytes().all(|b| b.is_ascii_digit()) {
        return Err("placeholders need names, e.g. `{variable_name}`, not positions".into());
    }
    let mut conversion = None;
    if let Some(behind) = rest.strip_prefix('!') {
        conversion = behind.chars().next();
        rest = &behind[conversion.map_or(0, char::len_utf8)..];
        if conversion.is_none() {
            return Err(unreadable("the letter behind '!' is missing"));
        }
        if !rest.is_empty() && !rest.starts_with(':') {
            return Err(unreadable("':' is missing behind the letter of '!'"));
        }
    }
    let spec = parse_spec(rest.strip_prefix(':').unwrap_or(""), depth)?;
    let name = name.to_owned();
    Ok(Part::Value {
        name,
        conversion,
        spec,
    })
}

fn parse_spec(text: &str, depth: usize) -> Result<Vec<Part>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    parse(text, depth)
}

/// Adds the parts to the text; returns its length in characters.
fn render(parts: &[Part], data: &Dict, out: &mut String) -> Result<usize, String> {
    let mut length = 0;
    for part in parts {
        let before = out.len();
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Value {
                name,
                conversion,
                spec,
            } => {
                let mut laid_out = String::new();
                render(spec, data, &mut laid_out)?;
                check_numbers(&laid_out)?;
                let value = data.get(name.as_str()).unwrap_or(&Value::None);
                out.push_str(&formatted(value, *conversion, &laid_out)?);
            }
        }
        length += out[before..].chars().count();
        if length > MAX_LENGTH {
            return Err(too_long(length));
        }
    }
    Ok(length)
}

fn formatted(value: &Value, conversion: Option<char>, spec: &str) -> Result<String, String> {
    let text = match conversion {
        None => None,
        Some('s') => Some(python::to_str(value)),
        Some('r') => Some(python::repr(value)),
        Some('a') => Some(ascii(&python::repr(value))),
        Some(c) => {
            return Err(format!(
                "the template cannot be rendered: unknown conversion `!{c}`; use !s, !r or !a"
            ));
        }
    };
    let text = text.map(Value::from);
    python_format::format(text.as_ref().unwrap_or(value), spec).map_err(|why| {
        format!("the template cannot be rendered: {why}; do the specs suit the values?")
    })
}

fn ascii(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c.is_ascii() {
            true => out.push(c),
            false => python::write_escaped(&mut out, c),
        }
    }
    out
}

fn check_numbers(spec: &str) -> Result<(), String> {
    for digits in spec.split(|c: char| !c.is_ascii_digit()) {
        let number = digits.parse::<u64>();
        if !digits.is_empty() && number.map_or(true, |n| n > MAX_NUMBER) {
            return Err(format!(
                "format spec `{spec}` holds the number {digits}; widths and precisions go up to \
                 {MAX_NUMBER}"
            ));
        }
    }
    Ok(())
}
