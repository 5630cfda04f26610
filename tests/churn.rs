//! Streams that come and go leave nothing: memory, threads and descriptors are as before.
//!
//! The short form adds and removes 48 streams; `MILLRACE_CHURN=1000` that many. A stream is a file, a
//! live picture, a camera that cannot be reached, or a camera that does not answer, with a followed
//! definition and a buffer of pictures. Alone in its binary: other tests would be counted too.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::blocks::Services;
use millrace::clock::SystemClock;
use millrace::definitions::{DefinitionKey, DefinitionStore, Refresher, Settings as StoreSettings};
use millrace::fleet::{Fleet, PipelineSpec, Settings, Wanted};
use millrace::sources::SourceSpec;
use serde_json::json;

/// Streams that run at once.
const AT_ONCE: usize = 8;
/// Streams before the first count: what the process keeps for good is there then.
const WARM_UP: usize = 64;
/// Bytes by which memory may have grown.
const ALLOWED: i64 = 5 << 20;
const CLIP: &str = "fixtures/video/shapes_a_640x360_25fps.mp4";

#[derive(Clone, Copy, Debug)]
struct Use {
    /// Resident memory, bytes.
    memory: i64,
    threads: usize,
    descriptors: usize,
}

impl Use {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let field = |name: &str| -> i64 {
            let line = status.lines().find(|l| l.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Self {
            memory: field("VmRSS:") << 10,
            // Threads of the store's pool come and go by themselves.
            threads: names().iter().filter(|n| *n != "definitions").count(),
            // Less the one that reads the folder.
            descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count() - 1,
        }
    }

    /// What is used once all that was told to end has ended, and its memory was given back.
    fn settled(want: Option<Self>) -> Self {
        let began = Instant::now();
        loop {
            millrace::allocator::release();
            let now = Self::now();
            let back = |w: Self| {
                now.threads <= w.threads
                    && now.descriptors == w.descriptors
                    && now.memory - w.memory <= ALLOWED
            };
            let patience = Duration::from_secs(if want.is_some() { 15 } else { 4 });
            if want.is_some_and(back) || began.elapsed() > patience {
                return now;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Names of the threads.
fn names() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .map(|name| name.trim_end().to_owned())
        .collect()
}

/// Adds and removes so many streams, a few at a time. Answers the longest stop, and the most memory
/// that was in use between two of those few.
fn churn(fleet: &Fleet, streams: usize, silent: u16) -> (Duration, i64) {
    let (mut longest, mut highest) = (Duration::ZERO, 0);
    for first in (0..streams).step_by(AT_ONCE) {
        let ids: Vec<String> = (first..streams.min(first + AT_ONCE))
            .map(|i| {
                let uri = match i % 4 {
                    0 => CLIP.to_owned(),
                    1 => "videotestsrc://?size=640x360&fps=25&live=true".to_owned(),
                    2 => "rtsp://127.0.0.1:9/cam".to_owned(),
                    _ => format!("rtsp://127.0.0.1:{silent}/cam"),
                };
                let source = SourceSpec::new(uri.parse().unwrap());
                let wanted = Wanted::Key(DefinitionKey::folder("flow"));
                let mut spec = PipelineSpec::new(vec![source], wanted);
                spec.results = 8;
                fleet.initialise(spec).unwrap()
            })
            .collect();
        // The first two of every four give results.
        let gives = |id: &String| {
            let status = fleet.status(id).unwrap();
            status["completion_statistics"]["sources"][0]["completed_frames"].as_u64() > Some(2)
        };
        let began = Instant::now();
        while !ids.iter().enumerate().all(|(i, id)| i % 4 > 1 || gives(id)) {
            assert!(began.elapsed() < Duration::from_secs(30), "no results");
            std::thread::sleep(Duration::from_millis(5));
        }
        for id in ids {
            let began = Instant::now();
            fleet.terminate(&id).unwrap();
            longest = longest.max(began.elapsed());
        }
        millrace::allocator::release();
        highest = highest.max(Use::now().memory);
    }
    (longest, highest)
}

#[test]
fn streams_that_come_and_go_leave_nothing() {
    let streams: usize = match std::env::var("MILLRACE_CHURN") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => 48,
    };
    // As the binary does.
    millrace::allocator::set_up();
    let folder = tempfile::tempdir().unwrap();
    let definition = json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": [{
            "type": "roboflow_core/image_blur@v1", "name": "blur",
            "image": "$inputs.image", "blur_type": "gaussian", "kernel_size": 5,
        }],
        "outputs": [{"type": "JsonField", "name": "image", "selector": "$steps.blur.image"}],
    });
    std::fs::write(folder.path().join("flow.json"), definition.to_string()).unwrap();
    let mut store = StoreSettings::new("http://127.0.0.1:9".parse().unwrap(), folder.path());
    store.folder = Some(folder.path().to_owned());
    let store = Arc::new(DefinitionStore::open(store, Arc::new(SystemClock::default())).unwrap());
    let _refresher = Refresher::start(&store);
    let fleet = Fleet::start(Services::default(), store, Settings::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap().port();
    let (_, highest) = churn(&fleet, WARM_UP, silent);
    // Without streams the memory is now 90, now 110 MiB, as the heap happens to be cut; what grows is
    // seen against the highest of these.
    let mut before = Use::settled(None);
    before.memory = before.memory.max(highest);
    let began = Instant::now();
    let (longest, _) = churn(&fleet, streams, silent);
    let took = began.elapsed();
    let after = Use::settled(Some(before));
    let mib = |bytes: i64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{streams} streams added and removed in {took:.1?}, longest stop {longest:.1?}; memory {:.1} → {:.1} MiB ({:+.1}), threads {} → {}, descriptors {} → {}",
        mib(before.memory),
        mib(after.memory),
        mib(after.memory - before.memory),
        before.threads,
        after.threads,
        before.descriptors,
        after.descriptors,
    );
    assert!(longest < Duration::from_secs(2), "a stop took {longest:?}");
    // GLib ends idle threads of its pool by itself, so there may be fewer.
    assert!(after.threads <= before.threads, "threads: {:?}", names());
    assert_eq!(after.descriptors, before.descriptors, "descriptors");
    assert!(after.memory - before.memory <= ALLOWED, "memory");
}
