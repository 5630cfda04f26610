//! What may be fetched, how much of it and for how long.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use url::Host;

use crate::network::PlatformPlaces;

/// What may be fetched. The names are those of the environment variables of the reference; where a
/// default is not the reference's, it is the safer one.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `ALLOW_URL_INPUT`, true: whether images by URL are fetched at all.
    pub enabled: bool,
    /// `ALLOW_NON_HTTPS_URL_INPUT`, false: whether `http` is fetched too.
    pub plain_http: bool,
    /// `ALLOW_URL_INPUT_WITHOUT_FQDN`, false: whether a host may be an address, a name without a
    /// dot, or one of a domain that only private networks have.
    pub bare_hosts: bool,
    /// `ALLOW_URL_TO_NON_GLOBAL_ADDRESSES`, false (the reference: true): whether this machine and
    /// private networks may be reached.
    pub private_addresses: bool,
    /// `WHITELISTED_DESTINATIONS_FOR_URL_INPUT`: the only hosts that may be reached.
    pub allowed_hosts: Option<HostList>,
    /// `BLACKLISTED_DESTINATIONS_FOR_URL_INPUT`: hosts that may not be reached.
    pub refused_hosts: HostList,
    /// Where nothing is fetched from, in offline mode (`OFFLINE_MODE`).
    pub forbidden: Option<Arc<PlatformPlaces>>,
    /// `MAX_IMAGE_URL_REDIRECTS`, 30.
    pub max_redirects: usize,
    /// `VALIDATE_IMAGE_URL_REDIRECTS`, true (the reference: false): whether redirects may lead only
    /// where a first URL may. Their addresses are checked in any case.
    pub check_redirects: bool,
    /// How much, and for how long.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            plain_http: false,
            bare_hosts: false,
            private_addresses: false,
            allowed_hosts: None,
            refused_hosts: HostList::default(),
            forbidden: None,
            max_redirects: 30,
            check_redirects: true,
            limits: Limits::default(),
        }
    }
}

/// How much is fetched, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one image.
    pub image_bytes: usize,
    /// Bytes of all images of a request.
    pub request_bytes: usize,
    /// Time for a connection to come about.
    pub connect: Duration,
    /// Time for one image, from its turn to its last byte.
    pub image: Duration,
    /// Time for all images of a request.
    pub request: Duration,
    /// Images of one request at the same time.
    pub at_once: usize,
    /// Images of all requests at the same time.
    pub at_once_in_all: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            image_bytes: 64 << 20,
            request_bytes: 256 << 20,
            connect: Duration::from_secs(5),
            image: Duration::from_secs(30),
            request: Duration::from_secs(60),
            at_once: 8,
            at_once_in_all: 32,
        }
    }
}

/// Hosts with commas between them: names, each standing for itself and all names below it, and
/// addresses. `*.` in front of a name changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostList(Vec<Host>);

/// An entry of a list is no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host, write names such as example.com with commas between them")]
pub struct HostListError(String);

impl FromStr for HostList {
    type Err = HostListError;

    fn from_str(text: &str) -> Result<Self, HostListError> {
        let entries = text.split(',').map(str::trim).filter(|e| !e.is_empty());
        let hosts = entries.map(|entry| {
            let name = entry.strip_prefix("*.").unwrap_or(entry);
            let address = name.parse::<IpAddr>().map(of_address);
            let host = address.or_else(|_| Host::parse(name.trim_end_matches('.')).map(canonical));
            host.map_err(|_| HostListError(entry.to_owned()))
        });
        hosts.collect::<Result<_, _>>().map(Self)
    }
}

impl HostList {
    /// Whether an entry stands for this host.
    pub fn contains(&self, host: &Host<&str>) -> bool {
        let host = canonical(host.to_owned());
        self.0.iter().any(|entry| match (entry, &host) {
            (Host::Domain(entry), Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                let above = name.strip_suffix(entry.as_str());
                above.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            (entry, host) => entry == host,
        })
    }
}

fn of_address(address: IpAddr) -> Host {
    match address.to_canonical() {
        IpAddr::V4(v4) => Host::Ipv4(v4),
        IpAddr::V6(v6) => Host::Ipv6(v6),
    }
}

/// One way to write each address: an IPv4 address wrapped in IPv6 is the former.
fn canonical(host: Host) -> Host {
    match host {
        Host::Ipv6(v6) => of_address(v6.into()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn a_name_stands_for_those_below_it_and_an_address_for_itself() {
        let list: HostList = " example.com ,*.Bücher.example, 10.0.0.7,::1,"
            .parse()
            .unwrap();
        let has = |text: &str| {
            let url = Url::parse(text).unwrap();
            list.contains(&url.host().unwrap())
        };
        for text in [
            "http://example.com/",
            "http://EXAMPLE.com./",
            "http://a.b.example.com/",
            "http://xn--bcher-kva.example/",
            "http://img.bücher.example/",
            "http://10.0.0.7/",
            "http://[::ffff:10.0.0.7]/",
            "http://[::1]/",
        ] {
            assert!(has(text), "{text}");
        }
        for text in [
            "http://badexample.com/",
            "http://example.com.evil.org/",
            "http://example.org/",
            "http://10.0.0.70/",
        ] {
            assert!(!has(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_named() {
        for entry in ["https://example.com", "example.com:443", "a b"] {
            let error = entry.parse::<HostList>().unwrap_err();
            assert!(error.to_string().contains(entry), "{error}");
        }
        assert_eq!("".parse(), Ok(HostList::default()));
    }
}
