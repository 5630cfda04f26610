//! Addresses that can be shown to anybody.
//!
//! [`Redacted`] holds an address without its secrets; whoever connects keeps the address itself.
//! Cameras and HTTP servers hide their secrets in different places, so there are two readings:
//!
//! * [`Redacted::new`] takes whatever names a source. A camera's password is before the host, in
//!   the query, or (some makers) in the path as `user=…&password=…`: everything before the last `@`
//!   becomes `***`, and of `name=value` pairs only the names stay, except for the few whose values
//!   say which picture is meant ([`SHOWN`]). A piece of the path that looks like a token goes too.
//!   [`scrub`] does the same to every address inside a message that somebody else wrote.
//! * [`Redacted::url`] and [`Redacted::text`] take the address of a request. Every value of the
//!   query is masked, and so is any part of the path that looks like a token: chat services carry
//!   their secret there.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use url::Url;

/// Names of parameters whose values are no secrets.
const SHOWN: &[&str] = &[
    "channel", "codec", "format", "fps", "frames", "live", "pattern", "profile", "size", "stream",
    "subtype", "unicast", "proto",
];

const MASK: &str = "***";
/// Shortest piece of a source's path that is taken for a token, if letters and digits are mixed in
/// it and nothing else is.
const SHORTEST_TOKEN: usize = 16;
/// Shortest piece of a request's path that is taken for a key, if it has letters and digits.
const SHORTEST_KEY: usize = 20;

/// Text for what cannot be read as the address of a request.
const UNREADABLE: &str = "an unreadable address";

/// An address without its secrets. `Display`, `Debug` and JSON cannot show what is not in here.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Redacted(Arc<str>);

impl Redacted {
    /// The address of a source: a URL of any scheme, a device or a path.
    pub fn new(source: &str) -> Self {
        Self(redact(source).into())
    }

    /// The address of a request, with everything masked that may be a secret.
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
                    text.push_str(if is_key(segment) { MASK } else { segment });
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
        Self(text.into())
    }

    /// The same for a text that may not be an address at all; such a text is not shown.
    pub fn text(text: &str) -> Self {
        match Url::parse(text) {
            Ok(url) => Self::url(&url),
            Err(_) => Self(UNREADABLE.into()),
        }
    }
}

impl fmt::Display for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Serialize for Redacted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The address without credentials and secrets. Text without `://` is taken for a path and stays,
/// unless it starts like an address whose scheme was forgotten (`user:pw@host`).
pub fn redact(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        let start = address.split('/').next().unwrap_or_default();
        return match address.rsplit_once('@') {
            Some((_, rest)) if start.contains(':') => format!("***@{rest}"),
            _ => address.to_owned(),
        };
    };
    if scheme.eq_ignore_ascii_case("file") {
        return address.to_owned();
    }
    let (user, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => ("***@", rest),
        None => ("", rest),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let mut shown = format!("{scheme}://{user}");
    for (i, segment) in path.split('/').enumerate() {
        if i > 0 {
            shown.push('/');
        }
        shown.push_str(&mask_pairs(segment, false));
    }
    if let Some(query) = query {
        shown.push('?');
        shown.push_str(&mask_pairs(query, true));
    }
    shown
}

/// Replaces every address in `text` by its redacted form.
pub fn scrub(text: &str) -> String {
    const BOUNDARY: &[char] = &[' ', '\t', '\n', '"', '\''];
    text.split_inclusive(BOUNDARY)
        .map(|word| {
            let end = word.trim_end_matches(BOUNDARY).len();
            let (address, boundary) = word.split_at(end);
            redact(address) + boundary
        })
        .collect()
}

/// Masks the values of `a=b&c=d`. A word without `=` is a secret in a query and a name in a path.
fn mask_pairs(text: &str, bare_is_secret: bool) -> String {
    let pairs: Vec<String> = text
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if SHOWN.contains(&name) => pair.to_owned(),
            Some((name, _)) => format!("{name}={MASK}"),
            None if bare_is_secret && !pair.is_empty() => MASK.to_owned(),
            None if is_token(pair) => MASK.to_owned(),
            None => pair.to_owned(),
        })
        .collect();
    pairs.join("&")
}

/// Whether a piece of a path is the secret itself, as some recorders have it.
fn is_token(text: &str) -> bool {
    text.len() >= SHORTEST_TOKEN
        && text.bytes().all(|b| b.is_ascii_alphanumeric())
        && text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().any(|b| b.is_ascii_alphabetic())
}

/// Whether a piece of a request's path is a secret. Unlike a recorder's token, a key may have signs
/// in it, so that it has to be longer to be told from a name.
fn is_key(text: &str) -> bool {
    text.len() >= SHORTEST_KEY
        && text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().any(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_wherever_cameras_put_them() {
        let cases = [
            (
                "rtsp://admin:hunter2@10.0.0.5:554/h264",
                "rtsp://***@10.0.0.5:554/h264",
            ),
            ("rtsp://admin:p@ss/w#rd@cam/live", "rtsp://***@cam/live"),
            (
                "rtsp://cam/cam/realmonitor?channel=1&subtype=0&token=hunter2",
                "rtsp://cam/cam/realmonitor?channel=1&subtype=0&token=***",
            ),
            (
                "rtsp://cam:554/user=admin&password=hunter2&channel=1.sdp",
                "rtsp://cam:554/user=***&password=***&channel=1.sdp",
            ),
            (
                "rtsps://nvr:7441/aB3dE5gH7jK9mN1p?enableSrtp",
                "rtsps://nvr:7441/***?***",
            ),
            (
                "https://host/clip.mp4?hunter2#frag",
                "https://host/clip.mp4?***",
            ),
            ("admin:hunter2@10.0.0.5/h264", "***@10.0.0.5/h264"),
            ("/var/clips/a@b=c?.mp4", "/var/clips/a@b=c?.mp4"),
        ];
        for (address, shown) in cases {
            let redacted = Redacted::new(address);
            assert_eq!(redacted.to_string(), shown);
            assert!(!format!("{redacted:?}").contains("hunter2"));
        }
        let json = serde_json::to_string(&Redacted::new("rtsp://u:p@h/")).unwrap();
        assert_eq!(json, r#""rtsp://***@h/""#);
    }

    #[test]
    fn addresses_inside_messages_are_hidden() {
        assert_eq!(
            scrub("cannot open 'rtsp://u:pw@cam/x?token=1' (http://u:pw@h/): refused"),
            "cannot open 'rtsp://***@cam/x?token=***' (http://***@h/): refused"
        );
    }

    #[test]
    fn requests_show_nothing_that_may_be_a_secret() {
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
            let redacted = Redacted::text(text);
            assert_eq!(redacted.to_string(), shown);
            assert_eq!(format!("{redacted:?}"), format!("{shown:?}"));
        }
    }
}
