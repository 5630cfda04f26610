//! A fleet with real sources, engines and definitions; what cannot be had on every machine (a camera
//! that hangs, a platform that hangs, a model that does not load) is a socket or a pipe that nobody
//! answers.

mod declared;
mod life;
mod outputs;
mod sources;
mod stop;
mod watchdog;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::{Fleet, PipelineSpec, Settings, Wanted};
use crate::blocks::Services;
use crate::clock::awake::awake;
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::definitions::{DefinitionStore, Settings as StoreSettings};
use crate::sources::SourceSpec;
use crate::values::Timestamp;

/// A clip of 300 frames at 25 per second, 640×360.
const CLIP: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/fixtures/video/shapes_a_640x360_25fps.mp4"
);
/// A camera that is always there, 25 frames per second.
const CAMERA: &str = "videotestsrc://?size=64x48&fps=25&live=true";
/// The longest that a stop may take.
const STOPS: Duration = Duration::from_secs(2);

/// A fleet with a platform at this address, and the folder of its copies.
fn fleet_at(base: &str, services: Services, settings: Settings) -> (Fleet, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = StoreSettings::new(base.parse().unwrap(), folder.path());
    store.folder = Some(folder.path().to_owned());
    store.poll = Duration::from_millis(50);
    let store = DefinitionStore::open(store, Arc::new(SystemClock::default())).unwrap();
    let fleet = Fleet::start(services, Arc::new(store), settings).unwrap();
    (fleet, folder)
}

fn fleet() -> Fleet {
    fleet_with(Settings::default())
}

fn fleet_with(settings: Settings) -> Fleet {
    fleet_at("http://127.0.0.1:9", Services::default(), settings).0
}

/// The machine's clock, put forward by hand: what takes minutes is over at once, and what a busy machine
/// delays by seconds is not mistaken for it.
#[derive(Default)]
struct Forward {
    real: SystemClock,
    by: ManualClock,
}

impl Forward {
    fn advance(&self, seconds: u64) {
        self.by.advance(Duration::from_secs(seconds));
    }
}

impl Clock for Forward {
    fn now(&self) -> Timestamp {
        self.real.now()
    }

    fn monotonic(&self) -> Duration {
        self.real.monotonic() + self.by.monotonic()
    }
}

/// A fleet and its clock.
fn fleet_and_clock(settings: Settings) -> (Fleet, Arc<Forward>) {
    let clock = Arc::new(Forward::default());
    let services = Services {
        clock: clock.clone(),
        ..Services::default()
    };
    (fleet_at("http://127.0.0.1:9", services, settings).0, clock)
}

/// Shows the frame, and what a step of this type makes of `v`.
fn definition(block: &str, v: &str) -> Json {
    json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": [{"type": block, "name": "step", "v": v}],
        "outputs": [
            {"type": "JsonField", "name": "image", "selector": "$inputs.image"},
            {"type": "JsonField", "name": "o", "selector": "$steps.step.o"},
        ],
    })
}

fn echo() -> Wanted {
    Wanted::Inline(definition("Echo", "x").into())
}

fn source(uri: &str) -> SourceSpec {
    SourceSpec::new(uri.parse().unwrap())
}

fn spec(uri: &str, wanted: Wanted) -> PipelineSpec {
    PipelineSpec::new(vec![source(uri)], wanted)
}

/// A port that accepts connections and never says a word.
fn silent_port() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port at which nobody listens.
fn closed_port() -> u16 {
    silent_port().1
}

/// Ends a pipeline and checks that it took no longer than it may.
#[track_caller]
fn terminate(fleet: &Fleet, id: &str) {
    let began = awake();
    fleet.terminate(id).unwrap();
    let took = awake() - began;
    assert!(took < STOPS, "it took {took:?}");
}

/// Waits for something to come true.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        let waited = began.elapsed();
        assert!(
            waited < Duration::from_secs(20),
            "{what}: not within {waited:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What is read once it has stayed the same for half a second in which the process was run.
#[track_caller]
fn at_rest<T: PartialEq>(what: &str, read: impl Fn() -> T) -> T {
    let mut last = (read(), awake());
    until(what, || {
        let now = read();
        if now != last.0 {
            last = (now, awake());
        }
        awake() - last.1 >= Duration::from_millis(500)
    });
    last.0
}

fn own(fleet: &Fleet, id: &str) -> Json {
    fleet.status(id).unwrap()["millrace"].clone()
}

fn results(fleet: &Fleet, id: &str) -> u64 {
    own(fleet, id)["figures"]["results"].as_u64().unwrap_or(0)
}

#[track_caller]
fn until_results(fleet: &Fleet, id: &str) {
    until("results", || {
        own(fleet, id)["figures"]["results"].as_u64() > Some(2)
    });
}

fn state_of(fleet: &Fleet, id: &str, source: usize) -> String {
    let status = fleet.status(id).unwrap();
    status["sources_metadata"][source]["state"]
        .as_str()
        .unwrap()
        .to_owned()
}
