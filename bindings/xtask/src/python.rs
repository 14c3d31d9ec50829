//! The Python package: put together, type-checked and tested.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::program::{shell, skip_unless_ci};
use crate::snippets::{self, PYTHON};
use crate::{fixtures, generate};

/// The type checker, pinned.
const MYPY: &str = "mypy==1.18.2";

/// Runs the type checker and the tests.
pub fn run(root: &Path) -> Result<()> {
    let sh = shell(root)?;
    if let Some(problem) = missing(&sh) {
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

    let python = programs_of(&sh, MYPY)?.join("python");
    sh.change_dir(staged.path());
    cmd!(sh, "{python} -m mypy").envs(fixtures.variables()).run()?;
    Ok(cmd!(sh, "{python} -m unittest --verbose").envs(fixtures.variables()).run()?)
}

fn missing(sh: &Shell) -> Option<String> {
    let program = "import sys, venv; assert sys.version_info >= (3, 10)";
    let works = cmd!(sh, "python3 -c {program}").output().is_ok();
    (!works).then(|| "python3 of at least 3.10 with venv is missing (python3-venv)".to_owned())
}

/// The folder of the programs that a package brings with it, installed once and apart from all others.
pub fn programs_of(sh: &Shell, package: &str) -> Result<PathBuf> {
    let folder = fixtures::cache()?.join(format!("python-{}", package.replace('=', "-")));
    let (programs, ready) = (folder.join("bin"), folder.join("ready"));
    if !ready.exists() {
        let python = programs.join("python");
        cmd!(sh, "python3 -m venv --clear {folder}").run()?;
        cmd!(sh, "{python} -m pip install --quiet --disable-pip-version-check {package}").run()?;
        fs::write(&ready, "")?;
    }
    Ok(programs)
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
