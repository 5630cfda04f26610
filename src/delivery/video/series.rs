//! A film in one file or in a series of them.
//!
//! Without a [`Cut`] there is one file under the given name; only where the pictures change their
//! size, or the time of the stream begins anew, the next one begins (`name-2.mp4`). With a cut each
//! file is `name-<number>-<start in UTC>.mp4`: it begins with a key frame and with time zero, and is
//! an ordinary, whole MP4 as soon as the next one has begun, or no picture comes for ten seconds. Numbers go on behind those of files that
//! are there already, so a restart overwrites nothing; with [`FilmPlan::keep`] the oldest files of
//! the series are removed. A crash loses of the open file what came after its last fragment, about a
//! second.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::DateTime;

use super::{VideoError, VideoOptions, VideoSummary, VideoWriter};
use crate::values::{Matrix, Timestamp};

/// How far the time of a stream may fall back before that counts as a new beginning.
const NEW_TIME: Duration = Duration::from_secs(1);
/// Time without a picture after which the open file of a series is ended.
const FORSAKEN: Duration = Duration::from_secs(10);
/// Names of finished files that are remembered.
const REMEMBERED: usize = 1_000;

/// Where a file of a series ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// After so much time of the stream.
    Time(Duration),
    /// Before it has more bytes than that.
    Size(u64),
}

/// A text that says no [`Cut`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a time such as 90s, 10m or 1h nor a size such as 500MB or 2GB")]
pub struct CutError(String);

impl FromStr for Cut {
    type Err = CutError;

    fn from_str(text: &str) -> Result<Self, CutError> {
        let wrong = || CutError(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let times = |unit: u64| number.checked_mul(unit).filter(|n| *n > 0);
        let cut = match unit {
            "s" => times(1).map(|s| Self::Time(Duration::from_secs(s))),
            "m" => times(60).map(|s| Self::Time(Duration::from_secs(s))),
            "h" => times(3_600).map(|s| Self::Time(Duration::from_secs(s))),
            "kB" | "KB" => times(1_000).map(Self::Size),
            "MB" => times(1_000_000).map(Self::Size),
            "GB" => times(1_000_000_000).map(Self::Size),
            _ => None,
        };
        cut.ok_or_else(wrong)
    }
}

/// Where a film goes, and how it is cut.
#[derive(Clone, Debug, PartialEq)]
pub struct FilmPlan {
    /// The file; of a series its name without number and time.
    pub path: PathBuf,
    /// Where files end; one file without.
    pub cut: Option<Cut>,
    /// Files of the series that stay, the open one among them; all without.
    pub keep: Option<usize>,
}

/// When a picture is from.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Time in the stream.
    pub time: Duration,
    /// Time of day.
    pub at: Timestamp,
    /// Pictures per second of the stream, if that is known.
    pub fps: Option<f64>,
}

/// A film being written.
pub struct Film {
    plan: FilmPlan,
    open: Option<Open>,
    /// Number of the newest file.
    number: u64,
    done: Vec<PathBuf>,
    /// Ends the file before the open one, so that no picture waits for that.
    ending: Option<JoinHandle<Result<VideoSummary, VideoError>>>,
}

struct Open {
    film: VideoWriter,
    path: PathBuf,
    size: [usize; 2],
    /// Time in the stream of the first and of the newest picture.
    start: Duration,
    newest: Duration,
    /// When the newest picture came.
    written: Instant,
    /// Size of the file at the last look, and the most that it grew by between two looks.
    bytes: u64,
    growth: u64,
}

impl Film {
    /// A film that begins with its first picture; nothing is touched before.
    pub fn new(plan: FilmPlan) -> Self {
        Self {
            plan,
            open: None,
            number: 0,
            done: Vec::new(),
            ending: None,
        }
    }

    /// Adds a picture; waits while the encoder is behind.
    ///
    /// # Errors
    /// If it cannot be written. The file is given up then, and the next picture begins another one.
    pub fn write(&mut self, picture: &Arc<Matrix>, moment: Moment) -> Result<(), VideoError> {
        let size = picture.size();
        let cut = self.plan.cut;
        let over = |open: &mut Open| open.size != size || open.is_over(cut, moment.time);
        if self.open.as_mut().is_some_and(over) {
            self.cut()?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin(size, moment)?,
        };
        let time = moment.time.saturating_sub(open.start);
        if let Err(error) = open.film.write_at(picture, time) {
            open.give_up();
            return Err(error);
        }
        open.newest = open.newest.max(moment.time);
        open.written = Instant::now();
        self.open = Some(open);
        Ok(())
    }

    /// Ends the open file; it and those before are whole afterwards.
    ///
    /// # Errors
    /// If what is left of them cannot be written.
    pub fn finish(&mut self) -> Result<(), VideoError> {
        let settled = self.settle();
        let Some(open) = self.open.take() else {
            return settled;
        };
        self.remember(open.path);
        settled.and(open.film.finish().map(drop))
    }

    /// Nothing comes: ends the open file of a series that got no picture for a while, so that what
    /// there is is whole.
    ///
    /// # Errors
    /// If what is left of it cannot be written.
    pub fn idle(&mut self) -> Result<(), VideoError> {
        let forsaken = |open: &Open| open.written.elapsed() >= FORSAKEN;
        match self.plan.cut.is_some() && self.open.as_ref().is_some_and(forsaken) {
            true => self.finish(),
            false => Ok(()),
        }
    }

