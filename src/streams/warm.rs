//! Models that are ready before the first frame needs them.

use crate::blocks::{Role, Services};
use crate::definition::document::InputType;
use crate::definition::selector::Selector;
use crate::definition::step::{FieldValue, Step};
use crate::engine::{RuntimeInput, RuntimeInputs};
use crate::plan::Plan;
use crate::values::{Image, Matrix, Value};

/// Loads the models of a plan and runs each once, so that the first frame finds them ready.
///
/// # Errors
/// The model and why it cannot be used.
pub fn warm(plan: &Plan, parameters: &RuntimeInputs, services: &Services) -> Result<(), String> {
    for planned in plan
        .steps
        .iter()
        .filter(|p| p.step.spec.role == Role::Model)
    {
        let Some(id) = model_id(plan, &planned.step, parameters) else {
            continue;
        };
        let failed = |e: &dyn std::fmt::Display| format!("step `{}`: {e}", planned.step.name);
        let key = services.api_key.as_ref();
        let models = &services.models;
        models.preload_for(&id, key).map_err(|e| failed(&e))?;
        if let Ok(detector) = models.detector_for(&id, key) {
            let size = detector.input_size();
            let black = Image::new(
                Matrix::filled(size.width, size.height, &[0, 0, 0]),
                "warm-up".into(),
            );
            detector
                .detect(&[black], &Default::default())
                .map_err(|e| failed(&e))?;
        }
    }
    Ok(())
}

/// The model of a step: written out, given as a parameter, or a parameter's default.
fn model_id(plan: &Plan, step: &Step, parameters: &RuntimeInputs) -> Option<String> {
    step.spec.field_index("model_id")?;
    match step.field("model_id") {
        FieldValue::Literal(json, _) => json.as_str().map(str::to_owned),
        FieldValue::Selector(Selector::Input(name)) => match parameters.get(&**name) {
            Some(RuntimeInput::Json(json)) => json.as_str().map(str::to_owned),
            Some(RuntimeInput::Value(Value::Str(id))) => Some(id.to_string()),
            Some(RuntimeInput::Value(_)) => None,
            None => plan
                .inputs()
                .iter()
                .find(|i| i.name == *name)
                .and_then(|i| match &i.input_type {
                    InputType::Parameter(value) | InputType::Constant(value) => {
                        value.as_str().map(str::to_owned)
                    }
                    _ => None,
                }),
        },
        _ => None,
    }
}
