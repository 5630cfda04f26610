//! A machine for the doctor to examine: a stand-in for the platform, folders, settings; and what the
//! doctor says of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::{Path as Parts, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use millrace::definitions::disk::DiskCache;
use millrace::definitions::{ApiKey, PlatformKey};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

pub const KEY: &str = "s3cretKey7x";

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// A server on this machine; it stops when dropped.
pub struct Server {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    pub fn start(router: Router, address: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(address))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            _runtime: runtime,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// What the stand-in for the platform says.
#[derive(Default)]
pub struct Book {
    published: HashMap<String, Json>,
    /// Seconds by which its clock is ahead.
    pub ahead: i64,
    pub status: Option<u16>,
}

pub type Shared = Arc<Mutex<Book>>;

fn platform(book: Shared) -> Router {
    Router::new()
        .route("/", get(workspace))
        .route("/{workspace}/workflows/{id}", get(workflow))
        .with_state(book)
}

/// Status, date and key, before anything else is looked at.
fn refusal(book: &Book, query: &HashMap<String, String>) -> Option<Response> {
    let status = match (book.status, query.get("api_key").map(String::as_str)) {
        (Some(status), _) => status,
        (None, Some(KEY)) => return None,
        (None, _) => 401,
    };
    Some(dated(
        book,
        StatusCode::from_u16(status).unwrap(),
        json!({"message": "no"}),
    ))
}

fn dated(book: &Book, status: StatusCode, body: Json) -> Response {
    let mut headers = HeaderMap::new();
    let now = chrono::Utc::now() + chrono::Duration::seconds(book.ahead);
    let date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    headers.insert("date", HeaderValue::from_str(&date).unwrap());
    (status, headers, axum::Json(body)).into_response()
}

async fn workspace(
    State(book): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let book = book.lock().unwrap();
    refusal(&book, &query)
        .unwrap_or_else(|| dated(&book, StatusCode::OK, json!({"workspace": "ws"})))
}

async fn workflow(
    State(book): State<Shared>,
    Parts((workspace, id)): Parts<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let book = book.lock().unwrap();
    if let Some(refused) = refusal(&book, &query) {
        return refused;
    }
    match book.published.get(&format!("{workspace}/{id}")) {
        Some(definition) => dated(&book, StatusCode::OK, answer(&id, definition)),
        None => dated(&book, StatusCode::NOT_FOUND, json!({})),
    }
}

fn answer(id: &str, definition: &Json) -> Json {
    let config = json!({"specification": definition}).to_string();
    json!({"workflow": {"id": "x1", "url": id, "config": config}, "status": "ok"})
}

pub fn definition(tag: &str) -> Json {
    json!({
        "version": "1.0",
        "inputs": [
            {"type": "WorkflowImage", "name": "image"},
            {"type": "WorkflowParameter", "name": "workflow_version", "default_value": tag},
        ],
        "steps": [{"type": "roboflow_core/roboflow_object_detection_model@v2", "name": "boxes",
            "images": "$inputs.image", "model_id": "shapes"}],
        "outputs": [
            {"type": "JsonField", "name": "workflow_version", "selector": "$inputs.workflow_version"},
            {"type": "JsonField", "name": "boxes", "selector": "$steps.boxes.predictions"},
        ],
    })
}

/// A machine on which all is well: the platform answers, takes the key and has published
/// `ws/flow`, of which there is a fresh copy; one model package; a definition; a free port.
pub struct Machine {
    pub book: Shared,
    platform: Server,
    pub folder: TempDir,
    pub port: u16,
    env: BTreeMap<&'static str, String>,
}

impl Machine {
    pub fn healthy() -> Self {
        let book = Shared::default();
        let platform = Server::start(platform(book.clone()), "127.0.0.1:0");
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let machine = Self {
            book,
            platform,
            folder,
            port: listener.local_addr().unwrap().port(),
            env: BTreeMap::new(),
        };
        let package = machine.package();
        fs::create_dir_all(&package).unwrap();
        for file in fs::read_dir(root().join("fixtures/models/shapes-det-320")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), package.join(file.file_name())).unwrap();
        }
        machine.publish(&definition("v1"));
        machine.cache_copy(&definition("v1"), 60);
        fs::write(machine.saved(), definition("v1").to_string()).unwrap();
        machine
    }

    pub fn package(&self) -> PathBuf {
        self.folder.path().join("models/shapes")
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    pub fn saved(&self) -> PathBuf {
        self.folder.path().join("flow.json")
    }

    pub fn copy(&self) -> PathBuf {
        let key = PlatformKey::new("ws", "flow", None, Some(ApiKey::new(KEY)));
        DiskCache::new(self.cache(), false, false).path(&key)
    }

    pub fn publish(&self, definition: &Json) {
        let mut book = self.book.lock().unwrap();
        book.published.insert("ws/flow".into(), definition.clone());
    }

    /// Leaves a copy that was fetched so many seconds ago.
    pub fn cache_copy(&self, definition: &Json, seconds: u64) {
        let path = self.copy();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, answer("flow", definition).to_string()).unwrap();
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .unwrap();
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.insert(name, value.into());
        self
    }

    pub fn examine(&self) -> Report {
        self.examined(None, &[])
    }

    pub fn examine_with(&self, args: &[&str]) -> Report {
        self.examined(None, args)
    }

    /// Examines the machine in a mount namespace of its own after these shell commands; `$CACHE` is
    /// the cache folder.
    pub fn examine_after(&self, mounts: &str) -> Report {
        self.examined(Some(mounts), &[])
    }

    fn examined(&self, mounts: Option<&str>, args: &[&str]) -> Report {
        let binary = env!("CARGO_BIN_EXE_millrace");
        let mut command = match mounts {
            None => Command::new(binary),
            Some(mounts) => {
                let mut command = Command::new("unshare");
                let script = format!("{mounts}\nexec \"$0\" \"$@\"");
                command.args(["--mount", "sh", "-ec", &script, binary]);
                command
            }
        };
        for (name, _) in std::env::vars() {
            let of_millrace = ["ROBOFLOW", "WORKFLOWS", "MILLRACE", "GST_", "REDIS"];
            if of_millrace.iter().any(|start| name.starts_with(start)) || name == "PORT" {
                command.env_remove(name);
            }
        }
        let models = self.folder.path().join("models");
        command
            .current_dir(root())
            .args(["doctor", "--json", "--port", &self.port.to_string()])
            .args(["--workflow", "ws/flow"])
            .args(args)
            .arg("--models")
            .arg(models)
            .arg("--definition")
            .arg(self.saved())
            .env("API_BASE_URL", self.platform.url())
            .env("ROBOFLOW_API_HOST", self.platform.url())
            .env("ROBOFLOW_API_KEY", KEY)
            .env("MODEL_CACHE_DIR", self.cache())
            .env("CACHE", self.cache())
            .envs(&self.env);
        let started = Instant::now();
        let output = command.output().unwrap();
        Report::read(&output, started.elapsed())
    }

    /// Examines the machine: exactly this check finds a fault, with these words in evidence and remedy.
    pub fn has_one_fault(&self, check: &str, evidence: &str, remedy: &str) {
        self.examine().only_fault(check, evidence, remedy);
    }
}

