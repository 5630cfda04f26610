//! The last lines of the log, kept in memory for `GET /logs` where `ENABLE_IN_MEMORY_LOGS` is set.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::clock::Clock;
use crate::values::Timestamp;

/// Lines that are kept.
const MOST_LINES: usize = 1_000;

static KEPT: OnceLock<Lines> = OnceLock::new();

/// The lines of this process, if they are kept.
pub fn kept() -> Option<&'static Lines> {
    KEPT.get()
}

/// From now on keeps lines. To be added to the process's subscriber.
pub fn keep(clock: Arc<dyn Clock>) -> Keeper {
    KEPT.get_or_init(Lines::default);
    Keeper(clock)
}

/// Lines of the log, oldest first.
#[derive(Debug, Default)]
pub struct Lines(Mutex<VecDeque<Line>>);

#[derive(Debug)]
struct Line {
    at: Timestamp,
    level: Level,
    target: &'static str,
    message: String,
    place: u32,
}

impl Lines {
    fn add(&self, line: Line) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == MOST_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The newest lines, oldest first: at most `limit`, of a level or worse, later than a time in
    /// ISO form.
    pub fn tell(&self, limit: usize, level: Option<&str>, since: Option<&str>) -> Value {
        let level: Option<Level> =
            level.and_then(|name| match name.to_ascii_uppercase().as_str() {
                "WARNING" => Some(Level::WARN),
                "CRITICAL" => Some(Level::ERROR),
                other => other.parse().ok(),
            });
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told: Vec<Value> = lines
            .iter()
            .rev()
            .filter(|line| level.is_none_or(|worst| line.level <= worst))
            .filter(|line| since.is_none_or(|since| line.at.isoformat().as_str() > since))
            .take(limit)
            .map(|line| {
                json!({
                    "timestamp": line.at.isoformat(),
                    "level": match line.level {
                        Level::WARN => "WARNING".to_owned(),
                        other => other.to_string(),
                    },
                    "logger": line.target,
                    "message": line.message,
                    "module": line.target.rsplit("::").next(),
                    "line": line.place,
                })
            })
            .collect();
        let count = told.len();
        let told: Vec<Value> = told.into_iter().rev().collect();
        json!({"logs": told, "total_count": count})
    }
}

/// Hands the lines of the log on to [`Lines`].
pub struct Keeper(Arc<dyn Clock>);

impl<S: Subscriber> Layer<S> for Keeper {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(lines) = kept() else { return };
        let mut text = Text::default();
        event.record(&mut text);
        let meta = event.metadata();
        lines.add(Line {
            at: self.0.now(),
            level: *meta.level(),
            target: meta.target(),
            message: text.finish(),
            place: meta.line().unwrap_or_default(),
        });
    }
}

/// The text of an event: its message, then its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Text {
    fn finish(mut self) -> String {
        for (name, value) in &self.fields {
            let _ = write!(self.message, " {name}={value}");
        }
        self.message
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => self.fields.push((name, text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn the_newest_lines_of_a_level_are_told() {
        let log = tracing_subscriber::registry().with(keep(Arc::new(SystemClock::default())));
        tracing::subscriber::with_default(log, || {
            tracing::warn!(camera = "gate", "it is dark");
            tracing::info!("fine");
            tracing::warn!("still dark");
        });
        let lines = kept().unwrap();
        let told = lines.tell(1, Some("WARNING"), None);
        assert_eq!(told["total_count"], 1);
        assert_eq!(told["logs"][0]["message"], "still dark");
        assert_eq!(told["logs"][0]["level"], "WARNING");
        let told = lines.tell(10, Some("WARNING"), None);
        assert_eq!(told["logs"][0]["message"], "it is dark camera=\"gate\"");
        assert_eq!(lines.tell(10, None, Some("2999"))["total_count"], 0);
    }
}
