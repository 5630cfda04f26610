//! Where to listen: an address of this machine, or a name that stands for some.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// Why nobody can listen at a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// The text names no place.
    #[error(
        "`{text}` is no place to listen at: write an IP address or a host name, as in 127.0.0.1 or localhost{}",
        if *.with_port { ", and a port, as in localhost:9001" } else { "" }
    )]
    Unreadable {
        /// The text.
        text: String,
        /// Whether a port belongs to it.
        with_port: bool,
    },
    /// The name has no address.
    #[error(
        "the host name `{host}` cannot be resolved ({reason}): correct it, or give an IP address of this machine"
    )]
    Unresolved {
        /// The name.
        host: String,
        /// What the system said.
        reason: String,
    },
}

/// The addresses to try for a host, a name or an IP address (IPv6 with or without brackets). Those
/// of IPv4 come first: most clients that are given `localhost` try both kinds, and those that are
/// given 127.0.0.1 only that.
///
/// # Errors
/// If it is neither, or the name has no address.
pub fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, PlaceError> {
    let host = host.trim();
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let harmless = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.is_empty() || !host.chars().all(harmless) {
        return Err(PlaceError::Unreadable {
            text: host.to_owned(),
            with_port: false,
        });
    }
    let unresolved = |reason: String| PlaceError::Unresolved {
        host: host.to_owned(),
        reason,
    };
    let found = (host, port).to_socket_addrs();
    let mut found: Vec<SocketAddr> = found.map_err(|e| unresolved(e.to_string()))?.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.dedup();
    match found.is_empty() {
        true => Err(unresolved("it has no address".to_owned())),
        false => Ok(found),
    }
}

/// The first address to try for `host:port`.
///
/// # Errors
/// As for [`addresses`].
pub fn address(text: &str) -> Result<SocketAddr, PlaceError> {
    let unreadable = || PlaceError::Unreadable {
        text: text.to_owned(),
        with_port: true,
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(unreadable)?;
    let port = port.parse().map_err(|_| unreadable())?;
    // Without brackets nobody knows where an IPv6 address ends and its port begins.
    if host.contains(':') && !host.starts_with('[') {
        return Err(unreadable());
    }
    let found = addresses(host, port).map_err(|error| match error {
        PlaceError::Unreadable { .. } => unreadable(),
        unresolved @ PlaceError::Unresolved { .. } => unresolved,
    })?;
    found.first().copied().ok_or_else(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(host: &str) -> Vec<String> {
        let found = addresses(host, 9001).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_are_taken_as_they_are() {
        assert_eq!(shown("0.0.0.0"), ["0.0.0.0:9001"]);
        assert_eq!(shown("::1"), ["[::1]:9001"]);
        assert_eq!(shown("[::1]"), ["[::1]:9001"]);
    }

    #[test]
    fn names_are_resolved_those_of_ipv4_first() {
        assert_eq!(shown("localhost")[0], "127.0.0.1:9001");
        assert!(
            addresses("localhost", 0)
                .unwrap()
                .iter()
                .all(|a| a.ip().is_loopback())
        );
    }

    #[test]
    fn what_names_no_place_is_told() {
        let unknown = addresses("no-such-host.invalid", 9001).unwrap_err();
        let told = unknown.to_string();
        assert!(
            told.starts_with("the host name `no-such-host.invalid` cannot be resolved ("),
            "{told}"
        );
        for text in ["", "http://localhost", "local host", "localhost:9001"] {
            let told = addresses(text, 9001).unwrap_err().to_string();
            assert!(told.contains("is no place to listen at"), "{told}");
        }
    }

    #[test]
    fn a_place_with_a_port_is_read_likewise() {
        let shown = |text: &str| address(text).unwrap().to_string();
        assert_eq!(shown("127.0.0.1:8554"), "127.0.0.1:8554");
        assert_eq!(shown("[::1]:8554"), "[::1]:8554");
        assert_eq!(shown("localhost:8554"), "127.0.0.1:8554");
        for text in ["localhost", ":8554", "localhost:x", "::1:8554", "a b:1"] {
            let told = address(text).unwrap_err().to_string();
            assert!(told.contains("and a port"), "{told}");
        }
    }
}
