//! Fetching all images of a request at the same time, before the first of them is read.
//!
//! Values are read one after the other. Whoever has several at hand calls
//! [`InputOptions::with_images_of`] first and reads with the options that come back: their loader
//! has the images already.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value as Json;

use super::images::is_url;
use super::{ImageLoader, InputOptions};

impl InputOptions {
    /// Options that hold the images that `inputs` name by URL, if there are several; lists of images
    /// may be nested.
    #[must_use]
    pub fn with_images_of<'a>(&self, inputs: impl IntoIterator<Item = &'a Json>) -> Self {
        let Some(loader) = &self.loader else {
            return self.clone();
        };
        let mut urls = Vec::new();
        for input in inputs {
            collect(input, &mut urls);
        }
        let mut known = HashSet::new();
        urls.retain(|url| known.insert(*url));
        if urls.len() < 2 {
            return self.clone();
        }
        let images = loader.load_all(&urls);
        let names = urls.into_iter().map(str::to_owned);
        Self {
            loader: Some(Arc::new(Fetched {
                images: names.zip(images).collect(),
                others: loader.clone(),
            })),
            ..self.clone()
        }
    }
}

fn collect<'a>(input: &'a Json, urls: &mut Vec<&'a str>) {
    match input {
        Json::String(text) if is_url(text) => urls.push(text),
        Json::Array(items) => items.iter().for_each(|item| collect(item, urls)),
        Json::Object(facts) => match facts.get("value") {
            Some(Json::String(text)) if is_url(text) => urls.push(text),
            _ => {}
        },
        _ => {}
    }
}

/// Images that were fetched, by their URL.
struct Fetched {
    images: HashMap<String, Result<Bytes, String>>,
    others: Arc<dyn ImageLoader>,
}

impl ImageLoader for Fetched {
    fn load(&self, url: &str) -> Result<Bytes, String> {
        match self.images.get(url) {
            Some(image) => image.clone(),
            None => self.others.load(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;

    /// Writes down what it is asked for.
    #[derive(Default)]
    struct Counter {
        calls: Mutex<Vec<Vec<String>>>,
    }

    impl Counter {
        fn note(&self, urls: &[&str]) {
            let urls = urls.iter().map(|url| (*url).to_owned()).collect();
            self.calls.lock().unwrap().push(urls);
        }
    }

    impl ImageLoader for Counter {
        fn load(&self, url: &str) -> Result<Bytes, String> {
            self.note(&[url]);
            Ok(Bytes::from(url.to_owned()))
        }

        fn load_all(&self, urls: &[&str]) -> Vec<Result<Bytes, String>> {
            self.note(urls);
            urls.iter()
                .map(|url| Ok((*url).to_owned().into()))
                .collect()
        }
    }

    #[test]
    fn several_urls_are_fetched_in_one_call_and_each_once() {
        let counter = Arc::new(Counter::default());
        let options = InputOptions::remote(counter.clone());
        let inputs = [
            json!(["http://h/1", {"type": "url", "value": "http://h/2"}, "AAAA", [["http://h/1"]]]),
            json!({"type": "url", "value": 5}),
            json!("http://h/3"),
        ];
        let ahead = options.with_images_of(&inputs).loader.unwrap();
        for url in ["http://h/2", "http://h/1", "http://h/1"] {
            assert_eq!(ahead.load(url).unwrap(), url);
        }
        assert_eq!(ahead.load("http://h/9").unwrap(), "http://h/9");
        let calls = counter.calls.lock().unwrap().clone();
        assert_eq!(
            calls,
            [
                vec!["http://h/1", "http://h/2", "http://h/3"],
                vec!["http://h/9"]
            ]
        );
    }

    #[test]
    fn one_image_is_fetched_when_it_is_read() {
        let counter = Arc::new(Counter::default());
        let options = InputOptions::remote(counter.clone());
        let same = [json!("http://h/1"), json!("http://h/1")];
        let _ = options.with_images_of(&same);
        let _ = InputOptions::default().with_images_of(&same);
        assert!(counter.calls.lock().unwrap().is_empty());
    }
}
