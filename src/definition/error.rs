//! Every way in which a definition or a run can fail, by the names that clients know.
//!
//! Class names, contexts and statuses are those of the engine specification, section 4.4; the JSON
//! bodies those of section 4.7.

use serde_json::{Value as Json, json};

/// Class of a workflow error. The name is part of the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The document is not a well-formed definition.
    WorkflowSyntax,
    /// Two inputs, steps or outputs have one name.
    DuplicatedName,
    /// The document asks for something impossible, e.g. an unreadable version.
    WorkflowDefinition,
    /// No engine satisfies the requested version.
    NotSupportedExecutionEngine,
    /// A selector names something that does not exist.
    InvalidReferenceTarget,
    /// The graph is not possible: a cycle, an unknown output, batch data in a scalar field.
    ExecutionGraphStructure,
    /// Kinds do not fit.
    ReferenceType,
    /// Nesting depths do not fit.
    StepInputDimensionality,
    /// Data of unrelated origin are combined.
    StepInputLineage,
    /// A condition does not fit the data of the step that it gates.
    ControlFlowDefinition,
    /// A block declares something impossible or refuses its parameters.
    BlockInterface,
    /// A block lacks a service of the host.
    BlockInitParameterNotProvided,
    /// The host forbids what the definition needs.
    WorkflowEnvironmentConfiguration,
    /// A custom block's description is wrong.
    DynamicBlock,
    /// A custom block's code is wrong.
    DynamicBlockCode,
    /// An inner workflow entry is not a step.
    InnerWorkflowInvalidStepEntry,
    /// Inner workflows contain each other.
    InnerWorkflowCompositionCycle,
    /// Inner workflows are nested too deep.
    InnerWorkflowNestingDepth,
    /// There are too many inner workflows.
    InnerWorkflowTotalCount,
    /// Something is bound to an input that an inner workflow does not have.
    InnerWorkflowParameterBindingsUnknownInput,
    /// Nothing is bound to an input that an inner workflow needs.
    InnerWorkflowParameterBindingsMissingRequired,
    /// A run-time input is missing or does not fit.
    RuntimeInput,
    /// A block failed.
    StepExecution,
    /// A block failed for a reason that the client can mend.
    ClientCausedStepExecution,
    /// A block failed because it exceeds a limit of the host.
    RuntimeLimitsCausedStepExecution,
    /// A block returned something that its description forbids.
    InvalidBlockBehaviour,
    /// The engine could not put results together.
    ExecutionEngineRuntime,
    /// Query language: a value of the wrong type.
    InvalidInputType,
    /// Query language: an unknown operation.
    OperationTypeNotRecognised,
    /// Query language: an operation failed.
    Operation,
    /// Query language: a name that was not supplied.
    UndeclaredSymbol,
    /// Query language: a statement failed.
    EvaluationEngine,
    /// An internal promise was broken.
    Assumption,
}

/// Which dependency an operator has to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The definition.
    Definition,
    /// What came in at run time.
    Input,
    /// A block or a model.
    Block,
    /// millrace itself.
    Internal,
}

impl ErrorClass {
    /// Name on the wire.
    pub fn name(self) -> &'static str {
        use ErrorClass as C;
        match self {
            C::WorkflowSyntax => "WorkflowSyntaxError",
            C::DuplicatedName => "DuplicatedNameError",
            C::WorkflowDefinition => "WorkflowDefinitionError",
            C::NotSupportedExecutionEngine => "NotSupportedExecutionEngineError",
            C::InvalidReferenceTarget => "InvalidReferenceTargetError",
            C::ExecutionGraphStructure => "ExecutionGraphStructureError",
            C::ReferenceType => "ReferenceTypeError",
            C::StepInputDimensionality => "StepInputDimensionalityError",
            C::StepInputLineage => "StepInputLineageError",
            C::ControlFlowDefinition => "ControlFlowDefinitionError",
            C::BlockInterface => "BlockInterfaceError",
            C::BlockInitParameterNotProvided => "BlockInitParameterNotProvidedError",
            C::WorkflowEnvironmentConfiguration => "WorkflowEnvironmentConfigurationError",
            C::DynamicBlock => "DynamicBlockError",
            C::DynamicBlockCode => "DynamicBlockCodeError",
            C::InnerWorkflowInvalidStepEntry => "InnerWorkflowInvalidStepEntryError",
            C::InnerWorkflowCompositionCycle => "InnerWorkflowCompositionCycleError",
            C::InnerWorkflowNestingDepth => "InnerWorkflowNestingDepthError",
            C::InnerWorkflowTotalCount => "InnerWorkflowTotalCountError",
            C::InnerWorkflowParameterBindingsUnknownInput => {
                "InnerWorkflowParameterBindingsUnknownInputError"
            }
            C::InnerWorkflowParameterBindingsMissingRequired => {
                "InnerWorkflowParameterBindingsMissingRequiredError"
            }
            C::RuntimeInput => "RuntimeInputError",
            C::StepExecution => "StepExecutionError",
            C::ClientCausedStepExecution => "ClientCausedStepExecutionError",
            C::RuntimeLimitsCausedStepExecution => "RuntimeLimitsCausedStepExecutionError",
            C::InvalidBlockBehaviour => "InvalidBlockBehaviourError",
            C::ExecutionEngineRuntime => "ExecutionEngineRuntimeError",
            C::InvalidInputType => "InvalidInputTypeError",
            C::OperationTypeNotRecognised => "OperationTypeNotRecognisedError",
            C::Operation => "OperationError",
            C::UndeclaredSymbol => "UndeclaredSymbolError",
            C::EvaluationEngine => "EvaluationEngineError",
            C::Assumption => "AssumptionError",
        }
    }

    /// HTTP status (see [`WorkflowError::status`] for errors that carry their own).
    pub fn status(self) -> u16 {
        use ErrorClass as C;
        match self {
            C::WorkflowSyntax
            | C::DuplicatedName
            | C::WorkflowDefinition
            | C::NotSupportedExecutionEngine
            | C::InvalidReferenceTarget
            | C::ExecutionGraphStructure
            | C::ReferenceType
            | C::StepInputDimensionality
            | C::DynamicBlock
            | C::DynamicBlockCode
            | C::InnerWorkflowInvalidStepEntry
            | C::InnerWorkflowCompositionCycle
            | C::InnerWorkflowNestingDepth
            | C::InnerWorkflowTotalCount
            | C::InnerWorkflowParameterBindingsUnknownInput
            | C::InnerWorkflowParameterBindingsMissingRequired
            | C::RuntimeInput
            | C::ClientCausedStepExecution
            | C::InvalidInputType
            | C::OperationTypeNotRecognised => 400,
            C::RuntimeLimitsCausedStepExecution => 507,
            _ => 500,
        }
    }

    /// Which dependency an operator has to look at.
    pub fn origin(self) -> Origin {
        use ErrorClass as C;
        match self {
            C::RuntimeInput => Origin::Input,
            C::Assumption | C::ExecutionEngineRuntime | C::InvalidBlockBehaviour => {
                Origin::Internal
            }
            C::StepExecution
            | C::ClientCausedStepExecution
            | C::RuntimeLimitsCausedStepExecution
            | C::InvalidInputType
            | C::Operation
            | C::UndeclaredSymbol
            | C::EvaluationEngine => Origin::Block,
            _ => Origin::Definition,
        }
    }
}

