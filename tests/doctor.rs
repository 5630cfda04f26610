//! `millrace doctor` finds each planted fault, and only that, and none on a sound machine.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "support/platform.rs"]
mod platform;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use millrace::clock::{Clock, SystemClock};
use millrace::definition::DefinitionHash;
use millrace::definitions::{ApiKey, DefinitionKey, DefinitionStore, Demand, Refusal, Settings};
use millrace::doctor::{Findings, Space, Subject, Verdict, media::Element};
use millrace::http::{Process, Server};
use platform::{Manner, Platform};
use serde_json::{Value as Json, json};

const KEY: &str = "s3cret-key-0123456789";

fn definition(version: &str, confidence: f64) -> Json {
    let tag =
        json!({"type": "WorkflowParameter", "name": "workflow_version", "default_value": version});
    json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}, tag],
        "steps": [{
            "type": "roboflow_core/roboflow_object_detection_model@v2", "name": "model",
            "images": "$inputs.image", "model_id": model_id(), "confidence": confidence,
        }],
        "outputs": [{"type": "JsonField", "name": "boxes", "selector": "$steps.model.predictions"}],
    })
}

/// A model that the fixtures have.
fn model_id() -> String {
    let registry = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/registry.json");
    let registry: Json = serde_json::from_slice(&std::fs::read(registry).unwrap()).unwrap();
    registry.as_object().unwrap().keys().next().unwrap().clone()
}

/// A sound machine: the platform, a definition that was fetched, models, room on a disk.
struct Patient {
    platform: Platform,
    root: tempfile::TempDir,
    subject: Subject,
}

impl Patient {
    fn new() -> Self {
        let platform = Platform::start();
        platform.accept(KEY, "ws");
        platform.publish("ws/flow", &definition("v1", 0.4));
        let root = tempfile::tempdir().unwrap();
        let mounts = root.path().join("mounts");
        std::fs::write(&mounts, "22 1 254:0 / / rw - ext4 /dev/vda rw\n").unwrap();
        let folder = root.path().join("pipelines");
        std::fs::create_dir(&folder).unwrap();
        let file = definition("local", 0.3).to_string();
        std::fs::write(folder.join("own.json"), file).unwrap();
        let mut settings = Settings::new(platform.url(), root.path().join("cache"));
        settings.api_key = Some(ApiKey::new(KEY));
        settings.folder = Some(folder);
        settings.platform.timeout = Duration::from_secs(2);
        std::fs::create_dir(&settings.cache_dir).unwrap();
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models");
        let subject = Subject {
            listen: free,
            definitions: vec![DefinitionKey::workflow("ws", "flow", None, None)],
            models: Some(models),
            mounts,
            container: false,
            space: |_| {
                Ok(Space {
                    total: 100 << 30,
                    free: 50 << 30,
                })
            },
            ..Subject::new(settings, Arc::new(SystemClock::default()))
        };
        let patient = Self {
            platform,
            root,
            subject,
        };
        patient.fetch();
        patient
    }

    /// As a server does: into memory, which goes, and onto the disk.
    fn fetch(&self) {
        let clock = Arc::new(SystemClock::default());
        let store = DefinitionStore::open(self.subject.settings.clone(), clock).unwrap();
        let key = &self.subject.definitions[0];
        store.get_blocking(key, Demand::Cached).unwrap();
    }

    fn copy(&self) -> std::path::PathBuf {
        let folder = self
            .subject
            .settings
            .cache_dir
            .join("workflow/ws/.tenanted-v2");
        std::fs::read_dir(folder)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path()
    }

    fn examine(&self) -> Findings {
        let findings = self.subject.examine().unwrap();
        let told = format!("{findings} {}", findings.to_json());
        assert!(!told.contains(KEY), "{told}");
        println!("{findings}\n");
        findings
    }

    /// Exactly these checks are wrong; the evidence of the first says this and so does what mends it.
    fn suffers(&self, checks: &[&str], evidence: &str, mend: &str) {
        let findings = self.examine();
        let wrong: Vec<_> = findings
            .0
            .iter()
            .filter(|f| f.verdict == Verdict::Wrong)
            .collect();
        let names: Vec<&str> = wrong.iter().map(|f| f.check).collect();
        assert_eq!(names, checks, "{findings}");
        assert!(
            wrong[0].evidence.contains(evidence),
            "{}",
            wrong[0].evidence
        );
        let mended = wrong[0].mend.as_ref().unwrap();
        assert!(mended.contains(mend), "{mended}");
    }
}

