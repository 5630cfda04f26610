//! Whether a client is still there.
//!
//! A client that is killed, or out of reach, says nothing about it: it is missed because no packet
//! comes from it any more. GStreamer's own checks (RFC 7675) take up to a minute for that, and their
//! times are not for setting. So packets are counted, and a client that has been silent for a third
//! of the patience is asked something that it cannot but acknowledge ([`Questions::ask`]). One that
//! does not answer within the rest is gone.
//!
//! Who cannot be asked, having no data channel, is judged by its habit: the RTCP reports that a
//! client sends by itself, whether it sends or receives media or has paused (RFC 3550, section 6.2).
//! Once several came, a silence that is long against the patience and against every pause between
//! them means that it is gone. A goodbye for a track ends the habit. Who has none is left to
//! GStreamer.

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

/// Reports that make a habit.
const HABIT: u32 = 5;
/// Longest pauses between reports that have to pass in silence: one or two may get lost.
const PAUSES: u32 = 3;

/// What came from a client so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Packets, without those of ICE.
    pub(super) packets: u64,
    /// Those of them that are RTCP reports of a sender or a receiver.
    pub(super) reports: u64,
    /// Tracks to which it said goodbye.
    pub(super) goodbyes: u64,
}

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
    /// What came so far.
    heard: Heard,
    /// When the last packets were seen.
    heard_at: Duration,
    /// Whether it was asked since.
    asked: bool,
    habit: Habit,
}

/// How a client sends reports.
#[derive(Clone, Copy, Debug, Default)]
struct Habit {
    reports: u32,
    last_at: Duration,
    longest_pause: Duration,
}

impl Habit {
    fn note(&mut self, now: Duration) {
        if self.reports > 0 {
            let pause = now.saturating_sub(self.last_at);
            self.longest_pause = self.longest_pause.max(pause);
        }
        self.reports = self.reports.saturating_add(1);
        self.last_at = now;
    }

    /// The silence that is out of keeping with it, if it is one.
    fn limit(&self) -> Option<Duration> {
        (self.reports >= HABIT).then(|| self.longest_pause * PAUSES)
    }
}

impl Pulse {
    /// A client that is heard at `now`, and gone after a silence of `patience`.
    pub(super) fn new(now: Duration, patience: Duration) -> Self {
        Self {
            patience,
            heard: Heard::default(),
            heard_at: now,
            asked: false,
            habit: Habit::default(),
        }
    }

    /// Looks at a client from which so much came until `now`.
    pub(super) fn look(&mut self, heard: Heard, now: Duration) -> Sign {
        let before = std::mem::replace(&mut self.heard, heard);
        if heard.goodbyes != before.goodbyes {
            self.habit = Habit::default();
        } else if heard.reports != before.reports {
            self.habit.note(now);
        }
        if heard.packets != before.packets {
            (self.heard_at, self.asked) = (now, false);
            return Sign::Well;
        }
        let silent = now.saturating_sub(self.heard_at);
        let unlike_it = self.habit.limit().is_some_and(|limit| silent >= limit);
        match silent >= self.patience {
            true if self.asked || unlike_it => Sign::Gone,
            _ if !self.asked && silent >= self.patience / 3 => Sign::Ask,
            _ => Sign::Well,
        }
    }

    /// The client was asked.
    pub(super) fn asked(&mut self) {
        self.asked = true;
    }
}

/// Questions to a client, and what comes from it.
pub(super) struct Questions {
    channel: Option<WebRTCDataChannel>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    packets: AtomicU64,
    reports: AtomicU64,
    goodbyes: AtomicU64,
}

