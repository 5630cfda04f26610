//! Tells when the embeddings of a stream move away from their average.
//!
//! # Inputs and outputs
//! `embedding` → its similarity to the running average is compared with the similarities before it:
//! `z_score`, `percentile` (1 minus the share that lies below it, were they normally distributed) and
//! `is_outlier`, whether that is in either half of `threshold_percentile`; `average` and `std`, the
//! statistics of the embeddings with this one; `warming_up` during the first `warmup` calls.
//! `strategy` says how averages run: exponentially (`smoothing_factor`), over everything, or over the
//! last `window_size`.
//!
//! # State
//! Per stream, the statistics of embeddings and similarities, or the last of both.
//!
//! # Edge cases
//! An embedding of zeros has no similarity: z-score 0, percentile 0.5, no outlier, and nothing is
//! remembered of it. The first embedding and the first similarity never stand in a sliding window, which
//! is as long as that of `identify_outliers` at most. An embedding of another length than those before
//! fails.
//!
//! # Parity
//! `video_identify_changes_*`, specification 6.1. State per stream is ours (decided V8).

mod statistics;

use statistics::{Running, Update};

use super::identify_outliers::{check_length, window_size};
use crate::blocks::math::cosine_similarity::{cosine, dot, embedding, normalised};
use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::{Value, kind};

const EMA: &str = "Exponential Moving Average (EMA)";
const SMA: &str = "Simple Moving Average (SMA)";
const WINDOW: &str = "Sliding Window";

/// `roboflow_core/identify_changes@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/identify_changes@v1"],
    name: "Identify Changes",
    family: Family::Video,
    about: "Tells when the embeddings of a stream move away from their average.",
    fields: &[
        Field::optional(
            "strategy",
            &[Ty::OneOf(&[EMA, SMA, WINDOW])],
            r#""Exponential Moving Average (EMA)""#,
        )
        .about("How averages run.")
        .always_visible(),
        Field::required("embedding", &[Ty::Selector(&[kind::EMBEDDING])]).about("The embedding."),
        Field::optional(
            "threshold_percentile",
            &[Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]), Ty::Float],
            "0.2",
        )
        .about("Share of similarities, both ends together, that are outliers.")
        .always_visible(),
        Field::optional("warmup", &[Ty::Selector(&[kind::INTEGER]), Ty::Int], "3")
            .about("Calls before which nothing is an outlier."),
        Field::optional(
            "smoothing_factor",
            &[
                Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]),
                Ty::Float,
                Ty::Null,
            ],
            "0.1",
        )
        .about("Weight of the newest in an exponential average.")
        .extra(
            r#"{"relevant_for": {"strategy": {"values": ["Exponential Moving Average (EMA)"]}}}"#,
        ),
        Field::optional(
            "window_size",
            &[Ty::Selector(&[kind::INTEGER]), Ty::Int, Ty::Null],
            "10",
        )
        .about("How many embeddings a sliding window holds.")
        .extra(
            r#"{"relevant_for": {"strategy": {"required": true, "values": ["Sliding Window"]}}}"#,
        ),
    ],
    outputs: &[
        output("is_outlier", &[kind::BOOLEAN]),
        output("percentile", &[kind::FLOAT_ZERO_TO_ONE]),
        output("z_score", &[kind::FLOAT]),
        output("average", &[kind::EMBEDDING]),
        output("std", &[kind::EMBEDDING]),
        output("warming_up", &[kind::BOOLEAN]),
    ],
    build: |_, _| Ok(Box::<IdentifyChanges>::default()),
    ..BlockSpec::DEFAULT
};

#[derive(Default)]
struct IdentifyChanges {
    streams: PerStream<Seen>,
}

#[derive(Default)]
struct Seen {
    samples: i64,
    embeddings: Option<Running>,
    similarities: Option<Running>,
}

impl Block for IdentifyChanges {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let newest = normalised(embedding(inputs, "embedding")?);
        let threshold = inputs.float("threshold_percentile")?;
        let seen = self.streams.get(cx.stream, Seen::default);
        // The first sample needs no parameters.
        let update = match inputs.text("strategy")? {
            EMA if seen.embeddings.is_some() => {
                Update::Exponential(inputs.float("smoothing_factor")?)
            }
            WINDOW if seen.embeddings.is_some() => Update::Window(window_size(inputs)?),
            _ => Update::Simple,
        };
        check_length(seen.embeddings.as_ref().map(|e| &e.mean), &newest)?;
        let warming = seen.samples < inputs.int("warmup")?;
        let z = seen.z_score(&newest, update);
        let percentile = z.map_or(0.5, |z| 1.0 - statistics::normal_share_below(z));
        let half = threshold / 2.0;
        let undefined = dot(&newest, &newest) == 0.0;
        let far = percentile <= half || percentile >= 1.0 - half;
        if !undefined {
            seen.remember(&newest, update);
        }
        let nothing = Running::first(newest);
        let now = seen.embeddings.as_ref().unwrap_or(&nothing);
        let list =
            |numbers: &[f64]| Value::list(numbers.iter().map(|x| Value::Float(*x)).collect());
        Ok(Output::One(row![
            far && !warming && !undefined,
            percentile,
            z.map_or(Value::Int(0), Value::Float),
            list(&now.mean),
            list(&now.deviation()),
            warming,
        ]))
    }
}

