//! Messages and mails that the platform delivers, and what it says against them.

use serde_json::Value as Json;

use super::platform;
use super::report::{QUEUED, Report};
use super::sending::Words;
use crate::blocks::{BlockError, Context, Inputs};
use crate::definitions::ApiKey;
use crate::delivery::{Errand, Trouble};

/// A service of the platform that delivers.
pub(super) struct Managed {
    /// Its path.
    pub(super) path: &'static str,
    /// What it delivers, as its refusals call it.
    pub(super) what: &'static str,
    /// The same where it could not be reached.
    pub(super) unsent: &'static str,
    /// What a refusal of this status and these words means, if it is one that only this service has.
    pub(super) own: fn(u16, &str) -> Option<&'static str>,
    /// Too much was sent.
    pub(super) too_many: &'static str,
    /// The workspace has no credits left.
    pub(super) no_credits: &'static str,
}

impl Managed {
    /// Sends a body, or queues it.
    pub(super) fn send(
        &self,
        body: &Json,
        key: &ApiKey,
        inputs: &Inputs<'_>,
        cx: &Context<'_>,
    ) -> Result<Report, BlockError> {
        let url = platform::proxy_url(cx, self.path, key);
        let errand = Errand::new(vec![platform::exchange(cx, "POST", url).json(body)]);
        let words = Words {
            queued: QUEUED,
            sent: "Notification sent successfully via Roboflow proxy",
            unqueued: &|reason| self.details(reason),
            failed: &|trouble| self.failure(trouble),
        };
        platform::sending(&errand, cx).report(&words, inputs, cx)
    }

    fn details(&self, reason: &str) -> String {
        let unsent = self.unsent;
        format!("Failed to send {unsent} via proxy. Internal error details: {reason}")
    }

    fn failure(&self, trouble: &Trouble) -> String {
        let Some(reply) = &trouble.reply else {
            return self.details(&platform::error_text(trouble));
        };
        let text = platform::proxy_text(trouble);
        let lower = text.to_lowercase();
        let what = self.what;
        match (self.own)(reply.status, &lower) {
            Some(own) => own.into(),
            None if reply.status == 403 => {
                format!("Failed to send {what}: access forbidden. {text}")
            }
            None if lower.contains("rate limit") => self.too_many.into(),
            None if lower.contains("credits exceeded") => self.no_credits.into(),
            None => format!("Failed to send {what} via proxy. {text}"),
        }
    }
}
