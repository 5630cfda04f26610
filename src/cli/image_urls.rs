//! Arguments about images that inputs name by URL.

use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::host::sinks;
use crate::remote_images::{HostList, Limits, RemoteImages, Settings};
use crate::values::deserialise::InputOptions;

/// Arguments of every command whose inputs may name images by URL.
#[derive(Clone, Debug, Args)]
pub struct ImageUrlArgs {
    /// Whether inputs may name images by URL [default: true].
    #[arg(
        long,
        env = "ALLOW_URL_INPUT",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        hide_env_values = true
    )]
    pub image_urls: Option<bool>,
    /// Whether URLs of images may be http:// too [default: false].
    #[arg(
        long,
        env = "ALLOW_NON_HTTPS_URL_INPUT",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        hide_env_values = true
    )]
    pub plain_image_urls: Option<bool>,
    /// Whether the host of an image may be an address or a name of the local network [default:
    /// false].
    #[arg(
        long,
        env = "ALLOW_URL_INPUT_WITHOUT_FQDN",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        hide_env_values = true
    )]
    pub bare_image_hosts: Option<bool>,
    /// Whether URLs of images may lead to private addresses, such as this machine [default: false].
    #[arg(
        long,
        env = "ALLOW_URL_TO_NON_GLOBAL_ADDRESSES",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        hide_env_values = true
    )]
    pub private_image_urls: Option<bool>,
    /// Only hosts that images are fetched from, with commas between them; a name stands for those
    /// below it too.
    #[arg(
        long,
        env = "WHITELISTED_DESTINATIONS_FOR_URL_INPUT",
        value_name = "HOSTS",
        hide_env_values = true
    )]
    pub image_hosts: Option<HostList>,
    /// Hosts that no image is fetched from.
    #[arg(
        long,
        env = "BLACKLISTED_DESTINATIONS_FOR_URL_INPUT",
        value_name = "HOSTS",
        hide_env_values = true
    )]
    pub blocked_image_hosts: Option<HostList>,
    /// Most redirects of the URL of an image [default: 30].
    #[arg(
        long,
        env = "MAX_IMAGE_URL_REDIRECTS",
        value_name = "N",
        hide_env_values = true
    )]
    pub image_redirects: Option<usize>,
    /// Whether such redirects may lead only where a first URL may [default: true].
    #[arg(
        long,
        env = "VALIDATE_IMAGE_URL_REDIRECTS",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        hide_env_values = true
    )]
    pub check_image_redirects: Option<bool>,
    /// Most bytes of one image by URL; four times as many for all of a request [default: 67108864].
    #[arg(
        long,
        env = "MILLRACE_IMAGE_URL_BYTES",
        value_name = "N",
        hide_env_values = true
    )]
    pub image_url_bytes: Option<usize>,
    /// Seconds for one image by URL; twice as many for all of a request [default: 30].
    #[arg(
        long,
        env = "MILLRACE_IMAGE_URL_TIMEOUT",
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..),
        hide_env_values = true
    )]
    pub image_url_timeout: Option<u64>,
}

impl ImageUrlArgs {
    /// Options of inputs with images by URL.
    pub(super) fn input_options(&self) -> InputOptions {
        InputOptions::remote(RemoteImages::new(self.settings()))
    }

    fn settings(&self) -> Settings {
        let default = Settings::default();
        let mut limits = Limits::default();
        if let Some(bytes) = self.image_url_bytes {
            limits.image_bytes = bytes;
            limits.request_bytes = bytes.saturating_mul(4);
        }
        if let Some(seconds) = self.image_url_timeout {
            limits.image = Duration::from_secs(seconds);
            limits.request = limits.image.saturating_mul(2);
        }
        Settings {
            enabled: self.image_urls.unwrap_or(default.enabled),
            plain_http: self.plain_image_urls.unwrap_or(default.plain_http),
            bare_hosts: self.bare_image_hosts.unwrap_or(default.bare_hosts),
            private_addresses: self.private_image_urls.unwrap_or(default.private_addresses),
            allowed_hosts: self.image_hosts.clone(),
            refused_hosts: self.blocked_image_hosts.clone().unwrap_or_default(),
            // Settings that make no sense are refused where the store of definitions is opened.
            forbidden: sinks().ok().and_then(|sinks| sinks.forbidden()),
            max_redirects: self.image_redirects.unwrap_or(default.max_redirects),
            check_redirects: self
                .check_image_redirects
                .unwrap_or(default.check_redirects),
            limits,
        }
    }
}
