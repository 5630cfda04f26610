//! Results as lines of JSON in a file.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value as Json;

use super::spec::LinesSpec;
use super::worker::Write;
use crate::delivery::jsonl::JsonLines;

/// Writes the lines; the file is opened with the first one, and again after an error.
pub(super) struct Lines {
    spec: LinesSpec,
    file: Option<JsonLines>,
    begun: bool,
}

impl Lines {
    pub(super) fn new(spec: LinesSpec) -> Self {
        Self {
            spec,
            file: None,
            begun: false,
        }
    }

    fn open(&mut self) -> Result<JsonLines, String> {
        let path = &self.spec.path;
        let opened = match self.begun || self.spec.append {
            true => JsonLines::append(path),
            false => JsonLines::create(path),
        };
        let opened = opened.map_err(|e| e.to_string())?;
        self.begun = true;
        Ok(opened.rotated(self.spec.rotation))
    }
}

impl Write for Lines {
    type Item = Arc<Json>;

    fn write(&mut self, line: Arc<Json>) -> Result<(), String> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        file.write(&*line).map_err(|e| e.to_string())?;
        self.file = Some(file);
        Ok(())
    }

    fn idle(&mut self) -> Result<(), String> {
        match &mut self.file {
            Some(file) => file.flush().map_err(|e| e.to_string()),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        match self.file.take() {
            Some(file) => file.finish().map(drop).map_err(|e| e.to_string()),
            None => Ok(()),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        match self.begun {
            true => vec![self.spec.path.clone()],
            false => Vec::new(),
        }
    }
}
