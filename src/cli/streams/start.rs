//! What a server is told to start a stream.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value as Json, json};

use super::absolute;
use crate::cli::load_definition;

/// A stream to start.
#[derive(Debug, Args)]
pub(super) struct StartArgs {
    /// File of the definition, or `workspace/workflow` as the server knows it (`local/NAME` for its
    /// folder of definitions).
    definition: PathBuf,
    /// Where frames come from, as the server reaches it; several make one stream with rounds of their
    /// frames.
    #[arg(long = "source", value_name = "URI", required = true)]
    sources: Vec<String>,
    /// Parameter of the workflow; the value is JSON, or text if it is none.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// Name of the image input that gets the frames; the first one without.
    #[arg(long, value_name = "NAME")]
    image_input: Option<String>,
    /// Most frames per second, over all sources.
    #[arg(long, value_name = "N")]
    max_fps: Option<f64>,
    /// Name of the stream; made up without.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Outputs of the stream, as in a file of streams: `{"rtsp": true, "webhook": "https://…"}`.
    #[arg(long, value_name = "JSON")]
    outputs: Option<String>,
    /// Key for the platform, if the definition or its models come from there.
    #[arg(
        long,
        env = "ROBOFLOW_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    api_key: Option<String>,
}

impl StartArgs {
    /// The body of the request.
    ///
    /// # Errors
    /// If the definition cannot be read or a parameter is none.
    pub(super) fn body(&self) -> Result<Json, String> {
        let mut processing = Map::new();
        let name = self.definition.to_string_lossy();
        let on_platform = match name.split_once('/') {
            Some((workspace, workflow)) if !self.definition.exists() => Some((workspace, workflow))
                .filter(|(_, id)| !id.contains('/') && !id.ends_with(".json")),
            _ => None,
        };
        let mut image_input = self.image_input.clone();
        match on_platform {
            Some((workspace, workflow)) => {
                processing.insert("workspace_name".into(), workspace.into());
                processing.insert("workflow_id".into(), workflow.into());
            }
            None => {
                let definition = load_definition(&self.definition).map_err(|e| e.to_string())?;
                image_input = image_input.or_else(|| first_image(&definition));
                processing.insert("workflow_specification".into(), definition);
            }
        }
        if let Some(input) = image_input {
            processing.insert("image_input_name".into(), input.into());
        }
        processing.insert("workflows_parameters".into(), self.parameters()?.into());
        let sources: Vec<Json> = self.sources.iter().map(|text| reference(text)).collect();
        let mut body = json!({
            "video_configuration": {
                "type": "VideoConfiguration",
                "video_reference": sources,
                "max_fps": self.max_fps,
            },
            "processing_configuration": processing,
        });
        if let Some(name) = &self.name {
            body["millrace"]["name"] = name.as_str().into();
        }
        if let Some(outputs) = &self.outputs {
            let outputs: Json =
                serde_json::from_str(outputs).map_err(|e| format!("--outputs is no JSON: {e}"))?;
            body["millrace"]["outputs"] = outputs;
        }
        if let Some(key) = self.api_key.as_ref().filter(|key| !key.is_empty()) {
            body["api_key"] = key.as_str().into();
        }
        Ok(body)
    }

    fn parameters(&self) -> Result<Map<String, Json>, String> {
        let pairs = self.parameters.iter().map(|text| {
            let wrong = || format!("--param {text}: write NAME=VALUE");
            let (name, value) = text.split_once('=').ok_or_else(wrong)?;
            let json = serde_json::from_str(value).unwrap_or_else(|_| Json::from(value));
            Ok((name.to_owned(), json))
        });
        pairs.collect()
    }
}

/// The first image input of a definition.
fn first_image(definition: &Json) -> Option<String> {
    let images = ["WorkflowImage", "InferenceImage"];
    let mut inputs = definition["inputs"].as_array()?.iter();
    let first = inputs.find(|input| input["type"].as_str().is_some_and(|t| images.contains(&t)))?;
    Some(first["name"].as_str()?.to_owned())
}

/// A source as the server takes it: files of this machine with their whole path, cameras by index.
pub(super) fn reference(source: &str) -> Json {
    if let Ok(index) = source.parse::<u64>() {
        return index.into();
    }
    match absolute(source) {
        Some(path) => path.to_string_lossy().into(),
        None => source.into(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        start: StartArgs,
    }

    fn body(args: &[&str]) -> Result<Json, String> {
        let args = std::iter::once("start").chain(args.iter().copied());
        Command::parse_from(args).start.body()
    }

    #[test]
    fn a_file_is_sent_as_a_definition_and_a_name_as_a_name() {
        let clip = "fixtures/video/shapes_a_640x360_25fps.mp4";
        let sent = body(&[
            "pipelines/shapes-crossing-a-line.json",
            "--source",
            clip,
            "--source=1",
            "--param=line=[[1,2],[3,4]]",
            "--param=name=gate",
            "--name=gate",
            "--outputs={\"rtsp\": false}",
        ])
        .unwrap();
        let processing = &sent["processing_configuration"];
        assert!(processing["workflow_specification"]["steps"].is_array());
        assert_eq!(processing["image_input_name"], "image");
        let parameters = &processing["workflows_parameters"];
        assert_eq!(parameters["line"], json!([[1, 2], [3, 4]]));
        assert_eq!(parameters["name"], "gate");
        assert_eq!(
            sent["millrace"],
            json!({"name": "gate", "outputs": {"rtsp": false}})
        );
        let sources = &sent["video_configuration"]["video_reference"];
        assert!(sources[0].as_str().unwrap().starts_with('/'));
        assert_eq!(sources[1], 1);
        let sent = body(&["local/people", "--source=rtsp://cam/a"]).unwrap();
        let processing = &sent["processing_configuration"];
        assert_eq!(processing["workspace_name"], "local");
        assert_eq!(processing["workflow_id"], "people");
        for wrong in [
            vec!["none.json", "--source=0"],
            vec!["local/people", "--source=0", "--param=x"],
        ] {
            assert!(body(&wrong).is_err(), "{wrong:?}");
        }
    }
}
