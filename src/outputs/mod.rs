//! What a stream gives besides its results buffer: events, a file of results, films, the picture for
//! those who look.
//!
//! `millrace run` makes the outputs of its flags, the fleet those that a file of streams declares;
//! both hand every result to [`Outputs::take`].
//! - **No output stops a stream.** Receivers are fed through the outbox, files are written in threads
//!   of their own behind short queues; what fails is counted, told in [`Outputs::to_json`] and tried
//!   again. Frames of recorded files wait for room there, those of cameras are dropped and counted.
//!   Under [`Conduct::strict`] everything waits, and the first error is for good
//!   ([`Outputs::problem`]).
//! - **The picture is one and the same everywhere**: [`crate::streams::Shown::choose`].
//! - [`Outputs::set`] changes the outputs of a running stream; those that stay the same go on.

mod events;
mod films;
mod lines;
pub mod rtsp;
mod spec;
mod stamp;
mod view;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value as Json, json};

pub use films::{file_name, named};
pub use spec::{
    EventsSpec, FilmSpec, LinesSpec, OutputsSpec, PictureSpec, RECEIVERS, wrong_scheme,
};
pub use view::{MOST_VIEWERS, Shot, View, ViewError, Viewer, Wish};

use crate::clock::Clock;
use crate::delivery::Dispatcher;
use crate::delivery::video::series::Moment;
use crate::models::ModelStore;
use crate::sources::Frame;
use crate::streams::FrameResult;
use events::Events;
use films::{Films, Scene};
use lines::Lines;
use rtsp::{Mounted, RtspServer};
use stamp::Stamps;
use worker::{Room, Worker, Written};

/// How outputs behave, and what they use.
#[derive(Clone)]
pub struct Conduct {
    /// Sends events.
    pub dispatcher: Arc<Dispatcher>,
    /// Tells which models made a result.
    pub models: Arc<ModelStore>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Sends pictures over RTSP, if anything does.
    pub rtsp: Option<Arc<RtspServer>>,
    /// Whether the stream waits for every file, and an error of a file is for good.
    pub strict: bool,
}

/// The outputs of one stream.
pub struct Outputs {
    stream: Arc<str>,
    conduct: Conduct,
    active: Mutex<Arc<Active>>,
    view: Arc<View>,
    stamps: Mutex<Stamps>,
    mounts: Mutex<HashMap<Arc<str>, Mounted>>,
    released: AtomicBool,
}

/// A file as it is wanted, and who writes it.
type Writing<S, W> = (S, Arc<Worker<W>>);

/// The outputs that there are now.
#[derive(Default)]
struct Active {
    events: Vec<Arc<Events>>,
    lines: Option<Writing<LinesSpec, Lines>>,
    film: Option<Writing<FilmSpec, Films>>,
    preview: Option<PictureSpec>,
    rtsp: Option<PictureSpec>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of the results that an output got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputCounts {
    /// Written, or queued for the receiver.
    pub written: u64,
    /// Dropped because there was no room, or shortly after an error.
    pub dropped: u64,
    /// Errors, and events that were not queued.
    pub errors: u64,
}

/// How long files of outputs that are gone may take to end before the next ones begin.
const CHANGING: Duration = Duration::from_secs(2);

impl Outputs {
    /// The outputs of a stream. Nothing is opened before its first result.
    pub fn new(stream: Arc<str>, spec: &OutputsSpec, conduct: Conduct) -> Self {
        let outputs = Self {
            stream,
            stamps: Mutex::new(Stamps::new(conduct.models.clone(), conduct.clock.now())),
            conduct,
            active: Mutex::default(),
            view: Arc::default(),
            mounts: Mutex::default(),
            released: AtomicBool::new(false),
        };
        outputs.set(spec);
        outputs
    }

    fn active(&self) -> Arc<Active> {
        lock(&self.active).clone()
    }

    /// Changes the outputs. Those that stay the same are not touched; files of those that go are
    /// ended.
    pub fn set(&self, spec: &OutputsSpec) {
        let old = self.active();
        let new = Active {
            events: spec.events.iter().map(|s| self.events(&old, s)).collect(),
            lines: spec
                .lines
                .as_ref()
                .map(|spec| self.file(&old.lines, spec, "jsonl", Lines::new)),
            film: spec
                .film
                .as_ref()
                .map(|spec| self.file(&old.film, spec, "film", Films::new)),
            preview: spec.preview.clone(),
            rtsp: spec.rtsp.clone(),
        };
        let lines = gone(&old.lines, &new.lines);
        let film = gone(&old.film, &new.film);
        let new = Arc::new(new);
        *lock(&self.active) = new.clone();
        if let Some(worker) = lines {
            worker.end(CHANGING);
        }
        if let Some(worker) = film {
            worker.end(CHANGING);
        }
        if old.rtsp != new.rtsp {
            lock(&self.mounts).clear();
        }
        self.mount(&self.stream, None);
    }

