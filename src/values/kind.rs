//! Kinds: the names that say what a value means, and by which a definition is checked.

/// Name of a kind as it stands in definitions. Kinds are compared by name; there is no sub-typing.
pub type Kind = &'static str;

macro_rules! kinds {
    ($($name:ident = $text:literal, $doc:literal, $internal:literal, $serialised:literal;)*) => {
        $(#[doc = $doc] pub const $name: Kind = $text;)*
        /// Every kind: name, type inside the engine, type in JSON (both as the reference publishes them).
        pub const ALL: &[(Kind, &str, &str)] = &[$(($text, $internal, $serialised)),*];

        /// What values of a kind are; `None` for an unknown kind.
        pub fn about(kind: &str) -> Option<&'static str> {
            match kind {
                $($text => Some($doc),)*
                _ => None,
            }
        }
    };
}

kinds! {
    IMAGE = "image", "An image.", "WorkflowImageData", "dict";
    VIDEO_METADATA = "video_metadata", "Facts about a video frame (deprecated: images carry them).", "VideoMetadata", "dict";
    WILDCARD = "*", "Equivalent of any element.", "Any", "Any";
    OBJECT_DETECTION = "object_detection_prediction", "Boxes.", "sv.Detections", "dict";
    INSTANCE_SEGMENTATION = "instance_segmentation_prediction", "Boxes with dense masks.", "sv.Detections", "dict";
    RLE_INSTANCE_SEGMENTATION = "rle_instance_segmentation_prediction", "Boxes with run-length masks.", "sv.Detections", "dict";
    SEMANTIC_SEGMENTATION = "semantic_segmentation_prediction", "One run-length mask per class.", "sv.Detections", "dict";
    KEYPOINT_DETECTION = "keypoint_detection_prediction", "Boxes with key points.", "sv.Detections", "dict";
    QR_CODE_DETECTION = "qr_code_detection", "QR codes.", "sv.Detections", "dict";
    BAR_CODE_DETECTION = "bar_code_detection", "Bar codes.", "sv.Detections", "dict";
    CLASSIFICATION = "classification_prediction", "A classifier's result.", "dict", "dict";
    DETECTION = "detection", "One box (query language only).", "Tuple[np.ndarray, Optional[np.ndarray], Optional[float], Optional[float], Optional[int], dict]", "Tuple[list, Optional[list], Optional[float], Optional[float], Optional[int], dict]";
    DETECTIONS_OVERLAPS = "detections_overlaps", "Records of overlapping boxes.", "List[Dict[str, Any]]", "List[Dict[str, Any]]";
    ACTION_RECOGNITION = "action_recognition_prediction", "Classified frame ranges.", "List[ActionRecognitionPrediction]", "List[dict]";
    TOP_CLASS = "top_class", "Name of the best class.", "str", "str";
    STRING = "string", "Text.", "str", "str";
    LANGUAGE_MODEL_OUTPUT = "language_model_output", "Text of a language model.", "str", "str";
    PREDICTION_TYPE = "prediction_type", "What a prediction is.", "str", "str";
    PARENT_ID = "parent_id", "Identifier of the image predicted on.", "str", "str";
    INFERENCE_ID = "inference_id", "Identifier of an inference.", "str", "str";
    ROBOFLOW_MODEL_ID = "roboflow_model_id", "Model identifier.", "str", "str";
    ROBOFLOW_PROJECT = "roboflow_project", "Project name.", "str", "str";
    ROBOFLOW_SOLUTION = "roboflow_solution", "Vision events use case.", "str", "str";
    ROBOFLOW_API_KEY = "roboflow_api_key", "Platform credential.", "str", "str";
    ROBOFLOW_MANAGED_KEY = "ROBOFLOW_MANAGED_KEY", "Credential held by the platform.", "str", "str";
    SECRET = "secret", "Confidential text, masked in outputs.", "str", "str";
    INTEGER = "integer", "A whole number.", "int", "int";
    FLOAT = "float", "A number.", "float", "float";
    FLOAT_ZERO_TO_ONE = "float_zero_to_one", "A number from 0 to 1.", "float", "float";
    BOOLEAN = "boolean", "Boolean flag.", "bool", "bool";
    LIST_OF_VALUES = "list_of_values", "A list.", "List[Any]", "List[Any]";
    DICTIONARY = "dictionary", "An object.", "dict", "dict";
    POINT = "point", "A 2-D point.", "Tuple[int, int]", "Tuple[int, int]";
    LABELED_POINTS = "labeled_points", "Prompt points.", "List[Dict[str, Any]]", "List[Dict[str, Any]]";
    ZONE = "zone", "A polygon.", "List[Tuple[int, int]]", "List[Tuple[int, int]]";
    RGB_COLOR = "rgb_color", "A colour.", "Tuple[int, int, int]", "Tuple[int, int, int]";
    CONTOURS = "contours", "Lists of outline points.", "List[np.ndarray]", "List[list]";
    IMAGE_KEYPOINTS = "image_keypoints", "Classical feature points.", "dict", "dict";
    IMAGE_METADATA = "image_metadata", "Width and height of an image.", "dict", "dict";
    NUMPY_ARRAY = "numpy_array", "A numeric array.", "np.ndarray", "list";
    TENSOR = "tensor", "A raw tensor.", "torch.Tensor", "list";
    EMBEDDING = "embedding", "A feature vector.", "List[float]", "List[float]";
    BYTES = "bytes", "Bytes.", "bytes", "str";
    SERIALISED_PAYLOADS = "serialised_payloads", "Payloads for sinks.", "List[Union[bytes, str, dict]]", "List[Union[str, dict]]";
    TIMESTAMP = "timestamp", "A point in time.", "datetime", "str";
}

/// Kinds of box sets with boxes alone, masks, or key points: what most detection blocks take.
pub const DETECTIONS: &[Kind] = &[OBJECT_DETECTION, INSTANCE_SEGMENTATION, KEYPOINT_DETECTION];
