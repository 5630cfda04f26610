//! What an outbox tells about itself.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Outbox, lock};
use crate::values::Timestamp;

/// An outbox in figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutboxFigures {
    /// Events that wait or are under way.
    pub queued: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// How long the oldest of them has waited.
    pub oldest_age: Duration,
    /// Events that were given up and are kept.
    pub dead: u64,
    /// Events delivered over the life of the outbox.
    pub delivered_total: u64,
    /// Attempts made again over its life.
    pub retried_total: u64,
    /// Events given up over its life.
    pub dead_total: u64,
    /// Events dropped over its life: for room, for age, by hand.
    pub dropped_total: u64,
    /// How often the disk did not take something, since the start.
    pub write_failures_total: u64,
    /// Why the disk does not take events now; `None` if it does.
    pub trouble: Option<String>,
}

impl Outbox {
    /// Its figures now.
    pub fn figures(&self) -> OutboxFigures {
        let core = &self.core;
        let mut queued = 0;
        let mut oldest: Option<i64> = None;
        for lanes in core.receivers().values() {
            let lanes = lock(lanes);
            queued += lanes.len() as u64;
            oldest = match (oldest, lanes.oldest_since()) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        let age = oldest.map_or(0, |since| core.now().saturating_sub(since).max(0));
        let front = core.front();
        OutboxFigures {
            queued,
            queued_bytes: core.bytes.load(Ordering::Relaxed),
            oldest_age: Duration::from_millis(age.unsigned_abs()),
            dead: front.dead,
            delivered_total: front.totals.delivered,
            retried_total: front.totals.retried,
            dead_total: front.totals.dead,
            dropped_total: front.totals.dropped,
            write_failures_total: front.failures,
            trouble: front.trouble().map(str::to_owned),
        }
    }

    /// The same for people and programs, with what waits for whom.
    pub fn report(&self) -> Json {
        let core = &self.core;
        let figures = self.figures();
        let now = core.now();
        let mut receivers: Vec<(String, Json)> = core
            .receivers()
            .iter()
            .filter_map(|(name, lanes)| {
                let lanes = lock(lanes);
                let since = lanes.oldest_since()?;
                let row = json!({
                    "receiver": &**name,
                    "queued": lanes.len(),
                    "queued_bytes": lanes.bytes(),
                    "oldest_age_seconds": seconds(now - since),
                });
                Some((name.to_string(), row))
            })
            .collect();
        receivers.sort_by(|a, b| a.0.cmp(&b.0));
        json!({
            "folder": self.folder().display().to_string(),
            "queued": figures.queued,
            "queued_bytes": figures.queued_bytes,
            "oldest_age_seconds": figures.oldest_age.as_secs_f64(),
            "dead": figures.dead,
            "delivered_total": figures.delivered_total,
            "retried_total": figures.retried_total,
            "dead_total": figures.dead_total,
            "dropped_total": figures.dropped_total,
            "too_old_since_start": core.aged.load(Ordering::Relaxed),
            "large_bodies": core.bodies.files(),
            "write_failures_total": figures.write_failures_total,
            "trouble": figures.trouble,
            "limits": {
                "bytes": core.settings.bytes,
                "age_seconds": core.settings.age.as_secs(),
                "policy": core.settings.overflow.name(),
                "durability": core.settings.durability.name(),
            },
            "receivers": receivers.into_iter().map(|(_, row)| row).collect::<Vec<_>>(),
        })
    }
}

fn seconds(milliseconds: i64) -> f64 {
    milliseconds.max(0) as f64 / 1e3
}

/// A time of the database for people.
pub(super) fn time(milliseconds: i64) -> String {
    Timestamp::from_unix_micros(milliseconds.saturating_mul(1000)).isoformat()
}
