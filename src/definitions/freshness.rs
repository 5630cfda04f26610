//! The state of a definition, as the table of freshness shows it.

use serde_json::{Value as Json, json};

use super::stamp::{DefinitionStamp, Trouble};
use crate::definition::canonical::DefinitionHash;
use crate::values::Timestamp;

/// How the last look at a definition's source ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its content was new.
    Changed,
    /// Its content was the known one.
    Unchanged,
    /// The source failed; a disk copy stands in.
    FromDisk,
    /// The source failed or refused; what was there before goes on.
    Kept,
    /// The source failed or refused, and there is nothing.
    Failed,
}

impl Outcome {
    /// Name in tables and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::FromDisk => "from_disk",
            Self::Kept => "kept",
            Self::Failed => "failed",
        }
    }
}

/// A definition that a stream would not take.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Which one.
    pub hash: DefinitionHash,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// The state of a definition.
#[derive(Clone, Debug)]
pub struct Freshness {
    /// `workspace/workflow`, with `@version` if one is pinned; the name or path of a file.
    pub id: String,
    /// First digits of the API key's fingerprint, if there is a key.
    pub tenant: Option<String>,
    /// The stamp of what a request would get now; `None` if there is nothing yet.
    pub stamp: Option<DefinitionStamp>,
    /// When its time-to-live is over.
    pub expires: Option<Timestamp>,
    /// When its source is asked again.
    pub next_refresh: Option<Timestamp>,
    /// Whether its source is being asked.
    pub refreshing: bool,
    /// When its source was last asked.
    pub last_attempt: Option<Timestamp>,
    /// How that ended.
    pub last_outcome: Option<Outcome>,
    /// What went wrong then.
    pub last_error: Option<Trouble>,
    /// Failures in a row.
    pub failures: u32,
    /// Why the disk copy could not be written.
    pub disk_error: Option<Trouble>,
    /// Who is told of changes: the streams that run it.
    pub subscribers: usize,
    /// A newer content that a stream refused.
    pub refused: Option<Refusal>,
}

impl Freshness {
    /// The row as JSON.
    pub fn to_json(&self, now: Timestamp) -> Json {
        let time = |t: &Option<Timestamp>| t.as_ref().map(Timestamp::isoformat);
        json!({
            "id": self.id,
            "tenant": self.tenant,
            "definition": self.stamp.as_ref().map(|s| s.to_json(now)),
            "expires": time(&self.expires),
            "next_refresh": time(&self.next_refresh),
            "refreshing": self.refreshing,
            "last_attempt": time(&self.last_attempt),
            "last_outcome": self.last_outcome.map(Outcome::name),
            "last_error": self.last_error.as_ref().map(Trouble::to_json),
            "failures": self.failures,
            "disk_error": self.disk_error.as_ref().map(Trouble::to_json),
            "subscribers": self.subscribers,
            "refused": self.refused.as_ref().map(|r| json!({
                "hash": r.hash.to_string(),
                "reason": r.reason,
                "at": r.at.isoformat(),
            })),
        })
    }
}