/// What the doctor said.
#[derive(Debug)]
pub struct Report {
    pub code: i32,
    found: Vec<Json>,
    pub took: Duration,
}

impl Report {
    fn read(output: &Output, took: Duration) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !text.contains(KEY) && !errors.contains(KEY),
            "the key is shown: {text}{errors}"
        );
        Self {
            code: output.status.code().unwrap(),
            found: serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{errors}")),
            took,
        }
    }

    pub fn checks(&self, verdict: &str) -> BTreeSet<&str> {
        let of = self.found.iter().filter(|f| f["verdict"] == verdict);
        of.map(|f| f["check"].as_str().unwrap()).collect()
    }

    pub fn one(&self, check: &str, verdict: &str) -> (&str, &str) {
        let found = self
            .found
            .iter()
            .find(|f| f["check"] == check && f["verdict"] == verdict);
        let found = found.unwrap_or_else(|| panic!("no {verdict} of {check}: {self:#?}"));
        let text = |name: &str| found[name].as_str().unwrap_or_default();
        (text("evidence"), text("remedy"))
    }

    /// Exactly this check found a fault, with these words in evidence and remedy.
    pub fn only_fault(&self, check: &str, evidence: &str, remedy: &str) {
        assert_eq!(self.checks("fault"), BTreeSet::from([check]), "{self:#?}");
        assert_eq!(self.code, 1);
        let (seen, mends) = self.one(check, "fault");
        assert!(seen.contains(evidence), "{seen}");
        assert!(mends.contains(remedy), "{mends}");
    }
}

/// Whether this machine lets tests mount in a namespace of their own.
pub fn can_mount() -> bool {
    let script = "mount -t tmpfs none /mnt";
    let tried = Command::new("unshare")
        .args(["--mount", "sh", "-ec", script])
        .output();
    let can = tried.is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("skipped: no mount namespaces here (needs root or CAP_SYS_ADMIN)");
    }
    can
}
