//! Fetching: connections, redirects, and reading what comes within the limits.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::World;
use super::error::FetchError;
use super::rules::Hop;
use super::settings::Settings;
use crate::network::{self, CheckedResolver};
use crate::values::codec::{SIGNATURE, starts_like_an_image};

/// Connections to one host that are kept for the next image, and for how long.
const KEPT: usize = 4;
const KEPT_FOR: Duration = Duration::from_secs(15);
/// Room made ahead for an image whose size is known.
const ROOM: u64 = 1 << 20;
/// Longest part of a content type that is shown.
const SHOWN: usize = 60;

type Outcome = Result<Bytes, FetchError>;

/// Fetches what passed the rules.
pub(super) struct Fetcher {
    settings: Settings,
    is_public: fn(IpAddr) -> bool,
    /// Connects to public addresses only, and never through a proxy, which would connect for it.
    strict: Client,
    open: Client,
    /// Fetches that may begin.
    turns: Semaphore,
}

/// Bytes that the images of a request may still have.
struct Budget(AtomicUsize);

impl Budget {
    // Newer compilers call it `try_update`, which the oldest supported one does not know.
    #[allow(deprecated)]
    fn take(&self, bytes: usize) -> bool {
        let take = |left: usize| left.checked_sub(bytes);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }
}

impl Fetcher {
    pub(super) fn new(settings: &Settings, world: &World) -> Result<Self, reqwest::Error> {
        let resolver = |allows| CheckedResolver::new(world.lookup.clone(), allows);
        let connect = settings.limits.connect.min(settings.limits.image);
        let (strict, open) = network::clients(|builder: fn() -> ClientBuilder| {
            let builder = || {
                builder()
                    .redirect(Policy::none())
                    .referer(false)
                    .connect_timeout(connect)
                    .pool_max_idle_per_host(KEPT)
                    .pool_idle_timeout(KEPT_FOR)
                    .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
            };
            let strict = builder().no_proxy().dns_resolver(resolver(world.is_public));
            let open = builder().dns_resolver(resolver(|_| true));
            Ok((strict.build()?, open.build()?))
        })?;
        Ok(Self {
            settings: settings.clone(),
            is_public: world.is_public,
            strict,
            open,
            turns: Semaphore::new(settings.limits.at_once_in_all.max(1)),
        })
    }

    /// Fetches the images of one request, in their order.
    pub(super) async fn images(self: Arc<Self>, hops: Vec<Hop>) -> Vec<Outcome> {
        let limits = &self.settings.limits;
        let end = Instant::now() + limits.request;
        let budget = Arc::new(Budget(AtomicUsize::new(limits.request_bytes)));
        let mut outcomes: Vec<Option<Outcome>> = vec![None; hops.len()];
        let mut waiting = hops.iter().cloned().enumerate();
        let mut running = JoinSet::new();
        let mut start = |running: &mut JoinSet<(usize, Outcome)>| {
            if let Some((at, hop)) = waiting.next() {
                let (own, budget) = (self.clone(), budget.clone());
                running.spawn(async move { (at, own.image(hop, &budget).await) });
            }
        };
        for _ in 0..limits.at_once.max(1) {
            start(&mut running);
        }
        let failed = loop {
            match timeout_at(end, running.join_next()).await {
                Ok(None) => break None,
                Ok(Some(Ok((at, outcome)))) => {
                    let error = outcome.as_ref().err().cloned();
                    outcomes[at] = Some(outcome);
                    if let Some(error) = error {
                        break Some((at, error));
                    }
                    start(&mut running);
                }
                Ok(Some(Err(_))) => break Some((0, FetchError::broken_off())),
                Err(_) => {
                    let late = outcomes.iter().position(Option::is_none);
                    break Some((late.unwrap_or(0), FetchError::Timeout(limits.request)));
                }
            }
        };
        settled(outcomes, failed, &hops)
    }