/// One problem of one step, as editors show it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockProblem {
    /// Name of the step.
    pub block_id: Option<String>,
    /// Type of the step.
    pub block_type: Option<String>,
    /// Text about the step as a whole.
    pub block_details: Option<String>,
    /// The field that is wrong.
    pub property_name: Option<String>,
    /// Text about the field.
    pub property_details: Option<String>,
}

/// A workflow error: what a client is told, whole.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}: {message}", class.name())]
pub struct WorkflowError {
    /// The class.
    pub class: ErrorClass,
    /// What is wrong and, where it can be said, what to do.
    pub message: String,
    /// Phase in which it was noticed, outermost first.
    pub context: String,
    /// Class and text of the error behind this one.
    pub inner: Option<(String, String)>,
    /// Problems by step.
    pub blocks: Vec<BlockProblem>,
    /// Status in place of the class's own.
    pub status_override: Option<u16>,
}

impl WorkflowError {
    /// An error of a class in a phase.
    pub fn new(class: ErrorClass, context: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            context: context.into(),
            inner: None,
            blocks: Vec::new(),
            status_override: None,
        }
    }

    /// The same error naming the one behind it.
    pub fn with_inner(mut self, class: impl Into<String>, message: impl Into<String>) -> Self {
        self.inner = Some((class.into(), message.into()));
        self
    }

    /// The same error with a problem of one step.
    pub fn with_block(mut self, problem: BlockProblem) -> Self {
        self.blocks.push(problem);
        self
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.status_override.unwrap_or(self.class.status())
    }

    /// JSON body (engine specification 4.7, bodies A to F).
    pub fn to_json(&self) -> Json {
        use ErrorClass as C;
        let inner_type = self.inner.as_ref().map(|(class, _)| class.as_str());
        let inner_text = self
            .inner
            .as_ref()
            .map_or("None", |(_, text)| text.as_str());
        let mut body = json!({
            "message": self.message,
            "error_type": self.class.name(),
            "context": self.context,
            "inner_error_type": inner_type,
            "inner_error_message": inner_text,
        });
        match self.class {
            C::WorkflowSyntax
            | C::InvalidReferenceTarget
            | C::ExecutionGraphStructure
            | C::StepInputDimensionality
            | C::ClientCausedStepExecution
            | C::RuntimeLimitsCausedStepExecution => {
                body["inner_error_type"] = json!(inner_type.unwrap_or("None"));
                body["blocks_errors"] = self.blocks_json();
                body["python_blocks_output_streams"] = Json::Null;
                body["python_blocks_debug_traces"] = Json::Null;
            }
            C::StepExecution | C::DynamicBlockCode => {
                body["inner_error_message"] = json!(self.inner.as_ref().map(|(_, text)| text));
                body["blocks_errors"] = self.blocks_json();
                body["python_blocks_output_streams"] = Json::Null;
                body["python_blocks_debug_traces"] = Json::Null;
            }
            _ if self.class.status() == 400 => {}
            _ => {
                body["python_blocks_output_streams"] = Json::Null;
                body["python_blocks_debug_traces"] = Json::Null;
            }
        }
        body
    }

    /// The problems by step. Without any, only an error of syntax has a list.
    fn blocks_json(&self) -> Json {
        if self.blocks.is_empty() && self.class != ErrorClass::WorkflowSyntax {
            return Json::Null;
        }
        // Failed blocks carry a traceback; ours have none to tell.
        let traceback = (self.class == ErrorClass::StepExecution).then(|| {
            json!({
                "traceback": null,
                "error_line": null,
                "code_snippet": null,
                "stdout": null,
                "stderr": null,
            })
        });
        let problem = |b: &BlockProblem| {
            json!({
                "block_id": b.block_id,
                "block_type": b.block_type,
                "block_details": b.block_details,
                "property_name": b.property_name,
                "property_details": b.property_details,
                "block_traceback": traceback,
            })
        };
        self.blocks.iter().map(problem).collect()
    }
}
