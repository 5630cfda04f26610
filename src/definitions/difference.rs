//! What is different between two definitions, in words.
//!
//! Steps, inputs and outputs are matched by name. A step is the same if its name, type and
//! parameters are: such steps keep their state when a stream moves from one definition to the
//! other. Every difference that changes the hash is told, order included.

use std::fmt;

use serde_json::{Map, Value as Json, json};

/// Longest value that is shown in words; longer ones are cut.
const SHOWN: usize = 60;

/// The sections whose entries have names.
const SECTIONS: [(&str, &str); 3] = [
    ("inputs", "input"),
    ("steps", "step"),
    ("outputs", "output"),
];

/// What is different between two definitions. `Display` has one line per difference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// Of the inputs.
    pub inputs: Section,
    /// Of the steps.
    pub steps: Section,
    /// Of the outputs.
    pub outputs: Section,
    /// Of everything else, e.g. the version.
    pub rest: Vec<Change>,
}

/// What is different in a list of named entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Entries that only the second definition has.
    pub added: Vec<Named>,
    /// Entries that only the first definition has.
    pub removed: Vec<Named>,
    /// Entries that both have, with what is different.
    pub changed: Vec<Changed>,
    /// Whether the common entries stand in another order.
    pub reordered: bool,
}

/// An entry by name and type.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// Name.
    pub name: String,
    /// `type`, if it has one.
    pub entry_type: Option<String>,
}

/// An entry whose content is different.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// Name.
    pub name: String,
    /// Its fields that are different.
    pub fields: Vec<Change>,
}

/// A value that is different.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Field, with `.` before the name of a field inside it.
    pub field: String,
    /// Value in the first definition, if it has one.
    pub before: Option<Json>,
    /// Value in the second definition, if it has one.
    pub after: Option<Json>,
}

/// Compares two definitions.
pub fn difference(before: &Json, after: &Json) -> Difference {
    let section = |name: &str| compare_lists(before.get(name), after.get(name));
    let rest = |definition: &Json| {
        let entries = definition.as_object().into_iter().flatten();
        let named = |key: &str| SECTIONS.iter().any(|(name, _)| *name == key);
        entries
            .filter(|(key, value)| !(named(key) && value.is_array()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<Map<_, _>>()
    };
    let mut found = Vec::new();
    compare_objects("", &rest(before), &rest(after), &mut found);
    Difference {
        inputs: section("inputs"),
        steps: section("steps"),
        outputs: section("outputs"),
        rest: found,
    }
}

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn sections(&self) -> [(&'static str, &'static str, &Section); 3] {
        let [inputs, steps, outputs] = SECTIONS;
        [
            (steps.0, steps.1, &self.steps),
            (inputs.0, inputs.1, &self.inputs),
            (outputs.0, outputs.1, &self.outputs),
        ]
    }

    /// The difference as JSON: per section `added`, `removed`, `changed`, `reordered`.
    pub fn to_json(&self) -> Json {
        let mut json = Map::new();
        json.insert("equal".into(), self.is_empty().into());
        for (name, _, section) in self.sections() {
            json.insert(name.into(), section.to_json());
        }
        json.insert(
            "rest".into(),
            self.rest.iter().map(Change::to_json).collect(),
        );
        Json::Object(json)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        for (plural, noun, section) in self.sections() {
            let named = |n: &Named| match &n.entry_type {
                Some(entry_type) => format!("`{}` ({entry_type})", n.name),
                None => format!("`{}`", n.name),
            };
            lines.extend(
                section
                    .added
                    .iter()
                    .map(|n| format!("{noun} {} added", named(n))),
            );
            lines.extend(
                section
                    .removed
                    .iter()
                    .map(|n| format!("{noun} {} removed", named(n))),
            );
            lines.extend(section.changed.iter().map(|c| {
                let fields: Vec<String> = c.fields.iter().map(Change::to_string).collect();
                format!("{noun} `{}` changed: {}", c.name, fields.join("; "))
            }));
            if section.reordered {
                lines.push(format!("{plural} stand in another order"));
            }
        }
        lines.extend(self.rest.iter().map(Change::to_string));
        if lines.is_empty() {
            lines.push("no difference".into());
        }
        f.write_str(&lines.join("\n"))
    }
}

impl Section {
    fn to_json(&self) -> Json {
        let named = |all: &[Named]| -> Json {
            let one = |n: &Named| json!({"name": n.name, "type": n.entry_type});
            all.iter().map(one).collect()
        };
        let changed = |c: &Changed| {
            let fields: Json = c.fields.iter().map(Change::to_json).collect();
            json!({"name": c.name, "fields": fields})
        };
        json!({
            "added": named(&self.added),
            "removed": named(&self.removed),
            "changed": self.changed.iter().map(changed).collect::<Json>(),
            "reordered": self.reordered,
        })
    }
}

impl Change {
    fn to_json(&self) -> Json {
        json!({"field": self.field, "before": self.before, "after": self.after})
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.field)?;
        match (&self.before, &self.after) {
            (None, Some(after)) => write!(f, "added: {}", cut(after)),
            (Some(before), None) => write!(f, "removed (was {})", cut(before)),
            (Some(before), Some(after)) => write!(f, "{} → {}", cut(before), cut(after)),
            (None, None) => Ok(()),
        }
    }
}

