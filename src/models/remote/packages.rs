//! Packages in the cache: `models-cache/v2-…/<package id>`, whose files are links to
//! `shared-blobs/<md5>`, and `model_config.json`, which says what the package is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::download::{Wanted, beside};
use super::metadata::{Offer, Page};
use super::names;
use super::{Means, NEEDED, write_whole};
use crate::models::ModelError;
use crate::models::error::FileTrouble;
use crate::models::package::{Package, read_json};

/// Fetches what is missing of a package and puts it together.
pub(super) async fn fetch(
    means: Means<'_>,
    id: &str,
    page: &Page,
    offer: &Offer,
) -> Result<PathBuf, ModelError> {
    let settings = means.settings;
    let blobs = settings.cache_dir.join(names::BLOBS);
    let folder = settings
        .cache_dir
        .join(names::package(&page.model_id, &offer.package_id));
    fs::create_dir_all(&folder).map_err(|e| cache_error(&folder, &e))?;
    for file in &offer.files {
        let failed = |trouble| ModelError::Download {
            id: id.to_owned(),
            file: file.handle.clone(),
            trouble,
        };
        let broken = |reason| failed(FileTrouble::Broken { reason });
        let client = means.platform.files(settings).map_err(broken)?;
        let want = Wanted {
            model: id,
            name: &file.handle,
            url: &settings.platform.through_gateway(file.url.clone()),
            target: &blobs.join(&file.md5),
            md5: Some(&file.md5),
            head: true,
            patience: settings.lock_patience,
        };
        means.downloads.fetch(client, want).await.map_err(failed)?;
        link(&folder, &file.handle, &file.md5).map_err(|e| cache_error(&folder, &e))?;
    }
    describe(&folder, page, offer)?;
    Ok(folder)
}

/// Makes a file of a package mean a blob. The link is relative, so that the cache can be moved.
fn link(folder: &Path, handle: &str, md5: &str) -> std::io::Result<()> {
    let target = Path::new("../../..").join(names::BLOBS).join(md5);
    let path = folder.join(handle);
    let blob = folder.join(&target);
    if let (Ok(there), Ok(wanted)) = (fs::canonicalize(&path), fs::canonicalize(&blob))
        && there == wanted
    {
        return Ok(());
    }
    let fresh = beside(&path, ".", &format!(".{}", uuid::Uuid::new_v4().simple()));
    symlink(&target, &fresh)?;
    fs::rename(&fresh, &path).inspect_err(|_| {
        let _ = fs::remove_file(&fresh);
    })
}

/// Writes `model_config.json`, unless one of the same model is there. The number by which the
/// reference marks files that it completed itself is left out: it takes the file over then, and
/// never finds that we said something else than it would.
fn describe(folder: &Path, page: &Page, offer: &Offer) -> Result<(), ModelError> {
    let path = folder.join(Package::MARK);
    let there: Option<Json> = read_json(&path).ok();
    if there.is_some_and(|t| t["model_id"] == page.model_id.as_str()) && is_whole(folder) {
        return Ok(());
    }
    let recommended = offer.recommended.as_ref();
    let content = json!({
        "model_architecture": page.model_architecture,
        "task_type": page.task_type,
        "backend_type": "onnx",
        "model_features": offer.features,
        "trusted_source": offer.trusted,
        "recommended_parameters": recommended.or(page.recommended_parameters.as_ref()),
        "quantization": offer.quantization,
        "dynamic_batch_size_supported": offer.static_batch.is_none(),
        "static_batch_size": offer.static_batch,
        "canonical_model_id": page.model_id,
        "model_id": page.model_id,
    });
    write_whole(&path, content.to_string().as_bytes())
}

/// Whether all files of a package are there and say what it is.
fn is_whole(folder: &Path) -> bool {
    let mut files = NEEDED.iter().chain([&Package::MARK]);
    files.all(|name| folder.join(name).is_file()) && Package::open(folder).is_ok()
}

/// Whether a package is whole, and no file of it lies outside of the cache.
pub(super) fn is_usable(folder: &Path, cache: &Path) -> bool {
    let Ok(root) = fs::canonicalize(cache) else {
        return false;
    };
    let inside = |name: &&str| {
        let real = fs::canonicalize(folder.join(name));
        real.is_ok_and(|real| real.starts_with(&root))
    };
    is_whole(folder) && NEEDED.iter().chain([&Package::MARK]).all(inside)
}

/// Packages in the folder of a model, whatever chose them.
pub(super) fn of_model(cache: &Path, id: &str) -> Vec<(String, PathBuf)> {
    let folder = cache.join(names::PACKAGES).join(names::folder(id));
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut found: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .filter(|(name, path)| names::is_package_id(name) && is_usable(path, cache))
        .collect();
    found.sort();
    found
}

pub(super) fn cache_error(path: &Path, error: &std::io::Error) -> ModelError {
    ModelError::Cache {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
