//! Boxes as Florence-2 writes them, in pixels, one form for each task.

use super::Named;
use crate::blocks::formatters::answer;
use crate::geometry;
use crate::values::{Value, python};

/// The boxes in an answer; `None` if it cannot be understood.
pub(super) fn boxes(answer: &Value, task: &str) -> Option<Vec<Named>> {
    let found = answer.as_dict()?;
    let list = |key: &str| found.get(key).and_then(Value::as_slice);
    let turned = task == "ocr-with-text-detection";
    let shapes = list(if turned { "quad_boxes" } else { "bboxes" })?;
    let labels = match task {
        "region-proposal" => None,
        "open-vocabulary-object-detection" => Some(list("bboxes_labels")?),
        _ => Some(list("labels")?),
    };
    if labels.is_some_and(|labels| labels.len() != shapes.len()) {
        return None;
    }
    let open_set = matches!(
        task,
        "object-detection" | "phrase-grounded-object-detection"
    );
    let shape = |(row, shape): (usize, &Value)| {
        // Ids of an open set are made of the text, so there must be one.
        if open_set && labels.is_some_and(|labels| labels[row].as_str().is_none()) {
            return None;
        }
        let class = labels.map_or("roi".into(), |labels| python::to_str(&labels[row]));
        let class_id = match task {
            _ if open_set => Some(id_of(&class)),
            "open-vocabulary-object-detection" => None,
            _ => Some(0),
        };
        let corners: Option<[f64; 8]> = if turned { Some(numbers(shape)?) } else { None };
        Some(Named {
            xyxy: match corners {
                Some(corners) => around(&corners),
                None => around(&numbers::<4>(shape)?),
            },
            class,
            class_id,
            confidence: 1.0,
            corners,
        })
    };
    shapes.iter().enumerate().map(shape).collect()
}

/// So many numbers, as the reference's 32-bit floats.
fn numbers<const N: usize>(value: &Value) -> Option<[f64; N]> {
    let list = value.as_slice()?;
    let numbers = list
        .iter()
        .map(|x| answer::number(x).map(|x| f64::from(x as f32)));
    numbers.collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// The box around points `x, y, x, y, …`.
fn around(points: &[f64]) -> [f64; 4] {
    let points = points.chunks_exact(2).map(|p| [p[0], p[1]]);
    geometry::bounds(points).unwrap_or_default()
}

/// The id that the reference gives to a class of an open set: the first nine digits of its MD5 sum,
/// modulo 10,000.
fn id_of(class: &str) -> i64 {
    let [a, b, ..] = md5(class.as_bytes());
    let digits = u64::from(a.swap_bytes()) << 32 | u64::from(b.swap_bytes());
    (digits >> 28) as i64 % 10_000
}

/// The MD5 sum of a text as four little-endian words (RFC 1321).
fn md5(text: &[u8]) -> [u32; 4] {
    const TURNS: [[u32; 4]; 4] = [
        [7, 12, 17, 22],
        [5, 9, 14, 20],
        [4, 11, 16, 23],
        [6, 10, 15, 21],
    ];
    let mut message = text.to_vec();
    message.push(0x80);
    message.resize(message.len().next_multiple_of(64), 0);
    if text.len() % 64 >= 56 {
        message.resize(message.len() + 64, 0);
    }
    let end = message.len() - 8;
    message[end..].copy_from_slice(&(text.len() as u64 * 8).to_le_bytes());
    let mut sum = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for chunk in message.chunks_exact(64) {
        let word = |i: usize| {
            let bytes = [
                chunk[4 * i],
                chunk[4 * i + 1],
                chunk[4 * i + 2],
                chunk[4 * i + 3],
            ];
            u32::from_le_bytes(bytes)
        };
        let [mut a, mut b, mut c, mut d] = sum;
        for i in 0..64 {
            let (mixed, at) = match i / 16 {
                0 => ((b & c) | (!b & d), i),
                1 => ((d & b) | (!d & c), 5 * i + 1),
                2 => (b ^ c ^ d, 3 * i + 5),
                _ => (c ^ (b | !d), 7 * i),
            };
            let sine = (((i + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let added = a
                .wrapping_add(mixed)
                .wrapping_add(sine)
                .wrapping_add(word(at % 16));
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(added.rotate_left(TURNS[i / 16][i % 4]));
        }
        for (total, part) in sum.iter_mut().zip([a, b, c, d]) {
            *total = total.wrapping_add(part);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn found(task: &str, answer: Json) -> String {
        let Some(boxes) = boxes(&Value::from_json(&answer), task) else {
            return "-".into();
        };
        let text = |b: &Named| format!("{} {:?} {:?}", b.class, b.class_id, b.xyxy);
        boxes.iter().map(text).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn classes_of_an_open_set_have_the_ids_of_the_reference() {
        // Specification 9.9; RFC 1321 for the long text.
        assert_eq!((id_of("cat"), id_of("zebra")), (7725, 1863));
        let long = "1234567890".repeat(8);
        assert_eq!(
            md5(long.as_bytes())[0].to_le_bytes(),
            [0x57, 0xed, 0xf4, 0xa2]
        );
    }

    #[test]
    fn each_task_has_its_form() {
        // The recorded cases vlm_as_detector_v1_florence_2_*.
        assert_eq!(
            found(
                "object-detection",
                json!({"bboxes": [[50, 20, 10.5, 80]], "labels": ["cat"]})
            ),
            "cat Some(7725) [10.5, 20.0, 50.0, 80.0]"
        );
        assert_eq!(
            found(
                "region-proposal",
                json!({"bboxes": [[1, 2, 3, 4]], "labels": [""]})
            ),
            "roi Some(0) [1.0, 2.0, 3.0, 4.0]"
        );
        assert_eq!(
            found(
                "open-vocabulary-object-detection",
                json!({"bboxes": [[1, 2, 3, 4]], "bboxes_labels": ["a"]})
            ),
            "a None [1.0, 2.0, 3.0, 4.0]"
        );
        let turned = json!({"quad_boxes": [[10, 20, 50, 22, 49, 40, 9, 38]], "labels": ["STOP"]});
        assert_eq!(
            found("ocr-with-text-detection", turned),
            "STOP Some(0) [9.0, 20.0, 50.0, 40.0]"
        );
    }

    #[test]
    fn incomplete_answers() {
        assert_eq!(found("object-detection", json!({"labels": ["a"]})), "-");
        assert_eq!(
            found("object-detection", json!({"bboxes": [], "labels": ["a"]})),
            "-"
        );
        assert_eq!(
            found("object-detection", json!({"bboxes": [], "labels": []})),
            ""
        );
        let unnamed = json!({"bboxes": [["1", 2, 3, 4]], "labels": [null]});
        assert_eq!(found("object-detection", unnamed.clone()), "-");
        assert_eq!(
            found("object-detection-and-caption", unnamed),
            "None Some(0) [1.0, 2.0, 3.0, 4.0]"
        );
    }
}
