//! Tells which embeddings are unlike the last ones of their stream.
//!
//! # Inputs and outputs
//! `embedding` → `percentile`, the share of the last `window_size` embeddings (this one included) that
//! lie less close to their mean direction than this one; `is_outlier`, whether that is below
//! `threshold_percentile` or above 1 minus it; `warming_up` during the first `warmup` - 1 calls.
//!
//! # State
//! Per stream, the last embeddings at length 1 and the number of calls.
//!
//! # Edge cases
//! While warming up the percentile is 0.5 and nothing is an outlier. An embedding of another length
//! than those before fails the step, as does a window of more than [`LONGEST`].
//!
//! # Parity
//! `video_identify_outliers_*`, specification 6.2. State per stream is ours (decided V8).

use std::collections::VecDeque;

use super::sums::{column_sums, row_products};
use crate::blocks::math::cosine_similarity::{dot, embedding, normalised};
use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::kind;

/// `roboflow_core/identify_outliers@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/identify_outliers@v1"],
    name: "Identify Outliers",
    family: Family::Video,
    about: "Tells which embeddings are unlike the last ones of their stream.",
    fields: &[
        Field::required("embedding", &[Ty::Selector(&[kind::EMBEDDING])]).about("The embedding."),
        Field::optional(
            "threshold_percentile",
            &[Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]), Ty::Float],
            "0.05",
        )
        .about("Share of embeddings at either end that are outliers.")
        .always_visible(),
        Field::optional("warmup", &[Ty::Selector(&[kind::INTEGER]), Ty::Int], "3")
            .about("Calls before which nothing is an outlier."),
        Field::optional(
            "window_size",
            &[Ty::Selector(&[kind::INTEGER]), Ty::Int, Ty::Null],
            "32",
        )
        .about("How many embeddings are compared."),
    ],
    outputs: &[
        output("is_outlier", &[kind::BOOLEAN]),
        output("percentile", &[kind::FLOAT_ZERO_TO_ONE]),
        output("warming_up", &[kind::BOOLEAN]),
    ],
    build: |_, _| Ok(Box::<IdentifyOutliers>::default()),
    ..BlockSpec::DEFAULT
};

#[derive(Default)]
struct IdentifyOutliers {
    streams: PerStream<Seen>,
}

#[derive(Default)]
struct Seen {
    calls: i64,
    window: VecDeque<Vec<f64>>,
}

impl Block for IdentifyOutliers {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let newest = normalised(embedding(inputs, "embedding")?);
        let threshold = inputs.float("threshold_percentile")?;
        let size = window_size(inputs)?;
        let seen = self.streams.get(cx.stream, Seen::default);
        seen.calls += 1;
        seen.window.push_back(newest.clone());
        // A window made smaller later keeps its size.
        if seen.window.len() > size {
            seen.window.pop_front();
        }
        if seen.calls < inputs.int("warmup")? {
            return Ok(Output::One(row![false, 0.5, true]));
        }
        if seen.window.is_empty() {
            return Err(BlockError::failed("field `window_size` must be at least 1"));
        }
        for other in &seen.window {
            check_length(Some(other), &newest)?;
        }
        let percentile = percentile(&seen.window, &newest);
        let outlier = percentile < threshold || percentile > 1.0 - threshold;
        Ok(Output::One(row![outlier, percentile, false]))
    }
}

/// Longest window: each call looks at all of it.
const LONGEST: i64 = 10_000;

/// The number of embeddings that are remembered.
pub(super) fn window_size(inputs: &Inputs<'_>) -> Result<usize, BlockError> {
    match inputs.int("window_size")? {
        n if n > LONGEST => Err(BlockError::failed(format!(
            "`window_size` must be at most {LONGEST}, got {n}"
        ))),
        n => Ok(usize::try_from(n).unwrap_or(0)),
    }
}

/// Embeddings of one stream have one length.
pub(super) fn check_length(before: Option<&Vec<f64>>, newest: &[f64]) -> Result<(), BlockError> {
    match before {
        Some(before) if before.len() != newest.len() => Err(BlockError::failed(format!(
            "the embedding has {} numbers, those before had {}: give the step those of one model",
            newest.len(),
            before.len()
        ))),
        _ => Ok(()),
    }
}

/// The share of a window that lies less close to the window's mean direction than `newest`. The two
/// ways to multiply differ in the last bit at times, and then an embedding counts as lying below
/// itself; recorded case `video_identify_outliers_v1_windows` shows where.
fn percentile(window: &VecDeque<Vec<f64>>, newest: &[f64]) -> f64 {
    let sum = column_sums(window.iter());
    let length = dot(&sum, &sum).sqrt();
    let mean = match window.len() < 2 || length == 0.0 {
        true => newest.to_vec(),
        false => sum.into_iter().map(|x| x / length).collect(),
    };
    let closeness = dot(newest, &mean);
    let products = row_products(window, &mean);
    let below = products.iter().filter(|product| **product < closeness);
    below.count() as f64 / window.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::query::trial::{Host, values};
    use crate::values::{Value, python};
    use serde_json::{Value as Json, json};

    fn feed(
        block: &mut IdentifyOutliers,
        stream: &str,
        vector: Json,
    ) -> Result<String, BlockError> {
        let given = [
            ("embedding", Value::from_json(&vector)),
            ("window_size", Value::Int(4)),
        ];
        let values = values(&BLOCK, &given);
        let host = Host::default();
        match block.run(&Inputs::new(&BLOCK, &values), &host.cx(&stream.into()))? {
            Output::One(row) => Ok(python::repr(&Value::list(row.to_vec()))),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_odd_one_of_the_last_is_found() {
        // Specification 6.2.
        let mut block = IdentifyOutliers::default();
        let vectors = [
            json!([1, 0]),
            json!([1, 0.1]),
            json!([1, 0.2]),
            json!([0, 1]),
            json!([1, 0.1]),
        ];
        let found = vectors.map(|v| feed(&mut block, "a", v).unwrap());
        assert_eq!(
            found,
            [
                "[False, 0.5, True]",
                "[False, 0.5, True]",
                "[False, 0.3333333333333333, False]",
                "[True, 0.0, False]",
                "[False, 0.25, False]",
            ]
        );
        assert_eq!(
            feed(&mut block, "b", json!([1, 2, 3])).unwrap(),
            "[False, 0.5, True]"
        );
    }

    #[test]
    fn embeddings_of_another_length_fail() {
        let mut block = IdentifyOutliers::default();
        feed(&mut block, "a", json!([1, 0])).unwrap();
        // While warming up nothing is compared.
        feed(&mut block, "a", json!([1, 0, 0])).unwrap();
        // The window holds four: the second call from here pushes the odd one out.
        for ok in [false, false, true] {
            let answer = feed(&mut block, "a", json!([1, 0, 0]));
            assert_eq!(answer.is_ok(), ok, "{answer:?}");
        }
    }
}
