//! What a session is to do, wherever that was written, and what it needs for that.

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::WebrtcError;
use super::ice::IceServer;
use super::outputs::{DataOutput, StreamOutput};
use crate::blocks::{CacheStore, Services};
use crate::definitions::{ApiKey, DefinitionKey, DefinitionStore, Demand, Fetched, Provenance};
use crate::engine::{Engine, RuntimeInputs};
use crate::network::address::is_global;
use crate::sources::{QueuePolicy, SourceSpec, SourceUri};
use crate::values::deserialise::InputOptions;

/// Frames that wait of a live source that must not be thinned while its session keeps up.
const BUFFERED: usize = 30;

/// Which definition a session runs.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// The one under a key; new content of it reaches the running session.
    Key(DefinitionKey),
    /// The one that came with the request.
    Inline(serde_json::Value),
}

/// Where the frames come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Feed {
    /// The client's own track.
    Track,
    /// An RTSP camera that this machine reaches.
    Rtsp(String),
    /// An MJPEG camera that this machine reaches.
    Mjpeg(String),
    /// A video file that the client uploads.
    Upload,
}

/// One session to start.
#[derive(Clone, Debug)]
pub struct SessionSpec {
    /// The client's name for it; without one it gets a random one.
    pub id: Option<String>,
    /// The offer, as SDP.
    pub offer: String,
    /// The definition.
    pub definition: Wanted,
    /// Name of the input that gets the frames.
    pub image_input: String,
    /// Parameters of the workflow.
    pub parameters: RuntimeInputs,
    /// Whether sinks do nothing.
    pub disable_sinks: bool,
    /// The caller's key.
    pub api_key: Option<ApiKey>,
    /// The workspace that it belongs to, where that was asked for.
    pub workspace: Option<String>,
    /// Whether frames are left out that the session cannot keep up with; a file then plays at its
    /// own speed.
    pub realtime: bool,
    /// What goes to the track; `None` for no track.
    pub stream_output: Option<StreamOutput>,
    /// What goes over the channel.
    pub data_output: DataOutput,
    /// Servers that help to connect.
    pub ice: Vec<IceServer>,
    /// Frames per second that the client declares.
    pub declared_fps: Option<f64>,
    /// Where the frames come from.
    pub feed: Feed,
    /// How long it may run.
    pub timeout: Option<Duration>,
}

impl SessionSpec {
    /// The source of frames that is known before the client connects.
    ///
    /// # Errors
    /// If its address cannot be used, or may not be reached.
    pub(super) fn source(
        &self,
        id: &Arc<str>,
        private_mjpeg: bool,
    ) -> Result<Option<SourceSpec>, WebrtcError> {
        let mut spec = match &self.feed {
            Feed::Upload => return Ok(None),
            Feed::Track => SourceSpec::new(SourceUri::Track(id.clone())),
            Feed::Rtsp(address) => {
                let uri = parse("rtsp_url", address, &["rtsp", "rtsps"])?;
                SourceSpec::new(uri)
            }
            Feed::Mjpeg(address) => {
                let uri = parse("mjpeg_url", address, &["http", "https"])?;
                let mut spec = SourceSpec::new(uri);
                if !private_mjpeg {
                    check_public(address)?;
                    // Behind a redirect there may be what may not be reached.
                    spec.follow_redirects = false;
                }
                spec
            }
        };
        spec.video_identifier = Some(id.clone());
        if !self.realtime {
            // More than one waiting frame is stale by the rules of live sources.
            spec.queue = Some(QueuePolicy::DropOldest { capacity: BUFFERED });
            spec.staleness = None;
        }
        Ok(Some(spec))
    }
}

fn field(what: &'static str, reason: impl Into<String>) -> WebrtcError {
    let reason = reason.into();
    WebrtcError::Field { what, reason }
}

fn parse(what: &'static str, text: &str, schemes: &[&str]) -> Result<SourceUri, WebrtcError> {
    let known = text
        .split_once("://")
        .is_some_and(|(scheme, _)| schemes.iter().any(|s| s.eq_ignore_ascii_case(scheme)));
    let strange = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '"' | '\'');
    if !known {
        return Err(field(
            what,
            format!("it begins with {}://", schemes.join(":// or ")),
        ));
    }
    if text.chars().any(strange) {
        return Err(field(what, "it has blanks, quotes or control characters"));
    }
    text.parse()
        .map_err(|error: crate::sources::SourceError| field(what, error.to_string()))
}

/// Refuses an address that stands for a machine that is not reachable from anywhere.
fn check_public(text: &str) -> Result<(), WebrtcError> {
    let what = "mjpeg_url";
    let url = Url::parse(text).map_err(|_| field(what, "it is no URL"))?;
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<IpAddr> = (host, url.port_or_known_default().unwrap_or(80))
        .to_socket_addrs()
        .map_err(|_| field(what, "its host has no address"))?
        .map(|address| address.ip())
        .collect();
    match addresses.iter().all(|address| is_global(*address)) {
        true => Ok(()),
        false => Err(field(
            what,
            "its host is not public; WEBRTC_MJPEG_ALLOW_NON_GLOBAL_ADDRESSES allows such hosts",
        )),
    }
}

