//! How two sides find each other: servers that a client names, ports, and the proof that the other
//! side is still there.

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use url::Url;

use super::WebrtcError;
use crate::network::PlatformPlaces;

/// Servers that are used of those that a client names.
const MOST: usize = 8;
/// Ports of STUN and TURN, and of both with TLS (RFC 7065).
const PORT: u16 = 3_478;
const TLS_PORT: u16 = 5_349;

/// A STUN or TURN server.
#[derive(Clone, PartialEq)]
pub struct IceServer {
    /// Its addresses, as in `turn:host:3478?transport=udp`.
    pub urls: Vec<String>,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub credential: Option<String>,
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IceServer({})", self.urls.len())
    }
}

/// Sets up how a connection is found. Servers at forbidden places are left out, and the connection is
/// looked for without them.
///
/// # Errors
/// If an address of a server cannot be read.
pub(super) fn set_up(
    bin: &gst::Element,
    servers: &[IceServer],
    forbidden: Option<&PlatformPlaces>,
    ports: Option<(u16, u16)>,
) -> Result<(), WebrtcError> {
    let addresses = servers
        .iter()
        .flat_map(|server| server.urls.iter().map(move |url| (server, url)));
    for (server, url) in addresses.take(MOST) {
        let address = address(url, server)?;
        if let Some(place) = forbidden.and_then(|places| forbidden_place(url, places)) {
            tracing::warn!(
                server = place,
                "a STUN or TURN server of the platform is left out: OFFLINE_MODE is on; the connection is looked for without it"
            );
            continue;
        }
        match address {
            Address::Stun(address) => bin.set_property("stun-server", address),
            Address::Turn(address) => {
                bin.emit_by_name::<bool>("add-turn-server", &[&address]);
            }
        }
    }
    if bin.find_property("ice-agent").is_none() {
        return Ok(());
    }
    let agent = bin.property::<glib::Object>("ice-agent");
    if let Some((first, last)) = ports {
        set(&agent, "min-rtp-port", u32::from(first));
        set(&agent, "max-rtp-port", u32::from(last));
    }
    if agent.find_property("agent").is_some() {
        let nice = agent.property::<glib::Object>("agent");
        set(&nice, "ice-tcp", false);
        // Without these a client that vanishes without a word would never be missed (RFC 7675).
        set(&nice, "keepalive-conncheck", true);
        set(&nice, "consent-freshness", true);
    }
    Ok(())
}

/// Sets a property where this release has it and lets it be set.
fn set(object: &glib::Object, name: &str, value: impl Into<glib::Value>) {
    let settable = object.find_property(name).is_some_and(|property| {
        let flags = property.flags();
        flags.contains(glib::ParamFlags::WRITABLE)
            && !flags.contains(glib::ParamFlags::CONSTRUCT_ONLY)
    });
    match settable {
        true => object.set_property_from_value(name, &value.into()),
        false => tracing::debug!(name, "this release of libnice has no such setting"),
    }
}

/// A server as GStreamer names it.
#[derive(Debug, PartialEq)]
enum Address {
    Stun(String),
    Turn(String),
}

/// Host and port of a server, if nothing is sent there. The address has been read ([`address`]).
fn forbidden_place(url: &str, places: &PlatformPlaces) -> Option<String> {
    let (scheme, rest) = url.split_once(':')?;
    let place = rest.split('?').next()?;
    // Hosts are compared as those of HTTP are, whose port is another one.
    let mut asked = Url::parse(&format!("http://{place}")).ok()?;
    if asked.port().is_none() && !place.ends_with(":80") {
        let tls = scheme.to_ascii_lowercase().ends_with('s');
        let port = if tls { TLS_PORT } else { PORT };
        asked.set_port(Some(port)).ok()?;
    }
    places.have(&asked).then(|| place.to_owned())
}

fn address(url: &str, server: &IceServer) -> Result<Address, WebrtcError> {
    let unreadable = |reason: &str| WebrtcError::Field {
        what: "an ICE server",
        reason: reason.to_owned(),
    };
    let (scheme, rest) = url
        .split_once(':')
        .ok_or_else(|| unreadable("it is stun:, turn: or turns: and a host"))?;
    let place = rest.split('?').next().unwrap_or_default();
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if place.is_empty() || rest.len() > 512 || !place.chars().all(plain) {
        return Err(unreadable("its host cannot be read"));
    }
    match scheme.to_ascii_lowercase().as_str() {
        "stun" | "stuns" => Ok(Address::Stun(format!("stun://{place}"))),
        scheme @ ("turn" | "turns") => {
            let encode = |text: &Option<String>| -> String {
                let text = text.as_deref().unwrap_or_default();
                url::form_urlencoded::byte_serialize(text.as_bytes())
                    .collect::<String>()
                    .replace('+', "%20")
            };
            let (user, word) = (encode(&server.username), encode(&server.credential));
            let transport = match rest.split_once("transport=").map(|(_, t)| t) {
                Some(t) if t.starts_with("tcp") => "tcp",
                _ => "udp",
            };
            Ok(Address::Turn(format!(
                "{scheme}://{user}:{word}@{place}?transport={transport}"
            )))
        }
        _ => Err(unreadable("it is stun:, turn: or turns: and a host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_the_platform_are_known_by_host_and_by_port() {
        let places = PlatformPlaces::with(["http://10.0.0.7:3478/", "https://gate.example"]);
        for url in [
            "stun:turn.roboflow.com",
            "turns:TURN.roboflow.com:443?transport=tcp",
            "turn:10.0.0.7",
            "stun:10.0.0.7:3478",
            "turn:gate.example:443",
        ] {
            assert!(forbidden_place(url, &places).is_some(), "{url}");
        }
        for url in [
            "stun:stun.example.com:3478",
            "turn:notroboflow.com",
            "turns:10.0.0.7",
            "turn:10.0.0.7:80",
            "stun:gate.example",
            "stun:[::1]:3478",
        ] {
            assert_eq!(forbidden_place(url, &places), None, "{url}");
        }
    }

    #[test]
    fn servers_are_named_as_gstreamer_wants_it() {
        let server = IceServer {
            urls: Vec::new(),
            username: Some("a b".into()),
            credential: Some("p@s:s".into()),
        };
        let read = |url: &str| address(url, &server);
        assert_eq!(
            read("stun:stun.example.com:3478").unwrap(),
            Address::Stun("stun://stun.example.com:3478".into())
        );
        assert_eq!(
            read("turn:t.example.com:3478?transport=tcp").unwrap(),
            Address::Turn("turn://a%20b:p%40s%3As@t.example.com:3478?transport=tcp".into())
        );
        for url in ["", "turn", "turn:", "http://x", "turn:a b", "stun:x/../y"] {
            assert!(read(url).is_err(), "{url}");
        }
        assert!(!format!("{server:?}").contains("p@s"));
    }
}
