//! Writing outputs: a [`Value`] to JSON by the kinds that the output declares (engine specification
//! 8.5 and 9).
//!
//! The kinds that have a writer are tried in the order declared and the first that succeeds wins.
//! A kind without one passes the value as it is: tuples and arrays become lists, bytes base64,
//! times ISO text, NaN and infinities `null`; whole numbers stay whole and floats keep their point.

mod detections;

use serde_json::{Map, Number, Value as Json, json};

use super::base64_text::encode_base64;
use super::codec::{CodecError, encode_jpeg, encode_png};
use super::python::to_str;
use super::{Array, Image, Origin, Timestamp, Value, VideoMetadata, kind};

/// How images are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// JPEG of a quality from 1 to 100.
    Jpeg {
        /// The quality.
        quality: u8,
    },
    /// PNG, without loss: the pixels as steps saw them, also of images that came as base64.
    Png,
}

impl Default for ImageFormat {
    fn default() -> Self {
        Self::Jpeg { quality: 95 }
    }
}

/// How outputs are written.
#[derive(Clone, Copy, Debug)]
pub struct OutputOptions {
    /// How images are encoded. In the JPEG form one that came as base64 and is unchanged goes back
    /// as it came.
    pub image_format: ImageFormat,
    /// The time in the metadata of images that bring none.
    pub now: Timestamp,
}

impl OutputOptions {
    /// The usual way, at the time `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            image_format: ImageFormat::default(),
            now,
        }
    }
}

