//! A camera with the source that watches it, and the rules that its frames are held to.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millrace::sources::{
    Condition, Event, Frame, Loss, QueuePolicy, Reconnect, Source, SourceSpec,
};

use super::fault::{Chance, Fault, Showing};
use super::support::awake::awake;
use super::support::clips::number_in_luma;
use super::support::fake_camera::{FRAMES, FakeCamera, GROUP};

/// What the cameras ask for.
pub const LOGIN: &str = "login digest viewer secret";
/// Good frames in a row that count: so many have a key frame among them. Before it, pictures may be
/// patched up from damaged ones, and count on from a wrong number.
const GOOD: u32 = GROUP as u32 + 1;
/// What a camera sends while this process stands still so long may be lost on the way: no wonder within
/// [`AFTERMATH`] of it.
const STANDSTILL: Duration = Duration::from_millis(150);
const AFTERMATH: Duration = Duration::from_secs(3);
/// Longest wait for good frames; longer means never.
const NEVER: Duration = Duration::from_secs(40);

/// See the module documentation.
pub struct Watched {
    camera: Mutex<FakeCamera>,
    chance: Mutex<Chance>,
    film: Arc<Mutex<Showing>>,
    source: Arc<Source>,
    seen: Arc<Seen>,
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

/// What came.
#[derive(Default)]
struct Seen {
    inner: Mutex<Inner>,
    good: Condvar,
}

/// Good frames of one size, each the next after the one before.
struct Streak {
    /// When the process was [`awake`] for so long.
    began: Duration,
    frames: u32,
    height: usize,
}

#[derive(Default)]
struct Inner {
    last: Option<(i64, Duration, Duration, u32)>,
    streak: Option<Streak>,
    in_fault: bool,
    machine: Machine,
    /// The last fault, and when it was over.
    fault: Option<(Fault, Instant)>,
    frames: u64,
    checked: u64,
    broken: Vec<String>,
}

/// How far the process lags behind the clock, and since when it has lagged so much more than before.
struct Machine {
    began: (Instant, Duration),
    lag: Duration,
    stood: Option<Instant>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            began: (Instant::now(), awake()),
            lag: Duration::ZERO,
            stood: None,
        }
    }
}

impl Machine {
    /// Whether the process stood still a moment ago.
    fn stood_still(&mut self) -> bool {
        let (clock, awoke) = self.began;
        let lag = clock.elapsed().saturating_sub(awake() - awoke);
        if lag.saturating_sub(self.lag) >= STANDSTILL {
            self.stood = Some(Instant::now());
        }
        self.lag = lag;
        self.stood.is_some_and(|at| at.elapsed() < AFTERMATH)
    }
}

