//! Which models are there, whether their packages are whole, and whether cached weights are what
//! their names say.
//!
//! Each package is loaded once for trial, as long as [`TRIAL`] lasts: only that finds weights that
//! are cut short or of another shape than their package says.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gstreamer::glib;

use super::finding::{bytes, listed};
use super::{Check, Circumstances, Finding};
use crate::clock::{Clock, SystemClock};
use crate::models::{ModelError, ModelInfo, ModelStore, RuntimeSettings, runtime};

/// Time for loading packages for trial.
const TRIAL: Duration = Duration::from_secs(6);
/// Time for comparing cached files with their names.
const HASHING: Duration = Duration::from_secs(4);
/// Bytes that are hashed at a time.
const CHUNK: usize = 1 << 20;

pub(super) fn check(at: &Circumstances, _: &dyn Clock) -> Vec<Finding> {
    let mut found = packages(at);
    found.push(match &at.settings {
        Ok(settings) => cached(&settings.cache_dir),
        Err(_) => Finding::not_applicable(Check::CachedWeights, "the settings cannot be used"),
    });
    found
}

/// The store of models, for this check and that of a definition's models.
pub(super) fn store(at: &Circumstances) -> Option<Result<ModelStore, ModelError>> {
    let settings = RuntimeSettings {
        library: at.library.clone(),
        ..RuntimeSettings::default()
    };
    let clock = Arc::new(SystemClock::default());
    at.models
        .as_ref()
        .map(|folder| ModelStore::open(folder, settings, clock))
}

fn packages(at: &Circumstances) -> Vec<Finding> {
    let store = match store(at) {
        None => {
            return vec![Finding::not_applicable(
                Check::Models,
                "no folder of model packages is named (--models or MILLRACE_MODELS)",
            )];
        }
        Some(Err(error)) => {
            let remedy =
                "name a folder of model packages with --models, and mend its registry.json";
            return vec![Finding::fault(Check::Models, error.to_string(), remedy)];
        }
        Some(Ok(store)) => store,
    };
    let models = store.list();
    let can_load = runtime::locate(at.library.as_deref()).is_ok();
    let deadline = Instant::now() + TRIAL;
    let mut tried = 0;
    let mut found = Vec::new();
    for model in &models {
        let in_time = can_load && Instant::now() < deadline;
        tried += usize::from(in_time);
        found.extend(package(&store, model, in_time));
    }
    found.insert(0, summary(&store, &models, tried));
    found
}

fn summary(store: &ModelStore, models: &[ModelInfo], tried: usize) -> Finding {
    let folder = store.folder().unwrap_or(Path::new("")).display();
    if models.is_empty() {
        return Finding::warning(
            Check::Models,
            format!("{folder} holds no model package"),
            "put packages there (model_config.json, inference_config.json, class_names.txt, weights.onnx)",
        );
    }
    let size: u64 = models.iter().filter_map(|model| model.size).sum();
    let ids: Vec<&str> = models.iter().map(|model| &*model.id).collect();
    Finding::ok(
        Check::Models,
        format!(
            "{} models ({}) in {folder}, {tried} loaded for trial: {}",
            ids.len(),
            bytes(size),
            listed(&ids, 6)
        ),
    )
}

/// What is wrong with a package.
fn package(store: &ModelStore, model: &ModelInfo, try_it: bool) -> Option<Finding> {
    let again = format!("put the package into {} again", model.folder.display());
    if let Some(problem) = &model.problem {
        return Some(Finding::fault(Check::Model, problem.to_string(), again).about(&*model.id));
    }
    if model.sha256.is_none() {
        let path = model.folder.join("weights.onnx");
        let evidence = format!(
            "its weights {} are missing or cannot be read",
            path.display()
        );
        return Some(Finding::fault(Check::Model, evidence, again).about(&*model.id));
    }
    if !try_it {
        return None;
    }
    let error = store.preload(&model.id).err();
    store.unload(&model.id);
    let finding = match error? {
        error @ ModelError::UnsupportedTask { .. } => Finding::warning(
            Check::Model,
            error.to_string(),
            "use another model, or a millrace that runs this family",
        ),
        // That ONNX Runtime cannot be used is told once, by its own check.
        ModelError::Runtime { .. } | ModelError::RuntimeMissing { .. } => return None,
        error => Finding::fault(Check::Model, error.to_string(), again),
    };
    Some(finding.about(&*model.id))
}

/// The reference keeps weights under the MD5 of their content; a file that was cut short or changed
/// has another one.
fn cached(cache: &Path) -> Finding {
    let folder = cache.join("shared-blobs");
    let blobs = blobs(&folder);
    if blobs.is_empty() {
        let none = format!("no weights of the platform below {}", folder.display());
        return Finding::not_applicable(Check::CachedWeights, none);
    }
    let deadline = Instant::now() + HASHING;
    let (mut wrong, mut checked, mut size) = (Vec::new(), 0, 0);
    for (name, path) in &blobs {
        size += fs::metadata(path).map_or(0, |m| m.len());
        match md5(path, deadline) {
            Some(sum) if sum != *name => wrong.push(path.display().to_string()),
            Some(_) => checked += 1,
            None => {}
        }
    }
    if wrong.is_empty() {
        return Finding::ok(
            Check::CachedWeights,
            format!(
                "{} files ({}) in {}, {checked} compared with their MD5",
                blobs.len(),
                bytes(size),
                folder.display()
            ),
        );
    }
    Finding::fault(
        Check::CachedWeights,
        format!(
            "{} of {} files are not what was downloaded (another MD5): {}",
            wrong.len(),
            blobs.len(),
            listed(&wrong, 3)
        ),
        format!(
            "`rm {}`; they are downloaded again when they are needed",
            wrong.join(" ")
        ),
    )
}

fn blobs(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .filter(|(name, _)| name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit()))
        .collect();
    found.sort();
    found
}

/// The MD5 of a file, if it can be read and time is left.
fn md5(path: &Path, deadline: Instant) -> Option<String> {
    use std::io::Read;
    let mut file = fs::File::open(path).ok()?;
    let mut sum = glib::Checksum::new(glib::ChecksumType::Md5)?;
    let mut chunk = vec![0; CHUNK];
    while Instant::now() < deadline {
        match file.read(&mut chunk).ok()? {
            0 => return sum.string(),
            length => sum.update(&chunk[..length]),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn cached_weights_are_compared_with_their_names() {
        let cache = tempfile::tempdir().unwrap();
        let blobs = cache.path().join("shared-blobs");
        assert_eq!(cached(cache.path()).verdict, Verdict::NotApplicable);
        fs::create_dir(&blobs).unwrap();
        // RFC 1321, A.5.
        let good = blobs.join("900150983cd24fb0d6963f7d28e17f72");
        fs::write(&good, "abc").unwrap();
        fs::write(blobs.join(".lock"), "").unwrap();
        let found = cached(cache.path());
        assert_eq!(found.verdict, Verdict::Ok, "{found:?}");
        fs::write(&good, "ab").unwrap();
        let found = cached(cache.path());
        assert_eq!(found.verdict, Verdict::Fault);
        assert!(found.remedy.unwrap().contains(good.to_str().unwrap()));
    }
}
