//! Routes that run one model on images (section 1.4 of the server specification): by task, and by
//! project and version in the path.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Path, Query, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::app::App;
use super::fields::{Fields, lax_flag};
use super::images::{self, Wanted};
use super::layers::Used;
use super::picture;
use super::rejection::Rejection;
use super::table::Route;
use super::{body, caller};
use crate::definitions::ApiKey;
use crate::models::{Confidence, DetectParams, Detector, ModelStore, usage};
use crate::values::{Detections, Image};

type Shared = State<Arc<App>>;

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let tag = "Inference";
    let task = |path, summary, handler| Route::new(tag, "POST", path, summary, handler);
    vec![
        task(
            "/infer/object_detection",
            "Find objects with a model",
            post(object_detection),
        ),
        task(
            "/infer/instance_segmentation",
            "Find objects and their outlines",
            post(other_task),
        ),
        task("/infer/classification", "Classify images", post(other_task)),
        task(
            "/infer/keypoints_detection",
            "Find objects and their key points",
            post(other_task),
        ),
        task(
            "/infer/semantic_segmentation",
            "Classify pixels",
            post(other_task),
        ),
    ]
}

/// The route by project and version, which takes every path of two segments that no other takes.
pub fn by_version() -> Vec<Route> {
    let route = |method, handler| {
        let about = "Run a model by project and version";
        Route::new("Inference", method, "/{project}/{version}", about, handler)
    };
    vec![route("GET", get(by_path)), route("POST", post(by_path))]
}

/// What a request wants of a model, and how the answer shall look.
struct Wish {
    model: String,
    params: DetectParams,
    drawing: Option<Drawing>,
    id: String,
    api_key: Option<ApiKey>,
}

/// How found objects are drawn.
#[derive(Clone, Copy)]
struct Drawing {
    labels: bool,
    stroke: i32,
}

/// The fields of a body that belong to detection.
fn read_wish(
    app: &App,
    headers: &HeaderMap,
    object: &Map<String, Value>,
) -> Result<(Wish, Value), Rejection> {
    let mut fields = Fields::of(object);
    let model = fields.required_text("model_id").unwrap_or_default();
    let key = fields.text("api_key");
    let image = fields.required("image").cloned().unwrap_or_default();
    let defaults = DetectParams::default();
    let confidence = match fields.get("confidence") {
        Some(Value::String(word)) if word == "best" => Confidence::Best,
        Some(Value::String(word)) if word == "default" => Confidence::Default,
        _ => fields
            .number("confidence")
            .map_or(defaults.confidence, Confidence::Value),
    };
    let most = fields.whole("max_detections").unwrap_or(300);
    let filter = fields.texts("class_filter");
    let params = DetectParams {
        confidence,
        iou_threshold: fields
            .number("iou_threshold")
            .unwrap_or(defaults.iou_threshold),
        max_detections: usize::try_from(most).unwrap_or_default(),
        class_agnostic_nms: fields.flag("class_agnostic_nms", false),
        class_filter: filter.map(|names| names.into_iter().map(Arc::from).collect()),
    };
    let draw = fields.flag("visualize_predictions", false);
    let drawing = Drawing {
        labels: fields.flag("visualization_labels", false),
        stroke: stroke(fields.whole("visualization_stroke_width")),
    };
    let id = fields.text("id").unwrap_or_default().to_owned();
    let model = model.to_owned();
    fields.finish()?;
    let wish = Wish {
        model,
        params,
        drawing: draw.then_some(drawing),
        id,
        api_key: caller::api_key(headers, app.settings.keys_from_headers, key),
    };
    Ok((wish, image))
}

fn stroke(width: Option<i64>) -> i32 {
    width.unwrap_or(1).clamp(1, 100) as i32
}

/// A body with the id that its answer bears.
async fn with_id(app: &App, request: Request<Body>) -> Result<Map<String, Value>, Rejection> {
    let mut object = body::object(request, app.settings.body).await?;
    let id = object.entry("id").or_insert(Value::Null);
    if id.is_null() {
        *id = Uuid::new_v4().to_string().into();
    }
    Ok(object)
}

async fn object_detection(
    State(app): Shared,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    count_inference(&query)?;
    let object = with_id(&app, request).await?;
    let (wish, image) = read_wish(&app, &headers, &object)?;
    let worker = app.clone();
    let work = move || {
        let detector = worker.detector(&wish.model, wish.api_key.as_ref())?;
        let wanted = Wanted::read(&image, &worker.input)?;
        let answers = answers(&worker.services.models, &detector, &wish, wanted.as_slice())?;
        Ok(match wanted {
            Wanted::One(_) => answers.into_iter().next().unwrap_or_default(),
            Wanted::Batch(_) => Value::Array(answers),
        })
    };
    watched(&app, work, |answer| Json(answer).into_response()).await
}

