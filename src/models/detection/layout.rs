//! How the answers of detection networks are laid out, and how boxes are read from them.
//!
//! | architectures | output | rule |
//! | --- | --- | --- |
//! | YOLOv8, v9, v11, v12 | `[4 + C, N]`: centre, size, class scores | score > threshold, NMS |
//! | the same with NMS inside | `[M, 6…]`: corners, score, class | score ≥ threshold |
//! | YOLOv5, v7 | `[N, 5 + C]`: centre, size, objectness, class scores | objectness > threshold, score of the class, NMS |
//! | YOLOv10 | `[M, 6]` | score > threshold, limit |
//! | YOLO26 | `[M, 6]` | score ≥ threshold |
//! | YOLO-NAS | corners `[N, 4]`, scores `[N, C]` | as YOLOv8 |
//! | YOLOLite | corners `[N, 4]`, objectness `[N, 1]`, classes `[N, C]`, logits | product of both, then as YOLOv8 |
//! | RF-DETR | centre and size `[Q, 4]` in fractions, logits `[Q, C]` | the Q best pairs, score > threshold |

use super::nms::{Candidate, sort_by_score, suppress};
use super::{DetectParams, Thresholds};
use crate::models::config::{PostProcessing, PostProcessingKind};
use crate::models::prepare::Placement;
use crate::models::weights::Tensor;

/// Layout of a network's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One column an anchor, class scores below the box (YOLOv8 and its successors).
    AnchorColumns,
    /// One row an anchor, with objectness (YOLOv5, v7).
    AnchorRows,
    /// Finished boxes.
    EndToEnd {
        /// Whether a score equal to the threshold passes.
        inclusive: bool,
        /// Whether the request's limit of detections holds.
        limited: bool,
    },
    /// Corners and scores in two outputs (YOLO-NAS).
    BoxesAndScores,
    /// Corners, objectness and classes in three outputs (YOLOLite).
    BoxesAndLogits,
    /// Object queries (RF-DETR).
    Queries,
}

impl Layout {
    /// The layout of an architecture's detection packages.
    pub fn of(architecture: &str, post: Option<PostProcessing>) -> Result<Self, String> {
        let fused = post.is_some_and(|post| post.fused);
        let finished = Self::EndToEnd {
            inclusive: true,
            limited: false,
        };
        let layout = match architecture {
            "yolov8" | "yolov9" | "yolov11" | "yolov12" | "yolo11" | "yolo12" if fused => finished,
            "yolov8" | "yolov9" | "yolov11" | "yolov12" | "yolo11" | "yolo12" => {
                Self::AnchorColumns
            }
            "yolov5" | "yolov7" => Self::AnchorRows,
            "yolov10" => Self::EndToEnd {
                inclusive: false,
                limited: true,
            },
            "yolo26" | "yolov26" => finished,
            "yolonas" | "yolo-nas" if fused => {
                return Err("post_processing.fused must be false for YOLO-NAS".into());
            }
            "yolonas" | "yolo-nas" => Self::BoxesAndScores,
            "yololite" if fused => finished,
            "yololite" => Self::BoxesAndLogits,
            "rfdetr" => Self::Queries,
            other => return Err(format!("architecture `{other}` is not known for detection")),
        };
        let needs_nms = matches!(layout, Self::AnchorColumns | Self::BoxesAndScores);
        match post {
            Some(post) if post.kind != PostProcessingKind::Nms => {
                Err("post_processing.type must be `nms`".into())
            }
            None if needs_nms => Err("post_processing of type `nms` is missing".into()),
            _ => Ok(layout),
        }
    }
}