fn cut(value: &Json) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN {
        return text;
    }
    let start: String = text.chars().take(SHOWN - 1).collect();
    format!("{start}…")
}

/// The entries of a list by name; what has no name goes by its position, what repeats one by how
/// often it came before.
fn by_name(list: Option<&Json>) -> Vec<(String, &Json)> {
    let mut entries: Vec<(String, &Json)> = Vec::new();
    for (i, entry) in list
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        let name = match entry.get("name").and_then(Json::as_str) {
            Some(name) => name.to_owned(),
            None => format!("#{i}"),
        };
        let again = entries
            .iter()
            .filter(|(_, e)| e.get("name").and_then(Json::as_str) == Some(name.as_str()))
            .count();
        let name = match again {
            0 => name,
            n => format!("{name}#{}", n + 1),
        };
        entries.push((name, entry));
    }
    entries
}

fn compare_lists(before: Option<&Json>, after: Option<&Json>) -> Section {
    let (before, after) = (by_name(before), by_name(after));
    let find =
        |entries: &[(String, &Json)], name: &str| entries.iter().position(|(n, _)| n == name);
    let named = |name: &String, entry: &Json| Named {
        name: name.clone(),
        entry_type: entry.get("type").and_then(Json::as_str).map(str::to_owned),
    };
    let mut section = Section::default();
    let mut places = Vec::new();
    for (name, entry) in &before {
        let Some(place) = find(&after, name) else {
            section.removed.push(named(name, entry));
            continue;
        };
        places.push(place);
        let mut fields = Vec::new();
        compare("", entry, after[place].1, &mut fields);
        if !fields.is_empty() {
            section.changed.push(Changed {
                name: name.clone(),
                fields,
            });
        }
    }
    section.added = after
        .iter()
        .filter(|(name, _)| find(&before, name).is_none())
        .map(|(name, entry)| named(name, entry))
        .collect();
    section.reordered = !places.is_sorted();
    section
}

fn compare(field: &str, before: &Json, after: &Json, found: &mut Vec<Change>) {
    match (before, after) {
        (Json::Object(before), Json::Object(after)) => {
            compare_objects(field, before, after, found);
        }
        _ if before == after => {}
        _ => found.push(Change {
            field: field.to_owned(),
            before: Some(before.clone()),
            after: Some(after.clone()),
        }),
    }
}

