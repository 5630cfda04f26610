//! What becomes of an attempt: what a receiver answered, or why it failed and whether it may succeed
//! later.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use serde_json::Value as Json;

use super::PostError;
use super::address::AddressRefused;
use super::request::RequestError;
use crate::redact::Redacted;

/// Redirects followed for one attempt.
pub(super) const MAX_REDIRECTS: usize = 30;

/// What a receiver answered to an attempt that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status; 200 where a receiver that does not speak HTTP confirmed the event.
    pub status: u16,
    /// What such a receiver confirmed.
    pub said: Option<String>,
    /// What the receivers of an errand answered, one after another; empty for other requests.
    pub replies: Vec<Reply>,
}

/// One answer in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Body, at most a mebibyte of it.
    pub body: Bytes,
}

impl Answer {
    /// An answer of this status and nothing else.
    pub fn of(status: u16) -> Self {
        Self {
            status,
            said: None,
            replies: Vec::new(),
        }
    }

    /// What a receiver said that does not speak HTTP.
    pub fn confirmed(said: impl Into<String>) -> Self {
        Self {
            said: Some(said.into()),
            ..Self::of(200)
        }
    }
}

impl Reply {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.said {
            Some(said) => f.write_str(said),
            None => write!(f, "{} {}", self.status, phrase(self.status)),
        }
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// No answer in time.
    #[error("timed out after {} s waiting for {url}", limit.as_secs_f64())]
    Timeout {
        /// Where the request went.
        url: Redacted,
        /// The limit.
        limit: Duration,
    },
    /// No connection, or one that broke.
    #[error("could not reach {url}: {reason}")]
    Network {
        /// Where the request went.
        url: Redacted,
        /// What the network said.
        reason: String,
    },
    /// The receiver answered with an error.
    #[error("{status} {} Error: {} for url: {url}", side(*status), phrase(*status))]
    Status {
        /// HTTP status.
        status: u16,
        /// Where the request went.
        url: Redacted,
        /// Wait that the receiver asked for.
        retry_after: Option<Duration>,
    },
    /// A receiver that does not speak HTTP answered with an error.
    #[error("{url} does not take it: {reason}")]
    Peer {
        /// Where the request went.
        url: Redacted,
        /// What it said.
        reason: String,
        /// Whether it may take the same event later.
        passing: bool,
    },
    /// The receiver redirects without end.
    #[error("Exceeded {MAX_REDIRECTS} redirects.")]
    Redirects,
    /// The address policy forbids the address.
    #[error(transparent)]
    Address(#[from] AddressRefused),
    /// The request itself is not possible.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Delivery could not be started on this machine.
    #[error("delivery could not be started: {0}")]
    Internal(String),
    /// The attempt panicked.
    #[error("the attempt broke off by a defect of millrace; the log tells where, please report it")]
    Broken,
    /// The receiver understood and said no.
    #[error("{reason}")]
    Said {
        /// Its words.
        reason: String,
        /// Whether it may say yes later.
        retry: bool,
    },
    /// It is not the event's turn: older ones wait for the receiver.
    #[error("older events wait for the same receiver: {0}")]
    Behind(Arc<str>),
    /// The event was not taken.
    #[error(transparent)]
    Post(#[from] PostError),
    /// It leads to the platform, and offline mode forbids that.
    #[error("OFFLINE_MODE is enabled, so nothing is sent to the platform")]
    Offline,
    /// The event was taken away before it was sent.
    #[error("the event was taken away before it was sent")]
    TakenAway,
}

fn side(status: u16) -> &'static str {
    if status < 500 { "Client" } else { "Server" }
}

fn phrase(status: u16) -> &'static str {
    StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or("Unknown")
}

/// Cause of a failure: a closed set, for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// No answer in time.
    Timeout,
    /// No connection, or one that broke.
    Network,
    /// Status 408, 425, 429 or 5xx: the receiver cannot take it now.
    Busy,
    /// Another status: the receiver does not want it.
    Refused,
    /// The address policy forbids the address.
    Address,
    /// The request itself is not possible.
    Request,
}

impl Cause {
    /// Name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Network => "network",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Address => "address",
            Self::Request => "request",
        }
    }
}

impl Failure {
    /// Its cause.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Timeout { .. } => Cause::Timeout,
            Self::Network { .. } | Self::Offline => Cause::Network,
            Self::Status { status, .. } if is_passing(*status) => Cause::Busy,
            Self::Peer { passing: true, .. } => Cause::Busy,
            Self::Status { .. } | Self::Peer { .. } | Self::Redirects => Cause::Refused,
            Self::Address(_) => Cause::Address,
            Self::Request(_)
            | Self::Internal(_)
            | Self::Broken
            | Self::Post(_)
            | Self::TakenAway => Cause::Request,
            Self::Behind(_) => Cause::Busy,
            Self::Said { retry: true, .. } => Cause::Busy,
            Self::Said { retry: false, .. } => Cause::Refused,
        }
    }

    /// Whether the same request may succeed later.
    pub fn retry(&self) -> bool {
        match self {
            Self::Address(refused) => refused.may_pass(),
            _ => matches!(self.cause(), Cause::Timeout | Cause::Network | Cause::Busy),
        }
    }

    /// Wait that the receiver asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } if self.retry() => *retry_after,
            _ => None,
        }
    }
}

fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..)
}

/// Why an event was not delivered, or not yet.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{failure}{}", self.note())]
pub struct Trouble {
    /// Number of the exchange of an errand, from 0.
    pub exchange: usize,
    /// What happened.
    pub failure: Failure,
    /// What the receiver answered, if it did.
    pub reply: Option<Reply>,
    /// Whether the event is kept for another attempt.
    pub kept: bool,
}

impl Trouble {
    /// What follows a text about the failure: that the event is kept, if it is.
    pub fn note(&self) -> &'static str {
        if self.kept {
            "; the event is kept and sent again"
        } else {
            ""
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self {
            exchange: 0,
            failure,
            reply: None,
            kept: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::HostRefused;

    #[test]
    fn what_may_pass_is_tried_again() {
        let status = |status| Failure::Status {
            status,
            url: Redacted::text("http://h/"),
            retry_after: Some(Duration::from_secs(1)),
        };
        for code in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(status(code).retry(), "{code}");
        }
        for code in [400, 401, 403, 404, 410, 422] {
            assert!(!status(code).retry(), "{code}");
            assert_eq!(status(code).retry_after(), None);
        }
        assert!(!Failure::from(AddressRefused::Redirect).retry());
        let unresolved = AddressRefused::from(HostRefused::Unresolved("h".into()));
        assert!(Failure::from(unresolved).retry());
    }

    #[test]
    fn errors_read_as_clients_know_them() {
        let failure = Failure::Status {
            status: 503,
            url: Redacted::text("http://h/p"),
            retry_after: None,
        };
        assert_eq!(
            failure.to_string(),
            "503 Server Error: Service Unavailable for url: http://h/p"
        );
    }

    #[test]
    fn what_is_kept_is_said_to_be() {
        let failure = Failure::Behind("503".into());
        let gone = Trouble::from(failure);
        assert_eq!(
            gone.to_string(),
            "older events wait for the same receiver: 503"
        );
        let kept = Trouble { kept: true, ..gone };
        assert!(
            kept.to_string()
                .ends_with("503; the event is kept and sent again")
        );
    }
}
