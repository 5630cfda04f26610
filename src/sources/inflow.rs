//! A source whose packets come over a connection that somebody else keeps: a media track of a WebRTC
//! session.
//!
//! [`Source::of_track`] gives the source and its [`Inflow`]. Whoever keeps the connection hands the
//! pad of the track to [`Inflow::connect`] and says with [`Inflow::end`] that nothing comes any more.
//! Frames are decoded, numbered, timed and dropped by the same rules as those of a camera; a silence
//! is no loss, because the sender of a track may pause.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use crossbeam_channel::Receiver;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::chain::{internal, tail};
use super::feed::Feeder;
use super::gst::init;
use super::name::Name;
use super::queue::Ending;
use super::shared::{Shared, SourceState};
use super::supervisor::Signal;
use super::{Source, SourceError, SourceSpec, rtsp};
use crate::clock::Clock;

/// The way into a source without a connection of its own; see the module documentation.
pub struct Inflow {
    shared: Arc<Shared>,
    signals: crossbeam_channel::Sender<Signal>,
    /// What is wrong with single frames is for a supervisor to hear, and there is none.
    _unheard: Receiver<Signal>,
}

impl Source {
    /// A live source for the packets of a track, and the way in. `spec` names it
    /// ([`super::SourceUri::Track`]).
    ///
    /// # Errors
    /// If the settings make no sense or GStreamer does not start.
    pub fn of_track(
        spec: SourceSpec,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Inflow), SourceError> {
        spec.check()?;
        init()?;
        let source_name = spec.uri.redacted();
        let name = Name::take(spec.video_identifier.clone(), &spec.uri.name());
        let shared = Arc::new(Shared::new(spec, name.get().clone(), source_name, clock));
        let (signals, unheard) = crossbeam_channel::bounded(1);
        let source = Self {
            shared: shared.clone(),
            // Nobody has to be told that the source is closed: the queue refuses the next frame.
            signals: crossbeam_channel::bounded(0).0,
            thread: Mutex::new(None),
            _name: name,
        };
        let inflow = Inflow {
            shared,
            signals,
            _unheard: unheard,
        };
        Ok((source, inflow))
    }
}

impl Inflow {
    /// Decodes the RTP packets of a pad into the source. The elements become part of `pipeline`.
    ///
    /// # Errors
    /// If the packets hold no video that can be decoded here.
    pub fn connect(&self, pipeline: &gst::Pipeline, pad: &gst::Pad) -> Result<(), SourceError> {
        let shared = &self.shared;
        let (entry, sink) = tail(pipeline, &shared.spec, &shared.name)?;
        // The pipeline plays already and waits for nobody's first frame.
        sink.set_property("async", false);
        let retired = Arc::new(AtomicBool::new(false));
        let mut feeder = Feeder::new(shared.clone(), self.signals.clone(), retired);
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| feeder.take(sink))
                .build(),
        );
        let convert = entry.parent_element();
        for element in [Some(sink.upcast()), convert].into_iter().flatten() {
            element.sync_state_with_parent().map_err(internal)?;
        }
        let elements = rtsp::decode(pipeline, &entry, pad, shared)?;
        if let Some(unpacker) = elements.first() {
            // A picture that was lost is asked for anew instead of being patched up.
            for property in ["request-keyframe", "wait-for-keyframe"] {
                if unpacker.find_property(property).is_some() {
                    unpacker.set_property(property, true);
                }
            }
        }
        Ok(())
    }

    /// The track is over: the source ends behind its last frame.
    pub fn end(&self) {
        let frames = self.shared.progress().frames;
        self.shared.set_state(SourceState::Ended);
        self.shared.queue.finish(Ok(Ending {
            frames,
            expected: None,
            listed: false,
        }));
    }
}
