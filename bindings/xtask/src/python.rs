//! The Python package: put together, type-checked and tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::program::{self, skip_unless_ci};
use crate::snippets::{self, PYTHON};
use crate::{fixtures, generate};

/// The type checker, pinned.
const MYPY: &str = "mypy==1.18.2";

/// Runs the type checker and the tests.
pub fn run(root: &Path) -> Result<()> {
    if let Some(problem) = missing() {
        return skip_unless_ci("the Python suite", &problem);
    }
    let library = generate::library(root)?;
    let fixtures = fixtures::make(root)?;
    let package = root.join("bindings/python");
    // As it would be installed: the library beside the module.
    let staged = tempfile::tempdir()?;
    for folder in ["nightgraft", "tests"] {
        copy(&package.join(folder), &staged.path().join(folder))?;
    }
    fs::copy(package.join("mypy.ini"), staged.path().join("mypy.ini"))?;
    snippets::write(root, &PYTHON, &staged.path().join("tests"))?;
    let name = library.file_name().context("a library has a name")?;
    std::os::unix::fs::symlink(&library, staged.path().join("nightgraft").join(name))?;

    let python = environment()?;
    let command = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.args(arguments).current_dir(staged.path()).envs(fixtures.variables());
        command
    };
    program::run(&mut command(&["-m", "mypy"]))?;
    program::run(&mut command(&["-m", "unittest", "--verbose"]))
}

fn missing() -> Option<String> {
    let works =
        Command::new("python3").args(["-c", "import sys, venv; assert sys.version_info >= (3, 10)"]).output();
    let works = works.is_ok_and(|output| output.status.success());
    (!works).then(|| "python3 of at least 3.10 with venv is missing (python3-venv)".to_owned())
}

/// A Python with the type checker, made once.
fn environment() -> Result<PathBuf> {
    let folder = fixtures::cache()?.join(format!("python-{}", MYPY.replace('=', "-")));
    let python = folder.join("bin/python");
    let ready = folder.join("ready");
    if ready.exists() {
        return Ok(python);
    }
    let mut make = Command::new("python3");
    program::run(make.args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut install = Command::new(&python);
    program::run(install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", MYPY]))?;
    fs::write(&ready, "")?;
    Ok(python)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        if path.is_file() {
            let name = path.file_name().context("a file has a name")?;
            fs::copy(&path, to.join(name))?;
        } else if !path.ends_with("__pycache__") {
            bail!("{} is a folder; only files are part of the package", path.display());
        }
    }
    Ok(())
}