/// Why a value cannot be written as a kind.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The value is of another type.
    #[error("want {wanted}, got {got}")]
    Type {
        /// What the kind asks for.
        wanted: &'static str,
        /// The type that came.
        got: &'static str,
    },
    /// Boxes lack something that must be written.
    #[error("the boxes have no {0}")]
    Lacking(&'static str),
    /// Boxes lack run-length masks.
    #[error("the boxes have no column `rle_mask`")]
    NoRunLengths,
    /// A column holds something else than it should.
    #[error("column `{column}` holds {got} in row {row}")]
    Cell {
        /// The column.
        column: &'static str,
        /// The row.
        row: usize,
        /// The type that is there.
        got: &'static str,
    },
    /// The type has no JSON form.
    #[error("a value of type {0} has no JSON form")]
    NoForm(&'static str),
    /// The image cannot be encoded.
    #[error(transparent)]
    Image(#[from] CodecError),
}

/// A value fits none of the kinds that its output declares.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.reasons())]
pub struct SerialiseError {
    /// The kinds tried, and why each failed.
    pub attempts: Vec<(String, Unfit)>,
}

impl SerialiseError {
    fn reasons(&self) -> String {
        let each = self
            .attempts
            .iter()
            .map(|(kind, cause)| format!("not of kind `{kind}` ({cause})"));
        each.collect::<Vec<_>>().join(", ")
    }
}

/// Writes a value by the first of `kinds` that fits.
pub fn serialise(
    kinds: &[impl AsRef<str>],
    value: &Value,
    options: &OutputOptions,
) -> Result<Json, SerialiseError> {
    if value.is_none() {
        return Ok(Json::Null);
    }
    let mut attempts = Vec::new();
    let mut may_pass = kinds.is_empty();
    for kind in kinds.iter().map(AsRef::as_ref) {
        match write(kind, value, options) {
            None => may_pass = true,
            Some(Ok(json)) => return Ok(json),
            Some(Err(cause)) => attempts.push((kind.to_owned(), cause)),
        }
    }
    if may_pass {
        return walk(value, options).map_err(|cause| SerialiseError {
            attempts: vec![(kind::WILDCARD.to_owned(), cause)],
        });
    }
    // Where the reference fails for want of run-length masks there simply are none (Q19).
    if let Value::Detections(set) = value
        && attempts
            .iter()
            .any(|(_, cause)| matches!(cause, Unfit::NoRunLengths))
    {
        return Ok(json!({"image": detections::image_size(set), "predictions": []}));
    }
    Err(SerialiseError { attempts })
}

/// The JSON by one kind; `None` if the kind has no writer.
fn write(kind: &str, value: &Value, options: &OutputOptions) -> Option<Result<Json, Unfit>> {
    Some(match kind {
        kind::IMAGE => match value {
            Value::Image(picture) => image(picture, options),
            other => Err(unfit("an image", other)),
        },
        kind::VIDEO_METADATA => match value {
            Value::Video(facts) => Ok(video(facts)),
            other => Err(unfit("video metadata", other)),
        },
        kind::OBJECT_DETECTION
        | kind::INSTANCE_SEGMENTATION
        | kind::KEYPOINT_DETECTION
        | kind::QR_CODE_DETECTION
        | kind::BAR_CODE_DETECTION => boxes(value, false, options),
        kind::RLE_INSTANCE_SEGMENTATION | kind::SEMANTIC_SEGMENTATION => {
            boxes(value, true, options)
        }
        kind::ACTION_RECOGNITION => match value.as_slice() {
            Some(_) => walk(value, options),
            None => Err(unfit("a list", value)),
        },
        kind::SECRET => Ok(Json::String(masked(&to_str(value)))),
        kind::TIMESTAMP => match value {
            Value::Timestamp(time) => Ok(Json::String(time.isoformat())),
            other => Err(unfit("a time", other)),
        },
        kind::WILDCARD | kind::DETECTIONS_OVERLAPS => walk(value, options),
        _ => return None,
    })
}

fn unfit(wanted: &'static str, value: &Value) -> Unfit {
    Unfit::Type {
        wanted,
        got: value.type_name(),
    }
}

fn boxes(value: &Value, as_rle: bool, options: &OutputOptions) -> Result<Json, Unfit> {
    match value {
        Value::Detections(set) => detections::detections(set, as_rle, options),
        other => Err(unfit("boxes", other)),
    }
}

/// The JSON form that a value has by its own type.
fn walk(value: &Value, options: &OutputOptions) -> Result<Json, Unfit> {
    Ok(match value {
        Value::None => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(i) => Json::from(*i),
        Value::BigInt(i) => match Number::from_i128(**i) {
            Some(number) => Json::Number(number),
            None => Json::from(**i as f64),
        },
        Value::Float(x) => Json::from(*x),
        Value::Str(text) => Json::from(&**text),
        Value::Bytes(bytes) => Json::String(encode_base64(bytes)),
        Value::List(items) | Value::Tuple(items) => list(items, options)?,
        Value::Batch(batch) => list(&batch.items, options)?,
        Value::Dict(entries) => Json::Object(
            entries
                .iter()
                .map(|(key, value)| Ok((key.to_string(), walk(value, options)?)))
                .collect::<Result<_, Unfit>>()?,
        ),
        Value::Image(picture) => image(picture, options)?,
        Value::Video(facts) => video(facts),
        Value::Detections(set) => detections::detections(set, false, options)?,
        Value::Detection(_) => return Err(Unfit::NoForm(value.type_name())),
        Value::Timestamp(time) => Json::String(time.isoformat()),
        Value::Array(array) => nested(array, 0, &mut array.data.iter()),
    })
}

fn list(items: &[Value], options: &OutputOptions) -> Result<Json, Unfit> {
    items.iter().map(|item| walk(item, options)).collect()
}

/// The lists of an array from one axis on; takes its numbers from `data`.
fn nested(array: &Array, axis: usize, data: &mut std::slice::Iter<'_, f64>) -> Json {
    match array.shape.get(axis) {
        Some(&length) => (0..length).map(|_| nested(array, axis + 1, data)).collect(),
        None => match data.next() {
            Some(&x) if array.integer => Json::from(x as i64),
            Some(&x) => Json::from(x),
            None => Json::Null,
        },
    }
}

/// An image with its frame and, if it was cut from another, its place there.
fn image(image: &Image, options: &OutputOptions) -> Result<Json, Unfit> {
    let text = match (options.image_format, image.entered_as()) {
        (ImageFormat::Jpeg { .. }, Some(text)) => text.to_string(),
        (ImageFormat::Jpeg { quality }, None) => {
            encode_base64(&encode_jpeg(image.pixels(), quality)?)
        }
        (ImageFormat::Png, _) => encode_base64(&encode_png(image.pixels())?),
    };
    let mut json = Map::new();
    json.insert("type".to_owned(), Json::from("base64"));
    json.insert("value".to_owned(), Json::String(text));
    let facts = image.video_or_synthetic(options.now);
    json.insert("video_metadata".to_owned(), video(&facts));
    let (parent, root) = (image.parent(), image.root());
    if parent.id != root.id {
        for (id, place, other) in [
            ("parent_id", "parent_origin", parent),
            ("root_parent_id", "root_parent_origin", root),
        ] {
            json.insert(id.to_owned(), Json::from(&*other.id));
            json.insert(place.to_owned(), origin(other));
        }
    }
    Ok(Json::Object(json))
}

fn origin(place: &Origin) -> Json {
    place_json(place.x, place.y, place.width, place.height)
}

fn place_json(x: i64, y: i64, width: i64, height: i64) -> Json {
    json!({"offset_x": x, "offset_y": y, "width": width, "height": height})
}

fn video(facts: &VideoMetadata) -> Json {
    json!({
        "video_identifier": &*facts.video_identifier,
        "frame_number": facts.frame_number,
        "frame_timestamp": facts.frame_timestamp.isoformat(),
        "fps": facts.fps,
        "measured_fps": facts.measured_fps,
        "comes_from_video_file": facts.comes_from_video_file,
        "total_frames": facts.total_frames,
    })
}

/// Confidential text with all but its ends hidden; nothing of it shows if it is short.
fn masked(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let n = characters.len();
    if n < 8 {
        return "*".repeat(8);
    }
    let ends = |part: &[char]| part.iter().collect::<String>();
    format!(
        "{}********{}",
        ends(&characters[..2]),
        ends(&characters[n - 2..])
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::codec::decode_image_text;
    use super::super::{Detections, Matrix};
    use super::*;

    fn options() -> OutputOptions {
        OutputOptions::new(Timestamp::parse("2024-05-01T10:00:00").unwrap())
    }

    fn by(kinds: &[&str], value: impl Into<Value>) -> Result<Json, SerialiseError> {
        serialise(kinds, &value.into(), &options())
    }

    #[test]
    fn plain_values_keep_their_type() {
        let mixed = Value::list(vec![
            1i64.into(),
            1.0.into(),
            f64::NAN.into(),
            Value::tuple(vec![true.into(), Value::None]),
            Value::Bytes(b"hi".as_slice().into()),
            Value::Timestamp(Timestamp::parse("2024-05-01T10:00:00Z").unwrap()),
            Value::Array(Arc::new(Array::integers(vec![2, 1], vec![3.0, 4.0]))),
            Value::Array(Arc::new(Array::floats(vec![2], vec![3.0, f64::INFINITY]))),
        ]);
        let text =
            r#"[1,1.0,null,[true,null],"aGk=","2024-05-01T10:00:00+00:00",[[3],[4]],[3.0,null]]"#;
        for kinds in [&["*"][..], &["list_of_values"], &[]] {
            assert_eq!(by(kinds, mixed.clone()).unwrap().to_string(), text);
        }
        assert_eq!(by(&["image"], Value::None).unwrap(), Json::Null);
    }

    #[test]
    fn a_kind_with_a_writer_goes_before_passing_and_failing_comes_last() {
        let secret = Value::str("abcdefghij");
        assert_eq!(
            by(&["string", "secret"], secret.clone()).unwrap(),
            "ab********ij"
        );
        assert_eq!(by(&["image", "string"], secret).unwrap(), "abcdefghij");
        assert_eq!(by(&["secret"], "short").unwrap(), "********");
        let error = by(&["image", "timestamp"], "x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "not of kind `image` (want an image, got str), not of kind `timestamp` (want a time, got str)"
        );
    }

    #[test]
    fn an_unchanged_base64_image_goes_back_as_it_came() {
        let image = Image::new(Matrix::filled(4, 3, &[1, 2, 3]), "cam".into());
        let came = image.with_entered_as("data:image/png;base64,AAA".into());
        let json = by(&["image"], came.clone()).unwrap();
        assert_eq!(json["value"], "data:image/png;base64,AAA");
        assert_eq!(json["video_metadata"]["video_identifier"], "cam");
        assert_eq!(
            json["video_metadata"]["frame_timestamp"],
            "2024-05-01T10:00:00"
        );
        assert!(json.get("parent_id").is_none());
        let changed = came.with_pixels(Matrix::filled(4, 3, &[9, 9, 9]));
        let json = by(&["image"], changed).unwrap();
        assert!(json["value"].as_str().unwrap().starts_with("/9j/"));
    }

    #[test]
    fn the_png_form_shows_the_pixels_of_every_image() {
        let image = Image::new(Matrix::filled(4, 3, &[1, 2, 3]), "cam".into());
        let png = OutputOptions {
            image_format: ImageFormat::Png,
            ..options()
        };
        let came = image.with_entered_as("data:image/png;base64,AAA".into());
        let json = serialise(&["image"], &came.into(), &png).unwrap();
        let pixels = decode_image_text(json["value"].as_str().unwrap(), 100).unwrap();
        assert_eq!(pixels, Matrix::filled(4, 3, &[1, 2, 3]));
    }

    #[test]
    fn a_crop_tells_its_place() {
        let image = Image::new(Matrix::filled(40, 30, &[0; 3]), "cam".into());
        let crop = image.cropped(Matrix::filled(4, 3, &[0; 3]), "d0".into(), 10, 6, false);
        let json = by(&["*"], Value::list(vec![crop.into()])).unwrap();
        assert_eq!(json[0]["parent_id"], "d0");
        assert_eq!(json[0]["parent_origin"], place_json(10, 6, 40, 30));
        assert_eq!(json[0]["root_parent_id"], "cam");
        assert_eq!(json[0]["video_metadata"]["video_identifier"], "d0");
        let keys: Vec<&String> = json[0].as_object().unwrap().keys().collect();
        assert_eq!(keys[..3], ["type", "value", "video_metadata"]);
    }

    #[test]
    fn without_run_lengths_there_are_no_predictions() {
        let json = by(
            &["rle_instance_segmentation_prediction"],
            Detections::default(),
        )
        .unwrap();
        assert_eq!(
            json,
            json!({"image": {"width": null, "height": null}, "predictions": []})
        );
    }
}