    fn events(&self, old: &Active, spec: &EventsSpec) -> Arc<Events> {
        let same = old.events.iter().find(|events| events.spec == *spec);
        let new = || Arc::new(Events::new(spec.clone(), &self.conduct.dispatcher));
        same.cloned().unwrap_or_else(new)
    }

    /// The writer of a file: the one there is, if it is to write the same.
    fn file<S: Clone + PartialEq, W: worker::Write>(
        &self,
        old: &Option<Writing<S, W>>,
        spec: &S,
        kind: &str,
        writer: impl FnOnce(S) -> W,
    ) -> Writing<S, W> {
        let same = old.as_ref().filter(|(own, _)| own == spec);
        let new = || {
            let name = format!("{kind}:{}", self.stream);
            let worker = Worker::new(name, writer(spec.clone()), self.conduct.strict);
            (spec.clone(), Arc::new(worker))
        };
        same.cloned().unwrap_or_else(new)
    }

    /// Hands a result to every output. Waits only for room in files, where it is told to.
    pub fn take(&self, result: &FrameResult) {
        let active = self.active();
        let names: Vec<Arc<str>> = result
            .frames()
            .map(|(source, frame)| self.name(source, frame))
            .collect();
        self.report(&active, result, &names);
        let filmed = active.film.as_ref();
        if let Some((spec, worker)) = filmed {
            self.film_result(spec, worker, result, &names);
        }
        let streamed = active.rtsp.is_some() && self.conduct.rtsp.is_some();
        if streamed {
            for name in &names {
                self.mount(name, Some(name));
            }
        }
        if active.preview.is_some() || streamed {
            self.view.show(result, &names);
        }
    }

    /// What a source of the stream is called outside: the stream itself, or `stream/source`.
    fn name(&self, source: usize, frame: &Frame) -> Arc<str> {
        let identifier = &frame.video.video_identifier;
        let stream = &self.stream;
        let rest = identifier.strip_prefix(&**stream);
        match rest {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => identifier.clone(),
            _ if source == 0 => stream.clone(),
            _ => format!("{stream}/{identifier}").into(),
        }
    }

    fn report(&self, active: &Active, result: &FrameResult, names: &[Arc<str>]) {
        if active.events.is_empty() && active.lines.is_none() {
            return;
        }
        let mut with: Option<Vec<Arc<Json>>> = None;
        let mut without: Option<Vec<Arc<Json>>> = None;
        let mut reports = |with_images: bool| {
            let made = if with_images { &mut with } else { &mut without };
            let now = self.conduct.clock.now();
            made.get_or_insert_with(|| lock(&self.stamps).reports(result, names, with_images, now))
                .clone()
        };
        for events in &active.events {
            for (report, name) in reports(events.spec.with_images).iter().zip(names) {
                events.post(name, report);
            }
        }
        if let Some((spec, worker)) = &active.lines {
            for report in reports(spec.with_images) {
                worker.send(report, self.room(&result.frame));
            }
        }
    }

    fn film_result(
        &self,
        spec: &FilmSpec,
        worker: &Worker<Films>,
        result: &FrameResult,
        names: &[Arc<str>],
    ) {
        let shown = result.frames().zip(result.shown()).zip(names);
        for (((source, frame), shown), name) in shown {
            let own = name.strip_prefix(&*self.stream);
            let suffix = own.map(|own| own.trim_start_matches('/').to_owned());
            let scene = Scene {
                source,
                suffix: suffix.filter(|suffix| !suffix.is_empty()),
                picture: shown.choose(spec.output.as_deref()).clone(),
                moment: Moment {
                    time: frame.time,
                    at: frame.video.frame_timestamp,
                    fps: frame.video.fps,
                },
                sources: result.sources.clone(),
            };
            worker.send(scene, self.room(frame));
        }
    }

    fn room(&self, frame: &Frame) -> Room {
        let recorded = frame.video.comes_from_video_file == Some(true);
        match self.conduct.strict || recorded {
            true => Room::Wait,
            false => Room::DropNewest,
        }
    }

