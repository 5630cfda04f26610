//! What became of events, in figures.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value as Json, json};

use super::outcome::Cause;

/// Why an event was dropped without a (further) attempt: a closed set, for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropCause {
    /// No room in the queue of its receiver.
    Full,
    /// More receivers at once than the dispatcher serves.
    Receivers,
    /// Delivery was closed before the event was delivered.
    Closed,
    /// Delivery could not be started.
    Internal,
    /// The disk does not take it.
    Storage,
    /// It waited for too long.
    Age,
}

impl DropCause {
    /// Name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Receivers => "receivers",
            Self::Closed => "closed",
            Self::Internal => "internal",
            Self::Storage => "storage",
            Self::Age => "age",
        }
    }
}

/// Events and attempts since the dispatcher was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that a receiver took.
    pub delivered: u64,
    /// Attempts made again.
    pub retried: u64,
    /// Events given up after their last attempt, by its cause.
    pub failed: BTreeMap<Cause, u64>,
    /// Events dropped before that.
    pub dropped: BTreeMap<DropCause, u64>,
    /// Events that wait or are under way now.
    pub waiting: u64,
}

impl Counts {
    /// Events that will not arrive.
    pub fn lost(&self) -> u64 {
        self.failed.values().chain(self.dropped.values()).sum()
    }
}

impl Counts {
    /// The counts for programs.
    pub fn to_json(&self) -> Json {
        let by_cause = |pairs: Vec<(&str, u64)>| -> Json {
            pairs
                .into_iter()
                .map(|(name, n)| (name.to_owned(), Json::from(n)))
                .collect()
        };
        json!({
            "delivered": self.delivered,
            "retried": self.retried,
            "failed": by_cause(self.failed.iter().map(|(c, n)| (c.name(), *n)).collect()),
            "dropped": by_cause(self.dropped.iter().map(|(c, n)| (c.name(), *n)).collect()),
            "waiting": self.waiting,
        })
    }
}

impl fmt::Display for Counts {
    /// One line for people: `12 delivered, 3 retried, 1 failed (busy)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} delivered", self.delivered)?;
        if self.retried > 0 {
            write!(f, ", {} retried", self.retried)?;
        }
        for (cause, n) in &self.failed {
            write!(f, ", {n} failed ({})", cause.name())?;
        }
        for (cause, n) in &self.dropped {
            write!(f, ", {n} dropped ({})", cause.name())?;
        }
        if self.waiting > 0 {
            write!(f, ", {} waiting", self.waiting)?;
        }
        Ok(())
    }
}

/// Counts that several threads add to.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<Counts>);

impl Counters {
    pub(super) fn add(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn delivered(&self) {
        self.add(|c| c.delivered += 1);
    }

    pub(super) fn retried(&self) {
        self.add(|c| c.retried += 1);
    }

    pub(super) fn failed(&self, cause: Cause) {
        self.add(|c| *c.failed.entry(cause).or_default() += 1);
    }

    pub(super) fn dropped(&self, cause: DropCause, events: usize) {
        if events > 0 {
            self.add(|c| *c.dropped.entry(cause).or_default() += events as u64);
        }
    }

    pub(super) fn snapshot(&self) -> Counts {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_one_line() {
        let counters = Counters::default();
        assert_eq!(counters.snapshot().to_string(), "0 delivered");
        counters.delivered();
        counters.retried();
        counters.failed(Cause::Busy);
        counters.dropped(DropCause::Full, 3);
        counters.dropped(DropCause::Closed, 0);
        let counts = counters.snapshot();
        assert_eq!(
            counts.to_string(),
            "1 delivered, 1 retried, 1 failed (busy), 3 dropped (full)"
        );
        assert_eq!(counts.lost(), 4);
    }
}
