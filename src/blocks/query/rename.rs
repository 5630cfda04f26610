//! `DetectionsRename`: other class names, and class ids to fit.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::node::{Node, Read};
use super::{QueryError, Scope};
use crate::values::detections::column;
use crate::values::{Detections, Dict, Value};

/// The operation, with its parameters given or named.
#[derive(Debug)]
pub(super) struct Rename {
    class_map: Given<Arc<Dict>>,
    strict: Given<bool>,
    id_offset: i64,
}

/// A parameter: its value, or the name to look it up by.
#[derive(Debug)]
enum Given<T> {
    Here(T),
    Named(Arc<str>),
}

impl Rename {
    pub(super) fn read(node: &Node<'_>) -> Read<Self> {
        let class_map = node.need("class_map").and_then(|field| read_map(&field));
        let strict = node.or("strict", Given::Here(true), |field| {
            match field.json.is_string() {
                true => Ok(Given::Named(field.text()?.into())),
                false => field.flag().map(Given::Here),
            }
        });
        let id_offset = node.or("new_classes_id_offset", 1024, |field| field.int());
        Ok(Self {
            class_map: class_map?,
            strict: strict?,
            id_offset: id_offset?,
        })
    }

    pub(super) fn collect_names(&self, names: &mut Vec<Arc<str>>) {
        if let Given::Named(name) = &self.class_map {
            names.push(name.clone());
        }
        if let Given::Named(name) = &self.strict {
            names.push(name.clone());
        }
    }

    pub(super) fn apply(
        &self,
        set: &Arc<Detections>,
        scope: &Scope<'_>,
    ) -> Result<Value, QueryError> {
        let class_map = match &self.class_map {
            Given::Here(map) => map.clone(),
            Given::Named(name) => named_map(name, scope)?,
        };
        let strict = match &self.strict {
            Given::Here(strict) => *strict,
            Given::Named(name) => match find(name, scope)? {
                Value::Bool(strict) => *strict,
                other => return Err(wrong(name, "a boolean", other, scope)),
            },
        };
        let Some(names) = set.column(column::CLASS_NAME) else {
            return match strict && !set.is_empty() {
                true => Err(scope.failed("the boxes have no class names")),
                false => Ok(Value::Detections(set.clone())),
            };
        };
        let names: Vec<&str> = names
            .iter()
            .map(|n| n.as_str().unwrap_or_default())
            .collect();
        let ids = match strict {
            true => strict_ids(&class_map, &names, scope)?,
            false => self.lenient_ids(&class_map, &names, set, scope)?,
        };
        let mut renamed = (**set).clone();
        let new_names: Vec<Value> = names
            .iter()
            .map(|name| {
                class_map
                    .get(*name)
                    .cloned()
                    .unwrap_or_else(|| Value::str(*name))
            })
            .collect();
        let new_ids = new_names.iter().map(|name| {
            name.as_str()
                .and_then(|name| ids.get(name).copied())
                .ok_or_else(|| scope.failed("the boxes have no class ids"))
        });
        renamed.class_id = Some(Arc::new(new_ids.collect::<Result<_, _>>()?));
        renamed.set_column(column::CLASS_NAME, new_names);
        Ok(renamed.into())
    }

    /// Ids of names that occur stay; targets that do not occur yet are numbered from the offset on.
    fn lenient_ids<'a>(
        &self,
        class_map: &'a Dict,
        names: &[&'a str],
        set: &Detections,
        scope: &Scope<'_>,
    ) -> Result<HashMap<&'a str, i64>, QueryError> {
        let mut ids = HashMap::new();
        if let Some(class_id) = &set.class_id {
            ids.extend(names.iter().copied().zip(class_id.iter().copied()));
        }
        let targets = targets(class_map, scope)?;
        let fresh = targets.into_iter().filter(|name| !names.contains(name));
        let fresh: Vec<_> = fresh.zip(self.id_offset..).collect();
        ids.extend(fresh);
        Ok(ids)
    }
}

/// Every name must be covered; targets are numbered from 0 on in alphabetical order.
fn strict_ids<'a>(
    class_map: &'a Dict,
    names: &[&str],
    scope: &Scope<'_>,
) -> Result<HashMap<&'a str, i64>, QueryError> {
    if let Some(name) = names.iter().find(|name| !class_map.contains_key(**name)) {
        return Err(scope.failed(format!(
            "class `{name}` is not in the class map, which must cover every class unless `strict` is false"
        )));
    }
    Ok(targets(class_map, scope)?.into_iter().zip(0..).collect())
}

