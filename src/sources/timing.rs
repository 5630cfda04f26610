//! The times of frames: one time line over all connections, measured rates, even thinning. Nothing
//! here asks what time it is.

use std::collections::VecDeque;
use std::time::Duration;

/// How far the time stamps of a live stream may leave the clock before they are taken for a jump
/// (a camera that sets its clock).
const JUMP: Duration = Duration::from_secs(5);

/// How far they may go back. Frames that overtook each other go back by a few frames.
const BACK: Duration = Duration::from_millis(500);

/// One line of time through all connections of a source: starts at 0 with the first frame, follows
/// the stream's own time stamps, never goes back, and counts outages at their real length.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    live: bool,
    first_arrival: Option<Duration>,
    last: Option<(Duration, Duration)>,
    last_running: Option<Duration>,
    stretch: Option<Stretch>,
}

/// A piece of stream without a gap: its own time `from` lies at `base`.
#[derive(Debug)]
struct Stretch {
    base: Duration,
    from: Duration,
    stamped: bool,
}

impl Timeline {
    /// The line of a source; `live` ones are held to the clock.
    pub(crate) fn new(live: bool) -> Self {
        Self {
            live,
            ..Self::default()
        }
    }

    /// Whether the source is live, if that is known only later.
    pub(crate) fn set_live(&mut self, live: bool) {
        self.live = live;
    }

    /// The next frame belongs to a new connection, whose time stamps start anew.
    pub(crate) fn reconnect(&mut self) {
        self.stretch = None;
        self.last_running = None;
    }

    /// Puts a frame on the line: `running` is its time in its connection, `arrived` the clock,
    /// `period` the time between frames.
    pub(crate) fn place(
        &mut self,
        running: Option<Duration>,
        arrived: Duration,
        period: Duration,
    ) -> Duration {
        let first_arrival = *self.first_arrival.get_or_insert(arrived);
        let since_start = arrived.saturating_sub(first_arrival);
        let mut time = self.in_stretch(running, arrived, period);
        if let Some((last, last_arrival)) = self.last
            && self.live
        {
            let passed = arrived.saturating_sub(last_arrival);
            let jumped = |t: Duration| t > last + passed + JUMP || t + JUMP < last + passed;
            let went_back = running
                .zip(self.last_running)
                .is_some_and(|(now, before)| now + BACK < before);
            if went_back || time.is_some_and(jumped) {
                time = None;
            }
        }
        let time = time.unwrap_or_else(|| {
            let base = match self.last {
                Some((last, _)) => since_start.max(last + period),
                None => Duration::ZERO,
            };
            self.stretch = Some(Stretch {
                base,
                from: running.unwrap_or(arrived),
                stamped: running.is_some(),
            });
            base
        });
        let time = match self.last {
            Some((last, _)) => time.max(last + Duration::from_micros(1)),
            None => time,
        };
        self.last = Some((time, arrived));
        self.last_running = running;
        time
    }

    fn in_stretch(
        &self,
        running: Option<Duration>,
        arrived: Duration,
        period: Duration,
    ) -> Option<Duration> {
        let stretch = self.stretch.as_ref()?;
        let own = if stretch.stamped {
            running
        } else {
            Some(arrived)
        };
        match own {
            Some(own) => Some(stretch.base + own.saturating_sub(stretch.from)),
            None => self.last.map(|(last, _)| last + period),
        }
    }
}

/// Frames per second over the last arrivals.
#[derive(Debug, Default)]
pub(crate) struct RateMeter {
    arrivals: VecDeque<Duration>,
}

impl RateMeter {
    /// Arrivals looked back on (the reference uses 10 × 10).
    const WINDOW: usize = 100;

