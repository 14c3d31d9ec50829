//! The public Kotlin and Swift API, as lists that are committed: a change of it is then seen by whoever reads the commit.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::{flags::Api, kotlin, swift};

/// What a suite does with the list that it has made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Purpose {
    /// It fails if the committed one is another.
    Compare,
    /// It puts the list in the place of the committed one.
    Record,
}

/// A language's committed list.
pub struct Record {
    /// Below the root.
    pub path: &'static str,
    /// What `cargo xtask api` calls the language.
    pub language: &'static str,
}

/// One for each Kotlin library, named for it.
pub const KOTLIN: &[Record] = &[
    Record { path: "android/nightgraft/api/nightgraft.api", language: "kotlin" },
    Record { path: "android/nightgraft-testing/api/nightgraft-testing.api", language: "kotlin" },
    Record { path: "android/nightgraft-work/api/nightgraft-work.api", language: "kotlin" },
];
pub const SWIFT: Record = Record { path: "ios/api/Nightgraft.txt", language: "swift" };
pub const SWIFT_TESTING: Record = Record { path: "ios/api/NightgraftTesting.txt", language: "swift" };

/// Writes the lists of all languages anew, or of the named ones.
pub fn run(root: &Path, Api { language }: &Api) -> Result<()> {
    let known = ["kotlin", "swift"];
    if let Some(unknown) = language.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("'{unknown}' is none of {}", known.join(" "));
    }
    let is_wanted = |name: &str| language.is_empty() || language.iter().any(|wanted| wanted == name);
    if is_wanted("kotlin") {
        kotlin::record_api(root)?;
    }
    if is_wanted("swift") {
        swift::record_api(root)?;
    }
    Ok(())
}

impl Record {
    /// Compares `list` with the committed one, or writes it there.
    ///
    /// # Errors
    /// The lines that differ, with the command that records them.
    pub fn keep(&self, root: &Path, list: &str, purpose: Purpose) -> Result<()> {
        let path = root.join(self.path);
        if purpose == Purpose::Record {
            let folder = path.parent().context("it lies in a folder")?;
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            return fs::write(&path, list).with_context(|| format!("cannot write {}", path.display()));
        }
        let committed = fs::read_to_string(&path)
            .with_context(|| format!("no {}: cargo xtask api {} writes it", path.display(), self.language))?;
        if committed == list {
            return Ok(());
        }
        bail!(
            "the public API is another than in {}:\n{}\nif that is meant: cargo xtask api {}",
            self.path,
            difference(&committed, list),
            self.language
        )
    }
}

/// The lines that are in one of the two only, each with its sign.
fn difference(before: &str, now: &str) -> String {
    let [old, new] = [before, now].map(|text| text.lines().collect::<BTreeSet<_>>());
    let gone = before.lines().filter(|line| !new.contains(line)).map(|line| format!("- {line}"));
    let added = now.lines().filter(|line| !old.contains(line)).map(|line| format!("+ {line}"));
    let lines: Vec<String> = gone.chain(added).collect();
    if lines.is_empty() { "the lines are the same, in another order".to_owned() } else { lines.join("\n") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const RECORD: Record = Record { path: "api/list.txt", language: "kotlin" };

    #[test]
    fn another_api_fails_with_its_lines_and_the_way_to_record_it() {
        let root = tempfile::tempdir().unwrap();
        assert!(RECORD.keep(root.path(), "fun a()\n", Purpose::Compare).is_err(), "nothing was committed");
        RECORD.keep(root.path(), "fun a()\nfun b()\n", Purpose::Record).unwrap();
        RECORD.keep(root.path(), "fun a()\nfun b()\n", Purpose::Compare).unwrap();
        let error = RECORD.keep(root.path(), "fun a()\nfun b(Int)\n", Purpose::Compare).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the public API is another than in api/list.txt:\n- fun b()\n+ fun b(Int)\n\
             if that is meant: cargo xtask api kotlin"
        );
        let error = RECORD.keep(root.path(), "fun b()\nfun a()\n", Purpose::Compare).unwrap_err();
        assert!(error.to_string().contains("another order"), "{error}");
    }
}
