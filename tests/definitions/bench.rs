//! What the tests of definitions share: a clock that can be put forward, a log that can be read, a
//! store and the platform it asks.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use millrace::clock::{Clock, SystemClock};
use millrace::definitions::{
    ApiKey, DefinitionError, DefinitionKey, DefinitionStore, Demand, Fetched, Settings,
};
use millrace::values::Timestamp;
use serde_json::{Value as Json, json};

use crate::platform::Platform;

/// The key that must not be seen anywhere.
pub const SECRET: &str = "s3cret-key-0123456789";
/// The time-to-live of most tests; they put the clock forward.
pub const TTL: Duration = Duration::from_secs(900);

/// The machine's clock, put forward.
#[derive(Default)]
pub struct ShiftedClock {
    machine: SystemClock,
    ahead: Mutex<Duration>,
}

impl ShiftedClock {
    pub fn advance(&self, by: Duration) {
        *self.ahead.lock().unwrap() += by;
    }

    fn ahead(&self) -> Duration {
        *self.ahead.lock().unwrap()
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let micros = (self.machine.now().unix_seconds() * 1e6) as i64;
        Timestamp::from_unix_micros(micros + self.ahead().as_micros() as i64)
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic() + self.ahead()
    }
}

/// Everything logged in this process.
fn log() -> &'static Mutex<Vec<u8>> {
    static LOG: OnceLock<Mutex<Vec<u8>>> = OnceLock::new();
    LOG.get_or_init(Mutex::default)
}

struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        log().lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn start_log() {
    // The first test starts it; later ones keep it.
    let _ = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(|| LogWriter)
        .try_init();
}

pub fn whole_log() -> String {
    String::from_utf8(log().lock().unwrap().clone()).unwrap()
}

/// The lines of the log that name a workflow, from level info up.
pub fn log_of(workflow: &str) -> String {
    let id = format!("id=\"ws/{workflow}\"");
    let path = format!("/{workflow}_");
    whole_log()
        .lines()
        .filter(|line| line.contains(&id) || line.contains(&path))
        .filter(|line| !line.contains("DEBUG") && !line.contains("TRACE"))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// A definition that shows its version.
pub fn definition(version: &str) -> Json {
    let tag =
        json!({"type": "WorkflowParameter", "name": "workflow_version", "default_value": version});
    json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}, tag],
        "steps": [],
        "outputs": [{"type": "JsonField", "name": "tag", "selector": "$inputs.workflow_version"}],
    })
}

/// A platform, a folder of copies, a clock, and stores on them.
pub struct Bench {
    pub platform: Platform,
    pub clock: Arc<ShiftedClock>,
    pub root: tempfile::TempDir,
    pub workflow: &'static str,
}

impl Bench {
    /// A bench for one workflow; its name must be its own, the log is shared.
    pub fn new(workflow: &'static str) -> Self {
        start_log();
        Self {
            platform: Platform::start(),
            clock: Arc::default(),
            root: tempfile::tempdir().unwrap(),
            workflow,
        }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            ttl: TTL,
            ..Settings::new(self.platform.url(), self.root.path())
        }
    }

    pub fn store(&self) -> DefinitionStore {
        self.store_with(|_| {})
    }

    pub fn store_with(&self, change: impl FnOnce(&mut Settings)) -> DefinitionStore {
        let mut settings = self.settings();
        change(&mut settings);
        DefinitionStore::open(settings, self.clock.clone()).unwrap()
    }

    pub fn key(&self) -> DefinitionKey {
        DefinitionKey::workflow("ws", self.workflow, None, Some(ApiKey::new(SECRET)))
    }

    pub fn publish(&self, version: &str) {
        let id = format!("ws/{}", self.workflow);
        self.platform.publish(&id, &definition(version));
    }

    pub fn get(&self, store: &DefinitionStore) -> Result<Arc<Fetched>, DefinitionError> {
        store.get_blocking(&self.key(), Demand::Cached)
    }

    pub fn get_fresh(&self, store: &DefinitionStore) -> Result<Arc<Fetched>, DefinitionError> {
        store.get_blocking(&self.key(), Demand::Fresh)
    }

    /// What the stamp says: version, source, whether stale.
    pub fn said(&self, fetched: &Fetched) -> (String, &'static str, bool) {
        let stamp = &fetched.stamp;
        assert_eq!(
            fetched.definition["inputs"][1]["default_value"].as_str(),
            stamp.version.as_deref(),
            "the stamp is not that of the definition"
        );
        let version = stamp.version.clone().unwrap();
        (version, stamp.source.name(), stamp.stale(self.clock.now()))
    }

    pub fn expire(&self) {
        self.clock.advance(TTL + Duration::from_secs(2));
    }

    pub fn copies(&self) -> Vec<PathBuf> {
        files(self.root.path())
    }

    pub fn log(&self) -> String {
        log_of(self.workflow)
    }
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
