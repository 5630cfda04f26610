//! Names under which definitions are kept: memory keys and file names, as the reference has them.
//!
//! No name contains an API key: keys enter through an HMAC only. Workspace and workflow ids stand
//! in file names as they are if they are harmless there, else shortened with a hash.

use std::path::PathBuf;

use serde_json::json;
use sha2::{Digest, Sha256};

const PUBLIC: &[u8] = b"inference-workflow-cache-public-identity-v2";
const BLOCK: usize = 64;
/// Longest id that stands in a file name as it is.
const LONGEST_PLAIN: usize = 96;
/// Characters of an id that are kept where it is shortened.
const KEPT: usize = 48;

/// `HMAC-SHA256` in hexadecimal digits.
fn hmac(key: &[u8], message: &[u8]) -> String {
    let mut padded = [0u8; BLOCK];
    if key.len() > BLOCK {
        padded[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        padded[..key.len()].copy_from_slice(key);
    }
    let keyed = |mask: u8| Sha256::new().chain_update(padded.map(|b| b ^ mask));
    let inner = keyed(0x36).chain_update(message).finalize();
    hex::encode(keyed(0x5c).chain_update(inner).finalize())
}

/// The fingerprint of a text that is no secret (`F` in section 2.3 of the server specification).
pub(super) fn public(text: &str) -> String {
    let mut key = (text.len() as u64).to_be_bytes().to_vec();
    key.extend_from_slice(text.as_bytes());
    hmac(&key, PUBLIC)
}

/// The fingerprint of an API key in a workspace (`T`); no key counts as an empty one.
pub(super) fn tenant(api_key: &str, workspace: &str) -> String {
    let message = json!(["inference-workflow-tenant-v2", workspace]).to_string();
    hmac(api_key.as_bytes(), message.as_bytes())
}

/// The fingerprint of a definition: workspace, workflow and pinned version.
pub(super) fn identity(workspace: &str, workflow: &str, version: Option<&str>) -> String {
    public(
        &json!([
            "inference-workflow-definition-v2",
            workspace,
            workflow,
            version
        ])
        .to_string(),
    )
}

/// The name of a workspace's folder.
pub(super) fn workspace_segment(workspace: &str) -> String {
    let replaced = replaced(workspace);
    if is_plain(workspace, &replaced) {
        replaced
    } else {
        shortened(workspace, &replaced)
    }
}

/// A workflow's part of a file name. Ids that look like the rest of such a name are shortened too.
pub(super) fn workflow_segment(workflow: &str) -> String {
    let replaced = replaced(workflow);
    if is_plain(workflow, &replaced) && !looks_composed(workflow) {
        replaced
    } else {
        shortened(workflow, &replaced)
    }
}

/// Where the disk copy of a definition is, below `MODEL_CACHE_DIR`; with `tenant` the copy of one
/// API key, without it the one that all keys share.
pub(super) fn disk_path(
    workspace: &str,
    workflow: &str,
    version: Option<&str>,
    tenant: Option<&str>,
) -> PathBuf {
    let folder = match tenant {
        Some(_) => ".tenanted-v2",
        None => ".canonical-v2",
    };
    let mut path = PathBuf::from("workflow");
    path.push(workspace_segment(workspace));
    path.push(folder);
    let mut name = workflow_segment(workflow);
    if let Some(version) = version {
        path.push("versions");
        name.push('_');
        name.push_str(&public(&json!([workflow, version]).to_string()));
    }
    if let Some(tenant) = tenant {
        name.push('_');
        name.push_str(tenant);
    }
    path.push(name + ".json");
    path
}

/// Where a definition of the local editor is, below `MODEL_CACHE_DIR`.
pub(super) fn local_path(workflow: &str) -> PathBuf {
    let name = hex::encode(Sha256::digest(workflow.as_bytes()));
    PathBuf::from("workflow/local").join(name + ".json")
}

fn replaced(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-' => c,
            _ => '_',
        })
        .collect()
}

fn is_plain(text: &str, replaced: &str) -> bool {
    text == replaced
        && !text.is_empty()
        && text.len() <= LONGEST_PLAIN
        && !text.bytes().any(|b| b.is_ascii_uppercase())
        && !is_device(text)
}

/// Whether Windows takes the name for a device.
fn is_device(text: &str) -> bool {
    let numbered = |stem: &str| {
        text.strip_prefix(stem)
            .is_some_and(|n| n.len() == 1 && ('1'..='9').any(|d| n.starts_with(d)))
    };
    matches!(text, "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}

/// Whether the id ends as a name with a fingerprint or a version does.
fn looks_composed(text: &str) -> bool {
    let fingerprint = text
        .rsplit_once('_')
        .is_some_and(|(_, end)| is_fingerprint(end));
    fingerprint || text.find("_v").is_some_and(|i| text.len() > i + 2)
}

/// Whether the text is 64 lower-case hexadecimal digits.
pub(super) fn is_fingerprint(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn shortened(text: &str, replaced: &str) -> String {
    let kept: String = replaced.chars().take(KEPT).collect();
    let kept = if kept.is_empty() { "empty" } else { &kept };
    format!("~{kept}_{}", public(text))
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;
    use crate::definitions::{ApiKey, PlatformKey};

    const VECTORS: &str = include_str!("../../fixtures/platform/cache-names.json");

    #[test]
    fn keys_and_paths_are_those_of_the_reference() {
        let vectors: Json = serde_json::from_str(VECTORS).unwrap();
        let cases = vectors["workflow_definition_cache"].as_array().unwrap();
        assert_eq!(cases.len(), 15);
        for case in cases {
            let key = PlatformKey::new(
                case["workspace"].as_str().unwrap(),
                case["workflow_id"].as_str().unwrap(),
                case["workflow_version_id"].as_str(),
                case["api_key"].as_str().map(ApiKey::new),
            );
            for (single, suffix) in [(false, ""), (true, "_single_tenant")] {
                let memory = case[format!("memory_key{suffix}")].as_str().unwrap();
                assert_eq!(key.memory_key(single), memory, "{case}");
                let disk = case[format!("disk_path{suffix}")].as_str().unwrap();
                assert_eq!(key.disk_path(single), PathBuf::from(disk), "{case}");
            }
        }
        for case in vectors["local_workflow_files"].as_array().unwrap() {
            let path = local_path(case["workflow_id"].as_str().unwrap());
            assert_eq!(path, PathBuf::from(case["path"].as_str().unwrap()));
        }
    }

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hmac(b"Jefe", b"what do ya want for nothing?"), digest);
        let long = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        let message = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(hmac(&[0xaa; 131], message), long);
    }

    #[test]
    fn ids_that_look_like_other_names_are_shortened() {
        assert_eq!(workflow_segment("a_v"), "a_v");
        assert!(workflow_segment("a_v1").starts_with("~a_v1_"));
        assert!(workflow_segment("lpt1").starts_with("~lpt1_"));
        assert_eq!(workflow_segment("lpt10"), "lpt10");
        assert_eq!(workspace_segment("a_v1"), "a_v1");
    }
}