/// A definition with its engine, ready to run.
pub(super) struct Program {
    pub fetched: Arc<Fetched>,
    pub key: Option<DefinitionKey>,
    pub provenance: Provenance,
    pub engine: Engine,
    /// Services of its engines; the cache in them is its own.
    pub services: Services,
}

impl Program {
    /// Whether it or anything inside it may change while it runs.
    pub(super) fn is_followed(&self) -> bool {
        self.key.is_some() || !self.provenance.inner().is_empty()
    }

    /// Finds and compiles the definition of a session and makes its engine. Waits for the platform.
    ///
    /// # Errors
    /// If the definition cannot be had, does not compile, or has no such input.
    pub(super) fn build(
        spec: &SessionSpec,
        services: &Services,
        store: &DefinitionStore,
        cache: Arc<CacheStore>,
    ) -> Result<Self, WebrtcError> {
        let services = Services {
            cache,
            disable_sinks: spec.disable_sinks || services.disable_sinks,
            api_key: spec.api_key.clone(),
            ..services.clone()
        };
        let (fetched, key) = match &spec.definition {
            Wanted::Key(key) => (store.get_blocking(key, Demand::Cached)?, Some(key.clone())),
            Wanted::Inline(definition) => {
                let fetched = Fetched::inline(definition.clone(), &*services.clock);
                (Arc::new(fetched), None)
            }
        };
        let compiled = store.compile(&fetched, key.as_ref(), spec.api_key.clone());
        let plan = Arc::new(compiled.plan?);
        let named =
            |input: &&crate::definition::document::InputDef| *input.name == *spec.image_input;
        if plan.image_inputs().find(named).is_none() {
            let names: Vec<String> = plan.image_inputs().map(|i| i.name.to_string()).collect();
            let reason = format!(
                "the definition has no image input {:?}; it has {}",
                spec.image_input,
                if names.is_empty() {
                    "none".into()
                } else {
                    names.join(", ")
                }
            );
            return Err(field("image_input_name", reason));
        }
        let engine = Engine::new(plan, services.clone(), InputOptions::default())?;
        Ok(Self {
            fetched,
            key,
            provenance: compiled.provenance,
            engine,
            services,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a client asks for that asks for nothing but frames.
    pub(in crate::webrtc) fn spec(feed: Feed) -> SessionSpec {
        SessionSpec {
            id: None,
            offer: String::new(),
            definition: Wanted::Inline(serde_json::Value::Null),
            image_input: "image".into(),
            parameters: RuntimeInputs::default(),
            disable_sinks: false,
            api_key: None,
            workspace: None,
            realtime: true,
            stream_output: None,
            data_output: DataOutput::Nothing,
            ice: Vec::new(),
            declared_fps: None,
            feed,
            timeout: None,
        }
    }

    fn refused(feed: Feed, private: bool) -> String {
        let refused = spec(feed).source(&"s".into(), private);
        refused.unwrap_err().to_string()
    }

    #[test]
    fn cameras_are_named_by_their_own_schemes_only() {
        for address in [
            "http://cam/a",
            "rtsp:cam",
            "file:///etc/passwd",
            "/a.mp4",
            "test:",
        ] {
            let told = refused(Feed::Rtsp(address.into()), true);
            assert!(told.contains("rtsp_url cannot be used"), "{told}");
        }
        let told = refused(Feed::Rtsp("rtsp://cam/a b".into()), true);
        assert!(told.contains("blanks"), "{told}");
        let source = spec(Feed::Rtsp("rtsp://u:p@cam/a".into())).source(&"s".into(), false);
        assert!(matches!(source.unwrap().unwrap().uri, SourceUri::Rtsp(_)));
    }

    #[test]
    fn mjpeg_cameras_in_private_networks_are_allowed_only_where_the_operator_says_so() {
        for address in [
            "http://127.0.0.1:1/a",
            "http://10.0.0.7/a",
            "http://[::1]/a",
            "http://0x7f.1/a",
            "http://169.254.169.254/latest",
            "http://localhost/a",
        ] {
            let told = refused(Feed::Mjpeg(address.into()), false);
            assert!(told.contains("not public"), "{address}: {told}");
            let allowed = spec(Feed::Mjpeg(address.into())).source(&"s".into(), true);
            assert!(allowed.unwrap().unwrap().follow_redirects);
        }
        let public = spec(Feed::Mjpeg("http://8.8.8.8/a".into())).source(&"s".into(), false);
        assert!(!public.unwrap().unwrap().follow_redirects);
    }

    #[test]
    fn frames_of_a_track_wait_a_while_where_none_should_be_left_out() {
        let mut spec = spec(Feed::Track);
        let queue = |spec: &SessionSpec| spec.source(&"s".into(), false).unwrap().unwrap().queue;
        assert_eq!(queue(&spec), None);
        spec.realtime = false;
        let capacity = BUFFERED;
        assert_eq!(queue(&spec), Some(QueuePolicy::DropOldest { capacity }));
    }
}
