//! Where inner workflows go that another server is to run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The server that runs dispatched inner workflows, and how deep in dispatches this process is.
#[derive(Clone)]
pub struct RemoteWorkflows {
    /// `WORKFLOWS_INNER_WORKFLOW_REMOTE_TARGET`: base address for steps that name none.
    pub target: Arc<str>,
    /// Key for that address; it goes nowhere else.
    pub api_key: Option<Arc<str>>,
    /// Dispatches that led to this process: 0, unless a server was told otherwise by who asked it.
    pub depth: u32,
    /// Dispatches that may follow on each other.
    pub max_depth: u32,
    /// `WORKFLOWS_INNER_WORKFLOW_REMOTE_DISPATCH_REQUEST_TIMEOUT`: longest wait for an answer.
    pub timeout: Duration,
}

impl Default for RemoteWorkflows {
    /// The platform's server, without a key; four dispatches, 300 seconds each.
    fn default() -> Self {
        Self {
            target: "https://serverless.roboflow.com".into(),
            api_key: None,
            depth: 0,
            max_depth: 4,
            timeout: Duration::from_secs(300),
        }
    }
}

/// A setting that is no number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} must be a positive number of seconds")]
pub struct NoSeconds(&'static str);

impl RemoteWorkflows {
    const TARGET: &'static str = "WORKFLOWS_INNER_WORKFLOW_REMOTE_TARGET";
    const TIMEOUT: &'static str = "WORKFLOWS_INNER_WORKFLOW_REMOTE_DISPATCH_REQUEST_TIMEOUT";

    /// Settings from environment variables. An empty variable counts as one that is not set.
    ///
    /// # Errors
    /// If the timeout cannot be read.
    pub fn from_env(look: impl Fn(&str) -> Option<String>) -> Result<Self, NoSeconds> {
        let look = |name: &str| look(name).filter(|text| !text.trim().is_empty());
        let mut settings = Self::default();
        if let Some(target) = look(Self::TARGET) {
            settings.target = target.trim().into();
        }
        if let Some(text) = look(Self::TIMEOUT) {
            let seconds = text.trim().parse().ok().filter(|seconds| *seconds > 0.0);
            settings.timeout = seconds
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or(NoSeconds(Self::TIMEOUT))?;
        }
        Ok(settings)
    }
}

impl fmt::Debug for RemoteWorkflows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteWorkflows")
            .field("target", &crate::redact::Redacted::text(&self.target))
            .field("api_key", &self.api_key.as_ref().map(|_| "***"))
            .field("depth", &self.depth)
            .field("max_depth", &self.max_depth)
            .field("timeout", &self.timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_the_key_is_not_shown() {
        let of = |timeout: &'static str| {
            RemoteWorkflows::from_env(move |name| match name {
                RemoteWorkflows::TARGET => Some(" https://u:pw@host/base ".into()),
                RemoteWorkflows::TIMEOUT => Some(timeout.into()),
                _ => None,
            })
        };
        let mut settings = of("2.5").unwrap();
        settings.api_key = Some("k3y".into());
        assert_eq!(settings.timeout, Duration::from_millis(2500));
        let shown = format!("{settings:?}");
        assert!(!shown.contains("pw") && !shown.contains("k3y"), "{shown}");
        for wrong in ["0", "-1", "soon", "inf"] {
            assert_eq!(of(wrong).unwrap_err(), NoSeconds(RemoteWorkflows::TIMEOUT));
        }
        assert_eq!(of("").unwrap().timeout, Duration::from_secs(300));
    }
}
