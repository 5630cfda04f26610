//! Comparison of a recorded answer with ours.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace::values::Timestamp;
use millrace::values::serialise::{ImageFormat, OutputOptions};
use regex::Regex;
use serde_json::Value as Json;

/// Results with pictures as PNG.
pub fn png_output() -> OutputOptions {
    OutputOptions {
        image_format: ImageFormat::Png,
        ..OutputOptions::new(Timestamp::from_unix_micros(0))
    }
}

/// Collects differences.
pub struct Comparison {
    abs: f64,
    rel: f64,
    psnr: f64,
    pixels: Option<f64>,
    masks: Option<f64>,
    ignore: Vec<Regex>,
    folder: PathBuf,
    identifiers: HashMap<String, String>,
    uuid: Regex,
    place: Regex,
    /// What differs, with its path.
    pub differences: Vec<String>,
}

fn brief(value: &Json) -> String {
    value.to_string().chars().take(90).collect()
}

impl Comparison {
    /// With the tolerances of a case; pictures lie in `folder`.
    pub fn new(tolerance: &Json, folder: &Path) -> Self {
        let number = |name: &str| tolerance[name].as_f64();
        let ignore = tolerance["ignore"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        Self {
            abs: number("abs").unwrap_or(1e-3),
            rel: number("rel").unwrap_or(1e-3),
            psnr: number("psnr").unwrap_or(35.0),
            pixels: number("pixels"),
            masks: number("masks"),
            ignore: ignore
                .iter()
                .filter_map(|p| Regex::new(p.as_str()?).ok())
                .collect(),
            folder: folder.to_owned(),
            identifiers: HashMap::new(),
            uuid: Regex::new("(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
                .unwrap(),
            place: Regex::new(r"\]\.(x|y|width|height)$").unwrap(),
            differences: Vec::new(),
        }
    }

    /// Notes a difference.
    pub fn differ(&mut self, path: &str, why: &str) {
        self.differences.push(format!("{path}: {why}"));
    }

    /// Compares two values and all below.
    pub fn compare(&mut self, want: &Json, got: &Json, path: &str) {
        if self.ignore.iter().any(|p| p.is_match(path)) {
            return;
        }
        if let Some(least) = self.masks
            && is_mask(want, path)
        {
            return self.mask(want, got, path, least);
        }
        match want {
            Json::Object(entries) => self.object(entries, got, path),
            Json::Array(items) => self.list(items, got, path),
            Json::Bool(_) | Json::Null => {
                if want != got {
                    self.differ(path, &format!("want {want}, got {}", brief(got)));
                }
            }
            Json::Number(number) => self.number(number.as_f64().unwrap_or(f64::NAN), got, path),
            Json::String(text) if self.uuid.is_match(text) => self.identifier(text, got, path),
            Json::String(_) => {
                if want != got {
                    self.differ(path, &format!("want {}, got {}", brief(want), brief(got)));
                }
            }
        }
    }

    fn object(&mut self, want: &serde_json::Map<String, Json>, got: &Json, path: &str) {
        if want.len() == 1 {
            if let Some(text) = want.get("$float") {
                let text = text.as_str().unwrap_or_default().to_lowercase();
                if !got.is_null() && got.to_string().to_lowercase() != text {
                    self.differ(path, &format!("want {text}, got {}", brief(got)));
                }
                return;
            }
            if let Some(array) = want.get("$ndarray") {
                return self.array(array, got, path);
            }
            if let Some(bytes) = want.get("$bytes") {
                return self.compare(bytes, got.get("$bytes").unwrap_or(got), path);
            }
            if want.contains_key("$repr") {
                return;
            }
        }
        if want.get("type").and_then(Json::as_str) == Some("file") {
            return self.picture(want, got, path);
        }
        let Some(entries) = got.as_object() else {
            return self.differ(path, &format!("want an object, got {}", brief(got)));
        };
        for (key, value) in want {
            let below = format!("{path}.{key}");
            match entries.get(key) {
                Some(other) => self.compare(value, other, &below),
                None if value.is_null() || self.ignore.iter().any(|p| p.is_match(&below)) => {}
                None => self.differ(&below, &format!("missing (want {})", brief(value))),
            }
        }
        for (key, value) in entries {
            let below = format!("{path}.{key}");
            if !want.contains_key(key) && !self.ignore.iter().any(|p| p.is_match(&below)) {
                self.differ(&below, &format!("unexpected {}", brief(value)));
            }
        }
    }

    fn list(&mut self, want: &[Json], got: &Json, path: &str) {
        let Some(items) = got.as_array().filter(|items| items.len() == want.len()) else {
            let found = got
                .as_array()
                .map_or_else(|| brief(got), |items| items.len().to_string());
            return self.differ(path, &format!("want a list of {}, got {found}", want.len()));
        };
        let paired = self.pixels.is_some() && are_boxes(want) && are_boxes(items);
        let items = if paired {
            pair(want, items)
        } else {
            items.clone()
        };
        for (i, (w, g)) in want.iter().zip(&items).enumerate() {
            self.compare(w, g, &format!("{path}[{i}]"));
        }
    }

    fn number(&mut self, want: f64, got: &Json, path: &str) {
        let Some(found) = got.as_f64() else {
            return self.differ(path, &format!("want {want}, got {}", brief(got)));
        };
        let off = (want - found).abs();
        if self.pixels.is_some_and(|p| off <= p) && self.place.is_match(path) {
            return;
        }
        if off > self.abs.max(self.rel * want.abs().max(found.abs())) {
            self.differ(path, &format!("want {want}, got {found}"));
        }
    }

    /// Random identifiers must map one to one.
    fn identifier(&mut self, want: &str, got: &Json, path: &str) {
        let found = got.as_str().unwrap_or_default();
        if self.uuid.replace_all(want, "*") != self.uuid.replace_all(found, "*") {
            return self.differ(
                path,
                &format!("want {want} with any identifier, got {}", brief(got)),
            );
        }
        let wanted: Vec<String> = self
            .uuid
            .find_iter(want)
            .map(|m| m.as_str().to_owned())
            .collect();
        let given: Vec<String> = self
            .uuid
            .find_iter(found)
            .map(|m| m.as_str().to_owned())
            .collect();
        for (w, g) in wanted.into_iter().zip(given) {
            if *self.identifiers.entry(w).or_insert_with(|| g.clone()) != g {
                self.differ(
                    path,
                    "an identifier that was equal elsewhere is not equal here",
                );
            }
        }
    }

    fn array(&mut self, want: &Json, got: &Json, path: &str) {
        let shape: Vec<u64> = want["shape"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_u64)
            .collect();
        let mut flat = Vec::new();
        flatten(got, &mut flat);
        if flat.len() as u64 != shape.iter().product::<u64>() {
            return self.differ(
                path,
                &format!("want an array {shape:?}, got {} numbers", flat.len()),
            );
        }
        for (i, (w, g)) in want["data"]
            .as_array()
            .into_iter()
            .flatten()
            .zip(&flat)
            .enumerate()
        {
            self.compare(w, g, &format!("{path}[{i}]"));
        }
    }

    fn picture(&mut self, want: &serde_json::Map<String, Json>, got: &Json, path: &str) {
        let Some(text) = got.get("value").and_then(Json::as_str) else {
            return self.differ(path, &format!("want an image, got {}", brief(got)));
        };
        for (key, value) in want
            .iter()
            .filter(|(k, _)| !["type", "value"].contains(&k.as_str()))
        {
            self.compare(
                value,
                got.get(key).unwrap_or(&Json::Null),
                &format!("{path}.{key}"),
            );
        }
        let name = want["value"].as_str().unwrap_or_default();
        let recorded = image::open(self.folder.join(name))
            .expect("recorded picture")
            .to_rgb8();
        let bytes = STANDARD
            .decode(text.rsplit(',').next().unwrap_or_default())
            .unwrap_or_default();
        let Ok(ours) = image::load_from_memory(&bytes) else {
            return self.differ(path, "not a decodable image");
        };
        let ours = ours.to_rgb8();
        if recorded.dimensions() != ours.dimensions() {
            return self.differ(
                path,
                &format!(
                    "want {:?} pixels, got {:?}",
                    recorded.dimensions(),
                    ours.dimensions()
                ),
            );
        }
        let squares: f64 = recorded
            .as_raw()
            .iter()
            .zip(ours.as_raw())
            .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
            .sum();
        let mse = squares / recorded.as_raw().len().max(1) as f64;
        let psnr = if mse == 0.0 {
            99.0
        } else {
            10.0 * (255.0 * 255.0 / mse).log10()
        };
        if psnr < self.psnr {
            self.differ(
                path,
                &format!("image differs: {psnr:.1} dB, want at least {}", self.psnr),
            );
        }
    }

    fn mask(&mut self, want: &Json, got: &Json, path: &str, least: f64) {
        let pixels = |value: &Json, canvas: (usize, usize)| -> Option<Vec<bool>> {
            if value.is_array() {
                outline(value, canvas)
            } else {
                run_length(value)
            }
        };
        let canvas = extent(want).max(extent(got));
        let (Some(a), Some(b)) = (pixels(want, canvas), pixels(got, canvas)) else {
            return self.differ(path, &format!("want a mask, got {}", brief(got)));
        };
        if a.len() != b.len() {
            return self.differ(path, "the masks differ in size");
        }
        let both = a.iter().zip(&b).filter(|(a, b)| **a && **b).count();
        let either = a.iter().zip(&b).filter(|(a, b)| **a || **b).count();
        let share = if either == 0 {
            1.0
        } else {
            both as f64 / either as f64
        };
        if share < least {
            self.differ(
                path,
                &format!("masks overlap by {share:.4}, want at least {least}"),
            );
        }
    }
}

fn flatten(value: &Json, out: &mut Vec<Json>) {
    match value {
        Json::Array(items) => items.iter().for_each(|item| flatten(item, out)),
        other => out.push(other.clone()),
    }
}

fn are_boxes(items: &[Json]) -> bool {
    let keys = ["x", "y", "width", "height", "class"];
    items.len() > 1
        && items
            .iter()
            .all(|p| keys.iter().all(|k| p.get(k).is_some()))
}

/// `got` in the order of `want`, each with the nearest prediction of its class that is left.
fn pair(want: &[Json], got: &[Json]) -> Vec<Json> {
    let mut left: Vec<&Json> = got.iter().collect();
    let distance = |w: &Json, g: &Json| -> f64 {
        let keys = ["x", "y", "width", "height"];
        let off: f64 = keys
            .iter()
            .map(|k| (w[*k].as_f64().unwrap_or(0.0) - g[*k].as_f64().unwrap_or(0.0)).abs())
            .sum();
        off + if w["class"] == g["class"] { 0.0 } else { 1e9 }
    };
    want.iter()
        .map(|w| {
            let nearest = (0..left.len())
                .min_by(|&a, &b| distance(w, left[a]).total_cmp(&distance(w, left[b])))
                .expect("as many left as wanted");
            left.remove(nearest).clone()
        })
        .collect()
}

fn is_mask(value: &Json, path: &str) -> bool {
    let rle = value.get("counts").is_some_and(Json::is_string) && value.get("size").is_some();
    let points = value.as_array().is_some_and(|all| {
        all.len() > 2
            && all
                .iter()
                .all(|p| p.get("x").is_some() && p.get("y").is_some())
    });
    rle || (points && path.ends_with(".points"))
}

fn extent(value: &Json) -> (usize, usize) {
    let far = |key: &str| {
        let points = value.as_array().into_iter().flatten();
        points
            .filter_map(|p| p[key].as_f64())
            .fold(0.0, f64::max)
            .clamp(0.0, 9999.0) as usize
            + 2
    };
    (far("x"), far("y"))
}

fn run_length(value: &Json) -> Option<Vec<bool>> {
    let counts = millrace::values::mask::decompress_counts(value["counts"].as_str()?)?;
    let mut pixels = Vec::new();
    for (i, n) in counts.into_iter().enumerate() {
        pixels.extend(std::iter::repeat_n(i % 2 == 1, n as usize));
    }
    Some(pixels)
}

/// Pixels inside a polygon (even-odd rule at pixel centres, border included by its vertices).
fn outline(value: &Json, (width, height): (usize, usize)) -> Option<Vec<bool>> {
    let points: Vec<(f64, f64)> = value
        .as_array()?
        .iter()
        .map(|p| Some((p["x"].as_f64()?, p["y"].as_f64()?)))
        .collect::<Option<_>>()?;
    let mut pixels = vec![false; width * height];
    for y in 0..height {
        let mut crossings: Vec<f64> = Vec::new();
        for (i, &(x1, y1)) in points.iter().enumerate() {
            let (x2, y2) = points[(i + 1) % points.len()];
            let at = y as f64 + 0.001;
            if (y1 <= at) != (y2 <= at) {
                crossings.push(x1 + (at - y1) / (y2 - y1) * (x2 - x1));
            }
        }
        crossings.sort_by(f64::total_cmp);
        for span in crossings.chunks_exact(2) {
            for x in span[0].max(0.0).ceil() as usize..=(span[1].max(0.0) as usize).min(width - 1) {
                pixels[y * width + x] = true;
            }
        }
    }
    Some(pixels)
}
