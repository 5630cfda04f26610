//! Where a file may be made, and making it there.
//!
//! A path is taken apart into its names as text, without a look at the disk, and must lie below the
//! allowed folder. Then each name is opened in the folder before it with the demand that it is no
//! link. Whoever swaps a folder for a link in between makes the opening fail; nothing is made
//! elsewhere.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use crate::blocks::sinks::settings::FilePlace;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error(
        "`roboflow_core/local_file_sink@v1` block cannot run in this environment - local file system usage is forbidden - set WORKFLOW_BLOCKS_WRITE_DIRECTORY to the folder that workflows may write to"
    )]
    Forbidden,
    #[error(
        "Requested file sink to save data in `{path}` which is not sub-directory of the location pointed to dump data from `roboflow_core/local_file_sink@v1` block. Expected sub-directory of {allowed}"
    )]
    Outside { path: String, allowed: String },
    #[error(transparent)]
    Machine(#[from] io::Error),
}

/// A folder that a step names.
#[derive(Debug)]
pub(super) struct Target {
    /// The folder that nothing may leave.
    allowed: Option<PathBuf>,
    folder: PathBuf,
}

impl Target {
    /// The folder, if files may go there.
    pub(super) fn new(place: &FilePlace, folder: &str) -> Result<Self, PlaceError> {
        let allowed = match place {
            FilePlace::Nowhere => return Err(PlaceError::Forbidden),
            FilePlace::Folder(allowed) => Some(plain(&std::path::absolute(allowed)?)),
            FilePlace::Anywhere => None,
        };
        let folder = match folder {
            "" => std::path::absolute(".")?,
            text => plain(&std::path::absolute(text)?),
        };
        let target = Self { allowed, folder };
        target.names(&target.folder)?;
        Ok(target)
    }

    /// Makes a file under a name that may hold folders; those that are missing are made.
    pub(super) fn create(&self, name: &str) -> Result<File, PlaceError> {
        let path = plain(&self.folder.join(name));
        let Some(allowed) = &self.allowed else {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            return Ok(File::create_new(&path)?);
        };
        let mut names = self.names(&path)?;
        let Some(last) = names.pop() else {
            return Err(self.outside(&path));
        };
        std::fs::create_dir_all(allowed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = openat(CWD, allowed, flags, Mode::empty()).map_err(io::Error::from)?;
        for name in names {
            folder = self.enter(&folder, &name, &path)?;
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&folder, &last, flags, Mode::from_raw_mode(0o644));
        Ok(File::from(file.map_err(io::Error::from)?))
    }

    fn enter(&self, folder: &OwnedFd, name: &OsString, path: &Path) -> Result<OwnedFd, PlaceError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || openat(folder, name, flags, Mode::empty());
        let opened = match open() {
            Err(Errno::NOENT) => match mkdirat(folder, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => open(),
                Err(error) => Err(error),
            },
            other => other,
        };
        match opened {
            Ok(next) => Ok(next),
            Err(Errno::LOOP | Errno::NOTDIR) => Err(self.outside(path)),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    /// The names that lead from the allowed folder to a path.
    fn names(&self, path: &Path) -> Result<Vec<OsString>, PlaceError> {
        let Some(allowed) = &self.allowed else {
            return Ok(Vec::new());
        };
        let below = path.strip_prefix(allowed);
        let below = below.map_err(|_| self.outside(path))?;
        Ok(below.iter().map(OsString::from).collect())
    }

    fn outside(&self, path: &Path) -> PlaceError {
        let allowed = self.allowed.as_deref().unwrap_or(Path::new("/"));
        PlaceError::Outside {
            path: path.display().to_string(),
            allowed: allowed.display().to_string(),
        }
    }
}

/// The path without `.` and `..`, by its text.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}
