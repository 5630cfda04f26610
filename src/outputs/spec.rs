//! Which outputs a stream has, wherever that was written.

use std::path::PathBuf;

use crate::delivery::jsonl::Rotation;
use crate::delivery::video::series::FilmPlan;
use crate::delivery::webhook::Condition;
use crate::redact::Redacted;

/// What a stream gives besides its results buffer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputsSpec {
    /// Receivers of results, through the outbox.
    pub events: Vec<EventsSpec>,
    /// A file of results.
    pub lines: Option<LinesSpec>,
    /// A film.
    pub film: Option<FilmSpec>,
    /// The picture over HTTP; none if nobody may look.
    pub preview: Option<PictureSpec>,
    /// The picture over RTSP; none if nobody may look.
    pub rtsp: Option<PictureSpec>,
}

impl OutputsSpec {
    /// The outputs of a stream that declares none: it can be looked at, and nothing is written.
    pub fn watchable() -> Self {
        Self {
            preview: Some(PictureSpec::default()),
            rtsp: Some(PictureSpec::default()),
            ..Self::default()
        }
    }

    /// The files and films that it writes.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let lines = self.lines.iter().map(|lines| &lines.path);
        lines.chain(self.film.iter().map(|film| &film.plan.path))
    }
}

/// A receiver of results.
#[derive(Clone, PartialEq)]
pub struct EventsSpec {
    /// What kind of receiver it is, in the words of flags and files: `webhook`, `mqtt`, …
    pub kind: &'static str,
    /// Its address; it may hold secrets.
    pub url: String,
    /// Which results it gets; all without.
    pub when: Option<Condition>,
    /// Whether pictures go with them.
    pub with_images: bool,
}

impl std::fmt::Debug for EventsSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "EventsSpec({} {}, {:?})",
            self.kind,
            Redacted::text(&self.url),
            self.when
        )
    }
}

/// Kinds of receivers with the schemes of their addresses.
pub const RECEIVERS: [(&str, [&str; 2]); 5] = [
    ("webhook", ["http", "https"]),
    ("mqtt", ["mqtt", "mqtts"]),
    ("kafka", ["kafka", "kafkas"]),
    ("nats", ["nats", "tls"]),
    ("redis", ["redis", "rediss"]),
];

/// What is wrong with the scheme of an address for a receiver of this kind, if anything is.
pub fn wrong_scheme(kind: &str, url: &str) -> Option<String> {
    let (_, [plain, secure]) = RECEIVERS.iter().find(|(name, _)| *name == kind)?;
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let fits = [plain, secure]
        .iter()
        .any(|s| s.eq_ignore_ascii_case(scheme));
    (!fits).then(|| format!("write {plain}://… or {secure}://…"))
}

/// A file of results, a line of JSON each.
#[derive(Clone, Debug, PartialEq)]
pub struct LinesSpec {
    /// The file.
    pub path: PathBuf,
    /// Whether pictures go with them.
    pub with_images: bool,
    /// Whether lines that are there stay.
    pub append: bool,
    /// How large the file becomes; without bounds if there is none.
    pub rotation: Option<Rotation>,
}

/// A film of the picture.
#[derive(Clone, Debug, PartialEq)]
pub struct FilmSpec {
    /// Where it goes.
    pub plan: FilmPlan,
    /// The output that is filmed; see [`crate::streams::Shown::choose`].
    pub output: Option<String>,
}

/// The picture for those who look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PictureSpec {
    /// The output that is shown unless they ask for another; see [`crate::streams::Shown::choose`].
    pub output: Option<String>,
}
