//! The outline of a mask whose rows are one run of pixels each, as those of most objects are.
//!
//! Its border goes down where the runs begin and up where they end, so it is known from these places
//! alone, without a walk from pixel to pixel. Points and order are those of the walk.

use super::border::Outline;
use crate::values::Mask;

/// The outline; `None` for a mask of another kind. `runs` is the number of runs in all rows.
pub(super) fn outline(mask: &Mask, runs: usize) -> Option<Outline> {
    let [left, top, _, height] = mask.window();
    if runs != height {
        return None;
    }
    let spans = spans(mask)?;
    let ([first, end], [.., last]) = (*spans.first()?, spans.as_slice()) else {
        return None;
    };
    let mut way = Way {
        corners: Vec::with_capacity(64),
        at: [left as i64 + first, top as i64],
        step: [0, 0],
    };
    for pair in spans.windows(2) {
        way.change_row(pair[1][0] - pair[0][0], 1);
    }
    way.go([1, 0], last[1] - last[0]);
    for pair in spans.windows(2).rev() {
        way.change_row(pair[0][1] - pair[1][1], -1);
    }
    way.go([-1, 0], end - first);
    if spans.len() == 1 && first == end {
        way.corners.push(way.at);
    }
    Some(Outline {
        corners: way.corners,
        comes_back: comes_back(&spans),
    })
}

/// First and last column of each row's run, if each row has one and hangs together with the next.
fn spans(mask: &Mask) -> Option<Vec<[i64; 2]>> {
    let [_, _, width, height] = mask.window();
    let mut rows = mask.window_bits().chunks_exact(width.max(1));
    let above = rows.next()?;
    let first = above.iter().position(|&bit| bit != 0)?;
    let last = above.iter().rposition(|&bit| bit != 0)?;
    let mut spans = Vec::with_capacity(height);
    spans.push([first as i64, last as i64]);
    let (mut first, mut last) = (first, last);
    for row in rows {
        let set = |x: usize| row.get(x).is_some_and(|&bit| bit != 0);
        // Some pixel of the run touches one of the run above, so begin the search there.
        let touching = (first..=last + 1)
            .find(|&x| set(x))
            .or_else(|| first.checked_sub(1).filter(|&x| set(x)))?;
        let (mut begin, mut end) = (touching, touching.max(last));
        while begin > 0 && set(begin - 1) {
            begin -= 1;
        }
        while !set(end) {
            end -= 1;
        }
        while set(end + 1) {
            end += 1;
        }
        spans.push([begin as i64, end as i64]);
        (first, last) = (begin, end);
    }
    Some(spans)
}

/// Whether the way along these runs comes to a pixel twice: where a run is thinner than the way
/// there and the way back, or sticks out.
fn comes_back(spans: &[[i64; 2]]) -> bool {
    let rows = spans.len();
    (0..rows).any(|y| {
        let [first, last] = spans[y];
        let above = y.checked_sub(1).and_then(|y| spans.get(y));
        let others = above.into_iter().chain(spans.get(y + 1));
        // How far the way goes along this run towards the runs above and below.
        let inward = |far: &[i64; 2]| [(far[0] - 1 - first).max(0), (last - far[1] - 1).max(0)];
        let [mut begin, mut end] = [0, 0];
        let mut twice = false;
        for far in others {
            let [right, left] = inward(far);
            twice |= (begin > 0 && right > 0) || (end > 0 && left > 0);
            begin = begin.max(right);
            end = end.max(left);
        }
        match y == 0 || y + 1 == rows {
            // The way goes along all of the run anyway.
            true => twice || begin > 0 || end > 0 || rows == 1 && last - first > 1,
            false => twice || first + begin >= last - end,
        }
    })
}

/// A way from pixel to pixel that remembers where it turns.
struct Way {
    corners: Vec<[i64; 2]>,
    at: [i64; 2],
    step: [i64; 2],
}

impl Way {
    /// Some steps in one direction.
    fn go(&mut self, step: [i64; 2], count: i64) {
        if count <= 0 {
            return;
        }
        if step != self.step {
            self.corners.push(self.at);
            self.step = step;
        }
        self.at = [self.at[0] + step[0] * count, self.at[1] + step[1] * count];
    }

    /// From the end of a run to that of the run below (`down` is 1, on the left side) or above (-1, on
    /// the right side), `aside` columns to the right: one step between the two rows, slantwise if need
    /// be, and the others along the run that sticks out.
    fn change_row(&mut self, aside: i64, down: i64) {
        let right = aside.signum();
        let along = aside.abs() - 1;
        match right * down {
            0 => self.go([0, down], 1),
            // The run that the way leaves sticks out.
            1 => {
                self.go([right, 0], along);
                self.go([right, down], 1);
            }
            _ => {
                self.go([right, down], 1);
                self.go([right, 0], along);
            }
        }
    }
}
