//! The platform's side: what is asked about a model, by both protocols.
//!
//! | asked | address | key |
//! | --- | --- | --- |
//! | task | `{API_BASE_URL}/models/v1/external/stat?modelId=` | `Authorization: Bearer` |
//! | packages | `{ROBOFLOW_API_HOST}/models/v1/external/weights?modelId=[&startAfter=]` | the same |
//! | all, older | `{API_BASE_URL}/ort/{project}/{version}?nocache=true&device=&dynamic=true` | in the query |
//! | all, older | `{API_BASE_URL}/getWeights?model=` for ids without version | in the query |
//!
//! No error of the HTTP library is shown with its address.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use url::Url;

use super::legacy::{Instant, LegacyAnswer, Ort};
use super::metadata::{Envelope, Page, Stat};
use crate::definitions::platform::{PROTOCOL_VERSION, reason};
use crate::definitions::{ApiKey, key::LOCAL_WORKSPACE};
use crate::models::Settings;
use crate::models::error::Trouble;

/// Largest answer that is read.
const MAX_ANSWER: usize = 32 << 20;
/// Most pages of packages.
const MAX_PAGES: usize = 10;
/// Time that a connection for a file may take to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// Longest silence while a file is read.
const SILENCE: Duration = Duration::from_secs(60);
/// Redirects followed for one request, as the reference does.
const MAX_REDIRECTS: usize = 30;
/// Statuses after which the model library asks again.
const PASSING: [u16; 5] = [408, 429, 502, 503, 504];

/// Asks the platform. Connections are made with the first request.
pub(super) struct Platform {
    calls: OnceLock<Result<Client, String>>,
    files: OnceLock<Result<Client, String>>,
}

/// When a question is asked again.
struct Again<'a> {
    tries: u32,
    statuses: &'a [u16],
    connections: bool,
    wait: Duration,
    /// By how much each wait is longer than the one before.
    growth: u32,
}

impl Platform {
    pub fn new() -> Self {
        Self {
            calls: OnceLock::new(),
            files: OnceLock::new(),
        }
    }

    /// What a model does.
    pub async fn stat(
        &self,
        settings: &Settings,
        id: &str,
        key: Option<&ApiKey>,
    ) -> Result<Stat, Trouble> {
        let url = external(&settings.platform.base, "stat", id, None);
        let again = server(settings);
        let limit = settings.platform.timeout;
        let ask = || self.ask::<Envelope<Stat>>(settings, url.clone(), key, true, limit);
        Ok(repeated(&again, ask).await?.model_metadata)
    }

    /// The packages of a model: all pages, joined.
    pub async fn packages(
        &self,
        settings: &Settings,
        id: &str,
        key: Option<&ApiKey>,
    ) -> Result<Page, Trouble> {
        let again = Again {
            tries: settings.calls.tries.max(1),
            statuses: &PASSING,
            connections: true,
            wait: settings.calls.wait,
            growth: 3,
        };
        let limit = settings.calls.timeout;
        let mut joined: Option<Page> = None;
        let mut after: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let url = external(&settings.library, "weights", id, after.as_deref());
            let ask = || self.ask::<Envelope<Page>>(settings, url.clone(), key, false, limit);
            let page = repeated(&again, ask).await?.model_metadata;
            after = page.next_page.clone();
            match &mut joined {
                None => joined = Some(page),
                Some(first) => first.model_packages.extend(page.model_packages),
            }
            if after.is_none() {
                break;
            }
        }
        if after.is_some() {
            tracing::warn!(
                model = id,
                "packages after page {MAX_PAGES} are not looked at"
            );
        }
        joined.ok_or_else(|| Trouble::Garbage {
            reason: "it has no page".into(),
        })
    }

    /// Everything about a model, by the older protocol.
    pub async fn legacy(
        &self,
        settings: &Settings,
        segments: &[&str],
        key: Option<&ApiKey>,
    ) -> Result<LegacyAnswer, Trouble> {
        let mut url = settings.platform.base.clone();
        let again = server(settings);
        let limit = settings.platform.timeout;
        let instant = segments.len() == 1;
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            match instant {
                true => path.push("getWeights"),
                false => path.push("ort").extend(segments),
            };
        }
        match instant {
            true => url.query_pairs_mut().append_pair("model", segments[0]),
            false => url
                .query_pairs_mut()
                .append_pair("nocache", "true")
                .append_pair("device", &settings.device)
                .append_pair("dynamic", "true"),
        };
        if let Some(key) = sent(key) {
            url.query_pairs_mut().append_pair("api_key", key.expose());
        }
        if instant {
            let ask = || self.ask::<Instant>(settings, url.clone(), None, true, limit);
            repeated(&again, ask).await?.answer()
        } else {
            let ask = || self.ask::<Ort>(settings, url.clone(), None, true, limit);
            Ok(repeated(&again, ask).await?.ort)
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        settings: &Settings,
        url: Url,
        key: Option<&ApiKey>,
        of_server: bool,
        limit: Duration,
    ) -> Result<T, Trouble> {
        let client =
            get(&self.calls, || calls(settings)).map_err(|reason| Trouble::Unreachable {
                reason: reason.to_owned(),
            })?;
        let mut request = client
            .get(settings.platform.through_gateway(url))
            .timeout(limit);
        for (name, value) in &settings.platform.headers {
            request = request.header(name, value);
        }
        if of_server {
            request = versioned(request);
        }
        if let Some(key) = sent(key) {
            request = request.header(AUTHORIZATION, format!("Bearer {}", key.expose()));
        }
        let failed = |error| failure(error, limit);
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            return Err(match status.as_u16() {
                status @ (401 | 402 | 403 | 404 | 423) => Trouble::Refused { status },
                status => Trouble::Status { status },
            });
        }
        let body = read(response, limit).await?;
        serde_json::from_slice(&body).map_err(|error| Trouble::Garbage {
            reason: error.to_string(),
        })
    }

    /// A client for files, which may be large and whose server is another one.
    pub fn files(&self, settings: &Settings) -> Result<&Client, String> {
        get(&self.files, || files(settings)).map_err(str::to_owned)
    }
}

