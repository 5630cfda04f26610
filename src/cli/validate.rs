//! `millrace validate`: everything that is wrong with a definition, or what it consists of.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{LoadError, REFUSED, load_definition, store};
use crate::plan::Plan;

/// Arguments of `millrace validate`.
#[derive(Debug, Args)]
#[command(after_help = "Exit code: 0 if the definition is sound, 2 if not.")]
pub struct ValidateArgs {
    /// File of the definition.
    definition: PathBuf,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ValidateArgs) -> ExitCode {
    match compile(args) {
        Ok(plan) => {
            print_plan(&plan, args.json);
            ExitCode::SUCCESS
        }
        Err(error) => {
            if args.json {
                say!("{}", json!({"status": "error", "error": error.to_json()}));
            } else {
                eprintln!("error: {error}");
            }
            ExitCode::from(REFUSED)
        }
    }
}

fn compile(args: &ValidateArgs) -> Result<Plan, LoadError> {
    let definition = load_definition(&args.definition)?;
    let library = store::library()?;
    Ok(Plan::compile_with(&definition, &library.inner_workflows())?)
}

fn print_plan(plan: &Plan, as_json: bool) {
    let stages: Vec<Vec<&str>> = plan
        .stages
        .iter()
        .map(|s| s.iter().map(|&at| &*plan.steps[at].step.name).collect())
        .collect();
    if as_json {
        say!(
            "{}",
            json!({
                "status": "ok",
                "definition": plan.document.hash.full(),
                "inputs": plan.declared_inputs().map(|i| &*i.name).collect::<Vec<_>>(),
                "stages": stages,
                "outputs": plan.outputs.iter().map(|o| &*o.name).collect::<Vec<_>>(),
                "references": references(plan).collect::<serde_json::Map<_, _>>(),
            })
        );
        return;
    }
    say!("definition {} is sound", plan.document.hash);
    say!(
        "  inputs   {}",
        list(plan.declared_inputs().map(|i| &*i.name))
    );
    for (name, hash) in references(plan) {
        say!("  inner    {name} is {}", hash.as_str().unwrap_or_default());
    }
    for (i, stage) in stages.iter().enumerate() {
        say!("  stage {}  {}", i + 1, list(stage.iter().copied()));
    }
    say!("  outputs  {}", list(plan.outputs.iter().map(|o| &*o.name)));
}

/// The definitions that inner workflows name, with the hashes of what they stand for now.
fn references(plan: &Plan) -> impl Iterator<Item = (String, serde_json::Value)> {
    let references = plan.document.references.iter();
    references.map(|r| (r.reference.to_string(), r.hash.to_string().into()))
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}
