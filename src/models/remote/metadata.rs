//! What the platform says of a model, and which of its packages are tried in which order.

use serde::Deserialize;
use serde_json::Value as Json;

use super::names;
use crate::models::package::RecommendedParameters;

/// The platform's wrapping of its answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope<T> {
    pub model_metadata: T,
}

/// What a model does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stat {
    pub model_architecture: Option<String>,
    pub task_type: Option<String>,
    #[serde(default)]
    pub model_variant: Option<String>,
}

/// A model and its packages, or a page of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub model_id: String,
    pub model_architecture: String,
    #[serde(default)]
    pub task_type: Option<String>,
    pub model_packages: Vec<Json>,
    #[serde(default)]
    pub recommended_parameters: Option<RecommendedParameters>,
    #[serde(default)]
    pub next_page: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPackage {
    #[serde(rename = "type")]
    kind: String,
    package_id: String,
    package_manifest: RawManifest,
    package_files: Vec<RawFile>,
    #[serde(default)]
    trusted_source: bool,
    #[serde(default)]
    model_features: Option<Json>,
    #[serde(default)]
    recommended_parameters: Option<RecommendedParameters>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    #[serde(default)]
    dynamic_batch_size: bool,
    #[serde(default)]
    static_batch_size: Option<u32>,
    #[serde(default)]
    quantization: Option<String>,
    #[serde(default)]
    incompatible_providers: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFile {
    file_handle: String,
    download_url: String,
    #[serde(default)]
    md5_hash: Option<String>,
}

/// A package that this machine can run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Offer {
    pub package_id: String,
    pub files: Vec<OfferedFile>,
    pub trusted: bool,
    pub static_batch: Option<u32>,
    pub quantization: String,
    pub features: Option<Json>,
    pub recommended: Option<RecommendedParameters>,
}

/// A file of a package.
#[derive(Clone, PartialEq)]
pub(super) struct OfferedFile {
    pub handle: String,
    /// Where it is; may be signed, so it is never shown.
    pub url: url::Url,
    /// MD5 of its content in lower-case hexadecimal.
    pub md5: String,
}

impl std::fmt::Debug for OfferedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OfferedFile({}, {})", self.handle, self.md5)
    }
}

/// The packages that can be tried, the best first, and why each other one cannot.
pub(super) fn choose(packages: &[Json], untrusted: bool) -> (Vec<Offer>, Vec<String>) {
    let (mut offers, mut reasons) = (Vec::new(), Vec::new());
    for package in packages {
        match offer(package, untrusted) {
            Ok(offer) => offers.push(offer),
            Err(reason) => {
                let id = package["packageId"].as_str().unwrap_or("?");
                let id: String = id.chars().filter(|c| !c.is_control()).take(64).collect();
                reasons.push(format!("{id}: {reason}"));
            }
        }
    }
    // As the reference sorts: quantisation, trust, batches of any size before those of one.
    offers.sort_by_key(|offer| {
        let fine = matches!(&*offer.quantization, "fp32" | "bf16");
        (!fine, !offer.trusted, offer.static_batch.is_some())
    });
    (offers, reasons)
}

fn offer(package: &Json, untrusted: bool) -> Result<Offer, String> {
    let kind = package["packageManifest"]["type"].as_str().unwrap_or("?");
    if kind != "onnx-model-package-v1" {
        return Err(format!("a {kind} cannot be run here"));
    }
    let raw: RawPackage = serde_json::from_value(package.clone()).map_err(|e| e.to_string())?;
    if raw.kind != "external-model-package-v1" {
        return Err(format!("its type `{}` is not known", raw.kind));
    }
    if !names::is_package_id(&raw.package_id) {
        return Err("its package id is no plain name".into());
    }
    if !raw.trusted_source && !untrusted {
        return Err("its source is not trusted (ALLOW_INFERENCE_MODELS_UNTRUSTED_PACKAGES)".into());
    }
    let manifest = raw.package_manifest;
    let static_batch = match (manifest.dynamic_batch_size, manifest.static_batch_size) {
        (true, None) => None,
        (false, Some(n)) if n > 0 => Some(n),
        _ => return Err("its manifest does not say which batches it takes".into()),
    };
    let quantization = manifest.quantization.unwrap_or_else(|| "unknown".into());
    if !matches!(&*quantization, "fp32" | "bf16" | "unknown") {
        return Err(format!("{quantization} is not run on a CPU"));
    }
    let not_on = manifest.incompatible_providers.unwrap_or_default();
    if not_on.iter().any(|p| p == "CPUExecutionProvider") {
        return Err("it does not run on a CPU".into());
    }
    Ok(Offer {
        package_id: raw.package_id,
        files: files(raw.package_files)?,
        trusted: raw.trusted_source,
        static_batch,
        quantization,
        features: raw.model_features.filter(|f| !f.is_null()),
        recommended: raw.recommended_parameters,
    })
}

