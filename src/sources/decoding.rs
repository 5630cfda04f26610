//! How long the decoder has each frame: from when it takes the encoded unit until the picture is out.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Units that a decoder may hold back; of those that never come out the oldest are forgotten.
const HELD: usize = 64;

/// When units that are in the decoder went in, by their time stamp.
#[derive(Debug, Default)]
pub(crate) struct DecodeTimes(Mutex<VecDeque<(u64, Duration)>>);

impl DecodeTimes {
    /// A unit with a time stamp goes in.
    pub(crate) fn enter(&self, stamp: u64, now: Duration) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= HELD {
            held.pop_front();
        }
        held.push_back((stamp, now));
    }

    /// The picture with a time stamp is out: how long that took.
    pub(crate) fn leave(&self, stamp: u64, now: Duration) -> Option<Duration> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Units of one stamp (fields, slices) count from the first.
        let at = held.iter().position(|(known, _)| *known == stamp)?;
        let (_, entered) = held.remove(at)?;
        held.retain(|(known, _)| *known != stamp);
        Some(now.saturating_sub(entered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_find_their_units_whatever_their_order() {
        let ms = Duration::from_millis;
        let times = DecodeTimes::default();
        for (stamp, at) in [(0, 1), (40, 2), (20, 3), (20, 4)] {
            times.enter(stamp, ms(at));
        }
        assert_eq!(times.leave(0, ms(11)), Some(ms(10)));
        assert_eq!(times.leave(20, ms(13)), Some(ms(10)));
        assert_eq!(times.leave(40, ms(22)), Some(ms(20)));
        assert_eq!(times.leave(40, ms(23)), None);
        (0..200).for_each(|stamp| times.enter(1000 + stamp, ms(50)));
        assert_eq!(times.leave(1000, ms(60)), None, "forgotten");
        assert_eq!(times.leave(1199, ms(60)), Some(ms(10)));
    }
}
