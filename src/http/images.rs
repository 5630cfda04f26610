//! Images as the routes of models take them: an object with `type` and `value`, or one image by its
//! URL or text (section 1.4 of the server specification).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::rejection::Rejection;
use crate::values::codec::{decode_image, decode_image_text};
use crate::values::deserialise::InputOptions;
use crate::values::{Image, Matrix};

/// One image of a request or several.
pub enum Wanted {
    /// One; the answer is an object.
    One(Image),
    /// Several; the answer is a list.
    Batch(Vec<Image>),
}

impl Wanted {
    /// The images of a field, fetched and decoded. The bounds are those of one run of a workflow: on
    /// what is fetched, which is done for all URLs at once, and on the pixels of all together.
    ///
    /// # Errors
    /// 400 with the reason if one cannot be had, or all of them are too large together.
    pub fn read(field: &Value, options: &InputOptions) -> Result<Self, Rejection> {
        let options = options.with_images_of([field]).for_one_run();
        match field {
            Value::Array(items) => items
                .iter()
                .map(|item| image(item, &options))
                .collect::<Result<_, _>>()
                .map(Self::Batch),
            one => image(one, &options).map(Self::One),
        }
    }

    /// The images in order.
    pub fn as_slice(&self) -> &[Image] {
        match self {
            Self::One(image) => std::slice::from_ref(image),
            Self::Batch(images) => images,
        }
    }
}

/// One image.
fn image(field: &Value, options: &InputOptions) -> Result<Image, Rejection> {
    let (kind, value) = match field {
        Value::Object(entries) => (
            entries.get("type").and_then(Value::as_str),
            entries.get("value"),
        ),
        text => (None, Some(text)),
    };
    let text = value.and_then(Value::as_str).ok_or_else(|| {
        Rejection::image("the field `value` of the image must be text: base64 or a URL")
    })?;
    let is_url = text.starts_with("http://") || text.starts_with("https://");
    let pixels = match kind {
        Some("url") => by_url(text, options)?,
        None if is_url => by_url(text, options)?,
        None | Some("base64" | "multipart") => by_text(text, options)?,
        Some("file") => {
            return Err(Rejection::image(
                "files of the server are not read; send the image as base64",
            ));
        }
        Some("numpy") => {
            return Err(Rejection::image(
                "NumPy image type is not supported in this configuration of `inference`.",
            ));
        }
        Some(other) => {
            return Err(Rejection::image(format!(
                "images of type `{other}` are not known; send `base64` or `url`"
            )));
        }
    };
    let spent = options.budget.spend(pixels.width * pixels.height);
    spent.map_err(Rejection::image)?;
    Ok(Image::new(pixels, "image".into()))
}

/// An image that the client names by its URL.
///
/// # Errors
/// 400 with the reason if it cannot be had.
pub fn by_url(url: &str, options: &InputOptions) -> Result<Matrix, Rejection> {
    let loader = options.loader.as_ref().ok_or_else(|| {
        Rejection::image("images by URL are not allowed; send the image as base64")
    })?;
    let bytes = loader.load(url).map_err(Rejection::image)?;
    decode_image(&bytes, options.max_pixels)
        .map_err(|_| Rejection::image("Data pointed by URL could not be decoded into image."))
}

/// An image as base64.
///
/// # Errors
/// 400 if it is none.
pub fn by_text(text: &str, options: &InputOptions) -> Result<Matrix, Rejection> {
    decode_image_text(text, options.max_pixels).map_err(|error| {
        let words = error.to_string();
        // The reference's words for everything but a limit, which a client has to know of.
        match words.contains("pixels") {
            true => Rejection::image(words),
            false => Rejection::image("Malformed base64 input image."),
        }
    })
}

/// The bytes of an image, as a form brings them.
///
/// # Errors
/// 400 if they are none.
pub fn by_bytes(bytes: &[u8], options: &InputOptions) -> Result<Matrix, Rejection> {
    decode_image(bytes, options.max_pixels).map_err(Rejection::image)
}

/// The body of the route of models by project and version: base64, never the image itself.
///
/// # Errors
/// 400 if it is no base64 or no image.
pub fn by_body(bytes: &[u8], options: &InputOptions) -> Result<Matrix, Rejection> {
    match std::str::from_utf8(bytes) {
        Ok(text) => by_text(text.trim().trim_matches('"'), options),
        Err(_) => Err(Rejection::image(
            "Invalid base64 input: the image payload contains raw bytes instead of a \
             base64-encoded string. Please base64-encode the image before sending.",
        )),
    }
}

/// A picture as base64 of a JPEG.
///
/// # Errors
/// If it cannot be encoded.
pub fn encoded(jpeg: &[u8]) -> String {
    STANDARD.encode(jpeg)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::values::codec::encode_png;
    use crate::values::deserialise::ImageLoader;

    /// Counts how often it is asked.
    #[derive(Default)]
    struct Shelf(AtomicUsize);

    impl ImageLoader for Shelf {
        fn load(&self, _: &str) -> Result<Bytes, String> {
            Err("they are asked for together".to_owned())
        }

        fn load_all(&self, urls: &[&str]) -> Vec<Result<Bytes, String>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let png = encode_png(&Matrix::filled(4, 3, &[1, 2, 3])).unwrap();
            urls.iter().map(|_| Ok(png.clone().into())).collect()
        }
    }

    #[test]
    fn the_images_that_a_list_names_by_url_are_fetched_together() {
        let shelf = Arc::new(Shelf::default());
        let options = InputOptions::remote(shelf.clone());
        let named = |n: usize| json!({"type": "url", "value": format!("https://h/{n}.png")});
        let list: Value = (0..3).map(named).collect();
        let wanted = Wanted::read(&list, &options).unwrap();
        assert_eq!(wanted.as_slice().len(), 3);
        assert_eq!(shelf.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_list_of_images_is_bounded_as_the_images_of_one_run() {
        let png = encode_png(&Matrix::filled(4, 3, &[1, 2, 3])).unwrap();
        let list = |count: usize| Value::from(vec![json!({"value": STANDARD.encode(&png)}); count]);
        let options = InputOptions {
            max_pixels: 12,
            ..InputOptions::default()
        };
        // Each request has a budget of its own.
        for _ in 0..2 {
            let wanted = Wanted::read(&list(5), &options).unwrap();
            assert_eq!(wanted.as_slice().len(), 5);
        }
        let refused = Wanted::read(&list(6), &options).err().unwrap();
        assert_eq!(refused.status(), 400);
        let words = refused.body().to_string();
        assert!(words.contains("send fewer at a time"), "{words}");
    }
}
