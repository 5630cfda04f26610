//! Settings of models, by the names of environment variables that users know.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::definitions::settings::{Env, PlatformSettings, SettingError};
use crate::definitions::{ApiKey, Settings as DefinitionSettings};

/// How models come from the platform, how they are kept on disk, and how many stay in memory.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the server's part of the protocol is asked: `API_BASE_URL`, `SECURE_GATEWAY`,
    /// `ROBOFLOW_API_EXTRA_HEADERS` and the rest of it.
    pub platform: PlatformSettings,
    /// `ROBOFLOW_API_HOST`, `https://api.roboflow.com`: base of the model library's part.
    pub library: Url,
    /// How the model library's part is asked.
    pub calls: Calls,
    /// `ROBOFLOW_API_KEY`, else `API_KEY`: for requests that bring none.
    pub api_key: Option<ApiKey>,
    /// `MODEL_CACHE_DIR`, else `INFERENCE_HOME`, else `/tmp/cache`.
    pub cache_dir: PathBuf,
    /// `OFFLINE_MODE`, false: nothing is asked, whatever is in the cache counts.
    pub offline: bool,
    /// `USE_INFERENCE_MODELS`, true: which of the two protocols and layouts is used.
    pub packages: bool,
    /// `ALLOW_INFERENCE_MODELS_UNTRUSTED_PACKAGES`, false.
    pub untrusted: bool,
    /// `AUTO_LOADER_CACHE_EXPIRATION_MINUTES`, 1440: for so long the choice of a package holds
    /// before the platform is asked again.
    pub resolution_lasts: Duration,
    /// `INFERENCE_MODELS_FILE_LOCK_ACQUIRE_TIMEOUT`, 20 s: longest wait for another process that
    /// makes no headway with a file.
    pub lock_patience: Duration,
    /// `MODEL_LOCK_ACQUIRE_TIMEOUT`, 60 s: longest wait of a request for a load that another one
    /// began.
    pub load_patience: Duration,
    /// `DEVICE_ID`, else the name of this machine; sent with requests of the older protocol.
    pub device: String,
    /// `DISK_CACHE_CLEANUP`, true: whether giving up all models removes the files of the older
    /// layout.
    pub disk_cleanup: bool,
    /// What stays in memory.
    pub limits: Limits,
    /// `PRELOAD_MODELS` and `PINNED_MODELS`: loaded at the start.
    pub preload: Vec<String>,
    /// `PRELOAD_API_KEY`: the key for them; without it that of the process.
    pub preload_key: Option<ApiKey>,
}

/// How the model library's part of the protocol is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Calls {
    /// `API_CALLS_TIMEOUT`, 5 s.
    pub timeout: Duration,
    /// `API_CALLS_MAX_TRIES`, 3.
    pub tries: u32,
    /// Wait before the second try; each further one is three times as long. All tries together
    /// take about 2 s, as those of the reference do.
    pub wait: Duration,
}

/// What stays in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `MAX_ACTIVE_MODELS`, 8: most models.
    pub models: usize,
    /// `MILLRACE_MODEL_MEMORY_MIB`, none: most bytes of weights, counted by the size of their
    /// files, which is a lower bound of what a session takes.
    pub bytes: Option<u64>,
    /// `PINNED_MODELS`: ids that stay.
    pub pinned: Vec<String>,
}

impl Default for Limits {
    /// No limit.
    fn default() -> Self {
        Self {
            models: usize::MAX,
            bytes: None,
            pinned: Vec::new(),
        }
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            tries: 3,
            wait: Duration::from_millis(500),
        }
    }
}

impl Settings {
    /// Settings with their defaults for a platform at this address and a cache in this folder.
    pub fn new(base: Url, cache_dir: impl Into<PathBuf>) -> Self {
        let definitions = DefinitionSettings::new(base.clone(), cache_dir);
        Self {
            platform: definitions.platform,
            library: base,
            calls: Calls::default(),
            api_key: None,
            cache_dir: definitions.cache_dir,
            offline: false,
            packages: true,
            untrusted: false,
            resolution_lasts: Duration::from_secs(24 * 3600),
            lock_patience: Duration::from_secs(20),
            load_patience: Duration::from_secs(60),
            device: "millrace".into(),
            disk_cleanup: true,
            limits: Limits {
                models: 8,
                ..Limits::default()
            },
            preload: Vec::new(),
            preload_key: None,
        }
    }

