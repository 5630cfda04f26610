//! What the operator decides for sinks: where files may go, which services stand in for the public
//! ones, and the keys of the process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::cooldown::SharedCooldown;
use super::quota::Quotas;
use crate::definitions::{self, ApiKey};
use crate::network::PlatformPlaces;

/// What the host lends to sinks; shared by all engines of a process.
#[derive(Debug, Default)]
pub struct SinkHost {
    /// How sinks behave.
    pub settings: SinkSettings,
    /// Timers that go on over engines.
    pub(super) cooldowns: SharedCooldown,
    /// Counters that go on over engines.
    pub(super) quotas: Quotas,
}

impl SinkHost {
    /// A host with these settings.
    pub fn new(settings: SinkSettings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }
}

/// Where sinks may write files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FilePlace {
    /// Nowhere.
    #[default]
    Nowhere,
    /// Into this folder and those in it.
    Folder(PathBuf),
    /// Everywhere.
    Anywhere,
}

/// How sinks behave.
#[derive(Clone)]
pub struct SinkSettings {
    /// Where files may go: into `WORKFLOW_BLOCKS_WRITE_DIRECTORY`; everywhere only if there is none and
    /// `ALLOW_WORKFLOW_BLOCKS_ACCESSING_LOCAL_STORAGE` is true.
    pub files: FilePlace,
    /// `API_BASE_URL`: the platform.
    pub platform: Arc<str>,
    /// `API_PROXY_BASE_URL`: the platform's services for mails and messages.
    pub proxy: Arc<str>,
    /// `SECURE_GATEWAY`, else `LICENSE_SERVER`: asked in place of the platform.
    pub gateway: Option<Url>,
    /// `ROBOFLOW_API_KEY`: for requests to the platform that bring no key of their own.
    pub api_key: Option<ApiKey>,
    /// `ROBOFLOW_API_EXTRA_HEADERS`: headers of each request to the platform.
    pub headers: Vec<(String, String)>,
    /// `ROBOFLOW_API_REQUEST_TIMEOUT`, 120 s.
    pub timeout: std::time::Duration,
    /// `OFFLINE_MODE`: nothing goes to the platform.
    pub offline: bool,
    /// `EVENT_INGESTION_API_KEY`: key of the local event store.
    pub event_store_key: Option<Arc<str>>,
    /// `SLACK_API_URL`, `https://slack.com/api`.
    pub slack: Arc<str>,
    /// `TWILIO_API_URL`, `https://api.twilio.com`.
    pub twilio: Arc<str>,
    /// `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`: a service in place of Amazon's.
    pub s3: Option<Arc<str>>,
    /// `WEBHOOK_SIGNATURE_SECRET`: what bodies of webhooks are signed with.
    pub webhook_secret: Option<Arc<str>>,
}

impl Default for SinkSettings {
    /// The public services, no keys, no files.
    fn default() -> Self {
        let platform: Arc<str> = "https://api.roboflow.com".into();
        Self {
            files: FilePlace::Nowhere,
            proxy: platform.clone(),
            platform,
            gateway: None,
            api_key: None,
            headers: Vec::new(),
            timeout: std::time::Duration::from_secs(120),
            offline: false,
            event_store_key: None,
            slack: "https://slack.com/api".into(),
            twilio: "https://api.twilio.com".into(),
            s3: None,
            webhook_secret: None,
        }
    }
}