impl Questions {
    /// For a `webrtcbin` that has no connection yet.
    pub(super) fn new(bin: &gst::Element) -> Self {
        let counts = Arc::<Counts>::default();
        if let Some(bin) = bin.downcast_ref::<gst::Bin>() {
            for element in bin.iterate_recurse().into_iter().flatten() {
                attend(&element, &counts);
            }
            let counts = counts.clone();
            bin.connect_deep_element_added(move |_, _, element| attend(element, &counts));
        }
        Self {
            channel: None,
            counts,
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

    /// What came so far.
    pub(super) fn heard(&self) -> Heard {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Heard {
            packets: read(&self.counts.packets),
            reports: read(&self.counts.reports),
            goodbyes: read(&self.counts.goodbyes),
        }
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

/// Counts what an element knows of the client, if it is the one that takes packets from the network,
/// or the one that understands them.
fn attend(element: &gst::Element, counts: &Arc<Counts>) {
    let name = element.factory().map(|factory| factory.name());
    match name.as_deref() {
        Some("nicesrc") => count_packets(element, counts),
        Some("rtpbin") => {
            let counts = counts.clone();
            element.connect("on-bye-ssrc", false, move |_| {
                counts.goodbyes.fetch_add(1, Ordering::Relaxed);
                None
            });
        }
        _ => {}
    }
}

fn count_packets(source: &gst::Element, counts: &Arc<Counts>) {
    let Some(pad) = source.static_pad("src") else {
        return;
    };
    let counts = counts.clone();
    let all = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(all, move |_, info| {
        let count = |packet: &gst::BufferRef| {
            let mut first = [0; 2];
            let whole = packet.copy_to_slice(0, &mut first).is_ok();
            let reports = u64::from(whole && is_report(first));
            counts.packets.fetch_add(1, Ordering::Relaxed);
            counts.reports.fetch_add(reports, Ordering::Relaxed);
        };
        match &info.data {
            Some(gst::PadProbeData::Buffer(packet)) => count(packet),
            Some(gst::PadProbeData::BufferList(packets)) => packets.iter().for_each(count),
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// Whether a packet that begins so is a report of a sender (200) or a receiver (201): RFC 5761,
/// section 4. What stands there is not encrypted.
fn is_report(first: [u8; 2]) -> bool {
    first[0] >> 6 == 2 && matches!(first[1], 200 | 201)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Packets that are no reports.
    fn packets(packets: u64) -> Heard {
        Heard {
            packets,
            ..Heard::default()
        }
    }

    /// A client that sent so many reports, one every `pause` from `pause` on.
    fn reporting(reports: u32, pause: Duration) -> (Pulse, Heard) {
        let mut pulse = Pulse::new(Duration::ZERO, SECOND * 12);
        let mut heard = Heard::default();
        for n in 1..=reports {
            heard.packets += 1;
            heard.reports += 1;
            assert_eq!(pulse.look(heard, pause * n), Sign::Well);
        }
        (pulse, heard)
    }

    #[test]
    fn a_silent_client_is_asked_and_then_gone() {
        let mut pulse = Pulse::new(SECOND, SECOND * 12);
        assert_eq!(pulse.look(packets(5), SECOND * 2), Sign::Well);
        assert_eq!(pulse.look(packets(5), SECOND * 5), Sign::Well);
        assert_eq!(pulse.look(packets(5), SECOND * 6), Sign::Ask);
        pulse.asked();
        assert_eq!(pulse.look(packets(5), SECOND * 13), Sign::Well);
        assert_eq!(pulse.look(packets(5), SECOND * 14), Sign::Gone);
    }

    #[test]
    fn an_answer_begins_the_silence_anew() {
        let mut pulse = Pulse::new(SECOND, SECOND * 12);
        assert_eq!(pulse.look(packets(0), SECOND * 5), Sign::Ask);
        pulse.asked();
        assert_eq!(pulse.look(packets(1), SECOND * 6), Sign::Well);
        assert_eq!(pulse.look(packets(1), SECOND * 9), Sign::Well);
        assert_eq!(pulse.look(packets(1), SECOND * 10), Sign::Ask);
    }

    #[test]
    fn who_cannot_be_asked_and_has_no_habit_is_not_given_up() {
        let mut pulse = Pulse::new(SECOND, SECOND * 12);
        assert_eq!(pulse.look(packets(0), SECOND * 500), Sign::Ask);
        assert_eq!(pulse.look(packets(0), SECOND * 900), Sign::Ask);
        // Media alone is no habit: a track may be paused.
        assert_eq!(pulse.look(packets(90_000), SECOND * 901), Sign::Well);
        assert_eq!(pulse.look(packets(90_000), SECOND * 1_500), Sign::Ask);
        let (mut few, heard) = reporting(HABIT - 1, SECOND);
        assert_eq!(few.look(heard, SECOND * 500), Sign::Ask);
    }

    #[test]
    fn who_reports_and_then_says_nothing_is_gone_without_a_question() {
        let (mut pulse, heard) = reporting(HABIT, SECOND);
        let last = SECOND * HABIT;
        assert_eq!(pulse.look(heard, last + SECOND * 11), Sign::Ask);
        assert_eq!(pulse.look(heard, last + SECOND * 12), Sign::Gone);
        // Who paused its media goes on reporting.
        let (mut pulse, mut heard) = reporting(HABIT, SECOND);
        for second in 1..60 {
            heard.packets += 1;
            heard.reports += 1;
            assert_eq!(pulse.look(heard, last + SECOND * second), Sign::Well);
        }
    }

    #[test]
    fn who_reports_seldom_is_given_longer() {
        let (mut pulse, heard) = reporting(HABIT, SECOND * 6);
        let last = SECOND * 6 * HABIT;
        assert_eq!(pulse.look(heard, last + SECOND * 17), Sign::Ask);
        assert_eq!(pulse.look(heard, last + SECOND * 18), Sign::Gone);
    }

    #[test]
    fn a_goodbye_ends_the_habit() {
        let (mut pulse, mut heard) = reporting(HABIT + 9, SECOND);
        heard.goodbyes += 1;
        assert_eq!(pulse.look(heard, SECOND * 15), Sign::Well);
        assert_eq!(pulse.look(heard, SECOND * 500), Sign::Ask);
    }

    #[test]
    fn reports_are_told_from_media_and_from_handshakes() {
        for (first, is) in [
            ([0x80, 200], true),
            ([0x81, 201], true),
            ([0x8f, 205], false),
            ([0x80, 96], false),
            ([0x80, 96 | 0x80], false),
            ([22, 254], false),
            ([23, 200], false),
        ] {
            assert_eq!(is_report(first), is, "{first:?}");
        }
    }
}
