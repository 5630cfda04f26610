//! Which addresses a request may reach.
//!
//! A workflow that comes from somebody else must not make this machine call services that only it
//! can reach. Under [`AddressPolicy::GlobalOnly`] every address of a host is checked, and the
//! connection goes to an address that was checked: the name is resolved once, inside the client, so
//! an answer that changes between check and connection cannot slip through.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

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
    /// The name stands for an address that is not global.
    #[error("Host '{host}' resolves to non-global address '{address}'.")]
    HostNotGlobal {
        /// The name.
        host: String,
        /// The address.
        address: IpAddr,
    },
    /// The address itself is not global.
    #[error("URL points to non-global address '{0}'.")]
    NotGlobal(IpAddr),
    /// The name has no address.
    #[error("Could not resolve host: {0}")]
    Unresolved(String),
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
        matches!(self, Self::Unresolved(_))
    }
}

/// Whether the text has a backslash in front of its path, where some readers end the host.
pub fn has_backslash_in_authority(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.contains('\\')
}

/// Checks what can be checked before a name is resolved.
pub fn check_url(url: &Url) -> Result<(), AddressRefused> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(AddressRefused::NotHttp);
    }
    let address: IpAddr = match url.host() {
        None | Some(Host::Domain("")) => return Err(AddressRefused::NotHttp),
        Some(Host::Domain(_)) => return Ok(()),
        Some(Host::Ipv4(v4)) => v4.into(),
        Some(Host::Ipv6(v6)) => v6.into(),
    };
    if is_global(address) {
        Ok(())
    } else {
        Err(AddressRefused::NotGlobal(address))
    }
}

/// Resolver that answers only if every address of the name is global, and then with the first.
#[derive(Debug)]
pub struct GlobalResolver;

impl Resolve for GlobalResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = match tokio::net::lookup_host((host.as_str(), 0)).await {
                Ok(found) => found.collect(),
                Err(_) => Vec::new(),
            };
            let first = checked(host, &found)?;
            Ok(Box::new(std::iter::once(first)) as Addrs)
        })
    }
}

/// The first address, if all are global.
fn checked(host: String, found: &[SocketAddr]) -> Result<SocketAddr, AddressRefused> {
    if let Some(bad) = found.iter().find(|a| !is_global(a.ip())) {
        return Err(AddressRefused::HostNotGlobal {
            host,
            address: bad.ip(),
        });
    }
    match found.first() {
        Some(first) => Ok(*first),
        None => Err(AddressRefused::Unresolved(host)),
    }
}

/// Whether an address is reachable from anywhere and belongs to one host (IANA's registries of
/// special addresses; multicast counts as not global).
pub fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_global_v4(v4),
        IpAddr::V6(v6) => is_global_v6(v6),
    }
}

fn is_global_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., _, _)
            | (169, 254, _)
            | (192, 168, _)
            | (100, 64..=127, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !special
}

fn is_global_v6(v6: Ipv6Addr) -> bool {
    if let Some(v4) = v6.to_ipv4_mapped() {
        return is_global_v4(v4);
    }
    let s = v6.segments();
    if s[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let [.., a, b, c, d] = v6.octets();
        return is_global_v4(Ipv4Addr::new(a, b, c, d));
    }
    // Only 2000::/3 is handed out; inside it, protocol assignments (Teredo among them),
    // documentation and 6to4 (which wraps an IPv4 address) are not.
    let handed_out = s[0] & 0xe000 == 0x2000;
    let protocol = s[0] == 0x2001 && s[1] < 0x200;
    let documentation = (s[0] == 0x2001 && s[1] == 0xdb8) || (s[0] == 0x3fff && s[1] < 0x1000);
    handed_out && !protocol && !documentation && s[0] != 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_reachable_from_anywhere_are_global() {
        for text in [
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_global(text.parse().unwrap()), "{text}");
        }
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_global(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn one_private_address_among_many_refuses_the_name() {
        let public: SocketAddr = "8.8.8.8:0".parse().unwrap();
        let private: SocketAddr = "10.0.0.7:0".parse().unwrap();
        assert_eq!(checked("h".into(), &[public]), Ok(public));
        assert_eq!(
            checked("h".into(), &[public, private])
                .unwrap_err()
                .to_string(),
            "Host 'h' resolves to non-global address '10.0.0.7'."
        );
        assert_eq!(
            checked("h".into(), &[]).unwrap_err().to_string(),
            "Could not resolve host: h"
        );
    }

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
        assert!(has_backslash_in_authority("http://a.com\\@b.com/"));
        assert!(!has_backslash_in_authority("http://a.com/\\"));
    }
}
