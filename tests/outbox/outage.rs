//! A receiver that is down for the whole run, and comes up afterwards.

use std::net::TcpListener;
use std::time::Duration;

use super::awake::awake;
use super::receiver::{Receiver, Reply};
use super::{dispatcher, event};

const EVENTS: usize = 600;
const STREAMS: usize = 6;

/// The 99th percentile of what posting costs.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

fn post_all(dispatcher: &millrace::delivery::Dispatcher, url: &str) -> Vec<Duration> {
    (0..EVENTS)
        .map(|i| {
            let stream = format!("camera {}", i % STREAMS);
            let event = event(url, &stream, format!("{i} {}", "x".repeat(1000)));
            let start = awake();
            dispatcher.post(event).unwrap();
            let took = awake() - start;
            std::thread::sleep(Duration::from_millis(1));
            took
        })
        .collect()
}

#[test]
fn everything_arrives_oldest_first_when_the_receiver_comes_up() {
    let folder = tempfile::tempdir().unwrap();
    let address = {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        taken.local_addr().unwrap()
    };
    let url = format!("http://{address}/events");
    let first = dispatcher(folder.path());
    let down = p99(post_all(&first, &url));
    let closing = awake();
    let counts = first.close(Duration::from_secs(20));
    assert!(
        awake() - closing < Duration::from_secs(8),
        "nothing is delivered, so closing need not wait"
    );
    assert_eq!(
        (counts.delivered, counts.lost(), counts.waiting),
        (0, 0, EVENTS as u64)
    );
    drop(first);

    let receiver = Receiver::start_at(address, Vec::new(), Reply::status(200));
    let second = dispatcher(folder.path());
    assert_eq!(second.resume().unwrap().as_deref(), Some(folder.path()));
    let received = receiver.wait_for(EVENTS);
    let numbers: Vec<usize> = received
        .iter()
        .map(|r| r.text().split(' ').next().unwrap().parse().unwrap())
        .collect();
    for stream in 0..STREAMS {
        let of_stream: Vec<usize> = numbers
            .iter()
            .copied()
            .filter(|n| n % STREAMS == stream)
            .collect();
        assert!(of_stream.is_sorted(), "stream {stream}");
        assert_eq!(of_stream.len(), EVENTS / STREAMS);
    }
    // Attempts at the same time let events of different streams overtake one another, a little.
    let places = numbers.iter().enumerate();
    let furthest = places.map(|(place, n)| place.abs_diff(*n)).max().unwrap();
    println!("oldest first, at most {furthest} of {EVENTS} places off");
    assert!(furthest <= EVENTS / 6);

    let up = p99(post_all(&second, &receiver.url("/events")));
    let memory = millrace::delivery::Dispatcher::new(super::quick());
    let without = p99(post_all(&memory, &receiver.url("/events")));
    println!("p99 of post: receiver down {down:?}, up {up:?}, without outbox {without:?}");
    // Beside what posting costs on this machine now.
    let bar = without + Duration::from_millis(5);
    assert!(down < bar, "{down:?}, not {bar:?}");
    assert_eq!(second.close(Duration::from_secs(20)).waiting, 0);
    memory.close(Duration::from_secs(20));
}

#[test]
fn what_a_receiver_does_not_want_is_kept_for_somebody_to_look_at() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(
        vec![Reply::status(404), Reply::status(404), Reply::status(503)],
        Reply::status(200),
    );
    let dispatcher = dispatcher(folder.path());
    for body in ["unwanted", "wanted"] {
        dispatcher
            .post(event(&receiver.url("/"), "a", body))
            .unwrap();
    }
    let counts = dispatcher.close(Duration::from_secs(20));
    let received = receiver.received();
    let bodies: Vec<&str> = received.iter().map(|r| r.text()).collect();
    assert_eq!(bodies, ["unwanted", "unwanted", "wanted", "wanted"]);
    assert_eq!((counts.delivered, counts.lost()), (1, 1));
    let report = dispatcher.outbox_report();
    assert_eq!((&report["dead"], &report["queued"]), (&1.into(), &0.into()));
    assert_eq!(report["since_start"]["failed"]["refused"], 1);
}

#[test]
fn more_receivers_than_are_served_at_once_are_all_served() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::ok();
    let dispatcher = dispatcher(folder.path());
    let port = receiver.url("").rsplit(':').next().unwrap().to_owned();
    // Each address of the loopback is a receiver of its own; most are never there.
    for i in 0..300 {
        let url = format!("http://127.0.{}.{}:{port}/", 1 + i / 200, 1 + i % 200);
        dispatcher.post(event(&url, "a", "event")).unwrap();
    }
    dispatcher
        .post(event(&receiver.url("/"), "a", "event"))
        .unwrap();
    assert_eq!(dispatcher.counts().lost(), 0);
    dispatcher.close(Duration::from_secs(1));
    let report = dispatcher.outbox_report();
    assert!(report["queued"].as_u64().unwrap() + receiver.received().len() as u64 >= 301);
}
