//! Settings of the store, by the names of environment variables that users know.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use url::Url;

use super::key::ApiKey;
use crate::definition::inner::Limits;

/// How definitions are fetched and kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the platform is asked.
    pub platform: PlatformSettings,
    /// `ROBOFLOW_API_KEY`, else `API_KEY`: for requests that bring none.
    pub api_key: Option<ApiKey>,
    /// `WORKFLOWS_DEFINITION_CACHE_EXPIRY`, 900 s: how long an answer of the platform is good.
    pub ttl: Duration,
    /// `MODEL_CACHE_DIR`, `/tmp/cache`: disk copies are in `workflow` below it.
    pub cache_dir: PathBuf,
    /// `USE_FILE_CACHE_FOR_WORKFLOWS_DEFINITIONS`, true: whether disk copies are kept.
    pub disk: bool,
    /// `SINGLE_TENANT_WORKFLOW_CACHE`, false: whether all API keys share one copy.
    pub single_tenant: bool,
    /// `OFFLINE_MODE`, false: never ask the platform. Turns `disk` and `single_tenant` on.
    pub offline: bool,
    /// The watched folder of definitions.
    pub folder: Option<PathBuf>,
    /// Longest time for which a request that could have a copy waits for the platform.
    pub patience: Duration,
    /// How often watched files are looked at.
    pub poll: Duration,
    /// `WORKFLOWS_MAX_INNER_WORKFLOW_DEPTH`, 4, and `WORKFLOWS_MAX_INNER_WORKFLOW_COUNT`, 32: how
    /// far definitions may nest.
    pub nesting: Limits,
}

/// How the platform is asked.
#[derive(Clone, Debug)]
pub struct PlatformSettings {
    /// `API_BASE_URL`, `https://api.roboflow.com`.
    pub base: Url,
    /// `SECURE_GATEWAY`, else `LICENSE_SERVER`: a proxy that is asked instead.
    pub gateway: Option<Url>,
    /// `ROBOFLOW_API_REQUEST_TIMEOUT`, 120 s.
    pub timeout: Duration,
    /// `ROBOFLOW_API_VERIFY_SSL`, true.
    pub verify_tls: bool,
    /// `ROBOFLOW_API_EXTRA_HEADERS`, a JSON object. Their values are not shown.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How often an attempt is made again before it counts as failed.
    pub again: Again,
}

impl PlatformSettings {
    /// The address to ask for this one: itself, or the gateway with it as a parameter.
    pub(crate) fn through_gateway(&self, url: Url) -> Url {
        match &self.gateway {
            Some(gateway) => behind(gateway, &url),
            None => url,
        }
    }
}

/// The address at a gateway that stands for this one.
pub(crate) fn behind(gateway: &Url, url: &Url) -> Url {
    let mut proxy = gateway.clone();
    if let Ok(mut path) = proxy.path_segments_mut() {
        path.pop_if_empty().push("proxy");
    }
    proxy.query_pairs_mut().append_pair("url", url.as_str());
    proxy
}

/// When an attempt is made again at once, before it counts as failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Again {
    /// `TRANSIENT_ROBOFLOW_API_ERRORS`, empty: statuses that pass.
    pub statuses: Vec<u16>,
    /// `TRANSIENT_ROBOFLOW_API_ERRORS_RETRIES`, 3.
    pub retries: u32,
    /// `TRANSIENT_ROBOFLOW_API_ERRORS_RETRY_INTERVAL`, 1 s.
    pub interval: Duration,
    /// `RETRY_CONNECTION_ERRORS_TO_ROBOFLOW_API`, false.
    pub connections: bool,
}

impl Default for Again {
    fn default() -> Self {
        Self {
            statuses: Vec::new(),
            retries: 3,
            interval: Duration::from_secs(1),
            connections: false,
        }
    }
}

/// A setting that cannot be used. Values are not shown: they may be secrets.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{name} must be {wanted}")]
pub struct SettingError {
    /// Name of the environment variable.
    pub name: &'static str,
    /// What it must be.
    pub wanted: &'static str,
}

