//! The verdict on one definition: its copy and its version tag against what is published.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use super::super::finding::{listed, span};
use super::super::{Check, Finding};
use super::Published;
use crate::definition::DefinitionHash;
use crate::definitions::difference::{Difference, Section};
use crate::definitions::disk::{DamagedCopy, DiskCopy};
use crate::definitions::{DefinitionError, PlatformError, Settings, difference};
use crate::values::Timestamp;

/// What is known of one definition.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub id: String,
    /// Where the copy is, or would be.
    pub path: PathBuf,
    /// Whether the user named it.
    pub asked: bool,
    pub copy: Result<Option<DiskCopy>, Arc<DamagedCopy>>,
    pub published: Published,
}

pub(super) fn judge(case: &Case, settings: &Settings, now: Timestamp) -> Vec<Finding> {
    let ttl = settings.ttl.as_secs_f64();
    let mut found = match (&case.copy, &case.published) {
        (Err(damage), _) => vec![damaged(case, damage)],
        (Ok(None), Ok(_)) => vec![uncached(case, settings)],
        (Ok(None), Err(error)) => vec![absent(case, error)],
        (Ok(Some(copy)), Err(error)) => vec![uncompared(case, copy, error, now)],
        (Ok(Some(copy)), Ok(published)) => {
            let age = now.unix_seconds() - copy.written_at.unix_seconds();
            let before = &copy.answer.definition;
            let stale = DefinitionHash::of(before) != published.stamp.hash;
            let first = match stale {
                true => outdated(case, before, &published.definition, age, ttl),
                false => current(&published.stamp.hash, age, ttl),
            };
            let tag = version_tag(case, before, &published.definition, age < ttl);
            std::iter::once(first).chain(tag).collect()
        }
    };
    if let (Ok(None), Ok(published)) = (&case.copy, &case.published) {
        found.extend(version_tag(
            case,
            &published.definition,
            &published.definition,
            true,
        ));
    }
    found.into_iter().map(|f| f.about(&*case.id)).collect()
}

fn refresh(id: &str) -> String {
    let id = id.split('@').next().unwrap_or(id);
    format!(
        "`millrace definitions refresh {id}` (the Roboflow server: restart it; its `use_cache: false` does not renew its memory)"
    )
}

fn damaged(case: &Case, damage: &DamagedCopy) -> Finding {
    Finding::fault(
        Check::Definition,
        format!(
            "the copy {} is damaged: {}",
            case.path.display(),
            damage.reason
        ),
        format!("`rm {}`, then {}", damage.path.display(), refresh(&case.id)),
    )
}

fn uncached(case: &Case, settings: &Settings) -> Finding {
    if !settings.disk {
        let evidence = "published; copies are off (USE_FILE_CACHE_FOR_WORKFLOWS_DEFINITIONS)";
        return Finding::ok(Check::Definition, evidence);
    }
    Finding::warning(
        Check::Definition,
        "published, and there is no copy here: a start without the platform would have no definition",
        format!("run it once, or {}", refresh(&case.id)),
    )
}

fn absent(case: &Case, error: &DefinitionError) -> Finding {
    let evidence = format!("there is no copy, and {error}");
    match (case.asked, advice(error)) {
        (true, remedy) => Finding::fault(Check::Definition, evidence, remedy),
        (false, remedy) => Finding::warning(Check::Definition, evidence, remedy),
    }
}

fn uncompared(case: &Case, copy: &DiskCopy, error: &DefinitionError, now: Timestamp) -> Finding {
    let age = span(now.unix_seconds() - copy.written_at.unix_seconds());
    let hash = DefinitionHash::of(&copy.answer.definition);
    let evidence = format!("the copy {hash} of {age} ago cannot be compared: {error}");
    match error {
        DefinitionError::Platform {
            source: PlatformError::Offline,
            ..
        } => Finding::ok(
            Check::Definition,
            format!("the copy {hash} of {age} ago is used in offline mode"),
        ),
        DefinitionError::Platform {
            source: PlatformError::Refused { status: 404 },
            ..
        } => Finding::fault(
            Check::Definition,
            format!(
                "the platform has no published definition (404); the copy {hash} of {age} ago is left"
            ),
            format!(
                "publish it in the editor, or correct the name; a copy that nobody needs: `rm {}`",
                case.path.display()
            ),
        ),
        _ => Finding::warning(Check::Definition, evidence, advice(error)),
    }
}

fn advice(error: &DefinitionError) -> String {
    match error {
        DefinitionError::Platform {
            source: PlatformError::Refused { status: 404 },
            ..
        } => "correct workspace and id (they are in the editor's address), and publish it there"
            .into(),
        DefinitionError::Platform {
            source: PlatformError::Garbage { .. },
            ..
        } => {
            "check that API_BASE_URL leads to the platform and not to a proxy's log-in page".into()
        }
        _ => "see the findings on platform and api key".into(),
    }
}

