//! Whether ONNX Runtime is found and can be loaded, and what it can compute on.

use super::finding::listed;
use super::{Check, Circumstances, Finding};
use crate::clock::Clock;
use crate::models::runtime::{self, RuntimeInfo};
use crate::models::{ModelError, Provider};

pub(super) fn check(at: &Circumstances, _: &dyn Clock) -> Vec<Finding> {
    vec![match runtime::describe(at.library.as_deref()) {
        Ok(found) => {
            let usable: Vec<&str> = [
                Provider::TensorRt,
                Provider::Cuda,
                Provider::OpenVino,
                Provider::Cpu,
            ]
            .into_iter()
            .filter(|p| p.unavailable().is_none())
            .map(Provider::name)
            .filter(|name| found.providers.iter().any(|p| p.eq_ignore_ascii_case(name)))
            .collect();
            Finding::ok(
                Check::OnnxRuntime,
                format!(
                    "{} ({}) with {}; this build of millrace uses {}",
                    found.library.display(),
                    version(&found),
                    listed(&found.providers, 8),
                    listed(&usable, 8)
                ),
            )
        }
        Err(error) => Finding::fault(Check::OnnxRuntime, error.to_string(), remedy(&error)),
    }]
}

/// The version that stands in the name of the file, links followed, else what the library says of
/// its build.
fn version(found: &RuntimeInfo) -> String {
    let file = found.library.canonicalize().unwrap_or_default();
    let name = file.file_name().and_then(|name| name.to_str());
    match name.and_then(|name| name.split_once(".so.")) {
        Some((_, version)) => version.to_owned(),
        None => found.build.clone(),
    }
}

fn remedy(error: &ModelError) -> String {
    let install = "`scripts/setup.sh` installs one that fits";
    match std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        Some(path) => format!(
            "set ORT_DYLIB_PATH (now {}) to a libonnxruntime.so of version 1.23 or newer, or unset it; {install}",
            path.display()
        ),
        None if matches!(error, ModelError::RuntimeMissing { .. }) => {
            format!("{install}; or set ORT_DYLIB_PATH")
        }
        None => install.to_owned(),
    }
}
