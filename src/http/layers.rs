//! What happens to every request and every answer: its id, who may ask, browsers, the headers that
//! name models and the definition, the log line, the counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, HeaderName, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders};
use uuid::Uuid;

use super::app::App;
use super::caller::{bearer, query, same_secret};
use crate::definitions::Provenance;
use crate::models::usage::ModelUse;
use crate::telemetry::RequestTrace;

/// Routes that answer whoever asks.
const OPEN: &[&str] = &[
    "/",
    "/docs",
    "/redoc",
    "/info",
    "/healthz",
    "/readiness",
    "/metrics",
    "/openapi.json",
];

/// Routes that a bearer token does not guard.
const HEALTH: &[&str] = &["/healthz", "/readiness"];

/// Header that names the definition behind an answer: a dictionary of RFC 8941.
pub const DEFINITION: HeaderName = HeaderName::from_static("x-millrace-definition");

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Models behind an answer; a handler leaves it among the extensions of its response.
#[derive(Clone, Debug, Default)]
pub struct Used(pub Vec<ModelUse>);

/// The definition behind an answer; likewise.
#[derive(Clone, Debug)]
pub struct Stamped(pub Provenance);

/// Wraps a request: outermost of all.
pub async fn around(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let under_way = app.traffic.begin();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let handler = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    let path = request.uri().path().to_owned();
    let trace = trace(&app, request.headers());
    let mut response = next.run(request).await;
    let took = begun.elapsed();
    let status = response.status().as_u16();
    let uses = response
        .extensions_mut()
        .remove::<Used>()
        .unwrap_or_default()
        .0;
    app.traffic
        .answered(&handler, method.as_str(), status, took);
    app.traffic.used(&uses, took, status >= 400);
    for used in &uses {
        app.traffic.note_path(&used.id, &path);
    }
    let stamp = response.extensions_mut().remove::<Stamped>();
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(trace) = trace {
        let ended = app.services.clock.monotonic();
        trace.finish(ended, method.as_str(), &handler, status);
    }
    name_models(headers, &uses);
    if let Some(Stamped(made_by)) = &stamp {
        name_definition(headers, made_by, &app);
    }
    drop(under_way);
    rest(&app);
    tracing::info!(
        target: "millrace::http",
        request = id,
        method = %method,
        route = handler,
        status,
        took_ms = took.as_secs_f64() * 1e3,
        definition = stamp.map(|Stamped(made_by)| made_by.hash().to_string()),
        "answered"
    );
    response
}

/// The trace of a request, if it is sampled; part of its caller's own, if that names one.
fn trace(app: &App, headers: &HeaderMap) -> Option<RequestTrace> {
    let tracer = app.services.tracer.as_ref()?;
    let parent = headers.get("traceparent").and_then(|p| p.to_str().ok());
    tracer.request("request", parent, app.services.clock.monotonic())
}

/// Gives memory that requests have freed back to the system when the last of a burst is answered.
fn rest(app: &Arc<App>) {
    const QUIET: Duration = Duration::from_secs(2);
    if !app.traffic.may_rest() {
        return;
    }
    let app = app.clone();
    tokio::spawn(async move {
        tokio::time::sleep(QUIET).await;
        if app.traffic.rested() {
            // A thread of its own: it may take milliseconds.
            let _ = tokio::task::spawn_blocking(crate::allocator::release).await;
        }
    });
}

/// A client's own id if it is a UUID of version 4, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let own = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    match own {
        Some(id) if Uuid::parse_str(id).is_ok_and(|id| id.get_version_num() == 4) => id.to_owned(),
        _ => Uuid::new_v4().simple().to_string(),
    }
}