fn current(hash: &DefinitionHash, age: f64, ttl: f64) -> Finding {
    let left = if age < ttl {
        format!(
            "a server that took it then asks again in {}",
            span(ttl - age)
        )
    } else {
        "its TTL is over, the next request asks again".to_owned()
    };
    Finding::ok(
        Check::Definition,
        format!(
            "the copy is the published one ({hash}), confirmed {} ago; {left}",
            span(age)
        ),
    )
}

fn outdated(case: &Case, copy: &Json, published: &Json, age: f64, ttl: f64) -> Finding {
    let what = in_words(&difference(copy, published));
    let hashes = format!(
        "published is {}, the copy is {} of {} ago",
        DefinitionHash::of(published),
        DefinitionHash::of(copy),
        span(age)
    );
    if age < ttl {
        Finding::warning(
            Check::Definition,
            format!(
                "{hashes} ({what}); inside the TTL: a server that took it then serves it for another {}",
                span(ttl - age)
            ),
            format!("wait, or {}", refresh(&case.id)),
        )
    } else {
        Finding::fault(
            Check::Definition,
            format!("{hashes} ({what}), older than the TTL of {}", span(ttl)),
            refresh(&case.id),
        )
    }
}

/// What changed, by names only: values of a definition may be secrets.
fn in_words(difference: &Difference) -> String {
    let mut words = Vec::new();
    let sections: [(&str, &Section); 3] = [
        ("input", &difference.inputs),
        ("step", &difference.steps),
        ("output", &difference.outputs),
    ];
    for (noun, section) in sections {
        let added = section.added.iter().map(|n| (&n.name, "added"));
        let removed = section.removed.iter().map(|n| (&n.name, "removed"));
        let changed = section.changed.iter().map(|c| (&c.name, "changed"));
        let all = added.chain(removed).chain(changed);
        words.extend(all.map(|(name, what)| format!("{noun} {name} {what}")));
    }
    if words.is_empty() {
        return "other parts changed".into();
    }
    listed(&words, 4)
}

/// A definition's version tag: the text that users have an output show to see which one ran.
#[derive(Debug, PartialEq)]
struct Tag {
    value: String,
    /// Name of the output that shows it, if one does.
    output: Option<String>,
}

/// The default of the parameter `workflow_version`, or of the parameter that an output of such a
/// name shows.
fn tag_of(definition: &Json) -> Option<Tag> {
    let list = |part: &str| definition[part].as_array().into_iter().flatten();
    let text = |value: &Json| value.as_str().map(str::to_owned);
    let is_version = |name: &str| {
        let name = name.to_lowercase();
        name == "version" || name == "tag" || name.ends_with("_version") || name.ends_with("_tag")
    };
    let shown = list("outputs").find_map(|output| {
        let name = text(&output["name"]).filter(|name| is_version(name))?;
        let parameter = output["selector"].as_str()?.strip_prefix("$inputs.")?;
        Some((name, parameter.to_owned()))
    });
    let parameter = shown
        .as_ref()
        .map_or("workflow_version", |(_, p)| p.as_str());
    let input = list("inputs").find(|input| input["name"] == parameter)?;
    let value = match &input["default_value"] {
        Json::String(text) => text.clone(),
        Json::Number(number) => number.to_string(),
        _ => return None,
    };
    Some(Tag {
        value,
        output: shown.map(|(name, _)| name),
    })
}

fn version_tag(case: &Case, copy: &Json, published: &Json, inside_ttl: bool) -> Option<Finding> {
    let (old, new) = (tag_of(copy), tag_of(published)?);
    let shown = match &new.output {
        Some(output) => format!("output `{output}`"),
        None => "parameter `workflow_version`, which no output shows,".to_owned(),
    };
    let changed = DefinitionHash::of(copy) != DefinitionHash::of(published);
    let old = old.map_or("nothing".to_owned(), |tag| format!("`{}`", tag.value));
    let tag = format!("`{}`", new.value);
    Some(if old != tag && inside_ttl {
        Finding::warning(
            Check::VersionTag,
            format!("{shown} still says {old} here, published is {tag}"),
            format!("wait for the TTL, or {}", refresh(&case.id)),
        )
    } else if old != tag {
        Finding::fault(
            Check::VersionTag,
            format!("{shown} says {old} here, published is {tag}"),
            refresh(&case.id),
        )
    } else if changed {
        Finding::warning(
            Check::VersionTag,
            format!(
                "{shown} says {tag} in the copy and in the published definition, and they differ"
            ),
            "change the tag with every publication, or go by the hash in each result's `definition`",
        )
    } else {
        Finding::ok(
            Check::VersionTag,
            format!("{shown} says {tag}, as published"),
        )
    })
}

