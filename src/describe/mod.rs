//! What clients are told of blocks, kinds and definitions without running anything.
//!
//! Everything here follows from [`BlockSpec`](crate::blocks::BlockSpec)s and from definitions: the
//! description of all blocks with their JSON schemas, the schema of definitions, and the interface,
//! dynamic outputs and workload of one definition. The shapes are those that clients of the
//! reference read (server specification 1.3); texts are ours.

mod block;
mod connections;
mod custom;
mod document;
mod interface;
mod kinds;
mod query;
mod query_operators;
mod query_tables;
mod schema;
#[cfg(test)]
mod tests;
mod workload;

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Value as Json, json};

use crate::blocks::{BlockSpec, registry};
use crate::definition::Document;
use crate::definition::document::ENGINE_VERSION;
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::plan::step_outputs;

pub use interface::{interface, interface_with};
pub use workload::{ModelFacts, workload, workload_with};

/// The description of every block, with kinds, connections and the query language.
///
/// Built anew on every call; [`blocks_text`] keeps it.
pub fn blocks() -> Json {
    let specs: Vec<&BlockSpec> = registry::all().collect();
    json!({
        "blocks": specs.iter().map(|spec| block::describe(spec)).collect::<Vec<_>>(),
        "declared_kinds": kinds::declared(),
        "kinds_connections": connections::by_kind(&specs),
        "primitives_connections": connections::primitives(&specs),
        "universal_query_language_description": query::description(),
        "dynamic_block_definition_schema": custom::schema(),
    })
}

/// The JSON text of [`blocks`], built once.
pub fn blocks_text() -> Bytes {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| blocks().to_string().into());
    TEXT.clone()
}

/// The description of one block, as it stands in [`blocks`].
pub fn block(spec: &BlockSpec) -> Json {
    block::describe(spec)
}

/// The JSON schema of a step of a block, with the definitions that it refers to.
pub fn schema(spec: &BlockSpec) -> Json {
    block::block_schema(spec)
}

/// The JSON schema of definitions.
///
/// Built anew on every call; [`definition_schema_text`] keeps it.
pub fn definition_schema() -> Json {
    document::schema()
}

/// The JSON text of `{"schema": …}` around [`definition_schema`], built once.
pub fn definition_schema_text() -> Bytes {
    static TEXT: LazyLock<Bytes> =
        LazyLock::new(|| json!({"schema": definition_schema()}).to_string().into());
    TEXT.clone()
}

/// The engine versions that definitions may ask for.
pub fn engine_versions() -> Json {
    json!({"versions": [ENGINE_VERSION]})
}

/// The outputs of one step, given as it stands in a definition; its references are not resolved.
///
/// # Errors
/// Those of a definition that has only this step.
pub fn dynamic_outputs(step: &Json) -> Result<Json, WorkflowError> {
    let definition = json!({"version": "1.0", "inputs": [], "steps": [step], "outputs": []});
    let document = Document::parse(&definition)?;
    let Some(step) = document.steps.first() else {
        let message = "the step could not be read";
        return Err(WorkflowError::new(
            ErrorClass::Assumption,
            "describing_step_outputs",
            message,
        ));
    };
    let outputs = step_outputs(step)
        .into_iter()
        .map(|output| json!({"name": &*output.name, "kind": kinds::describe_all(&output.kinds)}));
    Ok(outputs.collect())
}
