//! How model families write boxes, and how their coordinates become pixels of the image.
//!
//! | family | box | range |
//! | --- | --- | --- |
//! | google-gemini | `box_2d`: y, x, y, x, or named sides | thousandths, or fractions of 1; not clipped |
//! | openai, anthropic-claude | `box_2d`, or named sides | pixels of the picture as uploaded, or fractions |
//! | spacexai | `box_2d` | percent |
//! | qwen, zai, zai-flash | `box_2d` or `bbox_2d` | thousandths; bad entries are left out |
//! | muse | named sides | thousandths; bad entries are left out |

use super::Named;
use crate::blocks::formatters::answer;
use crate::values::{Dict, Value, python};

const SIDES: [&str; 4] = ["x_min", "y_min", "x_max", "y_max"];

/// The boxes in what a model said of an image of this width and height; `None` if it cannot be
/// understood.
pub(super) fn boxes(model: &str, text: &str, size: [f64; 2]) -> Option<Vec<Named>> {
    let said = answer::read(text);
    match model {
        "google-gemini" => all(entries(&said?)?, |entry| gemini(entry, size)),
        "openai" => uploaded(&said?, size, openai_size(size)),
        "anthropic-claude" => uploaded(&said?, size, claude_size(size)),
        "spacexai" => all(entries(&said?)?, |entry| scaled(entry, [100.0; 2], size)),
        "qwen" | "zai" | "zai-flash" => {
            some(&said?, &["box_2d", "bbox_2d"], |entry| qwen(entry, size))
        }
        "muse" => said
            .and_then(|said| some(&said, &["x_min"], |entry| muse(entry, size)))
            .or_else(|| {
                let found = answer::objects(text);
                let complete = found.iter().filter(|v| v.as_dict().is_some_and(has_sides));
                let boxes: Vec<Named> = complete.filter_map(|v| muse(v.as_dict()?, size)).collect();
                (!boxes.is_empty()).then_some(boxes)
            }),
        _ => None,
    }
}

/// The entries of a list, or of the list `detections` in an object.
fn entries(said: &Value) -> Option<&[Value]> {
    match said {
        Value::Dict(found) => found.get("detections")?.as_slice(),
        other => other.as_slice(),
    }
}

fn all(entries: &[Value], read: impl Fn(&Dict) -> Option<Named>) -> Option<Vec<Named>> {
    entries.iter().map(|entry| read(entry.as_dict()?)).collect()
}

/// The entries that can be read, of a list or of one object with one of these keys.
fn some(said: &Value, keys: &[&str], read: impl Fn(&Dict) -> Option<Named>) -> Option<Vec<Named>> {
    let entries = match said {
        Value::Dict(one) if !one.contains_key("detections") => {
            let whole = keys.iter().any(|key| one.contains_key(*key));
            (whole && (keys != ["x_min"] || has_sides(one))).then_some(std::slice::from_ref(said))
        }
        other => entries(other),
    };
    let read = |entry: &Value| entry.as_dict().and_then(&read);
    Some(entries?.iter().filter_map(read).collect())
}

fn has_sides(entry: &Dict) -> bool {
    SIDES.iter().all(|side| entry.contains_key(*side))
}

fn text_under(entry: &Dict, keys: &[&str]) -> String {
    let found = keys
        .iter()
        .find_map(|key| entry.get(*key).filter(|v| !v.is_none()));
    found.map_or("unknown".into(), python::to_str)
}

fn confidence(entry: &Dict) -> Option<f64> {
    entry
        .get("confidence")
        .map_or(Some(1.0), answer::confidence)
}

fn named(xyxy: [f64; 4], class: String, confidence: f64) -> Named {
    Named {
        xyxy: xyxy.map(python::round_half_even),
        class,
        class_id: None,
        confidence,
        corners: None,
    }
}

/// Four numbers under a key; true and false are none.
fn four(entry: &Dict, key: &str) -> Option<[f64; 4]> {
    let list = entry.get(key)?.as_slice()?;
    let numbers: Option<Vec<f64>> = list.iter().map(number).collect();
    numbers?.try_into().ok()
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(_) => None,
        other => other.as_f64().filter(|x| x.is_finite()),
    }
}

