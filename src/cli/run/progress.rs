//! What a person sees of a run: a bar for each file, a line for each camera, a summary at the end.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Finished, Running};
use crate::streams::{End, Snapshot};

const REFRESH: Duration = Duration::from_millis(200);

/// Bars and lines of all streams; shows nothing if standard error is no terminal.
pub(super) struct Progress {
    bars: MultiProgress,
    lines: Mutex<Vec<Line>>,
}

struct Line {
    bar: ProgressBar,
    /// Whether the bar knows how many frames there are.
    sized: bool,
    /// Results at the last look, for the momentary rate.
    last: (Instant, u64),
    rate: f64,
}

impl Progress {
    pub(super) fn new(streams: usize) -> Self {
        Self {
            bars: MultiProgress::new(),
            lines: Mutex::new(Vec::with_capacity(streams)),
        }
    }

    /// Prints a line above the bars.
    pub(super) fn say(&self, text: &str) {
        self.bars.suspend(|| eprintln!("{text}"));
    }

    /// Adds the line of a stream; it becomes a bar when the stream turns out to be a file of known
    /// length.
    pub(super) fn add(&self, name: &str) {
        let bar = ProgressBar::new_spinner().with_style(style("{prefix} {spinner} {msg}"));
        let bar = self.bars.add(bar.with_prefix(name.to_owned()));
        self.lock().push(Line {
            bar,
            sized: false,
            last: (Instant::now(), 0),
            rate: 0.0,
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Line>> {
        self.lines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Keeps the bars up to date until all streams have ended.
    pub(super) fn follow(&self, running: &[Running]) {
        while running.iter().any(|r| !r.thread.is_finished()) {
            for (line, stream) in self.lock().iter_mut().zip(running) {
                line.update(&stream.figures.snapshot());
            }
            thread::sleep(REFRESH);
        }
    }

    pub(super) fn clear(&self) {
        // The terminal may be gone; the summary follows in any case.
        let _ = self.bars.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Line {
    fn update(&mut self, now: &Snapshot) {
        let elapsed = self.last.0.elapsed().as_secs_f64();
        if elapsed >= 0.5 {
            self.rate = (now.results - self.last.1) as f64 / elapsed;
            self.last = (Instant::now(), now.results);
        }
        if let (false, true, Some(total)) = (self.sized, now.recorded, now.total_frames) {
            let template = "{prefix} {wide_bar} {pos}/{len} frames  {msg}  {eta} left";
            self.bar.set_length(u64::try_from(total).unwrap_or(0));
            self.bar.set_style(style(template));
            self.sized = true;
        }
        self.bar.set_position(now.results);
        let mut text = format!(
            "{:.1} fps  p50 {} p99 {}",
            self.rate,
            millis(now.latency.p50),
            millis(now.latency.p99)
        );
        if !now.recorded {
            text = format!(
                "{} frames, {} dropped, {} reconnects  {text}",
                now.results,
                dropped(now),
                now.reconnects
            );
        }
        if now.errors > 0 {
            text.push_str(&format!("  {} errors", now.errors));
        }
        self.bar.set_message(text);
    }
}

fn dropped(now: &Snapshot) -> u64 {
    now.dropped.values().sum()
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Prints what became of a stream; says whether it failed.
pub(super) fn summarise(name: &str, finished: &Finished, elapsed: Duration) -> bool {
    let now = &finished.snapshot;
    let fps = now.results as f64 / elapsed.as_secs_f64().max(1e-9);
    say!(
        "{name}: {} frames in {:.1} s, {fps:.1} fps",
        now.results,
        elapsed.as_secs_f64()
    );
    say!(
        "  latency   p50 {}, p99 {}",
        millis(now.latency.p50),
        millis(now.latency.p99)
    );
    let stages: Vec<String> = now
        .stages
        .iter()
        .map(|(stage, time)| format!("{stage} {}", millis(*time)))
        .collect();
    if !stages.is_empty() {
        say!("  stages    {} (median)", stages.join(", "));
    }
    let causes: Vec<String> = now
        .dropped
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(cause, n)| format!("{n} {cause}"))
        .collect();
    say!(
        "  dropped   {}",
        if causes.is_empty() {
            "none".into()
        } else {
            causes.join(", ")
        }
    );
    if now.reconnects > 0 {
        say!("  reconnects {}", now.reconnects);
    }
    if now.damaged > 0 {
        say!("  damaged   {} frames (packets were missing)", now.damaged);
    }
    if now.errors > 0 {
        say!(
            "  errors    {} frames; their lines hold the reasons",
            now.errors
        );
        if let Some(first) = &finished.first_error {
            say!("            first: {first}");
        }
    }
    if !finished.last.is_empty() {
        say!("  last      {}", finished.last.join(", "));
    }
    for path in &finished.files {
        say!("  written   {}", path.display());
    }
    let mut failed = now.errors > 0;
    if let Some(problem) = &finished.problem {
        say!("  failed    {problem}");
        failed = true;
    }
    match &finished.end {
        Some(End::Failed(error)) => {
            say!("  failed    {error}");
            failed = true;
        }
        Some(End::Source(Some(warning))) => say!("  warning   {warning}"),
        Some(End::Stopped) => say!("  stopped"),
        Some(End::Source(None)) | None => {}
    }
    failed
}