    /// Notes an arrival.
    pub(crate) fn tick(&mut self, arrived: Duration) {
        if self.arrivals.len() == Self::WINDOW {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(arrived);
    }

    /// Forgets everything: a gap is no rate.
    pub(crate) fn reset(&mut self) {
        self.arrivals.clear();
    }

    /// The rate, from the second arrival on.
    pub(crate) fn rate(&self) -> Option<f64> {
        let span = self
            .arrivals
            .back()?
            .saturating_sub(*self.arrivals.front()?);
        let steps = self.arrivals.len() - 1;
        (steps > 0 && !span.is_zero()).then(|| steps as f64 / span.as_secs_f64())
    }
}

/// Picks frames so that no more than a given number remain per second, evenly spread.
#[derive(Debug)]
pub(crate) struct Thinner {
    period: Duration,
    due: Option<Duration>,
}

impl Thinner {
    /// Keeps at most `max_fps` frames per second.
    pub(crate) fn new(max_fps: f64) -> Self {
        Self {
            period: Duration::from_secs_f64((1.0 / max_fps).min(86_400.0)),
            due: None,
        }
    }

    /// Whether to keep the frame at `time` of a stream with a frame each `spacing`. Half a spacing is
    /// allowed for jitter.
    pub(crate) fn keep(&mut self, time: Duration, spacing: Duration) -> bool {
        let due = *self.due.get_or_insert(time);
        if time + spacing.min(self.period) / 2 < due {
            return false;
        }
        let next = due + self.period;
        self.due = Some(if next + self.period < time {
            time + self.period
        } else {
            next
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn time_goes_on_over_a_reconnect_by_the_length_of_the_outage() {
        let mut line = Timeline::new(true);
        let at = |line: &mut Timeline, running, arrived| line.place(Some(running), arrived, ms(40));
        assert_eq!(at(&mut line, ms(200), ms(5000)), ms(0));
        assert_eq!(at(&mut line, ms(240), ms(5039)), ms(40));
        line.reconnect();
        assert_eq!(at(&mut line, ms(0), ms(8000)), ms(3000));
        assert_eq!(at(&mut line, ms(40), ms(8041)), ms(3040));
    }

    #[test]
    fn time_never_goes_back_and_survives_a_jump_of_the_camera_clock() {
        let mut line = Timeline::new(true);
        line.place(Some(ms(0)), ms(0), ms(40));
        let second = line.place(Some(ms(40)), ms(40), ms(40));
        assert!(line.place(Some(ms(20)), ms(80), ms(40)) > second);
        let after_jump = line.place(Some(ms(9_000_000)), ms(120), ms(40));
        assert_eq!(after_jump, ms(120));
        assert_eq!(line.place(Some(ms(9_000_040)), ms(160), ms(40)), ms(160));
        assert_eq!(line.place(Some(ms(8_998_000)), ms(200), ms(40)), ms(200));
        assert_eq!(line.place(Some(ms(8_998_040)), ms(240), ms(40)), ms(240));
    }

    #[test]
    fn frames_without_time_stamps_are_placed_by_arrival() {
        let mut line = Timeline::new(true);
        assert_eq!(line.place(None, ms(100), ms(40)), ms(0));
        assert_eq!(line.place(None, ms(215), ms(40)), ms(115));
    }

    #[test]
    fn thinning_keeps_every_second_of_ten_per_second_at_five() {
        let mut thinner = Thinner::new(5.0);
        let kept = (0..50).filter(|i| thinner.keep(ms(i * 100), ms(100)));
        assert_eq!(kept.count(), 25);
        let mut thinner = Thinner::new(10.0);
        let kept = (0..300).filter(|i| thinner.keep(ms(i * 40), ms(40)));
        assert_eq!(kept.count(), 120);
        let mut thinner = Thinner::new(60.0);
        let kept = (0..50).filter(|i| thinner.keep(ms(i * 100), ms(100)));
        assert_eq!(kept.count(), 50);
    }

    #[test]
    fn rate_is_steps_per_time() {
        let mut meter = RateMeter::default();
        meter.tick(ms(0));
        assert_eq!(meter.rate(), None);
        for i in 1..=200 {
            meter.tick(ms(i * 50));
        }
        assert!((meter.rate().unwrap() - 20.0).abs() < 1e-9);
    }
}
