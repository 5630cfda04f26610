//! Streams to look at: a page of all, the figures of one, its picture.
//!
//! `GET /streams` is a page for browsers and a list for programs, by what the request accepts;
//! `GET /streams/{id}` tells of one. `GET /streams/{id}/preview` is its picture as a browser shows it
//! (`multipart/x-mixed-replace` of JPEGs), `GET /streams/{id}/picture.jpg` the newest one; both take
//! `source`, `output`, `width`, `quality`, the first also `fps`. A viewer that is slow sees fewer
//! pictures, and how many look at once is bounded ([`crate::outputs::View`]).

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::rejection::Rejection;
use super::schemas;
use super::table::{self, Parameter, Route};
use crate::fleet::{Fleet, report};
use crate::outputs::{OutputCounts, Outputs, PictureSpec, Shot, View, ViewError, Viewer, Wish};
use crate::streams::Figures;

/// How long a request waits for the first picture of a stream.
const FIRST: Duration = Duration::from_secs(10);
/// Pictures per second where none are asked for.
const FPS: f64 = 15.0;
/// What parts of a preview are parted by.
const BOUNDARY: &str = "millrace-frame";
const FRAME: HeaderName = HeaderName::from_static("x-millrace-frame");

/// Streams that can be looked at.
pub trait Streams: Send + Sync {
    /// What is told of each: an object with `id`, `state`, `figures` and more.
    fn rows(&self) -> Vec<Json>;

    /// The same of one; none if there is none of this id.
    fn row(&self, id: &str) -> Option<Json>;

    /// What those see who look at one.
    ///
    /// # Errors
    /// If there is none of this id, or nobody may look.
    fn preview(&self, id: &str) -> Result<(Arc<View>, PictureSpec), NotShown>;
}

/// Why nobody sees anything of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotShown {
    /// There is no such stream.
    Unknown,
    /// Its picture is not for everybody.
    Off,
}

impl Streams for Fleet {
    fn rows(&self) -> Vec<Json> {
        self.rows()
    }

    fn row(&self, id: &str) -> Option<Json> {
        self.row(id).ok()
    }

    fn preview(&self, id: &str) -> Result<(Arc<View>, PictureSpec), NotShown> {
        let preview = self.preview(id).map_err(|_| NotShown::Unknown)?;
        preview.ok_or(NotShown::Off)
    }
}

/// A stream of `millrace run`.
pub struct RunStream {
    /// Its name.
    pub name: String,
    /// Id of its definition.
    pub definition: String,
    /// Its figures.
    pub figures: Arc<Figures>,
    /// Its outputs.
    pub outputs: Arc<Outputs>,
}

/// The streams of `millrace run`.
#[derive(Default)]
pub struct RunStreams(Mutex<Vec<Arc<RunStream>>>);

impl RunStreams {
    /// Adds a stream.
    pub fn add(&self, stream: RunStream) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::new(stream));
    }

    fn all(&self) -> Vec<Arc<RunStream>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }

    fn find(&self, id: &str) -> Option<Arc<RunStream>> {
        self.all().into_iter().find(|stream| stream.name == id)
    }
}

impl RunStream {
    fn row(&self) -> Json {
        let snapshot = self.figures.snapshot();
        json!({
            "id": self.name,
            "state": "running",
            "definition_id": self.definition,
            "errors": snapshot.errors,
            "outputs": self.outputs.to_json(),
            "figures": report::figures(&snapshot),
        })
    }
}

impl Streams for RunStreams {
    fn rows(&self) -> Vec<Json> {
        self.all().iter().map(|stream| stream.row()).collect()
    }

    fn row(&self, id: &str) -> Option<Json> {
        self.find(id).map(|stream| stream.row())
    }

    fn preview(&self, id: &str) -> Result<(Arc<View>, PictureSpec), NotShown> {
        let stream = self.find(id).ok_or(NotShown::Unknown)?;
        stream.outputs.preview().ok_or(NotShown::Off)
    }
}

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    streams: Arc<dyn Streams>,
    /// Pictures that are encoded at once: half the cores, so that streams go on.
    turns: Arc<Semaphore>,
}

/// The parameters of a picture.
const PICTURE: &[Parameter] = &[
    ("source", "string", "The source, of a stream with several"),
    (
        "output",
        "string",
        "The output, where there are several pictures",
    ),
    ("width", "integer", "Pixels, from 16; as it is without"),
    ("quality", "integer", "Of the JPEG, 1 to 100; 80 without"),
    (
        "fps",
        "number",
        "Pictures per second of a preview, 0.01 to 120; 15 without",
    ),
];

