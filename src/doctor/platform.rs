//! Whether the platform answers, takes the API key, and has the same time.
//!
//! One request tells all three: `GET {API_BASE_URL}/?api_key=K&nocache=true`, which answers with the
//! workspace of the key.

use std::time::Duration;

use reqwest::header::HeaderMap;
use url::Url;

use super::network::{self, Reply, Silence};
use super::{Check, Circumstances, Finding, WorkflowName};
use crate::clock::Clock;
use crate::definitions::{ApiKey, Settings};
use crate::redact::redact;

/// Difference of the clocks from which on it is told, in seconds. The header counts whole seconds,
/// and the answer may have taken some.
const SLIGHT_SKEW: f64 = 10.0;
/// Difference from which on certificates and signatures fail.
const LARGE_SKEW: f64 = 120.0;

pub(super) fn check(at: &Circumstances, clock: &dyn Clock) -> Vec<Finding> {
    let unasked = |why: &str| {
        [Check::Platform, Check::ApiKey, Check::Clock]
            .map(|check| Finding::not_applicable(check, why))
            .to_vec()
    };
    let settings = match &at.settings {
        Err(_) => return unasked("the settings cannot be used"),
        Ok(settings) if settings.offline => {
            return unasked("offline mode: the platform is not asked");
        }
        Ok(settings) => settings,
    };
    let asked = network::wait(ask(settings, at.patience)).and_then(|asked| asked);
    let shown = redact(settings.platform.base.as_str());
    let reply = match asked {
        Ok(Ok(reply)) => reply,
        Ok(Err(silence)) => return unreachable(settings, &shown, &silence, at.patience),
        Err(reason) => return unasked(&format!("no request can be made: {reason}")),
    };
    vec![
        answers(&shown, reply.status),
        key(at, settings.api_key.as_ref(), &reply),
        skew(reply.date(), clock.now().unix_seconds()),
    ]
}

async fn ask(settings: &Settings, patience: Duration) -> Result<Result<Reply, Silence>, String> {
    let platform = &settings.platform;
    let client = network::platform_client(patience, platform.verify_tls)?;
    let headers: HeaderMap = platform.headers.iter().cloned().collect();
    Ok(network::get(&client, address(settings), headers).await)
}

/// Where the key's workspace is asked for, through the gateway if there is one.
fn address(settings: &Settings) -> Url {
    let mut url = settings.platform.base.clone();
    if let Some(key) = &settings.api_key {
        url.query_pairs_mut().append_pair("api_key", key.expose());
    }
    url.query_pairs_mut().append_pair("nocache", "true");
    let Some(gateway) = &settings.platform.gateway else {
        return url;
    };
    let mut proxied = gateway.clone();
    if let Ok(mut path) = proxied.path_segments_mut() {
        path.pop_if_empty().push("proxy");
    }
    proxied.query_pairs_mut().append_pair("url", url.as_str());
    proxied
}

fn unreachable(
    settings: &Settings,
    shown: &str,
    silence: &Silence,
    patience: Duration,
) -> Vec<Finding> {
    let reason = match silence {
        Silence::Timeout => format!("no answer within {} s", patience.as_secs_f64()),
        other => other.to_string(),
    };
    let via = match &settings.platform.gateway {
        Some(gateway) => format!(" through the gateway {}", redact(gateway.as_str())),
        None => String::new(),
    };
    let remedy = format!(
        "try `curl -sSI {shown}` on this machine; check network, firewall, proxy (HTTPS_PROXY), \
         API_BASE_URL and SECURE_GATEWAY, and for certificate errors the clock"
    );
    let not_asked = "the platform gave no answer";
    vec![
        Finding::fault(
            Check::Platform,
            format!("{shown} cannot be reached{via}: {reason}"),
            remedy,
        ),
        Finding::not_applicable(Check::ApiKey, not_asked),
        Finding::not_applicable(Check::Clock, not_asked),
    ]
}

fn answers(shown: &str, status: u16) -> Finding {
    let evidence = format!("{shown} answers {status}");
    let wait = "wait for it, see https://status.roboflow.com; what runs goes on, nothing new comes";
    match status {
        429 => Finding::warning(
            Check::Platform,
            format!("{evidence}: too many requests"),
            wait,
        ),
        500.. => Finding::fault(Check::Platform, evidence, wait),
        _ => Finding::ok(Check::Platform, evidence),
    }
}