#[test]
fn a_sound_machine() {
    let patient = Patient::new();
    let before = std::fs::read(patient.copy()).unwrap();
    let findings = patient.examine();
    assert!(!findings.wrong(), "{findings}");
    let published = findings.0.iter().find(|f| f.check == "published").unwrap();
    assert!(
        published
            .evidence
            .contains("of the time-to-live of 900 s are left")
    );
    assert!(
        findings.0.iter().all(|f| f.verdict != Verdict::Skipped),
        "{findings}"
    );
    assert_eq!(
        std::fs::read(patient.copy()).unwrap(),
        before,
        "it changes nothing"
    );
    let left: Vec<_> = std::fs::read_dir(&patient.subject.settings.cache_dir)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["workflow"]);
}

#[test]
fn another_server_on_the_port() {
    let mut patient = Patient::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    patient.subject.listen = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 1024]);
            let info =
                json!({"name": "Roboflow Inference Server", "version": "1.8.3", "uuid": "aB3dEf"});
            let _ = write!(connection, "HTTP/1.1 200 OK\r\n\r\n{info}");
        }
    });
    patient.suffers(&["server"], "version 1.8.3, id aB3dEf", "kill");
    let evidence = &patient.examine().0[0].evidence;
    let process = format!("(process {})", std::process::id());
    assert!(evidence.contains(&process), "{evidence}");
}

#[test]
fn a_running_server_with_an_old_definition() {
    let mut patient = Patient::new();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let store = DefinitionStore::open(patient.subject.settings.clone(), clock.clone()).unwrap();
    let key = patient.subject.definitions[0].clone();
    store.get_blocking(&key, Demand::Cached).unwrap();
    let process = Arc::new(Process::new(clock.clone(), Arc::new(store), Arc::default()));
    let server = Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), process.clone()).unwrap();
    patient.subject.listen = server.address();
    let findings = patient.examine();
    assert!(!findings.wrong(), "{findings}");
    let running = findings.0.iter().find(|f| f.check == "running").unwrap();
    assert!(
        running.evidence.contains("ws/flow: the server holds"),
        "{}",
        running.evidence
    );
    // Somebody else fetched the new one onto the disk; the server does not know it.
    patient.platform.publish("ws/flow", &definition("v2", 0.5));
    patient.fetch_again();
    patient.suffers(
        &["running"],
        "is published",
        "millrace definitions refresh ws/flow",
    );
    let refusal = Refusal {
        hash: DefinitionHash::of(&definition("v2", 0.5)),
        reason: "a model is missing".into(),
        at: clock.now(),
    };
    process.store.refresh_now(&key).unwrap();
    process.store.note_refusal(&key, Some(refusal));
    patient.suffers(&["running"], "a stream refused", "correct the definition");
}

#[test]
fn a_stale_disk_copy() {
    let patient = Patient::new();
    patient.platform.publish("ws/flow", &definition("v2", 0.5));
    patient.suffers(
        &["published"],
        "step `model` changed: `confidence` 0.4 → 0.5",
        "millrace definitions refresh ws/flow",
    );
    let old = std::fs::File::options()
        .append(true)
        .open(patient.copy())
        .unwrap();
    let hours = Duration::from_secs(3 * 3600);
    old.set_modified(SystemTime::now() - hours).unwrap();
    patient.suffers(
        &["published"],
        "the time-to-live of 900 s is over",
        "refresh",
    );
}

#[test]
fn a_version_tag_that_was_forgotten() {
    let patient = Patient::new();
    patient.platform.publish("ws/flow", &definition("v1", 0.5));
    let findings = patient.examine();
    let tag = findings
        .0
        .iter()
        .find(|f| f.check == "version tag")
        .unwrap();
    assert_eq!(tag.verdict, Verdict::Wrong);
    assert!(tag.evidence.contains("still says v1"), "{}", tag.evidence);
}

