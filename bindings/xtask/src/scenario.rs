//! The adapters of all languages, compared.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Names the folder in which each language's scenario leaves its adapter.
pub const OUT_VARIABLE: &str = "NIGHTGRAFT_SCENARIO_OUT";
/// Rust's is what the others are compared with.
const LANGUAGES: &[&str] = &["rust", "kotlin", "swift", "python"];
const FILES: &[&str] = &["adapter_model.safetensors", "adapter_config.json"];

/// Compares what is in the folder. A language that did not run here is named, and in CI an error.
pub fn compare(folder: &Path) -> Result<()> {
    let read = |language: &str, file: &str| fs::read(folder.join(language).join(file));
    let mut equal = Vec::new();
    let mut missing = Vec::new();
    for &language in LANGUAGES {
        if !folder.join(language).is_dir() {
            missing.push(language);
            continue;
        }
        for file in FILES {
            let expected = read(LANGUAGES[0], file).with_context(|| format!("Rust left no {file}"))?;
            let found = read(language, file).with_context(|| format!("{language} left no {file}"))?;
            if found != expected {
                bail!("{file} of {language} is not the same as Rust's, byte for byte");
            }
        }
        equal.push(language);
    }
    if !missing.is_empty() {
        let problem = format!("no adapter of {}: run all of the suites", missing.join(", "));
        crate::program::skip_unless_ci("a part of the comparison", &problem)?;
    }
    if equal.len() < 2 {
        bail!("there are no two adapters to compare");
    }
    println!("the same adapter, byte for byte: {}", equal.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_other_byte_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let write = |language: &str, text: &str| {
            let place = folder.path().join(language);
            fs::create_dir_all(&place).unwrap();
            FILES.iter().for_each(|file| fs::write(place.join(file), text).unwrap());
        };
        LANGUAGES.iter().for_each(|language| write(language, "the same"));
        compare(folder.path()).unwrap();
        write("swift", "the sane");
        assert!(compare(folder.path()).unwrap_err().to_string().contains("swift"));
    }
}
