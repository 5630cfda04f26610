//! What a millrace that runs on this machine says of its definitions and models.

use std::net::{Ipv4Addr, SocketAddr};

use reqwest::header::HeaderMap;
use serde_json::Value as Json;

use super::finding::span;
use super::network;
use super::{Check, Circumstances, Finding};
use crate::clock::Clock;
use crate::values::Timestamp;

pub(super) fn check(at: &Circumstances, clock: &dyn Clock) -> Vec<Finding> {
    let Some(told) = freshness(at) else {
        let why = format!("no millrace tells its freshness on port {}", at.port);
        return vec![Finding::not_applicable(Check::Running, why)];
    };
    judge(&told, clock.now())
}

/// The table of freshness of the process on the port, if it is millrace.
pub(super) fn freshness(at: &Circumstances) -> Option<Json> {
    let socket = SocketAddr::from((Ipv4Addr::LOCALHOST, at.port));
    let url = format!("http://{socket}/freshness").parse().ok()?;
    let client = network::local_client(at.patience).ok()?;
    let reply = network::wait(network::get(&client, url, HeaderMap::new()));
    let told = reply.ok()?.ok()?.json();
    (told["server"]["name"] == "millrace").then_some(told)
}

fn rows<'a>(told: &'a Json, section: &str) -> impl Iterator<Item = &'a Json> + use<'a> {
    told[section].as_array().into_iter().flatten()
}

fn judge(told: &Json, now: Timestamp) -> Vec<Finding> {
    let definitions = rows(told, "definitions").map(|row| definition(row, now));
    let models = rows(told, "models").filter_map(model);
    let mut found: Vec<Finding> = definitions.chain(models).collect();
    if found.is_empty() {
        let none = "millrace runs and has no definition";
        found.push(Finding::ok(Check::Running, none));
    }
    found
}

fn definition(row: &Json, now: Timestamp) -> Finding {
    let text = |value: &Json| value.as_str().unwrap_or("unknown").to_owned();
    let id = text(&row["id"]);
    let stamp = &row["definition"];
    let refresh = format!("`millrace definitions refresh {id}`");
    let finding = if let Some(reason) = row["refused"]["reason"].as_str() {
        Finding::fault(
            Check::Running,
            format!(
                "the streams go on with {} and refused the newer {}: {reason}",
                text(&stamp["hash"]),
                text(&row["refused"]["hash"])
            ),
            "correct the definition and publish it again; `millrace doctor --definition FILE` or `millrace validate FILE` checks it first",
        )
    } else if stamp.is_null() {
        Finding::fault(
            Check::Running,
            format!("there is none: {}", text(&row["last_error"]["message"])),
            refresh,
        )
    } else if stamp["stale"] == true {
        let why = match stamp["last_error"].as_str() {
            Some(why) => format!(": {why}"),
            None => String::new(),
        };
        Finding::fault(
            Check::Running,
            format!(
                "{} was confirmed {} ago and may be out of date{why}",
                text(&stamp["hash"]),
                span(stamp["age_seconds"].as_f64().unwrap_or(0.0))
            ),
            format!("mend what the message says, then {refresh}"),
        )
    } else if let Some(why) = row["disk_error"]["message"].as_str() {
        Finding::warning(
            Check::Running,
            format!("its disk copy cannot be written: {why}"),
            "see the findings on the cache folder",
        )
    } else {
        Finding::ok(Check::Running, fresh(row, now))
    };
    finding.about(id)
}

/// A definition within its time-to-live, and for how long.
fn fresh(row: &Json, now: Timestamp) -> String {
    let stamp = &row["definition"];
    let hash = stamp["hash"].as_str().unwrap_or("unknown");
    let source = stamp["source"].as_str().unwrap_or("unknown");
    let expires = row["expires"].as_str().and_then(Timestamp::parse);
    let left = expires.map(|e| e.unix_seconds() - now.unix_seconds());
    let streams = row["streams"].as_array().map_or(0, Vec::len);
    let ttl = match left {
        Some(left) if left > 0.0 => format!(", inside its TTL for another {}", span(left)),
        Some(_) => ", its TTL is over and it is asked for anew".to_owned(),
        None => String::new(),
    };
    format!("{hash} from {source} on {streams} streams{ttl}")
}

fn model(row: &Json) -> Option<Finding> {
    let id = row["id"].as_str()?;
    (row["changed_on_disk"] == true).then(|| {
        Finding::warning(
            Check::Running,
            "the weights in memory are not those on disk: the file was replaced meanwhile",
            "restart millrace, so that it loads the new file",
        )
        .about(id)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Verdict;
    use super::*;

    fn now() -> Timestamp {
        Timestamp::parse("2026-01-01T00:10:00Z").unwrap()
    }

    fn row() -> Json {
        json!({"id": "ws/flow", "streams": ["cam-1"], "expires": "2026-01-01T00:15:00+00:00",
            "definition": {"hash": "aaaaaaaaaaaa", "source": "platform", "age_seconds": 600.0,
                "stale": false, "last_error": null},
            "refused": null, "disk_error": null, "last_error": null})
    }

    #[test]
    fn what_runs_says_how_long_it_is_good() {
        let found = definition(&row(), now());
        assert_eq!(found.verdict, Verdict::Ok);
        assert_eq!(
            found.evidence,
            "aaaaaaaaaaaa from platform on 1 streams, inside its TTL for another 5 min"
        );
    }

    #[test]
    fn refused_and_stale_definitions_are_faults() {
        let mut refused = row();
        refused["refused"] = json!({"hash": "bbbbbbbbbbbb", "reason": "unknown block"});
        let found = definition(&refused, now());
        assert_eq!(found.verdict, Verdict::Fault);
        assert!(
            found
                .evidence
                .contains("refused the newer bbbbbbbbbbbb: unknown block")
        );
        let mut stale = row();
        stale["definition"]["stale"] = json!(true);
        stale["definition"]["last_error"] = json!("the platform answered 503");
        let found = definition(&stale, now());
        assert_eq!(found.verdict, Verdict::Fault);
        assert!(
            found
                .remedy
                .unwrap()
                .contains("definitions refresh ws/flow")
        );
    }

    #[test]
    fn weights_that_were_replaced_under_a_running_process_are_told() {
        let told = json!({"definitions": [row()], "models": [
            {"id": "coco/3", "changed_on_disk": true}, {"id": "coco/9", "changed_on_disk": false}]});
        let found = judge(&told, now());
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].verdict, Verdict::Warning);
        assert_eq!(found[1].subject.as_deref(), Some("coco/3"));
    }
}
