//! Where the results of one stream go on this machine: JSON Lines, a film, a window.

use std::path::{Path, PathBuf};

use super::RunArgs;
use crate::delivery::jsonl::{JsonLines, JsonLinesError};
use crate::delivery::preview::{Preview, PreviewError};
use crate::delivery::video::{VideoError, VideoOptions, VideoWriter};
use crate::streams::{FrameResult, Report};

/// Writes the results of one stream.
pub(super) struct Writer {
    lines: Option<JsonLines>,
    film: Film,
    first_film: Option<PathBuf>,
    /// Films that are done.
    films: Vec<PathBuf>,
    preview: Option<Preview>,
    first_error: Option<String>,
}

/// The film of a stream; opened with the first frame, whose rate it takes.
enum Film {
    None,
    Due(PathBuf),
    Open {
        film: VideoWriter,
        path: PathBuf,
        /// Width and height.
        size: (usize, usize),
    },
}

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Files, in the order of their flags.
    pub files: Vec<PathBuf>,
    /// The first error of a frame.
    pub first_error: Option<String>,
}

/// Why results cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("cannot create the folder {path}: {source}")]
    Folder {
        path: String,
        source: std::io::Error,
    },
    #[error(transparent)]
    Lines(#[from] JsonLinesError),
    #[error(transparent)]
    Film(#[from] VideoError),
    #[error(transparent)]
    Preview(#[from] PreviewError),
}

impl Writer {
    /// Opens what the arguments ask for. With `several` streams the files carry the stream's name.
    pub(super) fn create(args: &RunArgs, stream: &str, several: bool) -> Result<Self, WriteError> {
        let lines = match &args.output {
            None => None,
            Some(folder) => {
                create_folder(folder)?;
                let name = if several {
                    format!("{}.jsonl", file_name(stream))
                } else {
                    "results.jsonl".into()
                };
                Some(JsonLines::create(folder.join(name))?)
            }
        };
        let film = match &args.video {
            None => Film::None,
            Some(path) => {
                if let Some(folder) = path.parent() {
                    create_folder(folder)?;
                }
                let path = if several {
                    with_stream(path, stream)
                } else {
                    path.clone()
                };
                Film::Due(path)
            }
        };
        let preview = if args.preview {
            Some(Preview::open()?)
        } else {
            None
        };
        Ok(Self {
            lines,
            preview,
            first_film: match &film {
                Film::Due(path) => Some(path.clone()),
                _ => None,
            },
            films: Vec::new(),
            film,
            first_error: None,
        })
    }

    /// Writes one result.
    pub(super) fn write(
        &mut self,
        report: &Report,
        result: &FrameResult,
    ) -> Result<(), WriteError> {
        if self.first_error.is_none()
            && let Err(error) = &result.run
        {
            self.first_error = Some(error.to_string());
        }
        if let Some(lines) = &mut self.lines {
            lines.write(&report.json)?;
        }
        self.film(report, result)?;
        if let Some(preview) = &mut self.preview {
            preview.show(&report.picture)?;
        }
        Ok(())
    }

    /// Films the picture of a report. A film has one size: when a camera changes its own, the next
    /// film begins, `<name>-2.mp4` and so on.
    fn film(&mut self, report: &Report, result: &FrameResult) -> Result<(), WriteError> {
        if matches!(self.film, Film::None) {
            return Ok(());
        }
        let pixels = report.picture.bgr();
        let size = (pixels.width, pixels.height);
        let next = match &self.film {
            Film::Due(path) => Some(path.clone()),
            Film::Open { size: open, .. } if *open != size => self.next_film(),
            Film::Open { .. } | Film::None => None,
        };
        if let Some(path) = next {
            if let Film::Open { film, path, .. } = std::mem::replace(&mut self.film, Film::None) {
                self.films.push(path);
                film.finish()?;
            }
            let options = VideoOptions::new(result.frame.video.fps.unwrap_or(25.0));
            let film = VideoWriter::create(&path, size.0, size.1, options)?;
            self.film = Film::Open { film, path, size };
        }
        if let Film::Open { film, .. } = &mut self.film {
            film.write_at(&pixels, result.frame.time)?;
        }
        Ok(())
    }

    fn next_film(&self) -> Option<PathBuf> {
        let path = self.first_film.as_ref()?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Some(path.with_file_name(format!("{stem}-{}.mp4", self.films.len() + 2)))
    }

    /// Closes everything; files are whole afterwards.
    pub(super) fn finish(self) -> (Written, Result<(), WriteError>) {
        let mut written = Written {
            files: Vec::new(),
            first_error: self.first_error,
        };
        let mut outcome = Ok(());
        if let Some(lines) = self.lines {
            written.files.push(lines.path().to_owned());
            if let Err(error) = lines.finish() {
                outcome = Err(error.into());
            }
        }
        written.files.extend(self.films);
        if let Film::Open { film, path, .. } = self.film {
            written.files.push(path);
            if let Err(error) = film.finish() {
                outcome = outcome.and(Err(error.into()));
            }
        }
        (written, outcome)
    }
}

fn create_folder(path: &Path) -> Result<(), WriteError> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(path).map_err(|source| WriteError::Folder {
        path: path.display().to_string(),
        source,
    })
}

/// A stream's name as a file name: whatever is no letter, digit, `-`, `_` or `.` becomes `_`.
fn file_name(stream: &str) -> String {
    let name: String = stream
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    name.trim_start_matches('.').to_owned()
}

fn with_stream(path: &Path, stream: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{}.mp4", file_name(stream)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_streams_cannot_leave_the_folder() {
        assert_eq!(file_name("../cam 1/main"), "_cam_1_main");
        assert_eq!(
            with_stream(Path::new("out/a.mp4"), "x/y"),
            Path::new("out/a-x_y.mp4")
        );
    }
}
