//! The bounded queue between a decoder and the one who takes its frames.
//!
//! Frames are bounded by the policy; what is told about the stream ([`Event::Lost`] and the like)
//! keeps its place between them and is never dropped for a frame, up to [`NOTICES`] of them. The end
//! comes after everything that was put in before, and stays.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Frame, PictureFormat, QueuePolicy, Reconnect, SourceError};
use crate::clock::Clock;

/// Notices held at most; of more, the oldest go.
const NOTICES: usize = 32;

/// What a source has to say.
#[derive(Clone, Debug)]
pub enum Event {
    /// The next frame.
    Frame(Frame),
    /// The pictures look different from the next frame on.
    Changed(PictureFormat),
    /// A live source stopped, or could not be reached; it is tried again.
    Lost {
        /// Why.
        error: SourceError,
        /// How it is brought back.
        reconnect: Reconnect,
    },
    /// A lost source gives frames again.
    Recovered {
        /// Failed attempts in between.
        attempts: u32,
        /// Time without frames.
        outage: Duration,
    },
    /// The source has ended; no frame comes any more. Given again at each further call.
    Ended(Ending),
}

/// How a source ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Frames that the source gave, with those dropped.
    pub frames: i64,
    /// Frames that the file promised.
    pub expected: Option<i64>,
    /// Whether that promise is a list of frames (else it is duration times rate).
    pub listed: bool,
}

impl Ending {
    /// What is wrong with the file if it gave fewer frames than it promised. Two are not missed (a
    /// cut before a key frame), nor a tenth of an estimate (the sound may be longer than the picture).
    pub fn warning(&self) -> Option<String> {
        let expected = self.expected?;
        let missing = expected - self.frames;
        let allowed = if self.listed { 2 } else { 2.max(expected / 10) };
        (missing > allowed).then(|| {
            format!(
                "the file ended after {} of {expected} frames; it is cut off or damaged",
                self.frames
            )
        })
    }
}

/// Why a frame was not handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropCause {
    /// A newer frame came before anybody took it.
    Overtaken,
    /// It waited longer than the staleness budget.
    Stale,
    /// The source gives more frames per second than asked for.
    Thinned,
    /// Its buffer did not hold what its format promised.
    Unreadable,
}

impl DropCause {
    /// Every cause.
    pub const ALL: [Self; 4] = [
        Self::Overtaken,
        Self::Stale,
        Self::Thinned,
        Self::Unreadable,
    ];

    /// Name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overtaken => "overtaken",
            Self::Stale => "stale",
            Self::Thinned => "thinned",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Dropped frames by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops([u64; DropCause::ALL.len()]);

impl Drops {
    /// Frames dropped for this cause.
    pub fn count(&self, cause: DropCause) -> u64 {
        self.0[cause as usize]
    }

    /// Frames dropped for any cause.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// What [`EventQueue::pop`] finds.
pub(crate) enum Popped {
    /// The next event.
    Event(Event),
    /// Nothing came in time.
    Nothing,
    /// The source gave up.
    Failed(SourceError),
    /// The queue was closed.
    Closed,
}

/// See the module documentation.
pub(crate) struct EventQueue {
    inner: Mutex<Inner>,
    filled: Condvar,
    emptied: Condvar,
    clock: Arc<dyn Clock>,
}

struct Inner {
    items: VecDeque<Event>,
    frames: usize,
    policy: QueuePolicy,
    staleness: Option<Duration>,
    drops: Drops,
    delivered: u64,
    producer_waits: bool,
    end: Option<Result<Ending, SourceError>>,
    closed: bool,
}

impl EventQueue {
    /// An empty queue.
    pub(crate) fn new(policy: QueuePolicy, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                items: VecDeque::new(),
                frames: 0,
                policy,
                staleness: None,
                drops: Drops::default(),
                delivered: 0,
                producer_waits: false,
                end: None,
                closed: false,
            }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            clock,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what happens to frames that wait.
    pub(crate) fn set_policy(&self, policy: QueuePolicy, staleness: Option<Duration>) {
        let mut inner = self.lock();
        inner.policy = policy;
        inner.staleness = staleness;
    }