fn name_models(headers: &mut HeaderMap, uses: &[ModelUse]) {
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    let cold: Vec<(&str, Duration)> = uses
        .iter()
        .filter_map(|used| Some((used.id.as_str(), used.loaded_in?)))
        .collect();
    put("x-inference-engine", "inference-models".into());
    put("x-model-cold-start", (!cold.is_empty()).to_string());
    put("x-model-cold-start-count", cold.len().to_string());
    if !uses.is_empty() {
        let ids: Vec<&str> = uses.iter().map(|used| used.id.as_str()).collect();
        put("x-model-id", ids.join(","));
    }
    if !cold.is_empty() {
        let total: Duration = cold.iter().map(|(_, took)| *took).sum();
        let details: Vec<_> = cold
            .iter()
            .map(|(id, took)| json!({"m": id, "t": took.as_secs_f64()}))
            .collect();
        put("x-model-load-time", total.as_secs_f64().to_string());
        put("x-model-load-details", json!(details).to_string());
    }
}

/// Says which definition made an answer: a dictionary of structured fields (RFC 9651). The
/// definitions that it names stand in `inner`, each with its hash.
fn name_definition(headers: &mut HeaderMap, made_by: &Provenance, app: &App) {
    let stamp = made_by.stamp();
    let now = app.services.clock.now();
    let version: String = stamp
        .version
        .as_deref()
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\') || *c == ' ')
        .collect();
    let mut text = format!(
        "hash=\"{}\", version=\"{version}\", source={}, fetched-at=\"{}\", age={:.3}, stale={}",
        stamp.hash.full(),
        stamp.source,
        stamp.fetched_at.isoformat(),
        stamp.age(now).as_secs_f64(),
        if stamp.stale(now) { "?1" } else { "?0" },
    );
    let inner = made_by.inner().iter().filter_map(|origin| {
        // Names that no header can hold are told in the body.
        let id = origin.key()?.to_string();
        let plain = id
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\'));
        plain.then(|| format!("\"{id}\";hash=\"{}\"", origin.hash().full()))
    });
    let inner: Vec<String> = inner.collect();
    if !inner.is_empty() {
        text.push_str(&format!(", inner=({})", inner.join(" ")));
    }
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(DEFINITION, value);
    }
}

/// Lets pass who shows the token, if the server has one: as a bearer or as `x-millrace-token`.
pub async fn token(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if let Some(token) = &app.settings.token
        && request.method() != Method::OPTIONS
        && !HEALTH.contains(&request.uri().path())
    {
        let own = request.headers().get("x-millrace-token");
        let own = own.and_then(|value| value.to_str().ok());
        let asked = password_of_browser(&request);
        let shown = own
            .or_else(|| bearer(request.headers()))
            .or(asked.as_deref());
        if !shown.is_some_and(|shown| same_secret(shown, token)) {
            let text = "this server asks for its token: send `Authorization: Bearer <token>`";
            let refusal = Json(json!({"message": text}));
            return match is_for_browsers(&request) {
                true => {
                    let ask = [(WWW_AUTHENTICATE, "Basic realm=\"millrace token\"")];
                    (StatusCode::UNAUTHORIZED, ask, refusal).into_response()
                }
                false => (StatusCode::UNAUTHORIZED, refusal).into_response(),
            };
        }
    }
    next.run(request).await
}

/// Whether a request is for what people open in a browser, which can only ask them for a password.
fn is_for_browsers(request: &Request) -> bool {
    let path = request.uri().path();
    let shown = path == "/streams" || path.starts_with("/streams/");
    // A browser sends the password along with what pages of others ask for; such requests for what
    // can be read name their origin.
    shown && request.method() == Method::GET && !request.headers().contains_key(ORIGIN)
}

/// The token as a browser sends it: the password of basic authentication, under any name.
fn password_of_browser(request: &Request) -> Option<String> {
    if !is_for_browsers(request) {
        return None;
    }
    let text = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, login) = text.split_once(' ')?;
    let login = BASE64.decode(login.trim()).ok()?;
    let login = String::from_utf8(login).ok()?;
    let (_, password) = login.split_once(':')?;
    scheme
        .eq_ignore_ascii_case("basic")
        .then(|| password.to_owned())
}

