//! Sources as their users see them: real clips, and cameras in this process that stop, fall silent
//! and refuse. Everything runs on 127.0.0.1 with free ports.
#![allow(clippy::unwrap_used, clippy::panic)]

mod files;
mod http;
mod joins;
mod live;
mod packets;
mod rtsp;
mod secrets;
mod stops;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod writer;

use std::time::{Duration, Instant};

use millrace::sources::{Ending, Event, Frame, Source, SourceError, SourceSpec};

/// Longest wait for anything that has to come.
const SOON: Duration = Duration::from_secs(10);

#[test]
#[ignore = "a camera in a process of its own; started by other tests"]
fn fake_camera_process() {
    support::fake_camera::serve();
}

fn spec(uri: &str) -> SourceSpec {
    SourceSpec::new(uri.parse().unwrap())
}

fn open(uri: &str) -> Source {
    Source::open(spec(uri)).unwrap()
}

/// The next event, which has to come soon.
fn next(source: &Source) -> Result<Event, SourceError> {
    let event = source.next(SOON)?;
    Ok(event.unwrap_or_else(|| panic!("no event in time: {source:?} {:?}", source.stats())))
}

/// The next frame; what is said in between is skipped.
fn next_frame(source: &Source) -> Frame {
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        if let Event::Frame(frame) = next(source).unwrap() {
            return frame;
        }
    }
    panic!("no frame in time");
}

/// Every frame, and how the source ended.
fn frames(source: &Source) -> (Vec<Frame>, Result<Ending, SourceError>) {
    let mut frames = Vec::new();
    loop {
        match next(source) {
            Ok(Event::Frame(frame)) => frames.push(frame),
            Ok(Event::Ended(ending)) => return (frames, Ok(ending)),
            Ok(_) => {}
            Err(error) => return (frames, Err(error)),
        }
    }
}

/// How a source without any frame ends.
fn failure(uri: &str) -> SourceError {
    let source = match Source::open(spec(uri)) {
        Ok(source) => source,
        Err(error) => return error,
    };
    let (frames, end) = frames(&source);
    assert_eq!(frames.len(), 0, "{uri}");
    end.unwrap_err()
}

/// Runs a GStreamer pipeline to its end.
fn make_clip(launch: &str) {
    use gstreamer::prelude::*;
    gstreamer::init().unwrap();
    let pipeline = gstreamer::parse::launch(launch).unwrap();
    pipeline.set_state(gstreamer::State::Playing).unwrap();
    let kinds = [gstreamer::MessageType::Eos, gstreamer::MessageType::Error];
    let end = pipeline
        .bus()
        .unwrap()
        .timed_pop_filtered(gstreamer::ClockTime::from_seconds(20), &kinds)
        .expect("the clip is made in time");
    assert_eq!(
        end.type_(),
        gstreamer::MessageType::Eos,
        "{launch}: {end:?}"
    );
    pipeline.set_state(gstreamer::State::Null).unwrap();
}
