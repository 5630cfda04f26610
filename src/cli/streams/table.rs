//! Streams as tables for people.

use serde_json::Value as Json;

/// A value in a cell.
pub(super) fn text(json: &Json) -> String {
    match json {
        Json::Null => "-".into(),
        Json::String(s) => s.clone(),
        Json::Number(n) if n.is_f64() => format!("{:.1}", n.as_f64().unwrap_or_default()),
        Json::Array(items) if items.is_empty() => "-".into(),
        Json::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Json::Object(entries) => pairs(entries.iter().filter(|(_, v)| !v.is_null())),
        other => other.to_string(),
    }
}

fn pairs<'a>(entries: impl Iterator<Item = (&'a String, &'a Json)>) -> String {
    let pairs: Vec<String> = entries.map(|(k, v)| format!("{k} {}", text(v))).collect();
    match pairs.is_empty() {
        true => "-".into(),
        false => pairs.join(", "),
    }
}

/// What was dropped, by cause.
fn dropped(figures: &Json) -> String {
    let causes = figures["dropped"].as_object().into_iter().flatten();
    pairs(causes.filter(|(_, n)| n.as_u64() != Some(0)))
}

/// State or, if it is ill, condition.
fn state(row: &Json) -> String {
    let condition = row["health"]["condition"].as_str();
    let ill = ["starved", "hung", "failing", "dead"];
    match condition.filter(|condition| ill.contains(condition)) {
        Some(condition) => condition.to_owned(),
        None => text(&row["state"]),
    }
}

const HEAD: [&str; 9] = [
    "STREAM",
    "STATE",
    "DEFINITION",
    "CAMERA FPS",
    "FPS",
    "RESULTS",
    "ERRORS",
    "P50/P95/P99 MS",
    "DROPPED",
];

/// A line for each stream.
pub(super) fn of(rows: &[Json]) -> String {
    if rows.is_empty() {
        return "no streams run".into();
    }
    let cells = |row: &Json| {
        let figures = &row["figures"];
        let latency = &figures["latency_ms"];
        let times = ["p50", "p95", "p99"].map(|name| text(&latency[name]));
        [
            text(&row["id"]),
            state(row),
            text(&row["definition_id"]),
            text(&figures["camera_fps"]),
            text(&figures["processed_fps"]),
            text(&figures["results"]),
            text(&row["errors"]),
            times.join("/"),
            dropped(figures),
        ]
    };
    let lines: Vec<[String; 9]> = std::iter::once(HEAD.map(str::to_owned))
        .chain(rows.iter().map(cells))
        .collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..HEAD.len()).map(|c| width(c).unwrap_or(0)).collect();
    let line = |cells: &[String; 9]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Everything about a stream, a line for each thing.
pub(super) fn details(row: &Json) -> String {
    let mut lines = Vec::new();
    let entries = row.as_object().into_iter().flatten();
    for (name, value) in entries.filter(|(_, value)| !value.is_null()) {
        match value {
            Json::Array(items) if items.iter().any(Json::is_object) => {
                let each = items.iter().map(|item| format!("{name:14} {}", text(item)));
                lines.extend(each);
            }
            Json::Object(inner) => {
                lines.push(name.clone());
                let inner = inner.iter().filter(|(_, value)| !value.is_null());
                lines.extend(inner.map(|(k, v)| format!("  {k:16} {}", text(v))));
            }
            value => lines.push(format!("{name:14} {}", text(value))),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stream_has_its_line_with_what_matters() {
        let row = json!({
            "id": "gate", "state": "running", "definition_id": "local/people", "errors": 0,
            "health": {"condition": "starved"},
            "figures": {
                "camera_fps": null, "processed_fps": 9.96, "results": 120,
                "dropped": {"stale": 4, "queue_full": 0},
                "latency_ms": {"p50": 1.25, "p95": 2.0, "p99": 30.0},
            },
        });
        let table = of(std::slice::from_ref(&row));
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 2);
        let cells: Vec<&str> = lines[1].split_whitespace().collect();
        assert_eq!(
            cells,
            [
                "gate",
                "starved",
                "local/people",
                "-",
                "10.0",
                "120",
                "0",
                "1.2/2.0/30.0",
                "stale",
                "4"
            ]
        );
        assert_eq!(of(&[]), "no streams run");
        let told = details(&row);
        assert!(told.contains("id             gate"), "{told}");
        assert!(
            told.contains("  dropped          stale 4, queue_full 0"),
            "{told}"
        );
    }
}
