//! What users check by hand when a result is not what they expected, done for them.
//!
//! [`examine`] runs every check at once and answers one [`Finding`] or more per check: what was
//! seen, whether it is well, and the command that mends it. The checks change nothing: no
//! definition is cached, nothing is downloaded, and the one file that is written to see whether
//! that is possible is removed. No finding shows an API key or the credentials of an address.
//!
//! Each request to a server has [`Circumstances::patience`]; a check that is not done after
//! [`Circumstances::limit`] is reported as such, so an examination always ends.

mod cache;
mod definitions;
mod document;
mod finding;
mod gstreamer;
mod listeners;
mod mounts;
mod network;
mod platform;
mod port;
mod running;
mod runtime;
mod settings;
mod weights;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

pub use finding::{Check, Finding, Verdict};

use crate::clock::Clock;
use crate::definitions::{Settings, settings::SettingError};

/// A workflow of the platform: `workspace/workflow`, with `@version` if a version is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowName {
    /// The workspace.
    pub workspace: String,
    /// The workflow's id.
    pub workflow: String,
    /// The pinned version.
    pub version: Option<String>,
}

impl FromStr for WorkflowName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || "write `workspace/workflow` or `workspace/workflow@version`".to_owned();
        let (workspace, workflow) = text.split_once('/').ok_or_else(wanted)?;
        let (workflow, version) = match workflow.split_once('@') {
            Some((workflow, version)) => (workflow, Some(version.to_owned())),
            None => (workflow, None),
        };
        if workspace.is_empty() || workflow.is_empty() || version.as_deref() == Some("") {
            return Err(wanted());
        }
        Ok(Self {
            workspace: workspace.into(),
            workflow: workflow.into(),
            version,
        })
    }
}

/// What is examined.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// How definitions are fetched and kept, or the variable that says it wrongly.
    pub settings: Result<Settings, SettingError>,
    /// What the environment variables say that is not wrong, and not what was meant.
    pub doubts: Vec<Finding>,
    /// The server's port on this machine.
    pub port: u16,
    /// Folder of model packages.
    pub models: Option<PathBuf>,
    /// ONNX Runtime's library; `None` looks in the usual places.
    pub library: Option<PathBuf>,
    /// A definition to check.
    pub definition: Option<PathBuf>,
    /// Workflows of the platform to check, besides those that the cache holds.
    pub workflows: Vec<WorkflowName>,
    /// What is mounted where, as `/proc/self/mountinfo` has it.
    pub mounts: String,
    /// Longest wait for one answer of a server.
    pub patience: Duration,
    /// Longest time for everything.
    pub limit: Duration,
}

impl Circumstances {
    /// What these environment variables say, on this machine.
    pub fn from_env(look: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            doubts: settings::doubts(&look),
            settings: Settings::from_env(&look),
            port: 9001,
            models: None,
            library: None,
            definition: None,
            workflows: Vec::new(),
            mounts: std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
            patience: Duration::from_secs(3),
            limit: Duration::from_secs(20),
        }
    }
}

/// A group of checks that runs on a thread of its own.
struct Group {
    /// The check that is named if the group is not done in time.
    check: Check,
    run: fn(&Circumstances, &dyn Clock) -> Vec<Finding>,
}

/// All checks, in the order in which they are told.
const GROUPS: &[Group] = &[
    Group {
        check: Check::Settings,
        run: settings::check,
    },
    Group {
        check: Check::Port,
        run: port::check,
    },
    Group {
        check: Check::Platform,
        run: platform::check,
    },
    Group {
        check: Check::Running,
        run: running::check,
    },
    Group {
        check: Check::Definition,
        run: definitions::check,
    },
    Group {
        check: Check::CacheWritable,
        run: cache::check,
    },
    Group {
        check: Check::Models,
        run: weights::check,
    },
    Group {
        check: Check::OnnxRuntime,
        run: runtime::check,
    },
    Group {
        check: Check::GStreamer,
        run: gstreamer::check,
    },
    Group {
        check: Check::Compiles,
        run: document::check,
    },
];

/// Runs all checks.
pub fn examine(circumstances: &Circumstances, clock: Arc<dyn Clock>) -> Vec<Finding> {
    let deadline = Instant::now() + circumstances.limit;
    let (done, results) = mpsc::channel();
    for (index, group) in GROUPS.iter().enumerate() {
        let (circumstances, clock, done) = (circumstances.clone(), clock.clone(), done.clone());
        let run = group.run;
        // A thread that cannot be started drops its sender: its group counts as not done.
        let _ = std::thread::Builder::new()
            .name(format!("doctor:{}", group.check.name()))
            .spawn(move || {
                // The receiver is gone only if the time is over.
                let _ = done.send((index, run(&circumstances, &*clock)));
            });
    }
    drop(done);
    let mut findings: Vec<Option<Vec<Finding>>> = GROUPS.iter().map(|_| None).collect();
    while let Ok((index, found)) =
        results.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        findings[index] = Some(found);
    }
    let told = findings.into_iter().zip(GROUPS);
    told.flat_map(|(found, group)| found.unwrap_or_else(|| vec![undone(group, circumstances)]))
        .collect()
}

fn undone(group: &Group, circumstances: &Circumstances) -> Finding {
    let name = group.check.name();
    Finding::warning(
        group.check,
        format!(
            "the check of {name} did not end within {} s",
            circumstances.limit.as_secs_f64()
        ),
        "run `millrace --log debug doctor` and look where it stops; `--limit` gives it more time",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workflows_are_named_as_everywhere() {
        let name: WorkflowName = "ws/flow@7".parse().unwrap();
        assert_eq!(
            (&*name.workspace, &*name.workflow, name.version.as_deref()),
            ("ws", "flow", Some("7"))
        );
        for wrong in ["", "flow", "/flow", "ws/", "ws/flow@"] {
            assert!(wrong.parse::<WorkflowName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_examination_ends_when_its_time_is_over() {
        let circumstances = Circumstances {
            limit: Duration::ZERO,
            ..Circumstances::from_env(|name| (name == "OFFLINE_MODE").then(|| "true".to_owned()))
        };
        let clock = Arc::new(crate::clock::SystemClock::default());
        let found = examine(&circumstances, clock);
        let late = found.iter().filter(|f| f.evidence.contains("did not end"));
        assert!(late.count() > 0, "{found:?}");
    }
}
