//! ONNX Runtime: which shared library is loaded, and the one environment of the process.
//!
//! The library is looked for, in this order, at the path of the settings, at `ORT_DYLIB_PATH`,
//! beside the binary, and as `.cache/ort/libonnxruntime.so` under the current directory and under
//! the source tree that the binary was built from. The first that a process loads stays for good.
//!
//! From version 1.29 on the library reports usage over the network unless `ORT_DISABLE_TELEMETRY`
//! is set before it is loaded: the program calls [`disable_telemetry`] as its first act.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::ep::ExecutionProvider;
use ort::logging::LogLevel;
use ort::session::builder::SessionBuilder;

use super::ModelError;

/// File name of the library.
const LIBRARY: &str = "libonnxruntime.so";

/// Variable that keeps the library from reporting usage.
const NO_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

/// How sessions are made.
#[derive(Clone, Debug, PartialEq)]
pub struct RuntimeSettings {
    /// The shared library; `None` looks in the usual places.
    pub library: Option<PathBuf>,
    /// Threads that one run of a model may use.
    pub threads: usize,
    /// What shall compute; the first that works wins, and the CPU stands at the end of every list.
    pub providers: Vec<Provider>,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self {
            library: None,
            threads: default_threads(),
            providers: vec![Provider::Cpu],
        }
    }
}

/// All cores but one, which is left to decoding and to the other stages. A second thread shortens a
/// run by a quarter for half as much processor time again (coco-nano-416 alone on two cores: 11.5
/// to 8.4 ms), and not at all where other streams want the core (42 to 49 ms under load).
pub fn default_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.saturating_sub(1).max(1)
}

/// What computes a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// The processor; always there.
    Cpu,
    /// Intel's OpenVINO.
    OpenVino,
    /// NVIDIA's CUDA.
    Cuda,
    /// NVIDIA's TensorRT.
    TensorRt,
}

impl Provider {
    /// Name in settings and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::OpenVino => "openvino",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }

    /// Why this build cannot use the provider, if it cannot.
    pub fn unavailable(self) -> Option<String> {
        match self {
            Self::Cpu => None,
            other => Some(format!(
                "this build of millrace has no support for {}",
                other.name()
            )),
        }
    }
}

/// Keeps ONNX Runtime from reporting usage, whatever its version.
///
/// # Safety
/// Must be called before the process has a second thread: it changes the environment variables,
/// which other threads may read at any time.
#[allow(unsafe_code)]
pub unsafe fn disable_telemetry() {
    // SAFETY: the caller promises that no other thread exists.
    unsafe { std::env::set_var(NO_TELEMETRY, "1") };
}

/// The environment of the process, made on the first call. A failure is not kept: the next call
/// tries again, so a library that was put in place meanwhile is found.
pub(super) fn environment(setting: Option<&Path>) -> Result<Environment, ModelError> {
    static MADE: OnceLock<Environment> = OnceLock::new();
    static MAKING: Mutex<()> = Mutex::new(());
    if let Some(environment) = MADE.get() {
        return Ok(environment.clone());
    }
    let _only_one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = MADE.get() {
        return Ok(environment.clone());
    }
    let environment = make(&locate(setting)?)?;
    Ok(MADE.get_or_init(|| environment).clone())
}

fn make(library: &Path) -> Result<Environment, ModelError> {
    let unusable = |reason: String| ModelError::Runtime {
        path: library.to_owned(),
        reason,
    };
    if std::env::var_os(NO_TELEMETRY).is_none() {
        tracing::warn!("{NO_TELEMETRY} is not set: ONNX Runtime 1.29 and newer report usage");
    }
    let environment = ort::init_from(library)
        .map_err(|error| unusable(error.to_string()))?
        .with_telemetry(false)
        .with_logger(Arc::new(forward))
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    environment.set_log_level(LogLevel::Warning);
    tracing::info!(library = %library.display(), build = ort::info(), "loaded ONNX Runtime");
    Ok(environment)
}

/// What is known of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// The file, links followed.
    pub library: PathBuf,
    /// Its version, or what it says of its build.
    pub version: String,
    /// What it was built to compute on, by the names of [`Provider`] where there is one.
    pub providers: Vec<&'static str>,
}

