//! The way in of a stream with one source or several: frames are taken in rounds.
//!
//! A round has one frame of each source that has one. A recorded file is always waited for, so that
//! not one of its frames is left out; a live source that runs is waited for up to [`LIVE_WAIT`], and
//! one that is being reconnected is not waited for at all. [`Pace::wait`] sets another limit, for
//! all. A source that ended or failed leaves the rounds; the stream ends with its last source.
//! A stream of one source has rounds of one frame.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::End;
use crate::clock::Clock;
use crate::sources::{Event, Frame, Source, SourceError, SourceState, SourceStats};

/// How long a round waits for a running live source once another has given its frame.
pub const LIVE_WAIT: Duration = Duration::from_millis(100);

/// A source of a stream.
#[derive(Clone)]
pub struct Inlet {
    /// Its number in the stream; no two sources ever have the same.
    pub number: usize,
    /// The source.
    pub source: Arc<Source>,
}

/// How fast rounds follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// How long a round waits for its frames, from the end of the round before; `None` as the module
    /// says.
    pub wait: Option<Duration>,
    /// Least time between rounds; recorded files wait, live sources keep their newest frame.
    pub interval: Option<Duration>,
}

/// What became of a source, as its stream was told.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// An event other than a frame.
    Event(&'a Event),
    /// The source failed for good.
    Failed(&'a SourceError),
}

/// Is told what becomes of the sources of a stream, in the stream's own thread.
pub trait Observer: Send + Sync {
    /// Something became of a source.
    fn notice(&self, number: usize, notice: Notice<'_>);
}

/// Frames of a round with the numbers of their sources, in that order.
pub(super) type Frames = SmallVec<[(usize, Frame); 1]>;

/// What one turn brought.
pub(super) enum Turn {
    /// Nothing yet.
    Nothing,
    /// Nothing is due for so long.
    Rest(Duration),
    /// A round.
    Round(Frames),
    /// No source is left.
    Ended(End),
}

/// The sources of a stream.
pub struct Intake {
    slots: Vec<Slot>,
    /// Numbers of the sources.
    numbers: Arc<[usize]>,
    pace: Pace,
    /// When the round before ended.
    began: Option<Duration>,
    /// When the first frame of this round was taken.
    first: Option<Duration>,
    /// When the next round may come.
    due: Duration,
    /// What is left of sources that are no longer asked.
    warnings: Vec<String>,
}

struct Slot {
    inlet: Inlet,
    held: Option<Frame>,
    end: Option<Result<(), SourceError>>,
}

impl Slot {
    fn is_missing(&self) -> bool {
        self.held.is_none() && self.end.is_none()
    }

    /// Whether a round should wait for it.
    fn is_awaited(&self) -> bool {
        match self.inlet.source.stats().state {
            SourceState::Connecting => !self.inlet.source.is_live(),
            SourceState::Lost => false,
            SourceState::Running
            | SourceState::Ended
            | SourceState::Failed
            | SourceState::Closed => true,
        }
    }
}

impl From<Source> for Intake {
    fn from(source: Source) -> Self {
        let source = Arc::new(source);
        Self::new(vec![Inlet { number: 0, source }], Pace::default())
    }
}

impl Intake {
    /// These sources at this pace.
    pub fn new(inlets: Vec<Inlet>, pace: Pace) -> Self {
        let mut intake = Self {
            slots: Vec::new(),
            numbers: Arc::default(),
            pace,
            began: None,
            first: None,
            due: Duration::ZERO,
            warnings: Vec::new(),
        };
        inlets.into_iter().for_each(|inlet| intake.add(inlet));
        intake
    }

    /// Adds a source; its frames are in the rounds from now on.
    pub(super) fn add(&mut self, inlet: Inlet) {
        self.slots.push(Slot {
            inlet,
            held: None,
            end: None,
        });
        self.slots.sort_by_key(|slot| slot.inlet.number);
        self.count();
    }

    fn count(&mut self) {
        self.numbers = self.slots.iter().map(|slot| slot.inlet.number).collect();
    }

    /// Whether the newest frame of a source replaces one that is not taken.
    pub(super) fn keeps_newest(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.inlet.source.keeps_newest())
    }

    /// The least age above which a frame of a round is worth nothing; `None` if one of them is
    /// recorded.
    pub(super) fn staleness(&self, frames: &Frames) -> Option<Duration> {
        let of = |number: usize| {
            let slot = self.slots.iter().find(|slot| slot.inlet.number == number)?;
            slot.inlet.source.staleness()
        };
        let budgets: Option<SmallVec<[Duration; 4]>> =
            frames.iter().map(|(number, _)| of(*number)).collect();
        budgets?.into_iter().min()
    }

    /// Numbers of the sources, also of those that ended.
    pub(super) fn numbers(&self) -> &Arc<[usize]> {
        &self.numbers
    }

    /// Sets the pace anew.
    pub(super) fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// Identifier of the first source.
    pub(super) fn name(&self) -> Arc<str> {
        let first = self.slots.first();
        first.map_or_else(Arc::default, |slot| {
            slot.inlet.source.video_identifier().clone()
        })
    }

    /// Counters and state of every source.
    pub(super) fn stats(&self) -> Vec<(usize, SourceStats)> {
        let slots = self.slots.iter();
        slots
            .map(|slot| (slot.inlet.number, slot.inlet.source.stats()))
            .collect()
    }

    /// Closes all sources, side by side.
    pub(super) fn close(&self) {
        match &*self.slots {
            [slot] => slot.inlet.source.close(),
            slots => std::thread::scope(|scope| {
                for slot in slots {
                    scope.spawn(|| slot.inlet.source.close());
                }
            }),
        }
    }

    /// Takes what is there, waiting for `turn` at most.
    pub(super) fn turn(
        &mut self,
        turn: Duration,
        clock: &dyn Clock,
        observer: &dyn Observer,
    ) -> Turn {
        let now = clock.monotonic();
        if self.pace.interval.is_some() && now < self.due {
            return Turn::Rest((self.due - now).min(turn));
        }
        let began = *self.began.get_or_insert(now);
        if self.slots.len() > 1 {
            for at in 0..self.slots.len() {
                self.take(at, Duration::ZERO, observer);
            }
        }
        if let Some(found) = self.complete(clock.monotonic()) {
            return found;
        }
        let missing = self.slots.iter().position(Slot::is_missing);
        let awaited = self
            .slots
            .iter()
            .position(|slot| slot.is_missing() && slot.is_awaited())
            .or(missing);
        let Some(at) = awaited else {
            return Turn::Rest(turn);
        };
        let limit = match (self.slots.len(), self.pace.wait) {
            (1, _) => turn,
            (_, Some(wait)) => (began + wait).saturating_sub(now).min(turn),
            (_, None) => turn.min(LIVE_WAIT / 5),
        };
        self.take(at, limit, observer);
        self.complete(clock.monotonic()).unwrap_or(Turn::Nothing)
    }

    /// Takes one event of a source.
    fn take(&mut self, at: usize, timeout: Duration, observer: &dyn Observer) {
        let slot = &mut self.slots[at];
        if !slot.is_missing() {
            return;
        }
        let number = slot.inlet.number;
        match slot.inlet.source.next(timeout) {
            Ok(None) => {}
            Ok(Some(Event::Frame(frame))) => slot.held = Some(frame),
            Ok(Some(event)) => {
                if let Event::Ended(ending) = &event {
                    slot.end = Some(Ok(()));
                    self.warnings.extend(ending.warning());
                }
                observer.notice(number, Notice::Event(&event));
            }
            Err(error) => {
                observer.notice(number, Notice::Failed(&error));
                slot.end = Some(Err(error));
            }
        }
    }

    /// The round, if it is complete or was waited for long enough; the end, if no source is left.
    fn complete(&mut self, now: Duration) -> Option<Turn> {
        let closed = |slot: &Slot| {
            slot.held.is_none() && matches!(slot.end, Some(Err(SourceError::Closed { .. })))
        };
        if self.slots.iter().any(closed) {
            self.slots.retain(|slot| !closed(slot));
            self.count();
        }
        if self.slots.iter().all(|slot| slot.held.is_none()) {
            if self.slots.iter().all(|slot| slot.end.is_some()) {
                return Some(Turn::Ended(self.end()));
            }
            if self
                .pace
                .wait
                .is_some_and(|wait| self.began.is_none_or(|began| now >= began + wait))
            {
                self.began = Some(now);
            }
            return None;
        }
        let first = *self.first.get_or_insert(now);
        let mut missing = self
            .slots
            .iter()
            .filter(|slot| slot.is_missing() && slot.is_awaited())
            .peekable();
        if missing.peek().is_some() {
            let over = match self.pace.wait {
                Some(wait) => self.began.is_some_and(|began| now >= began + wait),
                None => now >= first + LIVE_WAIT && missing.all(|slot| slot.inlet.source.is_live()),
            };
            if !over {
                return None;
            }
        }
        self.first = None;
        self.began = Some(now);
        if let Some(interval) = self.pace.interval {
            // A round that was late does not make those after it early.
            let due = self.due + interval;
            self.due = if due <= now { now + interval } else { due };
        }
        let held = self.slots.iter_mut();
        Some(Turn::Round(
            held.filter_map(|slot| Some((slot.inlet.number, slot.held.take()?)))
                .collect(),
        ))
    }

    fn end(&mut self) -> End {
        let ended = self
            .slots
            .iter()
            .any(|slot| matches!(slot.end, Some(Ok(()))));
        let failed = self
            .slots
            .iter_mut()
            .find_map(|slot| slot.end.take()?.err());
        match failed {
            _ if self.slots.is_empty() => End::Stopped,
            Some(error) if !ended => End::Failed(error),
            _ if self.warnings.is_empty() => End::Source(None),
            _ => End::Source(Some(self.warnings.join("; "))),
        }
    }

    /// Lets the frames of live sources go by; recorded files are not read. Answers how many frames
    /// went, and whether there was a source to wait for.
    pub(super) fn pass(&mut self, turn: Duration, observer: &dyn Observer) -> (u64, bool) {
        let live: Vec<usize> = (0..self.slots.len())
            .filter(|at| self.slots[*at].inlet.source.is_live() && self.slots[*at].end.is_none())
            .collect();
        let mut passed = 0;
        for &at in &live {
            passed += u64::from(self.slots[at].held.take().is_some());
            self.take(at, turn / live.len() as u32, observer);
            passed += u64::from(self.slots[at].held.take().is_some());
        }
        self.began = None;
        self.first = None;
        (passed, !live.is_empty())
    }
}
