//! Which addresses a request to a receiver may reach.
//!
//! Under [`AddressPolicy::GlobalOnly`] the address of every request is checked, as
//! [`network`](crate::network) does it, and the receiver may not redirect.

use std::net::IpAddr;

use url::Url;

use crate::network::HostRefused;
use crate::network::address::{is_global, literal};

/// Which addresses a request may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Any: for addresses that the operator named.
    #[default]
    Any,
    /// Globally routable ones only: for addresses out of definitions on a server.
    GlobalOnly,
}

impl AddressPolicy {
    /// Environment variable that switches private addresses on or off for the webhook block.
    pub const VARIABLE: &'static str = "ALLOW_WEBHOOK_WORKFLOWS_SINK_TO_NON_GLOBAL_ADDRESSES";
}

/// Why an address was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefused {
    /// The name has no address that may be reached.
    #[error(transparent)]
    Host(#[from] HostRefused),
    /// The address itself is not global.
    #[error("URL points to non-global address '{0}'.")]
    NotGlobal(IpAddr),
    /// A backslash before the path, by which readers of addresses disagree on the host.
    #[error("Webhook URL authority contains a backslash")]
    Backslash,
    /// Not an HTTP address, or one without a host.
    #[error("Webhook requires an HTTP(S) URL with a valid host")]
    NotHttp,
    /// The receiver redirects.
    #[error("Webhook redirects are not allowed")]
    Redirect,
}

impl AddressRefused {
    /// Whether a later attempt may go better: only name resolution changes by itself.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Host(HostRefused::Unresolved(_)))
    }
}

/// Checks what can be checked before a name is resolved.
pub fn check_url(url: &Url) -> Result<(), AddressRefused> {
    if !matches!(url.scheme(), "http" | "https") || url.host_str().unwrap_or_default().is_empty() {
        return Err(AddressRefused::NotHttp);
    }
    match literal(url) {
        Some(address) if !is_global(address) => Err(AddressRefused::NotGlobal(address)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_odd_spellings_are_seen_through() {
        for text in ["http://0x7f000001/", "http://2130706433/", "http://127.1/"] {
            let refused = check_url(&Url::parse(text).unwrap()).unwrap_err();
            assert_eq!(
                refused.to_string(),
                "URL points to non-global address '127.0.0.1'.",
                "{text}"
            );
        }
        let refused = |text: &str| check_url(&Url::parse(text).unwrap()).unwrap_err();
        assert_eq!(refused("ftp://example.com/"), AddressRefused::NotHttp);
    }
}
