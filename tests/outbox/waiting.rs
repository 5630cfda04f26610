//! Steps that wait for their receiver: the event is kept before the attempt, and stays if that fails.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use millrace::delivery::outbox::OutboxSettings;
use millrace::delivery::{Dispatcher, Event, Failure, RetryPolicy, Settings};

use super::awake::awake;
use super::receiver::{Receiver, Reply};
use super::{again, dispatcher, event, integrity};

/// Name of the variable that tells [`waits_until_it_is_killed`] to do so.
const WAITER: &str = "OUTBOX_WAITER";
const WAITER_TEST: &str = "waiting::waits_until_it_is_killed";

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An outbox that waits for a second after a failure.
fn patient(folder: &Path) -> Dispatcher {
    let settings = Settings {
        retry: RetryPolicy {
            first: Duration::from_secs(2),
            ..RetryPolicy::default()
        },
        ..Settings::default()
    };
    Dispatcher::with_outbox(settings, OutboxSettings::new(folder))
}

fn bodies(receiver: &Receiver) -> Vec<String> {
    let received = receiver.received();
    received.iter().map(|r| r.text().to_owned()).collect()
}

#[test]
fn an_event_whose_attempt_fails_is_told_of_and_sent_again_before_its_successors() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(
        vec![Reply::status(200), Reply::status(503)],
        Reply::status(200),
    );
    let url = receiver.url("/");
    let dispatcher = patient(folder.path());
    let deliver = |stream: &str, body: &str| dispatcher.deliver(event(&url, stream, body));
    assert_eq!(deliver("camera", "1").unwrap().status, 200);

    let trouble = deliver("camera", "2").unwrap_err();
    assert!(trouble.kept, "{trouble}");
    let text = trouble.to_string();
    assert!(
        text.starts_with("503 Server Error") && text.ends_with("is kept and sent again"),
        "{text}"
    );
    // The next one is held up; who waits is told so at once.
    let begun = awake();
    let trouble = deliver("camera", "3").unwrap_err();
    assert!(awake() - begun < Duration::from_millis(900));
    assert!(
        trouble.kept && matches!(&trouble.failure, Failure::Behind(why) if why.contains("503")),
        "{trouble:?}"
    );
    assert_eq!(deliver("other", "a").unwrap().status, 200, "another stream");
    until("all arrive", || dispatcher.counts().waiting == 0);
    assert_eq!(bodies(&receiver), ["1", "2", "a", "2", "3"]);
    let received = receiver.received();
    let key = |i: usize| received[i].header("idempotency-key");
    assert_eq!(key(1), key(3));
    assert_eq!(dispatcher.close(Duration::from_secs(5)).delivered, 4);
}

#[test]
fn who_waits_behind_events_of_a_receiver_that_is_away_is_told_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let address = {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        taken.local_addr().unwrap()
    };
    let url = format!("http://{address}/");
    let dispatcher = patient(folder.path());
    for n in 0..20 {
        let stream = format!("camera {}", n % 2);
        let begun = awake();
        let trouble = dispatcher.deliver(event(&url, &stream, n.to_string()));
        let trouble = trouble.unwrap_err();
        assert!(trouble.kept && trouble.failure.retry(), "{trouble}");
        assert!(awake() - begun < Duration::from_secs(2), "{n}");
    }
    let receiver = Receiver::start_at(address, Vec::new(), Reply::status(200));
    until("all arrive", || dispatcher.counts().waiting == 0);
    let arrived: Vec<u32> = bodies(&receiver)
        .iter()
        .map(|n| n.parse().unwrap())
        .collect();
    for stream in 0..2 {
        let of_stream: Vec<u32> = arrived
            .iter()
            .copied()
            .filter(|n| n % 2 == stream)
            .collect();
        let all: Vec<u32> = (0..20).filter(|n| n % 2 == stream).collect();
        assert_eq!(of_stream, all);
    }
    dispatcher.close(Duration::from_secs(5));
}

#[test]
fn a_receiver_that_does_not_answer_in_time_is_told_of_and_one_that_refuses_is_not_asked_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let refused = Reply::status(404);
    let receiver = Receiver::start(
        vec![Reply::never(), Reply::status(200), refused.clone(), refused],
        Reply::status(200),
    );
    let url = receiver.url("/");
    let dispatcher = dispatcher(folder.path());
    let short = |body: &str| {
        let mut event: Event = event(&url, "camera", body);
        let request = (*event.request).clone().timeout(Duration::from_millis(300));
        event.request = request.into();
        dispatcher.deliver(event)
    };
    let late = short("late").unwrap_err();
    assert!(
        late.kept && matches!(late.failure, Failure::Timeout { .. }),
        "{late}"
    );
    until("it arrives", || dispatcher.counts().delivered == 1);
    let unwanted = short("unwanted").unwrap_err();
    assert!(unwanted.to_string().starts_with("404"), "{unwanted}");
    until("it is given up", || dispatcher.counts().lost() == 1);
    assert_eq!(bodies(&receiver), ["late", "late", "unwanted", "unwanted"]);
    dispatcher.close(Duration::from_secs(5));
}

#[test]
fn without_an_outbox_there_is_one_attempt() {
    let receiver = Receiver::start(vec![Reply::status(503)], Reply::status(200));
    let dispatcher = Dispatcher::new(super::quick());
    let trouble = dispatcher.deliver(event(&receiver.url("/"), "camera", "1"));
    let trouble = trouble.unwrap_err();
    assert!(!trouble.kept && trouble.failure.retry(), "{trouble}");
    assert_eq!(dispatcher.counts().waiting, 0);
    assert_eq!(bodies(&receiver), ["1"]);
}

/// The other process: waits for a receiver that never answers.
#[test]
fn waits_until_it_is_killed() {
    let Ok(told) = std::env::var(WAITER) else {
        return;
    };
    let (folder, url) = told.split_once('|').unwrap();
    let dispatcher = dispatcher(Path::new(folder));
    let _ = dispatcher.deliver(event(url, "camera", "kept"));
}

#[test]
fn the_event_of_a_step_that_was_killed_while_it_waited_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(vec![Reply::never()], Reply::status(200));
    let told = format!("{}|{}", folder.path().display(), receiver.url("/"));
    let mut waiter = again(WAITER_TEST, WAITER, &told);
    let mut waiter = waiter.stdout(Stdio::null()).spawn().unwrap();
    receiver.wait_for(1);
    waiter.kill().unwrap();
    waiter.wait().unwrap();

    let next = dispatcher(folder.path());
    next.resume().unwrap();
    let received = receiver.wait_for(2);
    assert_eq!((received[0].text(), received[1].text()), ("kept", "kept"));
    let key = |i: usize| received[i].header("idempotency-key");
    assert!(!key(0).is_empty() && key(0) == key(1));
    next.close(Duration::from_secs(10));
    drop(next);
    assert_eq!(integrity(folder.path()), "ok");
}
