//! Runs another workflow.
//!
//! # Inputs and outputs
//! With `execution_mode: embedded` the steps of the other definition take the place of this step
//! before anything runs ([`crate::definition::inner`]); what is here runs the other mode only.
//! `remote_dispatch` hands the values of `parameter_bindings` and the definition, or its name, to
//! another server and does not wait for what comes of it. No outputs.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Once per element of the bindings. Nothing is sent where sinks are disabled. An address that is no
//! base address and a chain of more dispatches than allowed are errors; a server that refuses or is
//! away stands in the log only. The API key goes to the configured server and to no other. A dispatch
//! is one exchange: redirects are not followed and nothing is sent twice.
//!
//! # Parity
//! `inner_workflow_*`, specification 3.5.

use std::sync::Arc;

use reqwest::header::HeaderValue;
use serde_json::{Map, Value as Json, json};
use url::Url;

use crate::blocks::{
    Block, BlockError, BlockSpec, BuildError, Context, Family, Field, Inputs, Output, Role,
    StepProblem, Ty, output,
};
use crate::definition::inner::{BLOCK_TYPE, Child, GIVES_BOTH, GIVES_NEITHER, Reference};
use crate::definition::step::Step;
use crate::delivery::{AddressPolicy, Event, Request};
use crate::row;
use crate::values::kind;
use crate::values::serialise::{OutputOptions, serialise};

const NO_BASE_ADDRESS: &str = "the target of a dispatched workflow must be an HTTP(S) base address \
     without credentials, query or fragment";

const ID: &[Ty] = &[Ty::Str, Ty::Null];

/// `roboflow_core/inner_workflow@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[BLOCK_TYPE],
    name: "Inner Workflow",
    family: Family::FlowControl,
    about: "Runs the steps of another workflow in its place, or hands them to another server.",
    fields: &[
        Field::optional(
            "execution_mode",
            &[Ty::OneOf(&["embedded", "remote_dispatch"])],
            "\"embedded\"",
        )
        .about("Whether the other workflow runs here or on another server."),
        Field::optional("remote_target", &[Ty::Str, Ty::Null], "null")
            .about("Base address of the other server."),
        Field::optional("workflow_definition", &[Ty::Object, Ty::Null], "null")
            .about("The other definition."),
        Field::optional("workflow_workspace_id", ID, "null")
            .about("Workspace of the other definition; `local` for one of this machine."),
        Field::optional("workflow_id", ID, "null").about("Id of the other definition."),
        Field::optional("workflow_version_id", ID, "null")
            .about("Pinned version of the other definition."),
        Field::required(
            "parameter_bindings",
            &[Ty::Map(&[Ty::Selector(&[kind::WILDCARD])])],
        )
        .extra(r#"{"keys_bound_in": "parameter_bindings"}"#)
        .about("What stands for each input of the other definition."),
    ],
    outputs: &[output("*", &[kind::WILDCARD])],
    dynamic_outputs: Some(|_| Vec::new()),
    role: Role::Sink,
    engine: ">=1.4.0,<2.0.0",
    check: Some(check),
    build: |step, _| Ok(Box::new(Dispatch::new(step)?)),
    ..BlockSpec::DEFAULT
};

fn child(step: &Step) -> Child<'_> {
    Child::of(|field| step.literal(field))
}

fn check(step: &Step) -> Vec<StepProblem> {
    let mut problems = Vec::new();
    let mut add = |field, message: &str| {
        problems.push(StepProblem {
            field,
            message: message.to_owned(),
        });
    };
    if step
        .text("remote_target")
        .is_some_and(|target| target.trim().is_empty())
    {
        add(
            Some("remote_target"),
            "must be an address, or null for the configured one",
        );
    }
    match child(step) {
        Child::Both => add(None, GIVES_BOTH),
        Child::Neither => add(None, GIVES_NEITHER),
        Child::Written(_) | Child::Named(_) => {}
    }
    problems
}

/// What the other server is to run.
enum What {
    Definition(Json),
    Named(Reference),
}

struct Dispatch {
    what: What,
    /// Address out of the definition.
    target: Option<Arc<str>>,
}

impl Dispatch {
    fn new(step: &Step) -> Result<Self, BuildError> {
        if step.text("execution_mode") != Some("remote_dispatch") {
            let why = "an embedded inner workflow must be replaced by its steps before it can run";
            return Err(BuildError::new(why));
        }
        let what = match child(step) {
            Child::Written(definition) => What::Definition(Json::Object(definition.clone())),
            Child::Named(reference) => What::Named(reference),
            Child::Both => return Err(BuildError::new(GIVES_BOTH)),
            Child::Neither => return Err(BuildError::new(GIVES_NEITHER)),
        };
        let target = step.text("remote_target").map(|text| text.trim().into());
        Ok(Self { what, target })
    }

