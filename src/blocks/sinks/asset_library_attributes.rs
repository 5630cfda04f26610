//! Adds attributes and tags to images in the asset library of the platform.
//!
//! # Inputs and outputs
//! Each `source_id` of a batch gets its `metadata` and its `tags`. `error_status` and `message` tell
//! what became of it, for each element.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Elements of the same image become one update: later attributes win, a repeated tag keeps its last
//! place. An element with neither attributes nor tags is skipped. More than a thousand elements, or
//! no key, fail the step. All images go out in one request, made at once.

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};

use super::fields;
use super::platform;
use super::report::{OUTPUTS, Report};
use super::shapes::TEXT;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Role, Row, Ty,
};
use crate::definitions::ApiKey;
use crate::delivery::{Errand, Slot};
use crate::row;
use crate::values::{Value, kind, python};

/// Elements that one run takes.
const MOST: usize = 1000;

/// `roboflow_core/asset_library_attributes@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/asset_library_attributes@v1"],
    name: "Roboflow Asset Library Attributes",
    family: Family::Sink,
    about: "Adds attributes and tags to images in the asset library of the platform.",
    fields: FIELDS,
    outputs: OUTPUTS,
    role: Role::Sink,
    mixed: &["source_id", "metadata", "tags"],
    engine: ">=1.10.0,<2.0.0",
    build: |_, _| Ok(Box::new(AssetLibraryAttributes)),
    ..BlockSpec::DEFAULT
};

const FIELDS: &[Field] = &[
    Field::required("source_id", TEXT).about("Identifier of the image."),
    Field::optional(
        "metadata",
        &[
            Ty::Map(&[
                Ty::Str,
                Ty::Int,
                Ty::Float,
                Ty::Bool,
                Ty::Selector(&[kind::WILDCARD]),
            ]),
            Ty::Selector(&[kind::DICTIONARY]),
        ],
        "{}",
    )
    .about("Attributes by name."),
    Field::optional(
        "tags",
        &[
            Ty::List(&[Ty::Selector(&[kind::STRING]), Ty::Str]),
            Ty::Selector(&[kind::LIST_OF_VALUES]),
            Ty::Null,
        ],
        "null",
    )
    .about("Tags to add."),
    fields::DISABLE_SINK,
];

struct AssetLibraryAttributes;

/// What is added to one image.
#[derive(Default)]
struct Update {
    metadata: Map<String, Json>,
    tags: Vec<String>,
}

impl Block for AssetLibraryAttributes {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let fields = ["source_id", "metadata", "tags"].map(|field| inputs.value(field));
        let count = fields.iter().find_map(|value| length(value));
        let rows = count.unwrap_or(1);
        let reports = match Report::off_by_policy(cx) {
            Some(off) => vec![off; rows],
            None => {
                let key = platform::key(cx, "AssetLibraryAttributes")?;
                match Report::off(inputs, cx)? {
                    Some(off) => vec![off; rows],
                    None => update(&fields, rows, &key, cx)?,
                }
            }
        };
        let mut rows = reports
            .into_iter()
            .map(|report| -> Row { row![report.error, report.message] });
        Ok(match (count, rows.next()) {
            (None, Some(only)) => Output::One(only),
            (_, first) => Output::Many(first.into_iter().chain(rows).collect()),
        })
    }
}

/// Elements of the first batch in a value, which may stand inside a container.
fn length(value: &Value) -> Option<usize> {
    match value {
        Value::Batch(batch) => Some(batch.items.len()),
        Value::Dict(entries) => entries.values().find_map(length),
        other => other.as_slice()?.iter().find_map(length),
    }
}

/// A value as it is for one element.
fn at(value: &Value, row: usize) -> Value {
    match value {
        Value::Batch(batch) => batch.items.get(row).cloned().unwrap_or_default(),
        Value::Dict(entries) => {
            let each = entries
                .iter()
                .map(|(name, one)| (name.clone(), at(one, row)));
            Value::dict(each.collect())
        }
        other => match other.as_slice() {
            Some(items) => Value::list(items.iter().map(|one| at(one, row)).collect()),
            None => other.clone(),
        },
    }
}

fn update(
    [source, metadata, tags]: &[&Value; 3],
    rows: usize,
    key: &ApiKey,
    cx: &Context<'_>,
) -> Result<Vec<Report>, BlockError> {
    if rows > MOST {
        return Err(BlockError::failed(format!(
            "at most {MOST} images can be updated at once, got {rows}"
        )));
    }
    let skipped = Report::done("Skipped because no attributes or tags were provided");
    let mut reports = vec![skipped; rows];
    let mut updates: IndexMap<String, Update> = IndexMap::new();
    let mut affected = Vec::new();
    for row in 0..rows {
        let added = platform::json(&at(metadata, row), cx)?;
        let added = added.as_object().cloned().unwrap_or_default();
        let tags = at(tags, row);
        let tags = tags.as_slice().unwrap_or_default();
        if added.is_empty() && tags.is_empty() {
            continue;
        }
        affected.push(row);
        let known = updates.entry(python::to_str(&at(source, row))).or_default();
        known.metadata.extend(added);
        for tag in tags.iter().map(python::to_str) {
            known.tags.retain(|other| *other != tag);
            known.tags.push(tag);
        }
    }
    if !updates.is_empty() {
        let report = submit(&updates, key, cx);
        for row in affected {
            if let Some(place) = reports.get_mut(row) {
                *place = report.clone();
            }
        }
    }
    Ok(reports)
}

fn submit(updates: &IndexMap<String, Update>, key: &ApiKey, cx: &Context<'_>) -> Report {
    let workspace = Slot::new();
    let one = updates.first().filter(|_| updates.len() == 1);
    let exchange = match one {
        Some((id, update)) => {
            let path = format!(
                "/{}/images/{}/metadata",
                workspace.text(),
                platform::quoted(id)
            );
            let url = platform::url(cx, &path, key);
            platform::exchange(cx, "POST", url).json(&Json::Object(update.json()))
        }
        None => {
            let each = updates.iter().map(|(id, update)| {
                let mut entry = Map::from_iter([("imageId".to_owned(), json!(id))]);
                entry.extend(update.json());
                Json::Object(entry)
            });
            let path = format!("/{}/images/metadata", workspace.text());
            let url = platform::url(cx, &path, key);
            platform::exchange(cx, "POST", url)
                .json(&json!({"updates": each.collect::<Vec<_>>()}))
                .want(&["/taskId"])
        }
    };
    let errand = Errand::new(vec![platform::workspace(cx, key, &workspace), exchange]);
    match platform::sending(&errand, cx).perform(cx) {
        Ok(_) => Report::done("Image attributes update submitted"),
        Err(trouble) => {
            let what = match one {
                Some(_) => "updating Asset Library attributes",
                None => "submitting Asset Library attributes update",
            };
            let body = trouble.reply.as_ref().map(|reply| {
                let text: String = String::from_utf8_lossy(&reply.body)
                    .chars()
                    .take(500)
                    .collect();
                format!(". Response body: {text}")
            });
            let message = format!(
                "Error while {what}. Error type: {}. Details: {}{}",
                platform::error_type(&trouble),
                platform::error_text(&trouble),
                body.unwrap_or_default()
            );
            Report::undelivered(message, &trouble)
        }
    }
}

impl Update {
    fn json(&self) -> Map<String, Json> {
        let mut json = Map::new();
        if !self.metadata.is_empty() {
            json.insert("metadata".into(), self.metadata.clone().into());
        }
        if !self.tags.is_empty() {
            json.insert("addTags".into(), json!(self.tags));
        }
        json
    }
}
