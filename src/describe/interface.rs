//! What goes into a definition and what comes out: kinds of its inputs and outputs, with the Python
//! types and JSON schemas of those kinds (engine specification, section 14).

use serde_json::{Map, Value as Json, json};

use super::kinds;
use crate::blocks::Ty;
use crate::definition::document::{InputDef, InputType};
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::definition::selector::Selector;
use crate::definition::step::{Member, Step};
use crate::definition::{Document, InnerWorkflows};
use crate::plan::step_outputs;
use crate::values::kind;

const INPUTS: &str = "describing_workflow_inputs";
const OUTPUTS: &str = "describing_workflow_outputs";

/// Kinds of the inputs and outputs of a definition, with the types behind them.
///
/// # Errors
/// `WorkflowDefinitionError` for a definition that cannot be read, for inputs that are used for two
/// things at once or not as declared, and for outputs that refer to nothing.
pub fn interface(definition: &Json) -> Result<Json, WorkflowError> {
    interface_with(definition, &InnerWorkflows::default())
}

/// The same, with what the host lends to inner workflows.
///
/// # Errors
/// See [`interface`].
pub fn interface_with(
    definition: &Json,
    inner: &InnerWorkflows<'_>,
) -> Result<Json, WorkflowError> {
    let document = Document::parse_with(definition, inner).map_err(|error| {
        let message = format!("the definition cannot be described: {}", error.message);
        refusal(INPUTS, message).with_inner(error.class.name(), error.message)
    })?;
    let inputs = document
        .inputs
        .iter()
        .map(|input| {
            let kinds = match input.is_declared() {
                true => input_kinds(&document, input)?,
                false => input.kinds.clone(),
            };
            Ok((&*input.name, kinds))
        })
        .collect::<Result<Vec<_>, WorkflowError>>()?;
    for step in &document.steps {
        check_targets(&document, step)?;
    }
    let outputs = document
        .outputs
        .iter()
        .map(|output| Ok((&*output.name, output_kinds(&document, &inputs, output)?)))
        .collect::<Result<Vec<_>, WorkflowError>>()?;
    let declared = document.inputs.iter().filter(|i| i.is_declared()).count();
    // Constants stand behind what is declared.
    Ok(answer(&inputs[..declared], &outputs))
}

type Kinds = Vec<String>;

/// What an output shows.
enum OutputKinds {
    One(Kinds),
    All(Vec<(String, Kinds)>),
}

fn refusal(context: &str, message: impl Into<String>) -> WorkflowError {
    WorkflowError::new(ErrorClass::WorkflowDefinition, context, message)
}

fn answer(inputs: &[(&str, Kinds)], outputs: &[(&str, OutputKinds)]) -> Json {
    let mut used: Vec<&str> = Vec::new();
    let of_outputs = outputs.iter().flat_map(|(_, shown)| match shown {
        OutputKinds::One(kinds) => vec![kinds],
        OutputKinds::All(all) => all.iter().map(|(_, kinds)| kinds).collect(),
    });
    for kind in inputs
        .iter()
        .map(|(_, kinds)| kinds)
        .chain(of_outputs)
        .flatten()
    {
        if !used.contains(&kind.as_str()) {
            used.push(kind);
        }
    }
    let by_kind = |of: &dyn Fn(&str) -> Option<Json>| -> Map<String, Json> {
        let known = used.iter().filter_map(|kind| Some((*kind, of(kind)?)));
        known.map(|(kind, json)| (kind.to_owned(), json)).collect()
    };
    let inputs: Map<String, Json> = inputs
        .iter()
        .map(|(name, kinds)| ((*name).to_owned(), json!(kinds)))
        .collect();
    let outputs: Map<String, Json> = outputs
        .iter()
        .map(|(name, shown)| ((*name).to_owned(), shown.json()))
        .collect();
    json!({
        "inputs": inputs,
        "outputs": outputs,
        "typing_hints": by_kind(&|kind| kinds::typing_hint(kind).map(Json::from)),
        "kinds_schemas": by_kind(&kinds::schema),
    })
}

impl OutputKinds {
    fn json(&self) -> Json {
        match self {
            Self::One(kinds) => json!(kinds),
            Self::All(all) => all
                .iter()
                .map(|(name, kinds)| (name.clone(), json!(kinds)))
                .collect::<Map<_, _>>()
                .into(),
        }
    }
}

/// A place where an input is used, and the kinds that fit there.
struct Use<'a> {
    step: &'a str,
    field: &'static str,
    kinds: Vec<&'static str>,
}

