//! Which workflows have a copy in the cache folder.
//!
//! File names say workspace and workflow where these are harmless, and end in a fingerprint of the
//! API key. A name that was read is believed only if the copy of that workflow, under the key at
//! hand, would have exactly this path. Pinned versions never change and are not looked at.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::super::WorkflowName;
use super::key_of;
use crate::definitions::Settings;
use crate::definitions::disk::DiskCache;

/// Folders of copies: of one key each, and shared by all keys.
const FOLDERS: [&str; 2] = [".tenanted-v2", ".canonical-v2"];
/// Largest copy whose content is looked into for the workflow's id.
const MAX_COPY: u64 = 4 << 20;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Workflows whose copy is found with the key at hand.
    pub own: Vec<WorkflowName>,
    /// Names of copies that are found with another key only.
    pub foreign: Vec<String>,
}

pub(super) fn survey(settings: &Settings) -> Survey {
    let single = settings.single_tenant || settings.offline;
    let disk = DiskCache::new(&settings.cache_dir, single, settings.offline);
    let mut survey = Survey::default();
    for (workspace, path) in files(&settings.cache_dir.join("workflow")) {
        let own = guesses(&workspace, &path).into_iter().find(|name| {
            let key = key_of(name, settings.api_key.as_ref());
            disk.path(&key) == path
        });
        match own {
            Some(name) => survey.own.push(name),
            None => survey.foreign.push(shown(&workspace, &path)),
        }
    }
    // A copy of another key is of no interest if this key has one too.
    let own: Vec<String> = survey
        .own
        .iter()
        .map(|name| format!("{}/{}", name.workspace, name.workflow))
        .collect();
    survey.foreign.retain(|name| !own.contains(name));
    survey.foreign.sort();
    survey.foreign.dedup();
    survey
}

/// The copies in the folder, with the name of their workspace's folder, sorted.
fn files(root: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for workspace in entries(root) {
        for folder in FOLDERS {
            for path in entries(&workspace.join(folder)) {
                let json = path.extension().is_some_and(|e| e == "json");
                if let Some(name) = workspace.file_name().and_then(|n| n.to_str())
                    && json
                    && path.is_file()
                {
                    found.push((name.to_owned(), path));
                }
            }
        }
    }
    found.sort();
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// The name of a copy without the fingerprint of its key.
fn stem(path: &Path) -> Option<&str> {
    let stem = path.file_stem()?.to_str()?;
    Some(match stem.rsplit_once('_') {
        Some((front, end)) if end.len() == 64 => front,
        _ => stem,
    })
}

fn shown(workspace: &str, path: &Path) -> String {
    format!("{workspace}/{}", stem(path).unwrap_or("?"))
}

/// Which workflow a copy may be of: by its name, and by the id that the platform's answer in it has.
fn guesses(workspace: &str, path: &Path) -> Vec<WorkflowName> {
    let named = stem(path).map(str::to_owned);
    [named, told(path)]
        .into_iter()
        .flatten()
        .map(|workflow| WorkflowName {
            workspace: workspace.to_owned(),
            workflow,
            version: None,
        })
        .collect()
}

fn told(path: &Path) -> Option<String> {
    if fs::metadata(path).ok()?.len() > MAX_COPY {
        return None;
    }
    let json: Json = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    json["workflow"]["url"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::definitions::{ApiKey, PlatformKey};

    fn body(id: &str) -> String {
        let config = r#"{"specification": {"version": "1.0"}}"#;
        serde_json::json!({"workflow": {"url": id, "config": config}}).to_string()
    }

    #[test]
    fn copies_are_told_apart_by_the_key_that_finds_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(Url::parse("http://p").unwrap(), folder.path());
        settings.api_key = Some(ApiKey::new("K1"));
        let disk = DiskCache::new(folder.path(), false, false);
        let write = |id: &str, version: Option<&str>, key: &str| {
            let key = PlatformKey::new("ws", id, version, Some(ApiKey::new(key)));
            disk.write(&key, body(id).as_bytes()).unwrap();
        };
        write("plain", None, "K1");
        write("Capital_v2", None, "K1");
        write("plain", None, "K2");
        write("other", None, "K2");
        write("pinned", Some("7"), "K1");
        let found = survey(&settings);
        let own: Vec<&str> = found.own.iter().map(|name| &*name.workflow).collect();
        assert_eq!(own, ["plain", "Capital_v2"]);
        assert_eq!(found.foreign, ["ws/other"]);
    }
}
