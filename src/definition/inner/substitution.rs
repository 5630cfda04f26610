//! What the texts of an inner workflow become in the outer definition: names of steps are renamed,
//! inputs give way to what is bound to them.
//!
//! An input that nobody binds gives way to its default, written in where the field takes literals.
//! Elsewhere, and where the default reads like a reference, a constant stands for it: an input that
//! no caller sees or sets.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::inlining::spend;
use super::mention::{Mention, replaced};
use crate::blocks::Ty;
use crate::definition::error::WorkflowError;
use crate::definition::fields::is_reference;
use crate::definition::inputs::{InputDef, InputType};
use crate::definition::selector::is_selector;
use crate::definition::step::Step;

/// What stands for an input.
pub(super) enum Bound {
    /// A text of the outer definition: a selector, as a rule.
    Text(String),
    /// Nothing is bound.
    Default {
        value: Json,
        /// Bytes of its text.
        size: usize,
        /// Kinds of the input.
        kinds: Vec<String>,
        /// The constant for it, once there is one.
        constant: Option<String>,
    },
}

impl Bound {
    pub(super) fn default(value: Json, kinds: Vec<String>) -> Self {
        Self::Default {
            size: value.to_string().len(),
            value,
            kinds,
            constant: None,
        }
    }
}

/// The constants made so far, with the text that tells which names are free.
pub(super) struct Constants {
    pub made: Vec<InputDef>,
    /// The whole definition, to be written out when the first constant needs a name.
    definition: Map<String, Json>,
    text: Option<String>,
}

impl Constants {
    pub(super) fn of(definition: &Map<String, Json>) -> Self {
        Self {
            made: Vec::new(),
            definition: definition.clone(),
            text: None,
        }
    }

    /// A constant for the default of an input, by a name that stands nowhere in the definition, so
    /// that nothing else refers to it.
    fn make(&mut self, inner: &str, input: &str, value: Json, kinds: Vec<String>) -> String {
        let definition = &self.definition;
        let text = self
            .text
            .get_or_insert_with(|| Json::Object(definition.clone()).to_string());
        let of_name = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let plain: String = format!("{inner}__{input}")
            .chars()
            .filter(of_name)
            .collect();
        let free = |name: &String| {
            !text.contains(name.as_str()) && self.made.iter().all(|made| *made.name != **name)
        };
        let mut further = (2..).map(|n| format!("{plain}__{n}"));
        let name = match free(&plain) {
            true => plain,
            false => further.find(free).unwrap_or_default(),
        };
        self.made.push(InputDef {
            name: Arc::from(name.as_str()),
            input_type: InputType::Constant(value),
            kinds,
        });
        name
    }
}

/// One inner workflow while its steps are rewritten.
pub(super) struct ChildScope<'a> {
    /// Name of the step that stands for it.
    pub inner: &'a str,
    /// New names of its steps, and of the inner workflows that were in it.
    pub renamed: HashMap<String, String>,
    /// What stands for its inputs.
    pub bound: Vec<(String, Bound)>,
    pub constants: &'a mut Constants,
    pub bytes: &'a mut usize,
}