impl SinkSettings {
    /// Settings of the platform and from environment variables. An empty variable counts as one that
    /// is not set.
    pub fn from_env(
        platform: &definitions::Settings,
        look: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let look = |name: &str| look(name).filter(|text| !text.trim().is_empty());
        let base = |name: &str| {
            let text = look(name)?;
            Some(Arc::<str>::from(text.trim().trim_end_matches('/')))
        };
        let defaults = Self::default();
        let api = Arc::<str>::from(platform.platform.base.as_str().trim_end_matches('/'));
        Self {
            files: FilePlace::from_env(&look),
            proxy: base("API_PROXY_BASE_URL").unwrap_or_else(|| api.clone()),
            platform: api,
            gateway: platform.platform.gateway.clone(),
            api_key: platform.api_key.clone(),
            headers: platform
                .platform
                .headers
                .iter()
                .filter_map(|(n, v)| Some((n.to_string(), v.to_str().ok()?.to_owned())))
                .collect(),
            timeout: platform.platform.timeout,
            offline: platform.offline,
            event_store_key: look("EVENT_INGESTION_API_KEY").map(Arc::from),
            slack: base("SLACK_API_URL").unwrap_or(defaults.slack),
            twilio: base("TWILIO_API_URL").unwrap_or(defaults.twilio),
            s3: base("AWS_ENDPOINT_URL_S3").or_else(|| base("AWS_ENDPOINT_URL")),
            webhook_secret: look("WEBHOOK_SIGNATURE_SECRET").map(Arc::from),
        }
    }
}

impl SinkSettings {
    /// Where nothing may go: the platform's places in offline mode.
    pub fn forbidden(&self) -> Option<Arc<PlatformPlaces>> {
        let gateway = self.gateway.as_ref().map(Url::as_str);
        let named = [&*self.platform, &*self.proxy].into_iter().chain(gateway);
        self.offline.then(|| Arc::new(PlatformPlaces::with(named)))
    }
}

impl FilePlace {
    fn from_env(look: &impl Fn(&str) -> Option<String>) -> Self {
        let allowed = look("ALLOW_WORKFLOW_BLOCKS_ACCESSING_LOCAL_STORAGE");
        let allowed = allowed.map(|text| {
            let text = text.trim().to_lowercase();
            matches!(text.as_str(), "true" | "1" | "yes" | "y" | "t" | "on")
        });
        let folder = look("WORKFLOW_BLOCKS_WRITE_DIRECTORY");
        match (allowed, folder) {
            (Some(false), _) | (None, None) => Self::Nowhere,
            (_, Some(folder)) => Self::Folder(Path::new(folder.trim()).to_owned()),
            (Some(true), None) => Self::Anywhere,
        }
    }
}

impl std::fmt::Debug for SinkSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SinkSettings")
            .field("files", &self.files)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(allowed: Option<&str>, folder: Option<&str>) -> FilePlace {
        FilePlace::from_env(&|name: &str| {
            match name {
                "WORKFLOW_BLOCKS_WRITE_DIRECTORY" => folder,
                _ => allowed,
            }
            .map(str::to_owned)
        })
    }

    #[test]
    fn files_go_nowhere_unless_the_operator_says_where() {
        let folder = || FilePlace::Folder("/data".into());
        assert_eq!(place(None, None), FilePlace::Nowhere);
        assert_eq!(place(Some("False"), Some("/data")), FilePlace::Nowhere);
        assert_eq!(place(None, Some("/data")), folder());
        assert_eq!(place(Some("True"), Some("/data")), folder());
        assert_eq!(place(Some("True"), None), FilePlace::Anywhere);
    }

    #[test]
    fn services_come_from_the_environment_and_keys_do_not_show() {
        let platform = definitions::Settings::from_env(|name| match name {
            "API_BASE_URL" => Some("http://127.0.0.1:9/".into()),
            "ROBOFLOW_API_KEY" => Some("k3y".into()),
            _ => None,
        });
        let settings = SinkSettings::from_env(&platform.unwrap(), |name| match name {
            "AWS_ENDPOINT_URL" => Some("http://127.0.0.1:5000/".into()),
            "WEBHOOK_SIGNATURE_SECRET" => Some("s3cret".into()),
            _ => None,
        });
        assert_eq!(&*settings.platform, "http://127.0.0.1:9");
        assert_eq!(settings.platform, settings.proxy);
        assert_eq!(settings.s3.as_deref(), Some("http://127.0.0.1:5000"));
        let shown = format!("{settings:?}");
        assert!(!shown.contains("k3y") && !shown.contains("s3cret"));
    }
}
