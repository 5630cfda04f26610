//! Images that a client names by URL, fetched without being led astray.
//!
//! Whoever names a URL makes this machine open a connection, so what is reached is decided here
//! ([`Settings`], by the names that users of the reference know, with defaults of our own): public
//! addresses and `https` unless the operator says otherwise. A name is resolved once and the
//! connection goes to what was checked; every redirect is checked as the first address was. Bytes,
//! time, redirects and the number of fetches at the same time are limited ([`Limits`]), and an answer
//! that does not start like an image is not read to its end. Errors show no password, no query and
//! no address of a private network.
//!
//! [`RemoteImages`] is the [`ImageLoader`] of the readers of inputs; any thread may call it.

mod error;
mod fetch;
mod rules;
mod settings;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Arc, OnceLock, mpsc};

use bytes::Bytes;
use tokio::runtime::Runtime;

pub use error::FetchError;
pub use settings::{HostList, HostListError, Limits, Settings};

use crate::network::address::is_global;
use crate::network::{Lookup, SystemLookup};
use crate::values::deserialise::ImageLoader;
use fetch::Fetcher;
use rules::Hop;

/// Threads that fetch; they only wait for the network.
const THREADS: usize = 1;
/// Name look-ups at the same time; each blocks a thread.
const LOOKUPS: usize = 16;

/// How the outside world is reached and judged.
struct World {
    lookup: Arc<dyn Lookup>,
    is_public: fn(IpAddr) -> bool,
}

/// Fetches images by URL.
///
/// Making one costs nothing: threads and connections come with the first image.
pub struct RemoteImages {
    settings: Settings,
    world: World,
    engine: OnceLock<Result<Engine, String>>,
}

struct Engine {
    runtime: Runtime,
    fetcher: Arc<Fetcher>,
}

impl RemoteImages {
    /// A loader under these settings, for [`InputOptions::remote`].
    ///
    /// [`InputOptions::remote`]: crate::values::deserialise::InputOptions::remote
    pub fn new(settings: Settings) -> Arc<Self> {
        Self::with_lookup(settings, Arc::new(SystemLookup))
    }

    /// The same with another way to find the addresses of names.
    pub fn with_lookup(settings: Settings, lookup: Arc<dyn Lookup>) -> Arc<Self> {
        let is_public = is_global;
        Self::in_world(settings, World { lookup, is_public })
    }

    fn in_world(settings: Settings, world: World) -> Arc<Self> {
        Arc::new(Self {
            settings,
            world,
            engine: OnceLock::new(),
        })
    }

    /// The bytes of one image. Blocks until they are there or the time for one image is up.
    ///
    /// # Errors
    /// Why there are none.
    pub fn fetch(&self, url: &str) -> Result<Bytes, FetchError> {
        let mut images = self.fetch_all(&[url]);
        images
            .pop()
            .unwrap_or_else(|| Err(FetchError::broken_off()))
    }

    /// The bytes of several images, in the order of their URLs, several at the same time. After the
    /// first that fails the others are given up. Blocks until all is settled or the time for a
    /// request is up.
    pub fn fetch_all(&self, urls: &[&str]) -> Vec<Result<Bytes, FetchError>> {
        let first_of = |url: &&str| Hop::first(url, &self.settings, self.world.is_public);
        let hops: Vec<_> = urls.iter().map(first_of).collect();
        let refused = hops.iter().zip(urls).find_map(|(hop, url)| {
            let error = hop.as_ref().err()?;
            Some(FetchError::given_up(url, error))
        });
        if let Some(given_up) = refused {
            let own = |hop: Result<Hop, FetchError>| hop.err().unwrap_or_else(|| given_up.clone());
            return hops.into_iter().map(|hop| Err(own(hop))).collect();
        }
        let hops: Vec<Hop> = hops.into_iter().filter_map(Result::ok).collect();
        let all = |error: FetchError| urls.iter().map(|_| Err(error.clone())).collect();
        let engine = match self.engine() {
            Ok(engine) => engine,
            Err(why) => return all(FetchError::Internal(why)),
        };
        let (answer, wait) = mpsc::sync_channel(1);
        let fetcher = engine.fetcher.clone();
        engine.runtime.spawn(async move {
            let _ = answer.send(fetcher.images(hops).await);
        });
        wait.recv()
            .unwrap_or_else(|_| all(FetchError::broken_off()))
    }

    fn engine(&self) -> Result<&Engine, String> {
        let start = || Engine::start(&self.settings, &self.world);
        let engine = self.engine.get_or_init(start);
        engine.as_ref().map_err(Clone::clone)
    }
}

impl ImageLoader for RemoteImages {
    fn load(&self, url: &str) -> Result<Bytes, String> {
        self.fetch(url).map_err(|e| e.to_string())
    }

    fn load_all(&self, urls: &[&str]) -> Vec<Result<Bytes, String>> {
        let images = self.fetch_all(urls).into_iter();
        images.map(|i| i.map_err(|e| e.to_string())).collect()
    }
}

impl Drop for RemoteImages {
    fn drop(&mut self) {
        if let Some(Ok(engine)) = self.engine.take() {
            // Dropping a runtime waits, which is forbidden on threads of another one.
            engine.runtime.shutdown_background();
        }
    }
}

impl Engine {
    fn start(settings: &Settings, world: &World) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(LOOKUPS)
            .thread_name("images")
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let fetcher = Fetcher::new(settings, world).map_err(|e| e.without_url().to_string())?;
        Ok(Self {
            runtime,
            fetcher: Arc::new(fetcher),
        })
    }
}
