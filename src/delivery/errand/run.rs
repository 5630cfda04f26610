//! An attempt at an errand: its exchanges, one after another.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::header::HeaderValue;

use super::{Errand, Exchange, is_true};
use crate::clock::Clock;
use crate::delivery::address::AddressRefused;
use crate::delivery::client::{self, Clients};
use crate::delivery::outcome::{Answer, Failure, Reply, Trouble};
use crate::delivery::request::{DEFINITION, IDEMPOTENCY_KEY, Request};
use crate::delivery::retry;

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 1 << 20;

/// Makes one attempt at a stored errand.
pub(in crate::delivery) async fn deliver(
    clients: &Clients,
    request: &Request,
    clock: &dyn Clock,
) -> Result<Answer, Trouble> {
    let errand = Errand::unpacked(&request.body).ok_or_else(|| Failure::Said {
        reason: "the stored event cannot be read".into(),
        retry: false,
    })?;
    let replies = errand.run(clients, request, clock).await?;
    let status = replies.last().map_or(200, |reply| reply.status);
    Ok(Answer {
        replies,
        ..Answer::of(status)
    })
}

impl Errand {
    /// Makes the exchanges one after another.
    async fn run(
        &self,
        clients: &Clients,
        whole: &Request,
        clock: &dyn Clock,
    ) -> Result<Vec<Reply>, Trouble> {
        let mut replies: Vec<Reply> = Vec::new();
        let mut kept = HashMap::new();
        for (i, exchange) in self.0.iter().enumerate() {
            let trouble = |failure, reply| Trouble {
                exchange: i,
                failure,
                reply,
                kept: false,
            };
            let request = exchange.request(whole.addresses, &kept);
            let mut request = request.map_err(|error| trouble(error.into(), None))?;
            request.headers.insert(IDEMPOTENCY_KEY, key(whole, i));
            if let Some(stamp) = whole.headers.get(DEFINITION) {
                request.headers.insert(DEFINITION, stamp.clone());
            }
            request.timeout = whole.timeout;
            let now = clock.monotonic();
            let known = exchange.stays;
            let known = known.and_then(|time| clients.remembered.get(&request, time, now));
            let fresh = known.is_none();
            let (reply, retry_after) = match known {
                Some(reply) => (reply, None),
                None => exchange_once(clients, exchange, &request, clock)
                    .await
                    .map_err(|failure| trouble(failure, None))?,
            };
            if let Some(failure) = status_failure(&request, reply.status, retry_after) {
                return Err(trouble(failure, Some(reply)));
            }
            let answer = reply.json();
            if let Some(reason) = exchange.refusal(&answer) {
                let failure = Failure::Said {
                    reason,
                    retry: false,
                };
                return Err(trouble(failure, Some(reply)));
            }
            for (slot, pointer) in &exchange.keep {
                let Some(value) = answer.pointer(pointer).filter(|v| is_true(v)) else {
                    let failure = Failure::Said {
                        reason: format!("the answer lacks `{pointer}`"),
                        retry: false,
                    };
                    return Err(trouble(failure, Some(reply)));
                };
                let text = value.as_str().map_or_else(|| value.to_string(), Into::into);
                kept.insert(slot.0.clone(), text);
            }
            if fresh && exchange.stays.is_some() {
                clients.remembered.put(&request, reply.clone(), now);
            }
            let done = exchange.done.as_ref();
            let done = done.is_some_and(|pointer| answer.pointer(pointer).is_some_and(is_true));
            replies.push(reply);
            if done {
                break;
            }
        }
        Ok(replies)
    }
}

/// The key of one exchange: that of the event and its number.
fn key(whole: &Request, exchange: usize) -> HeaderValue {
    HeaderValue::from_str(&format!("{}-{exchange}", whole.key()))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Makes one exchange. An answer that breaks off is none, if anything in it is asked for.
async fn exchange_once(
    clients: &Clients,
    exchange: &Exchange,
    request: &Request,
    clock: &dyn Clock,
) -> Result<(Reply, Option<Duration>), Failure> {
    let mut response = clients.send(request).await?;
    let status = response.status();
    if status.is_redirection() {
        return Err(AddressRefused::Redirect.into());
    }
    let header = response.headers().get(reqwest::header::RETRY_AFTER);
    let now = clock.now().unix_seconds();
    let wait = header
        .and_then(|text| text.to_str().ok())
        .and_then(|text| retry::retry_after(text, now));
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(error) if status.is_success() && exchange.asks() => {
                return Err(client::failure(request, error));
            }
            Ok(None) | Err(_) => break,
        }
        if body.len() > MAX_ANSWER {
            body.truncate(MAX_ANSWER);
            break;
        }
    }
    let reply = Reply {
        status: status.as_u16(),
        body: body.into(),
    };
    Ok((reply, wait))
}

fn status_failure(request: &Request, status: u16, wait: Option<Duration>) -> Option<Failure> {
    (status >= 400).then(|| Failure::Status {
        status,
        url: request.redacted_url(),
        retry_after: wait,
    })
}
