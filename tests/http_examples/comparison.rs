//! What an answer may have otherwise than the recording, and the comparison of all else.

use serde_json::Value as Json;

/// Parts of bodies that hold the words of the reference's libraries, or the server's name.
const WORDS: &[(&str, &[&str])] = &[
    ("sdk/get_server_info", &["/name"]),
    // The variant is a fact of the platform, which a local package does not tell.
    (
        "server/workload_spec",
        &["/summary/models/items/0/metadata/model_variant"],
    ),
    // We say what the other server answered.
    ("server/legacy_get_image_url", &["/message"]),
    ("errors/image_url_404", &["/message"]),
    (
        "errors/err_dynamic_outputs",
        &["/inner_error_message", "/blocks_errors/0/property_details"],
    ),
    ("errors/err_image_file", &["/message"]),
    ("errors/err_image_plain_path", &["/message"]),
    ("errors/err_image_type", &["/message"]),
    ("errors/err_bad_image", &["/message"]),
    ("errors/err_bad_image_used", &["/message"]),
    ("errors/err_image_url_refused", &["/message"]),
    ("errors/image_video_metadata_bad", &["/message"]),
    (
        "errors/err_unknown_block",
        &["/inner_error_message", "/blocks_errors/0/property_details"],
    ),
    (
        "errors/err_block_validation",
        &["/inner_error_message", "/blocks_errors/0/property_details"],
    ),
];

/// Fields whose value is another one in each answer.
const VOLATILE: &[&str] = &[
    "model_package_id",
    // Depends on what was asked before.
    "request_paths",
    "inference_id",
    "time",
    "detection_id",
    "uuid",
    "frame_timestamp",
    "id",
];

/// What millrace tells of a model in memory beyond the reference.
const ADDED: &[&str] = &["version", "sha256", "size_bytes", "loaded_since", "source"];

/// What differs between the recorded and the given body of an exchange.
pub fn compare(name: &str, want: &Json, got: &Json) -> Vec<String> {
    let words = WORDS.iter().find(|(other, _)| *other == name);
    let ignored = words.map_or(&[][..], |(_, at)| at);
    let mut differences = Vec::new();
    walk(want, got, "", ignored, &mut differences);
    differences
}

/// Goes through two values; `at` is the way to them.
fn walk(want: &Json, got: &Json, at: &str, ignored: &[&str], out: &mut Vec<String>) {
    if ignored.contains(&at) {
        if at.ends_with("model_variant") && got.is_null() {
            return;
        }
        // What comes before the library's words is ours too.
        let own = |text: &Json| {
            text.as_str()
                .map(|t| t.split("Details: ").next().map(str::len))
        };
        let (Some(wanted), Some(got_text)) = (want.as_str(), got.as_str()) else {
            return out.push(format!("{at} is {got}, not text"));
        };
        let until = own(want).flatten().unwrap_or_default();
        if until < wanted.len() && wanted.get(..until) != got_text.get(..until) {
            out.push(format!("{at} begins otherwise: {got_text:?}"));
        }
        return;
    }
    match (want, got) {
        (Json::Object(want), Json::Object(got)) => {
            for (name, value) in want {
                let at = format!("{at}/{name}");
                match got.get(name) {
                    None => out.push(format!("{at} is missing")),
                    Some(other) if VOLATILE.contains(&name.as_str()) => {
                        if std::mem::discriminant(value) != std::mem::discriminant(other) {
                            out.push(format!("{at} is {other}, another type than {value}"));
                        }
                    }
                    Some(other) => walk(value, other, &at, ignored, out),
                }
            }
            for name in got.keys().filter(|name| {
                !want.contains_key(*name) && *name != "id" && !ADDED.contains(&name.as_str())
            }) {
                out.push(format!("{at}/{name} is too much"));
            }
        }
        (Json::Array(want), Json::Array(got)) => {
            if want.len() != got.len() {
                out.push(format!("{at} has {} items, not {}", got.len(), want.len()));
            }
            for (i, (want, got)) in want.iter().zip(got).enumerate() {
                walk(want, got, &format!("{at}/{i}"), ignored, out);
            }
        }
        (Json::String(want), Json::String(got)) if want.ends_with("base64 chars>") => {
            let start = want.split("...").next().unwrap();
            if !got.starts_with(start) {
                out.push(format!(
                    "{at} starts {:?}",
                    &got[..start.len().min(got.len())]
                ));
            }
        }
        (Json::String(want), Json::String(got)) if want.contains(" bytes, starts ") => {
            let start = |text: &str| text.split("starts ").nth(1).map(str::to_owned);
            if start(want) != start(got) {
                out.push(format!("{at} is {got}, not {want}"));
            }
        }
        (Json::String(want), Json::String(got)) if want.ends_with("<sdp cut>") => {
            let (start, section) = ("v=0\r\no=- ", "m=application ");
            if !got.starts_with(start) || !got.contains(section) {
                out.push(format!("{at} is no session: {got:?}"));
            }
        }
        (Json::String(want), Json::String(got)) if want.ends_with("...(list cut)") => {
            let start = want.split(" ...(list cut)").next().unwrap();
            if !got.starts_with(start) {
                out.push(format!("{at} is {got:?}, not {want:?}"));
            }
        }
        // Documentation that the recording cut; ours is in our words.
        (Json::String(want), Json::String(_)) if want == "..." => {}
        (Json::Number(a), Json::Number(b)) if a.as_f64() == b.as_f64() => {}
        (want, got) if want == got => {}
        _ => out.push(format!("{at} is {got}, not {want}")),
    }
}