    /// Puts a frame in by the policy; false if the queue was closed meanwhile.
    pub(crate) fn push_frame(&self, frame: Frame) -> bool {
        let mut inner = self.lock();
        while !inner.closed && inner.frames >= inner.policy.capacity() {
            match inner.policy {
                QueuePolicy::Wait { .. } => {
                    inner.producer_waits = true;
                    inner = self
                        .emptied
                        .wait(inner)
                        .unwrap_or_else(PoisonError::into_inner);
                    inner.producer_waits = false;
                }
                QueuePolicy::DropOldest { .. } => inner.drop_oldest_frame(),
            }
        }
        if inner.closed {
            return false;
        }
        inner.frames += 1;
        inner.items.push_back(Event::Frame(frame));
        self.filled.notify_one();
        true
    }

    /// Puts a notice in.
    pub(crate) fn push_notice(&self, notice: Event) {
        let mut inner = self.lock();
        if inner.items.len() - inner.frames >= NOTICES
            && let Some(at) = inner
                .items
                .iter()
                .position(|e| !matches!(e, Event::Frame(_)))
        {
            inner.items.remove(at);
        }
        inner.items.push_back(notice);
        self.filled.notify_one();
    }

    /// Counts a frame that never came as far as the queue.
    pub(crate) fn count_drop(&self, cause: DropCause) {
        self.lock().drops.0[cause as usize] += 1;
    }

    /// Says how the source ended; the first word counts.
    pub(crate) fn finish(&self, end: Result<Ending, SourceError>) {
        self.lock().end.get_or_insert(end);
        self.filled.notify_all();
    }

    /// Lets everybody go who waits; nothing comes in or out any more.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.items.clear();
        inner.frames = 0;
        drop(inner);
        self.filled.notify_all();
        self.emptied.notify_all();
    }

    /// Takes the next event, waiting for it for `timeout` at most.
    pub(crate) fn pop(&self, timeout: Duration) -> Popped {
        let deadline = Instant::now() + timeout;
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return Popped::Closed;
            }
            if inner.drop_stale_frames(&*self.clock) {
                self.emptied.notify_one();
            }
            if let Some(event) = inner.items.pop_front() {
                if let Event::Frame(_) = event {
                    inner.frames -= 1;
                    inner.delivered += 1;
                    self.emptied.notify_one();
                }
                return Popped::Event(event);
            }
            match &inner.end {
                Some(Ok(ending)) => return Popped::Event(Event::Ended(ending.clone())),
                Some(Err(error)) => return Popped::Failed(error.clone()),
                None => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Popped::Nothing;
            }
            inner = self
                .filled
                .wait_timeout(inner, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Whether the decoder stands still because nobody takes frames.
    pub(crate) fn producer_waits(&self) -> bool {
        self.lock().producer_waits
    }

    /// Frames handed out, and frames dropped.
    pub(crate) fn counts(&self) -> (u64, Drops) {
        let inner = self.lock();
        (inner.delivered, inner.drops)
    }
}

impl Inner {
    fn drop_oldest_frame(&mut self) {
        let oldest = self.items.iter().position(|e| matches!(e, Event::Frame(_)));
        if let Some(at) = oldest {
            self.items.remove(at);
            self.frames -= 1;
            self.drops.0[DropCause::Overtaken as usize] += 1;
        }
    }

