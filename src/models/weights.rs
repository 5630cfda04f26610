//! Loaded weights: one ONNX Runtime session, shared by all who use the file.
//!
//! A session runs one batch at a time (the library's binding calls anything else unsafe), so what
//! several callers want is gathered into batches ([`super::batcher`]); answers are handed out owned.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynValue, TensorElementType, TensorRef};
use sha2::{Digest, Sha256};

use super::ModelError;
use super::batcher::{BatchFigures, Batcher, Claim, Graph, Images, Row};
use super::runtime::{self, Provider, RuntimeSettings};
use crate::clock::Clock;
use crate::values::Timestamp;

/// A graph in memory, ready to run.
pub struct Weights {
    batcher: Batcher<Onnx>,
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the bytes that were loaded, in hexadecimal.
    pub sha256: String,
    /// Number of bytes that were loaded.
    pub size: u64,
    /// When they were loaded.
    pub loaded_at: Timestamp,
    /// What computes the model.
    pub provider: Provider,
    /// Why providers that the settings prefer do not compute it.
    pub fallbacks: Vec<String>,
    /// Shape of the first input; `None` where a length is not fixed.
    pub input_shape: Vec<Option<usize>>,
    /// Names of the outputs, in the order of the graph.
    pub outputs: Vec<String>,
}

/// One output of a run.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// The numbers, row-major.
    pub data: &'a [f32],
}

impl<'a> Tensor<'a> {
    /// The part of one element of the batch, without the batch axis; empty if there is none.
    pub fn element(&self, index: usize) -> Self {
        let size: usize = self.shape.iter().skip(1).product();
        Self {
            shape: self.shape.iter().skip(1).copied().collect(),
            data: self
                .data
                .get(index * size..(index + 1) * size)
                .unwrap_or_default(),
        }
    }
}

/// A session, and the names of its outputs in the order of the graph.
struct Onnx {
    session: Session,
    outputs: Vec<String>,
}

impl Graph for Onnx {
    type Outputs = Vec<DynValue>;

    fn run(&mut self, shape: [usize; 4], data: &[f32]) -> Result<Vec<DynValue>, String> {
        let input = TensorRef::from_array_view((shape, data)).map_err(|e| one_line(&e))?;
        let run = self.session.run(ort::inputs![input]);
        let mut outputs = run.map_err(|error| one_line(&error))?;
        let values = self.outputs.iter().filter_map(|name| outputs.remove(name));
        Ok(values.collect())
    }

    fn has_rows(outputs: &Vec<DynValue>, images: usize) -> bool {
        outputs.iter().all(|value| {
            let shape = value.dtype().tensor_shape();
            shape.and_then(|shape| shape.first().copied()) == i64::try_from(images).ok()
        })
    }
}

/// What a graph answered to some images, in their order.
pub struct RawOutputs(Vec<Row<Vec<DynValue>>>);

impl RawOutputs {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What belongs to an image of each output, in the order of the graph and without the batch
    /// axis. The outputs must hold 32-bit floats.
    pub fn of_image(&self, image: usize) -> Result<Vec<Tensor<'_>>, String> {
        let row = self.0.get(image).ok_or("the graph gave no such row")?;
        let outputs = row.outputs.iter();
        outputs
            .map(|value| {
                let (shape, data) = value
                    .try_extract_tensor::<f32>()
                    .map_err(|error| error.to_string())?;
                let whole = Tensor {
                    shape: shape.iter().map(|&n| n.max(0) as usize).collect(),
                    data,
                };
                Ok(whole.element(row.index))
            })
            .collect()
    }
}

impl fmt::Debug for RawOutputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawOutputs({})", self.len())
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weights({})", self.path.display())
    }
}

impl Weights {
    /// Loads a graph.
    pub fn load(
        path: &Path,
        settings: &RuntimeSettings,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, ModelError> {
        let environment = runtime::environment(settings.library.as_deref())?;
        let unusable = |reason: String| ModelError::Package {
            path: path.to_owned(),
            reason,
        };
        let bytes = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let (provider, fallbacks) = choose(&settings.providers);
        for reason in &fallbacks {
            tracing::warn!(weights = %path.display(), "falling back to {}: {reason}", provider.name());
        }
        let session =
            session(&environment, settings, &bytes).map_err(|error| unusable(one_line(&error)))?;
        let input_shape = input_shape(&session).map_err(unusable)?;
        let outputs: Vec<String> = session
            .outputs()
            .iter()
            .map(|o| o.name().to_owned())
            .collect();
        let graph = Onnx {
            session,
            outputs: outputs.clone(),
        };
        let exact = input_shape.first().copied().flatten();
        Ok(Self {
            path: path.to_owned(),
            sha256: hash(&bytes),
            size: bytes.len() as u64,
            loaded_at: clock.now(),
            provider,
            fallbacks,
            input_shape,
            outputs,
            batcher: Batcher::new(graph, exact, clock.clone()),
        })
    }

    /// Runs the graph on some images, in batches with those of other callers and of at most `limit`.
    pub(super) fn run(
        &self,
        images: Images,
        limit: usize,
        claim: Option<&Claim>,
    ) -> Result<RawOutputs, String> {
        self.batcher.run(images, limit, claim).map(RawOutputs)
    }

    /// How the graph was used so far.
    pub fn batches(&self) -> BatchFigures {
        self.batcher.figures()
    }
}

fn session(
    environment: &Environment,
    settings: &RuntimeSettings,
    bytes: &[u8],
) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(settings.threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .commit_from_memory(bytes)
}

/// The provider to use, and why those before it in the list are not used.
fn choose(wanted: &[Provider]) -> (Provider, Vec<String>) {
    let mut reasons = Vec::new();
    for &provider in wanted {
        match provider.unavailable() {
            None => return (provider, reasons),
            Some(reason) => reasons.push(reason),
        }
    }
    (Provider::Cpu, reasons)
}

/// Shape of the first input, which must be a batch of images in 32-bit floats.
fn input_shape(session: &Session) -> Result<Vec<Option<usize>>, String> {
    let input = session.inputs().first().ok_or("the graph has no input")?;
    let shape = input
        .dtype()
        .tensor_shape()
        .filter(|shape| shape.len() == 4);
    let shape = shape.ok_or_else(|| {
        format!(
            "input `{}` is not a batch of images: {}",
            input.name(),
            input.dtype()
        )
    })?;
    match input.dtype().tensor_type() {
        Some(TensorElementType::Float32) => {}
        _ => {
            return Err(format!(
                "input `{}` takes {}, and only 32-bit floats can be given",
                input.name(),
                input.dtype()
            ));
        }
    }
    Ok(shape.iter().map(|&n| usize::try_from(n).ok()).collect())
}

/// SHA-256 in hexadecimal.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The library's message without line breaks.
fn one_line(error: &ort::Error) -> String {
    error
        .to_string()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_is_not_there_is_reported() {
        let (provider, reasons) = choose(&[Provider::TensorRt, Provider::Cuda, Provider::Cpu]);
        assert_eq!(provider, Provider::Cpu);
        assert_eq!(reasons.len(), 2);
        assert!(reasons[0].contains("tensorrt"), "{reasons:?}");
        assert_eq!(choose(&[]), (Provider::Cpu, Vec::new()));
    }

    #[test]
    fn an_element_is_a_part_of_the_batch() {
        let data = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let tensor = Tensor {
            shape: vec![2, 3],
            data: &data,
        };
        let second = tensor.element(1);
        assert_eq!((second.shape, second.data), (vec![3], &data[3..]));
        assert!(tensor.element(2).data.is_empty());
    }
}
