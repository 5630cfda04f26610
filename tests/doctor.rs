//! `millrace doctor` finds what was planted, names what mends it, and reports nothing on a healthy
//! machine. The platform and the other servers are real servers on this machine.
#![allow(clippy::unwrap_used, clippy::panic)]

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

const KEY: &str = "s3cretKey7x";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// A server on this machine; it stops when dropped.
struct Server {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start(router: Router, address: &str) -> Self {
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
struct Book {
    published: HashMap<String, Json>,
    /// Seconds by which its clock is ahead.
    ahead: i64,
    status: Option<u16>,
}

type Shared = Arc<Mutex<Book>>;

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

fn definition(tag: &str) -> Json {
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
struct Machine {
    book: Shared,
    platform: Server,
    folder: TempDir,
    port: u16,
    env: BTreeMap<&'static str, String>,
}

impl Machine {
    fn healthy() -> Self {
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

    fn package(&self) -> PathBuf {
        self.folder.path().join("models/shapes")
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn saved(&self) -> PathBuf {
        self.folder.path().join("flow.json")
    }

    fn copy(&self) -> PathBuf {
        let key = PlatformKey::new("ws", "flow", None, Some(ApiKey::new(KEY)));
        DiskCache::new(self.cache(), false, false).path(&key)
    }

    fn publish(&self, definition: &Json) {
        let mut book = self.book.lock().unwrap();
        book.published.insert("ws/flow".into(), definition.clone());
    }

    /// Leaves a copy that was fetched so many seconds ago.
    fn cache_copy(&self, definition: &Json, seconds: u64) {
        let path = self.copy();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, answer("flow", definition).to_string()).unwrap();
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .unwrap();
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.insert(name, value.into());
        self
    }

    fn examine(&self) -> Report {
        self.examined(None, &[])
    }

    fn examine_with(&self, args: &[&str]) -> Report {
        self.examined(None, args)
    }

    /// Examines the machine in a mount namespace of its own after these shell commands; `$CACHE` is
    /// the cache folder.
    fn examine_after(&self, mounts: &str) -> Report {
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
}

/// What the doctor said.
#[derive(Debug)]
struct Report {
    code: i32,
    found: Vec<Json>,
    took: Duration,
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

    fn checks(&self, verdict: &str) -> BTreeSet<&str> {
        let of = self.found.iter().filter(|f| f["verdict"] == verdict);
        of.map(|f| f["check"].as_str().unwrap()).collect()
    }

    fn one(&self, check: &str, verdict: &str) -> (&str, &str) {
        let found = self
            .found
            .iter()
            .find(|f| f["check"] == check && f["verdict"] == verdict);
        let found = found.unwrap_or_else(|| panic!("no {verdict} of {check}: {self:#?}"));
        let text = |name: &str| found[name].as_str().unwrap_or_default();
        (text("evidence"), text("remedy"))
    }

    /// Exactly this check found a fault, with these words in evidence and remedy.
    fn only_fault(&self, check: &str, evidence: &str, remedy: &str) {
        assert_eq!(self.checks("fault"), BTreeSet::from([check]), "{self:#?}");
        assert_eq!(self.code, 1);
        let (seen, mends) = self.one(check, "fault");
        assert!(seen.contains(evidence), "{seen}");
        assert!(mends.contains(remedy), "{mends}");
    }
}

/// Whether this machine lets tests mount in a namespace of their own.
fn can_mount() -> bool {
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

fn roboflow(id: &str, version: &str) -> Router {
    let info = json!({"name": "Roboflow Inference Server", "version": version, "uuid": id});
    Router::new()
        .route("/info", get(move || async { axum::Json(info) }))
        .route(
            "/healthz",
            get(async || axum::Json(json!({"status": "healthy"}))),
        )
}

#[test]
fn a_healthy_machine_has_no_findings() {
    let report = Machine::healthy().examine();
    assert_eq!(report.checks("fault"), BTreeSet::new(), "{report:#?}");
    assert_eq!(report.checks("warning"), BTreeSet::new(), "{report:#?}");
    assert_eq!(report.code, 0);
    for check in [
        "settings",
        "port",
        "platform",
        "api key",
        "clock",
        "definition",
        "publication",
        "version tag",
        "cache writable",
        "cache volume",
        "cache space",
        "models",
        "onnx runtime",
        "gstreamer",
        "decoders",
        "encoder",
        "webrtc",
        "rtsp output",
        "compiles",
    ] {
        report.one(check, "ok");
    }
    let (evidence, _) = report.one("definition", "ok");
    assert!(evidence.contains("asks again in 14 min"), "{evidence}");
    assert!(report.took < Duration::from_secs(20), "{:?}", report.took);
}

#[test]
fn an_examination_leaves_the_machine_as_it_was() {
    let machine = Machine::healthy();
    machine.publish(&definition("v2"));
    let listing = |folder: &Path| {
        let output = Command::new("find")
            .arg(folder)
            .args(["-printf", "%p %s %T@\n"])
            .output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        // The times of folders change with the file that is written for trial.
        lines.retain(|line| line.contains(".json") || line.contains(".onnx"));
        lines.sort();
        lines
    };
    let before = listing(machine.folder.path());
    machine.examine();
    assert_eq!(listing(machine.folder.path()), before);
    let left = Command::new("find")
        .arg(machine.cache())
        .args(["-name", "*.tmp"])
        .output();
    assert_eq!(left.unwrap().stdout, b"");
}

#[test]
fn another_server_on_the_port() {
    let machine = Machine::healthy();
    let _other = Server::start(
        roboflow("AbC123", "1.8.3"),
        &format!("127.0.0.1:{}", machine.port),
    );
    let report = machine.examine();
    report.only_fault(
        "port",
        "the Roboflow Inference Server 1.8.3 (AbC123)",
        "--port",
    );
    let (evidence, _) = report.one("port", "fault");
    let us = format!("process {}", std::process::id());
    assert!(evidence.contains(&us), "{evidence}");
}

#[test]
fn two_servers_that_share_the_port() {
    let machine = Machine::healthy();
    let _docker = Server::start(
        roboflow("AbC123", "1.8.3"),
        &format!("127.0.0.1:{}", machine.port),
    );
    let _native = Server::start(
        roboflow("xYz789", "1.5.0"),
        &format!("127.0.0.2:{}", machine.port),
    );
    machine
        .examine()
        .only_fault("port", "two servers share port", "keep one of them");
}

#[test]
fn a_program_on_the_port_that_says_nothing() {
    let machine = Machine::healthy();
    let _mute = TcpListener::bind(("127.0.0.1", machine.port)).unwrap();
    let report = machine.examine();
    report.only_fault("port", "does not answer HTTP", "stop it");
    assert!(report.took < Duration::from_secs(20), "{:?}", report.took);
}

#[test]
fn a_running_millrace_that_refused_a_definition() {
    let machine = Machine::healthy();
    let stamp =
        json!({"hash": "aaaaaaaaaaaa", "source": "file", "age_seconds": 1.0, "stale": false});
    let told = json!({
        "server": {"name": "millrace", "version": env!("CARGO_PKG_VERSION"), "started": "now"},
        "definitions": [{"id": "flow.json", "definition": stamp, "streams": ["cam"],
            "refused": {"hash": "bbbbbbbbbbbb", "reason": "unknown block"}}],
        "models": [], "streams": [],
    });
    let router = Router::new().route("/freshness", get(move || async { axum::Json(told) }));
    let _server = Server::start(router, &format!("127.0.0.1:{}", machine.port));
    let report = machine.examine();
    report.only_fault(
        "running",
        "refused the newer bbbbbbbbbbbb: unknown block",
        "validate",
    );
    report.one("port", "ok");
}

#[test]
fn a_key_that_the_platform_refuses() {
    let machine = Machine::healthy().with("ROBOFLOW_API_KEY", "another-key");
    let report = machine.examine();
    assert!(report.checks("fault").contains("api key"), "{report:#?}");
    let (evidence, remedy) = report.one("api key", "fault");
    assert!(evidence.contains("401") && remedy.contains("export ROBOFLOW_API_KEY"));
    assert!(!format!("{report:?}").contains("another-key"));
    let (foreign, _) = report.one("definition", "warning");
    assert!(foreign.contains("left by other API keys"), "{foreign}");
}

#[test]
fn a_key_of_another_workspace() {
    let machine = Machine::healthy();
    let report = machine.examine_with(&["--workflow", "theirs/flow"]);
    assert!(report.checks("fault").contains("api key"), "{report:#?}");
    let (evidence, remedy) = report.one("api key", "fault");
    assert!(evidence.contains("a key of the workspace ws, and theirs is asked for"));
    assert!(remedy.contains("a key of theirs"), "{remedy}");
}

#[test]
fn a_clock_that_is_an_hour_off() {
    let machine = Machine::healthy();
    machine.book.lock().unwrap().ahead = 3600;
    machine
        .examine()
        .only_fault("clock", "60 min behind", "timedatectl set-ntp true");
}

#[test]
fn a_platform_that_cannot_be_reached() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let machine = Machine::healthy()
        .with("API_BASE_URL", format!("http://user:{KEY}@{nobody}"))
        .with("ROBOFLOW_API_HOST", format!("http://user:{KEY}@{nobody}"));
    let report = machine.examine();
    report.only_fault(
        "platform",
        "cannot be reached: Connection refused",
        "curl -sSI",
    );
    report.one("clock", "not_applicable");
    let (evidence, _) = report.one("definition", "warning");
    assert!(evidence.contains("cannot be compared"), "{evidence}");
}

#[test]
fn a_platform_that_hangs_is_not_waited_for() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", hanging.local_addr().unwrap());
    let machine = Machine::healthy()
        .with("API_BASE_URL", &*address)
        .with("ROBOFLOW_API_HOST", &*address);
    let report = machine.examine();
    report.only_fault("platform", "no answer within 3 s", "check network");
    assert!(report.took < Duration::from_secs(20), "{:?}", report.took);
}

#[test]
fn a_platform_that_fails() {
    let machine = Machine::healthy();
    machine.book.lock().unwrap().status = Some(503);
    machine
        .examine()
        .only_fault("platform", "answers 503", "status.roboflow.com");
}

#[test]
fn a_copy_that_is_older_than_what_is_published() {
    let machine = Machine::healthy();
    machine.cache_copy(&definition("v0"), 4000);
    let report = machine.examine();
    let both = BTreeSet::from(["definition", "version tag"]);
    assert_eq!(report.checks("fault"), both, "{report:#?}");
    let (evidence, remedy) = report.one("definition", "fault");
    assert!(
        evidence.contains("older than the TTL of 15 min"),
        "{evidence}"
    );
    assert!(
        remedy.contains("millrace definitions refresh ws/flow"),
        "{remedy}"
    );
    let (evidence, _) = report.one("version tag", "fault");
    assert!(
        evidence.contains("says `v0` here, published is `v1`"),
        "{evidence}"
    );
}

#[test]
fn a_copy_within_its_ttl_is_a_warning_that_says_how_long() {
    let machine = Machine::healthy();
    machine.cache_copy(&definition("v0"), 300);
    let report = machine.examine();
    assert_eq!(
        (report.code, report.checks("fault").len()),
        (0, 0),
        "{report:#?}"
    );
    let (evidence, remedy) = report.one("definition", "warning");
    assert!(
        evidence.contains("serves it for another 10 min"),
        "{evidence}"
    );
    assert!(remedy.contains("wait, or"), "{remedy}");
}

#[test]
fn a_copy_that_is_damaged() {
    let machine = Machine::healthy();
    fs::write(machine.copy(), "{\"workflow\": {\"config\": \"{\\\"spec").unwrap();
    let remedy = format!("rm {}", machine.copy().display());
    machine
        .examine()
        .only_fault("definition", "is damaged", &remedy);
}

#[test]
fn a_definition_that_was_saved_and_not_published() {
    let machine = Machine::healthy();
    fs::write(machine.saved(), definition("v2").to_string()).unwrap();
    let report = machine.examine();
    assert_eq!(report.code, 0);
    let (evidence, remedy) = report.one("publication", "warning");
    assert!(evidence.contains("saved and not published"), "{evidence}");
    assert!(remedy.contains("publish it in the editor"), "{remedy}");
}

#[test]
fn a_cache_folder_that_is_a_file() {
    let machine = Machine::healthy();
    let file = machine.folder.path().join("file");
    fs::write(&file, "").unwrap();
    let cache = file.join("cache").display().to_string();
    let machine = machine.with("MODEL_CACHE_DIR", cache);
    machine
        .examine()
        .only_fault("cache writable", "is a file", "set MODEL_CACHE_DIR");
}

#[test]
fn a_cache_folder_that_is_mounted_read_only() {
    if !can_mount() {
        return;
    }
    let read_only = "mount --bind \"$CACHE\" \"$CACHE\"; mount -o remount,ro,bind \"$CACHE\"";
    let report = Machine::healthy().examine_after(read_only);
    report.only_fault("cache writable", "read-only", "without `:ro`");
}

#[test]
fn a_disk_that_is_full() {
    if !can_mount() {
        return;
    }
    let full = "mount -t tmpfs -o size=256k none \"$CACHE\"
dd if=/dev/zero of=\"$CACHE/fill\" bs=1k 2>/dev/null || true";
    let report = Machine::healthy().examine_after(full);
    let both = BTreeSet::from(["cache space", "cache writable"]);
    assert_eq!(report.checks("fault"), both, "{report:#?}");
    let (evidence, remedy) = report.one("cache space", "fault");
    assert!(
        evidence.contains("0 bytes of 256.0 KiB are free"),
        "{evidence}"
    );
    assert!(remedy.contains("du -xh"), "{remedy}");
    let (evidence, _) = report.one("cache volume", "warning");
    assert!(evidence.contains("(tmpfs): memory"), "{evidence}");
}

#[test]
fn a_cache_folder_in_the_layer_of_a_container() {
    let look = |name: &str| (name == "OFFLINE_MODE").then(|| "true".to_owned());
    let mut circumstances = millrace::doctor::Circumstances::from_env(look);
    circumstances.port = Machine::healthy().port;
    circumstances.mounts = "22 1 0:20 / / rw - overlay overlay rw\n".into();
    let clock = Arc::new(millrace::clock::SystemClock::default());
    let found = millrace::doctor::examine(&circumstances, clock);
    let volume = found
        .iter()
        .find(|f| f.check == millrace::doctor::Check::CacheVolume)
        .unwrap();
    assert_eq!(volume.verdict, millrace::doctor::Verdict::Warning);
    assert!(volume.remedy.as_ref().unwrap().contains("docker run -v"));
}

/// A healthy machine on which GStreamer has all plug-ins but this one.
fn without_plugin(library: &str) -> Machine {
    let plugins = Command::new("pkg-config")
        .args(["--variable=pluginsdir", "gstreamer-1.0"])
        .output()
        .unwrap();
    let plugins = String::from_utf8(plugins.stdout).unwrap();
    let machine = Machine::healthy();
    let most = machine.folder.path().join("plugins");
    fs::create_dir(&most).unwrap();
    for plugin in fs::read_dir(plugins.trim()).unwrap() {
        let path = plugin.unwrap().path();
        let name = path.file_name().unwrap();
        if name != library {
            std::os::unix::fs::symlink(&path, most.join(name)).unwrap();
        }
    }
    let registry = machine
        .folder
        .path()
        .join("registry.bin")
        .display()
        .to_string();
    machine
        .with("GST_PLUGIN_SYSTEM_PATH", most.display().to_string())
        .with("GST_REGISTRY", registry)
}

#[test]
fn a_plug_in_of_gstreamer_that_is_missing() {
    let report = without_plugin("libgstx264.so").examine();
    let faults = report.checks("fault");
    assert!(faults.contains("encoder"), "{report:#?}");
    // A graphics card encodes pictures for RTSP too.
    let all = BTreeSet::from(["encoder", "webrtc", "rtsp output"]);
    assert!(faults.is_subset(&all), "{report:#?}");
    for check in &faults {
        let (evidence, remedy) = report.one(check, "fault");
        assert!(evidence.contains("without x264enc"), "{evidence}");
        let install = "apt-get install gstreamer1.0-plugins-ugly`";
        assert!(remedy.contains(install), "{remedy}");
        assert!(remedy.contains("unset GST_PLUGIN_SYSTEM_PATH"), "{remedy}");
    }
    let (evidence, _) = report.one("webrtc", "fault");
    assert!(evidence.contains("no track in H.264"), "{evidence}");
}

#[test]
fn webrtc_without_its_connections() {
    let report = without_plugin("libgstnice.so").examine();
    report.only_fault(
        "webrtc",
        "no session over WebRTC can be had without nicesink, nicesrc",
        "apt-get install gstreamer1.0-nice`",
    );
}

#[test]
fn no_plug_ins_at_all() {
    let machine = Machine::healthy();
    let registry = machine
        .folder
        .path()
        .join("registry.bin")
        .display()
        .to_string();
    let machine = machine
        .with("GST_PLUGIN_SYSTEM_PATH", "/nowhere")
        .with("GST_REGISTRY", registry);
    let report = machine.examine();
    let all = BTreeSet::from(["gstreamer", "decoders", "encoder", "webrtc", "rtsp output"]);
    assert_eq!(report.checks("fault"), all, "{report:#?}");
    let (evidence, remedy) = report.one("decoders", "fault");
    assert!(evidence.contains("no decoder for H.264"), "{evidence}");
    assert!(remedy.contains("gstreamer1.0-libav"), "{remedy}");
}

#[test]
fn a_library_of_onnx_runtime_that_is_not_there() {
    let machine = Machine::healthy().with("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so");
    let report = machine.examine();
    report.only_fault(
        "onnx runtime",
        "/nowhere/libonnxruntime.so",
        "set ORT_DYLIB_PATH",
    );
}

#[test]
fn a_library_that_is_no_library() {
    let machine = Machine::healthy();
    let fake = machine.folder.path().join("libonnxruntime.so");
    fs::write(&fake, "no library").unwrap();
    let machine = machine.with("ORT_DYLIB_PATH", fake.display().to_string());
    machine
        .examine()
        .only_fault("onnx runtime", "cannot be used", "scripts/setup.sh");
}

#[test]
fn weights_that_were_cut_short() {
    let machine = Machine::healthy();
    let path = machine.package().join("weights.onnx");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let remedy = machine.package().display().to_string();
    machine
        .examine()
        .only_fault("model", "weights.onnx cannot be used", &remedy);
}

#[test]
fn a_package_without_a_description() {
    let machine = Machine::healthy();
    fs::write(machine.package().join("model_config.json"), "{\"model_arch").unwrap();
    machine
        .examine()
        .only_fault("model", "model_config.json cannot be used", "again");
}

#[test]
fn cached_weights_that_are_not_what_was_downloaded() {
    let machine = Machine::healthy();
    let blobs = machine.cache().join("shared-blobs");
    fs::create_dir_all(&blobs).unwrap();
    let blob = blobs.join("900150983cd24fb0d6963f7d28e17f72");
    fs::write(&blob, "not abc").unwrap();
    let remedy = format!("rm {}", blob.display());
    machine
        .examine()
        .only_fault("cached weights", "another MD5", &remedy);
}

#[test]
fn a_definition_that_does_not_compile() {
    let machine = Machine::healthy();
    let mut broken = definition("v1");
    broken["steps"][0]["type"] = "roboflow_core/no_such_block@v1".into();
    fs::write(machine.saved(), broken.to_string()).unwrap();
    machine
        .examine()
        .only_fault("compiles", "no_such_block", "millrace validate");
}

#[test]
fn a_definition_whose_model_is_not_there() {
    let machine = Machine::healthy();
    let mut other = definition("v1");
    other["steps"][0]["model_id"] = "rockets/9".into();
    fs::write(machine.saved(), other.to_string()).unwrap();
    machine.examine().only_fault(
        "model",
        "model `rockets/9` is unknown",
        "name one of shapes",
    );
}

#[test]
fn a_variable_that_cannot_be_read() {
    let machine = Machine::healthy().with("WORKFLOWS_DEFINITION_CACHE_EXPIRY", "soon");
    machine.examine().only_fault(
        "settings",
        "WORKFLOWS_DEFINITION_CACHE_EXPIRY must be a number of seconds",
        "unset WORKFLOWS_DEFINITION_CACHE_EXPIRY",
    );
}

#[test]
fn the_table_for_people_says_the_same() {
    let machine = Machine::healthy();
    let output = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .current_dir(root())
        .args(["doctor", "--port", &machine.port.to_string()])
        .env("OFFLINE_MODE", "true")
        .env("MODEL_CACHE_DIR", machine.cache())
        .env("ORT_DYLIB_PATH", "/nowhere")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in [
        "FAULT    onnx runtime",
        "-> set ORT_DYLIB_PATH",
        "1 wrong, ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        text.contains("offline mode: the platform is not asked"),
        "{text}"
    );
}
