//! Whether the platform can be reached, takes the key, and has the same time.

use super::{Finding, Subject};
use crate::definitions::{DefinitionStore, Greeting};

/// Difference of clocks from which certificates, ages and times-to-live go wrong.
const TOO_FAR: f64 = 60.0;

/// Asks the platform whom the server's own key belongs to, and reads its clock.
pub fn check(subject: &Subject, store: &DefinitionStore) -> Vec<Finding> {
    let base = &subject.settings.platform.base;
    // An address of the platform has no secrets, but nobody is kept from writing some into it.
    let shown = crate::redact::redact(base.as_str());
    if subject.settings.offline {
        let evidence = "OFFLINE_MODE is on: the platform is never asked";
        return vec![Finding::skipped("platform", evidence)];
    }
    match store.greet() {
        Ok(greeting) => vec![
            reached(&shown, &greeting),
            clock(&greeting, subject.clock.now().unix_seconds()),
            key(subject, &greeting),
        ],
        Err(error) => vec![Finding::wrong(
            "platform",
            format!("{shown}: {error}"),
            format!(
                "curl -sS -o /dev/null -w '%{{http_code}}\\n' {shown}   (shows what stands in the way; check DNS, proxy and firewall)"
            ),
        )],
    }
}

fn reached(shown: &str, greeting: &Greeting) -> Finding {
    let evidence = format!("{shown} answers with status {}", greeting.status);
    match greeting.status {
        429 | 500.. => Finding::wrong(
            "platform",
            evidence,
            "wait: definitions in memory and disk copies go on, and it is asked again by itself",
        ),
        _ => Finding::sound("platform", evidence),
    }
}

fn clock(greeting: &Greeting, now: f64) -> Finding {
    const CHECK: &str = "clock";
    let Some(date) = &greeting.date else {
        return Finding::skipped(CHECK, "the platform's answer has no date");
    };
    let ahead = now - date.unix_seconds();
    let evidence = format!(
        "{:.0} s {} the platform's",
        ahead.abs(),
        if ahead < 0.0 { "behind" } else { "ahead of" }
    );
    if ahead.abs() > TOO_FAR {
        let evidence =
            format!("this machine's clock is {evidence}: ages and certificates are judged wrongly");
        Finding::wrong(CHECK, evidence, "sudo timedatectl set-ntp true")
    } else {
        Finding::sound(CHECK, evidence)
    }
}

fn key(subject: &Subject, greeting: &Greeting) -> Finding {
    const CHECK: &str = "API key";
    if subject.settings.api_key.is_none() {
        let evidence = "no ROBOFLOW_API_KEY is set: each request has to bring its key";
        return Finding::note(CHECK, evidence);
    }
    match (greeting.status, &greeting.workspace) {
        (401 | 403, _) => Finding::wrong(
            CHECK,
            format!(
                "the platform refuses ROBOFLOW_API_KEY ({})",
                greeting.status
            ),
            "export ROBOFLOW_API_KEY=…   (the key is on the settings page of the workspace)",
        ),
        (200..=299, Some(workspace)) => other_workspaces(subject, workspace),
        (200..=299, None) => Finding::sound(CHECK, "accepted"),
        (status, _) => Finding::skipped(CHECK, format!("the platform answered {status}")),
    }
}

/// A key opens one workspace; definitions of others stay closed.
fn other_workspaces(subject: &Subject, workspace: &str) -> Finding {
    const CHECK: &str = "API key";
    let other = subject.definitions.iter().find_map(|key| match key {
        crate::definitions::DefinitionKey::Platform(key)
            if key.api_key().is_none() && key.workspace() != workspace =>
        {
            Some(format!("{}/{}", key.workspace(), key.workflow()))
        }
        _ => None,
    });
    let evidence = format!("accepted; it belongs to workspace {workspace}");
    match other {
        Some(id) => Finding::wrong(
            CHECK,
            format!("{evidence}, and {id} is in another one"),
            format!("export ROBOFLOW_API_KEY=…   (the key of the workspace of {id})"),
        ),
        None => Finding::sound(CHECK, evidence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;
    use crate::values::Timestamp;

    #[test]
    fn clocks_may_differ_a_little() {
        let greeting = |date| Greeting {
            status: 200,
            workspace: None,
            date,
        };
        let at = |seconds: i64| greeting(Some(Timestamp::from_unix_micros(seconds * 1_000_000)));
        assert_eq!(clock(&at(1000), 1030.0).verdict, Verdict::Sound);
        assert_eq!(clock(&at(1000), 1061.0).verdict, Verdict::Wrong);
        let behind = clock(&at(1000), 400.0);
        assert!(
            behind.evidence.contains("600 s behind"),
            "{}",
            behind.evidence
        );
        assert_eq!(clock(&greeting(None), 0.0).verdict, Verdict::Skipped);
    }
}
