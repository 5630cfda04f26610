//! Which outputs of a workflow a client gets: as data, and as the picture on the track (server
//! specification 4.8).
//!
//! A name that the workflow does not have is told with each result, not refused: the definition may
//! change while the session runs, and clients may change their choice.

use serde_json::{Map, Value as Json, json};

use crate::definition::error::WorkflowError;
use crate::engine::Produced;
use crate::streams::FrameResult;
use crate::values::serialise::{ImageFormat, OutputOptions};
use crate::values::{Image, Timestamp, Value};

/// What goes to the track.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamOutput {
    /// The first output that is a picture.
    First,
    /// The output of this name.
    Named(String),
    /// The picture that came in.
    Input,
}

impl StreamOutput {
    /// What a request means: `None` stands for no track at all.
    pub fn of_request(names: Option<&[String]>) -> Option<Self> {
        match names {
            None => Some(Self::First),
            Some(names) => first(names).map(Self::Named),
        }
    }

    /// What a running session is changed to.
    pub fn of_change(names: &[String]) -> Self {
        first(names).map_or(Self::Input, Self::Named)
    }
}

fn first(names: &[String]) -> Option<String> {
    names.iter().find(|name| !name.is_empty()).cloned()
}

/// What goes over the channel of results.
#[derive(Clone, Debug, PartialEq)]
pub enum DataOutput {
    /// Nothing but the metadata of frames.
    Nothing,
    /// Everything but pictures.
    All,
    /// The outputs of these names, pictures too.
    Named(Vec<String>),
}

impl DataOutput {
    /// What a list of names means.
    pub fn of(names: Option<&[String]>) -> Self {
        let names: Vec<String> = names
            .unwrap_or_default()
            .iter()
            .filter(|name| !name.is_empty())
            .cloned()
            .collect();
        match &*names {
            [] => Self::Nothing,
            [all] if all == "*" => Self::All,
            _ => Self::Named(names),
        }
    }
}

/// A result as a client gets it.
#[derive(Clone, Debug)]
pub struct Told {
    /// The outputs, if there are any.
    pub data: Option<Map<String, Json>>,
    /// What is wrong.
    pub errors: Vec<String>,
    /// The picture for the track, if there is one.
    pub picture: Option<Image>,
}

/// Puts together what a client gets of a result. `stream` is `None` for sessions without a track.
pub fn tell(
    result: &FrameResult,
    stream: Option<&StreamOutput>,
    data: &DataOutput,
    jpeg_quality: u8,
    now: Timestamp,
) -> Told {
    let mut errors = Vec::new();
    let outputs = match &result.run {
        Ok(run) => {
            let objects = run.produced(&result.generation.plan);
            objects.into_iter().next().unwrap_or_default()
        }
        Err(error) => {
            errors.push(WorkflowError::to_string(error));
            Vec::new()
        }
    };
    let picture = stream.map(|wanted| {
        let found = choose(&outputs, wanted);
        if found.is_none() && *wanted != StreamOutput::Input && result.run.is_ok() {
            errors.push(match wanted {
                StreamOutput::Named(name) => format!(
                    "Output '{name}' has no picture; the frame is shown as it came. Choose another stream_output"
                ),
                _ => "The workflow has no output with a picture; the frame is shown as it came"
                    .to_owned(),
            });
        }
        found.unwrap_or_else(|| result.frame.image.clone())
    });
    let options = OutputOptions {
        image_format: ImageFormat::Jpeg {
            quality: jpeg_quality,
        },
        now,
    };
    let told = write(result, &outputs, data, &options, &mut errors);
    Told {
        data: (!told.is_empty()).then_some(told),
        errors,
        picture,
    }
}

/// The outputs that are wanted, as JSON.
fn write(
    result: &FrameResult,
    outputs: &[Produced<'_>],
    wanted: &DataOutput,
    options: &OutputOptions,
    errors: &mut Vec<String>,
) -> Map<String, Json> {
    let mut told = Map::new();
    let mut add = |output: &Produced<'_>, errors: &mut Vec<String>| {
        let written = output.to_json(&result.generation.plan, options);
        let json = written.unwrap_or_else(|error| {
            errors.push(format!("{}: {error}", output.name));
            json!({"__serialization_error__": error.to_string()})
        });
        told.insert(output.name.to_string(), json);
    };
    match wanted {
        DataOutput::Nothing => {}
        DataOutput::All => outputs
            .iter()
            .filter(|output| !matches!(output.value, Value::Image(_)))
            .for_each(|output| add(output, errors)),
        DataOutput::Named(names) => {
            for name in names {
                match outputs.iter().find(|output| **output.name == **name) {
                    Some(output) => add(output, errors),
                    // A frame that failed has no outputs at all, and its error says why.
                    None if result.run.is_ok() => errors.push(format!("Output '{name}' not found")),
                    None => {}
                }
            }
        }
    }
    told
}

/// The picture that is wanted, if there is one.
fn choose(outputs: &[Produced<'_>], wanted: &StreamOutput) -> Option<Image> {
    match wanted {
        StreamOutput::Input => None,
        StreamOutput::First => outputs.iter().find_map(|output| picture(&output.value)),
        StreamOutput::Named(name) => {
            let mut named = outputs.iter().filter(|output| **output.name == **name);
            named.find_map(|output| picture(&output.value))
        }
    }
}

/// The picture of a value: itself, or the last one among the values of a dictionary.
fn picture(value: &Value) -> Option<Image> {
    match value {
        Value::Image(image) => Some(image.clone()),
        Value::Dict(entries) => {
            let mut last = None;
            for value in entries.values() {
                if let Value::Image(image) = value {
                    last = Some(image.clone());
                }
            }
            last
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_mean_what_the_reference_says() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(StreamOutput::of_request(None), Some(StreamOutput::First));
        assert_eq!(StreamOutput::of_request(Some(&[])), None);
        assert_eq!(StreamOutput::of_request(Some(&names(&[""]))), None);
        let named = Some(StreamOutput::Named("b".into()));
        assert_eq!(
            StreamOutput::of_request(Some(&names(&["", "b", "c"]))),
            named
        );
        assert_eq!(StreamOutput::of_change(&[]), StreamOutput::Input);
        assert_eq!(DataOutput::of(None), DataOutput::Nothing);
        assert_eq!(DataOutput::of(Some(&names(&[""]))), DataOutput::Nothing);
        assert_eq!(DataOutput::of(Some(&names(&["*"]))), DataOutput::All);
        let both = DataOutput::Named(names(&["*", "a"]));
        assert_eq!(DataOutput::of(Some(&names(&["*", "a"]))), both);
    }

    #[test]
    fn the_last_picture_of_a_dictionary_is_shown() {
        let image = |id: &str| {
            let pixels = crate::values::Matrix::filled(2, 2, &[0, 0, 0]);
            Value::Image(Image::new(pixels, id.into()))
        };
        let entries = [("a", image("a")), ("n", Value::None), ("b", image("b"))];
        let dict = Value::dict(entries.map(|(k, v)| (k.into(), v)).into_iter().collect());
        let shown = picture(&dict).unwrap();
        assert_eq!(&**shown.video_identifier(), "b");
        assert!(picture(&Value::None).is_none());
    }
}
