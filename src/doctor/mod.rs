//! `millrace doctor`: what users check by hand when results are not what they published, done for
//! them.
//!
//! Each check is a function of a [`Subject`] and returns [`Finding`]s: a verdict, the evidence, and
//! the command that mends it. Checks change nothing: what they write they remove, and what the
//! platform answers is not kept. A check that cannot be made says why and is not held against
//! anybody.

pub mod media;
pub mod models;
pub mod platform;
pub mod port;
pub mod published;
pub mod running;
pub mod storage;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::clock::Clock;
use crate::definitions::{DefinitionError, DefinitionKey, DefinitionStore, Settings};
pub use storage::Space;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All well.
    Sound,
    /// Nothing is wrong, and it is worth knowing.
    Note,
    /// Something is wrong.
    Wrong,
    /// The check could not be made.
    Skipped,
}

impl Verdict {
    /// Name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Note => "note",
            Self::Wrong => "wrong",
            Self::Skipped => "skipped",
        }
    }
}

/// What a check found, with the evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Name of the check.
    pub check: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// What it rests on.
    pub evidence: String,
    /// The command or step that mends it.
    pub mend: Option<String>,
}

impl Finding {
    fn new(check: &'static str, verdict: Verdict, evidence: impl Into<String>) -> Self {
        Self {
            check,
            verdict,
            evidence: evidence.into(),
            mend: None,
        }
    }

    pub(crate) fn sound(check: &'static str, evidence: impl Into<String>) -> Self {
        Self::new(check, Verdict::Sound, evidence)
    }

    pub(crate) fn note(check: &'static str, evidence: impl Into<String>) -> Self {
        Self::new(check, Verdict::Note, evidence)
    }

    pub(crate) fn skipped(check: &'static str, evidence: impl Into<String>) -> Self {
        Self::new(check, Verdict::Skipped, evidence)
    }

    pub(crate) fn wrong(
        check: &'static str,
        evidence: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            mend: Some(mend.into()),
            ..Self::new(check, Verdict::Wrong, evidence)
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Json {
        json!({
            "check": self.check,
            "verdict": self.verdict.name(),
            "evidence": self.evidence,
            "mend": self.mend,
        })
    }
}

/// What all checks found. `Display` is the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Whether anything is wrong.
    pub fn wrong(&self) -> bool {
        self.0.iter().any(|f| f.verdict == Verdict::Wrong)
    }

    /// As JSON: `sound` is false if anything is wrong.
    pub fn to_json(&self) -> Json {
        let findings: Vec<Json> = self.0.iter().map(Finding::to_json).collect();
        json!({"sound": !self.wrong(), "findings": findings})
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|x| x.check.len()).max().unwrap_or(0);
        for finding in &self.0 {
            let verdict = finding.verdict.name();
            let mark = match finding.verdict {
                Verdict::Wrong => verdict.to_uppercase(),
                _ => verdict.to_owned(),
            };
            write!(f, "{mark:7}  {:width$}  ", finding.check)?;
            let indent = format!("\n{:1$}", "", 7 + 2 + width + 2);
            f.write_str(&finding.evidence.replace('\n', &indent))?;
            if let Some(mend) = &finding.mend {
                write!(f, "{indent}→ {}", mend.replace('\n', &indent))?;
            }
            f.write_str("\n")?;
        }
        let count = |verdict| self.0.iter().filter(|x| x.verdict == verdict).count();
        match count(Verdict::Wrong) {
            0 => f.write_str("nothing is wrong"),
            1 => f.write_str("1 thing is wrong"),
            n => write!(f, "{n} things are wrong"),
        }
    }
}

/// What is examined, and by which instruments.
pub struct Subject {
    /// Where definitions come from and are kept.
    pub settings: Settings,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where the server listens.
    pub listen: SocketAddr,
    /// The definitions that are meant to run.
    pub definitions: Vec<DefinitionKey>,
    /// The folder of model packages.
    pub models: Option<PathBuf>,
    /// The library of ONNX Runtime; `None` looks in the usual places.
    pub runtime: Option<PathBuf>,
    /// Elements of GStreamer that reading and writing video needs.
    pub elements: Vec<media::Element>,
    /// The table of mounts.
    pub mounts: PathBuf,
    /// Whether this is a container, whose own layer goes when it is made anew.
    pub container: bool,
    /// Measures the space of the volume that a folder is on.
    pub space: fn(&Path) -> io::Result<Space>,
}

impl Subject {
    /// This machine, with these settings.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            clock,
            listen: SocketAddr::from(([127, 0, 0, 1], port::PORT)),
            definitions: Vec::new(),
            models: None,
            runtime: None,
            elements: media::ELEMENTS.to_vec(),
            mounts: "/proc/self/mountinfo".into(),
            container: storage::in_container(),
            space: storage::space_of,
        }
    }

    /// Makes every check.
    ///
    /// # Errors
    /// If the thread that asks the platform cannot be started.
    pub fn examine(&self) -> Result<Findings, DefinitionError> {
        let store = DefinitionStore::open(self.settings.clone(), self.clock.clone())?;
        let freshness = port::freshness(self);
        let mut findings = vec![
            port::check(self, freshness.as_ref()),
            storage::writable(self),
            storage::volume(self),
            storage::space(self),
            storage::copies(self),
        ];
        findings.extend(platform::check(self, &store));
        let mut known = Vec::new();
        findings.extend(published::check(self, &store, &mut known));
        if let Some(freshness) = &freshness {
            findings.extend(running::check(freshness, &known));
        }
        findings.extend(published::folder(self, &mut known));
        findings.push(models::runtime(self));
        findings.extend(models::packages(self, &known));
        findings.push(media::elements(self));
        findings.push(media::decoders(self));
        Ok(Findings(findings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_evidence_and_what_mends_it() {
        let findings = Findings(vec![
            Finding::sound("port", "nothing listens"),
            Finding::wrong("disk copies", "a.json is damaged\nb.json too", "rm a.json"),
        ]);
        assert_eq!(
            findings.to_string(),
            "sound    port         nothing listens\n\
             WRONG    disk copies  a.json is damaged\n                      b.json too\n                      → rm a.json\n\
             1 thing is wrong"
        );
        assert!(findings.wrong());
        let json = findings.to_json();
        assert_eq!(json["sound"], false);
        assert_eq!(json["findings"][1]["mend"], "rm a.json");
        assert_eq!(Findings::default().to_string(), "nothing is wrong");
    }
}
