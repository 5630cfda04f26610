//! Reading batch inputs: JSON to a [`Value`] by the kinds that the input declares (engine
//! specification 9.4).
//!
//! The kinds that have a reader are tried in the order declared and the first that succeeds wins;
//! without any the JSON passes as it is. `null` is never read, so callers keep it out.

mod detections;
mod images;
mod key_points;
mod masks;
mod prefetch;
mod scalars;
mod structures;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::Value as Json;

use super::base64_text::NotBase64;
use super::codec::{CodecError, DEFAULT_MAX_PIXELS};
use super::{Value, kind};

/// Fetches images that a client names by URL, and decides which URLs are allowed.
pub trait ImageLoader: Send + Sync {
    /// The bytes behind a URL of any scheme. May block.
    ///
    /// # Errors
    /// Why there are none, without the URL and without secrets.
    fn load(&self, url: &str) -> Result<Bytes, String>;

    /// The bytes behind several URLs, in their order. May give up on all after the first that fails.
    fn load_all(&self, urls: &[&str]) -> Vec<Result<Bytes, String>> {
        urls.iter().map(|url| self.load(url)).collect()
    }
}

/// What inputs may hold.
#[derive(Clone)]
pub struct InputOptions {
    /// Who fetches URLs; without one they are refused.
    pub loader: Option<Arc<dyn ImageLoader>>,
    /// Whether text may name an image file of this machine.
    pub local_files: bool,
    /// Pixels that one image or one mask may have.
    pub max_pixels: u64,
    /// Pixels that all of them may have together.
    pub budget: PixelBudget,
}

/// Images and masks of the greatest size that one run may bring: small files can hold many pixels, and
/// a request can hold many small files.
const LARGEST_IMAGES: u64 = 5;

/// Pixels that may still be read; without end unless [`InputOptions::for_one_run`] says otherwise.
#[derive(Clone, Debug, Default)]
pub struct PixelBudget(Option<Arc<AtomicU64>>);

impl PixelBudget {
    /// Takes away what was read.
    ///
    /// # Errors
    /// If that is more than is left.
    // Newer compilers call it `try_update`, which the oldest supported one does not know.
    #[allow(deprecated)]
    pub(crate) fn spend(&self, pixels: usize) -> Result<(), Mismatch> {
        let Some(left) = &self.0 else {
            return Ok(());
        };
        let pixels = pixels as u64;
        let spent = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(pixels)
        });
        spent.map(drop).map_err(|_| {
            Mismatch::Refused(
                "the images and masks of one run have too many pixels in all; send fewer at a time"
                    .to_owned(),
            )
        })
    }
}

impl InputOptions {
    /// The same options with a bound on the pixels of all images and masks that are read with them.
    #[must_use]
    pub fn for_one_run(self) -> Self {
        let pixels = self.max_pixels.saturating_mul(LARGEST_IMAGES);
        Self {
            budget: PixelBudget(Some(Arc::new(AtomicU64::new(pixels)))),
            ..self
        }
    }

    /// Options of a service for others: images by URL through `loader`, no files of this machine.
    pub fn remote(loader: Arc<dyn ImageLoader>) -> Self {
        Self {
            loader: Some(loader),
            ..Self::default()
        }
    }
}

impl Default for InputOptions {
    fn default() -> Self {
        Self {
            loader: None,
            local_files: false,
            max_pixels: DEFAULT_MAX_PIXELS,
            budget: PixelBudget::default(),
        }
    }
}

