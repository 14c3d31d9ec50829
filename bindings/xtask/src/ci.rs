//! All checks in the order in which they fail fastest, each timed.

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;
use xshell::{Cmd, Shell};

use crate::fixtures::{self, MODEL_VARIABLE};
use crate::program::{cargo, shell};
use crate::{cross, scenario, swift};

struct Step {
    name: &'static str,
    action: Action,
}

enum Action {
    /// Arguments for cargo.
    Cargo(&'static str),
    /// As `Cargo`, with our crates compiled through a script of `bindings/xtask/rustc`.
    Wrapped(&'static str, &'static str),
    /// As `Cargo`, and rustdoc's warnings are errors.
    Doc(&'static str),
    /// Makes sure that the model of the real-model tests is there, and tells the later steps where.
    FetchModel,
    /// A task of this program, in a process of its own, for its environment.
    Task(&'static str),
    /// Waits for what [`install_ahead`] installs.
    JoinInstallation,
    /// Builds for arm64 and checks types for phones beside the steps that follow, which leave some of a processor unused: there are
    /// crates that everything waits for, tests of one thread, and Maven's and Swift's own programs.
    StartArm64Build,
    /// Waits for that, and shows what it printed.
    JoinArm64Build,
    /// Compares the adapters that the suites of all languages have left.
    CompareScenario,
    /// A script below the root, and its arguments.
    Script(&'static str, &'static str),
}

/// Everything is built with the release profile, and but for the sanitizer's tests as a part of the workspace: llama.cpp, and
/// every dependency with its features, is then compiled once for all steps.
const STEPS: &[Step] = &[
    Step { name: "fmt", action: Action::Cargo("fmt --all --check") },
    Step { name: "dependencies", action: Action::Task("dependencies") },
    Step { name: "deny", action: Action::Task("deny") },
    Step {
        name: "clippy",
        action: Action::Cargo("clippy --release --locked --workspace --all-targets -- --deny warnings"),
    },
    Step { name: "doc", action: Action::Doc("doc --release --locked --workspace --no-deps") },
    Step { name: "installed", action: Action::JoinInstallation },
    Step { name: "arm64", action: Action::StartArm64Build },
    // What is as fast as it ships is tried by the later steps; here every overflow and every broken assumption is an error.
    Step {
        name: "unit",
        action: Action::Wrapped(
            "checked.sh",
            "test --release --locked --workspace --lib --bins --test failing_disk --test nights",
        ),
    },
    Step {
        name: "asan",
        action: Action::Wrapped(
            "address_sanitizer.sh",
            "test --release --locked --package nightgraft-kernels --lib",
        ),
    },
    Step { name: "loom", action: Action::Cargo("test --release --locked --workspace --test pool_orders") },
    Step { name: "miri", action: Action::Task("miri") },
    Step { name: "doctest", action: Action::Cargo("test --release --locked --workspace --doc") },
    Step { name: "examples", action: Action::Script("core/examples/run.sh", "") },
    Step { name: "model", action: Action::FetchModel },
    Step {
        name: "integration",
        action: Action::Cargo("test --release --locked --workspace --test tests --test oracles"),
    },
    Step { name: "generate", action: Action::Task("generate --check") },
    Step {
        name: "bindings",
        action: Action::Cargo("test --release --locked --workspace --test handles --test scenario"),
    },
    Step { name: "symbols", action: Action::Task("symbols") },
    Step { name: "kotlin", action: Action::Task("kotlin") },
    Step { name: "swift", action: Action::Task("swift") },
    Step { name: "python", action: Action::Task("python") },
    Step { name: "scenario", action: Action::CompareScenario },
    Step { name: "arm64 built", action: Action::JoinArm64Build },
    Step { name: "cross", action: Action::Task("cross") },
    Step { name: "fuzz", action: Action::Script("tests/fuzz/smoke.sh", "6") },
];

/// The names that [`run`] knows.
pub fn step_names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// Runs all steps, or the named ones.
pub fn run(root: &Path, names: &[String]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| !step_names().contains(&name.as_str())) {
        bail!("unknown step '{unknown}'; there are {}", step_names().join(", "));
    }
    let adapters = tempfile::tempdir()?;
    let sh = shell(root)?;
    sh.set_var(scenario::OUT_VARIABLE, adapters.path());
    let mut runner = Runner {
        sh,
        adapters: adapters.path(),
        installing: names.is_empty().then(|| install_ahead(root)),
        arm64_build: None,
    };
    let mut done: Vec<(&str, Duration)> = Vec::new();
    for step in STEPS.iter().filter(|step| names.is_empty() || names.iter().any(|name| name == step.name)) {
        println!("== {}", step.name);
        let started = Instant::now();
        let result = runner.perform(&step.action);
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

/// Installs what the last steps need, which waits for the network more than for the processor, beside the first ones. What
/// cannot be installed is told by the step that needs it.
fn install_ahead(root: &Path) -> JoinHandle<()> {
    let root = root.to_owned();
    std::thread::spawn(move || {
        drop(cross::install_tools(&root));
        drop(swift::toolchain(&root));
    })
}

struct Runner<'a> {
    /// It starts in the root, and has the variables that all steps see.
    sh: Shell,
    /// Where the suites leave the scenario's adapters.
    adapters: &'a Path,
    /// What installs things meanwhile.
    installing: Option<JoinHandle<()>>,
    arm64_build: Option<Background>,
}

/// A process beside the steps. It is ended with them; what it has started itself may outlive it.
struct Background {
    process: Child,
    log: NamedTempFile,
}

impl Background {
    fn start(mut command: Command) -> Result<Self> {
        let log = NamedTempFile::new()?;
        command.stdin(Stdio::null()).stdout(log.reopen()?).stderr(log.reopen()?);
        Ok(Self { process: command.spawn().with_context(|| format!("cannot start {command:?}"))?, log })
    }

    fn finish(mut self) -> Result<()> {
        let status = self.process.wait()?;
        print!("{}", fs::read_to_string(self.log.path())?);
        if status.success() { Ok(()) } else { bail!("it ended with {status}") }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // After its end both do nothing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Runner<'_> {
    fn perform(&mut self, action: &Action) -> Result<()> {
        match action {
            Action::Cargo(words) => self.cargo(words).run()?,
            Action::Wrapped(script, words) => {
                let wrapper = self.sh.current_dir().join("bindings/xtask/rustc").join(script);
                self.cargo(words).env("RUSTC_WORKSPACE_WRAPPER", wrapper).run()?;
            }
            Action::Doc(words) => self.cargo(words).env("RUSTDOCFLAGS", "--deny warnings").run()?,
            Action::Script(script, words) => {
                let script = self.sh.current_dir().join(script);
                self.sh.cmd(script).args(words.split_whitespace()).run()?;
            }
            Action::FetchModel => self.fetch_model()?,
            Action::Task(words) => self.task(words)?.run()?,
            Action::JoinInstallation => {
                if let Some(Err(_)) = self.installing.take().map(JoinHandle::join) {
                    bail!("what is installed ahead has panicked");
                }
            }
            Action::StartArm64Build => {
                // At the lowest priority: threads of a training that wait for each other do so in vain where one of them waits for
                // a compiler.
                let program = env::current_exe().context("this program has no path")?;
                let build = self.sh.cmd("nice").arg("-n").arg("19").arg(program).args(["cross", "build"]);
                self.arm64_build = Some(Background::start(build.into())?);
            }
            Action::JoinArm64Build => self.arm64_build.take().map_or(Ok(()), Background::finish)?,
            Action::CompareScenario => scenario::compare(self.adapters)?,
        }
        Ok(())
    }

    fn fetch_model(&mut self) -> Result<()> {
        let path = fixtures::smollm2(&self.sh.current_dir())?;
        println!("{}", path.display());
        self.sh.set_var(MODEL_VARIABLE, path);
        Ok(())
    }

    fn cargo(&self, words: &str) -> Cmd<'_> {
        self.sh.cmd(cargo()).args(words.split_whitespace())
    }

    fn task(&self, words: &str) -> Result<Cmd<'_>> {
        let program = env::current_exe().context("this program has no path")?;
        Ok(self.sh.cmd(program).args(words.split_whitespace()))
    }
}

fn print_times(done: &[(&str, Duration)]) {
    println!("== times");
    for (name, time) in done {
        println!("{name:12} {:7.1} s", time.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::Value;

    use super::*;

    /// They are named one by one, because a selection of packages would be one of features as well.
    #[test]
    fn every_integration_test_of_the_workspace_has_a_step() {
        let metadata = ["metadata", "--format-version", "1", "--no-deps", "--offline", "--locked"];
        let output = Command::new(cargo()).args(metadata).output().unwrap();
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let packages = metadata["packages"].as_array().unwrap().iter();
        let targets = packages.flat_map(|package| package["targets"].as_array().unwrap());
        let words: Vec<_> = STEPS
            .iter()
            .filter_map(|step| match step.action {
                Action::Cargo(words) | Action::Wrapped(_, words) => Some(format!("{words} ")),
                _ => None,
            })
            .collect();
        for target in targets.filter(|target| target["kind"][0] == "test") {
            let name = target["name"].as_str().unwrap();
            let is_run = words.iter().any(|words| words.contains(&format!(" --test {name} ")));
            assert!(is_run, "no step runs the tests of {name}");
        }
    }
}
