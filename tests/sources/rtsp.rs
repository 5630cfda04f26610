//! RTSP cameras that work, stop, fall silent, refuse, and come back.

use std::time::{Duration, Instant};

use millrace::sources::{
    DropCause, Event, Frame, LostReason, QueuePolicy, RtspTransport, Source, SourceError,
    SourceSpec, SourceState,
};

use super::support::awake::awake;
use super::support::clips::number_in_picture;
use super::support::rtsp_server::{CameraClip, RtspServer, Setup};
use super::{SOON, next, next_frame, open, spec};

fn camera() -> RtspServer {
    RtspServer::start(CameraClip::shapes(), Setup::default())
}

/// Short waits, so that outages in tests are short.
fn impatient(url: &str) -> SourceSpec {
    let mut spec = spec(url);
    spec.reconnect.initial = Duration::from_millis(100);
    spec.reconnect.max = Duration::from_millis(400);
    spec.queue = Some(QueuePolicy::DropOldest { capacity: 64 });
    spec
}

fn lost(source: &Source) -> SourceError {
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        if let Event::Lost { error, .. } = next(source).unwrap() {
            return error;
        }
    }
    panic!("not lost in time");
}

fn take(source: &Source, count: usize) -> Vec<Frame> {
    (0..count).map(|_| next_frame(source)).collect()
}

/// Numbers and times grow, and a picture's own number tells the same time as its time stamp.
fn check_order(frames: &[Frame]) {
    for pair in frames.windows(2) {
        assert!(pair[1].number > pair[0].number);
        assert!(pair[1].time > pair[0].time);
        assert!(pair[1].arrived >= pair[0].arrived);
    }
}

/// Frames during which the process did not stand still, if there are any before the clip begins anew: the
/// camera is in this process, and sends late what it could not send in time.
fn take_undisturbed(source: &Source, count: usize) -> Vec<Frame> {
    for _ in 0..7 {
        let (clock, awoke) = (Instant::now(), awake());
        let frames = take(source, count);
        if clock.elapsed().saturating_sub(awake() - awoke) < Duration::from_millis(150) {
            return frames;
        }
    }
    take(source, count)
}

#[test]
fn frames_come_with_growing_numbers_and_true_times() {
    let camera = camera();
    let source = Source::open(impatient(&camera.url())).unwrap();
    let frames = take_undisturbed(&source, 30);
    check_order(&frames);
    let shown = |frame: &Frame| i64::from(number_in_picture(frame.image.pixels()));
    for pair in frames.windows(2) {
        let step = shown(&pair[1]) - shown(&pair[0]);
        assert_eq!(step, pair[1].number - pair[0].number);
        let passed = (pair[1].time - pair[0].time).as_secs_f64();
        assert!((passed - 0.04 * step as f64).abs() < 0.015, "{passed}");
    }
    let passed = (frames[29].time - frames[0].time).as_secs_f64();
    let steps = (frames[29].number - frames[0].number) as f64;
    assert!((passed - 0.04 * steps).abs() < 0.1, "{passed}");
    let last = &frames[29].video;
    assert_eq!(last.comes_from_video_file, Some(false));
    assert_eq!(last.total_frames, None);
    assert!(last.video_identifier.starts_with("127.0.0.1/cam"));
    let measured = last.measured_fps.unwrap();
    assert!((10.0..80.0).contains(&measured), "{measured}");
    assert_eq!(source.stats().state, SourceState::Running);
}

