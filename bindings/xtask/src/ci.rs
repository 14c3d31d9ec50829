//! All checks in the order in which they fail fastest, each timed.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::layers;

struct Step {
    name: &'static str,
    what: What,
}

enum What {
    /// Arguments for cargo.
    Cargo(&'static [&'static str]),
    /// As `Cargo`, and rustdoc's warnings are errors.
    Doc(&'static [&'static str]),
    Layers,
    /// Makes sure that the model of the real-model tests is there, and tells the later steps where.
    Model,
    /// A script below the root, and its arguments.
    Script(&'static str, &'static [&'static str]),
}

/// Names the model file for the tests; when it is set already, that file is used.
const MODEL_VARIABLE: &str = "NIGHTGRAFT_SMOLLM2";

/// Everything is built with the release profile: llama.cpp is then compiled once for all steps.
const STEPS: &[Step] = &[
    Step { name: "fmt", what: What::Cargo(&["fmt", "--all", "--check"]) },
    Step { name: "layers", what: What::Layers },
    Step {
        name: "clippy",
        what: What::Cargo(&[
            "clippy",
            "--release",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ]),
    },
    Step { name: "doc", what: What::Doc(&["doc", "--release", "--locked", "--workspace", "--no-deps"]) },
    Step {
        name: "unit",
        what: What::Cargo(&["test", "--release", "--locked", "--workspace", "--lib", "--bins"]),
    },
    Step { name: "doctest", what: What::Cargo(&["test", "--release", "--locked", "--workspace", "--doc"]) },
    Step { name: "model", what: What::Model },
    Step { name: "integration", what: What::Cargo(&["test", "--release", "--locked", "--test", "tests"]) },
    Step { name: "fuzz", what: What::Script("tests/fuzz/smoke.sh", &["10"]) },
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
    let mut runner = Runner { root, model: std::env::var_os(MODEL_VARIABLE) };
    let mut done: Vec<(&str, Duration)> = Vec::new();
    for step in STEPS.iter().filter(|step| names.is_empty() || names.contains(&step.name)) {
        println!("== {}", step.name);
        let started = Instant::now();
        let result = runner.perform(&step.what);
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

struct Runner<'a> {
    root: &'a Path,
    /// The file for `MODEL_VARIABLE`.
    model: Option<OsString>,
}

impl Runner<'_> {
    fn perform(&mut self, what: &What) -> Result<()> {
        match what {
            What::Layers => {
                let files = layers::check(self.root)?;
                println!("{files} files, no import goes upward");
                Ok(())
            }
            What::Cargo(arguments) => finish(self.command(&cargo()).args(*arguments)),
            What::Doc(arguments) => {
                finish(self.command(&cargo()).args(*arguments).env("RUSTDOCFLAGS", "--deny warnings"))
            }
            What::Script(script, arguments) => {
                let script = self.root.join(script);
                finish(self.command(script.as_os_str()).args(*arguments))
            }
            What::Model => self.fetch_model(),
        }
    }

    fn fetch_model(&mut self) -> Result<()> {
        if self.model.is_none() {
            let mut fetch = self.command(&cargo());
            fetch.args(["run", "--release", "--locked", "--quiet", "--package", "nightgraft", "--"]);
            fetch.args(["fetch", "smollm2-135m"]).stderr(Stdio::inherit());
            let output = fetch.output().context("cannot start cargo")?;
            if !output.status.success() {
                bail!("the model could not be fetched; name the file in {MODEL_VARIABLE} if you have it");
            }
            let path = String::from_utf8(output.stdout).context("the path is not UTF-8")?;
            self.model = Some(path.trim_end().into());
        }
        println!("{}", self.model.as_deref().unwrap_or_default().display());
        Ok(())
    }

    fn command(&self, program: &OsStr) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.root);
        if let Some(model) = &self.model {
            command.env(MODEL_VARIABLE, model);
        }
        command
    }
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn finish(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

fn print_times(done: &[(&str, Duration)]) {
    println!("== times");
    for (name, time) in done {
        println!("{name:12} {:7.1} s", time.as_secs_f64());
    }
}
