//! Which addresses are public, and what an address in a URL says before any name is resolved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// The address that a URL's host is, in whatever notation it was written (`127.1`, `0x7f000001`,
/// `[::ffff:7f00:1]`); none for a name.
pub fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Domain(_) => None,
        Host::Ipv4(v4) => Some(v4.into()),
        Host::Ipv6(v6) => Some(v6.into()),
    }
}

/// Whether the text has a backslash in front of its path, where some readers end the host.
pub fn has_backslash_in_authority(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.contains('\\')
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
    fn addresses_in_odd_notations_are_seen_through() {
        let loopback = Some(IpAddr::from([127, 0, 0, 1]));
        for text in [
            "http://0x7f000001/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://127.0.0.1./",
            "http://127.0.0.1:80/",
            "http://example.com@127.0.0.1/",
            "http://%31%32%37.0.0.1/",
            "http://\u{2460}\u{2461}\u{2466}.0.0.1/",
            "http://127\u{3002}0\u{3002}0\u{3002}1/",
        ] {
            assert_eq!(literal(&Url::parse(text).unwrap()), loopback, "{text}");
        }
        let mapped = literal(&Url::parse("http://[::ffff:127.0.0.1]/").unwrap());
        assert!(mapped.is_some_and(|address| !is_global(address)));
        for text in [
            "http://example.com/",
            "http://localhost./",
            "http://127.0.0.1.example.com/",
        ] {
            assert_eq!(literal(&Url::parse(text).unwrap()), None, "{text}");
        }
    }

    #[test]
    fn a_backslash_counts_where_the_host_is() {
        assert!(has_backslash_in_authority("http://a.com\\@b.com/"));
        assert!(has_backslash_in_authority("\\\\b.com/x"));
        assert!(!has_backslash_in_authority("http://a.com/\\"));
        assert!(!has_backslash_in_authority("/a\\b"));
    }
}