impl Seen {
    /// How far the similarity of an embedding to the average lies from the similarities so far, which
    /// it joins; `None` if there is no telling.
    fn z_score(&mut self, newest: &[f64], update: Update) -> Option<f64> {
        let average = self.embeddings.as_ref()?;
        let similarity = cosine(newest, &average.mean);
        if similarity.is_nan() {
            return None;
        }
        let Some(similarities) = &mut self.similarities else {
            self.similarities = Some(Running::first(vec![similarity]));
            return None;
        };
        // The reference has two formulas for an average: one for embeddings, one for single numbers.
        let update = match update {
            Update::Simple => Update::Shares,
            other => other,
        };
        similarities.add(&[similarity], update, self.samples);
        let deviation = similarities.deviation()[0];
        (deviation != 0.0).then(|| (similarity - similarities.mean[0]) / deviation)
    }

    fn remember(&mut self, newest: &[f64], update: Update) {
        match &mut self.embeddings {
            None => self.embeddings = Some(Running::first(newest.to_vec())),
            Some(embeddings) => embeddings.add(newest, update, self.samples),
        }
        self.samples += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::query::trial::{Host, values};

    struct Call {
        outlier: bool,
        percentile: f64,
        z: f64,
        average: Vec<f64>,
        warming: bool,
    }

    fn feed(block: &mut IdentifyChanges, stream: &str, strategy: &str, vector: [f64; 2]) -> Call {
        let given = [
            ("strategy", strategy.into()),
            ("embedding", Value::list(vector.map(Value::Float).to_vec())),
            ("warmup", Value::Int(2)),
        ];
        let values = values(&BLOCK, &given);
        let host = Host::default();
        match block.run(&Inputs::new(&BLOCK, &values), &host.cx(&stream.into())) {
            Ok(Output::One(row)) => Call {
                outlier: row[0].as_bool().unwrap(),
                percentile: row[1].as_f64().unwrap(),
                z: row[2].as_f64().unwrap(),
                average: crate::values::array::numbers(&row[3]).unwrap(),
                warming: row[5].as_bool().unwrap(),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_similarity_far_from_those_before_is_an_outlier() {
        // Specification 6.1.
        let mut block = IdentifyChanges::default();
        assert!(feed(&mut block, "a", EMA, [1.0, 0.0]).warming);
        let second = feed(&mut block, "a", EMA, [1.0, 0.1]);
        assert!(second.warming && second.z == 0.0 && second.percentile == 0.5);
        let third = feed(&mut block, "a", EMA, [1.0, 0.2]);
        assert!((third.z + 3.162_278).abs() < 1e-6 && (third.percentile - 0.999_217).abs() < 1e-6);
        assert!(third.outlier && !third.warming);
        assert!(feed(&mut block, "b", EMA, [1.0, 0.0]).warming);
    }

    #[test]
    fn the_first_sample_is_not_in_the_window() {
        let mut block = IdentifyChanges::default();
        feed(&mut block, "a", "Sliding Window", [1.0, 0.0]);
        assert_eq!(
            feed(&mut block, "a", "Sliding Window", [0.0, 2.0]).average,
            [0.0, 1.0]
        );
    }

    #[test]
    fn zeros_leave_no_trace() {
        for strategy in [EMA, SMA, "Sliding Window"] {
            let mut block = IdentifyChanges::default();
            let vectors = [[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [1.0, 0.0]];
            let calm: Vec<f64> = vectors
                .map(|v| feed(&mut block, "calm", strategy, v).z)
                .to_vec();
            let mut disturbed = Vec::new();
            for vector in vectors {
                disturbed.push(feed(&mut block, "other", strategy, vector).z);
                let zero = feed(&mut block, "other", strategy, [0.0, 0.0]);
                assert!(!zero.outlier && zero.z == 0.0 && zero.percentile == 0.5);
            }
            assert_eq!(calm, disturbed, "{strategy}");
        }
    }
}