    /// Ends the open file in a thread of its own, while the next one begins.
    fn cut(&mut self) -> Result<(), VideoError> {
        let settled = self.settle();
        let Some(open) = self.open.take() else {
            return settled;
        };
        self.remember(open.path);
        let film = open.film;
        let spawned = std::thread::Builder::new()
            .name("film-end".into())
            .spawn(move || film.finish());
        match spawned {
            Ok(ending) => self.ending = Some(ending),
            // The file was ended where it was dropped.
            Err(error) => tracing::warn!(%error, "the machine refuses a thread to end a film"),
        }
        settled
    }

    /// Waits for the end of the file before the open one.
    fn settle(&mut self) -> Result<(), VideoError> {
        match self.ending.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended.map(drop),
            // It does not panic.
            Some(Err(_)) | None => Ok(()),
        }
    }

    fn remember(&mut self, path: PathBuf) {
        if self.done.len() == REMEMBERED {
            self.done.remove(0);
        }
        self.done.push(path);
    }

    /// The files that are done with, oldest first; the last thousand.
    pub fn files(&self) -> &[PathBuf] {
        &self.done
    }

    fn begin(&mut self, size: [usize; 2], moment: Moment) -> Result<Open, VideoError> {
        if let Some(folder) = self.plan.path.parent()
            && !folder.as_os_str().is_empty()
        {
            std::fs::create_dir_all(folder).map_err(|error| VideoError::Open {
                path: self.plan.path.clone(),
                reason: error.to_string().to_lowercase(),
            })?;
        }
        if self.number == 0 && self.plan.cut.is_some() {
            let newest = numbered(&self.plan.path).pop();
            self.number = newest.map_or(0, |(number, _)| number);
        }
        self.number += 1;
        let path = self.path(moment.at);
        let fps = moment.fps.filter(|fps| (0.01..=1000.0).contains(fps));
        let options = VideoOptions::new(fps.unwrap_or(25.0));
        let film = VideoWriter::create(&path, size[0], size[1], options)?;
        self.clear_out();
        Ok(Open {
            film,
            path,
            size,
            start: moment.time,
            newest: moment.time,
            written: Instant::now(),
            bytes: 0,
            growth: 0,
        })
    }

    fn path(&self, at: Timestamp) -> PathBuf {
        let (path, number) = (&self.plan.path, self.number);
        let stem = stem(path);
        match (self.plan.cut, number) {
            (None, 1) => path.clone(),
            (None, _) => path.with_file_name(format!("{stem}-{number}.mp4")),
            (Some(_), _) => {
                let utc = DateTime::from_timestamp(at.unix_seconds() as i64, 0).unwrap_or_default();
                let start = utc.format("%Y%m%dT%H%M%SZ");
                path.with_file_name(format!("{stem}-{number:06}-{start}.mp4"))
            }
        }
    }

    /// Removes the oldest files of the series beyond those that stay.
    fn clear_out(&self) {
        let (Some(keep), Some(_)) = (self.plan.keep, self.plan.cut) else {
            return;
        };
        let files = numbered(&self.plan.path);
        let surplus = files.len().saturating_sub(keep.max(1));
        for (_, path) in &files[..surplus] {
            match std::fs::remove_file(path) {
                Ok(()) => tracing::debug!(path = %path.display(), "an old film was removed"),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "an old film cannot be removed");
                }
            }
        }
    }
}

impl Open {
    /// Ends a file that can be written no more. An empty one goes: on a full disk one comes with every
    /// attempt, and they would take the places of films.
    fn give_up(self) {
        drop(self.film);
        let is_empty = std::fs::metadata(&self.path).is_ok_and(|file| file.len() == 0);
        if is_empty && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "an empty film stays");
        }
    }

    fn is_over(&mut self, cut: Option<Cut>, time: Duration) -> bool {
        if time + NEW_TIME < self.newest {
            return true;
        }
        match cut {
            None => false,
            Some(Cut::Time(most)) => time.saturating_sub(self.start) >= most,
            Some(Cut::Size(most)) => {
                let bytes = std::fs::metadata(&self.path).map_or(0, |file| file.len());
                self.growth = self.growth.max(bytes.saturating_sub(self.bytes));
                self.bytes = bytes;
                // What the encoder still has comes on top.
                bytes > 0 && bytes + self.growth >= most
            }
        }
    }
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The files of a series that are there, in the order of their numbers.
fn numbered(path: &Path) -> Vec<(u64, PathBuf)> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let stem = stem(path);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = number_of(name.to_str()?, &stem)?;
            Some((number, path.with_file_name(name)))
        })
        .collect();
    files.sort();
    files
}

/// The number in the name of a file of a series.
fn number_of(name: &str, stem: &str) -> Option<u64> {
    let rest = name.strip_prefix(stem)?.strip_prefix('-')?;
    let (number, start) = rest.strip_suffix(".mp4")?.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let is_start = start.len() == 16
        && start.is_ascii()
        && digits(&start[..8])
        && digits(&start[9..15])
        && start.ends_with('Z');
    (number.len() >= 6 && digits(number) && is_start)
        .then(|| number.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests;
