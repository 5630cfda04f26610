//! Where the time of a run went, as events of Chrome's trace format ("complete" events, `ph` `X`;
//! times in microseconds; see "Trace Event Format", section "Complete Events").

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value as Json, json};

/// Gathers the events of one run; clones gather into the same list.
#[derive(Clone)]
pub struct Profile {
    start: Instant,
    events: Arc<Mutex<Vec<Event>>>,
}

struct Event {
    name: String,
    category: &'static str,
    at: u64,
    duration: u64,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Profile")
    }
}

impl Default for Profile {
    /// A profile that starts now.
    fn default() -> Self {
        Self {
            start: Instant::now(),
            events: Arc::default(),
        }
    }
}

impl Profile {
    /// Does something and notes how long it took, as an operation of the engine.
    pub fn measure<T>(&self, name: &str, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.note(name, "execution_engine_operation", begun);
        done
    }

    /// Notes what began at `begun` and ends now.
    pub fn note(&self, name: &str, category: &'static str, begun: Instant) {
        let event = Event {
            name: name.to_owned(),
            category,
            at: (begun - self.start).as_micros() as u64,
            duration: begun.elapsed().as_micros() as u64,
        };
        let events = self.events.lock();
        events.unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// The events, by start.
    pub fn events(&self) -> Vec<Json> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.sort_by_key(|event| (event.at, std::cmp::Reverse(event.duration)));
        let pid = std::process::id();
        events
            .iter()
            .map(|event| {
                json!({
                    "name": event.name,
                    "ph": "X",
                    "pid": pid,
                    "tid": pid,
                    "ts": event.at,
                    "cat": event.category,
                    "dur": event.duration,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_their_start() {
        let profile = Profile::default();
        let first = Instant::now();
        assert_eq!(profile.measure("inner", || 7), 7);
        profile.note("outer", "inference_package_operation", first);
        let events = profile.events();
        assert_eq!(events[0]["name"], "outer");
        assert_eq!(events[0]["cat"], "inference_package_operation");
        assert!(events[0]["dur"].as_u64() >= events[1]["dur"].as_u64());
    }
}