impl Settings {
    /// Settings with their defaults for a platform at this address and copies in this folder.
    pub fn new(base: Url, cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            platform: PlatformSettings {
                base,
                gateway: None,
                timeout: Duration::from_secs(120),
                verify_tls: true,
                headers: Vec::new(),
                again: Again::default(),
            },
            api_key: None,
            ttl: Duration::from_secs(900),
            cache_dir: cache_dir.into(),
            disk: true,
            single_tenant: false,
            offline: false,
            folder: None,
            patience: Duration::from_secs(3),
            poll: Duration::from_millis(250),
            nesting: Limits::default(),
        }
    }

    /// Settings from environment variables. An empty variable counts as one that is not set.
    ///
    /// # Errors
    /// The first variable that cannot be read.
    pub fn from_env(look: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let env = Env(|name: &str| look(name).filter(|v| !v.is_empty()));
        let base = env
            .url("API_BASE_URL")?
            .unwrap_or(address("https://api.roboflow.com")?);
        let cache_dir = env.text("MODEL_CACHE_DIR").unwrap_or("/tmp/cache".into());
        let mut settings = Self::new(base, cache_dir);
        settings.api_key = env
            .text("ROBOFLOW_API_KEY")
            .or_else(|| env.text("API_KEY"))
            .map(|key| ApiKey::new(&key));
        env.seconds("WORKFLOWS_DEFINITION_CACHE_EXPIRY", &mut settings.ttl)?;
        env.switch(
            "USE_FILE_CACHE_FOR_WORKFLOWS_DEFINITIONS",
            &mut settings.disk,
        )?;
        env.switch("SINGLE_TENANT_WORKFLOW_CACHE", &mut settings.single_tenant)?;
        env.switch("OFFLINE_MODE", &mut settings.offline)?;
        let platform = &mut settings.platform;
        platform.gateway = match env.url("SECURE_GATEWAY")? {
            None => env.url("LICENSE_SERVER")?,
            gateway => gateway,
        };
        env.seconds("ROBOFLOW_API_REQUEST_TIMEOUT", &mut platform.timeout)?;
        env.switch("ROBOFLOW_API_VERIFY_SSL", &mut platform.verify_tls)?;
        platform.headers = env.headers("ROBOFLOW_API_EXTRA_HEADERS")?;
        let again = &mut platform.again;
        again.statuses = env.statuses("TRANSIENT_ROBOFLOW_API_ERRORS")?;
        env.number("TRANSIENT_ROBOFLOW_API_ERRORS_RETRIES", &mut again.retries)?;
        env.seconds(
            "TRANSIENT_ROBOFLOW_API_ERRORS_RETRY_INTERVAL",
            &mut again.interval,
        )?;
        env.switch(
            "RETRY_CONNECTION_ERRORS_TO_ROBOFLOW_API",
            &mut again.connections,
        )?;
        let nesting = &mut settings.nesting;
        env.size("WORKFLOWS_MAX_INNER_WORKFLOW_DEPTH", &mut nesting.depth)?;
        env.size("WORKFLOWS_MAX_INNER_WORKFLOW_COUNT", &mut nesting.count)?;
        Ok(settings.checked())
    }

    /// Offline mode brings its own rules with it.
    pub(super) fn checked(mut self) -> Self {
        self.disk |= self.offline;
        self.single_tenant |= self.offline;
        self
    }
}

/// Reads variables by type; what is not set leaves the default.
pub(crate) struct Env<F>(pub(crate) F);

impl<F: Fn(&str) -> Option<String>> Env<F> {
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    pub(crate) fn url(&self, name: &'static str) -> Result<Option<Url>, SettingError> {
        let wanted = "an address such as https://api.roboflow.com";
        self.text(name)
            .map(|text| {
                let text = if text.contains("://") {
                    text
                } else {
                    format!("http://{text}")
                };
                address(&text).map_err(|_| SettingError { name, wanted })
            })
            .transpose()
    }

    pub(crate) fn seconds(
        &self,
        name: &'static str,
        to: &mut Duration,
    ) -> Result<(), SettingError> {
        let wanted = "a number of seconds";
        if let Some(text) = self.text(name) {
            let seconds = text.trim().parse::<f64>().ok();
            *to = seconds
                .and_then(|s| Duration::try_from_secs_f64(s).ok())
                .ok_or(SettingError { name, wanted })?;
        }
        Ok(())
    }

    fn size(&self, name: &'static str, to: &mut usize) -> Result<(), SettingError> {
        let mut number = 0;
        self.number(name, &mut number)?;
        if self.text(name).is_some() {
            *to = number as usize;
        }
        Ok(())
    }