/// Lets pass the keys of the workspaces that may call, where the server is told which (section 1.1 of
/// the server specification, "auth middleware").
pub async fn workspaces(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let guarded = matches!(*request.method(), Method::GET | Method::POST)
        && !OPEN.contains(&request.uri().path());
    if app.settings.workspaces.is_empty() || !guarded {
        return next.run(request).await;
    }
    let (request, key) = match with_key(&app, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let workspace = match key {
        Some(key) => app.workspace_of(&key).await,
        None => None,
    };
    match workspace {
        Some(name) if app.settings.workspaces.contains(&name) => {
            let mut response = next.run(request).await;
            if let Ok(name) = HeaderValue::from_str(&name) {
                response.headers_mut().insert("x-workspace-id", name);
            }
            response
        }
        _ => {
            let body = json!({"status": 401, "message": "Unauthorized api_key"});
            (StatusCode::UNAUTHORIZED, Json(body)).into_response()
        }
    }
}

/// The key of a request: of its query, its header or its JSON body, in this order.
async fn with_key(app: &App, request: Request) -> Result<(Request, Option<String>), Response> {
    let early =
        query(request.uri(), "api_key").or_else(|| bearer(request.headers()).map(str::to_owned));
    if early.is_some() || request.method() == Method::GET {
        return Ok((request, early));
    }
    let (parts, body) = request.into_parts();
    let bytes = super::body::read(&parts.headers, body, app.settings.body)
        .await
        .map_err(IntoResponse::into_response)?;
    let json: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    let key = json.and_then(|body| Some(body.get("api_key")?.as_str()?.to_owned()));
    Ok((Request::from_parts(parts, Body::from(bytes)), key))
}

/// What browsers may do: the given origins, with credentials.
pub fn browsers(origins: &[String]) -> CorsLayer {
    let exposed = [
        "x-processing-time",
        "x-remote-processing-time",
        "x-remote-processing-times",
        "x-model-cold-start",
        "x-model-cold-start-count",
        "x-model-load-time",
        "x-model-load-details",
        "x-model-id",
        "x-workflow-id",
        "x-workspace-id",
        "x-trace-id",
        "execution_id",
        "traceparent",
        "tracestate",
        "x-millrace-definition",
    ];
    let origin = match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::mirror_request(),
        false => AllowOrigin::list(origins.iter().filter_map(|o| o.parse().ok())),
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_credentials(true)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list(
            exposed.into_iter().map(HeaderName::from_static),
        ))
        .max_age(Duration::from_secs(600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_the_client_is_kept_if_it_is_one() {
        let mut headers = HeaderMap::new();
        assert_eq!(request_id(&headers).len(), 32);
        for (id, kept) in [
            ("0f9b7ca8-3157-4639-86b0-5af65fded0d6", true),
            ("0f9b7ca8-3157-1639-86b0-5af65fded0d6", false),
            ("x\" injected", false),
        ] {
            headers.insert(REQUEST_ID, id.parse().unwrap());
            assert_eq!(request_id(&headers) == id, kept, "{id}");
        }
    }

    #[test]
    fn models_are_named_with_their_loading() {
        let mut headers = HeaderMap::new();
        name_models(&mut headers, &[]);
        assert_eq!(headers["x-model-cold-start"], "false");
        assert!(headers.get("x-model-id").is_none());
        let uses = [("a/1", Some(2)), ("b/1", None)].map(|(id, seconds)| ModelUse {
            id: id.into(),
            loaded_in: seconds.map(Duration::from_secs),
        });
        name_models(&mut headers, &uses);
        assert_eq!(headers["x-model-id"], "a/1,b/1");
        assert_eq!(headers["x-model-cold-start-count"], "1");
        assert_eq!(headers["x-model-load-details"], r#"[{"m":"a/1","t":2.0}]"#);
    }
}
