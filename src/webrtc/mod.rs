//! WebRTC sessions as the SDK's client makes them (server specification 4.8).
//!
//! A client offers a connection and gets an answer; from then on the session lives by itself: it
//! takes frames (the client's track, an RTSP or MJPEG camera, an uploaded file), runs the workflow on
//! them as a [`crate::streams::Stream`], and sends results over the data channel and, where asked
//! for, pictures on a video track.
//! - **Everything is bounded**: sessions, sessions of a workspace, the time of a session, what waits
//!   for a slow client, uploads in size and on disk.
//! - **A session ends** when its client goes, when it is told to, when its time is up; within two
//!   seconds, with its threads, its descriptors and its uploaded file.
//! - **Nothing of one session touches another.** A refused request leaves nothing behind.
//!
//! Definitions under a key are followed: new content reaches the running session, and every message
//! on a frame says which definition made it (`definition`).

mod error;
mod film;
mod ice;
mod life;
mod message;
mod offer;
mod outputs;
mod pacing;
mod peer;
mod pulse;
mod record;
mod session;
mod settings;
mod spec;
#[cfg(test)]
mod tests;
mod track;
mod upload;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use serde_json::{Value as Json, json};
use uuid::Uuid;

pub use error::WebrtcError;
pub use ice::IceServer;
pub use life::Phase;
pub use outputs::{DataOutput, StreamOutput};
pub use settings::Settings;
pub use spec::{Feed, SessionSpec, Wanted};

use crate::blocks::{CacheStore, Services};
use crate::definitions::{ApiKey, DefinitionStore, Provenance};
use crate::sources::{Source, SourceError, SourceSpec, SourceUri};
use crate::streams::Figures;
use offer::Offer;
use peer::{Peer, PeerSpec};
use record::{Host, Record};
use session::Session;
use spec::Program;
use upload::{Budget, Upload};

/// How long a camera may take to its first frame before the session is refused.
const FIRST_FRAME: Duration = Duration::from_secs(8);
/// How long sessions that are told to end may take to be gone.
const GOING: Duration = Duration::from_millis(1_900);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Longest name that a client may give a session.
const LONGEST_ID: usize = 128;

type Records = IndexMap<Arc<str>, Arc<Record>>;

/// The sessions of this process. Dropping it tells them all to end.
pub struct Sessions {
    host: Arc<Host>,
    records: Arc<Mutex<Records>>,
    started: AtomicU64,
}

/// A session that was started.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Its name.
    pub id: String,
    /// The answer to the offer, as SDP.
    pub sdp: String,
    /// The definition that it runs.
    pub definition: Provenance,
}

/// A running session, as far as metrics need to know.
pub struct SessionStream {
    /// Its name.
    pub id: String,
    /// Id of its definition.
    pub definition: String,
    /// Its figures, once frames run.
    pub figures: Option<Arc<Figures>>,
    /// What its cache blocks hold.
    pub cache: Arc<CacheStore>,
}

fn lock(records: &Mutex<Records>) -> MutexGuard<'_, Records> {
    records.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name that no session has: the client's, where it is one.
fn free_id(wanted: Option<String>, records: &Records) -> Arc<str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let usable = |id: &String| {
        (1..=LONGEST_ID).contains(&id.len())
            && id.chars().all(plain)
            && !records.contains_key(id.as_str())
    };
    let id = wanted.filter(usable);
    id.unwrap_or_else(|| Uuid::new_v4().to_string()).into()
}

/// A place among the sessions; given back when dropped.
struct Place {
    records: Arc<Mutex<Records>>,
    id: Arc<str>,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.records).shift_remove(&self.id);
    }
}

impl Sessions {
    /// No sessions.
    pub fn new(services: Services, store: Arc<DefinitionStore>, settings: Settings) -> Self {
        let host = Host {
            services,
            store,
            uploads: Arc::new(Budget::new(settings.uploads_bytes)),
            settings,
        };
        Self {
            host: Arc::new(host),
            records: Arc::default(),
            started: AtomicU64::new(0),
        }
    }