    fn drop_stale_frames(&mut self, clock: &dyn Clock) -> bool {
        let Some(budget) = self.staleness.filter(|_| self.frames > 0) else {
            return false;
        };
        let now = clock.monotonic();
        let before = self.items.len();
        self.items.retain(|event| match event {
            Event::Frame(frame) => now.saturating_sub(frame.arrived) <= budget,
            _ => true,
        });
        let dropped = before - self.items.len();
        self.frames -= dropped;
        self.drops.0[DropCause::Stale as usize] += dropped as u64;
        dropped > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::values::{Image, Matrix, VideoMetadata};

    fn frame(number: i64, clock: &dyn Clock) -> Frame {
        let id: Arc<str> = "cam".into();
        Frame {
            image: Image::new(Matrix::filled(2, 2, &[0, 0, 0]), id.clone()),
            video: Arc::new(VideoMetadata::synthetic(id, clock.now())),
            number,
            time: Duration::ZERO,
            arrived: clock.monotonic(),
            arrived_at: clock.now(),
            damaged: false,
            decoding: None,
        }
    }

    fn queue(policy: QueuePolicy) -> (EventQueue, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (EventQueue::new(policy, clock.clone()), clock)
    }

    fn next_number(queue: &EventQueue) -> Option<i64> {
        match queue.pop(Duration::ZERO) {
            Popped::Event(Event::Frame(frame)) => Some(frame.number),
            _ => None,
        }
    }

    #[test]
    fn the_newest_frame_wins_and_notices_stay() {
        let (queue, clock) = queue(QueuePolicy::DropOldest { capacity: 1 });
        queue.push_frame(frame(1, &*clock));
        queue.push_notice(Event::Recovered {
            attempts: 1,
            outage: Duration::ZERO,
        });
        queue.push_frame(frame(2, &*clock));
        queue.push_frame(frame(3, &*clock));
        assert!(matches!(
            queue.pop(Duration::ZERO),
            Popped::Event(Event::Recovered { .. })
        ));
        assert_eq!(next_number(&queue), Some(3));
        let (delivered, drops) = queue.counts();
        assert_eq!((delivered, drops.count(DropCause::Overtaken)), (1, 2));
    }

    #[test]
    fn a_frame_beyond_its_staleness_is_not_handed_on() {
        let (queue, clock) = queue(QueuePolicy::DropOldest { capacity: 2 });
        queue.set_policy(
            QueuePolicy::DropOldest { capacity: 2 },
            Some(Duration::from_millis(500)),
        );
        queue.push_frame(frame(1, &*clock));
        clock.advance(Duration::from_millis(400));
        queue.push_frame(frame(2, &*clock));
        clock.advance(Duration::from_millis(400));
        assert_eq!(next_number(&queue), Some(2));
        assert_eq!(queue.counts().1.count(DropCause::Stale), 1);
    }

    #[test]
    fn a_waiting_producer_goes_on_when_a_frame_is_taken_or_the_queue_closes() {
        let (queue, clock) = queue(QueuePolicy::Wait { capacity: 1 });
        std::thread::scope(|scope| {
            let producer = scope.spawn(|| {
                (1..=3)
                    .map(|n| queue.push_frame(frame(n, &*clock)))
                    .collect::<Vec<_>>()
            });
            let wait = Duration::from_secs(5);
            assert!(matches!(queue.pop(wait), Popped::Event(Event::Frame(f)) if f.number == 1));
            let second_is_in = || {
                let inner = queue.lock();
                inner.frames == 1 && inner.producer_waits
            };
            while !second_is_in() {
                std::thread::yield_now();
            }
            queue.close();
            assert_eq!(producer.join().unwrap(), [true, true, false]);
        });
        assert!(matches!(queue.pop(Duration::ZERO), Popped::Closed));
    }

    #[test]
    fn the_end_comes_last_and_stays() {
        let (queue, clock) = queue(QueuePolicy::Wait { capacity: 4 });
        queue.push_frame(frame(1, &*clock));
        let ending = Ending {
            frames: 1,
            expected: Some(300),
            listed: true,
        };
        queue.finish(Ok(ending.clone()));
        assert_eq!(next_number(&queue), Some(1));
        for _ in 0..2 {
            let Popped::Event(Event::Ended(end)) = queue.pop(Duration::ZERO) else {
                panic!("no end");
            };
            assert_eq!(end, ending);
        }
        assert_eq!(
            ending.warning().unwrap(),
            "the file ended after 1 of 300 frames; it is cut off or damaged"
        );
    }

    #[test]
    fn notices_are_bounded() {
        let (queue, _) = queue(QueuePolicy::LIVE);
        for attempts in 0..100 {
            queue.push_notice(Event::Recovered {
                attempts,
                outage: Duration::ZERO,
            });
        }
        let mut seen = Vec::new();
        while let Popped::Event(Event::Recovered { attempts, .. }) = queue.pop(Duration::ZERO) {
            seen.push(attempts);
        }
        assert_eq!(seen, (68..100).collect::<Vec<_>>());
    }
}
