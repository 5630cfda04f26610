//! Cameras that are joined in the middle, and what is told about them.

use std::time::{Duration, Instant};

use millrace::sources::{Condition, Event, Loss, LostReason, QueuePolicy, Source, SourceError};

use super::support::clips::number_in_luma;
use super::support::fake_camera::FakeCamera;
use super::{SOON, next, next_frame, open, spec};

fn wait_for(source: &Source, what: &str, there: impl Fn(&Source) -> bool) {
    let deadline = Instant::now() + SOON;
    while !there(source) {
        assert!(Instant::now() < deadline, "{what}: {:?}", source.stats());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_stream_that_is_joined_between_key_frames_begins_with_one() {
    let camera = FakeCamera::start("main", "");
    let _first = open(&camera.url());
    next_frame(&_first);
    let mut skipped = 0;
    for i in 0..4 {
        std::thread::sleep(Duration::from_millis(70 * i));
        let mut spec = spec(&camera.url());
        spec.queue = Some(QueuePolicy::DropOldest { capacity: 64 });
        let source = Source::open(spec).unwrap();
        for j in 0..10 {
            let frame = next_frame(&source);
            let shown = number_in_luma(frame.image.planes().unwrap());
            assert!(shown < 150, "a grey or broken picture: {shown}");
            assert!(j > 0 || shown.is_multiple_of(15), "no key frame: {shown}");
        }
        skipped += source.stats().skipped_units;
    }
    assert!(skipped > 0, "every join met a key frame");
}

#[test]
fn figures_tell_of_a_camera_that_starves_and_why_it_was_lost() {
    let mut camera = FakeCamera::start("main", "");
    let mut spec = spec(&camera.url());
    spec.reconnect.silence = Duration::from_millis(2500);
    let source = Source::open(spec).unwrap();
    assert_eq!(source.stats().condition(), Condition::Connecting);
    for _ in 0..20 {
        next_frame(&source);
    }
    let stats = source.stats();
    assert_eq!(stats.condition(), Condition::Streaming);
    assert_eq!(stats.decoder.as_deref(), Some("avdec_h264"));
    let sent = stats.camera_fps.unwrap();
    assert!((10.0..60.0).contains(&sent), "{sent}");
    assert!(stats.units >= stats.frames as u64);
    camera.order("stall on");
    let is = |condition| move |source: &Source| source.stats().condition() == condition;
    wait_for(&source, "starved", is(Condition::Starved));
    wait_for(&source, "reconnecting", is(Condition::Reconnecting));
    let stats = source.stats();
    assert_eq!(
        (stats.losses.count(Loss::Silent), stats.losses.total()),
        (1, 1)
    );
    camera.order("stall off");
    wait_for(&source, "streaming", is(Condition::Streaming));
    source.close();
    assert_eq!(source.stats().condition(), Condition::Closed);
}

#[test]
fn time_stamps_that_stand_still_are_a_loss_once_and_then_put_up_with() {
    let mut camera = FakeCamera::start("main", "");
    let mut spec = spec(&camera.url());
    spec.reconnect.silence = Duration::from_millis(800);
    spec.queue = Some(QueuePolicy::DropOldest { capacity: 64 });
    let source = Source::open(spec).unwrap();
    for _ in 0..10 {
        next_frame(&source);
    }
    camera.order("stuck on");
    let deadline = Instant::now() + SOON;
    loop {
        assert!(Instant::now() < deadline);
        if let Event::Lost { error, .. } = next(&source).unwrap() {
            let SourceError::Lost { reason, .. } = error else {
                panic!("{error:?}");
            };
            assert!(matches!(reason, LostReason::Stuck(_)), "{reason:?}");
            break;
        }
    }
    let mut times = Vec::new();
    for _ in 0..50 {
        let frame = next_frame(&source);
        times.push((frame.time.as_secs_f64(), frame.arrived.as_secs_f64()));
    }
    assert_eq!(source.stats().losses.count(Loss::Stuck), 1);
    let (first, last) = (times[5], times[49]);
    let (grown, passed) = (last.0 - first.0, last.1 - first.1);
    assert!((grown - passed).abs() < 0.7, "time {grown}, clock {passed}");
}