/// Why a JSON value is not of a kind.
#[derive(Debug, thiserror::Error)]
pub enum Mismatch {
    /// The value has another JSON type.
    #[error("want {wanted}, got {got}")]
    Type {
        /// What the kind asks for.
        wanted: &'static str,
        /// What came.
        got: &'static str,
    },
    /// A value has the right type and is still not allowed.
    #[error("{0}")]
    Refused(String),
    /// An object lacks a field.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// Something inside the value is wrong.
    #[error("{place}: {cause}")]
    Inside {
        /// Where.
        place: String,
        /// What is wrong there.
        cause: Box<Mismatch>,
    },
    /// The image cannot be decoded.
    #[error("no usable WorkflowImage: {0}")]
    Image(#[from] CodecError),
    /// The image that a URL or a path names cannot be had, or not be decoded.
    #[error("no usable WorkflowImage: {0}")]
    Fetch(String),
    /// The text is not base64.
    #[error(transparent)]
    NotBase64(#[from] NotBase64),
}

impl Mismatch {
    fn is_of_image(&self) -> bool {
        match self {
            Self::Image(_) | Self::Fetch(_) => true,
            Self::Inside { cause, .. } => cause.is_of_image(),
            _ => false,
        }
    }
}

/// A value is of none of the kinds that its input declares.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.reasons())]
pub struct DeserialiseError {
    /// The kinds tried, and why each failed.
    pub attempts: Vec<(String, Mismatch)>,
}

impl DeserialiseError {
    fn reasons(&self) -> String {
        let each = self
            .attempts
            .iter()
            .map(|(kind, cause)| format!("not of kind `{kind}` ({cause})"));
        each.collect::<Vec<_>>().join(", ")
    }

    /// Why each kind failed, a line each, as clients of the reference know it.
    pub fn by_kind(&self, identifier: &str) -> String {
        let each = self.attempts.iter().map(|(kind, cause)| {
            let what = match cause {
                Mismatch::Image(_) | Mismatch::Fetch(_) => format!(
                    "Detected runtime parameter `{identifier}` defined as `WorkflowImage` that is \
                     invalid. Failed on input validation. Details: "
                ),
                Mismatch::Inside { place, .. } if place.contains("video_metadata") => format!(
                    "Detected runtime parameter `{identifier}` holding `WorkflowVideoMetadata`, but \
                     provided value is malformed. See details in inner error. Details: "
                ),
                _ => String::new(),
            };
            format!("\nKind: `{kind}` - Error: {what}{cause}")
        });
        each.collect()
    }

    /// Name of the class under which clients know the failure.
    pub fn class_name(&self) -> &'static str {
        if self.attempts.iter().any(|(_, cause)| cause.is_of_image()) {
            "InputImageLoadError"
        } else {
            "InvalidInputTypeError"
        }
    }
}

/// Reads a value by the first of `kinds` that fits. `identifier` names the element, for instance
/// `image.[0]`: it becomes the id of images and the parent of boxes that bring none.
pub fn deserialise(
    kinds: &[String],
    json: &Json,
    identifier: &str,
    options: &InputOptions,
) -> Result<Value, DeserialiseError> {
    let mut attempts = Vec::new();
    for kind in kinds {
        match read(kind, json, identifier, options) {
            None => {}
            Some(Ok(value)) => return Ok(value),
            Some(Err(cause)) => attempts.push((kind.clone(), cause)),
        }
    }
    if attempts.is_empty() {
        return Ok(Value::from_json(json));
    }
    Err(DeserialiseError { attempts })
}

/// The value by one kind; `None` if the kind has no reader.
fn read(
    kind: &str,
    json: &Json,
    identifier: &str,
    options: &InputOptions,
) -> Option<Result<Value, Mismatch>> {
    Some(match kind {
        kind::IMAGE => images::image(json, identifier, options),
        kind::VIDEO_METADATA => images::video_metadata(json).map(|v| Value::Video(Arc::new(v))),
        kind::OBJECT_DETECTION
        | kind::INSTANCE_SEGMENTATION
        | kind::KEYPOINT_DETECTION
        | kind::QR_CODE_DETECTION
        | kind::BAR_CODE_DETECTION => detections::detections(json, identifier, false, options),
        kind::RLE_INSTANCE_SEGMENTATION | kind::SEMANTIC_SEGMENTATION => {
            detections::detections(json, identifier, true, options)
        }
        kind::CLASSIFICATION => structures::classification(json, identifier),
        kind::ACTION_RECOGNITION => structures::actions(json),
        kind::INTEGER => scalars::integer(json),
        kind::FLOAT => scalars::float(json),
        kind::FLOAT_ZERO_TO_ONE => scalars::share(json),
        kind::BOOLEAN => scalars::boolean(json),
        kind::TOP_CLASS
        | kind::STRING
        | kind::LANGUAGE_MODEL_OUTPUT
        | kind::PREDICTION_TYPE
        | kind::PARENT_ID
        | kind::INFERENCE_ID
        | kind::ROBOFLOW_MODEL_ID
        | kind::ROBOFLOW_PROJECT
        | kind::ROBOFLOW_SOLUTION => scalars::text(json),
        kind::ROBOFLOW_API_KEY | kind::ROBOFLOW_MANAGED_KEY => scalars::credential(json),
        kind::BYTES => scalars::bytes(json),
        kind::TIMESTAMP => scalars::timestamp(json),
        kind::LIST_OF_VALUES | kind::DETECTIONS_OVERLAPS => structures::list(json),
        kind::DICTIONARY => structures::object(json),
        kind::POINT => structures::point(json),
        kind::LABELED_POINTS => structures::labeled_points(json),
        kind::ZONE => structures::zone(json),
        kind::RGB_COLOR => structures::color(json),
        kind::NUMPY_ARRAY => structures::array(json),
        _ => return None,
    })
}

/// What a JSON value is, in words for messages.
fn in_words(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(n) if n.is_f64() => "a number with a fraction",
        Json::Number(_) => "a whole number",
        Json::String(_) => "text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

fn want(wanted: &'static str, json: &Json) -> Mismatch {
    Mismatch::Type {
        wanted,
        got: in_words(json),
    }
}

fn inside(place: impl Into<String>) -> impl FnOnce(Mismatch) -> Mismatch {
    move |cause| Mismatch::Inside {
        place: place.into(),
        cause: Box::new(cause),
    }
}

/// A field of an object that must be there.
fn field<'a>(
    object: &'a serde_json::Map<String, Json>,
    name: &'static str,
) -> Result<&'a Json, Mismatch> {
    object.get(name).ok_or(Mismatch::Missing(name))
}

