//! Writes texts to files of this machine.
//!
//! # Inputs and outputs
//! `content` goes into a file of its own in `target_directory` (`separate_files`), or behind the
//! entries before it until `max_entries_per_file` is reached (`append_log`). Names hold the prefix
//! and the local time. `error_status` and `message` tell what became of it.
//!
//! # State
//! Per stream, the log that is open.
//!
//! # Edge cases
//! Files go nowhere unless the operator says where: below `WORKFLOW_BLOCKS_WRITE_DIRECTORY`, or
//! anywhere with `ALLOW_WORKFLOW_BLOCKS_ACCESSING_LOCAL_STORAGE=true`. The reference writes anywhere
//! unless it is told not to. A place outside fails the step, for a log too, where the reference only
//! reports that no file could be made. No link is followed below the allowed folder: the reference
//! compares paths as texts, and a link leads out. A file that is there is not overwritten: the name
//! gets the next microsecond. A disk that is full is a report, not an error of the workflow.

mod place;

use std::fs::File;
use std::io::Write as _;

use super::entry::{self, Written, ended};
use super::report::{OUTPUTS, Report};
use super::shapes::CHOSEN_TEXT;
use crate::blocks::state::PerStream;
use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Role};

use place::{PlaceError, Target};

const SAVED: &str = "Data saved successfully";
/// Names tried when files of the same microsecond are there.
const NAMES: i64 = 1000;

/// `roboflow_core/local_file_sink@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/local_file_sink@v1"],
    name: "Local File Sink",
    family: Family::Sink,
    about: "Writes texts to files of this machine.",
    fields: FIELDS,
    outputs: OUTPUTS,
    role: Role::Sink,
    check: Some(entry::check),
    build: |_, _| Ok(Box::new(LocalFileSink::default())),
    ..BlockSpec::DEFAULT
};

const FIELDS: &[Field] = &[
    entry::CONTENT,
    entry::FILE_TYPE,
    entry::OUTPUT_MODE,
    Field::required("target_directory", CHOSEN_TEXT).about("Folder for the files."),
    entry::FILE_NAME_PREFIX,
    entry::MAX_ENTRIES,
];

#[derive(Default)]
struct LocalFileSink {
    logs: PerStream<Option<Log>>,
}

/// A log and how many entries it holds.
struct Log {
    file: File,
    entries: usize,
}

impl Block for LocalFileSink {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        if let Some(off) = Report::off_by_policy(cx) {
            return Ok(off.plain());
        }
        let written = Written::read(inputs)?;
        let target = inputs.text("target_directory")?;
        let target = Target::new(&cx.services.sinks.settings.files, target);
        let target = target.map_err(|error| BlockError::failed(error.to_string()))?;
        let report = match written.appends {
            true => self.append(&written, &target, cx)?,
            false => separate(&written, &target, cx)?,
        };
        Ok(report.plain())
    }
}

impl LocalFileSink {
    fn append(
        &mut self,
        written: &Written<'_>,
        target: &Target,
        cx: &Context<'_>,
    ) -> Result<Report, BlockError> {
        let log = self.logs.get(cx.stream, || None);
        let fresh = log.as_ref().is_none_or(|log| log.entries >= written.most);
        let entry = match written.entry(fresh) {
            Ok(entry) => entry,
            Err(reason) => return Ok(Report::failed(reason)),
        };
        if fresh {
            *log = None;
            let Some(file) = create(written, target, cx)?.ok() else {
                return Ok(Report::failed("Could not create new sink file"));
            };
            *log = Some(Log { file, entries: 0 });
        }
        let Some(log) = log else {
            return Ok(Report::failed("Could not create new sink file"));
        };
        let done = log.file.write_all(entry.as_bytes());
        if done.and_then(|()| log.file.flush()).is_err() {
            return Ok(Report::failed("Could not append content to append log"));
        }
        log.entries += 1;
        Ok(Report::done(SAVED))
    }
}

fn separate(
    written: &Written<'_>,
    target: &Target,
    cx: &Context<'_>,
) -> Result<Report, BlockError> {
    let file = create(written, target, cx)?;
    let text = ended(written.content.to_owned());
    let done = file.and_then(|mut file| file.write_all(text.as_bytes()));
    Ok(match done {
        Ok(()) => Report::done(SAVED),
        Err(error) => Report::failed(error.to_string()),
    })
}

/// A new file.
///
/// # Errors
/// If it would be outside of where files may go; what the machine says against it is the inner
/// result.
fn create(
    written: &Written<'_>,
    target: &Target,
    cx: &Context<'_>,
) -> Result<std::io::Result<File>, BlockError> {
    for later in 0..NAMES {
        match target.create(&written.name(later, cx)) {
            Ok(file) => return Ok(Ok(file)),
            Err(PlaceError::Machine(error))
                if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(PlaceError::Machine(error)) => return Ok(Err(error)),
            Err(outside) => return Err(BlockError::failed(outside.to_string())),
        }
    }
    Ok(Err(std::io::ErrorKind::AlreadyExists.into()))
}

#[cfg(test)]
mod tests;
