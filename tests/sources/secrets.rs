//! Passwords and tokens appear in nothing that anybody reads.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace::sources::{Event, Source, SourceError};

use super::support::rtsp_server::{CameraClip, RtspServer, Setup};
use super::{next, next_frame, spec};

const PASSWORD: &str = "hunter2";

/// Everything that is logged in this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_password_is_used_and_never_shown() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let login = Some(("viewer".to_owned(), PASSWORD.to_owned()));
    let setup = Setup {
        login,
        ..Setup::default()
    };
    let mut camera = RtspServer::start(CameraClip::shapes(), setup);

    let mut right = spec(&(camera.url_with("viewer", PASSWORD) + "?token=hunter2"));
    right.uri = camera.url_with("viewer", PASSWORD).parse().unwrap();
    right.reconnect.initial = Duration::from_millis(50);
    let mut shown = format!("{right:?} {}", right.uri);
    let source = Source::open(right).unwrap();
    next_frame(&source);
    camera.stop();
    while !matches!(next(&source), Ok(Event::Lost { .. })) {}
    shown += &format!(
        "{source:?} {:?} {}",
        source.stats(),
        source.video_identifier()
    );

    camera.restart();
    let wrong = spec(&camera.url_with("viewer", "hunter2wrong"));
    let refused = Source::open(wrong).unwrap();
    let error = next(&refused).unwrap_err();
    assert!(
        matches!(error, SourceError::Unauthorized { .. }),
        "{error:?}"
    );
    assert!(!error.retry());
    shown += &format!("{error} {error:?} {:?}", refused.stats());

    let with_token = format!("rtsp://viewer:{PASSWORD}@127.0.0.1:9/x?token={PASSWORD}");
    let unreachable = Source::open(spec(&with_token)).unwrap();
    let Ok(Event::Lost { error, .. }) = next(&unreachable) else {
        panic!("not lost");
    };
    shown += &format!("{error} {error:?} {}", unreachable.name());
    drop((source, refused, unreachable));

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("trying again"), "{log}");
    for text in [&shown, &log] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}
