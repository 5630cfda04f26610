//! Stages with several workers keep the order, the state and the bounds of stages with one.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::*;
use crate::blocks::{Services, testing};
use crate::definition::testing::{step, workflow};
use crate::definitions::DefinitionStamp;
use crate::sources::SourceSpec;
use crate::values::deserialise::InputOptions;

/// Held by each test: all streams of a process share their further workers.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frames as fast as they are taken, none left out.
const FRAMES: &str = "videotestsrc://?size=64x48&fps=1000&frames=";
/// A camera.
const CAMERA: &str = "videotestsrc://?size=64x48&fps=50&live=true";

fn slow(name: &str, block: &str, ms: u64, fails: u64) -> Json {
    step(
        name,
        block,
        json!({"image": "$inputs.image", "ms": ms, "fails": fails}),
    )
}

fn recall(name: &str, v: Json) -> Json {
    step(name, "Recall", json!({"image": "$inputs.image", "v": v}))
}

fn replacement(workers: usize, steps: Json, outputs: &[(&str, &str)]) -> Replacement {
    let definition = workflow(&["image"], steps, outputs);
    let services = Services {
        stage_workers: NonZeroUsize::new(workers),
        ..Services::default()
    };
    let plan = Arc::new(Plan::compile(&definition).unwrap());
    let stamp = DefinitionStamp::inline(&definition, services.clock.now());
    Replacement {
        engine: Engine::new(plan, services, InputOptions::default()).unwrap(),
        provenance: stamp.into(),
        image_input: "image".into(),
    }
}

fn start(uri: &str, definition: Replacement) -> Stream {
    let clock: Arc<dyn Clock> = Services::default().clock;
    let spec = SourceSpec::new(uri.parse().unwrap());
    let source = Source::open_with_clock(spec, clock.clone()).unwrap();
    let spec = StreamSpec {
        source,
        definition,
        parameters: RuntimeInputs::new(),
        clock,
    };
    Stream::start(spec).unwrap()
}

/// Number of the frame and the first output, or the error.
fn row(result: &FrameResult) -> (i64, Result<i64, String>) {
    let run = result.run.as_ref().map_err(|error| error.to_string());
    let value = run.map(|run| {
        let object = run.produced(&result.generation.plan).remove(0);
        object[0].value.as_i64().unwrap()
    });
    (result.frame.number, value)
}

fn play(stream: &Stream) -> Vec<(i64, Result<i64, String>)> {
    stream.results().iter().map(|result| row(&result)).collect()
}

fn numbers(count: i64) -> Vec<(i64, Result<i64, String>)> {
    (1..=count).map(|n| (n, Ok(n))).collect()
}

#[test]
fn two_workers_do_nearly_twice_as_much_and_keep_the_order() {
    let _alone = alone();
    let time = |workers: usize| {
        let steps = json!([slow("a", "Slow", 20, 0)]);
        let began = Instant::now();
        let stream = start(
            &format!("{FRAMES}100"),
            replacement(workers, steps, &[("x", "$steps.a.o")]),
        );
        assert_eq!(play(&stream), numbers(100));
        stream.join();
        began.elapsed()
    };
    let (one, two) = (time(1), time(2));
    println!("100 frames in a stage of 20 to 30 ms: {one:?} with one worker, {two:?} with two");
    assert!(
        two.as_secs_f64() < 0.75 * one.as_secs_f64(),
        "{one:?} and {two:?}"
    );
}

#[test]
fn what_remembers_sees_every_frame_in_order_between_what_does_not() {
    let _alone = alone();
    let steps = json!([
        slow("before", "Slow", 8, 0),
        recall("count", json!("$steps.before.o")),
        step(
            "after",
            "Slow",
            json!({"image": "$inputs.image", "ms": 8, "v": "$steps.count.o"})
        ),
        recall("again", json!("$steps.after.o")),
    ]);
    let stream = start(
        &format!("{FRAMES}120"),
        replacement(
            4,
            steps,
            &[("x", "$steps.count.o"), ("y", "$steps.again.o")],
        ),
    );
    assert_eq!(play(&stream), numbers(120));
    assert_eq!(stream.figures().in_flight(), 0);
    stream.join();
}