    /// How they behave.
    pub fn settings(&self) -> &Settings {
        &self.host.settings
    }

    /// Starts a session for a client: finds and compiles its definition, opens its camera, answers
    /// its offer. Waits for all that.
    ///
    /// # Errors
    /// If there are too many sessions, the offer or the definition cannot be used, or the camera
    /// gives no picture; then nothing is left behind.
    pub fn start(&self, mut spec: SessionSpec) -> Result<Answered, WebrtcError> {
        crate::sources::gst::init().map_err(WebrtcError::host)?;
        let (record, place) = self.take_place(&mut spec)?;
        let offer = Offer::read(&spec.offer)?;
        let has_track = offer.video.is_some_and(|video| video.sends);
        // A client that brings nothing but channels has only one way to bring frames.
        match spec.feed {
            Feed::Track if !has_track && offer.data => spec.feed = Feed::Upload,
            Feed::Track if !has_track => {
                let reason = "it has no video track to run on; offer one, or name a camera";
                return Err(WebrtcError::offer(reason));
            }
            _ => {}
        }
        let camera = spec.source(&record.id, self.host.settings.private_mjpeg)?;
        let cache = record.cache.clone();
        let program = Program::build(&spec, &self.host.services, &self.host.store, cache)?;
        let definition = program.provenance.clone();
        let (peer, source) = self.meet(&spec, &offer, camera, &record)?;
        let sdp = peer.answer.clone();
        let id = record.id.to_string();
        let host = self.host.clone();
        let session = Session::new(host, record, spec, peer, program, source, offer.data);
        thread::Builder::new()
            .name(format!("webrtc:{id}"))
            .spawn(move || {
                let run = std::panic::AssertUnwindSafe(|| session.run());
                if std::panic::catch_unwind(run).is_err() {
                    tracing::error!(session = %place.id, "the thread of the session panicked");
                }
                drop(place);
            })
            .map_err(WebrtcError::host)?;
        self.started.fetch_add(1, Ordering::Relaxed);
        tracing::info!(session = %id, "a WebRTC session was started");
        Ok(Answered {
            id,
            sdp,
            definition,
        })
    }

    /// Opens what the frames come from, and answers the offer.
    fn meet(
        &self,
        spec: &SessionSpec,
        offer: &Offer,
        camera: Option<SourceSpec>,
        record: &Record,
    ) -> Result<(Peer, Option<Source>), WebrtcError> {
        let (source, inflow) = match camera {
            None => (None, None),
            Some(camera) if spec.feed == Feed::Track => {
                let clock = self.host.services.clock.clone();
                let (source, inflow) = Source::of_track(camera, clock)?;
                (Some(source), Some(inflow))
            }
            Some(camera) => (Some(self.connect(camera, record)?), None),
        };
        let upload = match spec.feed {
            Feed::Upload => Some(self.new_upload()?),
            _ => None,
        };
        let peer = Peer::answer(PeerSpec {
            offer,
            shows: spec.stream_output.is_some(),
            inflow,
            upload,
            ice: &spec.ice,
            forbidden: self.host.settings.forbidden.as_deref(),
            ports: self.host.settings.ports,
        })?;
        Ok((peer, source))
    }

    /// Takes a place, if there is one left for anybody and for the workspace.
    fn take_place(&self, spec: &mut SessionSpec) -> Result<(Arc<Record>, Place), WebrtcError> {
        let settings = &self.host.settings;
        let mut records = lock(&self.records);
        let id = free_id(spec.id.take(), &records);
        if records.len() >= settings.max_sessions {
            return Err(WebrtcError::Full {
                limit: settings.max_sessions,
            });
        }
        if let (Some(limit), Some(workspace)) = (settings.quota, &spec.workspace) {
            let own = |record: &&Arc<Record>| record.workspace.as_ref() == Some(workspace);
            if records.values().filter(own).count() >= limit {
                return Err(WebrtcError::Quota { limit });
            }
        }
        let definition = match &spec.definition {
            Wanted::Key(key) => key.to_string(),
            Wanted::Inline(_) => "inline".into(),
        };
        let (key, workspace) = (spec.api_key.clone(), spec.workspace.clone());
        let record = Arc::new(Record::new(id.clone(), definition, key, workspace));
        records.insert(id.clone(), record.clone());
        let place = Place {
            records: self.records.clone(),
            id,
        };
        Ok((record, place))
    }

