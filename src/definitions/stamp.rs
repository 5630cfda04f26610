//! What is known of a definition besides its content: the stamp on every result.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::clock::Clock;
use crate::definition::canonical::DefinitionHash;
use crate::values::Timestamp;

/// Where a definition came from. The names are those on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The platform answered with it.
    Platform,
    /// The disk copy of an earlier answer of the platform.
    Disk,
    /// A file of the watched folder.
    Folder,
    /// A file.
    File,
    /// It came with the request.
    Inline,
}

impl Source {
    /// Name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Disk => "disk",
            Self::Folder => "folder",
            Self::File => "file",
            Self::Inline => "inline",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The last thing that went wrong with a definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// What, and what to do.
    pub message: Arc<str>,
    /// When.
    pub at: Timestamp,
}

impl Trouble {
    /// As JSON.
    pub fn to_json(&self) -> Json {
        json!({"message": &*self.message, "at": self.at.isoformat()})
    }
}

/// Which definition made a result, where it came from and how fresh it is.
#[derive(Clone, Debug, PartialEq)]
pub struct DefinitionStamp {
    /// Hash of the canonical JSON.
    pub hash: DefinitionHash,
    /// The pinned `workflow_version_id`, else the version that the definition declares.
    pub version: Option<String>,
    /// Where it came from.
    pub source: Source,
    /// When the source last gave it or confirmed it.
    pub fetched_at: Timestamp,
    /// From when on it counts as stale: nobody can tell whether the source has a newer one.
    pub stale_from: Option<Timestamp>,
    /// Why the last attempt to confirm it failed; `None` if it did not.
    pub last_error: Option<Trouble>,
}

impl DefinitionStamp {
    /// The stamp of a definition that came with a request: nothing can be newer.
    pub fn inline(definition: &Json, now: Timestamp) -> Self {
        Self {
            hash: DefinitionHash::of(definition),
            version: declared_version(definition),
            source: Source::Inline,
            fetched_at: now,
            stale_from: None,
            last_error: None,
        }
    }

    /// Time since the source last gave or confirmed it.
    pub fn age(&self, now: Timestamp) -> Duration {
        let seconds = now.unix_seconds() - self.fetched_at.unix_seconds();
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    /// Whether its source may have a newer one that nobody here knows of: a disk copy, a definition
    /// that was not confirmed within its time-to-live, a file whose newer content was refused.
    pub fn stale(&self, now: Timestamp) -> bool {
        self.stale_from
            .is_some_and(|from| now.unix_seconds() >= from.unix_seconds())
    }

    /// The stamp as it stands on a result. The hash is cut to its first twelve digits.
    pub fn to_json(&self, now: Timestamp) -> Json {
        json!({
            "hash": self.hash.to_string(),
            "version": self.version,
            "source": self.source.name(),
            "fetched_at": self.fetched_at.isoformat(),
            "age_seconds": self.age(now).as_millis() as f64 / 1e3,
            "stale": self.stale(now),
            "last_error": self.last_error.as_ref().map(|e| &*e.message),
        })
    }
}

/// A definition with its stamp.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetched {
    /// The definition. While its hash stays the same so does this pointer.
    pub definition: Arc<Json>,
    /// Its stamp.
    pub stamp: DefinitionStamp,
    /// The id that the platform gave the workflow.
    pub platform_id: Option<Arc<str>>,
}

impl Fetched {
    /// A definition that came with a request.
    pub fn inline(definition: Json, clock: &dyn Clock) -> Self {
        Self {
            stamp: DefinitionStamp::inline(&definition, clock.now()),
            definition: Arc::new(definition),
            platform_id: None,
        }
    }
}

/// The moment this much after another.
pub(super) fn later(from: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_unix_micros(micros(from).saturating_add(by.as_micros() as i64))
}

/// The moment this much before another.
pub(super) fn earlier(from: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_unix_micros(micros(from).saturating_sub(by.as_micros() as i64))
}

fn micros(time: Timestamp) -> i64 {
    (time.unix_seconds() * 1e6).round() as i64
}

/// The version that a definition declares: the default of its parameter `workflow_version` (users
/// tag their definitions so, to show the tag as an output), else its `version`.
pub fn declared_version(definition: &Json) -> Option<String> {
    let text = |value: &Json| match value {
        Json::String(text) if !text.is_empty() => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let tag = definition
        .get("inputs")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .find(|input| input.get("name").and_then(Json::as_str) == Some("workflow_version"))
        .and_then(|input| text(input.get("default_value")?));
    tag.or_else(|| text(definition.get("version")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_micros(seconds * 1_000_000)
    }

    #[test]
    fn json_says_all_that_an_operator_asks() {
        let definition = json!({"version": "1.0", "inputs": [], "steps": [], "outputs": []});
        let mut stamp = DefinitionStamp::inline(&definition, at(1000));
        stamp.source = Source::Platform;
        stamp.stale_from = Some(at(1901));
        stamp.last_error = Some(Trouble {
            message: "the platform answered 503".into(),
            at: at(1800),
        });
        assert_eq!(
            stamp.to_json(at(1900)),
            json!({
                "hash": DefinitionHash::of(&definition).to_string(),
                "version": "1.0",
                "source": "platform",
                "fetched_at": "1970-01-01T00:16:40+00:00",
                "age_seconds": 900.0,
                "stale": false,
                "last_error": "the platform answered 503",
            })
        );
        assert!(stamp.stale(at(1901)));
        assert_eq!(stamp.age(at(900)), Duration::ZERO, "a clock set back");
    }

    #[test]
    fn a_version_tag_tells_more_than_the_engine_version() {
        let tag =
            json!({"type": "WorkflowParameter", "name": "workflow_version", "default_value": "v7"});
        let tagged = json!({"version": "1.0", "inputs": [tag]});
        assert_eq!(declared_version(&tagged).as_deref(), Some("v7"));
        assert_eq!(
            declared_version(&json!({"version": "1.0"})).as_deref(),
            Some("1.0")
        );
        assert_eq!(declared_version(&json!([])), None);
    }
}
