//! The wait between two attempts, and what ends it early.
//!
//! A camera that is away for hours is looked for with one TCP connection now and then, and tried at
//! once when it answers; the growing waits of the back-off are for what cannot be looked for, and
//! for cameras that answer and refuse.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::backoff::Backoff;
use super::probe::Place;
use super::supervisor::Signal;
use super::{SourceError, SourceSpec, SourceUri};

/// Longest wait while the port answers, for the first [`EAGER`] attempts of an outage.
const QUICK: Duration = Duration::from_millis(600);
/// Longest wait while the port answers, after that.
const CALM: Duration = Duration::from_secs(1);
/// Attempts after which an outage is none that is about to end.
const EAGER: u32 = 20;

/// Attempts with a wrong password before they become rare: cameras lock accounts.
const PASSWORDS: u32 = 10;

/// What is known about an outage, and how long to wait in it.
pub(crate) struct Outage {
    place: Place,
    every: Option<Duration>,
    backoff: Backoff,
    answer: Option<Result<(), String>>,
    /// Whether an attempt at a port that does not answer can be left out.
    telling: bool,
}

/// Why a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The source is to be closed.
    Close,
    /// It is time for an attempt.
    Try,
    /// It would be time for an attempt, but the port did not answer, for this reason.
    Unreachable(String),
}

impl Outage {
    /// For a source named `name`.
    pub(crate) fn new(spec: &SourceSpec, name: &str) -> Self {
        let reconnect = spec.reconnect;
        Self {
            place: Place::of(&spec.uri),
            every: reconnect.probe,
            backoff: Backoff::new(reconnect.initial, reconnect.max, name),
            answer: None,
            telling: matches!(spec.uri, SourceUri::Rtsp(_)),
        }
    }

    /// The source was well for a while: the next outage begins with the shortest wait.
    pub(crate) fn over(&mut self) {
        self.backoff.reset();
        self.answer = None;
    }

    /// Waits after the failed attempt number `attempts`, which ended with `error`.
    pub(crate) fn wait(
        &mut self,
        error: &SourceError,
        attempts: u32,
        signals: &Receiver<Signal>,
        sender: &Sender<Signal>,
    ) -> Wake {
        let locks = matches!(error, SourceError::Unauthorized { .. }) && attempts > PASSWORDS;
        let began = Instant::now();
        let until = began + self.backoff.next();
        let longest = if attempts <= EAGER { QUICK } else { CALM };
        let soonest = match locks {
            true => until,
            false => until.min(began + self.backoff.jittered(longest)),
        };
        let mut look_at = self.every.map(|_| began);
        loop {
            let now = Instant::now();
            let answers = matches!(self.answer, Some(Ok(())));
            if now >= until {
                return match self.answer.take() {
                    Some(Err(reason)) if self.telling => {
                        self.answer = Some(Err(reason.clone()));
                        Wake::Unreachable(reason)
                    }
                    _ => Wake::Try,
                };
            }
            if answers && now >= soonest {
                return Wake::Try;
            }
            if look_at.is_some_and(|at| now >= at) {
                self.place.look(sender);
                look_at = self.every.map(|every| now + every);
            }
            let wake = if answers { soonest } else { until };
            let wake = look_at.map_or(wake, |at| at.min(wake));
            match signals.recv_deadline(wake) {
                Ok(Signal::Close) | Err(RecvTimeoutError::Disconnected) => return Wake::Close,
                Ok(Signal::Reach(answer)) => {
                    let was_away = matches!(self.answer, Some(Err(_)));
                    let back = was_away && answer.is_ok();
                    self.answer = Some(answer);
                    if back && !locks {
                        self.backoff.reset();
                        return Wake::Try;
                    }
                }
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Redacted;
    use std::net::TcpListener;

    fn outage(uri: &str, initial: Duration) -> Outage {
        let mut spec = SourceSpec::new(uri.parse().unwrap());
        spec.reconnect.initial = initial;
        spec.reconnect.probe = Some(Duration::from_millis(20));
        Outage::new(&spec, "cam")
    }

    fn refused() -> SourceError {
        SourceError::Refused {
            source_name: Redacted::new("rtsp://cam"),
            reason: "connection refused".to_owned(),
        }
    }

    fn wait(outage: &mut Outage, error: &SourceError, attempts: u32) -> (Wake, Duration) {
        let (sender, signals) = crossbeam_channel::bounded(64);
        let began = Instant::now();
        let wake = outage.wait(error, attempts, &signals, &sender);
        (wake, began.elapsed())
    }

    #[test]
    fn a_long_wait_is_short_while_the_port_answers() {
        let camera = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("rtsp://{}/x", camera.local_addr().unwrap());
        let mut outage = outage(&uri, Duration::from_secs(30));
        for (attempts, least) in [(5, 470), (EAGER + 1, 790)] {
            let (wake, took) = wait(&mut outage, &refused(), attempts);
            assert_eq!(wake, Wake::Try);
            assert!(took >= Duration::from_millis(least), "{took:?}");
            assert!(took < Duration::from_secs(5), "{took:?}");
        }
    }

    #[test]
    fn a_wrong_password_is_not_tried_every_second_for_ever() {
        let camera = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("rtsp://{}/x", camera.local_addr().unwrap());
        let mut outage = outage(&uri, Duration::from_secs(2));
        let error = SourceError::Unauthorized {
            source_name: Redacted::new("rtsp://cam"),
        };
        let (wake, took) = wait(&mut outage, &error, PASSWORDS + 1);
        assert_eq!(wake, Wake::Try);
        assert!(took >= Duration::from_millis(1500), "{took:?}");
    }

    #[test]
    fn a_port_that_opens_again_ends_the_wait_at_once() {
        let camera = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = camera.local_addr().unwrap();
        drop(camera);
        let mut outage = outage(&format!("rtsp://{place}/x"), Duration::from_millis(100));
        let (wake, _) = wait(&mut outage, &refused(), 1);
        assert_eq!(wake, Wake::Unreachable("connection refused".to_owned()));
        let opener = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            let open = TcpListener::bind(place);
            std::thread::sleep(Duration::from_millis(500));
            open.is_ok()
        });
        for _ in 0..20 {
            outage.backoff.next();
        }
        let (wake, took) = wait(&mut outage, &refused(), 2);
        if opener.join().unwrap() {
            assert_eq!(wake, Wake::Try);
            assert!(took < Duration::from_secs(5), "{took:?}");
        }
    }

    #[test]
    fn a_source_without_a_port_is_waited_for_a_second_at_most() {
        let mut outage = outage("udp://127.0.0.1:5004", Duration::from_secs(30));
        let (wake, took) = wait(&mut outage, &refused(), 1);
        assert_eq!(wake, Wake::Try);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}
