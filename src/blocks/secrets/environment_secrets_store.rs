//! Hands secrets of the machine's environment to steps that need them.
//!
//! # Inputs and outputs
//! `variables_storing_secrets`, names of environment variables → an output for each, named in lower
//! case; empty if the variable is not set.
//!
//! # State
//! None: variables are read once, when the workflow is loaded.
//!
//! # Edge cases
//! The operator may forbid it by `ALLOW_WORKFLOW_BLOCKS_ACCESSING_ENVIRONMENTAL_VARIABLES=false`; the
//! step fails then. Values stand in no error and no log, and outputs of this kind are masked. Of names
//! that differ in case only, the last counts.
//!
//! # Parity
//! Specification 10.1.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, DynamicOutput, Family, Field, Inputs, Output, Ty, output,
};
use crate::definition::step::Step;
use crate::values::{Value, kind};

const SWITCH: &str = "ALLOW_WORKFLOW_BLOCKS_ACCESSING_ENVIRONMENTAL_VARIABLES";

/// `roboflow_core/environment_secrets_store@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/environment_secrets_store@v1"],
    name: "Environment Secrets Store",
    family: Family::SecretsProvider,
    stateless: true,
    about: "Hands secrets of the machine's environment to steps that need them.",
    fields: &[Field::required(
        "variables_storing_secrets",
        &[Ty::ListIn(&[Ty::Str], 1, usize::MAX)],
    )
    .about("Names of environment variables.")],
    outputs: &[output("*", &[kind::WILDCARD])],
    dynamic_outputs: Some(outputs),
    engine: ">=1.4.0,<2.0.0",
    build: |step, _| {
        Ok(Box::new(EnvironmentSecretsStore::read(step, |name| {
            std::env::var(name).ok()
        })))
    },
    ..BlockSpec::DEFAULT
};

/// Variables by the names of their outputs; of several that differ in case only, the last.
fn variables(step: &Step) -> IndexMap<String, &str> {
    let names = step.literal("variables_storing_secrets");
    let names = names.and_then(|v| v.as_array()).into_iter().flatten();
    names
        .filter_map(|name| name.as_str())
        .map(|name| (name.to_lowercase(), name))
        .collect()
}

fn outputs(step: &Step) -> Vec<DynamicOutput> {
    let names = variables(step).into_keys();
    names
        .map(|name| DynamicOutput {
            name,
            kinds: vec![kind::SECRET],
        })
        .collect()
}

/// The secrets in the order of the outputs; `None` if reading them is forbidden.
struct EnvironmentSecretsStore(Option<Vec<Option<Arc<str>>>>);

impl EnvironmentSecretsStore {
    fn read(step: &Step, variable: impl Fn(&str) -> Option<String>) -> Self {
        let switch = variable(SWITCH).unwrap_or_default().to_lowercase();
        if matches!(switch.as_str(), "false" | "0" | "no" | "n" | "f" | "off") {
            return Self(None);
        }
        let names = variables(step).into_values();
        // A name with a `=` or a zero byte is no variable, and asking for it would panic.
        let secret = |name: &str| match name.is_empty() || name.contains(['=', '\0']) {
            true => None,
            false => variable(name).map(Arc::from),
        };
        Self(Some(names.map(secret).collect()))
    }
}

impl Block for EnvironmentSecretsStore {
    fn run(&mut self, _: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let Some(secrets) = &self.0 else {
            return Err(BlockError::failed(format!(
                "reading secrets from the environment is forbidden here: it takes `{SWITCH}=true`"
            )));
        };
        let row = secrets.iter().map(|secret| Value::from(secret.clone()));
        Ok(Output::One(row.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::query::trial::{Host, step};
    use crate::values::python;
    use serde_json::json;

    fn run(names: &[&str], environment: &[(&str, &str)]) -> Result<String, BlockError> {
        let step = step(&BLOCK, json!({"variables_storing_secrets": names}));
        let mut block = EnvironmentSecretsStore::read(&step, |name| {
            let found = environment.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        let host = Host::default();
        match block.run(
            &Inputs::new(&BLOCK, &[Value::None]),
            &host.cx(&Arc::default()),
        )? {
            Output::One(row) => Ok(python::repr(&Value::list(row.to_vec()))),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_variable_is_an_output() {
        let environment = [("KEY", "a"), ("TOKEN", "b")];
        assert_eq!(
            run(&["KEY", "NONE", "TOKEN"], &environment).unwrap(),
            "['a', None, 'b']"
        );
        assert_eq!(run(&["A=B", ""], &environment).unwrap(), "[None, None]");
        let fields = json!({"variables_storing_secrets": ["KEY", "Token", "TOKEN"]});
        let outputs = outputs(&step(&BLOCK, fields));
        let names: Vec<&str> = outputs.iter().map(|o| o.name.as_str()).collect();
        assert_eq!(names, ["key", "token"]);
    }

    #[test]
    fn the_operator_may_forbid_it() {
        let error = run(&["KEY"], &[(SWITCH, "False"), ("KEY", "hush")]).unwrap_err();
        assert!(!error.to_string().contains("hush"), "{error}");
        assert!(run(&["KEY"], &[(SWITCH, "True")]).is_ok());
    }
}