    pub(crate) fn number(&self, name: &'static str, to: &mut u32) -> Result<(), SettingError> {
        let wanted = "a whole number";
        if let Some(text) = self.text(name) {
            *to = text
                .trim()
                .parse()
                .map_err(|_| SettingError { name, wanted })?;
        }
        Ok(())
    }

    pub(crate) fn switch(&self, name: &'static str, to: &mut bool) -> Result<(), SettingError> {
        let wanted = "`true` or `false`";
        if let Some(text) = self.text(name) {
            *to = match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" | "y" | "t" => true,
                "false" | "0" | "no" | "off" | "n" | "f" => false,
                _ => return Err(SettingError { name, wanted }),
            };
        }
        Ok(())
    }

    fn statuses(&self, name: &'static str) -> Result<Vec<u16>, SettingError> {
        let wanted = "HTTP statuses with commas between them";
        self.text(name)
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| part.parse().map_err(|_| SettingError { name, wanted }))
            .collect()
    }

    fn headers(&self, name: &'static str) -> Result<Vec<(HeaderName, HeaderValue)>, SettingError> {
        let wanted = "a JSON object of texts";
        let Some(text) = self.text(name) else {
            return Ok(Vec::new());
        };
        let parsed: Option<indexmap::IndexMap<String, String>> = serde_json::from_str(&text).ok();
        parsed
            .ok_or(SettingError { name, wanted })?
            .into_iter()
            .map(|(key, value)| {
                let key = HeaderName::try_from(key).ok()?;
                let mut value = HeaderValue::try_from(value).ok()?;
                value.set_sensitive(true);
                Some((key, value))
            })
            .map(|header| header.ok_or(SettingError { name, wanted }))
            .collect()
    }
}

fn address(text: &str) -> Result<Url, SettingError> {
    Url::parse(text)
        .ok()
        .filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"))
        .ok_or(SettingError {
            name: "API_BASE_URL",
            wanted: "an address such as https://api.roboflow.com",
        })
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
        assert_eq!(settings.platform.base.as_str(), "https://api.roboflow.com/");
        assert_eq!(settings.ttl, Duration::from_secs(900));
        assert_eq!(settings.platform.timeout, Duration::from_secs(120));
        assert_eq!(settings.cache_dir, PathBuf::from("/tmp/cache"));
        assert!(settings.disk && settings.platform.verify_tls);
        assert!(!settings.single_tenant && !settings.offline);
        assert_eq!(settings.api_key, None);
    }

    #[test]
    fn variables_are_read_by_their_names() {
        let settings = of(&[
            ("API_BASE_URL", "http://127.0.0.1:9/"),
            ("API_KEY", "second"),
            ("ROBOFLOW_API_KEY", "first"),
            ("WORKFLOWS_DEFINITION_CACHE_EXPIRY", "2.5"),
            ("OFFLINE_MODE", "True"),
            ("USE_FILE_CACHE_FOR_WORKFLOWS_DEFINITIONS", "False"),
            ("LICENSE_SERVER", "gateway.local:8080"),
            ("TRANSIENT_ROBOFLOW_API_ERRORS", "502, 503,"),
            ("ROBOFLOW_API_EXTRA_HEADERS", "{\"X-Site\": \"7\"}"),
            ("SINGLE_TENANT_WORKFLOW_CACHE", ""),
        ])
        .unwrap();
        assert_eq!(settings.api_key.unwrap().expose(), "first");
        assert_eq!(settings.ttl, Duration::from_millis(2500));
        assert!(settings.offline && settings.disk && settings.single_tenant);
        let gateway = settings.platform.gateway.unwrap();
        assert_eq!(gateway.as_str(), "http://gateway.local:8080/");
        assert_eq!(settings.platform.again.statuses, [502, 503]);
        assert_eq!(settings.platform.headers[0].0, "x-site");
    }

    #[test]
    fn what_cannot_be_read_is_named_without_its_value() {
        for (name, value) in [
            ("API_BASE_URL", "ftp://secret"),
            ("WORKFLOWS_DEFINITION_CACHE_EXPIRY", "-1"),
            ("OFFLINE_MODE", "secret"),
            ("ROBOFLOW_API_EXTRA_HEADERS", "{\"A\": 1, \"secret\": 2}"),
            ("TRANSIENT_ROBOFLOW_API_ERRORS", "secret"),
        ] {
            let error = of(&[(name, value)]).unwrap_err();
            assert_eq!(error.name, name);
            assert!(!error.to_string().contains("secret"));
        }
    }
}
