//! What may be asked for: the checks that a URL passes before anything is resolved.

use std::net::IpAddr;

use url::{Host, Url};

use super::error::FetchError;
use super::settings::Settings;
use crate::network::address::{has_backslash_in_authority, literal};
use crate::redact::Redacted;

/// Longest URL that is read.
const LONGEST: usize = 16 * 1024;

/// Ports of other services, which would take a request for something else: those that browsers
/// refuse too (WHATWG Fetch, "bad port").
const OTHER_SERVICES: &[u16] = &[
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
    102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427,
    465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990,
    993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667,
    6668, 6669, 6679, 6697, 10080,
];

/// Domains that the public name system does not have (RFC 6761, 6762, 7686, 8375; ICANN's
/// `internal`) or that routers hand out.
const PRIVATE_DOMAINS: &[&str] = &[
    "corp",
    "example",
    "home",
    "home.arpa",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "onion",
    "private",
    "test",
];

/// A URL that may be asked for, unless its name stands for an address that may not be reached.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    /// Where to.
    pub(super) url: Url,
    /// Whether only public addresses may be reached.
    pub(super) strict: bool,
}

impl Hop {
    /// The URL that a client names.
    pub(super) fn first(
        text: &str,
        settings: &Settings,
        is_public: fn(IpAddr) -> bool,
    ) -> Result<Self, FetchError> {
        if !settings.enabled {
            return Err(FetchError::SwitchedOff);
        }
        check_text(text)?;
        let url = Url::parse(text).map_err(|_| FetchError::Unreadable("it is no URL"))?;
        let hop = Self {
            url,
            strict: !settings.private_addresses,
        };
        hop.check(settings, true, is_public)?;
        Ok(hop)
    }

    /// The URL that an answer of this one redirects to.
    pub(super) fn redirected(
        &self,
        location: &str,
        settings: &Settings,
        is_public: fn(IpAddr) -> bool,
    ) -> Result<Self, FetchError> {
        let unreadable = FetchError::Unreadable("its redirect is no URL");
        check_text(location)?;
        let url = self.url.join(location).map_err(|_| unreadable)?;
        let to = Redacted::url(&url);
        // From https to http anybody on the way says where it goes: then not into private networks.
        let downgraded = self.url.scheme() == "https" && url.scheme() == "http";
        let next = Self {
            url,
            strict: self.strict || downgraded,
        };
        let checked = if downgraded && !settings.plain_http {
            Err(FetchError::NotHttps)
        } else {
            next.check(settings, settings.check_redirects, is_public)
        };
        match checked {
            Ok(()) => Ok(next),
            Err(cause) => Err(FetchError::Redirected {
                to,
                cause: Box::new(cause),
            }),
        }
    }

    /// `rules`: whether what the operator allows counts, besides what is safe.
    fn check(
        &self,
        settings: &Settings,
        rules: bool,
        is_public: fn(IpAddr) -> bool,
    ) -> Result<(), FetchError> {
        if !matches!(self.url.scheme(), "http" | "https") {
            return Err(FetchError::Scheme);
        }
        let host = self.url.host();
        let Some(host) = host.filter(|host| *host != Host::Domain("")) else {
            return Err(FetchError::Unreadable("it has no host"));
        };
        if let Some(port) = self.url.port().filter(|p| OTHER_SERVICES.contains(p)) {
            return Err(FetchError::Port(port));
        }
        let forbidden = settings.forbidden.as_ref();
        if forbidden.is_some_and(|places| places.have(&self.url)) {
            return Err(FetchError::Offline);
        }
        if rules {
            allowed(&host, self.url.scheme(), settings)?;
        }
        match literal(&self.url) {
            Some(address) if self.strict && !is_public(address) => Err(FetchError::NotPublic),
            _ => Ok(()),
        }
    }
}

/// Refuses what readers of URLs do not agree on.
fn check_text(text: &str) -> Result<(), FetchError> {
    if text.len() > LONGEST {
        return Err(FetchError::Unreadable("it is too long"));
    }
    if text.chars().any(char::is_control) {
        return Err(FetchError::Unreadable("it has control characters"));
    }
    if has_backslash_in_authority(text) {
        return Err(FetchError::Unreadable("it has a backslash in its host"));
    }
    Ok(())
}

