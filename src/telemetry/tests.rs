//! What is sampled, and what becomes of traces that no collector takes.

use super::*;
use crate::clock::SystemClock;

fn tracer(sampling: Sampling) -> Arc<Tracer> {
    let settings = Settings {
        // Nobody listens at the discard port of this machine.
        endpoint: Some("http://127.0.0.1:9/v1/traces".into()),
        sampling,
        delay: Duration::from_millis(1),
        timeout: Duration::from_millis(200),
        ..Settings::default()
    };
    let clock = Arc::new(SystemClock::default());
    Tracer::start(settings, clock).unwrap().unwrap()
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_traceparent_is_read_and_a_broken_one_is_none() {
    let context = parent(PARENT).unwrap();
    assert_eq!(
        context.trace_id().to_string(),
        "4bf92f3577b34da6a3ce929d0e0e4736"
    );
    assert!(context.is_sampled() && context.is_remote());
    for broken in [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-é",
    ] {
        assert!(parent(broken).is_none(), "{broken}");
    }
    assert!(parent("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some());
}

#[test]
fn the_caller_decides_about_its_own_trace() {
    let tracer = tracer(Sampling::ParentOr(0.0));
    assert!(tracer.frame(Duration::ZERO).is_none());
    let request = |header: Option<&str>| tracer.request("request", header, Duration::ZERO);
    assert!(request(Some(PARENT)).is_some());
    let unsampled = PARENT.replace("-01", "-00");
    assert!(request(Some(&unsampled)).is_none());
    assert!(request(Some("nonsense")).is_none());
}

#[test]
fn a_share_of_the_frames_is_sampled() {
    let tracer = tracer(Sampling::Ratio(0.25));
    let sampled = (0..4000).filter(|_| tracer.frame(Duration::ZERO).is_some());
    assert!((700..1300).contains(&sampled.count()));
}

#[test]
fn traces_that_no_collector_takes_are_counted_and_hold_nobody_up() {
    let tracer = tracer(Sampling::Ratio(1.0));
    let began = std::time::Instant::now();
    let count = 3 * WAITING as u64;
    for number in 0..count {
        let trace = tracer.frame(Duration::ZERO).unwrap();
        let facts = frame::FrameFacts {
            stream: "gate".into(),
            source: "gate".into(),
            number: number as i64,
            frames: 1,
            definition: String::new(),
        };
        trace.finish(Duration::from_millis(1), &facts, None, None);
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    let shared = tracer.shared.clone();
    drop(tracer);
    let counts = &shared.counts;
    let (dropped, failed) = (
        counts.dropped.load(Ordering::Relaxed),
        counts.failed.load(Ordering::Relaxed),
    );
    assert_eq!(dropped + failed, count, "each is counted once");
    assert!(failed > 0 && counts.sent.load(Ordering::Relaxed) == 0);
}
