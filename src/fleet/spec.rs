//! What a pipeline is to run: sources, definition, parameters, results; wherever that was written.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use super::results::ResultsPolicy;
use crate::clock::Clock;
use crate::definitions::{
    ApiKey, Compiled, DefinitionError, DefinitionKey, DefinitionStore, Demand, Fetched,
};
use crate::engine::RuntimeInputs;
use crate::outputs::OutputsSpec;
use crate::sources::{QueuePolicy, SourceSpec, SourceUri};
use crate::streams::Pace;

/// Which definition is meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// The one under a key; new content of it reaches the running pipeline.
    Key(DefinitionKey),
    /// The one that came with the request.
    Inline(Arc<Json>),
}

impl Wanted {
    /// Finds the definition.
    ///
    /// # Errors
    /// See [`DefinitionStore::get_blocking`].
    pub(super) fn fetch(
        &self,
        store: &DefinitionStore,
        clock: &dyn Clock,
    ) -> Result<Arc<Fetched>, DefinitionError> {
        match self {
            Self::Key(key) => store.get_blocking(key, Demand::Cached),
            Self::Inline(definition) => {
                Ok(Arc::new(Fetched::inline((**definition).clone(), clock)))
            }
        }
    }

    /// Compiles what was found. Inner workflows bring the key of this definition, or else the given
    /// one. Waits for the definitions that they name.
    pub(super) fn compile(
        &self,
        fetched: &Fetched,
        store: &DefinitionStore,
        api_key: Option<ApiKey>,
    ) -> Compiled {
        store.compile(fetched, self.key(), api_key)
    }

    /// The key, if that is what it has.
    pub(super) fn key(&self) -> Option<&DefinitionKey> {
        match self {
            Self::Key(key) => Some(key),
            Self::Inline(_) => None,
        }
    }

    /// What it is called.
    pub fn name(&self) -> String {
        match self {
            Self::Key(key) => key.to_string(),
            Self::Inline(_) => "inline".into(),
        }
    }
}

/// What happens to frames of live sources that find no room (server specification 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// The source waits.
    Wait,
    /// The oldest goes.
    DropOldest,
    /// The same; the reference looks at rates first.
    AdaptiveDropOldest,
    /// The newest goes.
    DropLatest,
    /// The same; the reference looks at rates first.
    AdaptiveDropLatest,
}

impl Filling {
    /// All, in the reference's order.
    pub const ALL: [Self; 5] = [
        Self::Wait,
        Self::DropOldest,
        Self::AdaptiveDropOldest,
        Self::DropLatest,
        Self::AdaptiveDropLatest,
    ];

    /// Name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wait => "WAIT",
            Self::DropOldest => "DROP_OLDEST",
            Self::AdaptiveDropOldest => "ADAPTIVE_DROP_OLDEST",
            Self::DropLatest => "DROP_LATEST",
            Self::AdaptiveDropLatest => "ADAPTIVE_DROP_LATEST",
        }
    }
}

/// Which of several waiting frames comes next (server specification 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumption {
    /// The oldest.
    Lazy,
    /// The newest; the others are dropped.
    Eager,
}

impl Consumption {
    /// All, in the reference's order.
    pub const ALL: [Self; 2] = [Self::Lazy, Self::Eager];

    /// Name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lazy => "LAZY",
            Self::Eager => "EAGER",
        }
    }
}

/// How frames of live sources wait. Recorded files always wait, whatever stands here: none of their
/// frames is ever left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffering {
    /// What happens when the buffer is full.
    pub filling: Option<Filling>,
    /// Which frame comes next.
    pub consumption: Option<Consumption>,
    /// Frames that may wait.
    pub size: usize,
}

impl Default for Buffering {
    fn default() -> Self {
        Self {
            filling: None,
            consumption: None,
            size: 64,
        }
    }
}

impl Buffering {
    /// Sets up a source. Eager consumption is a buffer of the newest frame; a lazy one holds as many
    /// as it may and hands on old ones too. A buffer that drops keeps the newest frames in any case:
    /// to keep the oldest would only make every result older. What an HTTP address is shows when it
    /// is connected, so there only `WAIT` can be meant for both.
    pub(super) fn apply(self, spec: &mut SourceSpec) {
        if !spec.uri.is_live() && !matches!(spec.uri, SourceUri::Http(_)) {
            return;
        }
        let capacity = self.size.max(1);
        if self.filling == Some(Filling::Wait) && self.consumption == Some(Consumption::Lazy) {
            spec.queue = Some(QueuePolicy::Wait { capacity });
            spec.staleness = None;
        } else if self.consumption == Some(Consumption::Lazy) && spec.uri.is_live() {
            spec.queue = Some(QueuePolicy::DropOldest { capacity });
            spec.staleness = None;
        }
    }
}

