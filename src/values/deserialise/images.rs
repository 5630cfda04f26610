//! Readers of images and of the facts about their video frames (engine specification 9.5).
//!
//! An image is text, or an object whose `value` is text; what the text holds decides how it is
//! read, not the field `type`: with a scheme in front it is a URL. Pixels come as in
//! [`codec`](crate::values::codec); an image that came as base64 remembers its text, so that it can
//! be sent back unchanged.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::super::codec::{decode_image, decode_image_text};
use super::scalars::{lax_boolean, lax_integer, lax_moment, lax_number, string};
use super::structures::entries;
use super::{InputOptions, Mismatch, field, inside, read_field, read_optional, want};
use crate::redact::Redacted;
use crate::values::{Image, Matrix, Origin, Value, VideoMetadata};

/// Longest scheme that makes a text a URL.
const LONGEST_SCHEME: usize = 16;

pub(super) fn image(
    json: &Json,
    identifier: &str,
    options: &InputOptions,
) -> Result<Value, Mismatch> {
    let (text, facts) = match json {
        Json::String(text) => (text.as_str(), None),
        Json::Object(facts) => (read_field(facts, "value", payload)?, Some(facts)),
        other => return Err(want("an image as text or as an object", other)),
    };
    let empty = Map::new();
    let facts = facts.unwrap_or(&empty);
    // What is cheap to check is checked before the pixels are decoded.
    let video = match facts.get("video_metadata") {
        None => None,
        Some(json) => {
            let video = video_metadata(json).map_err(inside("field `video_metadata`"))?;
            Some(Arc::new(video))
        }
    };
    let parent = lineage(facts, "parent_id", Some(identifier), "parent_origin")?;
    let root = lineage(facts, "root_parent_id", None, "root_parent_origin")?;
    let (pixels, is_base64) = pixels(text, options)?;
    let (width, height) = (pixels.width, pixels.height);
    options.budget.spend(width * height)?;
    let place = |given: (Arc<str>, Option<Place>)| match given {
        (id, Some(place)) => Arc::new(place.of(id)),
        (id, None) => Arc::new(Origin::whole(id, width, height)),
    };
    let parent = parent.map_or_else(|| place((identifier.into(), None)), place);
    let root = root.map_or_else(|| parent.clone(), place);
    let mut image = Image::new(pixels, parent.id.clone())
        .with_origins(parent, root)
        .with_video(video);
    if is_base64 {
        image = image.with_entered_as(text.into());
    }
    Ok(Value::Image(image))
}

fn payload(json: &Json) -> Result<&str, Mismatch> {
    json.as_str()
        .ok_or_else(|| want("an encoded image as text", json))
}

/// The pixels behind a text, and whether the text itself holds them.
fn pixels(text: &str, options: &InputOptions) -> Result<(Matrix, bool), Mismatch> {
    if is_url(text) {
        let pixels = behind_url(text, options).map_err(|why| {
            let shown = Redacted::text(text);
            Mismatch::Fetch(format!(
                "Could not load image from url: {shown}. Details: {why}"
            ))
        })?;
        return Ok((pixels, false));
    }
    if options.local_files && text.len() < 4096 && Path::new(text).is_file() {
        let bytes = std::fs::read(text)
            .map_err(|e| Mismatch::Fetch(format!("the file cannot be read: {e}")))?;
        return Ok((decode_image(&bytes, options.max_pixels)?, false));
    }
    Ok((decode_image_text(text, options.max_pixels)?, true))
}

/// Whether a text starts with a scheme. Base64 has no colon, so no image is taken for a URL.
pub(super) fn is_url(text: &str) -> bool {
    let scheme = text
        .bytes()
        .take(LONGEST_SCHEME)
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        .count();
    scheme > 0 && text[scheme..].starts_with("://")
}

fn behind_url(text: &str, options: &InputOptions) -> Result<Matrix, String> {
    let Some(loader) = &options.loader else {
        return Err("images by URL are not allowed here; send the image as base64".into());
    };
    let bytes = loader.load(text)?;
    decode_image(&bytes, options.max_pixels).map_err(|e| e.to_string())
}

/// Offset in another image and that image's size.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) width: i64,
    pub(super) height: i64,
}