fn sides(entry: &Dict) -> Option<[f64; 4]> {
    let mut found = [0.0; 4];
    for (side, name) in found.iter_mut().zip(SIDES) {
        *side = number(entry.get(name)?)?;
    }
    Some(found)
}

/// A box in a space of this range in pixels of the image; `clip` keeps it inside.
fn to_pixels(xyxy: [f64; 4], range: [f64; 2], size: [f64; 2], clip: bool) -> [f64; 4] {
    let mut out = [0.0; 4];
    for (i, value) in out.iter_mut().enumerate() {
        let inside = match clip {
            true => xyxy[i].clamp(0.0, range[i % 2]),
            false => xyxy[i],
        };
        *value = inside / range[i % 2] * size[i % 2];
    }
    out
}

const GEMINI_CLASS: &[&str] = &["class_name", "label", "class"];

fn gemini(entry: &Dict, size: [f64; 2]) -> Option<Named> {
    let xyxy = match entry.contains_key("box_2d") {
        true => {
            let [y1, x1, y2, x2] = four(entry, "box_2d")?;
            to_pixels([x1, y1, x2, y2], [1000.0; 2], size, false)
        }
        false => to_pixels(sides(entry)?, [1.0; 2], size, false),
    };
    Some(named(
        xyxy,
        text_under(entry, GEMINI_CLASS),
        confidence(entry)?,
    ))
}

/// A `box_2d` whose numbers may be written as text.
fn scaled(entry: &Dict, range: [f64; 2], size: [f64; 2]) -> Option<Named> {
    let sides = entry.get("box_2d")?.as_slice()?;
    let sides: Vec<f64> = sides.iter().map(answer::number).collect::<Option<_>>()?;
    let xyxy = to_pixels(sides.try_into().ok()?, range, size, true);
    Some(named(
        xyxy,
        text_under(entry, GEMINI_CLASS),
        confidence(entry)?,
    ))
}

fn uploaded(said: &Value, size: [f64; 2], upload: [f64; 2]) -> Option<Vec<Named>> {
    let entries = entries(said)?;
    let is_box = |entry: &Value| entry.as_dict().is_some_and(|e| e.contains_key("box_2d"));
    if matches!(said, Value::Dict(_)) && !entries.first().is_some_and(is_box) {
        return all(entries, |entry| {
            let class = python::to_str(entry.get("class_name")?);
            let xyxy = to_pixels(sides(entry)?, [1.0; 2], size, false);
            Some(named(xyxy, class, confidence(entry)?))
        });
    }
    all(entries, |entry| scaled(entry, upload, size))
}

fn qwen(entry: &Dict, size: [f64; 2]) -> Option<Named> {
    let keys = ["box_2d", "bbox_2d"];
    let key = keys.iter().find(|key| entry.contains_key(**key))?;
    let xyxy = to_pixels(four(entry, key)?, [1000.0; 2], size, true);
    let class = text_under(entry, &["label", "description", "class_name", "class"]);
    Some(named(xyxy, class, 1.0))
}

fn muse(entry: &Dict, size: [f64; 2]) -> Option<Named> {
    let xyxy = to_pixels(sides(entry)?, [1000.0; 2], size, true);
    let label = entry.get("label").filter(|label| python::truthy(label));
    let class = label.map_or("unknown".into(), python::to_str);
    Some(named(xyxy, class, 1.0))
}

/// Size of the picture that OpenAI's models see: the longer side has 2048 pixels at most.
fn openai_size([width, height]: [f64; 2]) -> [f64; 2] {
    let longest = width.max(height);
    if longest <= 2048.0 {
        return [width, height];
    }
    [width, height].map(|side| python::round_half_even(side * 2048.0 / longest).max(1.0))
}

