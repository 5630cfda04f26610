//! Chains: operations in a row, each working on the result of the one before.

use std::sync::Arc;

use super::classification::ClassificationOperation;
use super::detections::DetectionsOperation;
use super::images::ImageOperation;
use super::node::{Node, Read};
use super::numbers::NumberOperation;
use super::sequences::SequenceOperation;
use super::strings::StringOperation;
use super::{Params, QueryError, Scope};
use crate::blocks::Context;
use crate::values::Value;

/// Operations in a row. The empty chain returns its value unchanged.
#[derive(Debug, Default)]
pub struct Chain(Vec<Step>);

#[derive(Debug)]
struct Step {
    operation: Operation,
    name: &'static str,
    path: Box<str>,
}

#[derive(Debug)]
enum Operation {
    Strings(StringOperation),
    Numbers(NumberOperation),
    Sequences(SequenceOperation),
    Detections(DetectionsOperation),
    Images(ImageOperation),
    Classification(ClassificationOperation),
}

impl Chain {
    /// Reads a chain whose operations are placed at `<path>[i]` in errors.
    pub(super) fn read(node: &Node<'_>, path: &str) -> Read<Self> {
        Self::read_placed(node, |i| format!("{path}[{i}]"))
    }

    /// Reads a chain whose operations all stand at `path` in errors.
    pub(super) fn read_at(node: &Node<'_>, path: &str) -> Read<Self> {
        Self::read_placed(node, |_| path.to_owned())
    }

    fn read_placed(node: &Node<'_>, path: impl Fn(usize) -> String) -> Read<Self> {
        let node = node.nested()?;
        let steps: Vec<Read<Step>> = node
            .items()?
            .iter()
            .enumerate()
            .map(|(i, item)| Step::read(item, path(i)))
            .collect();
        steps.into_iter().collect::<Read<_>>().map(Self)
    }

    /// Whether the chain does nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value after all operations; the error of the first that cannot be applied.
    pub fn apply(
        &self,
        value: Value,
        params: &Params<'_>,
        cx: &Context<'_>,
    ) -> Result<Value, QueryError> {
        self.0.iter().try_fold(value, |value, step| {
            let scope = Scope {
                params: *params,
                cx,
                name: step.name,
                path: &step.path,
            };
            match &step.operation {
                Operation::Strings(op) => op.apply(value, &scope),
                Operation::Numbers(op) => op.apply(value, &scope),
                Operation::Sequences(op) => op.apply(value, &scope),
                Operation::Detections(op) => op.apply(value, &scope),
                Operation::Images(op) => op.apply(value, &scope),
                Operation::Classification(op) => op.apply(value, &scope),
            }
        })
    }

    /// Whether a set of boxes can come out as a set of boxes.
    pub fn keeps_detections(&self) -> bool {
        self.0.iter().all(|step| match &step.operation {
            Operation::Detections(op) => op.keeps_detections(),
            Operation::Sequences(op) => op.keeps_detections(),
            _ => false,
        })
    }

    /// Names that must be supplied for the chain, in order, repeats included.
    pub fn names(&self) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        self.collect_names(&mut names);
        names
    }

    pub(super) fn collect_names(&self, names: &mut Vec<Arc<str>>) {
        for step in &self.0 {
            match &step.operation {
                Operation::Detections(op) => op.collect_names(names),
                Operation::Sequences(op) => op.collect_names(names),
                _ => {}
            }
        }
    }
}

impl Step {
    fn read(node: &Node<'_>, path: String) -> Read<Self> {
        let tag = node.tag()?;
        let Some(name) = NAMES.iter().copied().find(|name| *name == tag) else {
            let field = node.need("type")?;
            return Err(field.broken(format!("unknown operation `{tag}`")));
        };
        let operation = None
            .or_else(|| StringOperation::read(name, node).map(|r| r.map(Operation::Strings)))
            .or_else(|| NumberOperation::read(name, node).map(|r| r.map(Operation::Numbers)))
            .or_else(|| {
                SequenceOperation::read(name, node, &path).map(|r| r.map(Operation::Sequences))
            })
            .or_else(|| {
                DetectionsOperation::read(name, node, &path).map(|r| r.map(Operation::Detections))
            })
            .or_else(|| ImageOperation::read(name, node).map(|r| r.map(Operation::Images)))
            .or_else(|| {
                ClassificationOperation::read(name, node).map(|r| r.map(Operation::Classification))
            });
        match operation {
            Some(operation) => Ok(Self {
                operation: operation?,
                name,
                path: path.into(),
            }),
            None => Err(node.broken(format!("operation `{name}` is not implemented"))),
        }
    }
}

/// Every operation, in the order of the reference's listings.
pub(super) const NAMES: &[&str] = &[
    "StringToLowerCase",
    "StringToUpperCase",
    "LookupTable",
    "ToNumber",
    "NumberRound",
    "SequenceMap",
    "SequenceApply",
    "NumericSequenceAggregate",
    "ToString",
    "ToBoolean",
    "StringSubSequence",
    "DetectionsPropertyExtract",
    "SequenceAggregate",
    "ExtractDetectionProperty",
    "DetectionsFilter",
    "DetectionsOffset",
    "DetectionsShift",
    "DetectionsRename",
    "RandomNumber",
    "StringMatches",
    "ExtractImageProperty",
    "ExtractFrameMetadata",
    "SequenceLength",
    "SequenceElementsCount",
    "SequenceJoin",
    "Multiply",
    "Divide",
    "DetectionsSelection",
    "SortDetections",
    "ClassificationPropertyExtract",
    "ConvertImageToJPEG",
    "ConvertImageToBase64",
    "DetectionsToDictionary",
    "ConvertDictionaryToJSON",
    "PickDetectionsByParentClass",
    "TimestampToISOFormat",
];
