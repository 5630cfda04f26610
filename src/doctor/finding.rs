//! What a check found.

use serde_json::{Value as Json, json};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// All well.
    Ok,
    /// There was nothing to check, or no way to.
    NotApplicable,
    /// It works, and something about it will surprise somebody.
    Warning,
    /// Something is wrong.
    Fault,
}

impl Verdict {
    /// Name in JSON: a closed set.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotApplicable => "not_applicable",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

/// What is checked: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Check {
    /// The environment variables can be used and say what was meant.
    Settings,
    /// Who answers on the server's port.
    Port,
    /// The platform answers.
    Platform,
    /// The platform takes the API key.
    ApiKey,
    /// This machine's clock agrees with the platform's.
    Clock,
    /// A running millrace has sound and fresh definitions.
    Running,
    /// The copy of a definition is the published one.
    Definition,
    /// What is saved is published.
    Publication,
    /// The version tag of a definition tells which one runs.
    VersionTag,
    /// The cache folder can be written.
    CacheWritable,
    /// The cache folder outlives a container.
    CacheVolume,
    /// The cache folder has room.
    CacheSpace,
    /// The weights in the cache folder are whole.
    CachedWeights,
    /// The folder of model packages can be read.
    Models,
    /// A model package can be used.
    Model,
    /// ONNX Runtime can be loaded.
    OnnxRuntime,
    /// The GStreamer elements that millrace uses are there.
    GStreamer,
    /// Video can be decoded.
    Decoders,
    /// Films can be written.
    Encoder,
    /// Sessions over WebRTC can be had.
    Webrtc,
    /// Pictures of streams can be sent over RTSP.
    RtspOutput,
    /// A definition compiles here and its models are there.
    Compiles,
}

impl Check {
    /// Name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Port => "port",
            Self::Platform => "platform",
            Self::ApiKey => "api key",
            Self::Clock => "clock",
            Self::Running => "running",
            Self::Definition => "definition",
            Self::Publication => "publication",
            Self::VersionTag => "version tag",
            Self::CacheWritable => "cache writable",
            Self::CacheVolume => "cache volume",
            Self::CacheSpace => "cache space",
            Self::CachedWeights => "cached weights",
            Self::Models => "models",
            Self::Model => "model",
            Self::OnnxRuntime => "onnx runtime",
            Self::GStreamer => "gstreamer",
            Self::Decoders => "decoders",
            Self::Encoder => "encoder",
            Self::Webrtc => "webrtc",
            Self::RtspOutput => "rtsp output",
            Self::Compiles => "compiles",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// What of several it is about: a definition, a model.
    pub subject: Option<String>,
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen.
    pub evidence: String,
    /// The command or step that mends it.
    pub remedy: Option<String>,
}

impl Finding {
    /// All well.
    pub fn ok(check: Check, evidence: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, evidence.into(), None)
    }

    /// There was nothing to check, or no way to; the evidence says why.
    pub fn not_applicable(check: Check, evidence: impl Into<String>) -> Self {
        Self::new(check, Verdict::NotApplicable, evidence.into(), None)
    }

    /// It works, and will surprise somebody.
    pub fn warning(check: Check, evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(
            check,
            Verdict::Warning,
            evidence.into(),
            Some(remedy.into()),
        )
    }

    /// Something is wrong.
    pub fn fault(check: Check, evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Verdict::Fault, evidence.into(), Some(remedy.into()))
    }

    fn new(check: Check, verdict: Verdict, evidence: String, remedy: Option<String>) -> Self {
        Self {
            check,
            subject: None,
            verdict,
            evidence,
            remedy,
        }
    }

    /// The same about one of several.
    #[must_use]
    pub fn about(self, subject: impl Into<String>) -> Self {
        Self {
            subject: Some(subject.into()),
            ..self
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Json {
        json!({
            "check": self.check.name(),
            "subject": self.subject,
            "verdict": self.verdict.name(),
            "evidence": self.evidence,
            "remedy": self.remedy,
        })
    }
}

/// A list in words, cut after a few: `a, b, c and 4 more`.
pub(super) fn listed<T: AsRef<str>>(items: &[T], most: usize) -> String {
    let shown: Vec<&str> = items.iter().take(most).map(AsRef::as_ref).collect();
    let shown = shown.join(", ");
    match items.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A span of time in the unit that a person would use.
pub(super) fn span(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// A number of bytes in the unit that a person would use.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} bytes")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_every_field_always() {
        let found = Finding::ok(Check::ApiKey, "taken").to_json();
        assert_eq!(
            found,
            json!({"check": "api key", "subject": null, "verdict": "ok",
                "evidence": "taken", "remedy": null})
        );
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(listed(&["a", "b", "c"], 2), "a, b and 1 more");
        assert_eq!(listed(&["a", "b"], 2), "a, b");
        assert_eq!(
            [span(59.6), span(600.0), span(9000.0)],
            ["60 s", "10 min", "2.5 h"]
        );
        assert_eq!(
            [bytes(12), bytes(1536), bytes(5 << 30)],
            ["12 bytes", "1.5 KiB", "5.0 GiB"]
        );
    }
}
