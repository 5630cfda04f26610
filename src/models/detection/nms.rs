//! Suppression of boxes that overlap a better one.

/// A box that a network proposes, in coordinates of its input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Corners `[x_min, y_min, x_max, y_max]`.
    pub corners: [f32; 4],
    /// Score.
    pub score: f32,
    /// Class id.
    pub class: usize,
}

/// Greedy suppression: candidates by descending score (equals in their order), each removes the
/// later ones of its class (or of any, if `agnostic`) whose IoU with it is greater than
/// `threshold`. At most `limit` are kept.
pub fn suppress(
    mut candidates: Vec<Candidate>,
    threshold: f64,
    agnostic: bool,
    limit: usize,
) -> Vec<Candidate> {
    sort_by_score(&mut candidates);
    let areas: Vec<f32> = candidates.iter().map(|c| area(&c.corners)).collect();
    let mut removed = vec![false; candidates.len()];
    let mut kept = Vec::new();
    for i in 0..candidates.len() {
        if kept.len() == limit {
            break;
        }
        if removed[i] {
            continue;
        }
        let best = candidates[i];
        kept.push(best);
        for j in i + 1..candidates.len() {
            if removed[j] || !(agnostic || candidates[j].class == best.class) {
                continue;
            }
            let both = intersection(&best.corners, &candidates[j].corners);
            let iou = both / (areas[i] + areas[j] - both);
            removed[j] = f64::from(iou) > threshold;
        }
    }
    kept
}

/// Descending by score; equal scores keep their order.
pub fn sort_by_score(candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
}

fn area([x1, y1, x2, y2]: &[f32; 4]) -> f32 {
    (x2 - x1) * (y2 - y1)
}

fn intersection(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    width * height
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(x: f32, score: f32, class: usize) -> Candidate {
        Candidate {
            corners: [x, 0.0, x + 10.0, 10.0],
            score,
            class,
        }
    }

    fn kept(threshold: f64, agnostic: bool, limit: usize) -> Vec<f32> {
        let candidates = vec![
            candidate(5.0, 0.8, 0),
            candidate(0.0, 0.9, 0),
            candidate(0.0, 0.7, 1),
            candidate(40.0, 0.8, 0),
        ];
        let kept = suppress(candidates, threshold, agnostic, limit);
        kept.iter().map(|c| c.score).collect()
    }

    #[test]
    fn a_box_falls_only_above_the_threshold() {
        // The first two share a third of their union: 50 of 150.
        assert_eq!(kept(0.3, false, 300), [0.9, 0.8, 0.7]);
        assert_eq!(kept(0.34, false, 300), [0.9, 0.8, 0.8, 0.7]);
    }

    #[test]
    fn classes_are_apart_unless_told_otherwise() {
        assert_eq!(kept(0.3, true, 300), [0.9, 0.8]);
    }

    #[test]
    fn the_limit_keeps_the_best() {
        assert_eq!(kept(0.3, false, 2), [0.9, 0.8]);
    }

    #[test]
    fn boxes_without_area_stay() {
        let flat = Candidate {
            corners: [1.0, 1.0, 1.0, 1.0],
            score: 0.5,
            class: 0,
        };
        assert_eq!(suppress(vec![flat, flat], 0.0, false, 300).len(), 2);
    }
}
