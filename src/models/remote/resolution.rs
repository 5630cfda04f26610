//! Which package was chosen for a model: `auto-resolution-cache/<sha256>.json`.
//!
//! The reference names its entries by a hash over the versions of its Python libraries, so its
//! entries are found by what they say, and ours have names of our own; each program passes over
//! what the other one wrote unless it suits.

use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Local, NaiveDateTime};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::names;
use super::write_whole;
use crate::definitions::ApiKey;
use crate::models::ModelError;
use crate::models::package::{RecommendedParameters, read_json};
use crate::values::Timestamp;

/// Version of the rules by which the reference attributes packages to models.
const ATTRIBUTION: u32 = 2;

/// An entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Resolution {
    /// The id asked for.
    pub model_id: String,
    /// The id whose folder holds the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_model_id: Option<String>,
    /// The platform's id of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical_model_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_attribution_version: Option<u32>,
    /// One-way hash of the key that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_hash: Option<String>,
    pub model_package_id: String,
    #[serde(default)]
    pub resolved_files: Vec<String>,
    #[serde(default)]
    pub model_architecture: Option<String>,
    #[serde(default)]
    pub task_type: Option<String>,
    #[serde(default)]
    pub backend_type: Option<String>,
    /// ISO 8601; without an offset it is the machine's local time.
    pub created_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_features: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommended_parameters: Option<RecommendedParameters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_source: Option<bool>,
}

/// Which entries count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search<'a> {
    pub id: &'a str,
    /// The key that asks; `None` also stands for no key.
    pub key: Option<&'a ApiKey>,
    /// Whether entries of other keys count too.
    pub any_key: bool,
    /// Whether packages of sources that are not trusted count too.
    pub untrusted: bool,
    /// Largest age; `None` takes all.
    pub lasts: Option<Duration>,
    pub now: Timestamp,
}

impl Resolution {
    /// The entry of a choice made now.
    pub fn new(
        id: &str,
        owner: &str,
        package_id: &str,
        key: Option<&ApiKey>,
        now: Timestamp,
    ) -> Self {
        Self {
            model_id: id.to_owned(),
            cache_model_id: Some(owner.to_owned()),
            canonical_model_id: Some(owner.to_owned()),
            cache_attribution_version: Some(ATTRIBUTION),
            credential_hash: Some(credential(key)),
            model_package_id: package_id.to_owned(),
            resolved_files: Vec::new(),
            model_architecture: None,
            task_type: None,
            backend_type: Some("onnx".into()),
            created_at: local_time(now),
            model_features: None,
            recommended_parameters: None,
            trusted_source: None,
        }
    }

    /// The id whose folder holds the package.
    pub fn owner(&self) -> &str {
        let owner = self.cache_model_id.as_deref();
        owner
            .or(self.canonical_model_id.as_deref())
            .unwrap_or(&self.model_id)
    }