/// What a pipeline runs.
#[derive(Clone, Debug)]
pub struct PipelineSpec {
    /// Name; without one, a random identifier. The pipeline goes by it.
    pub name: Option<String>,
    /// The sources, each with its identifier; numbered from 0.
    pub sources: Vec<SourceSpec>,
    /// How frames of live sources wait.
    pub buffering: Buffering,
    /// Most frames per second, over all sources.
    pub max_fps: Option<f64>,
    /// How long a round of several sources waits for its frames.
    pub round_wait: Option<Duration>,
    /// The definition.
    pub definition: Wanted,
    /// The input that gets the frames; without one, the first for images.
    pub image_input: Option<String>,
    /// Parameters of the workflow.
    pub parameters: RuntimeInputs,
    /// Whether sinks do nothing.
    pub disable_sinks: bool,
    /// Most workers of a stage; `None` as the process says.
    pub stage_workers: Option<std::num::NonZeroUsize>,
    /// Results that may wait for a client.
    pub results: usize,
    /// What happens to those that find no room.
    pub results_policy: ResultsPolicy,
    /// What it gives besides.
    pub outputs: OutputsSpec,
    /// The pipeline ends if no client takes a result for so long.
    pub consumption_timeout: Option<Duration>,
    /// Whether the pipeline is tried again as long as it is not told to stop: a definition or a
    /// model that cannot be had, a source that gave up.
    pub persistent: bool,
}

impl PipelineSpec {
    /// A pipeline with the default settings.
    pub fn new(sources: Vec<SourceSpec>, definition: Wanted) -> Self {
        Self {
            name: None,
            sources,
            buffering: Buffering::default(),
            max_fps: None,
            round_wait: None,
            definition,
            image_input: None,
            parameters: RuntimeInputs::new(),
            disable_sinks: false,
            stage_workers: None,
            results: 64,
            results_policy: ResultsPolicy::default(),
            outputs: OutputsSpec::watchable(),
            consumption_timeout: None,
            persistent: false,
        }
    }

    /// The pace for so many sources. The rate counts frames of all sources, a round has one of each.
    pub(super) fn pace(&self, sources: usize) -> Pace {
        let interval = self
            .max_fps
            .map(|fps| sources as f64 / fps.max(0.01))
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Pace {
            wait: self.round_wait,
            interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(uri: &str, filling: Filling, consumption: Consumption) -> Option<QueuePolicy> {
        let mut spec = SourceSpec::new(uri.parse().unwrap());
        let buffering = Buffering {
            filling: Some(filling),
            consumption: Some(consumption),
            size: 8,
        };
        buffering.apply(&mut spec);
        spec.queue
    }

    #[test]
    fn files_are_never_thinned_and_cameras_do_as_they_are_told() {
        use Consumption::{Eager, Lazy};
        let camera = "rtsp://cam/a";
        for filling in Filling::ALL {
            assert_eq!(queue("./clip.mp4", filling, Eager), None);
            assert_eq!(queue(camera, filling, Eager), None);
        }
        let capacity = 8;
        let wait = Some(QueuePolicy::Wait { capacity });
        assert_eq!(queue(camera, Filling::Wait, Lazy), wait);
        assert_eq!(queue("http://cam/a", Filling::Wait, Lazy), wait);
        assert_eq!(queue("http://cam/a", Filling::DropOldest, Lazy), None);
        let drop = Some(QueuePolicy::DropOldest { capacity });
        assert_eq!(queue(camera, Filling::DropLatest, Lazy), drop);
    }

    #[test]
    fn the_rate_is_shared_by_the_sources() {
        let inline = Wanted::Inline(Arc::default());
        let mut spec = PipelineSpec::new(Vec::new(), inline);
        assert_eq!(spec.pace(1).interval, None);
        spec.max_fps = Some(4.0);
        assert_eq!(spec.pace(2).interval, Some(Duration::from_millis(500)));
    }
}
