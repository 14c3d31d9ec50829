//! What CI and contributors run: `cargo xtask ci`.

mod android;
mod api;
mod artifacts;
mod ci;
mod cross;
mod deny;
mod dependencies;
mod documents;
mod fixtures;
mod flags;
mod generate;
mod ios;
mod kotlin;
mod miri;
mod ndk;
mod packaged;
mod program;
mod python;
mod scenario;
mod size;
mod snippets;
mod static_library;
mod swift;
mod symbols;

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, anyhow};

use program::Devices;

use flags::{Android, Ci, Cross, Fixture, Generate, Ios, Size, Test, TestCmd, Xtask, XtaskCmd};

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = env::args_os().skip(1).collect();
    if arguments.is_empty() || arguments == ["help"] {
        arguments = vec!["--help".into()];
    }
    let result = match Xtask::from_vec(arguments) {
        Ok(task) => run(task.subcommand),
        Err(help) if help.is_help() => {
            println!("{help}\nsteps of ci: {}", ci::step_names().join(" "));
            Ok(())
        }
        Err(problem) => Err(anyhow!("{problem}; cargo xtask help lists all tasks")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: XtaskCmd) -> Result<()> {
    let root = root()?;
    match task {
        XtaskCmd::Test(Test { subcommand: TestCmd::Fast(_) }) => {
            Ok(program::shell(&root)?.cmd(program::cargo()).arg("fast").run()?)
        }
        XtaskCmd::Ci(Ci { step }) => ci::run(&root, &step),
        XtaskCmd::Kotlin(_) => kotlin::run(&root),
        XtaskCmd::Swift(_) => swift::run(&root),
        XtaskCmd::Python(_) => python::run(&root),
        XtaskCmd::Api(languages) => api::run(&root, &languages),
        XtaskCmd::Generate(Generate { check }) => generate::run(&root, check),
        XtaskCmd::Dependencies(_) => dependencies::check(&root),
        XtaskCmd::Deny(_) => deny::run(&root),
        XtaskCmd::Miri(_) => miri::run(&root),
        XtaskCmd::Cross(Cross { part }) => cross::run(&root, part.as_deref()),
        XtaskCmd::Android(Android { abi, no_archive, cpu_only }) => {
            android::run(&root, &abi, Devices::new(cpu_only), !no_archive)
        }
        XtaskCmd::Ios(Ios { release, cpu_only }) => ios::run(&root, Devices::new(cpu_only), release),
        XtaskCmd::Symbols(_) => symbols::run(&root),
        XtaskCmd::Fixture(Fixture { name }) => packaged::fetch(&name),
        XtaskCmd::Size(Size { update }) => size::run(&root, update),
    }
}

/// The workspace's folder.
fn root() -> Result<PathBuf> {
    // Asked at run time: clones that share a build cache may also share this binary.
    let here =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.ancestors().nth(2).map(Path::to_owned).context("bindings/xtask lies two folders below the workspace")
}