impl Place {
    fn of(self, id: Arc<str>) -> Origin {
        Origin {
            id,
            x: self.x,
            y: self.y,
            width: self.width,
            height: self.height,
        }
    }
}

/// An origin object `{offset_x, offset_y, width, height}`. Numbers beyond 31 bits are refused, so
/// that sums of offsets cannot overflow.
pub(super) fn place(json: &Json) -> Result<Place, Mismatch> {
    const MOST: i64 = i32::MAX as i64;
    let object = entries(json)?;
    let between = |low: i64| {
        move |json: &Json| match lax_integer(json)? {
            n if (low..=MOST).contains(&n) => Ok(n),
            n => Err(Mismatch::Refused(format!(
                "{n} is not between {low} and {MOST}"
            ))),
        }
    };
    let (offset, size) = (between(-MOST), between(1));
    Ok(Place {
        x: read_field(object, "offset_x", offset)?,
        y: read_field(object, "offset_y", offset)?,
        width: read_field(object, "width", size)?,
        height: read_field(object, "height", size)?,
    })
}

type Lineage = Option<(Arc<str>, Option<Place>)>;

/// An id, its `default` if none is given, with its origin; an origin without an id is ignored, and an
/// empty one is none.
fn lineage(
    facts: &Map<String, Json>,
    id: &'static str,
    default: Option<&str>,
    origin: &'static str,
) -> Result<Lineage, Mismatch> {
    let text = |json: &Json| string(json).map(Arc::from);
    let given = read_optional(facts, id, text)?;
    let Some(id) = given.or_else(|| default.map(Arc::from)) else {
        return Ok(None);
    };
    let nothing = |json: &Json| json.as_object().is_some_and(Map::is_empty);
    let origin = match facts.get(origin).is_some_and(nothing) {
        true => None,
        false => read_optional(facts, origin, place)?,
    };
    Ok(Some((id, origin)))
}