/// Boxes of one image, best first where the layout orders them, in coordinates of the network's
/// input. `classes` maps channels of RF-DETR to class ids (`None`: not a class).
pub fn read(
    layout: Layout,
    outputs: &[Tensor<'_>],
    thresholds: &Thresholds,
    params: &DetectParams,
    classes: &[Option<usize>],
    placement: &Placement,
) -> Result<Vec<Candidate>, String> {
    let nms = |candidates| {
        let agnostic = params.class_agnostic_nms;
        suppress(
            candidates,
            params.iou_threshold,
            agnostic,
            params.max_detections,
        )
    };
    match layout {
        Layout::AnchorColumns => Ok(nms(anchor_columns(output(outputs, 0)?, thresholds)?)),
        Layout::AnchorRows => Ok(nms(anchor_rows(output(outputs, 0)?, thresholds)?)),
        Layout::EndToEnd { inclusive, limited } => {
            let mut found = end_to_end(output(outputs, 0)?, thresholds, inclusive)?;
            if limited {
                found.truncate(params.max_detections);
            }
            Ok(found)
        }
        Layout::BoxesAndScores => {
            let scores = matrix(output(outputs, 1)?)?;
            let boxes = output(outputs, 0)?;
            Ok(nms(boxes_and_scores(
                boxes, scores.0, scores.1, thresholds,
            )?))
        }
        Layout::BoxesAndLogits => Ok(nms(boxes_and_logits(outputs, thresholds)?)),
        Layout::Queries => queries(outputs, thresholds, classes, placement),
    }
}

fn output<'t, 'a>(outputs: &'t [Tensor<'a>], index: usize) -> Result<&'t Tensor<'a>, String> {
    outputs
        .get(index)
        .ok_or_else(|| format!("the graph has {} outputs, too few", outputs.len()))
}

/// Numbers and row length of a two-dimensional output.
fn matrix<'a>(tensor: &Tensor<'a>) -> Result<(&'a [f32], usize), String> {
    match tensor.shape[..] {
        [_, columns] if columns > 0 => Ok((tensor.data, columns)),
        _ => Err(format!("an output has shape {:?} per image", tensor.shape)),
    }
}

fn at_least(columns: usize, least: usize) -> Result<(), String> {
    if columns < least {
        return Err(format!("an output has {columns} values a box, too few"));
    }
    Ok(())
}

fn around_center([cx, cy, w, h]: [f32; 4]) -> [f32; 4] {
    let (w, h) = (w / 2.0, h / 2.0);
    [cx - w, cy - h, cx + w, cy + h]
}

/// Position and value of the greatest score, the first of equals.
fn best(scores: &[f32]) -> (usize, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (class, &score) in scores.iter().enumerate() {
        if score > best.1 {
            best = (class, score);
        }
    }
    best
}

/// The greatest score of every anchor is found first, row by row; its class only where it counts.
fn anchor_columns(tensor: &Tensor<'_>, thresholds: &Thresholds) -> Result<Vec<Candidate>, String> {
    let (data, anchors) = matrix(tensor)?;
    at_least(tensor.shape[0], 5)?;
    let (boxes, classes) = data.split_at(4 * anchors);
    let mut greatest = classes[..anchors].to_vec();
    for row in classes[anchors..].chunks_exact(anchors) {
        for (greatest, &score) in greatest.iter_mut().zip(row) {
            *greatest = if score > *greatest { score } else { *greatest };
        }
    }
    let least = thresholds.least();
    let mut found = Vec::new();
    for (i, &score) in greatest.iter().enumerate().filter(|(_, s)| **s > least) {
        let mut column = classes[i..].iter().step_by(anchors);
        let class = column.position(|&s| s == score).unwrap_or(0);
        if score > thresholds.of(class) {
            let value = |row: usize| boxes[row * anchors + i];
            found.push(Candidate {
                corners: around_center([value(0), value(1), value(2), value(3)]),
                score,
                class,
            });
        }
    }
    Ok(found)
}

/// Objectness decides, the class's own score is reported.
fn anchor_rows(tensor: &Tensor<'_>, thresholds: &Thresholds) -> Result<Vec<Candidate>, String> {
    let (data, columns) = matrix(tensor)?;
    at_least(columns, 6)?;
    let least = thresholds.least();
    let mut found = Vec::new();
    for row in data.chunks_exact(columns) {
        if row[4] <= least {
            continue;
        }
        let (class, score) = best(&row[5..]);
        if row[4] > thresholds.of(class) {
            found.push(Candidate {
                corners: around_center([row[0], row[1], row[2], row[3]]),
                score,
                class,
            });
        }
    }
    Ok(found)
}

