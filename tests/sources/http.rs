//! Sources behind HTTP: files, MJPEG cameras, and servers that refuse.

use std::time::Duration;

use millrace::sources::{Event, Source, SourceError};

use super::support::clips::{SHAPES, number_in_picture};
use super::support::http_camera::{Answer, HttpCamera};
use super::{failure, frames, next, open, spec};

#[test]
fn a_file_behind_http_is_a_recorded_file() {
    let server = HttpCamera::start(Answer::File(std::fs::read(SHAPES).unwrap()));
    let (frames, end) = frames(&open(&server.url("http", "clip.mp4")));
    let ending = end.unwrap();
    assert_eq!((ending.frames, ending.expected), (300, Some(300)));
    for (i, frame) in frames.iter().enumerate() {
        assert_eq!(number_in_picture(frame.image.pixels()), i as u32);
    }
    assert_eq!(frames[0].video.comes_from_video_file, Some(true));
}

#[test]
fn an_mjpeg_camera_is_live_and_comes_back() {
    let server = HttpCamera::start(Answer::Mjpeg(8));
    let mut spec = spec(&server.url("http", "video"));
    spec.reconnect.initial = Duration::from_millis(50);
    let source = Source::open(spec).unwrap();
    let (mut numbers, mut times, mut recovered) = (Vec::new(), Vec::new(), false);
    while !recovered || numbers.len() < 12 {
        match next(&source).unwrap() {
            Event::Frame(frame) => {
                assert_eq!((frame.image.width(), frame.image.height()), (320, 240));
                assert_eq!(frame.video.comes_from_video_file, Some(false));
                numbers.push(frame.number);
                times.push(frame.time);
            }
            Event::Recovered { .. } => recovered = true,
            Event::Lost { error, .. } => {
                assert!(matches!(error, SourceError::Lost { .. }), "{error:?}")
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(numbers.is_sorted() && times.is_sorted());
    let took = (times[11] - times[0]).as_secs_f64();
    assert!((0.3..10.0).contains(&took), "{took}");
}

#[test]
fn servers_that_refuse_say_so() {
    let cases = [
        ("404 Not Found", "not found"),
        ("401 Unauthorized", "not accepted"),
        ("500 Internal Server Error", "cannot connect"),
    ];
    for (status, word) in cases {
        let server = HttpCamera::start(Answer::Status(status));
        let error = failure(&server.url("http", "clip.mp4?token=hunter2"));
        assert!(error.to_string().contains(word), "{status}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    let error = failure("http://127.0.0.1:9/clip.mp4");
    assert!(matches!(error, SourceError::Refused { .. }), "{error:?}");
}

#[test]
fn a_server_that_never_answers_stalls() {
    let server = HttpCamera::start(Answer::Silence);
    let mut spec = spec(&server.url("http", "clip.mp4"));
    spec.stall = Duration::from_millis(300);
    let source = Source::open(spec).unwrap();
    let error = next(&source).unwrap_err();
    assert!(matches!(error, SourceError::Stalled { .. }), "{error:?}");
}

#[test]
fn a_text_behind_http_is_no_video() {
    let server = HttpCamera::start(Answer::File(b"<html>hello</html>\n".repeat(50)));
    let error = failure(&server.url("http", "page"));
    assert!(matches!(error, SourceError::NotVideo { .. }), "{error:?}");
}

#[test]
fn a_login_in_the_address_opens_what_is_guarded() {
    let server = HttpCamera::start(Answer::Guarded(std::fs::read(SHAPES).unwrap()));
    let url = server.url("http", "clip.mp4");
    let error = failure(&url);
    assert!(
        matches!(error, SourceError::Unauthorized { .. }),
        "{error:?}"
    );
    let (frames, end) = frames(&open(&url.replace("://", "://viewer:hunter2@")));
    assert_eq!((frames.len(), end.unwrap().warning()), (300, None));
}
