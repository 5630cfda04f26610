//! Operations on images: size, place in the video, encoding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::node::{Node, Read};
use super::{QueryError, Scope};
use crate::values::codec::encode_jpeg;
use crate::values::{Image, Value};

/// Quality by which images become JPEG where the definition does not say.
const DEFAULT_QUALITY: u8 = 95;

/// An operation on an image.
#[derive(Clone, Copy, Debug)]
pub(super) enum ImageOperation {
    /// `ExtractImageProperty`
    Property(ImageProperty),
    /// `ExtractFrameMetadata`
    Frame(FrameProperty),
    /// `ConvertImageToJPEG`
    Jpeg { quality: u8 },
    /// `ConvertImageToBase64`
    Base64,
}

/// What `ExtractImageProperty` can tell.
#[derive(Clone, Copy, Debug)]
pub(super) enum ImageProperty {
    Size,
    Height,
    Width,
    AspectRatio,
}

/// What `ExtractFrameMetadata` can tell.
#[derive(Clone, Copy, Debug)]
pub(super) enum FrameProperty {
    Number,
    Timestamp,
    SecondsSinceStart,
}

impl ImageOperation {
    pub(super) fn read(name: &str, node: &Node<'_>) -> Option<Read<Self>> {
        Some(match name {
            "ExtractImageProperty" => read_image_property(node).map(Self::Property),
            "ExtractFrameMetadata" => read_frame_property(node).map(Self::Frame),
            "ConvertImageToJPEG" => read_quality(node).map(|quality| Self::Jpeg { quality }),
            "ConvertImageToBase64" => Ok(Self::Base64),
            _ => return None,
        })
    }

    pub(super) fn apply(&self, value: Value, scope: &Scope<'_>) -> Result<Value, QueryError> {
        let Value::Image(image) = &value else {
            return Err(scope.takes("an image", &value));
        };
        match self {
            Self::Property(property) => Ok(property.of(image)),
            Self::Frame(property) => property.of(image, scope),
            Self::Jpeg { quality } => {
                jpeg(image, *quality, scope).map(|bytes| Value::Bytes(bytes.into()))
            }
            Self::Base64 => match image.entered_as() {
                Some(text) => Ok(Value::Str(text.clone())),
                None => {
                    jpeg(image, DEFAULT_QUALITY, scope).map(|bytes| STANDARD.encode(bytes).into())
                }
            },
        }
    }
}

fn read_image_property(node: &Node<'_>) -> Read<ImageProperty> {
    node.need("property_name")?.one_of(&[
        ("size", ImageProperty::Size),
        ("height", ImageProperty::Height),
        ("width", ImageProperty::Width),
        ("aspect_ratio", ImageProperty::AspectRatio),
    ])
}

fn read_frame_property(node: &Node<'_>) -> Read<FrameProperty> {
    node.need("property_name")?.one_of(&[
        ("frame_number", FrameProperty::Number),
        ("frame_timestamp", FrameProperty::Timestamp),
        ("seconds_since_start", FrameProperty::SecondsSinceStart),
    ])
}

fn read_quality(node: &Node<'_>) -> Read<u8> {
    node.or("compression_level", DEFAULT_QUALITY, |field| {
        let given = field.int()?;
        match u8::try_from(given) {
            Ok(quality @ 1..=100) => Ok(quality),
            _ => Err(field.broken(format!("must be from 1 to 100, got {given}"))),
        }
    })
}

fn jpeg(image: &Image, quality: u8, scope: &Scope<'_>) -> Result<Vec<u8>, QueryError> {
    encode_jpeg(image.pixels(), quality).map_err(|error| scope.failed(error.to_string()))
}

impl ImageProperty {
    fn of(self, image: &Image) -> Value {
        let (width, height) = (image.width(), image.height());
        match self {
            Self::Size => (width * height).into(),
            Self::Height => height.into(),
            Self::Width => width.into(),
            Self::AspectRatio if height == 0 => Value::Int(0),
            Self::AspectRatio => (width as f64 / height as f64).into(),
        }
    }
}