/// Whether a saved file is what is published.
pub(super) fn saved(case: &Case, path: &Path, saved: &Json) -> Finding {
    let finding = match &case.published {
        Err(error) => Finding::not_applicable(Check::Publication, error.to_string()),
        Ok(published) if published.stamp.hash == DefinitionHash::of(saved) => Finding::ok(
            Check::Publication,
            format!(
                "{} is what is published ({})",
                path.display(),
                published.stamp.hash
            ),
        ),
        Ok(published) => Finding::warning(
            Check::Publication,
            format!(
                "{} ({}) is saved and not published; published is {} ({})",
                path.display(),
                DefinitionHash::of(saved),
                published.stamp.hash,
                in_words(&difference(&published.definition, saved))
            ),
            "publish it in the editor (Save alone does not), then refresh",
        ),
    };
    finding.about(&*case.id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use url::Url;

    use super::super::super::Verdict;
    use super::*;
    use crate::clock::ManualClock;
    use crate::definitions::{Answer, Fetched};

    fn definition(tag: &str, steps: Json) -> Json {
        json!({"version": "1.0",
            "inputs": [{"type": "WorkflowParameter", "name": "t", "default_value": tag}],
            "steps": steps,
            "outputs": [{"type": "JsonField", "name": "workflow_version", "selector": "$inputs.t"}]})
    }

    fn case(copy: Option<Json>, published: Published) -> Case {
        let path = PathBuf::from("/c/copy.json");
        let copy = copy.map(|definition| DiskCopy {
            answer: Answer {
                definition,
                platform_id: None,
            },
            written_at: Timestamp::from_unix_micros(0),
            path: path.clone(),
        });
        Case {
            id: "ws/flow".into(),
            path,
            asked: false,
            copy: Ok(copy),
            published,
        }
    }

    fn published(definition: Json) -> Published {
        Ok(Arc::new(Fetched::inline(
            definition,
            &ManualClock::default(),
        )))
    }

    fn refused(status: u16) -> Published {
        Err(DefinitionError::Platform {
            id: "ws/flow".into(),
            source: PlatformError::Refused { status },
        })
    }

    fn verdicts(case: &Case, seconds: i64) -> Vec<(Check, Verdict)> {
        let settings = Settings::new(Url::parse("http://p").unwrap(), "/c");
        let now = Timestamp::from_unix_micros(seconds * 1_000_000);
        let found = judge(case, &settings, now);
        found.iter().map(|f| (f.check, f.verdict)).collect()
    }

    #[test]
    fn a_copy_that_differs_is_tolerable_within_the_ttl_and_a_fault_after_it() {
        let case = case(
            Some(definition("v1", json!([]))),
            published(definition("v2", json!([{"name": "a", "type": "x"}]))),
        );
        let both = |verdict| vec![(Check::Definition, verdict), (Check::VersionTag, verdict)];
        assert_eq!(verdicts(&case, 300), both(Verdict::Warning));
        assert_eq!(verdicts(&case, 901), both(Verdict::Fault));
        let found = outdated(
            &case,
            &json!({}),
            &definition("v2", json!([])),
            300.0,
            900.0,
        );
        assert!(found.evidence.contains("another 10 min"), "{found:?}");
    }

    #[test]
    fn a_tag_that_was_not_changed_with_its_definition_tells_nothing() {
        let case = case(
            Some(definition("v1", json!([]))),
            published(definition("v1", json!([{"name": "a", "type": "x"}]))),
        );
        assert_eq!(
            verdicts(&case, 9000)[1],
            (Check::VersionTag, Verdict::Warning)
        );
    }

    #[test]
    fn equal_copies_are_well_and_lonely_ones_are_told() {
        let same = definition("v1", json!([]));
        let equal = case(Some(same.clone()), published(same.clone()));
        assert_eq!(verdicts(&equal, 9000)[0].1, Verdict::Ok);
        assert_eq!(
            verdicts(&case(None, published(same.clone())), 0)[0].1,
            Verdict::Warning
        );
        assert_eq!(
            verdicts(&case(Some(same.clone()), refused(404)), 0)[0].1,
            Verdict::Fault
        );
        assert_eq!(
            verdicts(&case(Some(same), refused(401)), 0)[0].1,
            Verdict::Warning
        );
        let asked = Case {
            asked: true,
            ..case(None, refused(404))
        };
        assert_eq!(verdicts(&asked, 0)[0].1, Verdict::Fault);
    }

    #[test]
    fn differences_are_told_without_values() {
        let before = json!({"steps": [{"name": "hook", "type": "w", "url": "http://s3cret"}]});
        let after = json!({"steps": [{"name": "hook", "type": "w", "url": "http://s3cret2"}]});
        assert_eq!(in_words(&difference(&before, &after)), "step hook changed");
    }

    #[test]
    fn tags_are_found_by_the_names_that_users_give_them() {
        assert_eq!(tag_of(&definition("v7", json!([]))).unwrap().value, "v7");
        let unseen = json!({"inputs": [{"name": "workflow_version", "default_value": 3}]});
        let tag = tag_of(&unseen).unwrap();
        assert_eq!((tag.value.as_str(), tag.output), ("3", None));
        assert_eq!(
            tag_of(&json!({"inputs": [{"name": "threshold", "default_value": 3}]})),
            None
        );
    }
}