/// The distinct new names in alphabetical order.
fn targets<'a>(class_map: &'a Dict, scope: &Scope<'_>) -> Result<BTreeSet<&'a str>, QueryError> {
    class_map
        .values()
        .map(|name| {
            name.as_str()
                .ok_or_else(|| scope.input("the class map must map names to names"))
        })
        .collect()
}

fn read_map(field: &Node<'_>) -> Read<Given<Arc<Dict>>> {
    if field.json.is_string() {
        return Ok(Given::Named(field.text()?.into()));
    }
    match field.object()? {
        Value::Dict(map) if map.values().all(|name| name.as_str().is_some()) => {
            Ok(Given::Here(map))
        }
        _ => Err(field.broken("must map class names to class names")),
    }
}

fn find<'a>(name: &str, scope: &Scope<'a>) -> Result<&'a Value, QueryError> {
    scope.params.get(name).ok_or_else(|| scope.undeclared(name))
}

fn named_map(name: &str, scope: &Scope<'_>) -> Result<Arc<Dict>, QueryError> {
    match find(name, scope)? {
        Value::Dict(map) => Ok(map.clone()),
        other => Err(wrong(name, "an object", other, scope)),
    }
}

fn wrong(name: &str, wanted: &str, got: &Value, scope: &Scope<'_>) -> QueryError {
    scope.input(format!(
        "parameter `{name}` must be {wanted}, got {}",
        got.type_name()
    ))
}

#[cfg(test)]
mod tests {
    use crate::blocks::query::trial::{apply_with, boxes, shown};
    use crate::values::{Detections, Value};
    use serde_json::{Value as Json, json};

    fn renamed(set: Detections, fields: Json, params: Json) -> String {
        let mut operation = json!({"type": "DetectionsRename"});
        operation
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        match apply_with(json!([operation]), set.into(), &Value::from_json(&params)) {
            Ok(value) => {
                let set = value.as_detections().unwrap();
                let row = |r: usize| {
                    let id = set.class_id.as_ref().unwrap()[r];
                    format!("{}={id}", set.class_name(r).unwrap())
                };
                (0..set.len()).map(row).collect::<Vec<_>>().join(" ")
            }
            Err(error) => shown(Err(error)),
        }
    }

    #[test]
    fn strict_maps_cover_everything_and_number_from_zero() {
        let full = json!({"class_map": {"person": "human", "car": "auto", "face": "human"}});
        assert_eq!(renamed(boxes(), full, json!({})), "human=1 auto=0 human=1");
        let part = json!({"class_map": {"person": "human"}});
        assert_eq!(renamed(boxes(), part.clone(), json!({})), "!OperationError");
        assert_eq!(renamed(boxes().take(&[]), part, json!({})), "");
    }

    #[test]
    fn other_maps_keep_ids_and_number_new_names_from_the_offset() {
        let map = json!({"person": "human", "z": "alpha", "face": "car"});
        let fields = json!({"class_map": map, "strict": false});
        assert_eq!(
            renamed(boxes(), fields, json!({})),
            "human=1025 car=2 car=2"
        );
        let fields =
            json!({"class_map": {"car": "wolf"}, "strict": false, "new_classes_id_offset": 50});
        assert_eq!(
            renamed(boxes(), fields, json!({})),
            "person=1 wolf=50 face=3"
        );
    }

    #[test]
    fn maps_can_be_named() {
        let fields = json!({"class_map": "names", "strict": "strict"});
        let params = json!({"names": {"car": "c"}, "strict": false});
        assert_eq!(
            renamed(boxes(), fields.clone(), params),
            "person=1 c=1024 face=3"
        );
        let wrong = json!({"names": 5, "strict": false});
        assert_eq!(
            renamed(boxes(), fields.clone(), wrong),
            "!InvalidInputTypeError"
        );
        let wrong = json!({"names": {}, "strict": 1});
        assert_eq!(
            renamed(boxes(), fields.clone(), wrong),
            "!InvalidInputTypeError"
        );
        assert_eq!(
            renamed(boxes(), fields, json!({})),
            "!UndeclaredSymbolError"
        );
    }

    #[test]
    fn boxes_without_names_are_only_an_error_when_strict() {
        let mut set = boxes();
        set.data.clear();
        let fields = |strict: bool| json!({"class_map": {"a": "b"}, "strict": strict});
        assert_eq!(
            renamed(set.clone(), fields(true), json!({})),
            "!OperationError"
        );
        set = set.take(&[]);
        assert_eq!(renamed(set, fields(true), json!({})), "");
    }
}
