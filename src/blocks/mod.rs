//! Blocks: one file each, a [`BlockSpec`] that says what the block is and a [`Block`] that runs.
//!
//! A block instance belongs to one step of one engine. It keeps its state itself; what it remembers
//! of a stream stands in a [`state::PerStream`] under the stream's identifier. A live swap of
//! definitions moves the instances of kept steps from the old engine to the new one.

pub mod analytics;
#[cfg(test)]
pub(crate) mod bench;
pub mod cache;
mod cache_store;
pub mod classical_cv;
pub mod flow_control;
pub mod formatters;
pub mod fusion;
pub mod math;
pub mod model;
#[cfg(test)]
mod properties;
pub mod query;
pub mod registry;
pub mod sampling;
pub mod secrets;
pub mod sinks;
pub mod spec;
pub mod state;
#[cfg(test)]
pub mod testing;
pub mod trackers;
pub mod transformations;
pub mod visualizations;

use std::sync::Arc;

pub use cache_store::{CacheFigures, CacheStore};
pub use spec::{
    BlockSpec, Bounds, DynamicOutput, Family, Field, OutputSpec, Role, StepProblem, Ty, output,
};

use crate::clock::Clock;
use crate::definition::error::ErrorClass;
use crate::definitions::ApiKey;
use crate::delivery::{Dispatcher, RemoteWorkflows};
use crate::models::ModelStore;
use crate::values::{Batch, Detections, Image, Timestamp, Value, VideoMetadata};

/// The outputs of one run for one element, in the order in which the block declares them.
pub type Row = smallvec::SmallVec<[Value; 3]>;

/// Builds a [`Row`] from anything that converts to values.
#[macro_export]
macro_rules! row {
    ($($value:expr),* $(,)?) => {
        smallvec::smallvec![$($crate::values::Value::from($value)),*]
    };
}

/// A block at work.
pub trait Block: Send {
    /// Computes the outputs of one element, or of a batch if the block accepts batches.
    ///
    /// What the inputs hold and what must come back follows from the block's declarations, as in
    /// section 5.7 of the engine specification:
    /// * once per element (no `batch`/`mixed` fields): [`Output::One`], or [`Output::Many`] if the
    ///   output is one level deeper, or [`Output::Next`] for flow control;
    /// * batches: [`Output::Many`] with one row per element of the batch, or [`Output::Nested`] if
    ///   the output is one level deeper.
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError>;

    /// Called once when the engine is given up: closes what the block holds open.
    fn close(&mut self) {}
}

/// What a run returns.
#[derive(Debug)]
pub enum Output {
    /// The outputs of one element.
    One(Row),
    /// Rows: one per element of a batch, or the elements of a new level.
    Many(Vec<Row>),
    /// Per element of a batch, the elements of a new level.
    Nested(Vec<Vec<Row>>),
    /// Which targets run next.
    Next(Decision),
}

/// Decision of a flow-control block: the targets that run, by their position among the branches
/// (field by field, item by item) of the step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Every target.
    All,
    /// None: the flow ends here.
    None,
    /// The targets under this key of an object field.
    Key {
        /// The field.
        field: &'static str,
        /// The key in it.
        key: Arc<str>,
    },
    /// All targets of a list field.
    Field(&'static str),
}

/// The run-time values of a step's fields.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    spec: &'static BlockSpec,
    values: &'a [Value],
}

impl<'a> Inputs<'a> {
    /// Values in the order of the block's fields.
    pub fn new(spec: &'static BlockSpec, values: &'a [Value]) -> Self {
        debug_assert_eq!(spec.fields.len(), values.len());
        Self { spec, values }
    }

