//! Which folder holds the package of a model id.
//!
//! A folder of packages may hold a `registry.json` that maps ids to packages, so that one package
//! serves several ids and an id may hold signs that no folder name should. A package that the
//! registry does not name has its folder's name as id; `project/version` may be two folders deep.
//! No id and no entry leads out of the folder.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::ModelError;
use super::package::{Package, RecommendedParameters, read_json};

/// File of the registry.
const FILE: &str = "registry.json";

/// What the registry says of an id.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Entry {
    /// Folder of the package, relative to the registry.
    pub package: String,
    /// Thresholds that hold for this id.
    #[serde(default)]
    pub recommended_parameters: Option<RecommendedParameters>,
}

/// A folder of packages, and what its registry said when it was last read.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    folder: PathBuf,
    entries: BTreeMap<String, Entry>,
}

impl Registry {
    /// Reads the registry of a folder; without one, every package has its folder's name.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(FILE);
        if !folder.is_dir() {
            return Err(ModelError::Package {
                path: folder.to_owned(),
                reason: "the folder of model packages does not exist".into(),
            });
        }
        let entries = if path.is_file() {
            read_json(&path)?
        } else {
            BTreeMap::new()
        };
        Ok(Self {
            folder: folder.to_owned(),
            entries,
        })
    }

    /// Folder of an id's package, and the thresholds that the registry has for the id.
    pub fn find(&self, id: &str) -> Option<(PathBuf, Option<RecommendedParameters>)> {
        if let Some(entry) = self.entries.get(id) {
            let recommended = entry.recommended_parameters.clone();
            return Some((self.inside(&entry.package)?, recommended));
        }
        let folder = self.inside(id)?;
        folder
            .join(Package::MARK)
            .is_file()
            .then_some((folder, None))
    }

    /// All ids: those of the registry, and the folders of packages that it does not name.
    pub fn ids(&self) -> Vec<String> {
        let named = |folder: &str| self.entries.values().any(|entry| entry.package == folder);
        let mut ids: Vec<String> = self.entries.keys().cloned().collect();
        for folder in packages_in(&self.folder) {
            if !named(&folder) && !self.entries.contains_key(&folder) {
                ids.push(folder);
            }
        }
        ids.sort();
        ids
    }

    /// The path of `name` in the folder, unless it leads elsewhere.
    fn inside(&self, name: &str) -> Option<PathBuf> {
        let relative = Path::new(name);
        let plain = relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        (plain && !name.is_empty() && !name.contains('\0')).then(|| self.folder.join(relative))
    }
}

/// Names of the packages in a folder, one or two levels deep.
fn packages_in(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for (name, path) in folders_in(folder) {
        if path.join(Package::MARK).is_file() {
            found.push(name);
            continue;
        }
        let inner = folders_in(&path).into_iter();
        let packages = inner.filter(|(_, path)| path.join(Package::MARK).is_file());
        found.extend(packages.map(|(version, _)| format!("{name}/{version}")));
    }
    found
}

fn folders_in(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_of(packages: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for package in packages {
            let path = folder.path().join("models").join(package);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join(Package::MARK), "{}").unwrap();
        }
        folder
    }

    #[test]
    fn without_a_registry_an_id_is_a_folder() {
        let folder = folder_of(&["a", "project/3"]);
        let models = folder.path().join("models");
        let registry = Registry::read(&models).unwrap();
        assert_eq!(registry.ids(), ["a", "project/3"]);
        assert_eq!(
            registry.find("project/3"),
            Some((models.join("project/3"), None))
        );
        assert_eq!(registry.find("project"), None);
    }

    #[test]
    fn a_registry_names_packages_and_their_thresholds() {
        let folder = folder_of(&["a", "b"]);
        let models = folder.path().join("models");
        let text = r#"{"x/1": {"package": "a", "task": "object-detection"},
            "x/2": {"package": "a", "recommended_parameters": {"confidence": 0.25}}}"#;
        std::fs::write(models.join(FILE), text).unwrap();
        let registry = Registry::read(&models).unwrap();
        assert_eq!(registry.ids(), ["b", "x/1", "x/2"]);
        let (path, recommended) = registry.find("x/2").unwrap();
        assert_eq!(path, models.join("a"));
        assert_eq!(recommended.unwrap().confidence, Some(0.25));
    }

    #[test]
    fn no_id_leads_out_of_the_folder() {
        let folder = folder_of(&["a", "../outside"]);
        let models = folder.path().join("models");
        let outside = folder.path().join("outside");
        let text = r#"{"bad": {"package": "../outside"}}"#;
        std::fs::write(models.join(FILE), text).unwrap();
        let registry = Registry::read(&models).unwrap();
        let absolute = outside.to_str().unwrap();
        for id in [
            "../outside",
            "a/../../outside",
            absolute,
            "./a/../../outside",
            "",
            "bad",
            "a\0",
        ] {
            assert_eq!(registry.find(id), None, "{id}");
        }
        assert!(registry.find("a").is_some());
    }

    #[test]
    fn a_broken_registry_is_an_error_that_names_it() {
        let folder = folder_of(&["a"]);
        let models = folder.path().join("models");
        std::fs::write(models.join(FILE), r#"{"x": {"packages": "a"}}"#).unwrap();
        let error = Registry::read(&models).unwrap_err().to_string();
        assert!(
            error.contains("registry.json") && error.contains("package"),
            "{error}"
        );
        assert!(Registry::read(&models.join("none")).is_err());
    }
}