    /// Opens a camera and waits for its first frame. An HTTP camera that turns out to be a recording
    /// is taken too.
    fn connect(&self, spec: SourceSpec, record: &Record) -> Result<Source, WebrtcError> {
        let lives = matches!(spec.uri, SourceUri::Rtsp(_));
        let source = Source::open_with_clock(spec, self.host.services.clock.clone())?;
        let until = Instant::now() + FIRST_FRAME;
        loop {
            let failed = match source.ready(LOOK * 10) {
                Ok(_) => return Ok(source),
                Err(error) => error,
            };
            if record.stop.is_told() {
                return Err(WebrtcError::host("it was told to end"));
            }
            // A camera that refuses is not asked again before the client is told.
            let refused = match lives {
                true => source.stats().last_error,
                false => None,
            };
            if let Some(error) = refused {
                return Err(error.into());
            }
            if !matches!(failed, SourceError::NoFrame { .. }) || Instant::now() >= until {
                return Err(failed.into());
            }
        }
    }

    fn new_upload(&self) -> Result<Upload, WebrtcError> {
        let settings = &self.host.settings;
        // Not the client's name: files of two servers may lie in one folder.
        let name = Uuid::new_v4().to_string();
        Upload::create(
            &settings.upload_dir,
            &name,
            settings.upload_bytes,
            self.host.uploads.clone(),
        )
        .map_err(WebrtcError::host)
    }

    /// Names of the sessions, oldest first.
    pub fn list(&self) -> Vec<String> {
        lock(&self.records)
            .keys()
            .map(ToString::to_string)
            .collect()
    }

    /// The keys of a session and the workspace that its own belongs to, where that was asked for.
    pub fn owner(&self, id: &str) -> Option<(Option<ApiKey>, Option<String>)> {
        let records = lock(&self.records);
        let record = records.get(id)?;
        Some((record.api_key.clone(), record.workspace.clone()))
    }

    /// Tells a session to end; false if there is none of this name.
    pub fn end(&self, id: &str) -> bool {
        let record = lock(&self.records).get(id).cloned();
        record.is_some_and(|record| {
            record.stop.tell();
            true
        })
    }

    /// The sessions that run frames.
    pub fn streams(&self) -> Vec<SessionStream> {
        let records = lock(&self.records);
        let streams = records.values().map(|record| SessionStream {
            id: record.id.to_string(),
            definition: record.definition.clone(),
            figures: record.figures().cloned(),
            cache: record.cache.clone(),
        });
        streams.collect()
    }

    /// How many sessions there are, how many there were, and bytes of uploads on disk.
    pub fn figures(&self) -> (usize, u64, u64) {
        let now = lock(&self.records).len();
        let started = self.started.load(Ordering::Relaxed);
        (now, started, self.host.uploads.used())
    }

    /// The sessions, for those who look after the server.
    pub fn health_json(&self) -> Json {
        let records = lock(&self.records);
        let each = records.values().map(|record| {
            json!({
                "session": &*record.id,
                "phase": record.phase().name(),
                "definition": record.definition,
                "results": record.results(),
            })
        });
        each.collect()
    }

    /// Tells all sessions to end, and waits until they are gone, two seconds at most.
    pub fn shut_down(&self) {
        let until = Instant::now() + GOING;
        for record in lock(&self.records).values() {
            record.stop.tell();
        }
        while !lock(&self.records).is_empty() {
            if Instant::now() >= until {
                tracing::warn!("WebRTC sessions take long to end and are left to themselves");
                return;
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        for record in lock(&self.records).values() {
            record.stop.tell();
        }
    }
}
