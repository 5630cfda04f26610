//! Kinds as clients see them: description, type hints, and JSON schemas of the larger ones.

use serde_json::{Value as Json, json};

use crate::values::kind;

/// Every kind.
pub(super) fn declared() -> Json {
    kind::ALL.iter().map(|(kind, ..)| describe(kind)).collect()
}

/// Kinds by their names.
pub(super) fn describe_all<K: AsRef<str>>(kinds: &[K]) -> Json {
    kinds.iter().map(|kind| describe(kind.as_ref())).collect()
}

/// One kind: what it is, and the type of its values in the engine and in JSON.
pub(super) fn describe(name: &str) -> Json {
    let known = kind::ALL.iter().find(|(kind, ..)| *kind == name);
    let (_, internal, serialised) = known.copied().unwrap_or((kind::WILDCARD, "Any", "Any"));
    let about = kind::about(name).unwrap_or_default();
    json!({
        "name": name,
        "description": about.trim_end_matches('.'),
        "docs": docs(name, about, serialised),
        "serialised_data_type": serialised,
        "internal_data_type": internal,
    })
}

fn docs(name: &str, about: &str, serialised: &str) -> String {
    match name {
        // The text of the recorded answers.
        kind::BOOLEAN => "\nThis kind represents boolean value - `True` or `False`\n".to_owned(),
        _ => format!("{about} In JSON: `{serialised}`."),
    }
}

/// The Python type of a kind's JSON values.
pub(super) fn typing_hint(name: &str) -> Option<&'static str> {
    let known = kind::ALL.iter().find(|(kind, ..)| *kind == name);
    known.map(|(_, _, serialised)| *serialised)
}

/// JSON schema of a kind's values, for the kinds that have one; a list where there are several forms.
pub(super) fn schema(name: &str) -> Option<Json> {
    Some(match name {
        kind::IMAGE => image(),
        kind::VIDEO_METADATA => video_metadata(),
        kind::IMAGE_KEYPOINTS => image_keypoints(),
        kind::CLASSIFICATION => json!([multi_class(), multi_label()]),
        kind::OBJECT_DETECTION => boxes("ObjectDetectionSchema", "BoundingBoxSchema", None),
        kind::INSTANCE_SEGMENTATION => boxes(
            "InstanceSegmentationSchema",
            "InstanceSegmentationSchemaPrediction",
            Some(("points", list_of("PointSchema"), point())),
        ),
        kind::KEYPOINT_DETECTION => boxes(
            "KeypointDetectionSchema",
            "KeypointsPredictionSchema",
            Some(("keypoints", list_of("KeypointSchema"), keypoint())),
        ),
        kind::QR_CODE_DETECTION => boxes(
            "QRCodeDetectionSchema",
            "QRCodePredictionSchema",
            Some((
                "data",
                json!({"title": "Data", "type": "string", "description": "Text of the code"}),
                Json::Null,
            )),
        ),
        _ => return None,
    })
}

fn object(title: &str, properties: Json, required: &[&str]) -> Json {
    json!({"properties": properties, "required": required, "title": title, "type": "object"})
}

fn typed(title: &str, ty: &str, about: &str) -> Json {
    json!({"description": about, "title": title, "type": ty})
}

fn number(title: &str, about: &str) -> Json {
    json!({
        "anyOf": [{"type": "integer"}, {"type": "number"}],
        "description": about,
        "title": title,
    })
}

fn nullable(title: &str, ty: &str, about: &str) -> Json {
    json!({"anyOf": [{"type": ty}, {"type": "null"}], "description": about, "title": title})
}

fn list_of(definition: &str) -> Json {
    json!({"items": {"$ref": format!("#/$defs/{definition}")}, "type": "array"})
}

fn image() -> Json {
    let properties = json!({
        "type": {"const": "url", "title": "Type", "type": "string"},
        "value": {"description": "Address or base64 text of the image", "title": "Value"},
    });
    object("ImageSchema", properties, &["type", "value"])
}

fn video_metadata() -> Json {
    let mut flag = nullable(
        "Comes From Video File",
        "boolean",
        "Whether the frame comes from a file",
    );
    flag["default"] = Json::Null;
    let properties = json!({
        "video_identifier": typed("Video Identifier", "string", "Name of the stream"),
        "frame_number": typed("Frame Number", "integer", "Number of the frame in the stream"),
        "frame_timestamp": typed("Frame Timestamp", "string", "When the frame was taken, ISO 8601"),
        "fps": nullable("Fps", "number", "Declared frames per second"),
        "comes_from_video_file": flag,
    });
    let required = ["video_identifier", "frame_number", "frame_timestamp"];
    object("VideoMetadataSchema", properties, &required)
}

fn image_keypoints() -> Json {
    let properties = json!({
        "pt": {"items": {"type": "number"}, "title": "Pt", "type": "array", "description": "Place: x and y"},
        "size": typed("Size", "number", "Diameter of the neighbourhood"),
        "angle": typed("Angle", "number", "Orientation in degrees"),
        "response": typed("Response", "number", "Strength"),
        "octave": typed("Octave", "integer", "Level of the pyramid"),
        "class_id": typed("Class Id", "integer", "Group of the point"),
    });
    let required = ["pt", "size", "angle", "response", "octave", "class_id"];
    object("ImageKeypointsSchema", properties, &required)
}

