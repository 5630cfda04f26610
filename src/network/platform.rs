//! Where the platform is: the places that nothing is sent to in offline mode (`OFFLINE_MODE`).

use url::{Host, Url};

/// The domain of the public platform; every host below it is the platform's.
const DOMAIN: &str = "roboflow.com";

/// The addresses of the platform, as the public one has them and as the operator names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlatformPlaces {
    /// Host and port of each address that the operator names.
    named: Vec<(Host, u16)>,
}

impl PlatformPlaces {
    /// The public platform, and these addresses. What is no address of a host is left out.
    pub fn with<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Self {
        let addresses = addresses.into_iter();
        let place = |text: &str| place(&Url::parse(text).ok()?);
        Self {
            named: addresses.filter_map(place).collect(),
        }
    }

    /// Whether an address leads to the platform.
    pub fn have(&self, url: &Url) -> bool {
        let public = url.domain().is_some_and(|host| {
            let host = host.trim_end_matches('.');
            host.strip_suffix(DOMAIN)
                .is_some_and(|below| below.is_empty() || below.ends_with('.'))
        });
        public || place(url).is_some_and(|place| self.named.contains(&place))
    }
}

fn place(url: &Url) -> Option<(Host, u16)> {
    Some((url.host()?.to_owned(), url.port_or_known_default()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_platform_and_named_places_are_known_and_nothing_beside_them() {
        let places = PlatformPlaces::with(["http://127.0.0.1:5000/x", "https://gate.example", "?"]);
        let have = |url: &str| places.have(&Url::parse(url).unwrap());
        for url in [
            "https://api.roboflow.com/ws?api_key=k",
            "https://roboflow.com/",
            "http://SERVERLESS.roboflow.com.:8080/",
            "http://127.0.0.1:5000/other",
            "https://gate.example:443/y",
        ] {
            assert!(have(url), "{url}");
        }
        for url in [
            "https://notroboflow.com/",
            "https://roboflow.com.example/",
            "http://127.0.0.1:5001/x",
            "http://gate.example/",
            "mailto:a@roboflow.com",
        ] {
            assert!(!have(url), "{url}");
        }
    }
}
