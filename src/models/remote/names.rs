//! Names of the reference's cache: folders of models, packages, blobs, and what may be part of one.

use std::path::PathBuf;

use blake2::digest::consts::U16;
use blake2::{Blake2s, Digest};

use crate::models::ModelError;

/// Folder of packages.
pub(super) const PACKAGES: &str = "models-cache";
/// Folder of file contents.
pub(super) const BLOBS: &str = "shared-blobs";
/// Folder of choices.
pub(super) const RESOLUTIONS: &str = "auto-resolution-cache";
/// Folder of locks of the older layout.
pub(super) const LOCKS: &str = "_file_locks";
/// File that says what a model does.
pub(super) const MODEL_TYPE: &str = "model_type.json";

/// Names below the cache that are no project.
const TAKEN: &[&str] = &[
    PACKAGES,
    BLOBS,
    RESOLUTIONS,
    LOCKS,
    "offline-weights-registry",
    "workflow",
];
/// Characters of an id that are kept in a folder's name.
const KEPT: usize = 48;
/// Longest part of an id, package id or file name.
const LONGEST: usize = 255;
/// Names that some file systems keep for devices.
const DEVICES: &[&str] = &["AUX", "CON", "NUL", "PRN"];

/// A model id that may be part of paths and addresses: one or two plain segments.
///
/// # Errors
/// [`ModelError::Id`] with what is wrong.
pub(super) fn checked(id: &str) -> Result<Vec<&str>, ModelError> {
    let wrong = |reason| ModelError::Id {
        id: id.chars().take(LONGEST).collect(),
        reason,
    };
    let segments: Vec<&str> = id.split('/').collect();
    if segments.iter().any(|s| matches!(*s, "" | "." | "..")) {
        return Err(wrong("a part of it is empty, `.` or `..`"));
    }
    if segments.len() > 2 {
        return Err(wrong("it has more than two parts"));
    }
    if id.chars().any(|c| c.is_control() || c == '\\') {
        return Err(wrong("it has signs that no id has"));
    }
    if segments.iter().any(|s| s.len() > LONGEST) {
        return Err(wrong("it is too long"));
    }
    if TAKEN.contains(&segments[0]) {
        return Err(wrong("the name is taken by the cache itself"));
    }
    Ok(segments)
}

/// The name of a model's folder of packages: `v2-<start of the id>-<digest>`.
pub(super) fn folder(id: &str) -> String {
    let mut plain = String::new();
    for c in id.chars() {
        match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-' => plain.push(c),
            // A run of others counts as one sign.
            _ if plain.ends_with('\u{0}') => {}
            _ => plain.push('\u{0}'),
        }
    }
    let plain = plain.replace('\u{0}', "-");
    let mut start = String::new();
    let mut rest = plain.chars().peekable();
    while let Some(c) = rest.next() {
        let mut run = 1;
        while matches!(c, '_' | '-') && rest.next_if(|n| matches!(n, '_' | '-')).is_some() {
            run += 1;
        }
        start.push(if run > 1 { '-' } else { c });
    }
    if start.is_empty() {
        start.push_str("special-char-only-model-id");
    }
    start.truncate(KEPT);
    format!("v2-{start}-{}", digest(id))
}

fn digest(id: &str) -> String {
    hex::encode(Blake2s::<U16>::digest(id.as_bytes()))
}

/// Place of a package below the cache.
pub(super) fn package(id: &str, package_id: &str) -> PathBuf {
    PathBuf::from(PACKAGES).join(folder(id)).join(package_id)
}

/// Whether a package id may be a folder.
pub(super) fn is_package_id(id: &str) -> bool {
    let upper = id.to_ascii_uppercase();
    let numbered = upper
        .strip_prefix("COM")
        .or_else(|| upper.strip_prefix("LPT"))
        .is_some_and(|n| matches!(n.as_bytes(), [b'1'..=b'9']));
    !id.is_empty()
        && id.len() <= LONGEST
        && id.bytes().all(|b| b.is_ascii_alphanumeric())
        && !numbered
        && !DEVICES.contains(&&*upper)
}

/// Whether a file handle may be a file of a package.
pub(super) fn is_file_handle(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !name.is_empty()
        && name.len() <= LONGEST
        && name.bytes().all(plain)
        && !name.starts_with('.')
        && !name.eq_ignore_ascii_case("model_config.json")
}

/// Whether a text is an MD5 in lower-case hexadecimal.
pub(super) fn is_md5(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_have_the_names_that_the_reference_gives() {
        let vectors = include_str!("../../../fixtures/platform/model-cache-names.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let rows = vectors["model_cache_dirs"].as_array().unwrap();
        assert_eq!(rows.len(), 7);
        for row in rows {
            let id = row["model_id"].as_str().unwrap();
            let name = PathBuf::from(PACKAGES).join(folder(id));
            assert_eq!(name.to_str(), row["dir"].as_str(), "{id}");
        }
    }

    #[test]
    fn only_plain_ids_pass() {
        for good in ["coco/3", "justonename", "ws/name x", "żółw/2"] {
            assert!(checked(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "x/..",
            "a/./b",
            "a/b/c",
            "a\\..\\b",
            "a\0b",
            "models-cache/v2-x",
            "workflow/ws",
        ] {
            assert_eq!(checked(bad).unwrap_err().status(), 400, "{bad}");
        }
    }

    #[test]
    fn only_plain_packages_and_files_pass() {
        assert!(is_package_id("pkgonnxtiny1"));
        for bad in ["", "..", "a/b", "a-b", "con", "COM1", "ł"] {
            assert!(!is_package_id(bad), "{bad}");
        }
        assert!(is_file_handle("weights.onnx") && is_file_handle("keypoints_metadata.json"));
        for bad in ["", "..", "../x", "a/b", ".lock", "Model_config.json", "a b"] {
            assert!(!is_file_handle(bad), "{bad}");
        }
        assert!(is_md5("900150983cd24fb0d6963f7d28e17f72"));
        assert!(!is_md5("../50983cd24fb0d6963f7d28e17f72x"));
    }
}