impl Watched {
    /// Starts a camera and watches it; returns after its first frame.
    pub fn start(number: usize, seed: u64) -> Self {
        let mut camera = FakeCamera::start("main", "");
        camera.order(LOGIN);
        let url = format!("rtsp://viewer:secret@{}", camera.place());
        let mut spec = SourceSpec::new(url.parse().unwrap());
        spec.video_identifier = Some(format!("camera {number}").into());
        spec.queue = Some(QueuePolicy::DropOldest { capacity: 128 });
        spec.staleness = None;
        spec.reconnect = Reconnect {
            silence: Duration::from_millis(1500),
            connect: Duration::from_secs(6),
            ..Reconnect::default()
        };
        let source = Arc::new(Source::open(spec).unwrap());
        let (seen, over) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
        let reader = {
            let (source, seen, over) = (source.clone(), seen.clone(), over.clone());
            std::thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    match source.next(Duration::from_millis(200)) {
                        Ok(Some(Event::Frame(frame))) => seen.note(&frame),
                        Ok(_) => {}
                        Err(error) => {
                            seen.inner.lock().unwrap().broken.push(error.to_string());
                            return;
                        }
                    }
                }
            })
        };
        let watched = Self {
            camera: Mutex::new(camera),
            chance: Mutex::new(Chance::new(seed * 100 + number as u64)),
            film: Arc::new(Mutex::new(Showing::Main)),
            source,
            seen,
            over,
            reader: Some(reader),
        };
        watched.first_good_frame(awake());
        watched
    }

    /// The camera.
    pub fn camera(&self) -> MutexGuard<'_, FakeCamera> {
        self.camera.lock().unwrap()
    }

    /// Its course of events.
    pub fn chance(&self) -> MutexGuard<'_, Chance> {
        self.chance.lock().unwrap()
    }

    /// What it shows.
    pub fn film(&self) -> &Mutex<Showing> {
        &self.film
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.source.video_identifier()
    }

    /// The camera breaks: gaps are no wonder.
    pub fn begin_fault(&self) {
        self.seen.inner.lock().unwrap().in_fault = true;
    }

    /// The camera is well: from here on nothing may be lost.
    pub fn end_fault(&self, fault: Fault) {
        let mut inner = self.seen.inner.lock().unwrap();
        inner.in_fault = false;
        inner.fault = Some((fault, Instant::now()));
    }

    /// Waits for good frames of the film that is shown; how long after `back` the first one came, both in
    /// time in which the process was [`awake`].
    pub fn first_good_frame(&self, back: Duration) -> Duration {
        let height = self.film.lock().unwrap().height();
        let mut inner = self.seen.inner.lock().unwrap();
        inner.streak = None;
        let not_yet = |inner: &mut Inner| {
            inner.streak.as_ref().is_none_or(|streak| {
                streak.began <= back || streak.height != height || streak.frames < GOOD
            })
        };
        let (mut inner, late) = self
            .seen
            .good
            .wait_timeout_while(inner, NEVER, not_yet)
            .unwrap();
        if late.timed_out() {
            let stats = self.source.stats();
            inner.broken.push(format!("never came back: {stats:?}"));
            return NEVER;
        }
        let began = inner.streak.as_ref().map(|streak| streak.began);
        began.map_or(NEVER, |began| began - back)
    }

    /// What was not as it has to be.
    pub fn broken_rules(&self) -> Vec<String> {
        let mut broken: Vec<String> = {
            let inner = self.seen.inner.lock().unwrap();
            let named = |why: &String| format!("{} {why}", self.name());
            inner.broken.iter().map(named).collect()
        };
        let stats = self.source.stats();
        if stats.drops.total() > 0 {
            broken.push(format!("dropped frames: {:?}", stats.drops));
        }
        if stats.condition() != Condition::Streaming {
            broken.push(format!("it is {}", stats.condition().name()));
        }
        broken
    }

    /// Its figures in a line.
    pub fn figures(&self) -> String {
        let stats = self.source.stats();
        let inner = self.seen.inner.lock().unwrap();
        let mut line = format!(
            "{}: {} frames, {} of them checked for gaps, {} skipped before key frames, {:.1} fps sent, \
             {:.1} fps decoded, {} reconnects; lost:",
            self.name(),
            inner.frames,
            inner.checked,
            stats.skipped_units,
            stats.camera_fps.unwrap_or_default(),
            stats.measured_fps.unwrap_or_default(),
            stats.reconnects,
        );
        for cause in Loss::ALL {
            let count = stats.losses.count(cause);
            if count > 0 {
                write!(line, " {} {count}", cause.name()).unwrap();
            }
        }
        line
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = self.reader.take().unwrap().join();
        self.source.close();
    }
}

impl Seen {
    /// Holds a frame to the rules.
    fn note(&self, frame: &Frame) {
        let shown = frame.image.planes().map(number_in_luma);
        let shown = shown.filter(|n| (*n as usize) < FRAMES && !frame.damaged);
        let mut inner = self.inner.lock().unwrap();
        inner.frames += 1;
        let excused = inner.machine.stood_still() || inner.in_fault;
        let Some(shown) = shown else {
            if !excused {
                let why = format!("a bad picture, frame {}", frame.number);
                inner.complain(&why);
            }
            inner.last = None;
            inner.streak = None;
            return;
        };
        if let Some(last) = inner.last.filter(|_| !excused) {
            inner.checked += 1;
            if let Err(why) = follows(frame, shown, last) {
                inner.complain(&why);
            }
        }
        let now = (frame.number, frame.time, frame.arrived, shown);
        let next = inner
            .last
            .replace(now)
            .is_some_and(|(number, .., picture)| {
                frame.number == number + 1 && shown == (picture + 1) % FRAMES as u32
            });
        let height = frame.image.height();
        match &mut inner.streak {
            Some(streak) if next && streak.height == height => streak.frames += 1,
            streak => {
                *streak = Some(Streak {
                    began: awake(),
                    frames: 1,
                    height,
                });
            }
        }
        self.good.notify_all();
    }
}

impl Inner {
    fn complain(&mut self, why: &str) {
        let after = match self.fault {
            Some((fault, at)) => format!("{:.1} s after {fault:?}", at.elapsed().as_secs_f64()),
            None => "before any fault".to_owned(),
        };
        self.broken.push(format!("{after}: {why}"));
    }
}

/// Whether a frame is the next after the one before: by its number, by the picture, and by its time,
/// which grows as the clock does.
fn follows(
    frame: &Frame,
    shown: u32,
    (number, time, arrived, picture): (i64, Duration, Duration, u32),
) -> Result<(), String> {
    let what = format!(
        "frame {} with picture {shown} after {number} with {picture}",
        frame.number
    );
    if frame.number != number + 1 || shown != (picture + 1) % FRAMES as u32 {
        return Err(what);
    }
    let (step, real) = (
        frame.time.saturating_sub(time).as_secs_f64(),
        frame.arrived.saturating_sub(arrived).as_secs_f64(),
    );
    if step <= 0.0 || (step > 1.0 && (step - real).abs() > 1.0) {
        return Err(format!("{what}: time grew by {step}, the clock by {real}"));
    }
    Ok(())
}