#[test]
fn a_damaged_disk_copy() {
    let patient = Patient::new();
    let copy = patient.copy();
    let half = std::fs::read(&copy).unwrap();
    std::fs::write(&copy, &half[..half.len() / 2]).unwrap();
    patient.suffers(&["disk copies"], "is damaged: not JSON", "rm '");
}

#[test]
fn a_full_disk() {
    let mut patient = Patient::new();
    patient.subject.space = |_| {
        Ok(Space {
            total: 100 << 30,
            free: 1 << 20,
        })
    };
    patient.suffers(&["cache space"], "1.0 MB of 107.4 GB free (0 %)", "du -xh");
}

#[test]
fn a_cache_that_cannot_be_written() {
    let mut patient = Patient::new();
    // Not even root can make a folder here.
    patient.subject.settings.cache_dir = "/proc/millrace-cache".into();
    patient.suffers(&["cache writable"], "cannot be written", "MODEL_CACHE_DIR");
}

#[test]
fn a_cache_on_what_does_not_last() {
    let mut patient = Patient::new();
    let root = patient.root.path().display().to_string();
    let mount = |kind: &str, options: &str| {
        let table = format!(
            "22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 0:1 / {root} {options} - {kind} x {options}\n"
        );
        std::fs::write(&patient.subject.mounts, table).unwrap();
    };
    mount("tmpfs", "rw");
    patient.suffers(&["cache volume"], "memory", "MODEL_CACHE_DIR");
    mount("ext4", "ro");
    patient.suffers(&["cache volume"], "read-only", "MODEL_CACHE_DIR");
    mount("overlay", "rw");
    assert!(
        !patient.examine().wrong(),
        "no container, no layer that goes"
    );
    patient.subject.container = true;
    patient.suffers(
        &["cache volume"],
        "the container's own layer",
        "docker run -v",
    );
}

#[test]
fn a_wrong_key() {
    let mut patient = Patient::new();
    patient.subject.settings.api_key = Some(ApiKey::new("wrong-s3cret"));
    patient.suffers(
        &["API key", "published"],
        "refuses ROBOFLOW_API_KEY (401)",
        "export ROBOFLOW_API_KEY",
    );
}

#[test]
fn a_key_of_another_workspace() {
    let patient = Patient::new();
    patient.platform.accept(KEY, "elsewhere");
    patient.suffers(
        &["API key"],
        "ws/flow is in another one",
        "export ROBOFLOW_API_KEY",
    );
}

#[test]
fn a_workflow_that_is_not_published() {
    let mut patient = Patient::new();
    let key = DefinitionKey::workflow("ws", "draft", None, None);
    patient.subject.definitions = vec![key];
    patient.suffers(&["published"], "404 not found", "saving is not enough");
}

#[test]
fn a_platform_that_cannot_be_reached() {
    let mut patient = Patient::new();
    patient.platform.refuse();
    patient.suffers(&["platform"], "cannot be reached", "curl");
    let findings = patient.examine();
    let published = findings.0.iter().find(|f| f.check == "published").unwrap();
    assert_eq!(published.verdict, Verdict::Skipped);
}

#[test]
fn a_clock_that_is_wrong() {
    let patient = Patient::new();
    patient.platform.clock_ahead(chrono::TimeDelta::hours(2));
    patient.suffers(&["clock"], "s behind the platform's", "timedatectl");
}

#[test]
fn a_platform_that_talks_nonsense_about_the_definition() {
    let patient = Patient::new();
    patient.platform.answer(Manner::Body(b"<html>".to_vec()));
    let findings = patient.examine();
    let published = findings.0.iter().find(|f| f.check == "published").unwrap();
    assert_eq!(published.verdict, Verdict::Skipped);
    assert!(published.evidence.contains("not JSON"));
}

#[test]
fn definitions_that_cannot_run() {
    let patient = Patient::new();
    let mut unknown = definition("v2", 0.4);
    unknown["steps"][0]["type"] = json!("roboflow_core/no_such_block@v1");
    patient.platform.publish("ws/flow", &unknown);
    patient.fetch_again();
    patient.suffers(&["definition"], "does not compile", "publish it");
    patient.platform.publish("ws/flow", &definition("v1", 0.4));
    patient.fetch_again();
    let folder = patient.subject.settings.folder.as_ref().unwrap();
    std::fs::write(folder.join("broken.json"), "{").unwrap();
    patient.suffers(
        &["definition"],
        "broken.json is no definition",
        "millrace validate",
    );
}

