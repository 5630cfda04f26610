//! Whether the copies of definitions are the published ones, and for how long they are taken.
//!
//! Looked at are the workflows that were asked for, those that a millrace on the port runs, and
//! those of which the cache folder has a copy under the API key ([`copies`]). The published
//! definition is fetched without touching the copy.

mod copies;
mod judgement;

use std::sync::Arc;

use super::finding::listed;
use super::{Check, Circumstances, Finding, WorkflowName, running};
use crate::clock::{Clock, SystemClock};
use crate::definitions::disk::{DamagedCopy, DiskCache, DiskCopy};
use crate::definitions::{
    ApiKey, DefinitionError, DefinitionKey, DefinitionStore, Demand, Fetched, PlatformKey, Settings,
};
use judgement::Case;

/// Most definitions that are compared; each is a request to the platform.
const MOST: usize = 32;

pub(super) fn check(at: &Circumstances, clock: &dyn Clock) -> Vec<Finding> {
    let Ok(settings) = &at.settings else {
        let why = "the settings cannot be used";
        return vec![Finding::not_applicable(Check::Definition, why)];
    };
    let asked: Vec<WorkflowName> = at.workflows.clone();
    let survey = copies::survey(settings);
    let mut names = asked.clone();
    for name in run_here(at).into_iter().chain(survey.own) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let beyond = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    let mut found = Vec::new();
    match compare(at, settings, &names) {
        Ok(cases) => {
            for (name, case) in names.iter().zip(&cases) {
                let case = Case {
                    asked: asked.contains(name),
                    ..case.clone()
                };
                found.extend(judgement::judge(&case, settings, clock.now()));
            }
            found.push(publication(at, &names, &cases));
        }
        Err(reason) => found.push(Finding::not_applicable(Check::Definition, reason)),
    }
    found.extend(leftovers(&survey.foreign, settings, beyond));
    if !found.iter().any(|f| f.check == Check::Definition) {
        let none = format!(
            "no copy below {}; `--workflow workspace/id` compares one",
            settings.cache_dir.join("workflow").display()
        );
        found.insert(0, Finding::not_applicable(Check::Definition, none));
    }
    found
}

/// The definitions of the platform that a millrace on the port has in memory.
fn run_here(at: &Circumstances) -> Vec<WorkflowName> {
    let told = running::freshness(at).unwrap_or_default();
    let rows = told["definitions"].as_array().into_iter().flatten();
    let from_platform = rows.filter(|row| {
        matches!(
            row["definition"]["source"].as_str(),
            Some("platform" | "disk")
        )
    });
    from_platform
        .filter_map(|row| row["id"].as_str()?.parse().ok())
        .collect()
}

/// Copies that no request with this key will find.
fn leftovers(foreign: &[String], settings: &Settings, beyond: usize) -> Vec<Finding> {
    let mut found = Vec::new();
    if !foreign.is_empty() {
        found.push(Finding::warning(
            Check::Definition,
            format!(
                "{} copies were left by other API keys and are not found with this one: {}",
                foreign.len(),
                listed(foreign, 4)
            ),
            "use one key on this machine, or set SINGLE_TENANT_WORKFLOW_CACHE=True and refresh once while the platform can be reached",
        ));
    }
    if beyond > 0 {
        found.push(Finding::not_applicable(
            Check::Definition,
            format!(
                "{beyond} further copies below {} were not compared; `--workflow` names those that matter",
                settings.cache_dir.join("workflow").display()
            ),
        ));
    }
    found
}

fn key_of(name: &WorkflowName, api_key: Option<&ApiKey>) -> PlatformKey {
    let version = name.version.as_deref();
    PlatformKey::new(&name.workspace, &name.workflow, version, api_key.cloned())
}

/// Copy and published definition of each workflow.
fn compare(
    at: &Circumstances,
    settings: &Settings,
    names: &[WorkflowName],
) -> Result<Vec<Case>, String> {
    let disk = DiskCache::new(
        &settings.cache_dir,
        settings.single_tenant || settings.offline,
        settings.offline,
    );
    let published = fetch(at, settings, names)?;
    let cases = names.iter().zip(published).map(|(name, published)| {
        let key = key_of(name, settings.api_key.as_ref());
        let copy: Result<Option<DiskCopy>, DamagedCopy> = match disk.read(&key) {
            // Where the cache folder cannot be, there is no copy; its own check tells.
            Err(damage) if damage.path.symlink_metadata().is_err() => Ok(None),
            read => read,
        };
        Case {
            id: DefinitionKey::Platform(key.clone()).to_string(),
            path: disk.path(&key),
            asked: false,
            copy: copy.map_err(Arc::new),
            published,
        }
    });
    Ok(cases.collect())
}

type Published = Result<Arc<Fetched>, DefinitionError>;

/// The published definitions, all asked for at once. No copy is written, and none stands in.
fn fetch(
    at: &Circumstances,
    settings: &Settings,
    names: &[WorkflowName],
) -> Result<Vec<Published>, String> {
    let mut settings = settings.clone();
    settings.disk = false;
    settings.patience = at.patience;
    settings.platform.timeout = at.patience;
    settings.platform.again.retries = 0;
    let api_key = settings.api_key.clone();
    let store = DefinitionStore::open(settings, Arc::new(SystemClock::default()))
        .map_err(|error| error.to_string())?;
    let store = Arc::new(store);
    let asking = async {
        let mut asked = tokio::task::JoinSet::new();
        for (index, name) in names.iter().enumerate() {
            let key = DefinitionKey::Platform(key_of(name, api_key.as_ref()));
            let store = store.clone();
            asked.spawn(async move { (index, store.get(&key, Demand::Fresh).await) });
        }
        let mut answers: Vec<Option<Published>> = names.iter().map(|_| None).collect();
        while let Some(joined) = asked.join_next().await {
            let (index, answer) = joined.map_err(|e| e.to_string())?;
            answers[index] = Some(answer);
        }
        Ok(answers.into_iter().flatten().collect())
    };
    super::network::wait(asking)?
}

/// Whether the file that was named is what is published. The platform itself answers with the
/// published definition only.
fn publication(at: &Circumstances, names: &[WorkflowName], cases: &[Case]) -> Finding {
    let untold = "the platform shows the published definition only, not one that was saved after \
                  it; `--definition FILE --workflow workspace/id` compares a saved file with it";
    let (Some(path), [asked]) = (&at.definition, &*at.workflows) else {
        return Finding::not_applicable(Check::Publication, untold);
    };
    let case = names.iter().zip(cases).find(|(name, _)| *name == asked);
    let saved = std::fs::read(path)
        .ok()
        .and_then(|body| crate::definitions::unwrap_file(&body).ok());
    match (case, saved) {
        (Some((_, case)), Some(saved)) => judgement::saved(case, path, &saved.definition),
        _ => Finding::not_applicable(Check::Publication, untold),
    }
}
