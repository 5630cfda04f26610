//! A pipeline at work: started, looked at, shut down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::SourceError;
use super::chain::Chain;
use super::feed::Feeder;
use super::shared::Shared;
use super::supervisor::Signal;
use crate::redact::Redacted;

/// How often a pipeline is looked at. It may go from connecting to running in between, which changes
/// how long it may be silent.
pub(crate) const LOOK: Duration = Duration::from_millis(200);

/// How long what was read of a file may take to its first frame.
const DRAIN: Duration = Duration::from_secs(2);

/// How long shutting a pipeline down is waited for. One that takes longer goes by itself.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// A started pipeline; shut down when dropped.
pub(crate) struct Running {
    /// The whole.
    pub pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    video_offered: Arc<AtomicBool>,
    retired: Arc<AtomicBool>,
}

impl Running {
    /// Starts a pipeline that feeds the source's queue.
    pub(crate) fn start(
        chain: Chain,
        shared: &Arc<Shared>,
        signals: &Sender<Signal>,
    ) -> Result<Self, String> {
        let Chain {
            pipeline,
            sink,
            video_offered,
        } = chain;
        let retired = Arc::new(AtomicBool::new(false));
        let mut feeder = Feeder::new(shared.clone(), signals.clone(), retired.clone());
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| feeder.take(sink))
                .build(),
        );
        let running = Self {
            pipeline,
            sink,
            video_offered,
            retired,
        };
        if let Some(bus) = running.pipeline.bus() {
            let signals = signals.clone();
            bus.set_sync_handler(move |_, message| {
                if is_of_interest(message) {
                    let _ = signals.try_send(Signal::Bus(message.clone()));
                }
                gst::BusSyncReply::Drop
            });
        }
        match running.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(running),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Running {
    /// What is wrong with a file whose reading ended without a word and without a frame, `idle` after
    /// the start. A demuxer that gives up while `decodebin` is just connecting it is not heard: its
    /// error is taken for that of a trial. And a stream that is no video may end where nobody listens.
    pub(crate) fn gave_up(&self, idle: Duration, name: &Redacted) -> Option<SourceError> {
        let (reads, queues) = self.at_work();
        let source_name = name.clone();
        if idle < 2 * LOOK || reads || (queues && idle < DRAIN) {
            return None;
        }
        let media = self.media().unwrap_or_default();
        if media.starts_with("text/") || media.starts_with("audio/") {
            let reason = format!("it is {media}");
            return Some(SourceError::NotVideo {
                source_name,
                reason,
            });
        }
        Some(SourceError::Corrupt {
            source_name,
            frames: 0,
            reason: "reading stopped before the first frame".to_owned(),
        })
    }

    /// The media type that was recognised.
    fn media(&self) -> Option<String> {
        let elements = self.pipeline.iterate_recurse().into_iter().flatten();
        elements
            .filter(|e| e.factory().is_some_and(|f| f.name() == "typefind"))
            .find_map(|e| {
                let caps = e.static_pad("src")?.current_caps()?;
                Some(caps.structure(0)?.name().to_string())
            })
    }

    /// Whether the other side has no video among its streams.
    pub(crate) fn offers_no_video(&self) -> bool {
        !self.video_offered.load(Ordering::Relaxed)
    }

    /// Whether a thread of the pipeline reads, and whether one empties a queue.
    fn at_work(&self) -> (bool, bool) {
        let (mut reads, mut queues) = (false, false);
        for element in self.pipeline.iterate_recurse().into_iter().flatten() {
            let pads = element.pads();
            if pads
                .iter()
                .any(|p| p.task_state() == gst::TaskState::Started)
            {
                let is_queue = element
                    .factory()
                    .is_some_and(|f| f.name().contains("queue"));
                reads |= !is_queue;
                queues |= is_queue;
            }
        }
        (reads, queues)
    }
}

impl Drop for Running {
    /// Shuts the pipeline down in a thread of its own: a driver or a server may hold it.
    fn drop(&mut self) {
        self.retired.store(true, Ordering::Relaxed);
        let (pipeline, sink) = (self.pipeline.clone(), self.sink.clone());
        let (done, finished) = crossbeam_channel::bounded(1);
        let spawned = std::thread::Builder::new()
            .name("source:shutdown".to_owned())
            .spawn(move || {
                shut_down(&pipeline, &sink);
                let _ = done.send(());
            });
        if spawned.is_err() {
            shut_down(&self.pipeline, &self.sink);
        } else if finished.recv_timeout(SHUTDOWN).is_err() {
            tracing::warn!("a pipeline takes long to shut down and is left to itself");
        }
    }
}

fn shut_down(pipeline: &gst::Pipeline, sink: &gst_app::AppSink) {
    if let Err(error) = pipeline.set_state(gst::State::Null) {
        tracing::warn!(%error, "a pipeline could not be shut down");
    }
    if let Some(bus) = pipeline.bus() {
        bus.unset_sync_handler();
    }
    sink.set_callbacks(gst_app::AppSinkCallbacks::builder().build());
}

fn is_of_interest(message: &gst::Message) -> bool {
    use gst::MessageType as T;
    match message.type_() {
        T::Error | T::Warning | T::Eos | T::Latency => true,
        T::Element => message
            .structure()
            .is_some_and(|s| s.name() == "missing-plugin"),
        _ => false,
    }
}
