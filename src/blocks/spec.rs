//! What a block says of itself: its fields, outputs and batch behaviour.
//!
//! One [`BlockSpec`] feeds the parser of definitions, the compile-time check, the description that
//! clients ask for and the tables of the README.

use serde_json::Value as Json;

use super::{Block, BuildError, Services};
use crate::definition::step::Step;
use crate::values::Kind;

/// Family of a block, by the names that the platform's editor uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Counting, timing, measuring.
    Analytics,
    /// Classical image processing.
    ClassicalComputerVision,
    /// Conditions and switches.
    FlowControl,
    /// Shaping of values and texts.
    Formatter,
    /// Joining of several results.
    Fusion,
    /// Arithmetic.
    Math,
    /// Inference.
    Model,
    /// Sources of secrets.
    SecretsProvider,
    /// Everything that leaves the workflow.
    Sink,
    /// Change of detections or images.
    Transformation,
    /// Video-specific blocks.
    Video,
    /// Drawing.
    Visualization,
}

impl Family {
    /// Name in descriptions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Analytics => "analytics",
            Self::ClassicalComputerVision => "classical_computer_vision",
            Self::FlowControl => "flow_control",
            Self::Formatter => "formatter",
            Self::Fusion => "fusion",
            Self::Math => "math",
            Self::Model => "model",
            Self::SecretsProvider => "secrets_provider",
            Self::Sink => "sink",
            Self::Transformation => "transformation",
            Self::Video => "video",
            Self::Visualization => "visualization",
        }
    }
}

/// What the engine needs to know of a block beyond its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Computes outputs.
    Plain,
    /// Decides which steps run; has no outputs.
    FlowControl,
    /// Runs a model: gets a stage of its own.
    Model,
    /// Sends something out of the workflow.
    Sink,
}

