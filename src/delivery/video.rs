//! Placeholder.
use crate::values::Image;
use std::path::{Path, PathBuf};
use std::time::Duration;
/// E
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct VideoError;
/// V
pub struct VideoWriter(PathBuf);
impl VideoWriter {
    /// C
    pub fn create(p: &Path, _: f64) -> Result<Self, VideoError> {
        Ok(Self(p.to_owned()))
    }
    /// W
    pub fn write(&mut self, _: &Image, _: Duration) -> Result<(), VideoError> {
        Ok(())
    }
    /// P
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// F
    pub fn finish(self) -> Result<(), VideoError> {
        Ok(())
    }
}