fn files(raw: Vec<RawFile>) -> Result<Vec<OfferedFile>, String> {
    let mut files: Vec<OfferedFile> = Vec::with_capacity(raw.len());
    for file in raw {
        let handle = file.file_handle;
        if !names::is_file_handle(&handle) {
            let shown: String = handle.escape_default().take(64).collect();
            return Err(format!("its file `{shown}` has no plain name"));
        }
        if files.iter().any(|f| f.handle == handle) {
            return Err(format!("it has two files `{handle}`"));
        }
        let md5 = file.md5_hash.unwrap_or_default().to_ascii_lowercase();
        if !names::is_md5(&md5) {
            return Err(format!("its file `{handle}` has no MD5"));
        }
        let url = url::Url::parse(&file.download_url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| format!("its file `{handle}` has no http address"))?;
        files.push(OfferedFile { handle, url, md5 });
    }
    for needed in super::NEEDED {
        if !files.iter().any(|f| f.handle == *needed) {
            return Err(format!("it has no file `{needed}`"));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(id: &str, changes: Json) -> Json {
        let files: Vec<Json> = super::super::NEEDED
            .iter()
            .map(|name| {
                json!({"fileHandle": name, "downloadUrl": "http://x/f",
                    "md5Hash": "900150983CD24FB0D6963F7D28E17F72"})
            })
            .collect();
        let mut package = json!({"type": "external-model-package-v1", "packageId": id,
            "packageManifest": {"type": "onnx-model-package-v1", "backendType": "onnx",
                "dynamicBatchSize": true, "quantization": "fp32", "opset": 17},
            "packageFiles": files, "trustedSource": true});
        for (path, value) in changes.as_object().unwrap() {
            match package.pointer_mut(path) {
                Some(place) => *place = value.clone(),
                None => package["packageManifest"][path.as_str()] = value.clone(),
            }
        }
        package
    }

    fn reason(changes: Json) -> String {
        let (offers, reasons) = choose(&[package("p", changes)], false);
        assert!(offers.is_empty(), "{offers:?}");
        reasons.join(";")
    }

    #[test]
    fn the_best_package_comes_first() {
        let fixed = json!({"/packageManifest/dynamicBatchSize": false, "staticBatchSize": 1});
        let unknown = json!({"/packageManifest/quantization": "unknown"});
        let packages = [
            package("unknown", unknown),
            package("fixed", fixed),
            package("best", json!({})),
        ];
        let (offers, reasons) = choose(&packages, false);
        let ids: Vec<&str> = offers.iter().map(|o| &*o.package_id).collect();
        assert_eq!(ids, ["best", "fixed", "unknown"]);
        assert!(reasons.is_empty());
        assert_eq!(offers[0].files[0].md5, "900150983cd24fb0d6963f7d28e17f72");
    }

    #[test]
    fn what_cannot_be_run_or_trusted_is_told() {
        for (changes, word) in [
            (
                json!({"/packageManifest/type": "trt-model-package-v1"}),
                "trt-",
            ),
            (json!({"/packageManifest/quantization": "fp16"}), "fp16"),
            (
                json!({"/packageManifest/dynamicBatchSize": false}),
                "batches",
            ),
            (json!({"staticBatchSize": 4}), "batches"),
            (json!({"/trustedSource": false}), "trusted"),
            (json!({"/packageId": "../../x"}), "package id"),
            (json!({"/packageFiles/0/fileHandle": "../x"}), "plain name"),
            (
                json!({"/packageFiles/0/fileHandle": "other.onnx"}),
                "no file",
            ),
            (json!({"/packageFiles/1/md5Hash": null}), "MD5"),
            (json!({"/packageFiles/1/md5Hash": "../../etc"}), "MD5"),
            (
                json!({"/packageFiles/1/downloadUrl": "file:///etc/passwd"}),
                "address",
            ),
            (
                json!({"incompatibleProviders": ["CPUExecutionProvider"]}),
                "CPU",
            ),
            (json!({"/type": "other"}), "type"),
            (json!({"/packageFiles": 3}), "invalid type"),
        ] {
            let told = reason(changes.clone());
            assert!(told.contains(word), "{changes}: {told}");
        }
        let untrusted = package("p", json!({"/trustedSource": false}));
        assert_eq!(choose(&[untrusted], true).0.len(), 1);
    }
}