fn end_to_end(
    tensor: &Tensor<'_>,
    thresholds: &Thresholds,
    inclusive: bool,
) -> Result<Vec<Candidate>, String> {
    let (data, columns) = matrix(tensor)?;
    at_least(columns, 6)?;
    let candidates = data.chunks_exact(columns).map(|row| Candidate {
        corners: [row[0], row[1], row[2], row[3]],
        score: row[4],
        class: row[5].max(0.0) as usize,
    });
    let passes = |c: &Candidate| {
        let threshold = thresholds.of(c.class);
        c.score > threshold || (inclusive && c.score == threshold)
    };
    Ok(candidates.filter(passes).collect())
}

fn boxes_and_scores(
    boxes: &Tensor<'_>,
    scores: &[f32],
    classes: usize,
    thresholds: &Thresholds,
) -> Result<Vec<Candidate>, String> {
    let (boxes, columns) = matrix(boxes)?;
    at_least(columns, 4)?;
    let rows = boxes
        .chunks_exact(columns)
        .zip(scores.chunks_exact(classes));
    let candidates = rows.map(|(row, scores)| {
        let (class, score) = best(scores);
        Candidate {
            corners: [row[0], row[1], row[2], row[3]],
            score,
            class,
        }
    });
    Ok(candidates
        .filter(|c| c.score > thresholds.of(c.class))
        .collect())
}

fn boxes_and_logits(
    outputs: &[Tensor<'_>],
    thresholds: &Thresholds,
) -> Result<Vec<Candidate>, String> {
    let (objects, _) = matrix(output(outputs, 1)?)?;
    let (logits, classes) = matrix(output(outputs, 2)?)?;
    let rows = logits.chunks_exact(classes).zip(objects);
    let scores: Vec<f32> = rows
        .flat_map(|(row, &object)| {
            row.iter()
                .map(move |&logit| sigmoid(object) * sigmoid(logit))
        })
        .collect();
    boxes_and_scores(output(outputs, 0)?, &scores, classes, thresholds)
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// The inverse of [`sigmoid`]; infinite outside 0 to 1.
fn logit(p: f32) -> f32 {
    if p <= 0.0 {
        f32::NEG_INFINITY
    } else {
        (p / (1.0 - p).max(0.0)).ln()
    }
}

/// As many of the best pairs of query and class as there are queries; what is no class of the model
/// is dropped only then.
fn queries(
    outputs: &[Tensor<'_>],
    thresholds: &Thresholds,
    classes: &[Option<usize>],
    placement: &Placement,
) -> Result<Vec<Candidate>, String> {
    let (boxes, four) = matrix(output(outputs, 0)?)?;
    let (logits, channels) = matrix(output(outputs, 1)?)?;
    at_least(four, 4)?;
    let wanted = boxes.len() / four;
    // Pairs that cannot pass any threshold take no part; they would only fall behind the cut.
    let bound = logit(thresholds.least()) - 0.01;
    let mut order: Vec<(f32, u32)> = logits
        .iter()
        .enumerate()
        .filter(|(_, logit)| **logit > bound)
        .map(|(i, &logit)| (logit, i as u32))
        .collect();
    let by_score = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if wanted < order.len() {
        order.select_nth_unstable_by(wanted, by_score);
        order.truncate(wanted);
    }
    let mut found = Vec::new();
    order.sort_unstable_by(by_score);
    for (logit, index) in order {
        let (query, channel) = (index as usize / channels, index as usize % channels);
        let Some(class) = classes.get(channel).copied().flatten() else {
            continue;
        };
        let score = sigmoid(logit);
        if score > thresholds.of(class) {
            let Some(row) = boxes.get(query * four..query * four + 4) else {
                continue;
            };
            let [x1, y1, x2, y2] = around_center([row[0], row[1], row[2], row[3]]);
            let (w, h) = (placement.unit_x, placement.unit_y);
            found.push(Candidate {
                corners: [x1 * w, y1 * h, x2 * w, y2 * h],
                score,
                class,
            });
        }
    }
    sort_by_score(&mut found);
    Ok(found)
}