    /// Offers the picture of a source over RTSP, if that is wanted and not done yet.
    fn mount(&self, name: &Arc<str>, source: Option<&Arc<str>>) {
        let active = self.active();
        let (Some(spec), Some(server)) = (&active.rtsp, &self.conduct.rtsp) else {
            return;
        };
        let mut mounts = lock(&self.mounts);
        if self.released.load(Ordering::Relaxed) || mounts.contains_key(name) {
            return;
        }
        let feed = rtsp::Feed {
            view: self.view.clone(),
            source: source.map(ToString::to_string),
            output: spec.output.clone(),
        };
        mounts.insert(name.clone(), server.mount(name, feed));
    }

    /// What those see who look at the stream over HTTP, and what they see unless they ask for
    /// another output; none if nobody may look.
    pub fn preview(&self) -> Option<(Arc<View>, PictureSpec)> {
        let active = self.active();
        Some((self.view.clone(), active.preview.clone()?))
    }

    /// Shows nobody anything any more.
    pub fn hide(&self) {
        self.view.close();
    }

    /// Lets the stream go that waits for room in a file: it is about to end.
    pub fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
        let active = self.active();
        if let Some((_, worker)) = &active.lines {
            worker.release();
        }
        if let Some((_, worker)) = &active.film {
            worker.release();
        }
        self.view.close();
    }

    /// Ends every output: files are whole afterwards, unless that takes longer than `patience`;
    /// then they are left to themselves. Those who look are told.
    pub fn end(&self, patience: Duration) {
        self.release();
        lock(&self.mounts).clear();
        let active = self.active();
        if let Some((_, worker)) = &active.lines {
            worker.end(patience);
        }
        if let Some((_, worker)) = &active.film {
            worker.end(patience);
        }
    }

    /// The error of a file that is for good.
    pub fn problem(&self) -> Option<String> {
        let active = self.active();
        let lines = active.lines.as_ref();
        let film = active.film.as_ref();
        let of_lines = lines.and_then(|(_, worker)| worker.written().problem);
        of_lines.or_else(|| film.and_then(|(_, worker)| worker.written().problem))
    }

    /// The files that were written, once the outputs have ended.
    pub fn files(&self) -> Vec<PathBuf> {
        let active = self.active();
        let lines = active.lines.iter().map(|(_, worker)| worker.written());
        let films = active.film.iter().map(|(_, worker)| worker.written());
        lines.chain(films).flat_map(|w| w.files).collect()
    }

    /// What became of the results so far: for each output its kind and its counts.
    pub fn counts(&self) -> Vec<(&'static str, OutputCounts)> {
        let active = self.active();
        let of = |written: Written| OutputCounts {
            written: written.written,
            dropped: written.dropped,
            errors: written.errors,
        };
        let lines = active.lines.as_ref();
        let film = active.film.as_ref();
        let lines = lines.map(|(_, worker)| ("jsonl", of(worker.written())));
        let film = film.map(|(_, worker)| ("video", of(worker.written())));
        let mut counts: BTreeMap<&'static str, OutputCounts> = BTreeMap::new();
        for events in &active.events {
            let (queued, refused) = events.counts();
            let sum = counts.entry(events.spec.kind).or_default();
            sum.written += queued;
            sum.errors += refused;
        }
        counts.into_iter().chain(lines).chain(film).collect()
    }

    /// What became of the results so far, for each output.
    pub fn to_json(&self) -> Json {
        let active = self.active();
        let written = |path: &PathBuf, written: Written| {
            json!({
                "path": path.display().to_string(),
                "written": written.written,
                "dropped": written.dropped,
                "errors": written.errors,
                "problem": written.problem,
            })
        };
        let jsonl = active.lines.as_ref();
        let video = active.film.as_ref();
        let looked_at = active.preview.as_ref();
        let mounts: Vec<String> = lock(&self.mounts).values().map(Mounted::url).collect();
        json!({
            "events": active.events.iter().map(|e| e.to_json()).collect::<Json>(),
            "jsonl": jsonl.map(|(spec, worker)| written(&spec.path, worker.written())),
            "video": video.map(|(spec, worker)| written(&spec.plan.path, worker.written())),
            "preview": looked_at.map(|_| json!({
                "viewers": self.view.viewers(),
                "encoded": self.view.encoded(),
            })),
            "rtsp": mounts,
        })
    }
}

/// The worker of the old outputs, unless the new ones have it too.
fn gone<S, W: worker::Write>(
    old: &Option<Writing<S, W>>,
    new: &Option<Writing<S, W>>,
) -> Option<Arc<Worker<W>>> {
    let (_, old) = old.as_ref()?;
    let stays = new.as_ref().is_some_and(|(_, new)| Arc::ptr_eq(new, old));
    (!stays).then(|| old.clone())
}

impl Drop for Outputs {
    fn drop(&mut self) {
        self.release();
    }
}