/// Size of the picture that Claude sees: at most 2576 pixels a side and 4784 tiles of 28 pixels.
fn claude_size([width, height]: [f64; 2]) -> [f64; 2] {
    let tiles = |side: f64| (side / 28.0).ceil();
    let fits = |w: f64, h: f64| {
        tiles(w) * 28.0 <= 2576.0 && tiles(h) * 28.0 <= 2576.0 && tiles(w) * tiles(h) <= 4784.0
    };
    if fits(width, height) {
        return [width, height];
    }
    if height > width {
        let [h, w] = claude_size([height, width]);
        return [w, h];
    }
    let ratio = width / height;
    let other = |side: f64| python::round_half_even(side / ratio).max(1.0);
    let (mut low, mut high) = (1.0, width);
    while low + 1.0 < high {
        let middle = ((low + high) / 2.0_f64).floor();
        if fits(middle, other(middle)) {
            low = middle;
        } else {
            high = middle;
        }
    }
    [low, other(low)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: [f64; 2] = [160.0, 120.0];

    fn found(model: &str, text: &str) -> String {
        let Some(boxes) = boxes(model, text, SIZE) else {
            return "-".into();
        };
        let texts = boxes
            .iter()
            .map(|b| format!("{} {:?}", b.class, b.xyxy.map(|x| x as i64)));
        texts.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn each_family_in_its_own_units() {
        // The recorded cases vlm_as_detector_*.
        let sides = r#"{"detections": [{"x_min": 0.25, "y_min": 0.0, "x_max": 1.2, "y_max": 1.0, "class_name": "yak"}]}"#;
        for model in ["google-gemini", "openai", "anthropic-claude"] {
            assert_eq!(found(model, sides), "yak [40, 0, 192, 120]");
        }
        assert_eq!(
            found(
                "google-gemini",
                r#"[{"box_2d": [100, 200, 500, 800], "label": "cat"}]"#
            ),
            "cat [32, 12, 128, 60]"
        );
        assert_eq!(
            found(
                "spacexai",
                r#"[{"box_2d": [10.5, 20, 50, 80], "label": "cat"}]"#
            ),
            "cat [17, 24, 80, 96]"
        );
        let text = r#"[{"box_2d": ["10", 20, "50", 80], "label": "cat"}]"#;
        assert_eq!(found("openai", text), "cat [10, 20, 50, 80]");
        assert_eq!(found("google-gemini", text), "-");
    }

    #[test]
    fn some_families_leave_bad_entries_out() {
        let text = r#"[{"bbox_2d": [0, 0, 1000, 1200], "description": "yak"}, {"box_2d": [1, 2, 3]}, 7,
            {"box_2d": [1, true, 3, 4]}, {"box_2d": [10, 10, 20, 20]}]"#;
        assert_eq!(
            found("zai", text),
            "yak [0, 0, 160, 120]; unknown [2, 1, 3, 2]"
        );
        // What it says of its confidence is not read.
        let unsure = r#"[{"box_2d": [10, 10, 20, 20], "confidence": "high"}]"#;
        assert_eq!(found("qwen", unsure), "unknown [2, 1, 3, 2]");
        assert_eq!(found("spacexai", unsure), "-");
        assert_eq!(found("zai", r#"[{"label": "cat"}]"#), "");
        assert_eq!(found("spacexai", r#"[{"label": "cat"}]"#), "-");
        assert_eq!(
            found("zai", r#"{"bbox_2d": [0, 0, 500, 500], "class": "dog"}"#),
            "dog [0, 0, 80, 60]"
        );
    }

    #[test]
    fn muse_may_chat() {
        let text = r#"First {"label": "cat", "x_min": 0, "y_min": 0, "x_max": 500, "y_max": 500} and then
            {"label": "", "x_min": 10, "y_min": 20, "x_max": 30, "y_max": 40}"#;
        assert_eq!(
            found("muse", text),
            "cat [0, 0, 80, 60]; unknown [2, 2, 5, 5]"
        );
        assert_eq!(found("muse", r#"{"other": 1}"#), "-");
    }

    #[test]
    fn pictures_are_made_smaller_for_the_upload() {
        // Specification 9.9.
        assert_eq!(openai_size([3000.0, 1500.0]), [2048.0, 1024.0]);
        assert_eq!(claude_size([4000.0, 3000.0]), [2212.0, 1659.0]);
        assert_eq!(claude_size([2000.0, 2000.0]), [1932.0, 1932.0]);
        assert_eq!(claude_size([3000.0, 4000.0]), [1659.0, 2212.0]);
        assert_eq!(claude_size(SIZE), SIZE);
    }
}
