//! Reaching other machines without being led to the wrong ones.
//!
//! A definition or a request that comes from somebody else must not make this machine call services
//! that only it can reach. [`address`] says which addresses are public, [`CheckedResolver`] resolves
//! a name once, inside the HTTP client, and lets the connection go only to addresses that were
//! checked, so that an answer that changes between check and connection cannot slip through. Hosts
//! that are addresses already never reach a resolver: callers check them with [`address::literal`],
//! once per redirect.

pub mod address;
pub mod listen;
mod platform;
mod resolver;

pub use platform::PlatformPlaces;
pub use resolver::{CheckedResolver, HostRefused, Lookup, SystemLookup};

use std::error::Error;

use reqwest::{Client, ClientBuilder};

/// Builds clients that trust the certificate authorities of the machine. Where it has none, `https`
/// fails its check, and `http` works all the same.
///
/// # Errors
/// What the HTTP library says against the settings in `builder`.
pub fn clients<T>(
    build: impl Fn(fn() -> ClientBuilder) -> Result<T, reqwest::Error>,
) -> Result<T, reqwest::Error> {
    build(Client::builder).or_else(|_| {
        tracing::warn!(
            "no certificate authorities on this machine (package ca-certificates): \
             https receivers cannot be verified"
        );
        build(without_authorities)
    })
}

/// The refusal of [`CheckedResolver`] behind an error of a client, if there is one.
pub fn refusal(error: &reqwest::Error) -> Option<&HostRefused> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// The innermost text of an error: the outer ones only repeat that sending failed, and may show the
/// address.
pub fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let innermost = causes(&error).last().map(ToString::to_string);
    innermost.unwrap_or_else(|| error.to_string())
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

fn without_authorities() -> ClientBuilder {
    Client::builder().tls_certs_only([])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_certificate_authorities_still_has_clients() {
        assert!(without_authorities().build().is_ok());
    }
}
