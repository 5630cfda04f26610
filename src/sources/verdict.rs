//! What the messages of a pipeline mean for the source: nothing, its end, or a failure.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::decoder;
use super::gst::{Situation, classify, clause, missing_plugin, refuses_transport};
use super::queue::Ending;
use super::running::Running;
use super::shared::Shared;
use super::supervisor::Signal;
use super::{LostReason, RtspTransport, SourceError, SourceUri};
use crate::redact::scrub;

/// How an attempt ended.
pub(crate) enum Outcome {
    /// The source was closed.
    Closed,
    /// The last frame was given.
    Ended(Ending),
    /// No frame comes any more, or none came.
    Failed(SourceError),
    /// A decoder failed that there is another for.
    OtherDecoder,
}

/// Listens to one pipeline.
pub(crate) struct Listener {
    shared: Arc<Shared>,
    warned: Option<String>,
    missing: Option<SourceError>,
    /// Whether the server wants the other way of RTP packets.
    pub other_way: bool,
}

impl Listener {
    /// For a new pipeline.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            warned: None,
            missing: None,
            other_way: false,
        }
    }

    /// Hears a signal; says how the attempt ended if it did.
    pub(crate) fn hear(&mut self, signal: Signal, running: Option<&Running>) -> Option<Outcome> {
        let message = match signal {
            Signal::Close => return Some(Outcome::Closed),
            Signal::Fault(error) => return Some(Outcome::Failed(error)),
            Signal::Reach(_) => return None,
            Signal::Bus(message) => message,
        };
        match message.view() {
            gst::MessageView::Error(error) => {
                if let Some(name) = decoder::sender(&message)
                    && self.shared.give_up_decoder(&name)
                {
                    return Some(Outcome::OtherDecoder);
                }
                let debug = error.debug().unwrap_or_default();
                let unheard = running.is_some_and(Running::offers_no_video);
                if refuses_transport(&error.error()) && unheard {
                    return Some(Outcome::Failed(SourceError::NotVideo {
                        source_name: self.shared.name.clone(),
                        reason: "it has no video stream".to_owned(),
                    }));
                }
                Some(Outcome::Failed(self.failure(&error.error(), &debug)))
            }
            gst::MessageView::Warning(warning) => {
                self.warned = Some(warning.error().message().to_owned());
                None
            }
            gst::MessageView::Eos(_) => Some(self.end_of_stream()),
            gst::MessageView::Latency(_) => {
                if let Some(running) = running {
                    let _ = running.pipeline.recalculate_latency();
                }
                None
            }
            gst::MessageView::Element(_) => {
                self.missing = missing_plugin(&message, &self.shared.name).or(self.missing.take());
                None
            }
            _ => None,
        }
    }

    /// What an error of the pipeline means.
    fn failure(&mut self, error: &gst::glib::Error, details: &str) -> SourceError {
        let spec = &self.shared.spec;
        if matches!(spec.uri, SourceUri::Rtsp(_))
            && spec.rtsp.transport == RtspTransport::Auto
            && refuses_transport(error)
        {
            self.other_way = true;
        }
        if let Some(missing) = self.missing.take() {
            return missing;
        }
        let situation = Situation {
            uri: &spec.uri,
            name: &self.shared.name,
            live: self.shared.is_live(),
            frames: self.shared.frames_of_connection(),
        };
        tracing::debug!(stream = %self.shared.identifier, "gstreamer: {}", scrub(details));
        classify(error, details, &situation)
    }

    /// The end of a file, or a live stream that went away.
    fn end_of_stream(&mut self) -> Outcome {
        let source_name = self.shared.name.clone();
        let frames = self.shared.frames_of_connection();
        if let (Some(missing), 0) = (&self.missing, frames) {
            return Outcome::Failed(missing.clone());
        }
        if self.shared.is_live() && !endless_by_choice(&self.shared.spec.uri) {
            let reason = match self.warned.take() {
                Some(warning) => LostReason::Failed(clause(&warning)),
                None => LostReason::Ended,
            };
            return Outcome::Failed(SourceError::Lost {
                source_name,
                reason,
            });
        }
        if frames == 0 {
            return Outcome::Failed(SourceError::Corrupt {
                source_name,
                frames,
                reason: "it ended without a single frame".to_owned(),
            });
        }
        let progress = self.shared.progress();
        let info = progress.info.as_ref();
        Outcome::Ended(Ending {
            frames: progress.frames,
            expected: info.and_then(|i| i.total_frames),
            listed: info.is_some_and(|i| i.frames_listed),
        })
    }
}

/// A live test picture with a number of frames really ends.
fn endless_by_choice(uri: &SourceUri) -> bool {
    matches!(uri, SourceUri::Pattern(pattern) if pattern.frames.is_some())
}
