//! `environment.json`, how the older protocol describes a model's input, as the description that
//! packages have.
//!
//! | `resize.format` | image in the input |
//! | --- | --- |
//! | `Fit (white edges) in`, `Fit (grey edges) in` | whole, with a border of 255 or 114 |
//! | other names that start with `Fit` | whole, with a black border |
//! | everything else | stretched |

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value as Json;

use super::ModelError;
use super::config::{
    ColorMode, ForwardPass, ImagePreProcessing, InferenceConfig, NetworkInput, PostProcessing,
    PostProcessingKind, ResizeMode, Size,
};
use super::package::read_json;

/// Name of the file.
pub(super) const FILE: &str = "environment.json";

/// Side of a network's input where nothing says it.
const USUAL: usize = 640;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE", default)]
struct Environment {
    /// JSON inside of a text, or the object itself.
    preprocessing: Json,
    class_list: Vec<String>,
    class_map: indexmap::IndexMap<String, String>,
    /// A side, or `[width, height]`.
    resolution: Json,
    batch_size: Json,
}

#[derive(Debug, Default, Deserialize)]
struct Resize {
    #[serde(default = "yes")]
    enabled: bool,
    width: Option<Json>,
    height: Option<Json>,
    #[serde(default)]
    format: String,
}

fn yes() -> bool {
    true
}

/// The description of the network's input for a network of this architecture.
pub(super) fn inference_config(
    path: &Path,
    architecture: &str,
) -> Result<InferenceConfig, ModelError> {
    let environment: Environment = read_json(path)?;
    let failed = |reason: String| ModelError::Package {
        path: path.to_owned(),
        reason,
    };
    let steps = match &environment.preprocessing {
        Json::String(text) => serde_json::from_str(text)
            .map_err(|e| failed(format!("PREPROCESSING is not JSON: {e}")))?,
        other => other.clone(),
    };
    let changes = serde_json::from_value::<Option<ImagePreProcessing>>(steps.clone())
        .map_err(|e| failed(format!("PREPROCESSING: {e}")))?;
    let resize = serde_json::from_value::<Option<Resize>>(steps["resize"].clone())
        .map_err(|e| failed(format!("PREPROCESSING.resize: {e}")))?
        .filter(|resize| resize.enabled)
        .unwrap_or_default();
    let (resize_mode, padding) = fitting(&resize.format);
    let queries = architecture == "rfdetr";
    Ok(InferenceConfig {
        image_pre_processing: changes,
        network_input: NetworkInput {
            training_input_size: size(&resize, &environment.resolution),
            dataset_version_resize_dimensions: None,
            color_mode: ColorMode::Rgb,
            resize_mode,
            padding_value: Some(padding),
            input_channels: 3,
            scaling_factor: Some(255.0),
            // Means and deviations of ImageNet, on which these networks were trained first.
            normalization: queries.then_some([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]),
        },
        forward_pass: Some(ForwardPass {
            static_batch_size: None,
            max_dynamic_batch_size: number(&environment.batch_size),
        }),
        post_processing: (!queries).then_some(PostProcessing {
            kind: PostProcessingKind::Nms,
            fused: false,
        }),
        class_names_operations: None,
    })
}

/// The classes that the file names, by their ids.
pub(super) fn class_names(path: &Path) -> Result<Vec<String>, ModelError> {
    let environment: Environment = read_json(path)?;
    if !environment.class_list.is_empty() {
        return Ok(environment.class_list);
    }
    let mut map: Vec<(usize, String)> = environment
        .class_map
        .into_iter()
        .filter_map(|(id, name)| Some((id.parse().ok()?, name)))
        .collect();
    map.sort();
    Ok(map.into_iter().map(|(_, name)| name).collect())
}

