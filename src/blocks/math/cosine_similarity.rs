//! Tells how alike two embeddings are.
//!
//! # Inputs and outputs
//! `embedding_1` and `embedding_2`, of one length → `similarity`, the cosine of the angle between
//! them: from -1 to 1.
//!
//! # State
//! None.
//!
//! # Edge cases
//! The similarity with a vector of zeros is not a number. Embeddings of two lengths fail.
//!
//! # Parity
//! `cosine_similarity_vectors`, specification 5.1.

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::array::numbers;
use crate::values::kind;

/// `roboflow_core/cosine_similarity@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/cosine_similarity@v1"],
    name: "Cosine Similarity",
    family: Family::Math,
    stateless: true,
    about: "Tells how alike two embeddings are.",
    fields: &[
        Field::required("embedding_1", &[Ty::Selector(&[kind::EMBEDDING])]).about("One embedding."),
        Field::required("embedding_2", &[Ty::Selector(&[kind::EMBEDDING])])
            .about("The other, of the same length."),
    ],
    outputs: &[output("similarity", &[kind::FLOAT])],
    build: |_, _| Ok(Box::new(CosineSimilarity)),
    ..BlockSpec::DEFAULT
};

struct CosineSimilarity;

impl Block for CosineSimilarity {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let a = embedding(inputs, "embedding_1")?;
        let b = embedding(inputs, "embedding_2")?;
        if a.len() != b.len() {
            return Err(BlockError::failed(format!(
                "embeddings must have one length, got {} and {} numbers: take both from one model",
                a.len(),
                b.len()
            )));
        }
        Ok(Output::One(row![cosine(&a, &b)]))
    }
}

/// The embedding in a field.
pub(crate) fn embedding(inputs: &Inputs<'_>, name: &str) -> Result<Vec<f64>, BlockError> {
    let value = inputs.value(name);
    numbers(value).ok_or_else(|| {
        let got = value.type_name();
        BlockError::failed(format!(
            "field `{name}` must be a list of numbers, got {got}"
        ))
    })
}

/// Sum of the products of two vectors, in fused steps as in the reference's libraries: of vectors of
/// fewer than 16 numbers the last bit is theirs.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| a.mul_add(*b, sum))
}

/// Cosine of the angle between two vectors; not a number for a vector of zeros.
pub(crate) fn cosine(a: &[f64], b: &[f64]) -> f64 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The vector at length 1; one of zeros stays as it is.
pub(crate) fn normalised(mut vector: Vec<f64>) -> Vec<f64> {
    let length = dot(&vector, &vector).sqrt();
    if length != 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    vector
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocks::query::trial::{Host, values};
    use crate::values::Value;
    use serde_json::{Value as Json, json};

    fn similarity(a: Json, b: Json) -> Result<f64, BlockError> {
        let of = |json| Value::from_json(&json);
        let values = values(&BLOCK, &[("embedding_1", of(a)), ("embedding_2", of(b))]);
        let host = Host::default();
        match CosineSimilarity.run(&Inputs::new(&BLOCK, &values), &host.cx(&Arc::default()))? {
            Output::One(row) => Ok(row[0].as_f64().unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn direction_counts_and_not_length() {
        // Recorded case cosine_similarity_vectors.
        for (a, b, want) in [
            (json!([1, 0]), json!([0, 1]), 0.0),
            (json!([1, 0]), json!([-2, 0]), -1.0),
            (
                json!([0.5, -0.25, 4.0, 0.001]),
                json!([1.5, 2.25, -0.125, 7]),
                -0.010_078_323_428_171_785,
            ),
        ] {
            assert!((similarity(a, b).unwrap() - want).abs() < 1e-15);
        }
        assert!(similarity(json!([0, 0]), json!([1, 0])).unwrap().is_nan());
    }

    #[test]
    fn what_is_no_pair_of_embeddings_fails() {
        assert!(similarity(json!([1, 2]), json!([1, 2, 3])).is_err());
        assert!(similarity(json!(["a"]), json!([1])).is_err());
    }
}