/// The routes.
pub fn routes<S>(streams: Arc<dyn Streams>) -> Vec<Route<S>> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let shared = Shared {
        streams,
        turns: Arc::new(Semaphore::new(cores.div_ceil(2))),
    };
    let route = |path, summary, handler| Route::new("Streams", "GET", path, summary, handler);
    let all = vec![
        route("/streams", "All streams: a page, or a list", get(all))
            .gives(schemas::streams())
            .as_media(&["application/json", "text/html"]),
        route("/streams/{id}", "How a stream is", get(one)).gives(schemas::stream()),
        route(
            "/streams/{id}/preview",
            "The picture of a stream as browsers show it",
            get(preview),
        )
        .asks(PICTURE)
        .as_media(&["multipart/x-mixed-replace"]),
        route(
            "/streams/{id}/picture.jpg",
            "The newest picture of a stream",
            get(picture),
        )
        // All but the pace.
        .asks(PICTURE.split_at(PICTURE.len() - 1).0)
        .as_media(&["image/jpeg"]),
    ];
    table::with_state(all, &shared)
}

/// The routes alone, for a process that serves no workflows.
pub fn alone(streams: Arc<dyn Streams>) -> Router {
    table::router(routes(streams))
}

async fn all(State(shared): State<Shared>, headers: HeaderMap) -> Result<Response, Rejection> {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    if accepted.is_some_and(|types| types.contains("text/html")) {
        return Ok(([(VARY, "accept")], Html(include_str!("streams.html"))).into_response());
    }
    let rows = tokio::task::spawn_blocking(move || shared.streams.rows()).await?;
    Ok(([(VARY, "accept")], axum::Json(json!({"streams": rows}))).into_response())
}

