//! All checks in the order in which they fail fastest, each timed.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::layers;

struct Step {
    name: &'static str,
    what: What,
}

enum What {
    /// Arguments for cargo, and environment variables.
    Cargo(&'static [&'static str], &'static [(&'static str, &'static str)]),
    Layers,
}

/// Everything is built with the release profile: llama.cpp is then compiled once for all steps.
const STEPS: &[Step] = &[
    Step { name: "fmt", what: What::Cargo(&["fmt", "--all", "--check"], &[]) },
    Step { name: "layers", what: What::Layers },
    Step {
        name: "clippy",
        what: What::Cargo(
            &["clippy", "--release", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"],
            &[],
        ),
    },
    Step {
        name: "doc",
        what: What::Cargo(
            &["doc", "--release", "--locked", "--workspace", "--no-deps"],
            &[("RUSTDOCFLAGS", "--deny warnings")],
        ),
    },
    Step {
        name: "unit",
        what: What::Cargo(&["test", "--release", "--locked", "--workspace", "--lib", "--bins"], &[]),
    },
    Step {
        name: "doctest",
        what: What::Cargo(&["test", "--release", "--locked", "--workspace", "--doc"], &[]),
    },
    Step {
        name: "integration",
        what: What::Cargo(&["test", "--release", "--locked", "--test", "tests"], &[]),
    },
];

/// The names that [`run`] knows.
pub fn step_names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// Runs all steps, or the named ones.
pub fn run(root: &Path, names: &[&str]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| !step_names().contains(name)) {
        bail!("unknown step '{unknown}'; there are {}", step_names().join(", "));
    }
    let mut done: Vec<(&str, Duration)> = Vec::new();
    for step in STEPS.iter().filter(|step| names.is_empty() || names.contains(&step.name)) {
        println!("== {}", step.name);
        let started = Instant::now();
        let result = perform(root, &step.what);
        done.push((step.name, started.elapsed()));
        if let Err(error) = result {
            print_times(&done);
            return Err(
                error.context(format!("{} failed; again with: cargo xtask ci {}", step.name, step.name))
            );
        }
    }
    print_times(&done);
    println!("all checks passed");
    Ok(())
}

fn perform(root: &Path, what: &What) -> Result<()> {
    match what {
        What::Layers => layers::check(root).map(|files| println!("{files} files, no import goes upward")),
        What::Cargo(arguments, variables) => {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut command = Command::new(cargo);
            command.args(*arguments).envs(variables.iter().copied()).current_dir(root);
            let status = command.status().context("cannot start cargo")?;
            if !status.success() {
                bail!("cargo {} ended with {status}", arguments.join(" "));
            }
            Ok(())
        }
    }
}

fn print_times(done: &[(&str, Duration)]) {
    println!("== times");
    for (name, time) in done {
        println!("{name:12} {:7.1} s", time.as_secs_f64());
    }
}