    /// Fetches one image in its time.
    async fn image(&self, hop: Hop, budget: &Budget) -> Outcome {
        let limit = self.settings.limits.image;
        let fetch = async {
            let _turn = self.turns.acquire().await;
            self.follow(hop, budget).await
        };
        let in_time = timeout(limit, fetch).await;
        in_time.unwrap_or(Err(FetchError::Timeout(limit)))
    }

    /// Goes where redirects lead.
    async fn follow(&self, mut hop: Hop, budget: &Budget) -> Outcome {
        for _ in 0..=self.settings.max_redirects {
            let response = self.ask(&hop).await?;
            let status = response.status();
            let location = response.headers().get(LOCATION);
            match (status.as_u16(), location) {
                (301 | 302 | 303 | 307 | 308, Some(location)) => {
                    let unreadable = FetchError::Unreadable("its redirect is no text");
                    let location = location.to_str().map_err(|_| unreadable)?;
                    hop = hop.redirected(location, &self.settings, self.is_public)?;
                }
                _ if status.is_success() => return self.read(response, budget).await,
                (status, _) => return Err(FetchError::Status(status)),
            }
        }
        Err(FetchError::Redirects(self.settings.max_redirects))
    }

    async fn ask(&self, hop: &Hop) -> Result<Response, FetchError> {
        let client = if hop.strict { &self.strict } else { &self.open };
        let answer = client.get(hop.url.clone()).send().await;
        answer.map_err(|error| self.failure(error))
    }

    /// Reads an answer for as long as it may be an image within the limits.
    async fn read(&self, mut response: Response, budget: &Budget) -> Outcome {
        let limit = self.settings.limits.image_bytes;
        let announced = response.content_length().unwrap_or(0);
        if announced > limit as u64 {
            return Err(FetchError::TooLong(limit));
        }
        let mut body = BytesMut::with_capacity(announced.min(ROOM) as usize);
        let mut known = false;
        while let Some(chunk) = response.chunk().await.map_err(|e| self.failure(e))? {
            if chunk.len() > limit - body.len() {
                return Err(FetchError::TooLong(limit));
            }
            if !budget.take(chunk.len()) {
                return Err(FetchError::TooLong(self.settings.limits.request_bytes));
            }
            body.extend_from_slice(&chunk);
            if !known && body.len() >= SIGNATURE {
                known = recognised(&body, &response)?;
            }
        }
        if !known {
            recognised(&body, &response)?;
        }
        Ok(body.freeze())
    }

    fn failure(&self, error: reqwest::Error) -> FetchError {
        if let Some(refused) = network::refusal(&error) {
            tracing::debug!(%refused, "an image URL leads to an address that is not public");
            return refused.clone().into();
        }
        if error.is_timeout() {
            return FetchError::Timeout(self.settings.limits.connect);
        }
        FetchError::Network(network::reason(error))
    }
}

/// Gives what did not come to an end the error of the one that failed.
fn settled(
    outcomes: Vec<Option<Outcome>>,
    failed: Option<(usize, FetchError)>,
    hops: &[Hop],
) -> Vec<Outcome> {
    let (failed, error) = failed.unwrap_or((hops.len(), FetchError::broken_off()));
    let given_up = match hops.get(failed) {
        Some(hop) => FetchError::given_up(hop.url.as_str(), &error),
        None => error.clone(),
    };
    let outcomes = outcomes.into_iter().enumerate();
    let error_of = |at| if at == failed { &error } else { &given_up };
    outcomes
        .map(|(at, outcome)| outcome.unwrap_or_else(|| Err(error_of(at).clone())))
        .collect()
}

/// True if an answer starts like an image.
fn recognised(body: &[u8], response: &Response) -> Result<bool, FetchError> {
    if starts_like_an_image(body) {
        return Ok(true);
    }
    if body.is_empty() {
        return Err(FetchError::NotAnImage("is empty".into()));
    }
    let told = response.headers().get(CONTENT_TYPE);
    let told = told.and_then(|t| t.to_str().ok()).unwrap_or("unknown");
    let told: String = told.chars().take(SHOWN).collect();
    Err(FetchError::NotAnImage(format!("is of type {told}")))
}