impl ChildScope<'_> {
    /// Rewrites a step; `step` is what it was parsed to.
    pub(super) fn rewrite_step(
        &mut self,
        entry: &mut Json,
        step: &Step,
    ) -> Result<(), WorkflowError> {
        let Json::Object(fields) = entry else {
            return Ok(());
        };
        for (key, value) in fields.iter_mut() {
            match key.as_str() {
                "type" => {}
                "name" => {
                    if let Some(new) = self.renamed.get(&*step.name) {
                        *value = Json::from(new.as_str());
                    }
                }
                // What another server runs refers to itself.
                "workflow_definition" if step.spec.type_id() == super::BLOCK_TYPE => {}
                _ => {
                    let mut own = step.spec.fields.iter();
                    let field = own.find(|f| f.name == key || f.alias == Some(key));
                    self.rewrite_field(value, field.map_or(&[][..], |f| f.types))?;
                }
            }
        }
        Ok(())
    }

    /// The text of the outer definition for the selector of an output.
    pub(super) fn rewrite_output(&mut self, selector: &str) -> Result<String, WorkflowError> {
        if let Some(Mention::Input(name)) = Mention::whole(selector)
            && let Some(selector) = self.constant_for(name)
        {
            return Ok(selector);
        }
        Ok(self
            .rewritten(selector)?
            .unwrap_or_else(|| selector.to_owned()))
    }

    /// Rewrites the value of a field. References are looked for in the value itself and in the
    /// members of a list or object; what lies deeper is literal to the engine.
    fn rewrite_field(
        &mut self,
        json: &mut Json,
        types: &'static [Ty],
    ) -> Result<(), WorkflowError> {
        match json {
            Json::Array(items) => {
                let shapes = members(types, |ty| match ty {
                    Ty::List(inner) | Ty::ListIn(inner, ..) => vec![inner],
                    Ty::Tuple(parts) => parts.to_vec(),
                    _ => Vec::new(),
                });
                items
                    .iter_mut()
                    .try_for_each(|item| self.rewrite(item, &shapes))
            }
            Json::Object(entries) => {
                let shapes = members(types, |ty| match ty {
                    Ty::Map(inner) => vec![inner],
                    _ => Vec::new(),
                });
                entries
                    .values_mut()
                    .try_for_each(|value| self.rewrite(value, &shapes))
            }
            whole => self.rewrite(whole, &types.iter().collect::<Vec<_>>()),
        }
    }

    /// Rewrites every text in a value. `shapes` are those that the block takes for it; none where
    /// no references are looked for.
    fn rewrite(&mut self, json: &mut Json, shapes: &[&Ty]) -> Result<(), WorkflowError> {
        match json {
            Json::String(text) => {
                if let Some(Mention::Input(name)) = Mention::whole(text)
                    && let Some(value) = self.default_for(name, shapes)?
                {
                    *json = value;
                } else if let Some(new) = self.rewritten(text)? {
                    *text = new;
                }
                Ok(())
            }
            Json::Array(items) => items
                .iter_mut()
                .try_for_each(|item| self.rewrite(item, &[])),
            Json::Object(entries) => entries
                .values_mut()
                .try_for_each(|value| self.rewrite(value, &[])),
            _ => Ok(()),
        }
    }

    /// A text with new names and what is bound in it; `None` if it stays.
    fn rewritten(&mut self, text: &str) -> Result<Option<String>, WorkflowError> {
        let new = replaced(text, |mention| match mention {
            Mention::Step(name, output) => {
                let new = self.renamed.get(name)?;
                Some(match output {
                    Some(output) => format!("$steps.{new}.{output}"),
                    None => format!("$steps.{new}"),
                })
            }
            Mention::Input(name) => match self.find(name)? {
                Bound::Text(text) => Some(text.clone()),
                Bound::Default { .. } => None,
            },
        });
        if let Some(new) = &new {
            spend(self.bytes, new.len())?;
        }
        Ok(new)
    }

    fn find(&self, name: &str) -> Option<&Bound> {
        let mut bound = self.bound.iter();
        bound.find(|(own, _)| own == name).map(|(_, bound)| bound)
    }

    /// The default of an input that nobody binds, or a reference to it.
    fn default_for(&mut self, name: &str, shapes: &[&Ty]) -> Result<Option<Json>, WorkflowError> {
        let Some(Bound::Default { value, size, .. }) = self.find(name) else {
            return Ok(None);
        };
        let reads_as_reference = value.as_str().is_some_and(is_selector);
        let refers = shapes.iter().any(|ty| is_reference(ty));
        let takes_literals = shapes.iter().any(|ty| !is_reference(ty));
        if refers && (reads_as_reference || !takes_literals) {
            return Ok(self.constant_for(name).map(Json::String));
        }
        let (value, size) = (value.clone(), *size);
        spend(self.bytes, size)?;
        Ok(Some(value))
    }

    /// The selector of the constant for an input that nobody binds; `None` for others.
    fn constant_for(&mut self, name: &str) -> Option<String> {
        let mut bound = self.bound.iter_mut();
        let (
            _,
            Bound::Default {
                value,
                kinds,
                constant,
                ..
            },
        ) = bound.find(|(own, _)| own == name)?
        else {
            return None;
        };
        let constant = constant.get_or_insert_with(|| {
            let (value, kinds) = (value.clone(), kinds.clone());
            self.constants.make(self.inner, name, value, kinds)
        });
        Some(format!("$inputs.{constant}"))
    }
}

/// The shapes that members of a list or object may have.
fn members(
    types: &'static [Ty],
    inner: impl Fn(&'static Ty) -> Vec<&'static [Ty]>,
) -> Vec<&'static Ty> {
    types.iter().flat_map(inner).flatten().collect()
}
