//! Patterns of Python's `re`, searched anywhere in a text.
//!
//! Look-around and back-references work. The translation covers what the two dialects write
//! differently: `$` before a final line break, `\Z`, escapes of ordinary characters, braces that
//! are no repetition, `{,n}`, and characters that only Rust's dialect gives a meaning in classes.

use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;

use fancy_regex::Regex;

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Compiles a pattern written for Python; the text says what is wrong with it.
    pub(super) fn new(python: &str) -> Result<Self, String> {
        match Regex::new(&translate(python)) {
            Ok(regex) => Ok(Self(regex)),
            Err(error) => Err(format!("cannot use the pattern `{python}`: {error}")),
        }
    }

    /// Whether the pattern is found anywhere; fails if that takes too many steps.
    pub(super) fn found_in(&self, text: &str) -> Result<bool, String> {
        self.0.is_match(text).map_err(|error| error.to_string())
    }
}

fn translate(python: &str) -> String {
    let multi_line = has_multi_line_flag(python);
    let mut out = String::with_capacity(python.len() + 8);
    let mut rest = python.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => escape(&mut out, &mut rest),
            '[' => class(&mut out, &mut rest),
            '{' => brace(&mut out, &mut rest),
            '$' if multi_line => out.push('$'),
            '$' if rest.peek().is_none() => out.push_str(r"(?:\n?\z)"),
            '$' => out.push_str(r"(?=\n?\z)"),
            c => out.push(c),
        }
    }
    out
}

fn has_multi_line_flag(python: &str) -> bool {
    python.split("(?").skip(1).any(|group| {
        let flags: String = group
            .chars()
            .take_while(char::is_ascii_alphabetic)
            .collect();
        flags.contains('m') && group[flags.len()..].starts_with([')', ':', '-'])
    })
}

fn escape(out: &mut String, rest: &mut Peekable<Chars<'_>>) {
    match rest.next() {
        Some('Z') => out.push_str(r"\z"),
        Some(c @ '0'..='7') => match octal(c, rest) {
            Some(code) => literal(out, code),
            None => {
                out.push('\\');
                out.push(c);
            }
        },
        Some(c) if c.is_ascii_alphanumeric() => {
            out.push('\\');
            out.push(c);
        }
        Some(c) => literal(out, c),
        None => out.push('\\'),
    }
}

/// The character of an octal escape that begins with this digit: a zero and what follows of two digits,
/// or three digits. Others refer back to a group.
fn octal(first: char, rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    let more = rest.clone().take(2);
    let more: String = more.take_while(|c| matches!(c, '0'..='7')).collect();
    if first != '0' && more.len() < 2 {
        return None;
    }
    more.chars().for_each(|_| _ = rest.next());
    let code = u32::from_str_radix(&format!("{first}{more}"), 8).ok()?;
    char::from_u32(code)
}

fn literal(out: &mut String, c: char) {
    let _ = write!(out, r"\x{{{:x}}}", u32::from(c));
}

fn class(out: &mut String, rest: &mut Peekable<Chars<'_>>) {
    out.push('[');
    if rest.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    // Whether the last item can begin a range, and whether the next one ends it.
    let (mut begins, mut ends) = (false, false);
    if rest.next_if_eq(&']').is_some() {
        literal(out, ']');
        begins = true;
    }
    while let Some(c) = rest.next() {
        match c {
            ']' => {
                out.push(']');
                return;
            }
            '-' if begins && rest.peek().is_some_and(|next| *next != ']') => {
                out.push('-');
                (begins, ends) = (false, true);
                continue;
            }
            '\\' if rest.next_if_eq(&'b').is_some() => literal(out, '\u{8}'),
            '\\' => escape(out, rest),
            '[' | '&' | '~' | '-' => literal(out, c),
            c => out.push(c),
        }
        (begins, ends) = (!ends, false);
    }
}

fn brace(out: &mut String, rest: &mut Peekable<Chars<'_>>) {
    let ahead: String = rest.clone().take_while(|c| *c != '}').collect();
    let closed = rest.clone().nth(ahead.chars().count()) == Some('}');
    let (low, high) = ahead.split_once(',').unwrap_or((&ahead, "0"));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let repetition =
        closed && digits(low) && digits(high) && (!low.is_empty() || ahead.contains(','));
    match repetition {
        true if low.is_empty() => out.push_str("{0"),
        true => out.push('{'),
        false => literal(out, '{'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_python() {
        for (pattern, text, found) in [
            ("[0-9]+", "Hello 42", true),
            ("^[A-Z][a-z]+ [0-9]{2}$", "Hello 42\n", true),
            ("^[A-Z][a-z]+ [0-9]{2}$", "Hello 42\n\n", false),
            (r"42\Z", "42\n", false),
            ("a$|b", "ab", true),
            ("a$|c", "ab", false),
            ("(?m)^b$", "a\nb\nc", true),
            (r"(?<!x)y(?=z)", "xyz yz", true),
            (r"(\w)\1", "hello", true),
            (r"(?P<q>['\x22]).*(?P=q)", "say 'hi'", true),
            ("[[]x]", "[x]", true),
            ("[]a]", "]", true),
            ("[a&&b]", "&", true),
            (r"a\ b\<\@", "a b<@", true),
            ("a{b}", "a{b}", true),
            ("^a{,2}$", "aaa", false),
            ("{}", "{}", true),
            ("^[A-Za-z0-9+/]{40,}=*$", "short", false),
            // Hyphens are ends of ranges or stand for themselves.
            ("[+--]", ",", true),
            ("[+--]", "x", false),
            ("^[a-z--9]$", "0", true),
            ("[--a]", "b", false),
            (r"^[\w.-]+$", "a-b.c", true),
            (r"[-\d]", "-", true),
            (r"\101\060\0", "A0\0", true),
            (r"[\101-\103]", "B", true),
        ] {
            let compiled = Pattern::new(pattern).unwrap();
            assert_eq!(compiled.found_in(text), Ok(found), "{pattern} in {text:?}");
        }
    }

    #[test]
    fn an_invalid_pattern_and_endless_backtracking_are_errors() {
        assert!(Pattern::new("(").unwrap_err().contains("`(`"));
        let slow = Pattern::new(r"(a|a)*\1b").unwrap();
        assert!(slow.found_in(&"a".repeat(40)).is_err());
    }
}