/// Loads the library, if it is not loaded yet, and says what it is.
///
/// # Errors
/// If it is not found or cannot be used.
pub fn describe(setting: Option<&Path>) -> Result<RuntimeInfo, ModelError> {
    let path = locate(setting)?;
    // Keeps the library loaded while it is asked.
    let _environment = environment(setting)?;
    let library = path.canonicalize().unwrap_or(path);
    let name = library.file_name().and_then(|name| name.to_str());
    let version = name.and_then(|name| name.strip_prefix(LIBRARY)?.strip_prefix('.'));
    Ok(RuntimeInfo {
        version: version.unwrap_or(ort::info()).to_owned(),
        providers: built_in(),
        library,
    })
}

/// Asks the library for one provider by its name there.
macro_rules! asked {
    ($($name:literal => $shown:expr),* $(,)?) => {{
        let mut found = Vec::new();
        $({
            struct Asked;
            impl ExecutionProvider for Asked {
                const NAME: &'static str = $name;

                fn register(&self, _: &mut SessionBuilder) -> ort::Result<()> {
                    Ok(())
                }
            }
            if Asked::is_available().unwrap_or(false) {
                found.push($shown);
            }
        })*
        found
    }};
}

/// What the library was built to compute on.
fn built_in() -> Vec<&'static str> {
    asked!(
        "TensorrtExecutionProvider" => Provider::TensorRt.name(),
        "CUDAExecutionProvider" => Provider::Cuda.name(),
        "OpenVINOExecutionProvider" => Provider::OpenVino.name(),
        "ROCMExecutionProvider" => "rocm",
        "MIGraphXExecutionProvider" => "migraphx",
        "CoreMLExecutionProvider" => "coreml",
        "DnnlExecutionProvider" => "onednn",
        "XnnpackExecutionProvider" => "xnnpack",
        "QNNExecutionProvider" => "qnn",
        "CPUExecutionProvider" => Provider::Cpu.name(),
    )
}

/// Hands what the library has to say to our log.
fn forward(level: LogLevel, _: &str, id: &str, _: &str, message: &str) {
    match level {
        LogLevel::Fatal | LogLevel::Error => tracing::error!(model = id, "{message}"),
        LogLevel::Warning => tracing::warn!(model = id, "{message}"),
        LogLevel::Info | LogLevel::Verbose => tracing::trace!(model = id, "{message}"),
    }
}

/// The library to load. A path that was set but leads nowhere is an error, not a reason to take
/// another library.
pub fn locate(setting: Option<&Path>) -> Result<PathBuf, ModelError> {
    let set = match setting {
        Some(path) => Some(path.to_owned()),
        None => std::env::var_os("ORT_DYLIB_PATH")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
    };
    let places = match set {
        Some(path) => vec![path],
        None => usual_places(),
    };
    match places.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(ModelError::RuntimeMissing {
            tried: format!("no file {}", join(&places)),
        }),
    }
}

fn usual_places() -> Vec<PathBuf> {
    let cached = Path::new(".cache/ort").join(LIBRARY);
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(|folder| folder.join(LIBRARY)));
    let here = std::env::current_dir().ok().map(|dir| dir.join(&cached));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(&cached);
    beside.into_iter().chain(here).chain([source]).collect()
}

fn join(places: &[PathBuf]) -> String {
    let names: Vec<_> = places.iter().map(|p| p.display().to_string()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_set_but_missing_is_not_replaced_by_another() {
        let error = locate(Some(Path::new("/nowhere/libonnxruntime.so"))).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/nowhere/libonnxruntime.so"), "{text}");
        assert!(text.contains("scripts/setup.sh"), "{text}");
    }

    #[test]
    fn the_library_is_installed() {
        if let Err(error) = environment(None) {
            panic!("tests of models cannot run: {error}");
        }
    }

    #[test]
    fn the_library_says_what_it_is() {
        let found = describe(None).unwrap();
        assert!(found.library.is_absolute() && !found.version.is_empty());
        assert!(found.providers.contains(&"cpu"), "{found:?}");
    }

    #[test]
    fn one_core_is_left_to_the_rest() {
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(default_threads(), (cores - 1).max(1));
    }
}