    /// Settings from environment variables. An empty variable counts as one that is not set.
    ///
    /// # Errors
    /// The first variable that cannot be read.
    pub fn from_env(look: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let definitions = DefinitionSettings::from_env(&look)?;
        let env = Env(|name: &str| look(name).filter(|v| !v.is_empty()));
        let mut settings = Self::new(definitions.platform.base.clone(), definitions.cache_dir);
        settings.platform = definitions.platform;
        settings.api_key = definitions.api_key;
        settings.offline = definitions.offline;
        settings.library = library(&env)?;
        if let (None, Some(home)) = (env.text("MODEL_CACHE_DIR"), env.text("INFERENCE_HOME")) {
            settings.cache_dir = home.into();
        }
        env.seconds("API_CALLS_TIMEOUT", &mut settings.calls.timeout)?;
        env.number("API_CALLS_MAX_TRIES", &mut settings.calls.tries)?;
        env.switch("USE_INFERENCE_MODELS", &mut settings.packages)?;
        env.switch(
            "ALLOW_INFERENCE_MODELS_UNTRUSTED_PACKAGES",
            &mut settings.untrusted,
        )?;
        let mut minutes = 1440;
        env.number("AUTO_LOADER_CACHE_EXPIRATION_MINUTES", &mut minutes)?;
        settings.resolution_lasts = Duration::from_secs(u64::from(minutes) * 60);
        env.seconds(
            "INFERENCE_MODELS_FILE_LOCK_ACQUIRE_TIMEOUT",
            &mut settings.lock_patience,
        )?;
        env.seconds("MODEL_LOCK_ACQUIRE_TIMEOUT", &mut settings.load_patience)?;
        env.switch("DISK_CACHE_CLEANUP", &mut settings.disk_cleanup)?;
        settings.device = env.text("DEVICE_ID").unwrap_or_else(host_name);
        settings.limits = limits(&env)?;
        settings.preload = listed(&env, "PRELOAD_MODELS");
        for pinned in &settings.limits.pinned {
            if !settings.preload.contains(pinned) {
                settings.preload.push(pinned.clone());
            }
        }
        settings.preload_key = env.text("PRELOAD_API_KEY").map(|key| ApiKey::new(&key));
        Ok(settings)
    }
}

fn library<F: Fn(&str) -> Option<String>>(env: &Env<F>) -> Result<Url, SettingError> {
    let name = "ROBOFLOW_API_HOST";
    let wanted = "an address such as https://api.roboflow.com";
    match env.url(name)? {
        Some(url) => Ok(url),
        None => Url::parse("https://api.roboflow.com").map_err(|_| SettingError { name, wanted }),
    }
}

fn limits<F: Fn(&str) -> Option<String>>(env: &Env<F>) -> Result<Limits, SettingError> {
    let (mut models, mut mebibytes) = (8, 0);
    env.number("MAX_ACTIVE_MODELS", &mut models)?;
    env.number("MILLRACE_MODEL_MEMORY_MIB", &mut mebibytes)?;
    Ok(Limits {
        models: usize::try_from(models).unwrap_or(usize::MAX).max(1),
        bytes: (mebibytes > 0).then(|| u64::from(mebibytes) << 20),
        pinned: listed(env, "PINNED_MODELS"),
    })
}

/// Texts with commas between them.
fn listed<F: Fn(&str) -> Option<String>>(env: &Env<F>, name: &str) -> Vec<String> {
    let text = env.text(name).unwrap_or_default();
    let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
    parts.map(str::to_owned).collect()
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "millrace".into(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Settings, SettingError> {
        Settings::from_env(|name| {
            let pair = pairs.iter().find(|(n, _)| *n == name)?;
            Some(pair.1.to_owned())
        })
    }

    #[test]
    fn defaults_are_those_of_the_reference() {
        let settings = of(&[]).unwrap();
        assert_eq!(settings.library.as_str(), "https://api.roboflow.com/");
        assert_eq!(settings.cache_dir, PathBuf::from("/tmp/cache"));
        assert_eq!(settings.limits.models, 8);
        assert_eq!(settings.limits.bytes, None);
        assert_eq!(settings.resolution_lasts, Duration::from_secs(86_400));
        assert!(settings.packages && !settings.untrusted && !settings.offline);
        assert!(!settings.device.is_empty());
    }

    #[test]
    fn variables_are_read_by_their_names() {
        let settings = of(&[
            ("API_BASE_URL", "http://127.0.0.1:1"),
            ("ROBOFLOW_API_HOST", "http://127.0.0.1:2"),
            ("INFERENCE_HOME", "/data"),
            ("USE_INFERENCE_MODELS", "False"),
            ("MAX_ACTIVE_MODELS", "3"),
            ("MILLRACE_MODEL_MEMORY_MIB", "2"),
            ("PRELOAD_MODELS", "a/1, b/2"),
            ("PINNED_MODELS", "b/2,c/3"),
            ("PRELOAD_API_KEY", "secret"),
        ])
        .unwrap();
        assert_eq!(settings.platform.base.as_str(), "http://127.0.0.1:1/");
        assert_eq!(settings.library.as_str(), "http://127.0.0.1:2/");
        assert_eq!(settings.cache_dir, PathBuf::from("/data"));
        assert_eq!(settings.limits.models, 3);
        assert_eq!(settings.limits.bytes, Some(2 << 20));
        assert_eq!(settings.preload, ["a/1", "b/2", "c/3"]);
        assert!(!settings.packages);
        assert!(!format!("{settings:?}").contains("secret"));
        assert_eq!(
            of(&[("MAX_ACTIVE_MODELS", "many")]).unwrap_err().name,
            "MAX_ACTIVE_MODELS"
        );
    }
}