/// One shape that a field accepts. A field accepts the union of its shapes.
#[derive(Clone, Copy, Debug)]
pub enum Ty {
    /// `$steps.x.y` or `$inputs.x` of one of these kinds.
    Selector(&'static [Kind]),
    /// `$steps.x.y` only.
    StepOutput(&'static [Kind]),
    /// `$inputs.x` of an image input.
    InputImage,
    /// `$inputs.x` of a parameter of one of these kinds.
    InputParameter(&'static [Kind]),
    /// `$inputs.x` of a video metadata input.
    InputVideo,
    /// `$steps.x`: a target of flow control.
    Step,
    /// A boolean literal.
    Bool,
    /// A whole number literal.
    Int,
    /// A number literal.
    Float,
    /// A whole number within bounds (inclusive; `i64::MIN`/`MAX` for none).
    IntIn(i64, i64),
    /// A whole number above the first bound, up to the second (inclusive; `i64::MAX` for none).
    IntAbove(i64, i64),
    /// A number within bounds.
    FloatIn(Bounds),
    /// A text literal.
    Str,
    /// A text literal that matches a regular expression.
    Pattern(&'static str),
    /// `null`.
    Null,
    /// Any JSON value.
    Any,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts; the set has a name of its own in schemas.
    NamedOneOf(&'static str, &'static [&'static str]),
    /// A list whose items have one of these shapes.
    List(&'static [Ty]),
    /// A list with at least / at most so many items.
    ListIn(&'static [Ty], usize, usize),
    /// A list of fixed length, each item with its own shapes.
    Tuple(&'static [&'static [Ty]]),
    /// An object whose values have one of these shapes.
    Map(&'static [Ty]),
    /// Any object.
    Object,
    /// A chain of query language operations.
    Operations,
    /// A query language statement group.
    Statement,
    /// A shape of its own: a check and a JSON schema (as text).
    Custom(fn(&Json) -> Result<Json, String>, &'static str),
}

/// Bounds of a number; `None` is open.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Least value.
    pub ge: Option<f64>,
    /// Value below the least.
    pub gt: Option<f64>,
    /// Greatest value.
    pub le: Option<f64>,
    /// Value above the greatest.
    pub lt: Option<f64>,
}

impl Bounds {
    /// No bounds.
    pub const NONE: Self = Self {
        ge: None,
        gt: None,
        le: None,
        lt: None,
    };

    /// From `low` to `high`, both included.
    pub const fn within(low: f64, high: f64) -> Self {
        Self {
            ge: Some(low),
            le: Some(high),
            ..Self::NONE
        }
    }

    /// From `low` on, included.
    pub const fn at_least(low: f64) -> Self {
        Self {
            ge: Some(low),
            ..Self::NONE
        }
    }

    /// Above `low`.
    pub const fn above(low: f64) -> Self {
        Self {
            gt: Some(low),
            ..Self::NONE
        }
    }

    /// What is wrong with a number, if anything.
    pub fn check(&self, x: f64) -> Result<(), String> {
        let fail = |word: &str, limit: f64| Err(format!("must be {word} {limit}"));
        match self {
            Self { ge: Some(l), .. } if x.is_nan() || x < *l => fail("at least", *l),
            Self { gt: Some(l), .. } if x.is_nan() || x <= *l => fail("greater than", *l),
            Self { le: Some(l), .. } if x.is_nan() || x > *l => fail("at most", *l),
            Self { lt: Some(l), .. } if x.is_nan() || x >= *l => fail("less than", *l),
            _ => Ok(()),
        }
    }
}

/// A field of a step.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name in definitions.
    pub name: &'static str,
    /// A second name that definitions may use.
    pub alias: Option<&'static str>,
    /// Shapes that the field accepts; the first that fits wins, an exact match before a coercion.
    pub types: &'static [Ty],
    /// Default as JSON text; `None` makes the field required.
    pub default: Option<&'static str>,
    /// Bounds of the number, whatever shape it came in (checked at run time too).
    pub bounds: Bounds,
    /// What the field is for.
    pub about: &'static str,
    /// Keys that the field's schema has beyond those that follow from the rest, as the text of a JSON
    /// object: hints of editors. A `null` takes away a key that would follow.
    pub extra: &'static str,
    /// Whether the schema leaves the default out; it always does for an empty object.
    pub silent_default: bool,
    /// How many of the shapes the schema shows; more than there are shows all.
    pub shown: usize,
}

impl Field {
    /// A field that a definition must have.
    pub const fn required(name: &'static str, types: &'static [Ty]) -> Self {
        Self {
            name,
            alias: None,
            types,
            default: None,
            bounds: Bounds::NONE,
            about: "",
            extra: "",
            silent_default: false,
            shown: usize::MAX,
        }
    }

    /// A field with a default, given as JSON text.
    pub const fn optional(name: &'static str, types: &'static [Ty], default: &'static str) -> Self {
        Self {
            name,
            alias: None,
            types,
            default: Some(default),
            bounds: Bounds::NONE,
            about: "",
            extra: "",
            silent_default: false,
            shown: usize::MAX,
        }
    }

    /// The same field with a second name.
    pub const fn alias(self, alias: &'static str) -> Self {
        Self {
            alias: Some(alias),
            ..self
        }
    }

    /// The same field with bounds on its number.
    pub const fn bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// The same field with a sentence on what it is for.
    pub const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// The same field with further keys in its schema, given as JSON text.
    pub const fn extra(self, extra: &'static str) -> Self {
        Self { extra, ..self }
    }

    /// The same field, which editors show at once.
    pub const fn always_visible(self) -> Self {
        self.extra(r#"{"always_visible": true}"#)
    }

    /// The same field whose schema shows its first shapes only; the others are accepted too.
    pub const fn shown(self, shown: usize) -> Self {
        Self { shown, ..self }
    }

    /// The shapes that the schema shows.
    pub fn shown_types(&self) -> &'static [Ty] {
        self.types.get(..self.shown).unwrap_or(self.types)
    }

    /// The same field with a default that its schema does not show.
    pub const fn silent_default(self) -> Self {
        Self {
            silent_default: true,
            ..self
        }
    }
}

/// An output of a block.
#[derive(Clone, Copy, Debug)]
pub struct OutputSpec {
    /// Name.
    pub name: &'static str,
    /// Kinds.
    pub kinds: &'static [Kind],
}

/// An output.
pub const fn output(name: &'static str, kinds: &'static [Kind]) -> OutputSpec {
    OutputSpec { name, kinds }
}

/// An output whose name follows from the step's fields.
#[derive(Clone, Debug)]
pub struct DynamicOutput {
    /// Name.
    pub name: String,
    /// Kinds.
    pub kinds: Vec<Kind>,
}

/// A problem of a step that shows only when its fields are seen together.
#[derive(Clone, Debug)]
pub struct StepProblem {
    /// The field to blame, if one is.
    pub field: Option<&'static str>,
    /// What is wrong.
    pub message: String,
}

/// Makes the block for one step of one engine.
pub type Build = fn(&Step, &Services) -> Result<Box<dyn Block>, BuildError>;

/// A block: everything that is known of it without a definition.
#[derive(Clone, Copy)]
pub struct BlockSpec {
    /// Type identifier, then its aliases.
    pub types: &'static [&'static str],
    /// Title.
    pub name: &'static str,
    /// Family.
    pub family: Family,
    /// What it does, one sentence in our words.
    pub about: &'static str,
    /// Fields in the order of the reference's schema.
    pub fields: &'static [Field],
    /// Outputs, unless they follow from the step.
    pub outputs: &'static [OutputSpec],
    /// Outputs computed from the step.
    pub dynamic_outputs: Option<fn(&Step) -> Vec<DynamicOutput>>,
    /// Role in the graph.
    pub role: Role,
    /// Fields for which `run` wants a batch.
    pub batch: &'static [&'static str],
    /// Fields that may be batch or scalar.
    pub mixed: &'static [&'static str],
    /// Fields whose scalars are lifted to batches.
    pub cast: &'static [&'static str],
    /// Relative depth of fields; 0 for those that are not named.
    pub offsets: &'static [(&'static str, i8)],
    /// Field whose lineage the output has when depths differ.
    pub reference: Option<&'static str>,
    /// Depth of the output relative to the input: -1, 0 or 1.
    pub output_offset: i8,
    /// Whether `run` wants to see empty elements.
    pub accepts_empty: bool,
    /// Whether a run leaves nothing behind, in the block or elsewhere, so that any number of instances
    /// do what one would. Steps of such blocks may work on several frames at once.
    pub stateless: bool,
    /// Engine versions that have the block.
    pub engine: &'static str,
    /// Check over several fields.
    pub check: Option<fn(&Step) -> Vec<StepProblem>>,
    /// Check of literals whose mistakes are the block's own errors when a parameter brings them at
    /// run time (a colour, for one); made on definitions only.
    pub literal_check: Option<fn(&Step) -> Vec<StepProblem>>,
    /// Makes the block for one step of one engine.
    pub build: Build,
}

impl BlockSpec {
    /// Defaults for everything optional; `types`, `name`, `family`, `fields`, `outputs` and `build`
    /// are always written out.
    pub const DEFAULT: Self = Self {
        types: &[],
        name: "",
        family: Family::Transformation,
        about: "",
        fields: &[],
        outputs: &[],
        dynamic_outputs: None,
        role: Role::Plain,
        batch: &[],
        mixed: &[],
        cast: &[],
        offsets: &[],
        reference: None,
        output_offset: 0,
        accepts_empty: false,
        stateless: false,
        engine: ">=1.3.0,<2.0.0",
        check: None,
        literal_check: None,
        build: |_, _| Err(BuildError::new("this block cannot be built")),
    };

    /// The type identifier.
    pub fn type_id(&self) -> &'static str {
        self.types[0]
    }

    /// Whether `run` is called once with batches.
    pub fn accepts_batch(&self) -> bool {
        !self.batch.is_empty() || !self.mixed.is_empty()
    }

    /// Relative depth of a field.
    pub fn offset(&self, field: &str) -> i8 {
        self.offsets
            .iter()
            .find(|(name, _)| *name == field)
            .map_or(0, |(_, offset)| *offset)
    }

    /// Position of a field.
    pub fn field_index(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }
}

impl std::fmt::Debug for BlockSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockSpec({})", self.type_id())
    }
}