pub(super) fn video_metadata(json: &Json) -> Result<VideoMetadata, Mismatch> {
    let object = entries(json)?;
    Ok(VideoMetadata {
        video_identifier: string(field(object, "video_identifier")?)
            .map_err(inside("field `video_identifier`"))?
            .into(),
        frame_number: read_field(object, "frame_number", lax_integer)?,
        frame_timestamp: read_field(object, "frame_timestamp", lax_moment)?,
        fps: read_optional(object, "fps", lax_number)?,
        measured_fps: read_optional(object, "measured_fps", lax_number)?,
        comes_from_video_file: read_optional(object, "comes_from_video_file", lax_boolean)?,
        total_frames: read_optional(object, "total_frames", lax_integer)?,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::super::super::base64_text::encode_base64;
    use super::super::super::codec::encode_png;
    use super::super::ImageLoader;
    use super::*;

    const URL: &str = "https://user:secret@pictures.example/a.png?token=secret";

    fn png() -> Vec<u8> {
        encode_png(&Matrix::filled(4, 3, &[1, 2, 3])).unwrap()
    }

    fn read(json: &Json, options: &InputOptions) -> Result<Image, Mismatch> {
        match image(json, "image.[0]", options)? {
            Value::Image(image) => Ok(image),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn base64_in_all_its_forms_is_an_image_that_remembers_its_text() {
        let text = encode_base64(&png());
        let prefixed = format!("data:image/png;base64,{text}");
        for json in [
            json!(text),
            json!(prefixed),
            json!({"value": text}),
            json!({"type": "anything", "value": prefixed}),
        ] {
            let image = read(&json, &InputOptions::default()).unwrap();
            assert_eq!((image.width(), image.height()), (4, 3));
            let sent = json.as_str().or(json["value"].as_str());
            assert_eq!(image.entered_as().map(|t| &**t), sent);
            assert_eq!(&*image.parent().id, "image.[0]");
            assert!(Arc::ptr_eq(image.parent(), image.root()) && image.video().is_none());
        }
        for json in [
            json!(5),
            json!({"type": "base64"}),
            json!({"value": [[1]]}),
            json!("/etc/hostname"),
        ] {
            assert!(read(&json, &InputOptions::default()).is_err());
        }
    }

    #[test]
    fn the_lineage_of_the_root_is_taken_with_its_id_only() {
        let mut json = json!({
            "value": encode_base64(&png()),
            "parent_id": "mother",
            "parent_origin": {"offset_x": 5, "offset_y": 6, "width": 300, "height": 200},
            "root_parent_origin": {"offset_x": 15, "offset_y": 26, "width": 600, "height": 400},
        });
        let image = read(&json, &InputOptions::default()).unwrap();
        assert_eq!((image.parent().x, image.parent().width), (5, 300));
        assert_eq!(image.root(), image.parent());
        json["root_parent_id"] = json!("grandmother");
        let image = read(&json, &InputOptions::default()).unwrap();
        assert_eq!((&*image.root().id, image.root().y), ("grandmother", 26));
        json.as_object_mut().unwrap().remove("parent_id");
        let image = read(&json, &InputOptions::default()).unwrap();
        assert_eq!((&*image.parent().id, image.parent().x), ("image.[0]", 5));
        json["parent_origin"] = json!({"offset_x": 5});
        assert!(read(&json, &InputOptions::default()).is_err());
        json["parent_origin"] = json!({});
        let image = read(&json, &InputOptions::default()).unwrap();
        assert_eq!(image.parent().x, 0);
    }

    #[test]
    fn video_metadata_must_be_whole_but_are_read_laxly() {
        let text = encode_base64(&png());
        let with = |video: Json| {
            read(
                &json!({"value": text, "video_metadata": video}),
                &InputOptions::default(),
            )
        };
        let whole =
            json!({"video_identifier": "x", "frame_number": "7", "frame_timestamp": 0, "fps": 10});
        let image = with(whole).unwrap();
        let video = image.video().unwrap();
        assert_eq!(
            (video.frame_number, video.fps, video.total_frames),
            (7, Some(10.0), None)
        );
        for bad in [
            json!(null),
            json!("text"),
            json!({"frame_number": 1, "frame_timestamp": 0}),
            json!({"video_identifier": "v", "frame_number": "one", "frame_timestamp": 0}),
            json!({"video_identifier": "v", "frame_number": 1, "frame_timestamp": "yesterday"}),
        ] {
            assert!(with(bad).is_err());
        }
    }

    struct Shelf;

    impl ImageLoader for Shelf {
        fn load(&self, url: &str) -> Result<Bytes, String> {
            if url == URL {
                Ok(png().into())
            } else if url.ends_with("/page") {
                Ok(Bytes::from_static(b"<html>"))
            } else {
                Err("not found".to_owned())
            }
        }
    }

    #[test]
    fn urls_go_through_the_loader_and_never_show() {
        let error = read(&json!(URL), &InputOptions::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("pictures.example") && !error.contains("secret"),
            "{error}"
        );
        let options = InputOptions::remote(Arc::new(Shelf));
        let image = read(&json!(URL), &options).unwrap();
        assert!(image.width() == 4 && image.entered_as().is_none());
        for (text, why) in [
            ("http://pictures.example/b", "not found"),
            ("HTTP://pictures.example/b", "not found"),
            ("file:///etc/passwd", "not found"),
            ("http://pictures.example/page", "the bytes are no image"),
        ] {
            let error = read(&json!(text), &options).unwrap_err();
            assert!(matches!(error, Mismatch::Fetch(_)), "{text}");
            let error = error.to_string();
            let starts =
                error.starts_with("no usable WorkflowImage: Could not load image from url: ");
            assert!(
                starts && error.contains(&format!(". Details: {why}")),
                "{error}"
            );
        }
    }

    #[test]
    fn only_a_scheme_makes_a_text_a_url() {
        for text in ["http://h/", "x-a+b.c://h", "file:///a"] {
            assert!(is_url(text), "{text}");
        }
        for text in [
            "",
            "://",
            "/a://b",
            "data:image/png;base64,AA",
            "AAAA",
            "é://h",
        ] {
            assert!(!is_url(text), "{text}");
        }
    }

    #[test]
    fn files_are_read_only_where_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        std::fs::write(&path, png()).unwrap();
        let json = json!(path.to_str().unwrap());
        assert!(read(&json, &InputOptions::default()).is_err());
        let options = InputOptions {
            local_files: true,
            ..InputOptions::default()
        };
        let image = read(&json, &options).unwrap();
        assert!(image.width() == 4 && image.entered_as().is_none());
    }
}
