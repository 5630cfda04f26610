//! Reaching other machines without being led to the wrong ones.
//!
//! A definition or a request that comes from somebody else must not make this machine call services
//! that only it can reach. [`address`] says which addresses are public, [`CheckedResolver`] resolves
//! a name once, inside the HTTP client, and lets the connection go only to addresses that were
//! checked, so that an answer that changes between check and connection cannot slip through. Hosts
//! that are addresses already never reach a resolver: callers check them with [`address::literal`],
//! once per redirect.

pub mod address;
mod resolver;

pub use resolver::{CheckedResolver, HostRefused, Lookup, SystemLookup};

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