fn key(at: &Circumstances, key: Option<&ApiKey>, reply: &Reply) -> Finding {
    let get_one = "take a key from https://app.roboflow.com/settings/api and \
                   `export ROBOFLOW_API_KEY=…`";
    if key.is_none() {
        let none = "neither ROBOFLOW_API_KEY nor API_KEY is set";
        return match at.workflows.is_empty() {
            true => Finding::not_applicable(Check::ApiKey, none),
            false => Finding::fault(Check::ApiKey, none, get_one),
        };
    }
    let workspace = reply.json()["workspace"].as_str().map(str::to_owned);
    match (reply.status, workspace) {
        (200..=299, Some(workspace)) => of_workspace(&workspace, &at.workflows),
        (200..=299, None) => Finding::ok(Check::ApiKey, "the platform takes it"),
        (401, _) => Finding::fault(
            Check::ApiKey,
            "the platform refuses it (401): it is wrong or was revoked",
            get_one,
        ),
        (403, _) => Finding::fault(
            Check::ApiKey,
            "the platform refuses it (403): it lacks the scopes that are needed",
            get_one,
        ),
        (402, _) => Finding::fault(
            Check::ApiKey,
            "the platform has no credits left for it (402)",
            "check the billing page of the workspace on https://app.roboflow.com",
        ),
        (423, _) => Finding::fault(
            Check::ApiKey,
            "the use of the workspace's keys is paused (423)",
            "resume it in the settings of the workspace on https://app.roboflow.com",
        ),
        (status, _) => Finding::not_applicable(
            Check::ApiKey,
            format!("the answer {status} does not tell whether the key is taken"),
        ),
    }
}

/// The key is good for its own workspace only.
fn of_workspace(workspace: &str, workflows: &[WorkflowName]) -> Finding {
    let foreign = workflows
        .iter()
        .find(|w| w.workspace != workspace && w.workspace != "local");
    match foreign {
        Some(workflow) => Finding::fault(
            Check::ApiKey,
            format!(
                "it is a key of the workspace {workspace}, and {} is asked for",
                workflow.workspace
            ),
            format!(
                "`export ROBOFLOW_API_KEY=…` with a key of {}, or correct the workspace",
                workflow.workspace
            ),
        ),
        None => Finding::ok(
            Check::ApiKey,
            format!("the platform takes it, for the workspace {workspace}"),
        ),
    }
}

fn skew(date: Option<i64>, now: f64) -> Finding {
    let Some(date) = date else {
        return Finding::not_applicable(Check::Clock, "the platform's answer has no date");
    };
    // The header cuts the fraction off.
    let skew = now - (date as f64 + 0.5);
    let direction = if skew > 0.0 { "ahead of" } else { "behind" };
    let evidence = format!(
        "this machine's clock is {} {direction} the platform's",
        super::finding::span(skew.abs())
    );
    let remedy = "`sudo timedatectl set-ntp true`, then `timedatectl` shows whether it is in step \
                  (in a container: on its host)";
    match skew.abs() {
        s if s < SLIGHT_SKEW => Finding::ok(Check::Clock, "in step with the platform's"),
        s if s < LARGE_SKEW => Finding::warning(Check::Clock, evidence, remedy),
        _ => Finding::fault(Check::Clock, evidence, remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_clock_may_be_off_by_what_the_header_cannot_tell() {
        for (now, verdict) in [
            (1000.9, Verdict::Ok),
            (995.0, Verdict::Ok),
            (1030.0, Verdict::Warning),
            (4600.0, Verdict::Fault),
            (0.0, Verdict::Fault),
        ] {
            assert_eq!(skew(Some(1000), now).verdict, verdict, "{now}");
        }
        assert_eq!(skew(None, 0.0).verdict, Verdict::NotApplicable);
        assert!(skew(Some(1000), 4600.5).evidence.contains("60 min ahead"));
    }

    #[test]
    fn a_key_is_good_for_its_own_workspace() {
        let asked = ["mine/a".parse().unwrap(), "other/b".parse().unwrap()];
        assert_eq!(of_workspace("mine", &asked[..1]).verdict, Verdict::Ok);
        let found = of_workspace("mine", &asked);
        assert_eq!(found.verdict, Verdict::Fault);
        assert!(found.remedy.unwrap().contains("a key of other"));
    }

    #[test]
    fn the_gateway_is_asked_in_the_platforms_place() {
        let base = Url::parse("http://platform.example").unwrap();
        let mut settings = Settings::new(base, "/tmp");
        settings.api_key = Some(ApiKey::new("K1"));
        assert_eq!(
            address(&settings).as_str(),
            "http://platform.example/?api_key=K1&nocache=true"
        );
        settings.platform.gateway = Some(Url::parse("http://gate:8080").unwrap());
        assert_eq!(
            address(&settings).as_str(),
            "http://gate:8080/proxy?url=http%3A%2F%2Fplatform.example%2F%3Fapi_key%3DK1%26nocache%3Dtrue"
        );
    }
}
