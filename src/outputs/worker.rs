//! Writes what a stream gives in a thread of its own, so that a slow disk holds up nobody.
//!
//! The thread starts with the first thing to write, behind a short queue. What happens when the queue
//! is full is said with each thing ([`Room`]). After an error nothing is written for a second, then
//! it is tried again; a worker that is [`strict`](Worker::strict) gives up instead. Everything is
//! counted.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, TrySendError};

/// Things that may wait for the thread.
const QUEUE: usize = 8;
/// Time after an error in which nothing is tried.
const REST: Duration = Duration::from_secs(1);
/// How often one who waits for room looks whether it still should; a writer without work is told so
/// as often.
const LOOK: Duration = Duration::from_millis(250);

/// What happens to things that find no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// The stream waits: nothing is left out.
    Wait,
    /// They are dropped, and counted.
    DropNewest,
}

/// What is done in the thread.
pub(super) trait Write: Send + 'static {
    /// What it writes.
    type Item: Send + 'static;

    /// Writes one thing; an error says why not, without secrets.
    fn write(&mut self, item: Self::Item) -> Result<(), String>;

    /// Nothing came for a while.
    fn idle(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Ends everything; files are whole afterwards.
    fn finish(&mut self) -> Result<(), String>;

    /// The files so far.
    fn files(&self) -> Vec<PathBuf>;
}

/// What became of the things.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Written without an error.
    pub written: u64,
    /// Dropped because there was no room, or shortly after an error.
    pub dropped: u64,
    /// Errors.
    pub errors: u64,
    /// The last error, if nothing was written since.
    pub problem: Option<String>,
    /// Files, once the thread has ended.
    pub files: Vec<PathBuf>,
}

#[derive(Default)]
struct Shared {
    written: AtomicU64,
    dropped: AtomicU64,
    errors: AtomicU64,
    problem: Mutex<Option<String>>,
    files: Mutex<Vec<PathBuf>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn failed(&self, name: &str, error: String) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let before = lock(&self.problem).replace(error.clone());
        match before {
            None => tracing::warn!(output = name, "{error}"),
            // It names another file at every attempt where each begins one.
            Some(before) if before != error => tracing::debug!(output = name, "{error}"),
            Some(_) => {}
        }
    }
}

/// A writer with its thread; see the module documentation.
pub(super) struct Worker<W: Write> {
    name: String,
    strict: bool,
    shared: Arc<Shared>,
    state: Mutex<State<W>>,
    /// Nobody shall wait for room any more.
    released: AtomicBool,
}

enum State<W: Write> {
    Due(W),
    Running(Sender<W::Item>, JoinHandle<()>),
    Over,
}

impl<W: Write> Worker<W> {
    /// A worker whose thread has this name once it runs.
    pub(super) fn new(name: String, writer: W, strict: bool) -> Self {
        Self {
            name,
            strict,
            shared: Arc::default(),
            state: Mutex::new(State::Due(writer)),
            released: AtomicBool::new(false),
        }
    }

