//! The films of a stream: one for each of its sources.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::spec::FilmSpec;
use super::worker::Write;
use crate::delivery::video::series::{Film, FilmPlan, Moment};
use crate::values::Image;

/// A picture to film.
pub(super) struct Scene {
    /// Number of its source.
    pub source: usize,
    /// What the name of its film has behind that of the stream.
    pub suffix: Option<String>,
    /// The picture.
    pub picture: Image,
    /// When it is from.
    pub moment: Moment,
    /// The sources that the stream has.
    pub sources: Arc<[usize]>,
}

/// Films by the numbers of their sources. Films of sources that are gone are finished.
pub(super) struct Films {
    spec: FilmSpec,
    films: BTreeMap<usize, Film>,
    done: Vec<PathBuf>,
}

impl Films {
    pub(super) fn new(spec: FilmSpec) -> Self {
        Self {
            spec,
            films: BTreeMap::new(),
            done: Vec::new(),
        }
    }

    fn finish_gone(&mut self, sources: &[usize]) -> Result<(), String> {
        let gone: Vec<usize> = self.films.keys().copied().collect();
        let mut outcome = Ok(());
        for source in gone.into_iter().filter(|s| !sources.contains(s)) {
            outcome = outcome.and(self.finish_one(source));
        }
        outcome
    }

    fn finish_one(&mut self, source: usize) -> Result<(), String> {
        let Some(mut film) = self.films.remove(&source) else {
            return Ok(());
        };
        let finished = film.finish();
        self.done.extend_from_slice(film.files());
        finished.map_err(|e| e.to_string())
    }
}

impl Write for Films {
    type Item = Scene;

    fn write(&mut self, scene: Scene) -> Result<(), String> {
        self.finish_gone(&scene.sources)?;
        let plan = &self.spec.plan;
        let film = self.films.entry(scene.source).or_insert_with(|| {
            Film::new(FilmPlan {
                path: named(&plan.path, scene.suffix.as_deref()),
                ..plan.clone()
            })
        });
        // Here, not in the stream, a decoder's frame becomes BGR if no step needed that.
        let pixels = scene.picture.bgr();
        film.write(&pixels, scene.moment).map_err(|e| e.to_string())
    }

    fn idle(&mut self) -> Result<(), String> {
        let ended = self.films.values_mut().map(Film::idle);
        let ended: Vec<_> = ended.collect();
        let ended: Result<(), _> = ended.into_iter().collect();
        ended.map_err(|e| e.to_string())
    }

    fn finish(&mut self) -> Result<(), String> {
        self.finish_gone(&[])
    }

    fn files(&self) -> Vec<PathBuf> {
        self.done.clone()
    }
}

/// The path with a stream's name behind its own: `film.mp4` becomes `film-gate.mp4`.
pub fn named(path: &Path, stream: Option<&str>) -> PathBuf {
    let Some(stream) = stream else {
        return path.to_owned();
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{}.mp4", file_name(stream)))
}

/// A stream's name as a file name: whatever is no letter, digit, `-`, `_` or `.` becomes `_`.
pub fn file_name(stream: &str) -> String {
    let harmless = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let name: String = stream
        .chars()
        .map(|c| if harmless(c) { c } else { '_' })
        .collect();
    name.trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_streams_cannot_leave_the_folder() {
        assert_eq!(file_name("../cam 1/main"), "_cam_1_main");
        let path = Path::new("out/a.mp4");
        assert_eq!(named(path, Some("x/y")), Path::new("out/a-x_y.mp4"));
        assert_eq!(named(path, None), path);
    }
}
