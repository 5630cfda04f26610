//! Why an image could not be fetched.

use std::time::Duration;

use crate::network::HostRefused;
use crate::redact::Redacted;

/// Why an image could not be fetched. Who reads it may be a stranger: it holds no secret of a URL
/// and nothing about private networks.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FetchError {
    /// The operator allows no images by URL.
    #[error("images by URL are switched off (ALLOW_URL_INPUT); send the image as base64")]
    SwitchedOff,
    /// The text is no URL, or one that readers of URLs take for different ones.
    #[error("the URL cannot be read: {0}")]
    Unreadable(&'static str),
    /// Neither `http` nor `https`.
    #[error("only https:// and http:// are fetched")]
    Scheme,
    /// The operator allows `https` only.
    #[error("only https:// is allowed (ALLOW_NON_HTTPS_URL_INPUT)")]
    NotHttps,
    /// The host is an address, or a name that means something on one network only.
    #[error("the host must be a full domain name (ALLOW_URL_INPUT_WITHOUT_FQDN)")]
    NotQualified,
    /// The host is on the operator's list of those that are not to be reached.
    #[error("the host is not allowed (BLACKLISTED_DESTINATIONS_FOR_URL_INPUT)")]
    HostBlocked,
    /// The host is not on the operator's list of those that may be reached.
    #[error("the host is not among those allowed (WHITELISTED_DESTINATIONS_FOR_URL_INPUT)")]
    HostNotListed,
    /// The image is on the platform, and offline mode forbids to ask it.
    #[error(
        "it is on the platform, which is not asked in offline mode (OFFLINE_MODE); send the image as base64"
    )]
    Offline,
    /// A port of another service than HTTP.
    #[error("port {0} is not one for HTTP")]
    Port(u16),
    /// The host is, or stands for, an address that is not public.
    #[error("the host has no public address (ALLOW_URL_TO_NON_GLOBAL_ADDRESSES)")]
    NotPublic,
    /// The name has no address.
    #[error("the host cannot be resolved")]
    Unresolved,
    /// A redirect leads where nothing is fetched from.
    #[error("it redirects to {to}: {cause}")]
    Redirected {
        /// Where to.
        to: Redacted,
        /// What is wrong with that.
        cause: Box<Self>,
    },
    /// Too many redirects.
    #[error("it redirects more than {0} times")]
    Redirects(usize),
    /// Not everything was there in time.
    #[error("it took longer than {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// No connection, or one that broke.
    #[error("the server cannot be reached: {0}")]
    Network(String),
    /// The server has no such image.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// More bytes than one image, or all of a request, may have.
    #[error("more than {0} bytes came")]
    TooLong(usize),
    /// The answer is something else.
    #[error("the answer is no image of a known format (JPEG, PNG, WebP, BMP, GIF, TIFF), it {0}")]
    NotAnImage(String),
    /// Another image of the same request failed.
    #[error("given up, because {url} could not be loaded: {cause}")]
    GivenUp {
        /// The other image.
        url: Redacted,
        /// Why it failed.
        cause: Box<Self>,
    },
    /// Fetching could not be started on this machine.
    #[error("fetching could not be started: {0}")]
    Internal(String),
}

impl FetchError {
    /// The fetch ended without an outcome.
    pub(super) fn broken_off() -> Self {
        Self::Internal("it was broken off".into())
    }

    pub(super) fn given_up(url: &str, cause: &Self) -> Self {
        Self::GivenUp {
            url: Redacted::text(url),
            cause: Box::new(cause.clone()),
        }
    }
}

impl From<HostRefused> for FetchError {
    /// The address that a name stands for is not shown: it tells about a private network.
    fn from(refused: HostRefused) -> Self {
        match refused {
            HostRefused::NotGlobal { .. } => Self::NotPublic,
            HostRefused::Unresolved(_) => Self::Unresolved,
        }
    }
}
