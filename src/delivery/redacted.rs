//! Addresses that are safe to show.
//!
//! User names, passwords and the values of query parameters are masked, and so is any part of the
//! path that looks like a token: chat services carry their secret there.

use std::fmt;

use url::Url;

const MASK: &str = "***";
/// Shortest path segment that is taken for a token if letters and digits are mixed in it.
const TOKEN_LENGTH: usize = 20;

/// An address without its secrets. `Display` and `Debug` cannot show what is not in here.
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted(String);

impl Redacted {
    /// The address with everything masked that may be a secret.
    pub fn url(url: &Url) -> Self {
        let mut text = format!("{}://", url.scheme());
        if !url.username().is_empty() || url.password().is_some() {
            text.push_str(MASK);
            text.push('@');
        }
        text.push_str(url.host_str().unwrap_or_default());
        if let Some(port) = url.port() {
            text.push_str(&format!(":{port}"));
        }
        match url.path_segments() {
            Some(segments) => {
                for segment in segments {
                    text.push('/');
                    text.push_str(if is_token(segment) { MASK } else { segment });
                }
            }
            None => text.push_str(MASK),
        }
        if url.query().is_some() {
            let names: Vec<String> = url
                .query_pairs()
                .map(|(name, _)| format!("{name}={MASK}"))
                .collect();
            text.push('?');
            text.push_str(&names.join("&"));
        }
        Self(text)
    }

    /// The same for a text that may not be an address at all; such a text is not shown.
    pub fn text(text: &str) -> Self {
        match Url::parse(text) {
            Ok(url) => Self::url(&url),
            Err(_) => Self("an unreadable address".into()),
        }
    }
}

fn is_token(segment: &str) -> bool {
    segment.len() >= TOKEN_LENGTH
        && segment.bytes().any(|b| b.is_ascii_digit())
        && segment.bytes().any(|b| b.is_ascii_alphabetic())
}

impl fmt::Display for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        for (text, shown) in [
            ("http://127.0.0.1:8080/hook", "http://127.0.0.1:8080/hook"),
            (
                "https://user:word@example.com/a/b?key=abc&on=1#frag",
                "https://***@example.com/a/b?key=***&on=***",
            ),
            (
                "https://hooks.example.com/services/T0001/B0001/abcdefghij0123456789",
                "https://hooks.example.com/services/T0001/B0001/***",
            ),
            ("mailto:someone@example.com", "mailto://***"),
            ("key=secret", "an unreadable address"),
        ] {
            assert_eq!(Redacted::text(text).to_string(), shown);
        }
    }
}
