//! Run-time check of parameters: a value that stands for a whole field must suit the field as if it
//! had been written in the definition (engine specification 7.2).

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::run::{InputData, Overrides, Run};
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::definition::fields;
use crate::definition::step::{FieldValue, Step};
use crate::plan::{FieldShape, Plan, Source};
use crate::values::{Value, python};

/// The uses of parameters as whole fields, and what was found out about them last time.
#[derive(Clone)]
pub(super) struct ParameterCheck {
    uses: Vec<Use>,
    last: Option<(Vec<Value>, Overrides)>,
}

#[derive(Clone, Copy)]
struct Use {
    input: usize,
    step: usize,
    field: usize,
}

impl ParameterCheck {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut uses = Vec::new();
        for (s, planned) in plan.steps.iter().enumerate() {
            for (f, field) in planned.fields.iter().enumerate() {
                let FieldShape::Whole(part) = &field.shape else {
                    continue;
                };
                let Source::Input(i) = part.source else {
                    continue;
                };
                if part.lineage.is_none() && takes_literals(plan, s, f) {
                    uses.push(Use {
                        input: i,
                        step: s,
                        field: f,
                    });
                }
            }
        }
        Self { uses, last: None }
    }

    /// Checks the parameters of a run; answers the values that go to a field in another form.
    /// The same values as last time are not checked again.
    pub(super) fn check(&mut self, plan: &Plan, run: &Run) -> Result<Overrides, WorkflowError> {
        if self.uses.is_empty() {
            return Ok(Arc::default());
        }
        let values = || self.uses.iter().map(|u| parameter(run, u.input));
        if let Some((last, overrides)) = &self.last
            && last.iter().zip(values()).all(|(a, b)| identical(a, b))
        {
            return Ok(overrides.clone());
        }
        let mut overrides = HashMap::new();
        for u in &self.uses {
            if let Some(flag) = check_use(plan, *u, parameter(run, u.input))? {
                overrides.insert((u.step, u.field), flag);
            }
        }
        let overrides = Arc::new(overrides);
        self.last = Some((values().cloned().collect(), overrides.clone()));
        Ok(overrides)
    }
}

fn parameter(run: &Run, input: usize) -> &Value {
    match &run.inputs[input] {
        InputData::Scalar(value) => value,
        InputData::Batch(_) => &Value::None,
    }
}

fn identical(a: &Value, b: &Value) -> bool {
    a.type_name() == b.type_name() && python::equal(a, b)
}

/// Whether a field takes anything but references; one that does not takes any parameter.
fn takes_literals(plan: &Plan, step: usize, field: usize) -> bool {
    let types = plan.steps[step].step.spec.fields[field].types;
    !types.iter().all(fields::is_reference)
}

/// Checks one use; answers the value in another form if the field wants one.
fn check_use(plan: &Plan, u: Use, value: &Value) -> Result<Option<Value>, WorkflowError> {
    let Some(json) = plain_json(value) else {
        return Ok(None);
    };
    let step = &plan.steps[u.step].step;
    let field = &step.spec.fields[u.field];
    let input = &plan.inputs()[u.input].name;
    let refuse = |why: &str| {
        let message = format!(
            "parameter `{input}` does not suit field `{}` of step `{}`: {why}",
            field.name, step.name
        );
        WorkflowError::new(
            ErrorClass::RuntimeInput,
            "workflow_execution | runtime_input_validation",
            message.clone(),
        )
        .with_inner("ValidationError", message)
    };
    let coerced = fields::check(field, &json).map_err(|problems| {
        let texts: Vec<String> = problems
            .iter()
            .map(|p| format!("{}{}", p.path, p.message))
            .collect();
        refuse(&texts.join("; "))
    })?;
    if let Some(check) = step.spec.check {
        let mut values = step.values.clone();
        values[u.field] = FieldValue::literal(coerced.clone());
        let as_written = Step {
            values,
            ..(**step).clone()
        };
        if let Some(problem) = check(&as_written).first() {
            return Err(refuse(&problem.message));
        }
    }
    // Blocks get the value as it came in (decision Q11), but for flags: a field that takes true or
    // false also takes 0, 1, "yes" and the like, and no block should have to know that.
    let flag = coerced.as_bool().filter(|_| !json.is_boolean());
    Ok(flag.map(Value::Bool))
}

/// A parameter as plain JSON; `None` for values that JSON cannot hold (handed in by an embedder).
fn plain_json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::None => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(i) => Json::from(*i),
        Value::BigInt(i) => serde_json::Number::from_i128(**i)?.into(),
        Value::Float(f) => Json::from(*f),
        Value::Str(s) => Json::from(&**s),
        Value::List(items) | Value::Tuple(items) => {
            Json::Array(items.iter().map(plain_json).collect::<Option<_>>()?)
        }
        Value::Dict(entries) => Json::Object(
            entries
                .iter()
                .map(|(k, v)| Some((k.to_string(), plain_json(v)?)))
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}
