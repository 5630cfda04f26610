//! References inside texts: finding them and putting something else in their place.

/// A reference that a text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mention<'a> {
    /// `$inputs.<name>`
    Input(&'a str),
    /// `$steps.<name>`, and what stands behind the next dot if it may be an output.
    Step(&'a str, Option<&'a str>),
}

fn run_length(text: &str, also: &[u8]) -> usize {
    let of_name =
        |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-') || also.contains(b);
    text.bytes().take_while(|b| of_name(b)).count()
}

impl<'a> Mention<'a> {
    /// The reference with which a text begins, and the text behind it. Names are read to their end,
    /// so `$steps.ab` does not mention `a`.
    fn at_start(text: &'a str) -> Option<(Self, &'a str)> {
        if let Some(rest) = text.strip_prefix("$inputs.") {
            let (name, rest) = rest.split_at(run_length(rest, b""));
            return (!name.is_empty()).then_some((Self::Input(name), rest));
        }
        let rest = text.strip_prefix("$steps.")?;
        let (name, rest) = rest.split_at(run_length(rest, b""));
        if name.is_empty() {
            return None;
        }
        let output = rest
            .strip_prefix('.')
            .map(|rest| rest.split_at(run_length(rest, b"*")));
        Some(match output {
            Some((output, rest)) if !output.is_empty() => (Self::Step(name, Some(output)), rest),
            _ => (Self::Step(name, None), rest),
        })
    }

    /// The reference that a text is, whole, if its names may hold any characters but dots: so outputs
    /// refer to what has such names.
    fn of_any_characters(text: &'a str) -> Option<Self> {
        let is_part = |part: &str| !part.is_empty() && !part.contains(['.', '$']);
        if let Some(name) = text.strip_prefix("$inputs.") {
            return is_part(name).then_some(Self::Input(name));
        }
        let rest = text.strip_prefix("$steps.")?;
        let (name, output) = rest
            .split_once('.')
            .map_or((rest, None), |(name, output)| (name, Some(output)));
        (is_part(name) && output.is_none_or(is_part)).then_some(Self::Step(name, output))
    }

    /// The reference that a text is, whole.
    pub(super) fn whole(text: &'a str) -> Option<Self> {
        Self::at_start(text).and_then(|(mention, rest)| rest.is_empty().then_some(mention))
    }
}

/// The text with other texts in the place of references; `None` if `other` changes nothing. What is
/// put in is not looked at again.
pub(super) fn replaced(
    text: &str,
    mut other: impl FnMut(Mention<'_>) -> Option<String>,
) -> Option<String> {
    if let Some(new) = Mention::of_any_characters(text).and_then(&mut other) {
        return Some(new);
    }
    let mut changed: Option<String> = None;
    let mut kept_to = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find('$') {
        at += found;
        let Some((mention, rest)) = Mention::at_start(&text[at..]) else {
            at += 1;
            continue;
        };
        let end = text.len() - rest.len();
        if let Some(new) = other(mention) {
            let out = changed.get_or_insert_default();
            out.push_str(&text[kept_to..at]);
            out.push_str(&new);
            kept_to = end;
        }
        at = end;
    }
    changed.map(|mut out| {
        out.push_str(&text[kept_to..]);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_to_their_end() {
        assert_eq!(
            Mention::whole("$inputs.a-b_1"),
            Some(Mention::Input("a-b_1"))
        );
        assert_eq!(Mention::whole("$steps.a"), Some(Mention::Step("a", None)));
        assert_eq!(
            Mention::whole("$steps.a.*"),
            Some(Mention::Step("a", Some("*")))
        );
        for text in [
            "$steps.a.",
            "$steps.a.b.c",
            " $inputs.a",
            "$inputs.",
            "$steps",
            "a",
        ] {
            assert_eq!(Mention::whole(text), None, "{text}");
        }
    }

    #[test]
    fn references_in_longer_texts_are_replaced_where_they_stand() {
        let of = |text| {
            replaced(text, |mention| match mention {
                Mention::Input("x") => Some("$inputs.x and more".into()),
                Mention::Step("s", output) => {
                    Some(format!("$steps.p__s.{}", output.unwrap_or("?")))
                }
                _ => None,
            })
        };
        assert_eq!(
            of("ä $inputs.x, $inputs.xy; $steps.s.o.p $$steps.s!").as_deref(),
            Some("ä $inputs.x and more, $inputs.xy; $steps.p__s.o.p $$steps.p__s.?!")
        );
        assert_eq!(of("$ $steps. $steps.st.o $inputs.y"), None);
        assert_eq!(of("$steps.s.an ö").as_deref(), Some("$steps.p__s.an ö"));
        assert_eq!(of("$inputs.x y").as_deref(), Some("$inputs.x and more y"));
    }
}
