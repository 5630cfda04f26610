//! Weights on disk, ONNX Runtime sessions, pre- and post-processing per family.

/// The models of a process.
#[derive(Debug, Default)]
pub struct ModelStore {}