#[test]
fn an_error_stays_in_its_place() {
    let _alone = alone();
    let steps = json!([
        slow("a", "Slow", 8, 7),
        recall("count", json!("$steps.a.o"))
    ]);
    let stream = start(
        &format!("{FRAMES}60"),
        replacement(3, steps, &[("x", "$steps.count.o")]),
    );
    let rows = play(&stream);
    stream.join();
    assert_eq!(
        rows.iter().map(|row| row.0).collect::<Vec<_>>(),
        (1..=60).collect::<Vec<_>>()
    );
    let mut seen = 0;
    for (number, value) in rows {
        match value {
            Err(error) => assert!(number % 7 == 0 && error.contains("its turn"), "{error}"),
            Ok(count) => {
                seen += 1;
                assert_eq!((count, number % 7 == 0), (seen, false));
            }
        }
    }
}

#[test]
fn swaps_lose_no_frame_and_no_state_of_stages_with_workers() {
    let _alone = alone();
    let definition = |k: u64| {
        let steps = json!([
            slow("a", "Slow", 6 + k % 2, 0),
            step("count", "Recall", json!({"image": "$inputs.image"})),
            slow("model", "SlowModel", 3, 0),
            slow("c", "Slow", 5, 0),
        ]);
        replacement(3, steps, &[("x", "$steps.count.o")])
    };
    let stream = start(&format!("{FRAMES}200"), definition(0));
    let control = stream.control();
    let swapping = thread::spawn(move || {
        for k in 1..=12 {
            thread::sleep(Duration::from_millis(60));
            if control.swap(definition(k)).is_err() {
                return;
            }
        }
    });
    assert_eq!(play(&stream), numbers(200));
    swapping.join().unwrap();
    assert!(stream.figures().snapshot().swaps >= 5);
    stream.join();
}

#[test]
fn a_stream_with_many_workers_stops_at_once_also_after_a_pause() {
    let _alone = alone();
    for paused in [false, true] {
        let steps = json!([slow("a", "Slow", 20, 0)]);
        let stream = start(CAMERA, replacement(4, steps, &[("x", "$steps.a.o")]));
        let rows: Vec<i64> = stream
            .results()
            .iter()
            .take(50)
            .map(|r| r.frame.number)
            .collect();
        assert!(rows.is_sorted_by(|a, b| a < b), "{rows:?}");
        stream.control().pause(paused);
        let began = Instant::now();
        assert!(matches!(
            stream.end(Duration::from_secs(2)),
            Ok(End::Stopped)
        ));
        assert!(began.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn a_frame_that_waited_too_long_between_stages_is_dropped_and_counted() {
    let _alone = alone();
    testing::shut("stale", true);
    let steps = json!([
        recall("first", json!(null)),
        slow("model", "SlowModel", 0, 0),
        step("gate", "Gate", json!({"v": "stale"})),
        step(
            "second",
            "SlowModel",
            json!({"image": "$inputs.image", "ms": 1, "v": "$steps.gate.o"})
        ),
        recall("last", json!("$steps.second.o")),
    ]);
    let stream = start(CAMERA, replacement(1, steps, &[("x", "$steps.first.o")]));
    let began = Instant::now();
    while stream.figures().in_flight() < 2 {
        assert!(began.elapsed() < Duration::from_secs(20), "no second frame");
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(1200));
    testing::shut("stale", false);
    let results: Vec<FrameResult> = stream.results().iter().take(20).collect();
    let snapshot = stream.figures().snapshot();
    stream.end(Duration::from_secs(2)).unwrap();
    assert!(snapshot.dropped["stale"] >= 1, "{:?}", snapshot.dropped);
    assert!(snapshot.in_flight <= 4, "{}", snapshot.in_flight);
    // The one that the gate held was worked on; after it come young ones only.
    let old = results
        .iter()
        .filter(|r| r.latency > Duration::from_millis(1000));
    assert!(old.count() <= 1);
}
