//! Definitions for tests, made of the blocks in `blocks::testing`.

use serde_json::{Value as Json, json};

/// A definition. Inputs are named by what they are: `image…`, `p…` a parameter, `b…` a batch of
/// depth 1, `bb…` and `bbb…` of depth 2 and 3. Outputs are pairs of a name and a selector.
pub fn workflow(inputs: &[&str], steps: Json, outputs: &[(&str, &str)]) -> Json {
    let input = |name: &&str| {
        if name.starts_with("image") {
            return json!({"type": "WorkflowImage", "name": name});
        }
        match name.bytes().take_while(|b| *b == b'b').count() {
            0 => json!({"type": "WorkflowParameter", "name": name}),
            depth => {
                json!({"type": "WorkflowBatchInput", "name": name, "dimensionality": depth})
            }
        }
    };
    let output = |(name, selector): &(&str, &str)| json!({"type": "JsonField", "name": name, "selector": selector});
    json!({
        "version": "1.0",
        "inputs": inputs.iter().map(input).collect::<Vec<_>>(),
        "steps": steps,
        "outputs": outputs.iter().map(output).collect::<Vec<_>>(),
    })
}

/// A step: its fields with a name and a type.
pub fn step(step: &str, block: &str, fields: Json) -> Json {
    let mut entry = fields;
    entry["type"] = json!(block);
    entry["name"] = json!(step);
    entry
}

/// A step that gives what it gets.
pub fn echo(name: &str, v: impl Into<Json>) -> Json {
    step(name, "Echo", json!({"v": v.into()}))
}

/// A step that makes a level of the items of a list.
pub fn split(name: &str, v: impl Into<Json>) -> Json {
    step(name, "Split", json!({"v": v.into()}))
}

/// A step that gathers a level into lists.
pub fn collapse(name: &str, data: &str) -> Json {
    step(name, "DimensionCollapse", json!({"data": data}))
}

/// A condition `value is limit` that gates steps.
pub fn cond(name: &str, value: &str, is: &str, limit: impl Into<Json>, targets: &[&str]) -> Json {
    let targets: Vec<String> = targets.iter().map(|t| format!("$steps.{t}")).collect();
    step(
        name,
        "Cond",
        json!({"value": value, "is": is, "limit": limit.into(), "next_steps": targets}),
    )
}