/// What the operator allows.
fn allowed(host: &Host<&str>, scheme: &str, settings: &Settings) -> Result<(), FetchError> {
    if scheme != "https" && !settings.plain_http {
        return Err(FetchError::NotHttps);
    }
    if !settings.bare_hosts && !is_qualified(host) {
        return Err(FetchError::NotQualified);
    }
    if settings.refused_hosts.contains(host) {
        return Err(FetchError::HostBlocked);
    }
    match &settings.allowed_hosts {
        Some(list) if !list.contains(host) => Err(FetchError::HostNotListed),
        _ => Ok(()),
    }
}

/// Whether a host is a name that means the same everywhere.
fn is_qualified(host: &Host<&str>) -> bool {
    let Host::Domain(name) = host else {
        return false;
    };
    let name = name.trim_end_matches('.');
    let below = |domain: &str| {
        let above = name.strip_suffix(domain);
        above.is_some_and(|rest| rest.ends_with('.'))
    };
    name.contains('.') && !PRIVATE_DOMAINS.iter().any(|domain| below(domain))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::network::PlatformPlaces;
    use crate::network::address::is_global;

    fn open() -> Settings {
        Settings {
            plain_http: true,
            bare_hosts: true,
            ..Settings::default()
        }
    }

    fn first(text: &str, settings: &Settings) -> Result<Hop, FetchError> {
        Hop::first(text, settings, is_global)
    }

    #[test]
    fn by_default_only_https_to_a_full_domain_name_passes() {
        let strict = Settings::default();
        assert!(first("https://pictures.example.com/a.png?s=1", &strict).is_ok());
        assert!(first("https://pictures.example.com:8443/a.png", &strict).is_ok());
        assert!(first("https://user:word@pictures.example.com/", &strict).is_ok());
        for (text, error) in [
            ("http://example.com/", FetchError::NotHttps),
            ("file:///etc/passwd", FetchError::Scheme),
            ("ftp://example.com/a.png", FetchError::Scheme),
            ("https://pictures/", FetchError::NotQualified),
            ("https://localhost/", FetchError::NotQualified),
            ("https://nas.local./", FetchError::NotQualified),
            ("https://printer.home.arpa/", FetchError::NotQualified),
            ("https://8.8.8.8/", FetchError::NotQualified),
            ("https://[2606:4700::1111]/", FetchError::NotQualified),
            ("https://example.com:22/", FetchError::Port(22)),
            ("https://example.com:0/", FetchError::Port(0)),
        ] {
            assert_eq!(first(text, &strict).unwrap_err(), error, "{text}");
        }
        let off = Settings {
            enabled: false,
            ..open()
        };
        let refused = first("https://example.com/", &off).unwrap_err();
        assert_eq!(refused, FetchError::SwitchedOff);
    }

    #[test]
    fn private_addresses_are_refused_in_every_notation() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.01",
            "127.0.0.1.",
            "0.0.0.0",
            "0",
            "10.0.0.7",
            "172.16.3.4",
            "192.168.1.1",
            "169.254.169.254",
            "0xa9fea9fe",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[fe80::1]",
            "[fd00:ec2::254]",
            "[ff02::1]",
            "example.com@127.0.0.1",
            "example.com:80@127.0.0.1",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "①②⑦.0.0.1",
        ] {
            let text = format!("http://{host}/a.png");
            assert_eq!(
                first(&text, &open()).unwrap_err(),
                FetchError::NotPublic,
                "{text}"
            );
        }
        assert!(first("http://8.8.8.8/a.png", &open()).is_ok());
    }

    #[test]
    fn what_readers_disagree_on_is_refused() {
        for text in [
            "http://example.com\\@127.0.0.1/",
            "http:\\\\127.0.0.1/",
            "http://exam\nple.com/",
            "http://example.com\t/",
            "http://example.com/\0",
            "http://",
            "http:///",
            "http://a b/",
            "http://[::1/",
            "http://[fe80::1%25eth0]/",
            "http://256.1.1.1/",
            "http://1.2.3.4.5/",
            "http://example.com:99999/",
            "pictures/a.png",
            &format!("http://example.com/{}", "a".repeat(LONGEST)),
        ] {
            let error = first(text, &open()).unwrap_err();
            assert!(
                matches!(error, FetchError::Unreadable(_)),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn lists_of_hosts_decide() {
        let settings = Settings {
            allowed_hosts: Some("example.com,example.org".parse().unwrap()),
            refused_hosts: "bad.example.com".parse().unwrap(),
            ..Settings::default()
        };
        assert!(first("https://a.example.com/", &settings).is_ok());
        for (text, error) in [
            ("https://example.net/", FetchError::HostNotListed),
            ("https://bad.example.com./", FetchError::HostBlocked),
            ("https://x.bad.example.com/", FetchError::HostBlocked),
        ] {
            assert_eq!(first(text, &settings).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn offline_mode_keeps_off_the_platform_and_nothing_else() {
        let places = PlatformPlaces::with(["https://platform.example.org"]);
        let settings = Settings {
            forbidden: Some(Arc::new(places)),
            ..Settings::default()
        };
        assert!(first("https://example.com/a.jpg", &settings).is_ok());
        for text in [
            "https://source.roboflow.com/a.jpg",
            "https://platform.example.org/a.jpg",
        ] {
            let error = first(text, &settings).unwrap_err();
            assert_eq!(error, FetchError::Offline, "{text}");
        }
        let hop = first("https://example.com/a.jpg", &settings).unwrap();
        let to = hop.redirected("https://source.roboflow.com/a.jpg", &settings, |_| true);
        assert!(matches!(to, Err(FetchError::Redirected { .. })));
    }

    #[test]
    fn redirects_pass_the_same_checks() {
        let strict = Settings::default();
        let hop = first("https://user:word@a.example.com/x/y?key=1", &strict).unwrap();
        let to = |location: &str, settings: &Settings| {
            let next = hop.redirected(location, settings, is_global);
            next.map_err(|error| match error {
                FetchError::Redirected { cause, .. } => *cause,
                other => other,
            })
        };
        let near = to("../z.png", &strict).unwrap();
        assert_eq!(near.url.as_str(), "https://user:word@a.example.com/z.png");
        let far = to("//b.example.com/z.png", &strict).unwrap();
        assert_eq!(far.url.as_str(), "https://b.example.com/z.png");
        for (location, error) in [
            ("http://a.example.com/", FetchError::NotHttps),
            ("https://127.0.0.1/", FetchError::NotQualified),
            ("file:///etc/passwd", FetchError::Scheme),
            ("https://a.example.com:25/", FetchError::Port(25)),
        ] {
            assert_eq!(to(location, &strict).unwrap_err(), error, "{location}");
        }
        assert!(matches!(
            to("\\\\127.0.0.1/", &strict),
            Err(FetchError::Unreadable(_))
        ));
        let lenient = Settings {
            check_redirects: false,
            ..Settings::default()
        };
        assert_eq!(
            to("https://127.0.0.1/", &lenient).unwrap_err(),
            FetchError::NotPublic
        );
        assert_eq!(
            to("http://b.example.com/", &lenient).unwrap_err(),
            FetchError::NotHttps
        );
        assert!(to("https://b/", &lenient).is_ok());
    }

    #[test]
    fn a_downgrade_never_leads_into_a_private_network() {
        let settings = Settings {
            private_addresses: true,
            ..open()
        };
        let secure = first("https://a.example.com/", &settings).unwrap();
        let plain = first("http://a.example.com/", &settings).unwrap();
        let to = |hop: &Hop| hop.redirected("http://10.0.0.7/", &settings, is_global);
        assert!(to(&plain).is_ok());
        let error = to(&secure).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it redirects to http://10.0.0.7/: the host has no public address \
             (ALLOW_URL_TO_NON_GLOBAL_ADDRESSES)"
        );
        let public = secure
            .redirected("http://8.8.8.8/", &settings, is_global)
            .unwrap();
        assert!(public.strict && to(&public).is_err());
    }
}
