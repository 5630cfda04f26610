//! The tables of the README are made from the program: blocks, settings, dependencies.
//!
//! `UPDATE_README=1 cargo test --test readme` writes them anew.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use millrace::blocks::{BlockSpec, registry};
use serde_json::Value as Json;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// How many recorded cases run each block, by type identifier.
fn recorded() -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("fixtures/conformance/cases")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let case: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let steps = case["definition"]["steps"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut types: Vec<&'static str> = steps
            .iter()
            .filter_map(|s| registry::find(s["type"].as_str()?).map(BlockSpec::type_id))
            .collect();
        types.sort_unstable();
        types.dedup();
        for t in types {
            *counts.entry(t).or_default() += 1;
        }
    }
    counts
}

fn block_table() -> String {
    let recorded = recorded();
    let mut families: BTreeMap<&str, BTreeMap<&str, Vec<&BlockSpec>>> = BTreeMap::new();
    for spec in registry::all() {
        let base = spec.type_id().split('@').next().unwrap();
        let base = base.trim_start_matches("roboflow_core/");
        families
            .entry(spec.family.name())
            .or_default()
            .entry(base)
            .or_default()
            .push(spec);
    }
    let mut table = String::from(
        "| family | block | versions | what it does | recorded cases |\n| --- | --- | --- | --- | --- |\n",
    );
    for (family, blocks) in families {
        for (base, versions) in blocks {
            let names: Vec<&str> = versions
                .iter()
                .map(|s| s.type_id().split('@').nth(1).unwrap_or(""))
                .collect();
            let cases: usize = versions
                .iter()
                .map(|s| recorded.get(s.type_id()).copied().unwrap_or(0))
                .sum();
            let about = versions.last().unwrap().about;
            writeln!(
                table,
                "| {family} | `{base}` | {} | {about} | {cases} |",
                names.join(", ")
            )
            .unwrap();
        }
    }
    table
}

fn settings_table() -> String {
    let mut table = String::from(
        "| command | setting | environment | default | what it does |\n| --- | --- | --- | --- | --- |\n",
    );
    let command = millrace::cli::Cli::command();
    let mut rows = |name: &str, command: &clap::Command| {
        for arg in command
            .get_arguments()
            .filter(|a| a.get_long().is_some() && a.get_id() != "help" && a.get_id() != "version")
        {
            let values: Vec<String> = arg
                .get_value_names()
                .into_iter()
                .flatten()
                .map(|v| v.to_string())
                .collect();
            let takes = if arg.get_action().takes_values() {
                format!(" {}", values.join(" "))
            } else {
                String::new()
            };
            let env = arg
                .get_env()
                .map(|e| format!("`{}`", e.to_string_lossy()))
                .unwrap_or_default();
            let defaults: Vec<String> = arg
                .get_default_values()
                .iter()
                .map(|d| d.to_string_lossy().into_owned())
                .collect();
            let default = if arg.get_action().takes_values() && !defaults.is_empty() {
                format!("`{}`", defaults.join(" "))
            } else {
                String::new()
            };
            let help = arg
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default()
                .replace('|', "\\|")
                .replace('\n', " ");
            writeln!(
                table,
                "| {name} | `--{}{takes}` | {env} | {default} | {help} |",
                arg.get_long().unwrap()
            )
            .unwrap();
        }
    };
    rows("all", &command);
    for sub in command.get_subcommands() {
        rows(&format!("`{}`", sub.get_name()), sub);
    }
    table
}

/// What stands between the marks of a table.
fn section<'a>(readme: &'a str, name: &str) -> (&'a str, &'a str, &'a str) {
    let (begin, end) = (
        format!("<!-- {name}: generated -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let (before, rest) = readme
        .split_once(&begin)
        .unwrap_or_else(|| panic!("no mark {begin}"));
    let (inside, after) = rest
        .split_once(&end)
        .unwrap_or_else(|| panic!("no mark {end}"));
    (before, inside, after)
}

#[test]
fn generated_tables_are_up_to_date() {
    let path = root().join("README.md");
    let mut readme = std::fs::read_to_string(&path).unwrap();
    let update = std::env::var_os("UPDATE_README").is_some();
    for (name, table) in [("blocks", block_table()), ("settings", settings_table())] {
        let (before, inside, after) = section(&readme, name);
        if inside == table {
            continue;
        }
        assert!(
            update,
            "the table of {name} is out of date; run UPDATE_README=1 cargo test --test readme"
        );
        readme =
            format!("{before}<!-- {name}: generated -->\n{table}<!-- end of {name} -->{after}");
        std::fs::write(&path, &readme).unwrap();
    }
}

#[test]
fn every_dependency_and_worked_definition_is_told() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let dependencies = manifest
        .split("[dependencies]")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    for line in dependencies.lines().filter(|l| l.contains('=')) {
        let name = line.split('=').next().unwrap().trim();
        assert!(
            name == "millrace-pixels" || readme.contains(&format!("`{name}`")),
            "README does not name `{name}`"
        );
    }
    for entry in std::fs::read_dir(root().join("pipelines")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            readme.contains(&format!("pipelines/{name}")),
            "README does not name {name}"
        );
    }
}
