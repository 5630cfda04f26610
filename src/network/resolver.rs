//! Name resolution inside an HTTP client that answers with checked addresses only.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::is_global;

/// Addresses of one name that are tried; more only make a failing connection fail later.
const MOST: usize = 8;

/// Asks for the addresses of names.
pub trait Lookup: Send + Sync {
    /// The addresses of `host`, in the order in which they are to be tried. May block.
    ///
    /// # Errors
    /// If the name has none.
    fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// Asks as every program of the machine does.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|a| a.ip()).collect())
    }
}

/// A name stands for nothing that may be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostRefused {
    /// The name stands for an address that is not global.
    #[error("Host '{host}' resolves to non-global address '{address}'.")]
    NotGlobal {
        /// The name.
        host: String,
        /// The address.
        address: IpAddr,
    },
    /// The name has no address.
    #[error("Could not resolve host: {0}")]
    Unresolved(String),
}

/// Resolver that answers only if every address of the name may be reached.
#[derive(Clone)]
pub struct CheckedResolver {
    lookup: Arc<dyn Lookup>,
    allows: fn(IpAddr) -> bool,
}

impl CheckedResolver {
    /// Answers only with addresses that `allows` lets pass; one bad address refuses the name.
    pub fn new(lookup: Arc<dyn Lookup>, allows: fn(IpAddr) -> bool) -> Self {
        Self { lookup, allows }
    }

    /// Answers with global addresses only.
    pub fn global() -> Self {
        Self::new(Arc::new(SystemLookup), is_global)
    }

    fn checked(&self, host: &str) -> Result<Vec<SocketAddr>, HostRefused> {
        let unresolved = || HostRefused::Unresolved(host.to_owned());
        let found = self.lookup.addresses(host).map_err(|_| unresolved())?;
        if let Some(bad) = found.iter().find(|address| !(self.allows)(**address)) {
            return Err(HostRefused::NotGlobal {
                host: host.to_owned(),
                address: *bad,
            });
        }
        if found.is_empty() {
            return Err(unresolved());
        }
        // Port 0 leaves the port to the client.
        let addresses = found.into_iter().take(MOST);
        Ok(addresses.map(|address| (address, 0).into()).collect())
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let own = self.clone();
        Box::pin(async move {
            let checking = tokio::task::spawn_blocking(move || own.checked(name.as_str()));
            Ok(Box::new(checking.await??.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Book(&'static [&'static str]);

    impl Lookup for Book {
        fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            Ok(self.0.iter().map(|text| text.parse().unwrap()).collect())
        }
    }

    #[test]
    fn one_private_address_among_many_refuses_the_name() {
        let of = |texts| CheckedResolver::new(Arc::new(Book(texts)), is_global).checked("h");
        assert_eq!(
            of(&["8.8.8.8", "2606:4700::1111"]).unwrap(),
            [
                SocketAddr::from(([8, 8, 8, 8], 0)),
                "[2606:4700::1111]:0".parse().unwrap()
            ]
        );
        assert_eq!(
            of(&["8.8.8.8", "10.0.0.7"]).unwrap_err().to_string(),
            "Host 'h' resolves to non-global address '10.0.0.7'."
        );
        assert_eq!(
            of(&[]).unwrap_err().to_string(),
            "Could not resolve host: h"
        );
    }

    #[test]
    fn names_of_this_machine_are_refused_however_they_are_written() {
        for name in ["localhost", "localhost."] {
            let refused = CheckedResolver::global().checked(name);
            assert!(refused.is_err(), "{name}: {refused:?}");
        }
    }
}
