//! `millrace blocks`: the blocks that definitions may use.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value as Json, json};

use super::REFUSED;
use crate::blocks::{BlockSpec, registry};
use crate::describe;

/// Arguments of `millrace blocks`.
#[derive(Debug, Args)]
pub struct BlocksArgs {
    /// Type identifier or alias of one block, with or without the `roboflow_core/` in front.
    block_type: Option<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &BlocksArgs) -> ExitCode {
    let Some(wanted) = &args.block_type else {
        list(args.json);
        return ExitCode::SUCCESS;
    };
    let found =
        registry::find(wanted).or_else(|| registry::find(&format!("roboflow_core/{wanted}")));
    match found {
        Some(spec) => {
            if args.json {
                say!("{:#}", whole(spec));
            } else {
                print(spec);
            }
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("error: no block `{wanted}`; `millrace blocks` lists them all");
            ExitCode::from(REFUSED)
        }
    }
}

/// The summary with the JSON schema of a step.
fn whole(spec: &BlockSpec) -> Json {
    let mut all = summary(spec);
    all["schema"] = describe::schema(spec);
    all
}

fn summary(spec: &BlockSpec) -> Json {
    json!({
        "type": spec.type_id(),
        "aliases": &spec.types[1..],
        "name": spec.name,
        "family": spec.family.name(),
        "about": spec.about,
        "fields": spec.fields.iter().map(|f| json!({
            "name": f.name,
            "alias": f.alias,
            "required": f.default.is_none(),
            "default": f.default.and_then(|d| serde_json::from_str::<Json>(d).ok()),
            "about": f.about,
        })).collect::<Vec<_>>(),
        "outputs": spec.outputs.iter().map(|o| json!({"name": o.name, "kinds": o.kinds})).collect::<Vec<_>>(),
    })
}

fn list(as_json: bool) {
    let mut all: Vec<&BlockSpec> = registry::all().collect();
    all.sort_by_key(|spec| (spec.family, spec.type_id()));
    if as_json {
        let all: Vec<Json> = all.into_iter().map(summary).collect();
        say!("{:#}", Json::Array(all));
        return;
    }
    let width = all.iter().map(|s| s.type_id().len()).max().unwrap_or(0);
    let mut family = None;
    for spec in &all {
        if family != Some(spec.family) {
            family = Some(spec.family);
            say!("{}", spec.family.name());
        }
        say!("  {:width$}  {}", spec.type_id(), spec.about);
    }
    say!("{} blocks; `millrace blocks TYPE` describes one", all.len());
}

fn print(spec: &BlockSpec) {
    say!("{} ({})\n{}", spec.type_id(), spec.name, spec.about);
    if spec.types.len() > 1 {
        say!("also: {}", spec.types[1..].join(", "));
    }
    say!("\nfields");
    for field in spec.fields {
        let default = field
            .default
            .map_or("required".to_owned(), |d| format!("default {d}"));
        let alias = field
            .alias
            .map_or(String::new(), |a| format!(" (or `{a}`)"));
        say!("  {}{alias}: {default}  {}", field.name, field.about);
    }
    say!("\noutputs");
    for output in spec.outputs {
        say!("  {}: {}", output.name, output.kinds.join(", "));
    }
    if spec.dynamic_outputs.is_some() {
        say!("  (they follow from the step's fields)");
    }
}