    /// Value of a field.
    ///
    /// # Panics
    /// If the block has no such field: field names are constants of the block's own file.
    #[allow(clippy::panic)]
    pub fn value(&self, name: &str) -> &'a Value {
        match self.spec.field_index(name) {
            Some(i) => &self.values[i],
            None => panic!("block {} has no field {name}", self.spec.type_id()),
        }
    }

    fn wrong(&self, name: &str, wanted: &str) -> BlockError {
        let got = self.value(name).type_name();
        BlockError::failed(format!("field `{name}` must be {wanted}, got {got}"))
    }

    /// The image in a field.
    pub fn image(&self, name: &str) -> Result<&'a Image, BlockError> {
        self.value(name)
            .as_image()
            .ok_or_else(|| self.wrong(name, "an image"))
    }

    /// The boxes in a field.
    pub fn detections(&self, name: &str) -> Result<&'a Arc<Detections>, BlockError> {
        self.value(name)
            .as_detections()
            .ok_or_else(|| self.wrong(name, "detections"))
    }

    /// The video metadata in a field, taken from the image if one stands there.
    pub fn video(&self, name: &str, cx: &Context<'_>) -> Result<Arc<VideoMetadata>, BlockError> {
        match self.value(name) {
            Value::Video(video) => Ok(video.clone()),
            Value::Image(image) => Ok(image.video_or_synthetic(cx.now())),
            _ => Err(self.wrong(name, "video metadata")),
        }
    }

    /// The batch in a field.
    pub fn batch(&self, name: &str) -> Result<&'a Arc<Batch>, BlockError> {
        match self.value(name) {
            Value::Batch(batch) => Ok(batch),
            _ => Err(self.wrong(name, "a batch")),
        }
    }

    /// The images of the batch in a field.
    pub fn images(&self, name: &str) -> Result<Vec<&'a Image>, BlockError> {
        self.each(name, "images", Value::as_image)
    }

    /// The sets of boxes of the batch in a field.
    pub fn detection_sets(&self, name: &str) -> Result<Vec<&'a Arc<Detections>>, BlockError> {
        self.each(name, "detections", Value::as_detections)
    }

    fn each<T>(
        &self,
        name: &str,
        wanted: &str,
        get: fn(&Value) -> Option<&T>,
    ) -> Result<Vec<&'a T>, BlockError> {
        let item = |value: &'a Value| {
            get(value).ok_or_else(|| {
                let got = value.type_name();
                BlockError::failed(format!("field `{name}` must hold {wanted}, got {got}"))
            })
        };
        self.batch(name)?.items.iter().map(item).collect()
    }

    /// The number in a field; bounds of the field are checked.
    pub fn float(&self, name: &str) -> Result<f64, BlockError> {
        let x = self
            .value(name)
            .as_f64()
            .ok_or_else(|| self.wrong(name, "a number"))?;
        self.within(name, x)?;
        Ok(x)
    }

    /// The whole number in a field; bounds of the field are checked.
    pub fn int(&self, name: &str) -> Result<i64, BlockError> {
        let i = self
            .value(name)
            .as_i64()
            .ok_or_else(|| self.wrong(name, "a whole number"))?;
        self.within(name, i as f64)?;
        Ok(i)
    }

    /// The boolean in a field.
    pub fn flag(&self, name: &str) -> Result<bool, BlockError> {
        self.value(name)
            .as_bool()
            .ok_or_else(|| self.wrong(name, "true or false"))
    }

    /// The text in a field.
    pub fn text(&self, name: &str) -> Result<&'a str, BlockError> {
        self.value(name)
            .as_str()
            .ok_or_else(|| self.wrong(name, "text"))
    }

    /// The items of the list (or tuple) in a field.
    pub fn list(&self, name: &str) -> Result<&'a [Value], BlockError> {
        self.value(name)
            .as_slice()
            .ok_or_else(|| self.wrong(name, "a list"))
    }

    /// What `get` reads from a field, or `None` if the field is `None`.
    pub fn optional<T>(
        &self,
        name: &str,
        get: impl FnOnce(&Self, &str) -> Result<T, BlockError>,
    ) -> Result<Option<T>, BlockError> {
        if self.value(name).is_none() {
            Ok(None)
        } else {
            get(self, name).map(Some)
        }
    }

    fn within(&self, name: &str, x: f64) -> Result<(), BlockError> {
        match self
            .spec
            .field_index(name)
            .map(|i| self.spec.fields[i].bounds)
        {
            Some(bounds) => bounds
                .check(x)
                .map_err(|why| BlockError::Input(format!("field `{name}` {why}, got {x}"))),
            None => Ok(()),
        }
    }
}

