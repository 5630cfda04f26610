//! Whether a client is still there.
//!
//! A client that is killed, or out of reach, says nothing about it: it is missed because no packet
//! comes from it any more. GStreamer's own checks (RFC 7675) take up to a minute for that, and their
//! times are not for setting. So packets are counted, and a client that has been silent for a third
//! of the patience is asked something that it cannot but acknowledge ([`Questions::ask`]). One that
//! does not answer within the rest is gone. Who cannot be asked is left to GStreamer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_webrtc::{WebRTCDataChannel, WebRTCDataChannelState};

/// Number of the channel that only this side knows. No client opens so many, and every SCTP has room
/// for it.
const CHANNEL: i32 = 1_000;

/// What is to be done about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Nothing.
    Well,
    /// It is to be asked whether it is there.
    Ask,
    /// It is gone.
    Gone,
}

/// See the module documentation.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    patience: Duration,
    /// Packets so far.
    packets: u64,
    /// When the last ones were seen.
    heard_at: Duration,
    /// Whether it was asked since.
    asked: bool,
}

impl Pulse {
    /// A client that is heard at `now`, and gone after a silence of `patience`.
    pub(super) fn new(now: Duration, patience: Duration) -> Self {
        Self {
            patience,
            packets: 0,
            heard_at: now,
            asked: false,
        }
    }

    /// Looks at a client from which so many packets came until `now`.
    pub(super) fn look(&mut self, packets: u64, now: Duration) -> Sign {
        if packets != self.packets {
            (self.packets, self.heard_at, self.asked) = (packets, now, false);
            return Sign::Well;
        }
        let silent = now.saturating_sub(self.heard_at);
        match self.asked {
            false if silent >= self.patience / 3 => Sign::Ask,
            true if silent >= self.patience => Sign::Gone,
            _ => Sign::Well,
        }
    }

    /// The client was asked.
    pub(super) fn asked(&mut self) {
        self.asked = true;
    }
}

/// Questions to a client, and its packets.
pub(super) struct Questions {
    channel: Option<WebRTCDataChannel>,
    packets: Arc<AtomicU64>,
}

impl Questions {
    /// For a `webrtcbin` that has no connection yet.
    pub(super) fn new(bin: &gst::Element) -> Self {
        let packets = Arc::new(AtomicU64::new(0));
        if let Some(bin) = bin.downcast_ref::<gst::Bin>() {
            let packets = packets.clone();
            bin.connect_deep_element_added(move |_, _, element| count_packets(element, &packets));
        }
        Self {
            channel: None,
            packets,
        }
    }

    /// Opens the channel for questions with the connection. This release of GStreamer lets channels
    /// have a number of their own only before it has seen the offer, which has to have a channel too.
    pub(super) fn prepare(&mut self, bin: &gst::Element) {
        let options = gst::Structure::builder("options")
            .field("negotiated", true)
            .field("id", CHANNEL)
            .build();
        self.channel = bin.emit_by_name("create-data-channel", &[&"millrace", &options]);
    }

    /// Packets so far, without those of ICE.
    pub(super) fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// Sends a byte on a channel that only this side knows: SCTP acknowledges it, and no application
    /// sees it. False if it cannot be sent now.
    pub(super) fn ask(&self) -> bool {
        let open = self
            .channel
            .as_ref()
            .filter(|channel| channel.ready_state() == WebRTCDataChannelState::Open);
        let question = glib::Bytes::from_static(&[0]);
        open.is_some_and(|channel| channel.send_data_full(Some(&question)).is_ok())
    }
}

/// Counts what an element gives, if it is the one that takes packets from the network.
fn count_packets(element: &gst::Element, packets: &Arc<AtomicU64>) {
    let takes_packets = element.factory().is_some_and(|f| f.name() == "nicesrc");
    let Some(pad) = element.static_pad("src").filter(|_| takes_packets) else {
        return;
    };
    let packets = packets.clone();
    let all = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(all, move |_, _| {
        packets.fetch_add(1, Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_silent_client_is_asked_and_then_gone() {
        let mut pulse = Pulse::new(SECOND, SECOND * 12);
        assert_eq!(pulse.look(5, SECOND * 2), Sign::Well);
        assert_eq!(pulse.look(5, SECOND * 5), Sign::Well);
        assert_eq!(pulse.look(5, SECOND * 6), Sign::Ask);
        pulse.asked();
        assert_eq!(pulse.look(5, SECOND * 13), Sign::Well);
        assert_eq!(pulse.look(5, SECOND * 14), Sign::Gone);
    }

    #[test]
    fn an_answer_begins_the_silence_anew() {
        let mut pulse = Pulse::new(SECOND, SECOND * 12);
        assert_eq!(pulse.look(0, SECOND * 5), Sign::Ask);
        pulse.asked();
        assert_eq!(pulse.look(1, SECOND * 6), Sign::Well);
        assert_eq!(pulse.look(1, SECOND * 9), Sign::Well);
        assert_eq!(pulse.look(1, SECOND * 10), Sign::Ask);
    }

    #[test]
    fn a_client_that_cannot_be_asked_is_not_given_up() {
        let mut pulse = Pulse::new(SECOND, SECOND * 12);
        assert_eq!(pulse.look(0, SECOND * 500), Sign::Ask);
        assert_eq!(pulse.look(0, SECOND * 900), Sign::Ask);
    }
}
