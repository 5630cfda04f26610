//! Whether the frames of a connection are any good: time stamps that stand still and runs of damaged
//! frames are faults that a new connection usually heals.
//!
//! A connection that never was better is left alone: a camera without a clock, or behind a bad line,
//! still gives pictures.

use std::time::Duration;

use super::LostReason;

/// Frames in a row before anything is concluded.
const RUN: u32 = 10;
/// Equal time stamps in a row from which they are not believed any more.
const EQUAL: u32 = 3;

/// Judges the frames of one connection.
#[derive(Debug)]
pub(crate) struct Health {
    limit: Duration,
    stamp: Option<Duration>,
    stuck: Spell,
    damaged: Spell,
}

/// A run of frames with the same fault.
#[derive(Debug, Default)]
struct Spell {
    began: Duration,
    frames: u32,
    /// Whether there was a frame without the fault before.
    after_good: bool,
}

impl Spell {
    /// Notes a frame; how long the fault lasts if it has lasted too long.
    fn note(&mut self, fault: bool, arrived: Duration, limit: Duration) -> Option<Duration> {
        if !fault {
            self.frames = 0;
            self.after_good = true;
            return None;
        }
        if self.frames == 0 {
            self.began = arrived;
        }
        self.frames += 1;
        let lasted = arrived.saturating_sub(self.began);
        (self.after_good && self.frames >= RUN && lasted >= limit).then_some(lasted)
    }
}

impl Health {
    /// For a new connection; a fault may last for `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            stamp: None,
            stuck: Spell::default(),
            damaged: Spell::default(),
        }
    }

    /// Notes a frame; says why the connection is no good any more.
    pub(crate) fn note(
        &mut self,
        stamp: Option<Duration>,
        damaged: bool,
        arrived: Duration,
    ) -> Option<LostReason> {
        let equal = stamp.is_some() && stamp == self.stamp;
        let first = self.stamp.is_none();
        self.stamp = stamp;
        let spoilt = self.damaged.note(damaged, arrived, self.limit);
        if first {
            return spoilt.map(LostReason::Damaged);
        }
        self.stuck
            .note(equal, arrived, self.limit)
            .map(LostReason::Stuck)
            .or(spoilt.map(LostReason::Damaged))
    }

    /// Whether the time stamps tell nothing at the moment.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck.frames >= EQUAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Reasons found in frames of (time stamp, damaged), 100 ms apart.
    fn found(frames: impl IntoIterator<Item = (Duration, bool)>) -> Vec<LostReason> {
        let mut health = Health::new(LIMIT);
        let frames = frames.into_iter().enumerate();
        frames
            .filter_map(|(i, (stamp, damaged))| {
                health.note(Some(stamp), damaged, ms(100 * i as u64))
            })
            .collect()
    }

    #[test]
    fn time_stamps_that_stood_still_for_too_long_are_a_reason() {
        let moving = (0..10).map(|i| (ms(100 * i), false));
        let still = |n| std::iter::repeat_n((ms(5000), false), n);
        assert_eq!(found(moving.clone()), []);
        assert_eq!(found(moving.clone().chain(still(20))), []);
        let reasons = found(moving.chain(still(22)));
        assert_eq!(reasons, [LostReason::Stuck(LIMIT)]);
        assert_eq!(found(still(100)), [], "it never was better");
    }

    #[test]
    fn a_run_of_damaged_frames_is_a_reason() {
        let frames = |damaged: &dyn Fn(u64) -> bool| -> Vec<_> {
            (0..60).map(|i| (ms(100 * i), damaged(i))).collect()
        };
        assert_eq!(found(frames(&|i| i % 5 != 0)), []);
        assert_eq!(found(frames(&|_| true)), [], "it never was better");
        let reasons = found(frames(&|i| (10..31).contains(&i)));
        assert_eq!(reasons, [LostReason::Damaged(LIMIT)]);
    }

    #[test]
    fn equal_time_stamps_are_soon_not_believed() {
        let mut health = Health::new(LIMIT);
        for i in 0..6 {
            health.note(Some(ms(40 * i.min(2))), false, ms(40 * i));
        }
        assert!(health.is_stuck());
        health.note(Some(ms(400)), false, ms(400));
        assert!(!health.is_stuck());
    }
}
