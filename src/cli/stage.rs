//! Arguments of the commands that run streams: how their stages work, and who is told of it.

use std::num::NonZeroUsize;

use clap::Args;

use super::LoadError;
use crate::blocks::Services;
use crate::telemetry::{Settings, Tracer};

/// How the stages of streams work, and who is told of it.
#[derive(Clone, Debug, Default, Args)]
pub struct StageArgs {
    /// Most threads that work on one stage of a stream: heavy steps that remember nothing take
    /// several frames at once, which still come out in order [default: the cores, at most 4].
    #[arg(long, env = "MILLRACE_STAGE_WORKERS", value_name = "N")]
    stage_workers: Option<NonZeroUsize>,
    /// Collector of OpenTelemetry traces (OTLP over HTTP), e.g. http://127.0.0.1:4318: each frame
    /// and each request that is sampled is told to it. The standard variables OTEL_* hold too.
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
}

impl StageArgs {
    /// The services with what the arguments and the environment say.
    ///
    /// # Errors
    /// If a variable makes no sense or the address of the collector cannot be used.
    pub(super) fn apply(&self, services: Services) -> Result<Services, LoadError> {
        let look = |name: &str| std::env::var(name).ok();
        let settings = Settings::from_env(look, self.otlp.as_deref())?;
        let tracer = Tracer::start(settings, services.clock.clone())?;
        Ok(Services {
            stage_workers: self.stage_workers,
            tracer,
            ..services
        })
    }
}