/// The key to send: that of the workspace `local` is none.
fn sent(key: Option<&ApiKey>) -> Option<&ApiKey> {
    key.filter(|key| !matches!(key.expose(), "" | LOCAL_WORKSPACE))
}

fn external(base: &Url, question: &str, id: &str, after: Option<&str>) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty()
            .extend(["models", "v1", "external", question]);
    }
    url.query_pairs_mut().append_pair("modelId", id);
    if let Some(after) = after {
        url.query_pairs_mut().append_pair("startAfter", after);
    }
    url
}

fn versioned(request: RequestBuilder) -> RequestBuilder {
    request
        .header("X-Roboflow-Inference-Version", PROTOCOL_VERSION)
        .header("X-Allow-Chunked", "true")
}

/// How the server repeats its requests: as the settings say, at even intervals.
fn server(settings: &Settings) -> Again<'_> {
    let again = &settings.platform.again;
    Again {
        tries: again.retries + 1,
        statuses: &again.statuses,
        connections: again.connections,
        wait: again.interval,
        growth: 1,
    }
}

async fn repeated<T, F>(again: &Again<'_>, ask: impl Fn() -> F) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let (mut left, mut wait) = (again.tries, again.wait);
    loop {
        let answer = ask().await;
        left = left.saturating_sub(1);
        let passing = match &answer {
            Err(Trouble::Status { status } | Trouble::Refused { status }) => {
                again.statuses.contains(status)
            }
            Err(Trouble::Unreachable { .. } | Trouble::Timeout { .. }) => again.connections,
            _ => false,
        };
        if !passing || left == 0 {
            return answer;
        }
        tokio::time::sleep(wait).await;
        wait *= again.growth;
    }
}

async fn read(mut response: Response, limit: Duration) -> Result<Bytes, Trouble> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| failure(e, limit))? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            return Err(Trouble::Garbage {
                reason: format!("it is longer than {MAX_ANSWER} bytes"),
            });
        }
    }
    Ok(body.freeze())
}

fn failure(error: reqwest::Error, limit: Duration) -> Trouble {
    if error.is_timeout() {
        return Trouble::Timeout { limit };
    }
    let redirects = error.is_redirect();
    let reason = reason(&error.without_url());
    if redirects {
        Trouble::Garbage { reason }
    } else {
        Trouble::Unreachable { reason }
    }
}

fn get(
    cell: &OnceLock<Result<Client, String>>,
    make: impl FnOnce() -> Result<Client, String>,
) -> Result<&Client, &str> {
    cell.get_or_init(make).as_ref().map_err(String::as_str)
}

fn calls(settings: &Settings) -> Result<Client, String> {
    built(settings, |builder| builder.connect_timeout(CONNECT))
}

fn files(settings: &Settings) -> Result<Client, String> {
    built(settings, |builder| {
        builder.connect_timeout(CONNECT).read_timeout(SILENCE)
    })
}

fn built(
    settings: &Settings,
    with: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<Client, String> {
    let builder = || {
        with(Client::builder())
            .redirect(reqwest::redirect::Policy::limited(MAX_REDIRECTS))
            .referer(false)
            .tls_danger_accept_invalid_certs(!settings.platform.verify_tls)
            .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
    };
    // Where the machine has no certificate authorities, https fails its check and http works all
    // the same.
    let client = builder()
        .build()
        .or_else(|_| builder().tls_certs_only([]).build());
    client.map_err(|error| reason(&error.without_url()))
}
