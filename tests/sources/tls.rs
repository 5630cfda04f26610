//! Encrypted cameras: whose certificates are trusted.

use std::path::{Path, PathBuf};
use std::process::Command;

use millrace::sources::{Event, Fingerprint, Source, SourceError, SourceSpec};

use super::support::clips::number_in_luma;
use super::support::fake_camera::FakeCamera;
use super::{next, next_frame, spec};

/// A private authority and a camera's certificate from it, in files.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn make() -> Self {
        let made = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        made.openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=yard"
        ));
        made.openssl(&format!(
            "req -x509 {key} -keyout other.key -out other.pem -subj /CN=somebody"
        ));
        made.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout cam.key \
             -out cam.csr -subj /CN=camera",
        );
        std::fs::write(made.path("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        made.openssl(
            "x509 -req -in cam.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile names -out cam.pem",
        );
        made.openssl("x509 -in cam.pem -outform DER -out cam.der");
        let both = ["cam.pem", "cam.key"].map(|f| std::fs::read(made.path(f)).unwrap());
        std::fs::write(made.path("both.pem"), both.concat()).unwrap();
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, command: &str) {
        let made = Command::new("openssl")
            .args(command.split_whitespace())
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
}

fn refusal(spec: SourceSpec) -> SourceError {
    let error = next(&Source::open(spec).unwrap()).unwrap_err();
    assert!(
        matches!(error, SourceError::Certificate { .. }),
        "{error:?}"
    );
    error
}

fn shows_frames(spec: SourceSpec) {
    let source = Source::open(spec).unwrap();
    let frame = next_frame(&source);
    assert!(number_in_luma(frame.image.planes().unwrap()) < 150);
}

#[test]
fn a_certificate_is_trusted_by_its_authority_or_by_its_fingerprint() {
    let made = Certificates::make();
    let tls = format!("tls={}", made.path("both.pem").display());
    let camera = FakeCamera::start("main", &tls);
    let plain = spec(&format!("rtsps://{}", camera.place()));
    let with_ca = |file: &Path| {
        let mut spec = plain.clone();
        spec.tls.ca = Some(file.to_owned());
        spec
    };
    let with_pin = |pin: Fingerprint| {
        let mut spec = plain.clone();
        spec.tls.pin = Some(pin);
        spec
    };

    refusal(plain.clone());
    refusal(with_ca(&made.path("other.pem")));
    shows_frames(with_ca(&made.path("ca.pem")));

    let right = Fingerprint::of(&std::fs::read(made.path("cam.der")).unwrap());
    shows_frames(with_pin(right));
    let mut wrong = with_pin(Fingerprint::of(b"another"));
    wrong.tls.ca = Some(made.path("ca.pem"));
    let error = refusal(wrong).to_string();
    assert!(error.contains(&right.to_string()), "{error}");

    let mut unchecked = plain.clone();
    unchecked.check_certificate = false;
    shows_frames(unchecked);
}

#[test]
fn trust_that_cannot_be_given_is_refused_at_once() {
    let mut missing = spec("rtsps://127.0.0.1:9/cam");
    missing.tls.ca = Some("/nowhere/ca.pem".into());
    let mut pinned = spec("https://127.0.0.1:9/live.m3u8");
    pinned.tls.pin = Some(Fingerprint::of(b"any"));
    for spec in [missing, pinned] {
        let error = Source::open(spec).unwrap_err();
        assert!(matches!(error, SourceError::Option { .. }), "{error:?}");
    }
}

#[test]
fn a_digest_of_the_password_opens_a_camera_and_a_changed_password_is_waited_out() {
    let mut camera = FakeCamera::start("main", "");
    camera.order("login digest viewer secret");
    let mut spec = spec(&format!("rtsp://viewer:secret@{}", camera.place()));
    spec.reconnect.initial = std::time::Duration::from_millis(100);
    let source = Source::open(spec).unwrap();
    next_frame(&source);
    camera.order("login digest viewer other");
    let mut refused = false;
    while !refused {
        let _ = next(&source).unwrap();
        refused = matches!(
            source.stats().last_error,
            Some(SourceError::Unauthorized { .. })
        );
        if source.stats().failed_attempts > 0 {
            std::thread::sleep(std::time::Duration::from_millis(300));
            break;
        }
    }
    camera.order("login digest viewer secret");
    while !matches!(next(&source).unwrap(), Event::Recovered { .. }) {}
    next_frame(&source);
}
