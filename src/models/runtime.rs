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

/// What there is of ONNX Runtime on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct RuntimeInfo {
    /// The shared library.
    pub library: PathBuf,
    /// Which build it is, in its own words.
    pub build: String,
    /// What it could compute with; what this program uses of it is [`Provider`].
    pub providers: Vec<&'static str>,
}

/// Loads the library and says what it is.
///
/// # Errors
/// If it is not there or cannot be used.
pub fn describe(setting: Option<&Path>) -> Result<RuntimeInfo, ModelError> {
    let library = locate(setting)?;
    environment(setting)?;
    let providers = [
        ("CPU", Known::<0>::is_available()),
        ("OpenVINO", Known::<1>::is_available()),
        ("CUDA", Known::<2>::is_available()),
        ("TensorRT", Known::<3>::is_available()),
    ];
    Ok(RuntimeInfo {
        library,
        build: ort::info().to_owned(),
        providers: providers
            .into_iter()
            .filter(|(_, there)| there.as_ref().is_ok_and(|t| *t))
            .map(|(name, _)| name)
            .collect(),
    })
}

/// A provider that the library is asked about, by position in [`NAMES`]; it is never used.
struct Known<const N: usize>;

/// Names of providers in the library.
const NAMES: [&str; 4] = [
    "CPUExecutionProvider",
    "OpenVINOExecutionProvider",
    "CUDAExecutionProvider",
    "TensorrtExecutionProvider",
];

impl<const N: usize> ExecutionProvider for Known<N> {
    const NAME: &'static str = NAMES[N];

    fn register(&self, _: &mut ort::session::builder::SessionBuilder) -> ort::Result<()> {
        Err(ort::Error::new("this provider is only asked about"))
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
    fn one_core_is_left_to_the_rest() {
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(default_threads(), (cores - 1).max(1));
    }
}
