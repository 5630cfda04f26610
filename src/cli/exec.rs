//! `millrace exec`: one execution per line of run-time inputs, on one engine instance.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};

use super::{HostArgs, ImageUrlArgs, LoadError, REFUSED, host, load_definition, store};
use crate::clock::{Clock, SystemClock};
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::definitions::{DefinitionKey, DefinitionStamp, Source};
use crate::engine::{Engine, RuntimeInput, RuntimeInputs};
use crate::plan::Plan;
use crate::values::Timestamp;
use crate::values::deserialise::InputOptions;
use crate::values::serialise::{self, OutputOptions};

/// Arguments of `millrace exec`.
#[derive(Debug, Args)]
#[command(
    after_help = "Each line of the input file is an object of run-time inputs, e.g. \
{\"image\": {\"type\": \"base64\", \"value\": \"…\"}, \"threshold\": 0.4}. Each line of the output is \
{\"outputs\": […]} or {\"error\": {…}}. State (trackers, counters) carries over from line to line.\n\
Exit code: 0 if every line ran, 1 if one failed, 2 if the definition was refused."
)]
pub struct ExecArgs {
    /// File of the definition.
    definition: PathBuf,
    /// File of inputs, one JSON object a line; `-` for standard input.
    #[arg(long, value_name = "FILE.jsonl")]
    inputs: PathBuf,
    /// How images in the results are encoded.
    #[arg(long, value_enum, default_value = "jpeg")]
    image_format: ImageFormat,
    /// Let inputs name image files of this machine.
    #[arg(long)]
    allow_local_images: bool,
    #[command(flatten)]
    image_urls: ImageUrlArgs,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ImageFormat {
    /// JPEG, quality 95.
    Jpeg,
    /// PNG, without loss.
    Png,
}

pub(super) fn run(args: &ExecArgs) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut engine = match prepare(args) {
        Ok(engine) => engine,
        Err(error) => {
            let _ = writeln!(out, "{}", json!({"error": error.to_json()}));
            let _ = out.flush();
            eprintln!("error: {error}");
            return ExitCode::from(REFUSED);
        }
    };
    let input: Box<dyn Read> = if args.inputs.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        match File::open(&args.inputs) {
            Ok(file) => Box::new(file),
            Err(e) => {
                eprintln!(
                    "error: cannot read {}: {e}; check the path",
                    args.inputs.display()
                );
                return ExitCode::from(REFUSED);
            }
        }
    };
    match run_lines(args, &mut engine, BufReader::new(input), &mut out) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("{failed} execution(s) failed; their lines hold the errors");
            ExitCode::FAILURE
        }
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn prepare(args: &ExecArgs) -> Result<Engine, LoadError> {
    let definition = load_definition(&args.definition)?;
    let library = store::library()?;
    let plan = Arc::new(Plan::compile_with(&definition, &library.inner_workflows())?);
    let options = input_options(args);
    let services = host::services_in_foreground(&args.host)?;
    let stamp = DefinitionStamp {
        source: Source::File,
        ..DefinitionStamp::inline(&definition, services.clock.now())
    };
    let name = DefinitionKey::file(&args.definition).public_name();
    let mut engine = Engine::new(plan, services, options)?;
    engine.name_definition(library.provenance(&stamp).on_requests(Some(&name)));
    Ok(engine)
}

fn input_options(args: &ExecArgs) -> InputOptions {
    InputOptions {
        local_files: args.allow_local_images,
        ..args.image_urls.input_options()
    }
}

fn output_options(args: &ExecArgs, now: Timestamp) -> OutputOptions {
    OutputOptions {
        image_format: match args.image_format {
            ImageFormat::Jpeg => serialise::ImageFormat::default(),
            ImageFormat::Png => serialise::ImageFormat::Png,
        },
        now,
    }
}

/// Runs every line; answers how many failed.
fn run_lines(
    args: &ExecArgs,
    engine: &mut Engine,
    input: impl BufRead,
    out: &mut impl Write,
) -> io::Result<usize> {
    let clock = SystemClock::default();
    let mut failed = 0;
    for line in input.lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let result = parse_inputs(&line)
            .and_then(|inputs| engine.run(&inputs, &output_options(args, clock.now())));
        let result = match result {
            Ok(outputs) => json!({"outputs": outputs}),
            Err(error) => {
                failed += 1;
                json!({"error": error.to_json()})
            }
        };
        serde_json::to_writer(&mut *out, &result)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(failed)
}

fn parse_inputs(line: &str) -> Result<RuntimeInputs, WorkflowError> {
    let refuse = |why: String| {
        WorkflowError::new(
            ErrorClass::RuntimeInput,
            "workflow_execution | runtime_input_validation",
            why,
        )
    };
    match serde_json::from_str(line) {
        Ok(Json::Object(entries)) => Ok(entries
            .into_iter()
            .map(|(name, json)| (name, RuntimeInput::Json(json)))
            .collect()),
        Ok(_) => Err(refuse("a line of inputs must be a JSON object".into())),
        Err(e) => Err(refuse(format!("a line of inputs is not JSON: {e}"))),
    }
}
