//! Scripts with the real `inference_sdk`, which `scripts/setup.sh --test` installs from PyPI.

use std::process::{Command, Output};

const PYTHON: &str = ".cache/sdk/bin/python";

/// Python with the client, about to run a script of `tests`.
///
/// # Panics
/// If the client is not installed; the message says how it is.
pub fn script(path: &str) -> Command {
    let root = std::env::current_dir().unwrap();
    let python = root.join(PYTHON);
    assert!(
        python.exists(),
        "inference_sdk is not installed: run scripts/setup.sh --test"
    );
    let mut command = Command::new(python);
    command
        .arg(root.join("tests").join(path))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// How many things a script found as it expected; it must have ended well, with `done`.
pub fn steps(output: &Output) -> usize {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    println!("{out}");
    assert!(output.status.success(), "{err}");
    assert!(out.ends_with("done\n"), "{out}{err}");
    out.lines().filter(|line| line.starts_with("ok ")).count()
}