#[test]
fn a_camera_that_dies_and_comes_back_goes_on_by_itself() {
    let mut camera = camera();
    let source = Source::open(impatient(&camera.url())).unwrap();
    let mut frames = take(&source, 5);
    camera.stop();
    let error = lost(&source);
    assert!(matches!(error, SourceError::Lost { .. }), "{error:?}");
    assert!(error.retry());
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(source.stats().state, SourceState::Lost);
    let down = awake();
    camera.restart();
    let outage = loop {
        match next(&source).unwrap() {
            Event::Recovered { outage, .. } => break outage,
            Event::Frame(frame) => frames.push(frame),
            _ => {}
        }
    };
    assert!(outage >= Duration::from_millis(300), "{outage:?}");
    frames.extend(take(&source, 5));
    check_order(&frames);
    let (before, after) = (&frames[4], &frames[frames.len() - 5]);
    let gap = (after.time - before.time).as_secs_f64();
    let real = (after.arrived - before.arrived).as_secs_f64();
    assert!(
        (gap - real).abs() < 0.25,
        "time says {gap}, the clock {real}"
    );
    let stats = source.stats();
    assert_eq!((stats.reconnects, stats.failed_attempts), (1, 0));
    assert_eq!(stats.state, SourceState::Running);
    assert!(stats.last_error.is_some());
    let took = awake() - down;
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn a_camera_that_falls_silent_is_found_out_and_fetched_again() {
    let camera = camera();
    let mut spec = impatient(&camera.url());
    spec.reconnect.silence = Duration::from_millis(600);
    let source = Source::open(spec).unwrap();
    let mut frames = take(&source, 5);
    camera.fall_silent();
    let since = awake();
    let error = lost(&source);
    let SourceError::Lost {
        reason: LostReason::Silent(waited),
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert!(waited >= Duration::from_millis(600));
    let took = awake() - since;
    assert!(took < Duration::from_secs(4), "{took:?}");
    camera.speak();
    frames.extend(take(&source, 5));
    check_order(&frames);
    assert_eq!(source.stats().reconnects, 1);
}

#[test]
fn a_camera_that_was_never_there_is_tried_as_often_as_asked() {
    let mut spec = impatient("rtsp://127.0.0.1:9/cam");
    spec.reconnect.initial = Duration::from_millis(20);
    spec.reconnect.attempts = Some(3);
    let source = Source::open(spec).unwrap();
    assert!(matches!(lost(&source), SourceError::Refused { .. }));
    let error = next(&source).unwrap_err();
    let SourceError::GaveUp { attempts, last } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*attempts, 3);
    assert!(last.retry());
    assert!(!error.retry());
    assert_eq!(source.stats().state, SourceState::Failed);
}

#[test]
fn a_path_that_the_camera_does_not_have_is_not_found() {
    let camera = camera();
    let source = open(&camera.url().replace("/cam", "/other"));
    let error = lost(&source);
    assert!(matches!(error, SourceError::NotFound { .. }), "{error:?}");
    assert!(error.retry(), "the stream may be published later");
}

#[test]
fn a_camera_that_connects_and_never_speaks_gives_no_frame() {
    let camera = camera();
    camera.fall_silent();
    let mut spec = impatient(&camera.url());
    spec.reconnect.connect = Duration::from_millis(700);
    let source = Source::open(spec).unwrap();
    let error = lost(&source);
    assert!(matches!(error, SourceError::NoFrame { .. }), "{error:?}");
    assert!(error.retry());
}

#[test]
fn udp_is_taken_when_the_camera_offers_nothing_else() {
    let setup = Setup {
        udp_only: true,
        ..Setup::default()
    };
    let camera = RtspServer::start(CameraClip::shapes(), setup);
    let source = Source::open(impatient(&camera.url())).unwrap();
    check_order(&take(&source, 5));
    let mut tcp = impatient(&camera.url());
    tcp.rtsp.transport = RtspTransport::Tcp;
    let source = Source::open(tcp).unwrap();
    assert!(matches!(lost(&source), SourceError::Refused { .. }));
}

#[test]
fn other_codecs_and_sound_beside_them_are_taken() {
    let cameras = [
        "( audiotestsrc is-live=true ! mulawenc ! rtppcmupay name=pay0 pt=0 \
           videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! \
           jpegenc ! rtpjpegpay name=pay1 pt=26 )",
        "( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! \
           x265enc tune=zerolatency speed-preset=ultrafast key-int-max=5 ! rtph265pay name=pay0 pt=96 )",
    ];
    for launch in cameras {
        let setup = Setup {
            launch: Some(launch),
            ..Setup::default()
        };
        let camera = RtspServer::start(CameraClip::shapes(), setup);
        let source = Source::open(impatient(&camera.url())).unwrap();
        let frames = take(&source, 3);
        check_order(&frames);
        assert_eq!(frames[0].image.planes().unwrap().height, 240);
    }
    let sound = "( audiotestsrc is-live=true ! mulawenc ! rtppcmupay name=pay0 pt=0 )";
    let setup = Setup {
        launch: Some(sound),
        ..Setup::default()
    };
    let camera = RtspServer::start(CameraClip::shapes(), setup);
    let error = next(&open(&camera.url())).unwrap_err();
    assert!(matches!(error, SourceError::NotVideo { .. }), "{error:?}");
}

#[test]
fn a_camera_that_comes_back_with_another_picture_says_so() {
    let mut camera = camera();
    let source = Source::open(impatient(&camera.url())).unwrap();
    let before = next_frame(&source);
    assert_eq!(before.image.width(), 640);
    camera.stop();
    camera.change(
        "( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! \
           jpegenc ! rtpjpegpay name=pay0 pt=26 )",
    );
    camera.restart();
    let format = loop {
        match next(&source).unwrap() {
            Event::Changed(format) => break format,
            Event::Frame(frame) => assert_eq!(frame.image.width(), 640),
            _ => {}
        }
    };
    assert_eq!((format.width, format.height), (320, 240));
    let after = next_frame(&source);
    assert_eq!(after.image.width(), 320);
    assert!(after.number > before.number);
    assert_eq!(source.stats().info.unwrap().format, format);
}

#[test]
fn a_slow_receiver_gets_the_newest_frame_and_the_rest_is_counted() {
    let camera = camera();
    let source = open(&camera.url());
    let first = next_frame(&source);
    std::thread::sleep(Duration::from_millis(400));
    let second = next_frame(&source);
    assert!(second.number - first.number >= 5);
    let drops = source.stats().drops;
    assert_eq!(drops.total(), drops.count(DropCause::Overtaken));
    assert!(drops.total() >= 4);
}