async fn one(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<axum::Json<Json>, Rejection> {
    let asked = id.clone();
    let row = tokio::task::spawn_blocking(move || shared.streams.row(&asked)).await?;
    row.map(axum::Json).ok_or_else(|| unknown(&id))
}

/// Which picture, and in which form.
#[derive(Deserialize)]
struct Asked {
    source: Option<String>,
    output: Option<String>,
    width: Option<usize>,
    quality: Option<u8>,
    fps: Option<f64>,
}

impl Asked {
    fn wish(self, usual: PictureSpec) -> Result<Wish, Rejection> {
        let quality = self.quality.unwrap_or(80);
        let width = self.width.unwrap_or(16);
        if !(1..=100).contains(&quality) || !(16..=16_384).contains(&width) {
            let text = "width is a number of pixels from 16, quality a number from 1 to 100";
            return Err(Rejection::bad_request(text));
        }
        Ok(Wish {
            source: self.source,
            output: self.output,
            usual: usual.output,
            width: self.width,
            quality,
        })
    }

    /// The least time between two pictures.
    fn interval(&self) -> Result<Duration, Rejection> {
        let fps = self.fps.unwrap_or(FPS);
        match (0.01..=120.0).contains(&fps) {
            true => Ok(Duration::from_secs_f64(1.0 / fps)),
            false => Err(Rejection::bad_request("fps is a number from 0.01 to 120")),
        }
    }
}

fn unknown(id: &str) -> Rejection {
    Rejection::message(StatusCode::NOT_FOUND, format!("there is no stream {id}"))
}

fn not_shown(id: &str, why: NotShown) -> Rejection {
    match why {
        NotShown::Unknown => unknown(id),
        NotShown::Off => Rejection::message(
            StatusCode::FORBIDDEN,
            format!("the picture of stream {id} is not shown"),
        ),
    }
}

impl From<ViewError> for Rejection {
    fn from(error: ViewError) -> Self {
        let status = match error {
            ViewError::Full(_) => StatusCode::SERVICE_UNAVAILABLE,
            ViewError::NoSource { .. } | ViewError::NoOutput { .. } => StatusCode::NOT_FOUND,
            ViewError::Encoding(reason) => return Self::Internal(reason),
        };
        Self::message(status, error.to_string())
    }
}

/// What a request asks for, checked.
struct Sight {
    view: Arc<View>,
    wish: Wish,
    interval: Duration,
    turns: Arc<Semaphore>,
}

fn sight(
    shared: &Shared,
    id: &str,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Sight, Rejection> {
    let Query(asked) = asked.map_err(|e| Rejection::bad_request(e.body_text()))?;
    let interval = asked.interval()?;
    let (view, usual) = shared
        .streams
        .preview(id)
        .map_err(|why| not_shown(id, why))?;
    let wish = asked.wish(usual)?;
    Ok(Sight {
        view,
        wish,
        interval,
        turns: shared.turns.clone(),
    })
}

/// The first result that there is or comes soon.
async fn first(viewer: &mut Viewer, id: &str) -> Result<Arc<Shot>, Rejection> {
    let none = |why: &str| {
        let text = format!("there is no picture of stream {id}: {why}");
        Rejection::message(StatusCode::SERVICE_UNAVAILABLE, text)
    };
    match tokio::time::timeout(FIRST, viewer.next()).await {
        Ok(Some(shot)) => Ok(shot),
        Ok(None) => Err(none("it is over")),
        Err(_) => Err(none("it has given none so far")),
    }
}

impl Sight {
    /// Encodes a picture, when it is its turn, unless somebody did so before.
    async fn jpeg(&self, shot: &Arc<Shot>) -> Result<Bytes, Rejection> {
        let (shot, wish) = (shot.clone(), self.wish.clone());
        let turn = self.turns.clone().acquire_owned().await;
        let turn = turn.map_err(|_| Rejection::Busy)?;
        let encoded = tokio::task::spawn_blocking(move || {
            let encoded = shot.jpeg(&wish);
            drop(turn);
            encoded
        });
        Ok(encoded.await??)
    }
}

async fn picture(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Rejection> {
    let sight = sight(&shared, &id, asked)?;
    let shot = match sight.view.newest() {
        Some(shot) => shot,
        None => first(&mut sight.view.look()?, &id).await?,
    };
    let bytes = sight.jpeg(&shot).await?;
    let number = shot.number(sight.wish.source.as_deref());
    let number = number.unwrap_or_default();
    let headers = [
        (CONTENT_TYPE, "image/jpeg".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
        (FRAME, number.to_string()),
    ];
    Ok((headers, bytes).into_response())
}

async fn preview(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Rejection> {
    let sight = sight(&shared, &id, asked)?;
    let mut viewer = sight.view.look()?;
    let shot = first(&mut viewer, &id).await?;
    // What cannot be shown is refused here, as long as there is a status to say so.
    sight.jpeg(&shot).await?;
    let looking = Looking {
        viewer,
        next: Some(shot),
        due: Instant::now(),
        sight,
    };
    let parts = stream::unfold(looking, |mut looking| async {
        let part = looking.part().await?;
        Some((Ok::<_, Infallible>(part), looking))
    });
    let headers = [
        (
            CONTENT_TYPE,
            format!("multipart/x-mixed-replace; boundary={BOUNDARY}"),
        ),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(parts)).into_response())
}

/// Somebody who looks on.
struct Looking {
    viewer: Viewer,
    /// The first picture.
    next: Option<Arc<Shot>>,
    /// When the next picture is due.
    due: Instant,
    sight: Sight,
}

impl Looking {
    /// The next part; none when the stream is over.
    async fn part(&mut self) -> Option<Bytes> {
        loop {
            tokio::time::sleep_until(self.due).await;
            let shot = match self.next.take() {
                Some(shot) => shot,
                None => self.viewer.next().await?,
            };
            self.due = Instant::now() + self.sight.interval;
            // A round without a frame of this source, or a definition without this output.
            if let Ok(jpeg) = self.sight.jpeg(&shot).await {
                let number = shot.number(self.sight.wish.source.as_deref());
                return Some(part(&jpeg, number.unwrap_or_default()));
            }
        }
    }
}

/// The counts of the outputs of all streams, in Prometheus' text form.
pub(super) fn metrics(out: &mut String, fleet: &Fleet) {
    let streams = fleet.streams();
    type Count = fn(&OutputCounts) -> u64;
    let written: Count = |counts| counts.written;
    let dropped: Count = |counts| counts.dropped;
    let errors: Count = |counts| counts.errors;
    for (name, help, of) in [
        ("written", "Results that an output took.", written),
        (
            "dropped",
            "Results that found no room in an output.",
            dropped,
        ),
        ("errors", "Errors of an output.", errors),
    ] {
        let name = format!("millrace_output_{name}_total");
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
        for stream in &streams {
            // Names of streams have no characters that a label could not have.
            for (kind, counts) in &stream.outputs {
                let labels = format!("stream=\"{}\",output=\"{kind}\"", stream.id);
                let _ = writeln!(out, "{name}{{{labels}}} {}", of(counts));
            }
        }
    }
}

fn part(jpeg: &Bytes, number: i64) -> Bytes {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n{FRAME}: {number}\r\n\r\n",
        jpeg.len()
    );
    let mut part = BytesMut::with_capacity(head.len() + jpeg.len() + 2);
    part.extend_from_slice(head.as_bytes());
    part.extend_from_slice(jpeg);
    part.extend_from_slice(b"\r\n");
    part.freeze()
}
