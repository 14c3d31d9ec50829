//! What must not come into a package through any of its dependencies, as `cargo tree` tells it.

use std::path::Path;

use anyhow::{Result, bail};
use xshell::{Shell, cmd};

use crate::program::{cargo, shell};

/// Packages, and what none of them may depend on. Which of ours may use which is for their manifests to say.
const FORBIDDEN: &[(&[&str], &[&str])] = &[
    // They are built and tested without a C++ compiler.
    (
        &[
            "nightgraft-adapter",
            "nightgraft-files",
            "nightgraft-gguf",
            "nightgraft-import",
            "nightgraft-kernels",
            "nightgraft-policy",
            "nightgraft-random",
            "nightgraft-store",
            "nightgraft-testing",
            "nightgraft-tiny-model",
            "nightgraft-text",
        ],
        &["llama-cpp-sys-2", "nightgraft-ggml", "cc", "cmake"],
    ),
    // A phone draws nothing, replays no trace, converts no models, and has no terminal.
    (
        &["nightgraft-ffi"],
        &[
            "clap",
            "csv",
            "indicatif",
            "nightgraft-charts",
            "nightgraft-import",
            "nightgraft-simulation",
            "nightgraft-testing",
            "nightgraft-tiny-model",
            "plotters",
            "ureq",
        ],
    ),
];

/// Fails with all that is there and must not be.
pub fn check(root: &Path) -> Result<()> {
    let sh = shell(root)?;
    let mut found = Vec::new();
    for (packages, forbidden) in FORBIDDEN {
        for package in *packages {
            let names = names_of_all(&sh, package)?;
            let there = forbidden.iter().filter(|name| names.iter().any(|other| other == *name));
            found.extend(
                there.map(|name| format!("{package} depends on {name}; cargo tree -i {name} -p {package}")),
            );
        }
    }
    if found.is_empty() { Ok(()) } else { bail!("{}", found.join("\n")) }
}

/// The names of all packages that `package` is built with, those of its build scripts not counted.
fn names_of_all(sh: &Shell, package: &str) -> Result<Vec<String>> {
    let cargo = cargo();
    let text = cmd!(sh, "{cargo} tree --locked --edges normal --prefix none --package {package}").read()?;
    Ok(text.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect())
}
