//! Redis: `redis://[user:password@]host[:6379][/db]?stream=NAME`, `rediss://` with TLS.
//!
//! `stream=NAME` adds an entry to a stream (XADD), with the fields `event` (the body), `key` and
//! `definition`; `list=NAME` puts the body at the end of a list; `channel=NAME` publishes it, which
//! nobody gets who does not listen just then.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, ServerErrorKind, cmd};
use url::Url;

use super::{Adapter, Attempt, Connections, confirmed, query, refused, unreachable};
use crate::delivery::outcome::{Answer, Failure};
use crate::delivery::request::{DEFINITION, Request};

/// Sends to Redis.
#[derive(Default)]
pub(super) struct Redis {
    connections: Connections<MultiplexedConnection>,
}

impl Adapter for Redis {
    fn schemes(&self) -> &'static [&'static str] {
        &["redis", "rediss"]
    }

    fn missing(&self, url: &Url) -> Option<&'static str> {
        let named = ["stream", "list", "channel"];
        let names = named.iter().any(|name| query(url, name).is_some());
        (!names).then_some("the name of a stream, list or channel, such as ?stream=events")
    }

    fn attempt<'a>(&'a self, request: &'a Request, _: &'a str) -> Attempt<'a> {
        Box::pin(self.connections.attempt(request, self.send(request)))
    }
}

impl Redis {
    async fn send(&self, request: &Request) -> Result<Answer, Failure> {
        let mut connection = match self.connections.get(request) {
            Some(known) => known,
            None => {
                let mut address = request.url.clone();
                address.set_query(None);
                let client = Client::open(address).map_err(|e| failure(request, &e))?;
                // Whoever waits for the attempt keeps the time. A limit here would be shorter than a large
                // event or a busy server needs, and the event would be there once more with every attempt.
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(None)
                    .set_response_timeout(None);
                let made = client.get_multiplexed_async_connection_with_config(&config);
                let made = made.await.map_err(|e| failure(request, &e))?;
                self.connections.keep(request, &made);
                made
            }
        };
        let body = &request.body[..];
        let (mut command, what) = if let Some(stream) = query(&request.url, "stream") {
            let mut add = cmd("XADD");
            add.arg(&stream).arg("*").arg("event").arg(body);
            add.arg("key").arg(request.key());
            if let Some(stamp) = request.headers.get(DEFINITION) {
                add.arg("definition").arg(stamp.as_bytes());
            }
            (add, "entry")
        } else if let Some(list) = query(&request.url, "list") {
            let mut push = cmd("RPUSH");
            push.arg(list).arg(body);
            (push, "length of the list")
        } else {
            let mut publish = cmd("PUBLISH");
            publish.arg(query(&request.url, "channel").unwrap_or_default());
            publish.arg(body);
            (publish, "listeners")
        };
        let command = &mut command;
        let said: redis::Value = command
            .query_async(&mut connection)
            .await
            .map_err(|e| failure(request, &e))?;
        let said = match said {
            redis::Value::Int(n) => n.to_string(),
            redis::Value::BulkString(id) => String::from_utf8_lossy(&id).into_owned(),
            other => format!("{other:?}"),
        };
        Ok(confirmed(format!("{what} {said}")))
    }
}

/// What went wrong, and whether it may pass: a server that loads, is full or a replica may take the
/// event later; one that says the command is wrong will not.
fn failure(request: &Request, error: &RedisError) -> Failure {
    let passing = match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly,
        ) => true,
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed => {
            matches!(error.code(), Some("OOM" | "MISCONF" | "NOREPLICAS"))
        }
        ErrorKind::InvalidClientConfig => false,
        _ => return unreachable(request, error),
    };
    refused(request, error, passing)
}
