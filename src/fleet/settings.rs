//! Settings of a fleet, by the names of environment variables that users know.

use std::path::PathBuf;
use std::time::Duration;

/// How a fleet behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `STREAM_MANAGER_MAX_ACTIVE_PIPELINES`, 64: pipelines that clients may have at once. Those
    /// that ended and those of a file of streams do not count.
    pub max_pipelines: usize,
    /// How long a pipeline that ended stays, for its results and its status.
    pub linger: Duration,
    /// How long it stays once a client has taken its last result.
    pub drained: Duration,
    /// Time without frames after which a stream counts as starved.
    pub starved: Duration,
    /// Time with frames and without results after which a stream counts as hung.
    pub hung: Duration,
    /// The same, after which a hung stream is started anew.
    pub restart: Duration,
    /// How often a stream is started anew within [`Self::restart_window`] before it is given up.
    pub restarts: usize,
    /// See [`Self::restarts`].
    pub restart_window: Duration,
    /// Pixels of results that nobody took yet, in bytes, for each pipeline.
    pub results_bytes: usize,
    /// Shortest and longest wait before a declared stream is tried again.
    pub retry: (Duration, Duration),
    /// How often a file of streams is looked at.
    pub poll: Duration,
    /// Folder below which the files of outputs lie that clients ask for. Without one clients may ask
    /// for neither files nor events, only for what is looked at.
    pub client_outputs: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            max_pipelines: 64,
            linger: seconds(120),
            drained: seconds(5),
            starved: seconds(5),
            hung: seconds(10),
            restart: seconds(30),
            restarts: 3,
            restart_window: seconds(3600),
            results_bytes: 32 << 20,
            retry: (seconds(1), seconds(30)),
            poll: Duration::from_millis(500),
            client_outputs: None,
        }
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{name} must be a whole number from 1")]
pub struct SettingError {
    /// Name of the environment variable.
    pub name: &'static str,
}

impl Settings {
    /// Settings from environment variables. An empty variable counts as one that is not set.
    ///
    /// # Errors
    /// The first variable that cannot be read.
    pub fn from_env(look: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let name = "STREAM_MANAGER_MAX_ACTIVE_PIPELINES";
        let mut settings = Self::default();
        if let Some(text) = look(name).filter(|text| !text.is_empty()) {
            let read = text.trim().parse().ok().filter(|n| *n > 0);
            settings.max_pipelines = read.ok_or(SettingError { name })?;
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read_from_the_environment() {
        let of =
            |text: &str| Settings::from_env(|_| Some(text.to_owned())).map(|s| s.max_pipelines);
        assert_eq!(of("8"), Ok(8));
        assert_eq!(of(""), Ok(64));
        let refused = of("0").unwrap_err().to_string();
        assert_eq!(
            refused,
            "STREAM_MANAGER_MAX_ACTIVE_PIPELINES must be a whole number from 1"
        );
    }
}