/// A field of an object that must be there, read by `reader`.
fn read_field<'a, T>(
    object: &'a serde_json::Map<String, Json>,
    name: &'static str,
    reader: impl Fn(&'a Json) -> Result<T, Mismatch>,
) -> Result<T, Mismatch> {
    reader(field(object, name)?).map_err(inside(format!("field `{name}`")))
}

/// A field that may be absent or `null`, read by `reader`.
fn read_optional<'a, T>(
    object: &'a serde_json::Map<String, Json>,
    name: &'static str,
    reader: impl Fn(&'a Json) -> Result<T, Mismatch>,
) -> Result<Option<T>, Mismatch> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(json) => reader(json)
            .map(Some)
            .map_err(inside(format!("field `{name}`"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::Timestamp;
    use super::super::coordinates::to_root_deep;
    use super::super::serialise::{OutputOptions, serialise};
    use super::*;

    fn by(kinds: &[&str], json: Json) -> Result<Value, DeserialiseError> {
        let kinds: Vec<String> = kinds.iter().map(|k| (*k).to_owned()).collect();
        deserialise(&kinds, &json, "v", &InputOptions::default())
    }

    #[test]
    fn the_first_kind_that_fits_wins() {
        assert!(matches!(
            by(&["integer", "string"], json!(5)),
            Ok(Value::Int(5))
        ));
        assert!(matches!(
            by(&["integer", "string"], json!("5")),
            Ok(Value::Str(_))
        ));
        assert!(matches!(
            by(&["no_such_kind"], json!({"x": 1})),
            Ok(Value::Dict(_))
        ));
        assert!(matches!(by(&[], json!(1)), Ok(Value::Int(1))));
        assert!(matches!(by(&["*", "integer"], json!(2)), Ok(Value::Int(2))));
    }

    #[test]
    fn the_error_tells_the_reason_of_each_kind() {
        let error = by(&["integer", "string"], json!(5.5)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "not of kind `integer` (want a whole number, got a number with a fraction), \
             not of kind `string` (want text, got a number with a fraction)"
        );
        assert_eq!(error.class_name(), "InvalidInputTypeError");
        let image = by(&["image"], json!("AAAA")).unwrap_err();
        assert_eq!(image.class_name(), "InputImageLoadError");
        assert!(image.to_string().contains("WorkflowImage"));
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let key = prop::sample::select(vec![
            "image",
            "width",
            "height",
            "predictions",
            "x",
            "y",
            "confidence",
            "class",
            "class_id",
            "points",
            "rle",
            "rle_mask",
            "size",
            "counts",
            "keypoints",
            "tracker_id",
            "polygon",
            "parent_origin",
            "offset_x",
            "offset_y",
            "value",
            "top",
            "frame_number",
        ]);
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            (0..5i64).prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            "[ -~]{0,6}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 40, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
                prop::collection::vec((key.clone(), inner), 0..8)
                    .prop_map(|e| e.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
            ]
        })
    }

    /// A box set that is right but for two of its fields.
    fn nearly_boxes() -> impl Strategy<Value = Json> {
        let names = [
            "x",
            "points",
            "rle",
            "keypoints",
            "tracker_id",
            "polygon",
            "parent_origin",
        ];
        let fields =
            prop::collection::vec((prop::sample::select(names.to_vec()), any_json()), 0..3);
        (fields, 0..4i64, any_json()).prop_map(|(fields, side, size)| {
            let mut entry = json!({"x": 1, "y": 1, "width": side, "height": 2, "confidence": 0.5,
                "class": "a", "class_id": 0, "rle": {"size": [side, side], "counts": size},
                "points": [{"x": 0, "y": 0}, {"x": side, "y": 0}, {"x": 1e300, "y": -5}]});
            for (name, value) in fields {
                entry[name] = value;
            }
            json!({"image": {"width": side, "height": 3}, "predictions": [entry.clone(), entry]})
        })
    }

    proptest! {
        #[test]
        fn no_json_makes_a_reader_panic_and_what_is_read_can_be_moved_and_written(
            json in prop_oneof![any_json(), nearly_boxes()],
        ) {
            let now = Timestamp::from_unix_micros(0);
            for (kind, _, _) in kind::ALL {
                if let Ok(value) = by(&[kind], json.clone()) {
                    let _ = serialise(&[kind], &to_root_deep(&value), &OutputOptions::new(now));
                }
            }
        }
    }
}