/// The architecture of a model type such as `yolov8n` or `yolov5v2s`.
pub(super) fn architecture(model_type: &str) -> Arc<str> {
    const KNOWN: &[&str] = &[
        "yolov10", "yolov11", "yolov12", "yolov26", "yolo11", "yolo12", "yolo26", "yolov5",
        "yolov7", "yolov8", "yolov9", "yololite", "rfdetr",
    ];
    let plain = model_type.to_ascii_lowercase().replace(['_', ' '], "-");
    if plain.starts_with("yolo-nas") || plain.starts_with("yolonas") {
        return "yolo-nas".into();
    }
    let plain = plain.replace("rf-detr", "rfdetr");
    match KNOWN.iter().find(|known| plain.starts_with(*known)) {
        Some(known) => (*known).into(),
        None => plain.into(),
    }
}

fn fitting(format: &str) -> (ResizeMode, u8) {
    match format {
        "Fit (white edges) in" => (ResizeMode::Letterbox, 255),
        "Fit (grey edges) in" => (ResizeMode::Letterbox, 114),
        other if other.starts_with("Fit") => (ResizeMode::Letterbox, 0),
        _ => (ResizeMode::Stretch, 0),
    }
}

fn size(resize: &Resize, resolution: &Json) -> Size {
    let side = |value: &Option<Json>| value.as_ref().and_then(number);
    if let (Some(width), Some(height)) = (side(&resize.width), side(&resize.height)) {
        return Size { height, width };
    }
    match resolution {
        Json::Array(sides) => Size {
            width: sides.first().and_then(number).unwrap_or(USUAL),
            height: sides.get(1).and_then(number).unwrap_or(USUAL),
        },
        one => {
            let side = number(one).unwrap_or(USUAL);
            Size {
                height: side,
                width: side,
            }
        }
    }
}

/// A positive number, or a text of one.
fn number(value: &Json) -> Option<usize> {
    let number = match value {
        Json::String(text) => text.trim().parse().ok()?,
        other => usize::try_from(other.as_u64()?).ok()?,
    };
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(content: &Json) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, content.to_string()).unwrap();
        (folder, path)
    }

    #[test]
    fn the_old_description_says_the_same_as_the_new() {
        let steps = json!({"auto-orient": {"enabled": true},
            "static-crop": {"enabled": true, "x_min": 10, "x_max": 90, "y_min": 0, "y_max": 50},
            "resize": {"enabled": true, "width": 416, "height": 320,
                "format": "Fit (grey edges) in"}});
        let content = json!({"PREPROCESSING": steps.to_string(), "RESOLUTION": 640,
            "BATCH_SIZE": 1, "CLASS_MAP": {"1": "b", "0": "a"}, "COLORS": {}});
        let (_folder, path) = file(&content);
        let config = inference_config(&path, "yolov8").unwrap();
        let input = &config.network_input;
        assert_eq!(
            input.training_input_size,
            Size {
                height: 320,
                width: 416
            }
        );
        assert_eq!(input.resize_mode, ResizeMode::Letterbox);
        assert_eq!(input.padding_value, Some(114));
        let crop = config.image_pre_processing.unwrap().static_crop.unwrap();
        assert_eq!((crop.x_min, crop.y_max), (10.0, 50.0));
        assert_eq!(class_names(&path).unwrap(), ["a", "b"]);
    }

    #[test]
    fn without_a_resize_step_the_resolution_counts() {
        let (_folder, path) = file(&json!({"PREPROCESSING": "{}", "RESOLUTION": [352, 288]}));
        let config = inference_config(&path, "rfdetr").unwrap();
        let size = config.network_input.training_input_size;
        assert_eq!((size.width, size.height), (352, 288));
        assert_eq!(config.network_input.resize_mode, ResizeMode::Stretch);
        assert!(config.network_input.normalization.is_some());
        let (_folder, path) = file(&json!({"PREPROCESSING": "{"}));
        let error = inference_config(&path, "yolov8").unwrap_err().to_string();
        assert!(error.contains("PREPROCESSING"), "{error}");
    }

    #[test]
    fn sizes_are_no_part_of_an_architecture() {
        for (kind, wanted) in [
            ("yolov8n", "yolov8"),
            ("yolov5v2s", "yolov5"),
            ("yolov10m", "yolov10"),
            ("yolo_nas_s", "yolo-nas"),
            ("rf-detr-nano", "rfdetr"),
            ("yolact", "yolact"),
        ] {
            assert_eq!(&*architecture(kind), wanted);
        }
    }
}
