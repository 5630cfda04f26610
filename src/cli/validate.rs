//! `millrace validate`: everything that is wrong with a definition, or what it consists of.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{LoadError, REFUSED, load_definition};
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
    let checked = load_definition(&args.definition)
        .and_then(|json| Plan::compile(&json).map_err(LoadError::from));
    match checked {
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
                "inputs": plan.inputs().iter().map(|i| &*i.name).collect::<Vec<_>>(),
                "stages": stages,
                "outputs": plan.outputs.iter().map(|o| &*o.name).collect::<Vec<_>>(),
            })
        );
        return;
    }
    say!("definition {} is sound", plan.document.hash);
    say!(
        "  inputs   {}",
        list(plan.inputs().iter().map(|i| &*i.name))
    );
    for (i, stage) in stages.iter().enumerate() {
        say!("  stage {}  {}", i + 1, list(stage.iter().copied()));
    }
    say!("  outputs  {}", list(plan.outputs.iter().map(|o| &*o.name)));
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}