impl Patient {
    fn fetch_again(&self) {
        std::fs::remove_file(self.copy()).unwrap();
        self.fetch();
    }
}

#[test]
fn models_that_are_missing_or_broken() {
    let mut patient = Patient::new();
    let mut other = definition("v1", 0.4);
    other["steps"][0]["model_id"] = json!("acme/7");
    patient.platform.publish("ws/flow", &other);
    patient.fetch_again();
    patient.suffers(&["models"], "ws/flow needs model acme/7", "registry.json");
    patient.platform.publish("ws/flow", &definition("v1", 0.4));
    patient.fetch_again();
    let folder = patient.root.path().join("models");
    let package = folder.join("half");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(package.join("model_config.json"), "{}").unwrap();
    let registry = json!({model_id(): {"package": "half"}}).to_string();
    std::fs::write(folder.join("registry.json"), registry).unwrap();
    patient.subject.models = Some(folder);
    patient.suffers(&["models"], &model_id(), "weights.onnx");
    patient.subject.models = Some("/nowhere".into());
    patient.suffers(&["models"], "/nowhere", "ls -l");
    patient.subject.models = None;
    patient.suffers(&["models"], "no folder of models", "MILLRACE_MODELS");
}

#[test]
fn a_library_that_is_missing() {
    let mut patient = Patient::new();
    patient.subject.runtime = Some("/nowhere/libonnxruntime.so".into());
    patient.suffers(&["ONNX Runtime"], "/nowhere/libonnxruntime.so", "setup.sh");
}

#[test]
fn a_plug_in_that_is_missing() {
    let mut patient = Patient::new();
    patient.subject.elements.push(Element {
        factory: "avdec_nosuchcodec",
        purpose: "decoding what nobody has",
    });
    patient.suffers(
        &["GStreamer"],
        "avdec_nosuchcodec is missing, needed for decoding what nobody has",
        "apt-get install gstreamer1.0-libav",
    );
}

#[test]
fn offline_mode_asks_nobody() {
    let mut patient = Patient::new();
    patient.subject.settings.offline = true;
    let asked = patient.platform.count();
    let findings = patient.examine();
    assert!(!findings.wrong(), "{findings}");
    assert_eq!(patient.platform.count(), asked);
}

#[test]
fn the_command_tells_by_its_exit_code() {
    let patient = Patient::new();
    let run = |port: SocketAddr| {
        let output = Command::new(env!("CARGO_BIN_EXE_millrace"))
            .args([
                "doctor",
                "ws/flow",
                "--json",
                "--port",
                &port.port().to_string(),
            ])
            .env("API_BASE_URL", patient.platform.url().as_str())
            .env("ROBOFLOW_API_KEY", KEY)
            .env("MODEL_CACHE_DIR", &patient.subject.settings.cache_dir)
            .env("MILLRACE_MODELS", patient.subject.models.as_ref().unwrap())
            .env("MILLRACE_LOG", "trace")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(!format!("{text}{log}").contains(KEY));
        let json: Json = serde_json::from_str(&text).unwrap();
        (output.status.code().unwrap(), json)
    };
    let (code, json) = run(patient.subject.listen);
    let wrong = |json: &Json| -> Vec<String> {
        let findings = json["findings"].as_array().unwrap();
        findings
            .iter()
            .filter(|f| f["verdict"] == "wrong")
            // Where the machine's own temporary folder is in memory, it is right to say so.
            .filter(|f| f["check"] != "cache volume" && f["check"] != "cache space")
            .map(|f| f["check"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(wrong(&json).is_empty(), "{json:#}");
    assert_eq!(code == 0, json["sound"] == true);
    patient.platform.publish("ws/flow", &definition("v2", 0.5));
    let (code, json) = run(patient.subject.listen);
    assert_eq!(
        (code, wrong(&json)),
        (1, vec!["published".to_owned()]),
        "{json:#}"
    );
}
