//! `inference_config.json`: how an image becomes the input of a network.

use serde::Deserialize;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
pub struct InferenceConfig {
    /// Changes of the image before it is resized.
    #[serde(default)]
    pub image_pre_processing: Option<ImagePreProcessing>,
    /// Form of the input.
    pub network_input: NetworkInput,
    /// Batch sizes.
    #[serde(default)]
    pub forward_pass: Option<ForwardPass>,
    /// What is left to do with the output.
    #[serde(default)]
    pub post_processing: Option<PostProcessing>,
    /// Changes of the list of classes.
    #[serde(default)]
    pub class_names_operations: Option<Vec<ClassNameOperation>>,
}

/// Changes of the image before it is resized, in the order in which they happen. Orientation by
/// EXIF is the decoder's business.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ImagePreProcessing {
    /// A part of the image that alone is looked at.
    #[serde(default, rename = "static-crop")]
    pub static_crop: Option<StaticCrop>,
    /// Removal of colour.
    #[serde(default)]
    pub grayscale: Option<Switch>,
    /// Change of contrast.
    #[serde(default)]
    pub contrast: Option<Contrast>,
}

/// A part of the image in percent of its sides.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct StaticCrop {
    /// Whether the crop takes place.
    #[serde(default)]
    pub enabled: bool,
    /// Left edge.
    #[serde(default)]
    pub x_min: f64,
    /// Right edge.
    #[serde(default = "hundred")]
    pub x_max: f64,
    /// Top edge.
    #[serde(default)]
    pub y_min: f64,
    /// Bottom edge.
    #[serde(default = "hundred")]
    pub y_max: f64,
}

fn hundred() -> f64 {
    100.0
}

/// Something that is on or off.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Switch {
    /// Whether it is on.
    #[serde(default)]
    pub enabled: bool,
}

/// Change of contrast.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Contrast {
    /// Whether it takes place.
    #[serde(default)]
    pub enabled: bool,
    /// Which one.
    #[serde(default, rename = "type")]
    pub method: Option<ContrastMethod>,
}

/// Ways of changing the contrast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ContrastMethod {
    /// Equal histograms in tiles.
    #[serde(rename = "Adaptive Equalization")]
    AdaptiveEqualization,
    /// From the 2nd to the 98th percentile.
    #[serde(rename = "Contrast Stretching")]
    ContrastStretching,
    /// Equal histogram of the whole.
    #[serde(rename = "Histogram Equalization")]
    HistogramEqualization,
}

/// Form of the input.
#[derive(Clone, Debug, Deserialize)]
pub struct NetworkInput {
    /// Size of the network's input.
    pub training_input_size: Size,
    /// Size that training images had before they became that (RF-DETR only).
    #[serde(default)]
    pub dataset_version_resize_dimensions: Option<Size>,
    /// Order of the channels.
    pub color_mode: ColorMode,
    /// How the image is fitted into the input.
    pub resize_mode: ResizeMode,
    /// Byte around the image where it does not fill the input.
    #[serde(default)]
    pub padding_value: Option<u8>,
    /// Channels; only 3 can be prepared.
    #[serde(default = "three")]
    pub input_channels: u32,
    /// Number by which bytes are divided.
    #[serde(default)]
    pub scaling_factor: Option<f32>,
    /// Mean and standard deviation per channel.
    #[serde(default)]
    pub normalization: Option<[[f32; 3]; 2]>,
}

fn three() -> u32 {
    3
}

/// A size in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Size {
    /// Pixels down.
    pub height: usize,
    /// Pixels across.
    pub width: usize,
}

/// Order of the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorMode {
    /// Blue first.
    Bgr,
    /// Red first.
    Rgb,
}

/// How an image is fitted into the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeMode {
    /// To the size, whatever the proportions.
    Stretch,
    /// Whole, in proportion, with a border.
    Letterbox,
    /// The same as [`Self::Letterbox`] for the reference: nothing is reflected.
    LetterboxReflectEdges,
    /// The middle, unscaled.
    CenterCrop,
    /// Replaced when a model is loaded, in a way that depends on the architecture.
    FitLongerEdge,
}

/// Batch sizes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct ForwardPass {
    /// The only batch size that the network takes.
    #[serde(default)]
    pub static_batch_size: Option<usize>,
    /// The largest batch of a network that takes any.
    #[serde(default)]
    pub max_dynamic_batch_size: Option<usize>,
}

/// What is left to do with the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct PostProcessing {
    /// The step.
    #[serde(rename = "type")]
    pub kind: PostProcessingKind,
    /// Whether the network does it itself.
    #[serde(default)]
    pub fused: bool,
}

/// Steps after the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PostProcessingKind {
    /// Suppression of overlapping boxes.
    Nms,
    /// Scores of exclusive classes.
    Softmax,
    /// Scores of independent classes.
    Sigmoid,
}

/// A change of the list of classes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClassNameOperation {
    /// The class is taken out, those behind it move up.
    ClassNameRemoval {
        /// The class.
        class_name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_format_is_read() {
        let text = r#"{
            "image_pre_processing": {"auto-orient": {"enabled": true},
                "static-crop": {"enabled": true, "x_min": 10, "x_max": 90, "y_min": 0, "y_max": 50},
                "contrast": {"enabled": true, "type": "Contrast Stretching"},
                "grayscale": {"enabled": false}},
            "network_input": {"training_input_size": {"height": 320, "width": 416},
                "dynamic_spatial_size_supported": true,
                "dynamic_spatial_size_mode": {"type": "pad-to-be-divisible", "value": 32},
                "color_mode": "bgr", "resize_mode": "letterbox-reflect-edges", "padding_value": 127,
                "input_channels": 3, "scaling_factor": null,
                "normalization": [[0.5, 0.5, 0.5], [0.25, 0.25, 0.25]]},
            "forward_pass": {"static_batch_size": null, "max_dynamic_batch_size": 4},
            "post_processing": {"type": "nms", "fused": true, "nms_parameters": {"class_agnostic": 0}},
            "model_initialization": null,
            "class_names_operations": [{"type": "class_name_removal", "class_name": "bg"}]}"#;
        let config: InferenceConfig = serde_json::from_str(text).unwrap();
        let crop = config.image_pre_processing.unwrap().static_crop.unwrap();
        assert_eq!((crop.x_min, crop.y_max), (10.0, 50.0));
        assert_eq!(
            config.network_input.resize_mode,
            ResizeMode::LetterboxReflectEdges
        );
        assert_eq!(config.forward_pass.unwrap().max_dynamic_batch_size, Some(4));
        assert!(config.post_processing.unwrap().fused);
        let removal = ClassNameOperation::ClassNameRemoval {
            class_name: "bg".into(),
        };
        assert_eq!(config.class_names_operations, Some(vec![removal]));
    }

    #[test]
    fn an_unknown_resize_mode_is_an_error() {
        let text = r#"{"network_input": {"training_input_size": {"height": 1, "width": 1},
            "color_mode": "rgb", "resize_mode": "squash"}}"#;
        let error = serde_json::from_str::<InferenceConfig>(text)
            .unwrap_err()
            .to_string();
        assert!(error.contains("squash"), "{error}");
    }
}