fn image_size() -> Json {
    let size = |title: &str, side: &str| {
        let about = format!("The original {side} of the image used in inference");
        nullable(title, "integer", &about)
    };
    let properties = json!({"width": size("Width", "width"), "height": size("Height", "height")});
    object("ImageMetadataSchema", properties, &["width", "height"])
}

fn class_score() -> Json {
    let properties = json!({
        "class": typed("class", "string", "Name of the class"),
        "class_id": typed("Class Id", "integer", "Number of the class"),
        "confidence": typed("Confidence", "number", "Confidence of the class"),
    });
    object(
        "ClassScoreSchema",
        properties,
        &["class", "class_id", "confidence"],
    )
}

fn multi_class() -> Json {
    let properties = json!({
        "image": {"$ref": "#/$defs/ImageMetadataSchema"},
        "predictions": list_of("ClassScoreSchema"),
        "top": typed("Top", "string", "Name of the best class"),
        "confidence": typed("Confidence", "number", "Confidence of the best class"),
    });
    let required = ["image", "predictions", "top", "confidence"];
    let mut schema = object("MultiClassClassificationSchema", properties, &required);
    schema["$defs"] =
        json!({"ClassScoreSchema": class_score(), "ImageMetadataSchema": image_size()});
    schema
}

fn multi_label() -> Json {
    let properties = json!({
        "image": {"$ref": "#/$defs/ImageMetadataSchema"},
        "predictions": {
            "additionalProperties": {"$ref": "#/$defs/LabelScoreSchema"},
            "title": "Predictions",
            "type": "object",
        },
        "predicted_classes": {
            "items": {"type": "string"},
            "title": "Predicted Classes",
            "type": "array",
            "description": "Names of the classes above the threshold",
        },
    });
    let score = object(
        "LabelScoreSchema",
        json!({
            "class_id": typed("Class Id", "integer", "Number of the class"),
            "confidence": typed("Confidence", "number", "Confidence of the class"),
        }),
        &["class_id", "confidence"],
    );
    let required = ["image", "predictions", "predicted_classes"];
    let mut schema = object("MultiLabelClassificationSchema", properties, &required);
    schema["$defs"] = json!({"LabelScoreSchema": score, "ImageMetadataSchema": image_size()});
    schema
}

fn point() -> Json {
    let properties = json!({
        "x": number("X", "OX coordinate of the point"),
        "y": number("Y", "OY coordinate of the point"),
    });
    object("PointSchema", properties, &["x", "y"])
}

fn keypoint() -> Json {
    let properties = json!({
        "x": number("X", "OX coordinate of the point"),
        "y": number("Y", "OY coordinate of the point"),
        "confidence": typed("Confidence", "number", "Confidence of the point"),
        "class": typed("class", "string", "Name of the point"),
        "class_id": typed("Class Id", "integer", "Number of the point"),
    });
    let required = ["x", "y", "confidence", "class", "class_id"];
    object("KeypointSchema", properties, &required)
}

/// Schema of a set of boxes; `more` is a field that each box has beyond the usual ones, with the
/// definition that it refers to.
fn boxes(title: &str, box_title: &str, more: Option<(&str, Json, Json)>) -> Json {
    let mut properties = json!({
        "width": number("Width", "Width of bounding box"),
        "height": number("Height", "Height of bounding box"),
        "x": number("X", "OX coordinate of bounding box center"),
        "y": number("Y", "OY coordinate of bounding box center"),
        "confidence": typed("Confidence", "number", "Model confidence for bounding box"),
        "class": typed("class", "string", "Name of the class associated to bounding box"),
        "class_id": typed("Class Id", "integer", "Identifier of bounding box class"),
        "detection_id": typed("Detection Id", "string", "Identifier of detected bounding box"),
        "parent_id": {
            "anyOf": [{"type": "string"}, {"type": "null"}],
            "default": null,
            "description": "Identifier of the image or box that the box was found in",
            "title": "Parent Id",
        },
    });
    let mut required = vec![
        "width",
        "height",
        "x",
        "y",
        "confidence",
        "class",
        "class_id",
        "detection_id",
    ];
    let mut definitions = json!({});
    if let Some((name, property, definition)) = more {
        properties[name] = property;
        required.push(name);
        if let Some(title) = definition["title"].as_str().map(str::to_owned) {
            definitions[title] = definition;
        }
    }
    definitions[box_title] = object(box_title, properties, &required);
    definitions["ImageMetadataSchema"] = image_size();
    let mut predictions = list_of(box_title);
    predictions["title"] = json!("Predictions");
    let properties = json!({
        "image": {"$ref": "#/$defs/ImageMetadataSchema"},
        "predictions": predictions,
    });
    let mut schema = object(title, properties, &["image", "predictions"]);
    schema["$defs"] = definitions;
    schema
}