    /// Hands something to the thread.
    pub(super) fn send(&self, item: W::Item, room: Room) {
        let Some(sender) = self.sender() else {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if !self.pass(&sender, item, room) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn pass(&self, sender: &Sender<W::Item>, mut item: W::Item, room: Room) -> bool {
        loop {
            let wait = room == Room::Wait && !self.released.load(Ordering::Relaxed);
            if !wait {
                return match sender.try_send(item) {
                    Ok(()) => true,
                    Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
                };
            }
            match sender.send_timeout(item, LOOK) {
                Ok(()) => return true,
                Err(SendTimeoutError::Timeout(back)) => item = back,
                Err(SendTimeoutError::Disconnected(_)) => return false,
            }
        }
    }

    /// The way to the thread, which is started if it was not.
    fn sender(&self) -> Option<Sender<W::Item>> {
        let mut state = lock(&self.state);
        if let State::Due(_) = &*state
            && let State::Due(writer) = std::mem::replace(&mut *state, State::Over)
        {
            let (sender, receiver) = crossbeam_channel::bounded(QUEUE);
            let (shared, name, strict) = (self.shared.clone(), self.name.clone(), self.strict);
            let run = move || Thread::new(writer, shared, name, strict).run(&receiver);
            match thread::Builder::new().name(self.name.clone()).spawn(run) {
                Ok(thread) => *state = State::Running(sender, thread),
                Err(error) => {
                    let text = format!("the machine refuses a thread: {error}");
                    self.shared.failed(&self.name, text);
                }
            }
        }
        match &*state {
            State::Running(sender, _) => Some(sender.clone()),
            State::Due(_) | State::Over => None,
        }
    }

    /// Lets go who waits for room; what finds none from now on is dropped.
    pub(super) fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
    }

    /// Takes nothing more and lets the thread write what waits; false if that takes longer than
    /// `patience`, then the thread is left to itself.
    pub(super) fn end(&self, patience: Duration) -> bool {
        let state = std::mem::replace(&mut *lock(&self.state), State::Over);
        let State::Running(sender, thread) = state else {
            return true;
        };
        drop(sender);
        let until = Instant::now() + patience;
        while !thread.is_finished() {
            if Instant::now() >= until {
                tracing::warn!(
                    output = self.name,
                    "it takes long to end and is left to itself"
                );
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        // What it does is behind typed errors and does not panic.
        let _ = thread.join();
        true
    }

    /// What became of the things so far.
    pub(super) fn written(&self) -> Written {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Written {
            written: count(&self.shared.written),
            dropped: count(&self.shared.dropped),
            errors: count(&self.shared.errors),
            problem: lock(&self.shared.problem).clone(),
            files: lock(&self.shared.files).clone(),
        }
    }
}

/// The thread of a worker.
struct Thread<W> {
    writer: W,
    shared: Arc<Shared>,
    name: String,
    strict: bool,
    /// Until when nothing is tried.
    rest: Option<Instant>,
    gave_up: bool,
}

impl<W: Write> Thread<W> {
    fn new(writer: W, shared: Arc<Shared>, name: String, strict: bool) -> Self {
        Self {
            writer,
            shared,
            name,
            strict,
            rest: None,
            gave_up: false,
        }
    }

    fn run(mut self, items: &Receiver<W::Item>) {
        loop {
            match items.recv_timeout(LOOK) {
                Ok(item) => self.take(item),
                Err(RecvTimeoutError::Timeout) => {
                    let outcome = self.writer.idle();
                    self.note(outcome);
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Err(error) = self.writer.finish() {
            self.shared.failed(&self.name, error);
        }
        *lock(&self.shared.files) = self.writer.files();
    }

    fn take(&mut self, item: W::Item) {
        let rests = self.rest.is_some_and(|until| Instant::now() < until);
        if self.gave_up || rests {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let outcome = self.writer.write(item);
        if outcome.is_ok() {
            self.shared.written.fetch_add(1, Ordering::Relaxed);
            if self.rest.take().is_some() {
                *lock(&self.shared.problem) = None;
            }
        }
        self.note(outcome);
    }

    fn note(&mut self, outcome: Result<(), String>) {
        if let Err(error) = outcome {
            self.shared.failed(&self.name, error);
            self.rest = Some(Instant::now() + REST);
            self.gave_up = self.strict;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes down numbers; waits while the gate is held, and refuses 13.
    struct Book {
        gate: Arc<Mutex<()>>,
        numbers: Numbers,
    }

    impl Write for Book {
        type Item = u32;

        fn write(&mut self, item: u32) -> Result<(), String> {
            let _open = lock(&self.gate);
            if item == 13 {
                return Err("thirteen".into());
            }
            lock(&self.numbers).push(item);
            Ok(())
        }

        fn finish(&mut self) -> Result<(), String> {
            Ok(())
        }

        fn files(&self) -> Vec<PathBuf> {
            vec!["book".into()]
        }
    }

    type Numbers = Arc<Mutex<Vec<u32>>>;

    fn worker(strict: bool) -> (Worker<Book>, Arc<Mutex<()>>, Numbers) {
        let (gate, numbers) = (Arc::default(), Arc::default());
        let book = Book {
            gate: Arc::clone(&gate),
            numbers: Arc::clone(&numbers),
        };
        (Worker::new("book".into(), book, strict), gate, numbers)
    }

    #[test]
    fn a_held_up_writer_drops_or_holds_up_as_it_is_told() {
        let (worker, gate, numbers) = worker(false);
        let held = lock(&gate);
        worker.send(0, Room::DropNewest);
        let queue = worker.sender().unwrap();
        while !queue.is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        drop(queue);
        for number in 1..50 {
            worker.send(number, Room::DropNewest);
        }
        let dropped = worker.written().dropped;
        assert_eq!(dropped, 49 - QUEUE as u64);
        thread::scope(|scope| {
            let waits = scope.spawn(|| worker.send(100, Room::Wait));
            thread::sleep(Duration::from_millis(20));
            assert!(!waits.is_finished());
            drop(held);
        });
        assert!(worker.end(Duration::from_secs(5)));
        let told = worker.written();
        assert_eq!(told.written, 50 - dropped + 1);
        assert_eq!(lock(&numbers).last(), Some(&100));
        assert_eq!(told.files, [PathBuf::from("book")]);
        worker.send(1, Room::Wait);
        assert_eq!(worker.written().dropped, dropped + 1, "it is over");
    }

    #[test]
    fn one_who_waits_can_be_let_go() {
        let (worker, gate, _) = worker(false);
        let held = lock(&gate);
        thread::scope(|scope| {
            let waits = scope.spawn(|| (0..20).for_each(|n| worker.send(n, Room::Wait)));
            thread::sleep(Duration::from_millis(20));
            worker.release();
            waits.join().unwrap();
        });
        assert!(!worker.end(Duration::from_millis(10)), "its thread is held");
        drop(held);
    }

    #[test]
    fn errors_are_told_and_tried_again_or_given_up() {
        for strict in [false, true] {
            let (worker, _, numbers) = worker(strict);
            worker.send(13, Room::Wait);
            worker.send(1, Room::Wait);
            thread::sleep(REST + Duration::from_millis(200));
            assert_eq!(worker.written().problem.as_deref(), Some("thirteen"));
            worker.send(2, Room::Wait);
            assert!(worker.end(Duration::from_secs(5)));
            let told = worker.written();
            assert_eq!((told.errors, told.dropped), (1, 1 + u64::from(strict)));
            assert_eq!(told.problem.is_some(), strict);
            assert_eq!(lock(&numbers).len(), usize::from(!strict));
        }
    }
}
