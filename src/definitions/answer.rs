//! From the JSON that a source gives to the definition in it.

use std::sync::Arc;

use serde_json::Value as Json;

/// The definition in an answer of the platform, or in a disk copy of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The definition.
    pub definition: Json,
    /// The id that the platform gave the workflow.
    pub platform_id: Option<Arc<str>>,
}

impl Answer {
    /// Reads an answer: an object `workflow` whose `config` is the text of a JSON object with an
    /// object `specification`. Everything else in it is ignored.
    ///
    /// # Errors
    /// What is missing or of another form.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let json: Json = serde_json::from_slice(body).map_err(|e| format!("not JSON: {e}"))?;
        let workflow = json.get("workflow").ok_or("it has no `workflow`")?;
        let platform_id = workflow.get("id").and_then(Json::as_str).map(Arc::from);
        Ok(Self {
            definition: specification(workflow)?,
            platform_id,
        })
    }
}

fn specification(workflow: &Json) -> Result<Json, String> {
    let config = match workflow.get("config") {
        Some(Json::String(text)) => serde_json::from_str::<Json>(text)
            .map_err(|e| format!("`config` is the text of no JSON: {e}"))?,
        Some(_) => return Err("`config` is no text".into()),
        None => return Err("it has no `config`".into()),
    };
    match config {
        Json::Object(mut config) => match config.remove("specification") {
            Some(definition @ Json::Object(_)) => Ok(definition),
            _ => Err("`config` has no object `specification`".into()),
        },
        _ => Err("`config` is the text of no object".into()),
    }
}

/// The definition in a file: the file itself, or what an export wraps around it (an answer of the
/// platform, a file of the local editor, an object `specification`).
///
/// # Errors
/// If the file is no JSON object, or its wrapping holds no definition.
pub fn unwrap_file(body: &[u8]) -> Result<Answer, String> {
    let json: Json = serde_json::from_slice(body).map_err(|e| format!("not JSON: {e}"))?;
    let Json::Object(mut top) = json else {
        return Err("not a JSON object".into());
    };
    let plain = |definition| Answer {
        definition,
        platform_id: None,
    };
    if top.contains_key("steps") || top.contains_key("outputs") {
        Ok(plain(Json::Object(top)))
    } else if top.contains_key("workflow") {
        Answer::parse(body)
    } else if top.contains_key("config") {
        specification(&Json::Object(top)).map(plain)
    } else {
        match top.remove("specification") {
            Some(definition @ Json::Object(_)) => Ok(plain(definition)),
            // Whatever is missing, the parser of definitions says it better.
            _ => Ok(plain(Json::Object(top))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(config: &Json) -> Vec<u8> {
        let workflow = json!({"owner": "o", "name": "n", "url": "u", "id": "i7", "config": config});
        json!({"workflow": workflow, "status": "ok"})
            .to_string()
            .into()
    }

    #[test]
    fn a_definition_is_the_specification_in_the_text_of_config() {
        let definition = json!({"version": "1.0", "steps": []});
        let config = json!({"specification": definition, "preset": "single-model"}).to_string();
        let parsed = Answer::parse(&answer(&json!(config))).unwrap();
        assert_eq!(parsed.definition, definition);
        assert_eq!(parsed.platform_id.as_deref(), Some("i7"));
    }

    #[test]
    fn everything_else_is_garbage() {
        for (body, reason) in [
            (b"<html>".to_vec(), "not JSON"),
            (b"\"text\"".to_vec(), "no `workflow`"),
            (b"{\"workflow\": {}}".to_vec(), "no `config`"),
            (answer(&json!({"specification": {}})), "no text"),
            (answer(&json!("{")), "text of no JSON"),
            (answer(&json!("[]")), "text of no object"),
            (
                answer(&json!("{\"specification\": 1}")),
                "no object `specification`",
            ),
            (Vec::new(), "not JSON"),
        ] {
            let error = Answer::parse(&body).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn files_may_be_wrapped_as_exports_are() {
        let definition = json!({"version": "1.0", "steps": []});
        let config = json!({"specification": definition}).to_string();
        let editor = json!({"id": "x", "name": "X", "config": config}).to_string();
        for body in [
            definition.to_string().into_bytes(),
            json!({"specification": definition}).to_string().into(),
            editor.into(),
            answer(&json!(config)),
        ] {
            assert_eq!(unwrap_file(&body).unwrap().definition, definition);
        }
        assert!(unwrap_file(b"[1]").unwrap_err().contains("object"));
        assert!(unwrap_file(b"{\"config\": 1}").is_err());
    }
}