/// Where a run takes place.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Name of the step.
    pub step: &'a str,
    /// Stream of the element: the video identifier of the input image that the step's data descend
    /// from, or an empty text if they descend from none.
    pub stream: &'a Arc<str>,
    /// Services of the host.
    pub services: &'a Services,
    /// The stream's turn at its models, if it runs in a stream.
    pub claim: Option<&'a crate::models::Claim>,
}

impl Context<'_> {
    /// The time now, by the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.services.clock.now()
    }
}

/// What the host lends to blocks. Shared by all engines of a process but for `cache`.
#[derive(Clone)]
pub struct Services {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Weights and sessions.
    pub models: Arc<ModelStore>,
    /// The key that a request brought, for models of the platform; `None` stands for that of the
    /// process.
    pub api_key: Option<ApiKey>,
    /// Sends events out.
    pub dispatcher: Arc<Dispatcher>,
    /// Which definition runs ([`crate::definitions::Provenance::on_requests`]): set by the engine, for
    /// events to name it.
    pub definition: Arc<serde_json::Value>,
    /// Where inner workflows go that another server is to run.
    pub remote: Arc<RemoteWorkflows>,
    /// What the operator decides for sinks, and what they remember over engines.
    pub sinks: Arc<sinks::settings::SinkHost>,
    /// Values that cache blocks put aside, of one engine.
    pub cache: Arc<crate::blocks::CacheStore>,
    /// Whether sinks do nothing (dry runs).
    pub disable_sinks: bool,
    /// Most workers of a stage of a stream, unless it says so itself; `None` goes by the cores.
    pub stage_workers: Option<std::num::NonZeroUsize>,
    /// Makes traces of frames and requests, if a collector wants them.
    pub tracer: Option<Arc<crate::telemetry::Tracer>>,
    /// Gathers where the time of a run goes, if that is wanted.
    pub profile: Option<crate::profile::Profile>,
}

impl Default for Services {
    /// The machine's clock, no models, a dispatcher and an empty cache of its own.
    fn default() -> Self {
        Self {
            clock: Arc::new(crate::clock::SystemClock::default()),
            models: Arc::default(),
            api_key: None,
            dispatcher: Arc::default(),
            definition: Arc::default(),
            remote: Arc::default(),
            sinks: Arc::default(),
            cache: Arc::default(),
            disable_sinks: false,
            stage_workers: None,
            tracer: None,
            profile: None,
        }
    }
}

/// Why a block failed on an element.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BlockError {
    /// The block failed: `StepExecutionError`.
    #[error("{0}")]
    Failed(String),
    /// A value that came in at run time does not suit the field: `RuntimeInputError`.
    #[error("{0}")]
    Input(String),
    /// An error with a class and context of its own (query language and the like).
    #[error("{message}")]
    Classed {
        /// The class.
        class: ErrorClass,
        /// The context on the wire.
        context: String,
        /// What is wrong.
        message: String,
    },
    /// The client can mend it: `ClientCausedStepExecutionError` with this HTTP status.
    #[error("{message}")]
    Client {
        /// HTTP status.
        status: u16,
        /// What is wrong.
        message: String,
    },
}

impl BlockError {
    /// The block failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }
}

impl From<opencv::Error> for BlockError {
    fn from(error: opencv::Error) -> Self {
        Self::Failed(format!("image processing failed: {}", error.message))
    }
}

impl From<crate::geometry::GeometryError> for BlockError {
    fn from(error: crate::geometry::GeometryError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Why a block could not be made for a step: `BlockInterfaceError`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct BuildError {
    /// What is wrong.
    pub message: String,
}

impl BuildError {
    /// What is wrong.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}
