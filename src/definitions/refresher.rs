//! Keeps definitions fresh in the background.
//!
//! Rounds follow each other as entries fall due: definitions of the platform ahead of their expiry,
//! watched files several times a second. Each round looks at every entry that somebody subscribed
//! to or asked for lately; the others are forgotten. Nothing of this holds up a request.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::store::DefinitionStore;

/// Wait after a round that broke off.
const AFTER_BREAK: Duration = Duration::from_secs(1);

/// Refreshes the definitions of a store until it is dropped.
#[derive(Debug)]
pub struct Refresher {
    rounds: JoinHandle<()>,
}

impl Refresher {
    /// Starts refreshing.
    pub fn start(store: &DefinitionStore) -> Self {
        let shared = store.shared.clone();
        let rounds = store.shared.handle.spawn(async move {
            loop {
                // Files are looked at, and a file system may take its time.
                let round = shared.clone();
                let wait = tokio::task::spawn_blocking(move || round.round()).await;
                let wait = wait.unwrap_or_else(|broken| {
                    tracing::error!("a round of the refresher broke off: {broken}");
                    AFTER_BREAK
                });
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = shared.wake.notified() => {}
                }
            }
        });
        Self { rounds }
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.rounds.abort();
    }
}