    fn request(&self, inputs: Map<String, Json>, cx: &Context<'_>) -> Result<Request, BlockError> {
        let remote = &cx.services.remote;
        let target = self.target.as_ref().unwrap_or(&remote.target);
        let (base, configured) = match (base_address(target), base_address(&remote.target)) {
            (Some(base), configured) => (base.clone(), configured == Some(base)),
            (None, _) => return Err(BlockError::failed(NO_BASE_ADDRESS)),
        };
        if remote.depth >= remote.max_depth {
            return Err(BlockError::failed(format!(
                "workflows have been dispatched {} times on from each other, which is the limit: do \
                 not dispatch in a circle, or raise `WORKFLOWS_MAX_INNER_WORKFLOW_DEPTH`",
                remote.max_depth
            )));
        }
        let mut body = json!({
            "api_key": remote.api_key.as_deref().filter(|_| configured),
            "inputs": inputs,
            "inner_workflow_dispatch_depth": remote.depth + 1,
        });
        let path = match &self.what {
            What::Definition(definition) => {
                body["specification"] = definition.clone();
                vec!["workflows", "run"]
            }
            What::Named(reference) => {
                body["use_cache"] = json!(true);
                if let Some(version) = &reference.version {
                    body["workflow_version_id"] = json!(version);
                }
                vec![&reference.workspace, "workflows", &reference.workflow]
            }
        };
        // The operator's own server may be anywhere, one out of a definition where policy allows.
        let addresses = match configured {
            true => AddressPolicy::Any,
            false => cx.services.dispatcher.settings().addresses,
        };
        let refused = |error: &dyn std::fmt::Display| BlockError::failed(error.to_string());
        let request = Request::new("POST", below(base, &path).as_str(), addresses)
            .map_err(|error| refused(&error))?;
        Ok(request
            .body(
                HeaderValue::from_static("application/json"),
                body.to_string(),
            )
            .timeout(remote.timeout)
            .single_exchange())
    }
}

impl Block for Dispatch {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        if cx.services.disable_sinks {
            return Ok(Output::One(row![]));
        }
        let options = OutputOptions::new(cx.now());
        let bound = inputs.value("parameter_bindings").as_dict();
        let values = bound.into_iter().flatten().map(|(name, value)| {
            let json = serialise(&[kind::WILDCARD], value, &options);
            let json = json.map_err(|error| BlockError::failed(format!("`{name}`: {error}")))?;
            Ok((name.to_string(), json))
        });
        let values = values.collect::<Result<Map<String, Json>, BlockError>>()?;
        let request = self.request(values, cx)?;
        let dispatcher = &cx.services.dispatcher;
        let failed = if dispatcher.settings().background {
            let event = Event {
                stream: cx.stream.clone(),
                request: Arc::new(request),
            };
            dispatcher.post(event).err().map(|error| error.to_string())
        } else {
            dispatcher
                .send(request)
                .err()
                .map(|error| error.to_string())
        };
        if let Some(error) = failed {
            tracing::warn!(step = cx.step, %error, "an inner workflow was not dispatched");
        }
        Ok(Output::One(row![]))
    }
}

/// A base address, without the slashes at its end.
fn base_address(text: &str) -> Option<Url> {
    let url = Url::parse(text.trim_end_matches('/')).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    plain.then_some(url)
}

fn below(mut base: Url, path: &[&str]) -> Url {
    if let Ok(mut segments) = base.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_address_has_nothing_but_host_and_path() {
        for text in [
            "http://h",
            "https://h:8443/base/",
            "http://127.0.0.1:9001//",
        ] {
            assert!(base_address(text).is_some(), "{text}");
        }
        for text in [
            "ftp://somewhere",
            "somewhere",
            "http://u@h",
            "http://u:p@h",
            "http://h/?q=1",
            "http://h/#f",
            "http://",
        ] {
            assert!(base_address(text).is_none(), "{text}");
        }
        assert_eq!(base_address("http://h/"), base_address("http://h"));
    }

    #[test]
    fn ids_cannot_leave_their_place_in_the_path() {
        let base = base_address("http://h/base/").unwrap();
        let url = below(base, &["a/../b", "workflows", "c?d"]);
        assert_eq!(url.as_str(), "http://h/base/a%2F..%2Fb/workflows/c%3Fd");
    }
}
