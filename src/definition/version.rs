//! The engine version that a definition asks for (engine specification 1.6).
//!
//! Versions are those of Python packages: `1.0`, `v1.3.0`, `1.17.0rc1`, `1!2.0`.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value as Json;

use super::error::{ErrorClass, WorkflowError};

/// Version of the execution engine that this program implements.
pub const ENGINE_VERSION: &str = "1.17.0";

const OWN_RELEASE: [u64; 3] = [1, 17, 0];

const CONTEXT: &str = "workflow_compilation | engine_initialisation";

static VERSION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?ix)^\s* v?
        (?:(?P<epoch>[0-9]+)!)?
        (?P<release>[0-9]+(?:\.[0-9]+)*)
        (?:[-_.]?(?:alpha|a|beta|b|preview|pre|c|rc)[-_.]?[0-9]*)?
        (?P<post>-[0-9]+|[-_.]?(?:post|rev|r)[-_.]?[0-9]*)?
        (?:[-_.]?dev[-_.]?[0-9]*)? \s*$",
    )
    .ok()
});

/// Refuses a requested version that this engine does not satisfy. A version that is absent or empty
/// means the newest engine.
pub(super) fn check(version: Option<&Json>) -> Result<(), WorkflowError> {
    let text = match version {
        None | Some(Json::Null) => return Ok(()),
        Some(Json::String(text)) if text.is_empty() => return Ok(()),
        Some(Json::String(text)) => text,
        Some(_) => return Err(unreadable("must be text")),
    };
    let Some(found) = VERSION.as_ref().and_then(|v| v.captures(text)) else {
        return Err(unreadable("is not a version number"));
    };
    // A number too large for 64 bits is at any rate larger than ours.
    let number = |digits: &str| digits.parse::<u64>().unwrap_or(u64::MAX);
    let release: Vec<u64> = found["release"].split('.').map(number).collect();
    let epoch = found.name("epoch").map_or(0, |e| number(e.as_str()));
    let padded = |i: usize| release.get(i).copied().unwrap_or(0);
    let own = |i: usize| OWN_RELEASE.get(i).copied().unwrap_or(0);
    let newer = (0..release.len().max(OWN_RELEASE.len()))
        .map(|i| padded(i).cmp(&own(i)))
        .find(|order| order.is_ne())
        .unwrap_or(if found.name("post").is_some() {
            std::cmp::Ordering::Greater
        } else {
            std::cmp::Ordering::Equal
        });
    if epoch == 0 && release[0] == OWN_RELEASE[0] && newer.is_le() {
        return Ok(());
    }
    // The order of the two bounds is the reference's.
    let message = format!(
        "Workflow definition requested Execution Engine in version: `<{}.0.0,>={}` which cannot be \
         found in existing setup. Available Execution Engines versions: \
         `[<Version('{ENGINE_VERSION}')>]`.",
        release[0].saturating_add(1),
        text.trim(),
    );
    Err(WorkflowError::new(
        ErrorClass::NotSupportedExecutionEngine,
        CONTEXT,
        message,
    ))
}

fn unreadable(what: &str) -> WorkflowError {
    WorkflowError::new(
        ErrorClass::WorkflowDefinition,
        CONTEXT,
        format!("`version` {what}; write e.g. \"1.0\""),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_up_to_our_own_are_accepted() {
        for accepted in [
            json!(null),
            json!(""),
            json!("1"),
            json!("1.0"),
            json!("1.3.0"),
            json!(" v1.17.0 "),
            json!("1.17"),
            json!("1.17.0rc1"),
            json!("1.17.0.dev3"),
            json!("1.16.9.post4"),
            json!("1.17.0.0"),
        ] {
            assert_eq!(check(Some(&accepted)), Ok(()), "{accepted}");
        }
        assert_eq!(check(None), Ok(()));
    }

    #[test]
    fn other_versions_are_refused_by_class() {
        for (version, class) in [
            (json!("1.17.1"), ErrorClass::NotSupportedExecutionEngine),
            (json!("1.17.0.1"), ErrorClass::NotSupportedExecutionEngine),
            (
                json!("1.17.0.post1"),
                ErrorClass::NotSupportedExecutionEngine,
            ),
            (json!("1.18.0"), ErrorClass::NotSupportedExecutionEngine),
            (json!("0.9"), ErrorClass::NotSupportedExecutionEngine),
            (json!("2.0"), ErrorClass::NotSupportedExecutionEngine),
            (json!("1!1.0"), ErrorClass::NotSupportedExecutionEngine),
            (
                json!("99999999999999999999999.0"),
                ErrorClass::NotSupportedExecutionEngine,
            ),
            (json!("abc"), ErrorClass::WorkflowDefinition),
            (json!("1.abc"), ErrorClass::WorkflowDefinition),
            (json!("1..0"), ErrorClass::WorkflowDefinition),
            (json!("1.0 0"), ErrorClass::WorkflowDefinition),
            (json!(" "), ErrorClass::WorkflowDefinition),
            (json!(1.0), ErrorClass::WorkflowDefinition),
            (json!(["1.0"]), ErrorClass::WorkflowDefinition),
        ] {
            let error = check(Some(&version)).unwrap_err();
            assert_eq!(error.class, class, "{version}");
            assert_eq!(error.context, CONTEXT);
            assert_eq!(error.status(), 400);
        }
    }
}
