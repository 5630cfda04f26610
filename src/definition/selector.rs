//! Selectors: the texts by which a definition refers to inputs and to outputs of steps.

use std::fmt;
use std::sync::Arc;

/// A reference inside a definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// `$inputs.<name>`
    Input(Arc<str>),
    /// `$steps.<step>`
    Step(Arc<str>),
    /// `$steps.<step>.<output>`
    StepOutput(Arc<str>, Arc<str>),
    /// `$steps.<step>.*`
    AllOutputs(Arc<str>),
    /// Starts with `$` and is none of these: refers to nothing.
    Malformed(Arc<str>),
}

/// Whether a text is a reference at all: everything that starts with `$` is.
pub fn is_selector(text: &str) -> bool {
    text.starts_with('$')
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// `$inputs.<name>` (any character stands for the dot, as in the reference's pattern).
pub fn is_input(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("$inputs") else {
        return false;
    };
    let mut chars = rest.chars();
    chars.next().is_some_and(|c| c != '\n') && is_name(chars.as_str())
}

/// `$steps.<step>.<output>`
pub fn is_step_output(text: &str) -> bool {
    let Some((step, output)) = text.strip_prefix("$steps.").and_then(|r| r.split_once('.')) else {
        return false;
    };
    let output_ok = !output.is_empty()
        && output
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'*'));
    is_name(step) && output_ok
}

/// `$steps.<step>`, with anything behind it (the reference's pattern is a prefix match).
pub fn is_step(text: &str) -> bool {
    text.strip_prefix("$steps.")
        .and_then(|r| r.bytes().next())
        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl Selector {
    /// Reads a selector; `None` if the text is none of the four forms. Names hold any characters but
    /// dots: outputs refer to steps, inputs and fields of JSON by whatever name they have. The narrower
    /// patterns of the fields of steps are checked with the fields.
    pub fn parse(text: &str) -> Option<Self> {
        let is_part = |part: &str| !part.is_empty() && !part.contains('.');
        if let Some(name) = text.strip_prefix("$inputs.") {
            return is_part(name).then(|| Self::Input(name.into()));
        }
        let rest = text.strip_prefix("$steps.")?;
        let Some((step, output)) = rest.split_once('.') else {
            return is_part(rest).then(|| Self::Step(rest.into()));
        };
        (is_part(step) && is_part(output)).then(|| match output {
            "*" => Self::AllOutputs(step.into()),
            _ => Self::StepOutput(step.into(), output.into()),
        })
    }
}

impl Selector {
    /// Reads a selector; a text that is none refers to nothing.
    pub fn read(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|| Self::Malformed(text.into()))
    }
}

/// Characters of a malformed selector that messages show.
const SHOWN: usize = 80;

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(name) => write!(f, "$inputs.{name}"),
            Self::Step(step) => write!(f, "$steps.{step}"),
            Self::StepOutput(step, output) => write!(f, "$steps.{step}.{output}"),
            Self::AllOutputs(step) => write!(f, "$steps.{step}.*"),
            Self::Malformed(text) => match text.char_indices().nth(SHOWN) {
                Some((end, _)) => write!(f, "{}…", &text[..end]),
                None => f.write_str(text),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_forms_and_nothing_else() {
        for text in [
            "$inputs.a",
            "$steps.s",
            "$steps.s.o",
            "$steps.s.*",
            "$inputs.my image",
            "$steps.s p.o é",
        ] {
            assert_eq!(Selector::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "$inputs.a.b",
            "$steps.",
            "$steps.s.o.p",
            "inputs.a",
            "$100.50",
            "$steps..o",
        ] {
            assert_eq!(Selector::parse(text), None, "{text}");
        }
        assert!(is_step("$steps.s.o") && !is_step_output("$steps.s"));
        assert!(is_input("$inputs.image") && !is_input("$inputs.a.b"));
    }
}