impl FrameProperty {
    fn of(self, image: &Image, scope: &Scope<'_>) -> Result<Value, QueryError> {
        let video = image.video_or_synthetic(scope.cx.now());
        match self {
            Self::Number => Ok(Value::Int(video.frame_number)),
            Self::Timestamp => Ok(Value::Timestamp(video.frame_timestamp)),
            Self::SecondsSinceStart => match video.fps {
                Some(fps) if fps != 0.0 => Ok(Value::Float((video.frame_number - 1) as f64 / fps)),
                _ => Err(scope.failed(format!(
                    "frame rate of video {} is not known",
                    video.video_identifier
                ))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocks::query::trial::{apply, shown};
    use crate::values::{Matrix, Timestamp, VideoMetadata};
    use serde_json::json;

    fn image(width: usize, height: usize) -> Image {
        Image::new(
            Matrix::filled(width, height, &[10, 200, 30]),
            "image".into(),
        )
    }

    fn of(operation: &str, property: &str, image: Image) -> String {
        let chain = json!([{"type": operation, "property_name": property}]);
        shown(apply(chain, image.into()))
    }

    #[test]
    fn sizes_of_images() {
        for (property, result) in [
            ("size", "6144"),
            ("height", "64"),
            ("width", "96"),
            ("aspect_ratio", "1.5"),
        ] {
            assert_eq!(of("ExtractImageProperty", property, image(96, 64)), result);
        }
        assert_eq!(of("ExtractImageProperty", "aspect_ratio", image(9, 0)), "0");
        let chain = json!([{"type": "ExtractImageProperty", "property_name": "size"}]);
        assert_eq!(shown(apply(chain, Value::Int(1))), "!InvalidInputTypeError");
    }

    #[test]
    fn frames_tell_their_place_in_the_video() {
        let video = |fps| VideoMetadata {
            frame_number: 7,
            fps,
            ..VideoMetadata::synthetic(
                "cam".into(),
                Timestamp::parse("2026-03-01T10:20:30").unwrap(),
            )
        };
        let frame = |fps| image(4, 4).with_video(Some(Arc::new(video(fps))));
        let property = |name: &str, fps| of("ExtractFrameMetadata", name, frame(fps));
        assert_eq!(property("frame_number", None), "7");
        assert!(property("frame_timestamp", None).contains("(2026, 3, 1, 10, 20, 30)"));
        assert_eq!(property("seconds_since_start", Some(12.0)), "0.5");
        assert_eq!(property("seconds_since_start", None), "!OperationError");
        assert_eq!(
            property("seconds_since_start", Some(0.0)),
            "!OperationError"
        );
        assert_eq!(
            of("ExtractFrameMetadata", "seconds_since_start", image(4, 4)),
            "-0.03333333333333333"
        );
    }

    #[test]
    fn images_become_jpeg_or_stay_the_text_they_came_as() {
        let bytes = |level: i64| {
            let chain = json!([{"type": "ConvertImageToJPEG", "compression_level": level}]);
            match apply(chain, image(64, 48).into()) {
                Ok(Value::Bytes(bytes)) => bytes,
                other => panic!("{other:?}"),
            }
        };
        assert!(bytes(90).starts_with(&[0xff, 0xd8]));
        let decoded = image::load_from_memory(&bytes(90)).unwrap();
        assert_eq!((decoded.width(), decoded.height()), (64, 48));
        let chain = json!([{"type": "ConvertImageToBase64"}]);
        let entered = image(4, 4).with_entered_as("data:image/png;base64,AA".into());
        assert_eq!(
            shown(apply(chain.clone(), entered.into())),
            "'data:image/png;base64,AA'"
        );
        let encoded = apply(chain, image(64, 48).into()).unwrap();
        assert_eq!(
            STANDARD.decode(encoded.as_str().unwrap()).unwrap(),
            *bytes(95)
        );
    }
}