/// Tasks whose models this build cannot run: says so, after the model was looked up.
async fn other_task(
    State(app): Shared,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    let path = request.uri().path().to_owned();
    let object = with_id(&app, request).await?;
    let (wish, _) = read_wish(&app, &headers, &object)?;
    let worker = app.clone();
    let work = move || -> Result<Value, Rejection> {
        let task = worker
            .services
            .models
            .task_for(&wish.model, wish.api_key.as_ref())?;
        Err(not_in_this_build(&format!("{task} at {path}")))
    };
    watched(&app, work, |answer| Json(answer).into_response()).await
}

/// 501 for what this build cannot run.
pub fn not_in_this_build(what: &str) -> Rejection {
    let text =
        format!("{what} is not in this build; object detection is, at /infer/object_detection");
    Rejection::message(StatusCode::NOT_IMPLEMENTED, text)
}

/// `countinference=false` is for those who know the service's secret; here nobody does.
fn count_inference(query: &HashMap<String, String>) -> Result<(), Rejection> {
    let off = |text: &String| lax_flag(&Value::from(text.as_str())) == Ok(false);
    match query.get("countinference").is_some_and(off) {
        true => Err(Rejection::message(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Service misconfiguration.",
        )),
        false => Ok(()),
    }
}

/// Does work in its turn and names the models it used on the answer.
pub async fn watched<T: Send + 'static>(
    app: &App,
    work: impl FnOnce() -> Result<T, Rejection> + Send + 'static,
    respond: impl FnOnce(T) -> Response,
) -> Result<Response, Rejection> {
    let (done, uses) = app.work(move || Ok(usage::watch(work))).await?;
    let mut response = match done {
        Ok(done) => respond(done),
        Err(refused) => refused.into_response(),
    };
    response.extensions_mut().insert(Used(uses));
    Ok(response)
}

/// One answer per image.
fn answers(
    models: &ModelStore,
    detector: &Detector,
    wish: &Wish,
    images: &[Image],
) -> Result<Vec<Value>, Rejection> {
    let begun = Instant::now();
    let found = detector.detect(images, &wish.params)?;
    let resolved = resolved(models, detector);
    let seconds = begun.elapsed().as_secs_f64() / images.len().max(1) as f64;
    images
        .iter()
        .zip(&found)
        .map(|(image, found)| {
            let mut answer = Map::new();
            if let Some(drawing) = wish.drawing {
                let jpeg = picture::draw(image, found, drawing.labels, drawing.stroke)?;
                answer.insert("visualization".into(), images::encoded(&jpeg).into());
            }
            answer.insert("inference_id".into(), wish.id.as_str().into());
            answer.insert("time".into(), seconds.into());
            answer.insert("resolved_model".into(), resolved.clone());
            let (width, height) = (image.width(), image.height());
            answer.insert("image".into(), json!({"width": width, "height": height}));
            answer.insert("predictions".into(), predictions(found));
            Ok(Value::Object(answer))
        })
        .collect()
}

/// Which package answered: the platform's id, or the folder of a package of this machine.
fn resolved(models: &ModelStore, detector: &Detector) -> Value {
    let id = &**detector.id();
    let rows = models.registry_rows();
    let row = rows.iter().find(|row| row.model_id == id);
    let folder = detector.weights().path.parent().and_then(|f| f.file_name());
    let package = row.and_then(|row| row.package_id.clone());
    json!({
        "model_id": id,
        "model_package_id": package.or_else(|| Some(folder?.to_string_lossy().into_owned())),
        "backend": "onnx",
        // Packages of another precision are refused when they are loaded.
        "quantization": "fp32",
    })
}

/// Found objects: the centre and size of each box in pixels, score, class and an id.
fn predictions(found: &Detections) -> Value {
    let scores = found.confidence.as_deref();
    let classes = found.class_id.as_deref();
    let rows = found
        .xyxy
        .iter()
        .enumerate()
        .map(|(row, [x1, y1, x2, y2])| {
            json!({
                "x": (x1 + x2) / 2.0,
                "y": (y1 + y2) / 2.0,
                "width": x2 - x1,
                "height": y2 - y1,
                "confidence": scores.and_then(|all| all.get(row)),
                "class": found.class_name(row).map(|name| &**name),
                "class_id": classes.and_then(|all| all.get(row)),
                "detection_id": found.detection_id(row).map(|id| &**id),
            })
        });
    rows.collect()
}

/// What the body of the route by path holds.
enum Sent {
    /// A URL in the query.
    Url(String),
    /// A file of a form.
    File(Bytes),
    /// Base64.
    Text(Bytes),
}

