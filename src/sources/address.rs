//! A network address whose user name and password are set apart: they may hold any character but
//! `/`, percent-encoded or plain, and neither `Display` nor `Debug` shows them.

use std::fmt;

use url::Url;

use crate::redact::redact;

/// A network address with its credentials set apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    location: String,
    user: Option<String>,
    password: Option<String>,
}

impl Address {
    /// The address without user name and password. The query is still in it.
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    /// Host and port that a connection goes to; the port is `usual` if the address names none.
    pub(crate) fn endpoint(&self, usual: u16) -> Option<(String, u16)> {
        let url = Url::parse(&self.location).ok()?;
        let host = url
            .host_str()?
            .trim_start_matches('[')
            .trim_end_matches(']');
        Some((host.to_owned(), url.port().unwrap_or(usual)))
    }

    /// Whether the connection is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.location.starts_with("rtsps:") || self.location.starts_with("https:")
    }

    /// User name and password, if the address has a user name.
    pub(crate) fn credentials(&self) -> Option<(&str, &str)> {
        let user = self.user.as_deref()?;
        Some((user, self.password.as_deref().unwrap_or_default()))
    }

    /// Reads what follows `scheme://`.
    pub(crate) fn parse(scheme: &str, rest: &str) -> Result<Self, &'static str> {
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let (user_info, host) = match authority.rsplit_once('@') {
            // `udp://@239.1.2.3:5000`, as other players write a group that is listened to.
            Some(("", host)) => (None, host),
            Some((user_info, host)) => (Some(user_info), host),
            None => (None, authority),
        };
        let location = format!("{scheme}://{host}{path}");
        let url = Url::parse(&location).map_err(
            |_| "host and port are not readable (a `/` in a password is written as %2F)",
        )?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err("the host is missing");
        }
        let (user, password) = match user_info {
            Some(info) => match info.split_once(':') {
                Some((user, password)) => (Some(percent_decoded(user)), Some(password)),
                None => (Some(percent_decoded(info)), None),
            },
            None => (None, None),
        };
        Ok(Self {
            location,
            user,
            password: password.map(percent_decoded),
        })
    }

    /// Host and path, without secrets.
    pub(crate) fn name(&self) -> String {
        let Ok(url) = Url::parse(&self.location) else {
            return "stream".to_owned();
        };
        let shown = redact(&format!(
            "x://{}{}",
            url.host_str().unwrap_or_default(),
            url.path().trim_end_matches('/')
        ));
        shown.trim_start_matches("x://").to_owned()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = redact(&self.location);
        match (&self.user, shown.split_once("://")) {
            (Some(_), Some((scheme, rest))) => write!(f, "{scheme}://***@{rest}"),
            _ => f.write_str(&shown),
        }
    }
}

/// Text with `%XX` replaced by its byte; anything else stays.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let value = hex
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        decoded.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
