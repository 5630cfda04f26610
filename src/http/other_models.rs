//! Routes of model families that this build cannot run. The model is looked up all the same, so that
//! a client learns first whether the platform has it for its key, and then that it cannot run here.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Path, State};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Map, Value};

use super::app::App;
use super::fields::Fields;
use super::infer::{not_in_this_build, watched};
use super::rejection::Rejection;
use super::table::Route;
use super::{body, caller};
use crate::models::usage;

/// How a family names its model: the field of the version, the prefix of the id, and the default.
struct Family {
    path: &'static str,
    summary: &'static str,
    field: &'static str,
    prefix: &'static str,
    default: &'static str,
    /// Whether the platform serves the family's models only to a service that knows its secret.
    guarded: bool,
}

const fn family(
    path: &'static str,
    summary: &'static str,
    [field, prefix, default]: [&'static str; 3],
) -> Family {
    Family {
        path,
        summary,
        field,
        prefix,
        default,
        guarded: false,
    }
}

const fn guarded(family: Family) -> Family {
    Family {
        guarded: true,
        ..family
    }
}

const CLIP: [&str; 3] = ["clip_version_id", "clip/", "ViT-B-16"];
const PERCEPTION: [&str; 3] = [
    "perception_encoder_version_id",
    "perception_encoder/",
    "PE-Core-L14-336",
];
const SAM: [&str; 3] = ["sam_version_id", "sam/", "vit_h"];
const SAM2: [&str; 3] = ["sam2_version_id", "sam2/", "hiera_large"];
const SAM3: [&str; 3] = ["model_id", "", "sam3/sam3_final"];
const BY_ID: [&str; 3] = ["model_id", "", ""];

/// The families, as section 1.4 of the server specification lists them.
const FAMILIES: &[Family] = &[
    family("/clip/embed_image", "Embed images", CLIP),
    family("/clip/embed_text", "Embed texts", CLIP),
    family("/clip/compare", "Compare images and texts", CLIP),
    family(
        "/perception_encoder/embed_image",
        "Embed images",
        PERCEPTION,
    ),
    family("/perception_encoder/embed_text", "Embed texts", PERCEPTION),
    family(
        "/perception_encoder/compare",
        "Compare images and texts",
        PERCEPTION,
    ),
    family(
        "/doctr/ocr",
        "Read text",
        ["doctr_version_id", "doctr/", "default"],
    ),
    family(
        "/ocr/trocr",
        "Read text",
        ["trocr_version_id", "trocr/", "trocr-base-printed"],
    ),
    family(
        "/easy_ocr/ocr",
        "Read text",
        ["easy_ocr_version_id", "easy_ocr/", "english_g2"],
    ),
    family(
        "/ocr/pp-ocr",
        "Read text",
        ["pp_ocr_version_id", "pp-ocr/", "default"],
    ),
    guarded(family(
        "/yolo_world/infer",
        "Find objects by their names",
        ["yolo_world_version_id", "yolo_world/", "l"],
    )),
    family(
        "/grounding_dino/infer",
        "Find objects by their descriptions",
        ["grounding_dino_version_id", "grounding_dino/", "default"],
    ),
    family("/sam/embed_image", "Embed images for segmentation", SAM),
    family("/sam/segment_image", "Segment images", SAM),
    family("/sam2/embed_image", "Embed images for segmentation", SAM2),
    family("/sam2/segment_image", "Segment images", SAM2),
    guarded(family("/sam3/concept_segment", "Segment concepts", SAM3)),
    guarded(family(
        "/sam3/visual_segment",
        "Segment by points and boxes",
        SAM3,
    )),
    guarded(family(
        "/sam3/embed_image",
        "Embed images for segmentation",
        SAM3,
    )),
    family("/infer/lmm", "Ask a vision language model", BY_ID),
    family(
        "/infer/lmm/{model_id}",
        "Ask a vision language model",
        BY_ID,
    ),
    family("/infer/depth-estimation", "Estimate depth", BY_ID),
    family(
        "/infer/depth-estimation/{model_id}",
        "Estimate depth",
        BY_ID,
    ),
    family("/infer/embeddings", "Embed images", BY_ID),
    family("/infer/action_recognition", "Recognise actions", BY_ID),
    family(
        "/gaze/gaze_detection",
        "Detect gazes",
        ["gaze_version_id", "gaze/", "L2CS"],
    ),
];

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let route = |f: &Family| Route::new("Other models", "POST", f.path, f.summary, post(look_up));
    FAMILIES.iter().map(route).collect()
}

/// The id of the model that a request means.
fn meant(
    family: &Family,
    in_path: Option<&String>,
    object: &Map<String, Value>,
) -> Result<String, Rejection> {
    if let Some(id) = in_path {
        return Ok(id.clone());
    }
    let mut fields = Fields::of(object);
    let named = match family.default {
        "" => fields.required_text(family.field),
        default => fields.text(family.field).or(Some(default)),
    };
    let id = named.map(|name| format!("{}{name}", family.prefix));
    fields.finish()?;
    Ok(id.unwrap_or_default())
}

async fn look_up(
    State(app): State<Arc<App>>,
    path: MatchedPath,
    Path(in_path): Path<std::collections::HashMap<String, String>>,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    let family = FAMILIES.iter().find(|family| family.path == path.as_str());
    let family = family.ok_or(Rejection::NotFound)?;
    let object = body::object(request, app.settings.body).await?;
    let id = meant(family, in_path.get("model_id"), &object)?;
    let key = object.get("api_key").and_then(Value::as_str);
    let key = caller::api_key(&headers, app.settings.keys_from_headers, key);
    let worker = app.clone();
    let work = move || -> Result<(), Rejection> {
        usage::note(&id, None);
        match worker.services.models.task_for(&id, key.as_ref()) {
            Ok(_) => Err(not_in_this_build(family.path)),
            Err(error) if family.guarded && error.status() == 404 => Err(Rejection::message(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Service misconfiguration.",
            )),
            Err(error) => Err(error.into()),
        }
    };
    watched(&app, work, IntoResponse::into_response).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(path: &str, body: Value) -> Result<String, Rejection> {
        let family = FAMILIES.iter().find(|family| family.path == path).unwrap();
        meant(family, None, body.as_object().unwrap())
    }

    #[test]
    fn a_family_names_its_model_by_its_own_field() {
        let named = id(
            "/sam2/segment_image",
            json!({"sam2_version_id": "hiera_tiny"}),
        );
        assert_eq!(named.unwrap(), "sam2/hiera_tiny");
        assert_eq!(id("/clip/compare", json!({})).unwrap(), "clip/ViT-B-16");
        let missing = id("/infer/lmm", json!({})).unwrap_err();
        assert_eq!(
            missing.body()["detail"][0]["loc"],
            json!(["body", "model_id"])
        );
    }
}
