//! Answers that stay true for a while, by the address that gave them.
//!
//! Addresses hold keys, so only their hashes are kept. The number of answers is bounded; the one that
//! came first goes first.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;
use sha2::{Digest as _, Sha256};

use crate::delivery::outcome::Reply;
use crate::delivery::request::Request;

/// Answers that are remembered at the same time.
const MOST: usize = 1024;

/// Answers and when they came.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Remembered(Mutex<IndexMap<[u8; 32], (Duration, Reply)>>);

impl Remembered {
    /// The answer to a request, if it came within this time.
    pub(super) fn get(&self, request: &Request, within: Duration, now: Duration) -> Option<Reply> {
        let answers = self.answers();
        let (came, reply) = answers.get(&name(request))?;
        (now.saturating_sub(*came) < within).then(|| reply.clone())
    }

    /// Remembers the answer to a request.
    pub(super) fn put(&self, request: &Request, reply: Reply, now: Duration) {
        let mut answers = self.answers();
        let name = name(request);
        answers.shift_remove(&name);
        if answers.len() >= MOST {
            answers.shift_remove_index(0);
        }
        answers.insert(name, (now, reply));
    }

    fn answers(&self) -> MutexGuard<'_, IndexMap<[u8; 32], (Duration, Reply)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(request: &Request) -> [u8; 32] {
    Sha256::digest(request.url.as_str().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::AddressPolicy;

    fn request(n: usize) -> Request {
        Request::new("GET", &format!("http://h/{n}"), AddressPolicy::Any).unwrap()
    }

    #[test]
    fn answers_are_remembered_for_their_time_and_are_bounded() {
        let remembered = Remembered::default();
        let reply = Reply {
            status: 200,
            body: "x".into(),
        };
        let at = Duration::from_secs;
        remembered.put(&request(0), reply.clone(), at(10));
        let get = |n, now| remembered.get(&request(n), at(900), at(now));
        assert_eq!(get(0, 909), Some(reply.clone()));
        assert_eq!((get(0, 910), get(1, 10)), (None, None));
        for n in 1..=MOST {
            remembered.put(&request(n), reply.clone(), at(10));
        }
        assert_eq!((get(0, 10), get(1, 10)), (None, Some(reply)));
    }
}
