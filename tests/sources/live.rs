//! Test pictures that come by the clock: the newest frame wins, and closing never takes long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::clock::ManualClock;
use millrace::sources::{DropCause, Event, QueuePolicy, Source, SourceError, SourceState};

use super::support::awake::awake;
use super::support::http_camera::{Answer, HttpCamera};
use super::{SOON, frames, next_frame, open, spec};

#[test]
fn the_newest_frame_of_a_live_source_wins_and_drops_are_counted() {
    let source = open("test:?size=64x48&fps=50");
    let first = next_frame(&source);
    std::thread::sleep(Duration::from_millis(300));
    let later = next_frame(&source);
    let left_out = later.number - first.number - 1;
    assert!(left_out >= 5, "{left_out}");
    let stats = source.stats();
    assert!(stats.drops.count(DropCause::Overtaken) >= left_out as u64);
    let now = millrace::clock::SystemClock::default();
    let age = millrace::clock::Clock::now(&now).unix_seconds() - later.arrived_at.unix_seconds();
    assert!((0.0..1.0).contains(&age), "{age}");
    assert_eq!(later.video.comes_from_video_file, Some(false));
    assert_eq!(later.video.fps, Some(50.0));
    let measured = later.video.measured_fps.unwrap();
    assert!((10.0..110.0).contains(&measured), "{measured}");
}

#[test]
fn a_frame_is_stamped_by_the_clock_that_was_handed_in() {
    let clock = Arc::new(ManualClock::default());
    clock.advance(Duration::from_secs(100));
    let mut spec = spec("test:?size=64x48&fps=50");
    spec.queue = Some(QueuePolicy::DropOldest { capacity: 2 });
    let source = Source::open_with_clock(spec, clock.clone()).unwrap();
    let frame = next_frame(&source);
    assert_eq!(frame.arrived, Duration::from_secs(100));
    assert_eq!(frame.video.frame_timestamp.unix_seconds(), 100.0);
    clock.advance(Duration::from_secs(60));
    let deadline = Instant::now() + SOON;
    while next_frame(&source).arrived != Duration::from_secs(160) {
        assert!(Instant::now() < deadline);
    }
    assert!(source.stats().drops.count(DropCause::Stale) <= 2);
}

#[test]
fn a_test_picture_of_known_length_ends() {
    let (frames, end) = frames(&open("videotestsrc://?size=64x48&fps=10&frames=12"));
    let numbers: Vec<i64> = frames.iter().map(|f| f.number).collect();
    assert_eq!(numbers, (1..=12).collect::<Vec<i64>>());
    assert_eq!(frames[11].time, Duration::from_millis(1100));
    assert_eq!(end.unwrap().frames, 12);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let mut bad_rate = spec("test:");
    bad_rate.max_fps = Some(0.0);
    let mut bad_queue = spec("test:");
    bad_queue.queue = Some(QueuePolicy::Wait { capacity: 0 });
    for spec in [bad_rate, bad_queue] {
        let error = Source::open(spec).unwrap_err();
        assert!(matches!(error, SourceError::Option { .. }), "{error:?}");
    }
    let error = super::failure("test:?pattern=tartan");
    assert!(error.to_string().contains("tartan"), "{error}");
}

#[test]
fn a_camera_that_is_not_plugged_in_may_appear() {
    let source = open("/dev/video97");
    let Ok(Event::Lost { error, .. }) = super::next(&source) else {
        panic!("not lost");
    };
    assert!(matches!(error, SourceError::NotFound { .. }), "{error:?}");
    assert!(error.retry());
    let error = source.ready(Duration::ZERO).unwrap_err();
    assert!(matches!(error, SourceError::NotFound { .. }), "{error:?}");
    closes_quickly(&source);
}

#[test]
fn ready_tells_the_format_without_taking_a_frame() {
    let source = open("test:?size=64x48&fps=20&frames=3");
    let info = source.ready(SOON).unwrap();
    assert_eq!((info.format.width, info.format.height), (64, 48));
    assert_eq!((info.format.fps, info.recorded), (Some(20.0), false));
    assert_eq!(next_frame(&source).number, 1);
}

fn closes_quickly(source: &Source) {
    let start = awake();
    source.close();
    let took = awake() - start;
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(source.stats().state, SourceState::Closed);
    let after = source.next(SOON).unwrap_err();
    assert!(matches!(after, SourceError::Closed { .. }), "{after:?}");
}

#[test]
fn close_returns_soon_in_every_state() {
    let dumb = HttpCamera::start(Answer::Silence);
    let connecting = open(&dumb.url("rtsp", "x"));
    let connecting_http = open(&dumb.url("http", "x"));
    let waiting_for_next_attempt = open("rtsp://127.0.0.1:9/x");
    let running = open("test:?size=64x48");
    let waiting_for_receiver = open(super::support::clips::SHAPES);
    next_frame(&running);
    next_frame(&waiting_for_receiver);
    let deadline = Instant::now() + SOON;
    while waiting_for_next_attempt.stats().state != SourceState::Lost {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(connecting.stats().state, SourceState::Connecting);
    for source in [
        connecting,
        connecting_http,
        waiting_for_next_attempt,
        running,
        waiting_for_receiver,
    ] {
        closes_quickly(&source);
    }
}

#[test]
fn close_lets_a_waiting_receiver_go() {
    let dumb = HttpCamera::start(Answer::Silence);
    let source = open(&dumb.url("rtsp", "x"));
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| source.next(Duration::from_secs(60)));
        std::thread::sleep(Duration::from_millis(50));
        let start = awake();
        source.close();
        let got = receiver.join().unwrap();
        assert!(matches!(got, Err(SourceError::Closed { .. })));
        assert!(awake() - start < Duration::from_secs(2));
    });
}