fn compare_objects(
    field: &str,
    before: &Map<String, Json>,
    after: &Map<String, Json>,
    found: &mut Vec<Change>,
) {
    let inner = |key: &str| match field {
        "" => key.to_owned(),
        field => format!("{field}.{key}"),
    };
    for (key, value) in before {
        match after.get(key) {
            Some(other) => compare(&inner(key), value, other, found),
            None => found.push(Change {
                field: inner(key),
                before: Some(value.clone()),
                after: None,
            }),
        }
    }
    for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
        found.push(Change {
            field: inner(key),
            before: None,
            after: Some(value.clone()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::canonical::DefinitionHash;

    fn definition() -> Json {
        json!({
            "version": "1.0",
            "inputs": [{"type": "WorkflowImage", "name": "image"}],
            "steps": [
                {"type": "roboflow_core/roboflow_object_detection_model@v2", "name": "model",
                 "images": "$inputs.image", "model_id": "coco/3", "confidence": 0.4},
                {"type": "roboflow_core/byte_tracker@v3", "name": "tracker",
                 "detections": "$steps.model.predictions"},
            ],
            "outputs": [
                {"type": "JsonField", "name": "count", "selector": "$steps.tracker.x"},
                {"type": "JsonField", "name": "boxes", "selector": "$steps.model.predictions"},
            ],
        })
    }

    #[test]
    fn differences_are_told_in_words() {
        let (before, mut after) = (definition(), definition());
        after["steps"][0]["confidence"] = json!(0.5);
        after["steps"][0]["class_filter"] = json!(["person"]);
        after["steps"][1] =
            json!({"type": "roboflow_core/label_visualization@v1", "name": "labels"});
        after["inputs"][0]["type"] = json!("InferenceImage");
        after["outputs"].as_array_mut().unwrap().swap(0, 1);
        after["version"] = json!("1.1");
        let told = difference(&before, &after);
        assert_eq!(
            told.to_string(),
            "step `labels` (roboflow_core/label_visualization@v1) added\n\
             step `tracker` (roboflow_core/byte_tracker@v3) removed\n\
             step `model` changed: `confidence` 0.4 → 0.5; `class_filter` added: [\"person\"]\n\
             input `image` changed: `type` \"WorkflowImage\" → \"InferenceImage\"\n\
             outputs stand in another order\n\
             `version` \"1.0\" → \"1.1\""
        );
        let json = told.to_json();
        assert_eq!(json["equal"], false);
        assert_eq!(json["steps"]["added"][0]["name"], "labels");
        let changed = json!({"field": "confidence", "before": 0.4, "after": 0.5});
        assert_eq!(json["steps"]["changed"][0]["fields"][0], changed);
    }

    #[test]
    fn equal_definitions_have_none() {
        let told = difference(&definition(), &definition());
        assert!(told.is_empty());
        assert_eq!(told.to_string(), "no difference");
        assert_eq!(told.to_json()["equal"], true);
    }

    #[test]
    fn what_changes_the_hash_is_told() {
        let before = definition();
        let mut others = vec![json!({}), json!(null), json!([]), json!({"steps": 1})];
        let mut odd = definition();
        odd["steps"].as_array_mut().unwrap().push(json!("no step"));
        others.push(odd.clone());
        odd["steps"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "model"}));
        others.push(odd);
        let mut nested = definition();
        nested["steps"][0]["deep"] = json!({"a": {"b": 1}});
        others.push(nested.clone());
        nested["steps"][0]["deep"]["a"]["b"] = json!(2);
        others.push(nested);
        others.push(before);
        for a in &others {
            for b in &others {
                let same = DefinitionHash::of(a) == DefinitionHash::of(b);
                // Definitions that are no objects have nothing that could be named.
                if same || (a.is_object() && b.is_object()) {
                    assert_eq!(difference(a, b).is_empty(), same, "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn long_values_are_cut_in_words_only() {
        let mut after = definition();
        let polygon: Json = (0..100).map(|i| json!([i, i])).collect();
        after["steps"][1]["zone"] = polygon.clone();
        let told = difference(&definition(), &after);
        assert!(told.to_string().chars().count() < 120, "{told}");
        assert_eq!(told.steps.changed[0].fields[0].after, Some(polygon));
    }
}