    /// Entries that count, the newest first.
    pub fn find(cache: &Path, search: Search<'_>) -> Vec<Self> {
        let own = credential(search.key);
        let mut found: Vec<(f64, Self)> = all(cache)
            .into_iter()
            .filter(|entry| entry.model_id == search.id)
            .filter(|entry| search.any_key || entry.credential_hash.as_ref() == Some(&own))
            .filter(|entry| search.untrusted || entry.trusted_source == Some(true))
            .filter_map(|entry| {
                let age = search.now.unix_seconds() - unix_seconds(&entry.created_at)?;
                let young = search.lasts.is_none_or(|lasts| age < lasts.as_secs_f64());
                young.then_some((age, entry))
            })
            .collect();
        found.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        found.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Writes the entry; it replaces an earlier one of the same id and key.
    pub fn write(&self, cache: &Path) -> Result<(), ModelError> {
        let name = json!(["millrace", self.model_id, self.credential_hash]).to_string();
        let name = format!("{}.json", hex::encode(Sha256::digest(name)));
        let text = serde_json::to_vec(self).unwrap_or_default();
        write_whole(&cache.join(names::RESOLUTIONS).join(name), &text)
    }

    /// Removes all entries of a package.
    pub fn forget(cache: &Path, owner: &str, package_id: &str) {
        for path in files(cache) {
            let entry: Result<Self, _> = read_json(&path);
            let same = |e: &Self| e.owner() == owner && e.model_package_id == package_id;
            if entry.is_ok_and(|e| same(&e)) {
                // An entry whose package is gone is passed over anyway.
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// When the choice was made, in seconds since 1970.
    pub fn made_at(&self) -> Option<f64> {
        unix_seconds(&self.created_at)
    }
}

/// All entries that can be read and lead to a plain place.
pub(super) fn all(cache: &Path) -> Vec<Resolution> {
    let entries = files(cache).into_iter();
    entries
        .filter_map(|path| read_json::<Resolution>(&path).ok())
        .filter(|entry| names::is_package_id(&entry.model_package_id))
        .filter(|entry| entry.backend_type.as_deref() == Some("onnx"))
        .collect()
}

fn files(cache: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(cache.join(names::RESOLUTIONS));
    let entries = entries.into_iter().flatten().flatten();
    let regular = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_file()));
    let mut paths: Vec<_> = regular
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .collect();
    paths.sort();
    paths
}

/// The reference's hash of a key: over `{"api_key": …}` as Python writes it.
fn credential(key: Option<&ApiKey>) -> String {
    let key = json!(key.map(ApiKey::expose));
    hex::encode(Sha256::digest(format!("{{\"api_key\": {key}}}")))
}

fn local_time(now: Timestamp) -> String {
    let micros = (now.unix_seconds() * 1e6).round() as i64;
    let utc = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    let local = utc.with_timezone(&Local).naive_local();
    local.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

fn unix_seconds(text: &str) -> Option<f64> {
    if let Ok(zoned) = DateTime::parse_from_rfc3339(text) {
        return Some(zoned.timestamp_micros() as f64 / 1e6);
    }
    let naive: NaiveDateTime = text.parse().ok()?;
    let local = naive.and_local_timezone(Local).earliest()?;
    Some(local.timestamp_micros() as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search<'a>(id: &'a str, key: Option<&'a ApiKey>, now: Timestamp) -> Search<'a> {
        Search {
            id,
            key,
            any_key: false,
            untrusted: false,
            lasts: Some(Duration::from_secs(60)),
            now,
        }
    }

    #[test]
    fn entries_count_for_their_id_and_key_as_long_as_they_last() {
        let cache = tempfile::tempdir().unwrap();
        let at = |s: i64| Timestamp::from_unix_micros(s * 1_000_000);
        let key = ApiKey::new("K1");
        let mut entry = Resolution::new("a/1", "a/1", "pkg", Some(&key), at(1_700_000_000));
        entry.trusted_source = Some(true);
        entry.write(cache.path()).unwrap();
        let found = |id, key, now| Resolution::find(cache.path(), search(id, key, now)).len();
        assert_eq!(found("a/1", Some(&key), at(1_700_000_059)), 1);
        assert_eq!(found("a/1", Some(&key), at(1_700_000_060)), 0);
        assert_eq!(found("a/1", None, at(1_700_000_001)), 0);
        assert_eq!(found("a/2", Some(&key), at(1_700_000_001)), 0);
        let text = serde_json::to_string(&entry).unwrap();
        assert!(!text.contains("K1"), "{text}");
        Resolution::forget(cache.path(), "a/1", "pkg");
        assert_eq!(found("a/1", Some(&key), at(1_700_000_059)), 0);
    }

    #[test]
    fn keys_are_hashed_as_the_reference_does() {
        // sha256 of the texts `{"api_key": "K1"}` and `{"api_key": null}`.
        let known = hex::encode(Sha256::digest(r#"{"api_key": "K1"}"#));
        assert_eq!(credential(Some(&ApiKey::new("K1"))), known);
        assert_eq!(
            credential(None),
            hex::encode(Sha256::digest(r#"{"api_key": null}"#))
        );
    }
}
