//! Whether the environment variables can be used, and whether they say what was meant.

use super::{Check, Circumstances, Finding};
use crate::clock::Clock;

pub(super) fn check(at: &Circumstances, _: &dyn Clock) -> Vec<Finding> {
    let mut found = at.doubts.clone();
    match &at.settings {
        Err(error) => found.push(Finding::fault(
            Check::Settings,
            format!("the environment variable {error}, and is not"),
            format!("unset {0}, or set {0} to {1}", error.name, error.wanted),
        )),
        Ok(settings) if found.is_empty() => found.push(Finding::ok(
            Check::Settings,
            format!(
                "platform {}, cache {}, definitions are good for {} s{}",
                crate::redact::redact(settings.platform.base.as_str()),
                settings.cache_dir.display(),
                settings.ttl.as_secs_f64(),
                if settings.offline {
                    ", offline mode"
                } else {
                    ""
                },
            ),
        )),
        Ok(_) => {}
    }
    found
}

/// Variables that stand for two things at once, or for nothing here.
pub(super) fn doubts(look: &impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let set = |name: &str| look(name).filter(|value| !value.is_empty());
    let mut found = Vec::new();
    if let (Some(first), Some(second)) = (set("ROBOFLOW_API_KEY"), set("API_KEY"))
        && first != second
    {
        found.push(Finding::warning(
            Check::Settings,
            "ROBOFLOW_API_KEY and API_KEY hold different keys; ROBOFLOW_API_KEY is used",
            "unset API_KEY, or set both to the same key",
        ));
    }
    let host = |name: &str| {
        let value = set(name).unwrap_or_else(|| "https://api.roboflow.com".into());
        value.trim_end_matches('/').to_owned()
    };
    if host("API_BASE_URL") != host("ROBOFLOW_API_HOST") {
        found.push(Finding::warning(
            Check::Settings,
            "API_BASE_URL (definitions) and ROBOFLOW_API_HOST (weights) are different platforms",
            "set both to the same address, or unset both",
        ));
    }
    if set("REDIS_HOST").is_some() {
        found.push(Finding::warning(
            Check::Settings,
            "REDIS_HOST is set; millrace keeps definitions in memory and on disk, not in Redis",
            "unset REDIS_HOST; to share definitions between servers give them one MODEL_CACHE_DIR",
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Vec<Finding> {
        doubts(&|name: &str| {
            let pair = pairs.iter().find(|(n, _)| *n == name)?;
            Some(pair.1.to_owned())
        })
    }

    #[test]
    fn variables_that_contradict_each_other_are_told_without_their_values() {
        assert_eq!(of(&[]), []);
        assert_eq!(
            of(&[("ROBOFLOW_API_KEY", "s3cret"), ("API_KEY", "s3cret")]),
            []
        );
        let both = [
            ("API_BASE_URL", "http://p/"),
            ("ROBOFLOW_API_HOST", "http://p"),
        ];
        assert_eq!(of(&both), []);
        let found = of(&[
            ("ROBOFLOW_API_KEY", "s3cret"),
            ("API_KEY", "s3cret2"),
            ("API_BASE_URL", "http://user:s3cret@p/"),
            ("REDIS_HOST", "s3cret"),
        ]);
        assert_eq!(found.len(), 3);
        assert!(!format!("{found:?}").contains("s3cret"));
    }
}
