//! Which definitions made a result, as their sources know them when the result is told.
//!
//! A stream runs one definition for weeks. Meanwhile its source confirms it, fails, or has a newer one
//! that the stream did not take; and the definition may name others as inner workflows, which change
//! by themselves. A [`Provenance`] knows all of them, and asks the store's entries each time.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::key::DefinitionKey;
use super::stamp::DefinitionStamp;
use super::store::Entry;
use crate::definition::canonical::DefinitionHash;
use crate::values::Timestamp;

/// A definition and the ones that it names.
#[derive(Clone, Debug)]
pub struct Provenance {
    own: Arc<Origin>,
    /// Sorted by id, each once.
    inner: Arc<[Origin]>,
}

/// One definition that runs.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Its stamp when it was compiled.
    stamp: DefinitionStamp,
    /// Where it is kept fresh; none for definitions that came with a request.
    kept: Option<(DefinitionKey, Arc<Entry>)>,
}

impl Origin {
    pub(super) fn kept(stamp: DefinitionStamp, key: DefinitionKey, entry: Arc<Entry>) -> Self {
        Self {
            stamp,
            kept: Some((key, entry)),
        }
    }

    /// Hash of its content.
    pub fn hash(&self) -> DefinitionHash {
        self.stamp.hash
    }

    /// Its key; none for definitions that came with a request.
    pub fn key(&self) -> Option<&DefinitionKey> {
        self.kept.as_ref().map(|(key, _)| key)
    }

    /// The stamp as its source confirmed it last. Once the source has another content, this one is
    /// stale from then on, and the error says why it runs all the same if it was refused.
    pub fn stamp(&self) -> DefinitionStamp {
        match &self.kept {
            Some((_, entry)) => entry.stamp_of(&self.stamp),
            None => self.stamp.clone(),
        }
    }
}

impl From<DefinitionStamp> for Origin {
    /// A definition that nobody keeps fresh.
    fn from(stamp: DefinitionStamp) -> Self {
        Self { stamp, kept: None }
    }
}

impl From<DefinitionStamp> for Provenance {
    /// A definition that nobody keeps fresh and that names no other.
    fn from(stamp: DefinitionStamp) -> Self {
        Self {
            own: Arc::new(stamp.into()),
            inner: Arc::default(),
        }
    }
}

impl Provenance {
    pub(super) fn new(own: Origin, mut inner: Vec<Origin>) -> Self {
        let id = |origin: &Origin| origin.key().map(DefinitionKey::to_string);
        inner.sort_by_cached_key(id);
        inner.dedup_by(|a, b| a.key() == b.key());
        Self {
            own: Arc::new(own),
            inner: inner.into(),
        }
    }

    /// Hash of the definition itself.
    pub fn hash(&self) -> DefinitionHash {
        self.own.hash()
    }

    /// The definition's own stamp, as fresh as it is now.
    pub fn stamp(&self) -> DefinitionStamp {
        self.own.stamp()
    }

    /// The definitions that it names, and that those name.
    pub fn inner(&self) -> &[Origin] {
        &self.inner
    }

    /// Whether all contents are those of another.
    pub fn is_same(&self, other: &Self) -> bool {
        let of = |it: &Self| -> Vec<_> {
            let inner = it
                .inner
                .iter()
                .map(|origin| (origin.key().cloned(), origin.hash()));
            inner.collect()
        };
        self.hash() == other.hash() && of(self) == of(other)
    }

    /// As it stands on requests to receivers: `hash`, `version`, `source`, its `id` (the one given,
    /// else that of its key), and as `inner` those that it names, each with `id` and `hash`. What is
    /// not known is left out, and of files nothing but their names is told.
    pub fn on_requests(&self, id: Option<&str>) -> Json {
        let stamp = self.own.stamp();
        let id = id
            .map(str::to_owned)
            .or_else(|| self.own.key().map(DefinitionKey::public_name));
        let inner = self.inner.iter().filter_map(|origin| {
            let id = origin.key()?.public_name();
            Some(json!({"id": id, "hash": origin.hash().to_string()}))
        });
        let inner: Vec<Json> = inner.collect();
        let mut json = json!({"hash": stamp.hash.to_string(), "source": stamp.source.name()});
        let known = [("id", id), ("version", stamp.version)];
        for (name, text) in known {
            if let Some(text) = text {
                json[name] = text.into();
            }
        }
        if !inner.is_empty() {
            json["inner"] = inner.into();
        }
        json
    }

    /// As it stands on a result: the definition's stamp, and as `inner` those of the definitions
    /// that it names, each with its `id`. Without such there is no `inner`.
    pub fn to_json(&self, now: Timestamp) -> Json {
        let mut json = self.stamp().to_json(now);
        if self.inner.is_empty() {
            return json;
        }
        let inner = self.inner.iter().map(|origin| {
            let mut json = origin.stamp().to_json(now);
            if let (Some(key), Some(object)) = (origin.key(), json.as_object_mut()) {
                object.shift_insert(0, "id".into(), key.to_string().into());
            }
            json
        });
        json["inner"] = inner.collect();
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_are_told_what_is_known_and_no_folder_of_this_machine() {
        let definition = json!({"version": "1.0", "inputs": [], "steps": [], "outputs": []});
        let now = Timestamp::from_unix_micros(0);
        let stamp = DefinitionStamp::inline(&definition, now);
        let hash = stamp.hash.to_string();
        let inline = Provenance::from(stamp);
        assert_eq!(
            inline.on_requests(None),
            json!({"hash": hash, "source": "inline", "version": "1.0"})
        );
        let told = inline.on_requests(Some("ws/flow@7"));
        assert_eq!(told["id"], "ws/flow@7");
        let key = DefinitionKey::file("/home/ada/secret project/people.json");
        assert_eq!(key.public_name(), "people.json");
        let key = DefinitionKey::workflow("ws", "flow", Some("7"), None);
        assert_eq!(key.public_name(), "ws/flow@7");
    }
}