/// The kinds that an input may have: all that its uses take; anything if it has no use.
fn input_kinds(document: &Document, input: &InputDef) -> Result<Kinds, WorkflowError> {
    let mut uses: Vec<Use<'_>> = Vec::new();
    for step in &document.steps {
        uses.extend(uses_in(step, input)?);
    }
    let Some(first) = uses.first() else {
        return Ok(vec![kind::WILDCARD.to_owned()]);
    };
    let mut kinds = Kinds::new();
    for used in &uses {
        if !fit(&used.kinds, &first.kinds) {
            let message = format!(
                "input `{}` is used for different things: field `{}` of step `{}` takes {}, field `{}` of step `{}` takes {}",
                input.name,
                first.field,
                first.step,
                first.kinds.join("/"),
                used.field,
                used.step,
                used.kinds.join("/"),
            );
            return Err(refusal(INPUTS, message));
        }
        for kind in &used.kinds {
            if !kinds.iter().any(|known| known == kind) {
                kinds.push((*kind).to_owned());
            }
        }
    }
    if fit(&input.kinds, &kinds) {
        return Ok(kinds);
    }
    let message = format!(
        "input `{}` is declared as {}, but its steps take {}",
        input.name,
        input.kinds.join("/"),
        kinds.join("/"),
    );
    Err(refusal(INPUTS, message))
}

fn fit<A: AsRef<str>, B: AsRef<str>>(some: &[A], others: &[B]) -> bool {
    let any = |kind: &str| kind == kind::WILDCARD;
    some.iter().any(|kind| any(kind.as_ref()))
        || others.iter().any(|kind| any(kind.as_ref()))
        || some
            .iter()
            .any(|a| others.iter().any(|b| a.as_ref() == b.as_ref()))
}

fn uses_in<'a>(step: &'a Step, input: &InputDef) -> Result<Vec<Use<'a>>, WorkflowError> {
    let mut uses = Vec::new();
    for (field, value) in step.spec.fields.iter().zip(&step.values) {
        for (member, selector) in value.selectors() {
            if !matches!(selector, Selector::Input(name) if *name == input.name) {
                continue;
            }
            let kinds = kinds_for(field.types, &member, &input.input_type);
            if kinds.is_empty() {
                let message = format!(
                    "field `{}` of step `{}` does not take the input `{}`",
                    field.name, step.name, input.name
                );
                return Err(refusal(INPUTS, message));
            }
            uses.push(Use {
                step: &step.name,
                field: field.name,
                kinds,
            });
        }
    }
    Ok(uses)
}

/// Kinds of the shapes at a place of a field to which an input of this type may be plugged.
fn kinds_for(types: &'static [Ty], member: &Member, input: &InputType) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    for ty in types {
        let found: Vec<&'static str> = match (ty, member, input) {
            (Ty::Selector(of), Member::Whole, _) => of.to_vec(),
            (Ty::InputImage, Member::Whole, InputType::Image | InputType::Batch(_)) => {
                vec![kind::IMAGE]
            }
            (Ty::InputVideo, Member::Whole, InputType::VideoMetadata | InputType::Batch(_)) => {
                vec![kind::VIDEO_METADATA]
            }
            (Ty::InputParameter(of), Member::Whole, InputType::Parameter(_)) => of.to_vec(),
            (Ty::List(items) | Ty::ListIn(items, ..), Member::Item(_), _) => {
                kinds_for(items, &Member::Whole, input)
            }
            (Ty::Tuple(parts), Member::Item(i), _) => parts
                .get(*i)
                .map_or_else(Vec::new, |part| kinds_for(part, &Member::Whole, input)),
            (Ty::Map(values), Member::Key(_), _) => kinds_for(values, &Member::Whole, input),
            _ => Vec::new(),
        };
        for kind in found {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
    }
    kinds
}

/// Every input that a step names exists.
fn check_targets(document: &Document, step: &Step) -> Result<(), WorkflowError> {
    let known = |name: &str| document.inputs.iter().any(|input| &*input.name == name);
    for value in &step.values {
        for (_, selector) in value.selectors() {
            if let Selector::Input(name) = selector
                && !known(name)
            {
                let message = format!(
                    "step `{}` refers to the input `{name}`, which the definition does not have",
                    step.name
                );
                return Err(refusal(INPUTS, message));
            }
        }
    }
    Ok(())
}

fn output_kinds(
    document: &Document,
    inputs: &[(&str, Kinds)],
    output: &crate::definition::document::OutputDef,
) -> Result<OutputKinds, WorkflowError> {
    let fail = |what: &str| {
        let message = format!("output `{}` refers to {what}", output.name);
        Err(refusal(OUTPUTS, message))
    };
    let step = |name: &str| document.steps.iter().find(|step| &*step.name == name);
    match &output.selector {
        Selector::Input(name) => match inputs.iter().find(|(known, _)| *known == &**name) {
            Some((_, kinds)) => Ok(OutputKinds::One(kinds.clone())),
            None => fail(&format!("the input `{name}`, which does not exist")),
        },
        Selector::StepOutput(name, wanted) => match step(name) {
            Some(step) => match step_outputs(step).into_iter().find(|o| o.name == *wanted) {
                Some(found) => Ok(OutputKinds::One(found.kinds)),
                None => fail(&format!("`{wanted}`, which step `{name}` does not give")),
            },
            None => fail(&format!("the step `{name}`, which does not exist")),
        },
        Selector::AllOutputs(name) => match step(name) {
            Some(step) => {
                let all = step_outputs(step).into_iter();
                let named = all.map(|output| (output.name.to_string(), output.kinds));
                Ok(OutputKinds::All(named.collect()))
            }
            None => fail(&format!("the step `{name}`, which does not exist")),
        },
        other => fail(&format!(
            "`{other}`, which is neither an input nor an output of a step"
        )),
    }
}