async fn by_path(
    State(app): Shared,
    Path((project, version)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    if !app.settings.legacy_route {
        return Err(match *request.method() {
            Method::GET => Rejection::NotFound,
            _ => Rejection::MethodNotAllowed,
        });
    }
    let headers = request.headers().clone();
    let sent = sent(&app, &query, request).await?;
    count_inference(&query)?;
    let form = query
        .get("format")
        .map_or("json", String::as_str)
        .to_owned();
    if !["json", "image", "image_and_json"].contains(&form.as_str()) {
        return Err(Rejection::bad_request(
            "the query parameter `format` must be json, image or image_and_json",
        ));
    }
    let wish = wish_of_query(
        &app,
        &headers,
        format!("{project}/{version}"),
        &query,
        form != "json",
    );
    let worker = app.clone();
    let picture_only = form == "image";
    let work = move || {
        let detector = worker.detector(&wish.model, wish.api_key.as_ref())?;
        let pixels = match sent {
            Sent::Url(url) => images::by_url(&url, &worker.input)?,
            Sent::File(bytes) => images::by_bytes(&bytes, &worker.input)?,
            Sent::Text(text) => images::by_body(&text, &worker.input)?,
        };
        let image = [Image::new(pixels, "image".into())];
        if let (true, Some(drawing)) = (picture_only, wish.drawing) {
            let found = detector.detect(&image, &wish.params)?;
            let empty = Detections::empty();
            let found = found.first().unwrap_or(&empty);
            let jpeg = picture::draw(&image[0], found, drawing.labels, drawing.stroke)?;
            return Ok(Err(jpeg));
        }
        let answer = answers(&worker.services.models, &detector, &wish, &image)?;
        Ok(Ok(answer.into_iter().next().unwrap_or_default()))
    };
    let respond = |answer: Result<Value, Vec<u8>>| match answer {
        Ok(json) => Json(json).into_response(),
        Err(jpeg) => {
            let kind = HeaderValue::from_static("image/jpeg");
            ([(CONTENT_TYPE, kind)], jpeg).into_response()
        }
    };
    watched(&app, work, respond).await
}

async fn sent(
    app: &App,
    query: &HashMap<String, String>,
    request: Request<Body>,
) -> Result<Sent, Rejection> {
    if let Some(url) = query.get("image") {
        return Ok(Sent::Url(url.clone()));
    }
    let kind = body::media_type(request.headers());
    let Some(kind) = kind else {
        return Err(Rejection::bad_request(
            "Content-Type header not provided with request.",
        ));
    };
    let (parts, body) = request.into_parts();
    let bytes = body::read(&parts.headers, body, app.settings.body).await?;
    if kind != "multipart/form-data" {
        return Ok(Sent::Text(bytes));
    }
    let request = Request::from_parts(parts, Body::from(bytes));
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(Rejection::image)?;
    while let Some(part) = form.next_field().await.map_err(Rejection::image)? {
        if part.name() == Some("file") {
            return part.bytes().await.map(Sent::File).map_err(Rejection::image);
        }
    }
    Err(Rejection::image(
        "Expected image to be send in part named 'file' of multipart/form-data request",
    ))
}

/// What the query of the route by path asks for. Shares from 1 on count as per cent.
fn wish_of_query(
    app: &App,
    headers: &HeaderMap,
    model: String,
    query: &HashMap<String, String>,
    draw: bool,
) -> Wish {
    let number = |name: &str| {
        query
            .get(name)
            .and_then(|text| text.trim().parse::<f64>().ok())
    };
    let share = |name: &str, default: f64| {
        let value = number(name).unwrap_or(default);
        if value >= 1.0 { value / 100.0 } else { value }
    };
    let flag = |name: &str| {
        let value = query.get(name).map(|text| Value::from(text.as_str()));
        value.is_some_and(|value| lax_flag(&value) == Ok(true))
    };
    let classes = query.get("classes").filter(|list| !list.is_empty());
    let key = query.get("api_key").map(String::as_str);
    Wish {
        model,
        params: DetectParams {
            confidence: Confidence::Value(share("confidence", 0.4).max(0.01)),
            iou_threshold: share("overlap", 0.3),
            max_detections: number("max_detections").map_or(300, |n| n.max(0.0) as usize),
            class_agnostic_nms: flag("class_agnostic_nms"),
            class_filter: classes.map(|list| list.split(',').map(Arc::from).collect()),
        },
        drawing: draw.then(|| Drawing {
            labels: flag("labels"),
            stroke: stroke(number("stroke").map(|n| n as i64)),
        }),
        id: Uuid::new_v4().to_string(),
        api_key: caller::api_key(headers, app.settings.keys_from_headers, key),
    }
}

impl App {
    /// The detection model of an id.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn detector(&self, id: &str, key: Option<&ApiKey>) -> Result<Arc<Detector>, Rejection> {
        Ok(self.services.models.detector_for(id, key)?)
    }
}
