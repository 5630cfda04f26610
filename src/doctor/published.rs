//! Whether what is cached is what is published, and whether definitions are sound.

use std::fs;

use serde_json::Value as Json;

use super::{Finding, Subject};
use crate::definition::canonical::DefinitionHash;
use crate::definitions::disk::DiskCopy;
use crate::definitions::stamp::declared_version;
use crate::definitions::{
    DefinitionKey, DefinitionStore, PlatformError, PlatformKey, difference, unwrap_file,
};
use crate::plan::Plan;

const CHECK: &str = "published";
/// Lines of a difference that are shown.
const LINES: usize = 6;

/// A definition that is meant to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The name it is shown under.
    pub id: String,
    /// The definition.
    pub definition: Json,
    /// Whether its source gives it now; a disk copy may be an older one.
    pub current: bool,
}

/// Compares each definition's disk copy, which is what servers here hold, with what the platform
/// publishes. What is found out is added to `known`.
pub fn check(subject: &Subject, store: &DefinitionStore, known: &mut Vec<Known>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut asked = false;
    for key in &subject.definitions {
        if let DefinitionKey::Platform(platform) = key {
            asked = true;
            findings.extend(compare(subject, store, (key, platform), known));
        }
    }
    if !asked {
        let evidence = "no definition of the platform was named: millrace doctor WORKSPACE/WORKFLOW compares it";
        findings.push(Finding::skipped(CHECK, evidence));
    }
    findings
}

fn compare(
    subject: &Subject,
    store: &DefinitionStore,
    (key, platform): (&DefinitionKey, &PlatformKey),
    known: &mut Vec<Known>,
) -> Vec<Finding> {
    let id = key.to_string();
    // A damaged copy is told by the check of all copies.
    let copy = store.disk_copy(key).ok().flatten();
    let published = match store.published(platform) {
        Ok(answer) => answer.definition,
        Err(error) => {
            known.extend(copy.map(|c| Known {
                id: id.clone(),
                definition: c.answer.definition,
                current: false,
            }));
            return vec![unknown(&id, &error)];
        }
    };
    let mut findings = vec![sound(&id, &published)];
    match &copy {
        None => {
            let evidence = format!(
                "{id}: {} is published; nothing is cached here with this key, the next run fetches it",
                name(&published)
            );
            findings.push(Finding::note(CHECK, evidence));
        }
        Some(copy) => {
            findings.push(fresh(subject, &id, copy, &published));
            findings.extend(tag(&id, &copy.answer.definition, &published));
        }
    }
    known.push(Known {
        id,
        definition: published,
        current: true,
    });
    findings
}

fn unknown(id: &str, error: &PlatformError) -> Finding {
    match error {
        PlatformError::Refused { status } => Finding::wrong(
            CHECK,
            format!("{id}: {error}"),
            match status {
                404 => "publish the workflow (saving is not enough), or correct workspace and id",
                _ => {
                    "export ROBOFLOW_API_KEY=…   (a key of this workspace that may read workflows)"
                }
            },
        ),
        error => Finding::skipped(CHECK, format!("{id}: {error}")),
    }
}

/// Hash and version, as results show them.
fn name(definition: &Json) -> String {
    let hash = DefinitionHash::of(definition);
    match declared_version(definition) {
        Some(version) => format!("{hash} (version {version})"),
        None => hash.to_string(),
    }
}

fn fresh(subject: &Subject, id: &str, copy: &DiskCopy, published: &Json) -> Finding {
    let age = subject.clock.now().unix_seconds() - copy.written_at.unix_seconds();
    let ttl = subject.settings.ttl.as_secs_f64();
    let left = if age < ttl {
        format!(
            "{:.0} s of the time-to-live of {ttl:.0} s are left",
            ttl - age
        )
    } else {
        format!("the time-to-live of {ttl:.0} s is over")
    };
    let cached = &copy.answer.definition;
    let when = format!("fetched {:.0} s ago, {left}", age.max(0.0));
    if DefinitionHash::of(cached) == DefinitionHash::of(published) {
        let evidence = format!(
            "{id}: {} is cached and published; {when}\nan edit that was saved and not published cannot be seen from here",
            name(cached)
        );
        return Finding::sound(CHECK, evidence);
    }
    let told = difference(cached, published).to_string();
    let mut lines: Vec<&str> = told.lines().take(LINES).collect();
    if told.lines().count() > LINES {
        lines.push("…");
    }
    Finding::wrong(
        CHECK,
        format!(
            "{id}: {} is published, {} is cached ({when})\n{}",
            name(published),
            name(cached),
            lines.join("\n")
        ),
        format!("millrace definitions refresh {id}   (or one request with \"use_cache\": false)"),
    )
}

/// A version tag that was not changed with the definition makes every result of it tell a lie.
fn tag(id: &str, cached: &Json, published: &Json) -> Option<Finding> {
    let tagged = |definition: &Json| {
        let declared = declared_version(definition)?;
        let engine = definition.get("version").and_then(Json::as_str);
        (engine != Some(declared.as_str())).then_some(declared)
    };
    let (before, after) = (tagged(cached)?, tagged(published)?);
    let changed = DefinitionHash::of(cached) != DefinitionHash::of(published);
    (changed && before == after).then(|| {
        Finding::wrong(
            "version tag",
            format!("{id}: the definition was changed and its `workflow_version` still says {after}"),
            "give the parameter `workflow_version` another default when publishing, or go by `definition.hash` of the results",
        )
    })
}

/// Whether this server could run a definition.
fn sound(id: &str, definition: &Json) -> Finding {
    const CHECK: &str = "definition";
    match Plan::compile(definition) {
        Ok(_) => Finding::sound(CHECK, format!("{id}: {} compiles", name(definition))),
        Err(error) => Finding::wrong(
            CHECK,
            format!("{id}: {} does not compile: {error}", name(definition)),
            "correct the definition and publish it; what runs goes on until then",
        ),
    }
}

/// Whether each definition of the watched folder can run.
pub fn folder(subject: &Subject, known: &mut Vec<Known>) -> Vec<Finding> {
    const CHECK: &str = "definition";
    let Some(folder) = &subject.settings.folder else {
        return Vec::new();
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let shown = folder.display();
            return vec![Finding::wrong(
                "definition folder",
                format!("{shown} cannot be read: {error}"),
                format!("mkdir -p {shown}"),
            )];
        }
    };
    let mut paths: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let id = path.display().to_string();
            let read = fs::read(path).map_err(|e| e.to_string());
            match read.and_then(|body| unwrap_file(&body)) {
                Ok(answer) => {
                    let finding = sound(&id, &answer.definition);
                    known.push(Known {
                        id,
                        definition: answer.definition,
                        current: true,
                    });
                    finding
                }
                Err(reason) => Finding::wrong(
                    CHECK,
                    format!("{id} is no definition: {reason}"),
                    format!("millrace validate {id}"),
                ),
            }
        })
        .collect()
}
