//! Addresses that can be shown to anybody.
//!
//! A camera's address often carries a password: before the host, in the query, or (some makers) in
//! the path as `user=…&password=…`. [`Redacted`] keeps the address for those who connect and shows
//! it without them: everything before the last `@` becomes `***`, and of `name=value` pairs only the
//! names stay, except for the few whose values say which picture is meant ([`SHOWN`]). A piece of the
//! path that looks like a token goes too. [`scrub`] does the same to every address inside a message
//! that somebody else wrote.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// Names of parameters whose values are no secrets.
const SHOWN: &[&str] = &[
    "channel", "codec", "format", "fps", "frames", "live", "pattern", "profile", "size", "stream",
    "subtype", "unicast", "proto",
];

const MASK: &str = "***";
/// Shortest piece of a path that is taken for a token, if letters and digits are mixed in it.
const SHORTEST_TOKEN: usize = 16;

/// An address whose `Display`, `Debug` and JSON never show credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Redacted(Arc<str>);

impl Redacted {
    /// Wraps an address.
    pub fn new(address: &str) -> Self {
        Self(address.into())
    }

    /// The address with its credentials, for the one who connects.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.0))
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", redact(&self.0))
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
            assert_eq!(redacted.expose(), address);
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
}
