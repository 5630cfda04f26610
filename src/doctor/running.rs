//! What the running server says of its definitions, compared with what is published.

use serde_json::Value as Json;

use super::Finding;
use super::published::Known;
use crate::definition::canonical::DefinitionHash;

const CHECK: &str = "running";

/// Judges the answer of `GET /freshness`. `known` holds what is published.
pub fn check(freshness: &Json, known: &[Known]) -> Vec<Finding> {
    let rows = freshness["definitions"].as_array();
    let rows = rows.into_iter().flatten();
    rows.flat_map(|row| judge(row, known)).collect()
}

fn judge(row: &Json, known: &[Known]) -> Vec<Finding> {
    let id = row["id"].as_str().unwrap_or_default();
    let refresh = format!("millrace definitions refresh {id}");
    let definition = &row["definition"];
    let Some(hash) = definition["hash"].as_str() else {
        let why = row["last_error"]["message"]
            .as_str()
            .unwrap_or("it is being fetched");
        return vec![Finding::wrong(
            CHECK,
            format!("{id}: the server has no definition: {why}"),
            refresh,
        )];
    };
    let mut findings = Vec::new();
    let holds = format!(
        "{id}: the server holds {hash} (from {}, {:.0} s old)",
        definition["source"].as_str().unwrap_or("nowhere"),
        definition["age_seconds"].as_f64().unwrap_or(0.0)
    );
    let published = known.iter().find(|k| k.current && k.id == id);
    let newer = published
        .map(|k| DefinitionHash::of(&k.definition).to_string())
        .filter(|published| published != hash);
    if let Some(newer) = newer {
        findings.push(Finding::wrong(
            CHECK,
            format!("{holds}, and {newer} is published"),
            refresh.clone(),
        ));
    } else if definition["stale"] == true {
        let why = definition["last_error"]
            .as_str()
            .unwrap_or("nobody refreshes it");
        findings.push(Finding::wrong(
            CHECK,
            format!("{holds}, which is stale: {why}"),
            refresh.clone(),
        ));
    } else {
        let next = row["next_refresh"].as_str();
        let next = next.map_or(String::new(), |t| format!("; refreshed next at {t}"));
        findings.push(Finding::sound(CHECK, format!("{holds}{next}")));
    }
    if let Some(reason) = row["refused"]["reason"].as_str() {
        findings.push(Finding::wrong(
            CHECK,
            format!(
                "{id}: a stream refused {}: {reason}",
                row["refused"]["hash"].as_str().unwrap_or("a newer one")
            ),
            "correct the definition and publish it; the stream goes on with the one it has",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn old_stale_and_refused_definitions_are_told() {
        let published = json!({"version": "1.0"});
        let hash = DefinitionHash::of(&published).to_string();
        let row = |definition: Json, refused: Json| json!({"definitions": [{"id": "ws/flow", "definition": definition, "refused": refused}]});
        let stamp = |hash: &str, stale: bool| {
            json!({"hash": hash, "source": "platform", "age_seconds": 7.2, "stale": stale,
                   "last_error": "the platform answered 503"})
        };
        let known = [Known {
            id: "ws/flow".into(),
            definition: published,
            current: true,
        }];
        let of = |row: Json| -> Vec<(Verdict, String)> {
            let findings = check(&row, &known).into_iter();
            findings.map(|f| (f.verdict, f.evidence)).collect()
        };
        let sound = of(row(stamp(&hash, false), Json::Null));
        assert_eq!(sound.len(), 1);
        assert_eq!(sound[0].0, Verdict::Sound);
        assert!(sound[0].1.contains("from platform, 7 s old"));
        for (row, says) in [
            (
                row(stamp("0123456789ab", false), Json::Null),
                "is published",
            ),
            (
                row(stamp(&hash, true), Json::Null),
                "stale: the platform answered 503",
            ),
            (row(Json::Null, Json::Null), "has no definition"),
        ] {
            let found = of(row);
            assert_eq!((found.len(), found[0].0), (1, Verdict::Wrong));
            assert!(found[0].1.contains(says), "{}", found[0].1);
        }
        let refused = json!({"hash": "ba9876543210", "reason": "model x/1 is unknown"});
        let found = of(row(stamp(&hash, false), refused));
        assert!(
            found[1]
                .1
                .contains("refused ba9876543210: model x/1 is unknown")
        );
        assert!(check(&json!({}), &known).is_empty());
    }
}
