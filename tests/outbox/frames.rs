//! What a receiver that is down costs the frames of a stream: nothing that can be told from the time
//! that they take without any receiver.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::blocks::Services;
use millrace::delivery::outbox::OutboxSettings;
use millrace::delivery::{Dispatcher, Settings};
use millrace::plan::Plan;
use millrace::sources::SourceSpec;
use millrace::streams::Stream;
use serde_json::{Value as Json, json};

use super::receiver::{Receiver, Reply};
use super::streams;

const STREAMS: usize = 2;
/// Frames of each, at their own speed.
const FRAMES: usize = 150;
const FPS: usize = 50;

/// What a sink does: where its events go, whether it waits for them, whether it is off.
#[derive(Clone, Copy)]
struct Form {
    address: SocketAddr,
    waits: bool,
    off: bool,
}

/// Sends one event for each frame.
fn definition(form: Form, stream: usize) -> Json {
    let Form {
        address,
        waits,
        off,
    } = form;
    json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": [
            {
                "type": "roboflow_core/image_blur@v1", "name": "blur", "image": "$inputs.image",
                "blur_type": "gaussian", "kernel_size": 5,
            },
            {
                "type": "roboflow_core/webhook_sink@v1", "name": "sink", "method": "POST",
                "url": format!("http://{address}/{stream}"), "cooldown_seconds": 0,
                "json_payload": {"frame": "$steps.blur.image"},
                "json_payload_operations": {
                    "frame": [{"type": "ExtractFrameMetadata", "property_name": "frame_number"}],
                },
                "fire_and_forget": !waits, "disable_sink": off,
            },
        ],
        "outputs": [{"type": "JsonField", "name": "error", "selector": "$steps.sink.error_status"}],
    })
}

fn start(services: &Services, form: Form, name: usize) -> Stream {
    let definition = &definition(form, name);
    let uri = format!("videotestsrc://?size=320x240&fps={FPS}&frames={FRAMES}&live=true");
    let mut spec = SourceSpec::new(uri.parse().unwrap());
    spec.video_identifier = Some(format!("camera {name}").into());
    let plan = Arc::new(Plan::compile(definition).unwrap());
    streams::start(services, definition, plan, spec)
}

/// Times that the frames of all streams took, from the decoder to the end of the last stage.
fn play(dispatcher: &Arc<Dispatcher>, form: Form) -> Vec<Duration> {
    let services = Services {
        dispatcher: dispatcher.clone(),
        ..Services::default()
    };
    let streams: Vec<Stream> = (0..STREAMS)
        .map(|name| start(&services, form, name))
        .collect();
    let players: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            std::thread::spawn(move || {
                let times: Vec<Duration> = stream
                    .results()
                    .iter()
                    .map(|result| {
                        result.run.unwrap();
                        result.latency
                    })
                    .collect();
                stream.join();
                times
            })
        })
        .collect();
    players
        .into_iter()
        .flat_map(|p| p.join().unwrap())
        .collect()
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * 99 / 100]
}

fn outbox(folder: &Path) -> Arc<Dispatcher> {
    let outbox = OutboxSettings::new(folder);
    let dispatcher = Dispatcher::with_outbox(Settings::default(), outbox);
    // As a host does before its streams begin.
    dispatcher.resume().unwrap();
    Arc::new(dispatcher)
}

/// The numbers of the frames that were told, as they arrived; those of each stream in order.
fn arrived(receiver: &Receiver, count: usize) -> Vec<u64> {
    let received = receiver.wait_for(count);
    let mut newest = [0; STREAMS];
    let mut numbers = Vec::new();
    for request in &received {
        let body: Json = serde_json::from_str(request.text()).unwrap();
        let number = body["frame"].as_u64().unwrap();
        let newest = &mut newest[request.uri[1..].parse::<usize>().unwrap()];
        assert!(*newest < number, "{number} after {newest}");
        *newest = number;
        numbers.push(number);
        assert!(
            request
                .header("x-millrace-definition")
                .contains("source=inline")
        );
    }
    numbers
}

fn run(waits: bool) {
    let folder = tempfile::tempdir().unwrap();
    let address = {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        taken.local_addr().unwrap()
    };
    let dispatcher = outbox(folder.path());
    let form = |off| Form {
        address,
        waits,
        off,
    };
    let without = play(&dispatcher, form(true));
    let down = play(&dispatcher, form(false));
    let counts = dispatcher.counts();
    let frames = down.len();
    assert_eq!(
        (counts.delivered, counts.lost(), counts.waiting),
        (0, 0, frames as u64)
    );
    dispatcher.close(Duration::from_secs(5));
    drop(dispatcher);

    let receiver = Receiver::start_at(address, Vec::new(), Reply::status(200));
    let begun = Instant::now();
    let next = outbox(folder.path());
    let numbers = arrived(&receiver, frames);
    let took = begun.elapsed();
    // Frames of both streams have the same numbers, made at the same time: oldest first means that
    // they hardly ever go back.
    let back = numbers
        .windows(2)
        .map(|pair| pair[0].saturating_sub(pair[1]));
    let furthest = back.max().unwrap();
    assert!(furthest <= 50, "{furthest} frames back");
    let up = play(&next, form(false));
    next.close(Duration::from_secs(20));
    let (without, down, up) = (p99(without), p99(down), p99(up));
    let how = if waits {
        "waiting"
    } else {
        "in the background"
    };
    println!(
        "events {how}: p99 of the frame time {without:.1?} without, {down:.1?} with the receiver \
         down, {up:.1?} with it up; {frames} events kept, delivered within {took:.1?}, at most \
         {furthest} frames out of order"
    );
    let bound = without * 4 + Duration::from_millis(100);
    assert!(down < bound, "{down:?}");
}

#[test]
fn frames_are_not_slowed_by_a_receiver_that_is_down_and_all_events_arrive() {
    run(false);
}

#[test]
fn frames_are_hardly_slowed_by_steps_that_wait_for_a_receiver_that_is_down() {
    run(true);
}
