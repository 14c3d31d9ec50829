//! `cargo xtask kotlin`: compiles all Kotlin, that of the documents included, against the real Android API, checks its
//! documentation and its public API, and runs its tests on the JVM against the real library. Then an app outside the checkout
//! takes the library out of a repository.

mod archive;
mod consumer;
pub mod testing;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use xshell::{Shell, cmd};

use crate::program::{shell, skip_unless_ci};
use crate::scenario::OUT_VARIABLE;
use crate::snippets::{self, KOTLIN};
use crate::{
    api::{self, Purpose},
    fixtures, generate,
};

const OLDEST_JAVA: u32 = 17;

/// Builds the library, sets the variables, lets Maven do the rest, and prints how many tests ran. Without a JDK and
/// Maven that is a loud skip, or an error where `CI=true`.
///
/// # Errors
/// The first check that fails.
pub fn run(root: &Path) -> Result<()> {
    let sh = shell(&root.join("android"))?;
    if let Some(missing) = missing(&sh) {
        return skip_unless_ci("the Kotlin suite", &missing);
    }
    let library = generate::library(root)?;
    let fixtures = fixtures::make(root)?;
    let build = build_folder(root)?;
    let _ = fs::remove_dir_all(&build); // old reports would be counted
    snippets::write(root, &KOTLIN, &build.join("snippets"))?; // where sample/pom.xml looks for them
    testing::write(&build.join("testing-resources"), &fixtures::tiny(root)?, &library)?;
    let mut maven = cmd!(sh, "mvn -B -ntp verify -Dnightgraft.build={build}")
        .env("NIGHTGRAFT_LIBRARY", library.parent().context("a library lies in a folder")?)
        // Cargo's, by which another library than the one that a test brings may be found.
        .env_remove("LD_LIBRARY_PATH")
        .envs(fixtures.variables());
    if let Some(folder) = std::env::var_os(OUT_VARIABLE) {
        fs::create_dir_all(&folder).context("cannot make the folder for the scenario's adapters")?;
        maven = maven.env(OUT_VARIABLE, fs::canonicalize(folder)?);
    }
    maven.run()?;
    let count = count_tests(&build)?;
    ensure!(count.tests > 0, "Maven ran no test");
    ensure!(count.skipped == 0, "{} of {} Kotlin tests were skipped", count.skipped, count.tests);
    keep_api(root, &build, Purpose::Compare)?;
    consumer::run(root, &build, &fixtures)?;
    println!(
        "kotlin: {} tests passed, every public item documented, an app outside the checkout has its first answer",
        count.tests
    );
    Ok(())
}

/// Writes the list of the public API anew.
///
/// # Errors
/// What is missing, or does not compile.
pub fn record_api(root: &Path) -> Result<()> {
    let sh = shell(&root.join("android"))?;
    if let Some(missing) = missing(&sh) {
        bail!("the public Kotlin API cannot be listed: {missing}");
    }
    let build = build_folder(root)?;
    let modules = ["--projects", "api", "--also-make", "-Dnightgraft.api.only=true"];
    cmd!(sh, "mvn -B -ntp test {modules...} -Dnightgraft.build={build}").run()?;
    keep_api(root, &build, Purpose::Record)
}

/// Compares or records the lists that `PublicApiTest` has written.
fn keep_api(root: &Path, build: &Path, purpose: Purpose) -> Result<()> {
    for record in api::KOTLIN {
        let name = Path::new(record.path).file_name().context("a list is a file")?;
        let list = build.join("nightgraft-api").join(name);
        let list = fs::read_to_string(&list).with_context(|| format!("no {}", list.display()))?;
        record.keep(root, &list, purpose)?;
    }
    Ok(())
}

/// What is not there, for people.
fn missing(sh: &Shell) -> Option<String> {
    let version = cmd!(sh, "javac -version").read().ok().and_then(|line| major_version(&line));
    if version.is_none_or(|version| version < OLDEST_JAVA) {
        return Some(format!("no JDK {OLDEST_JAVA} or newer (Debian: openjdk-17-jdk-headless)"));
    }
    cmd!(sh, "mvn --version").output().is_err().then(|| "no Maven (Debian: maven)".to_owned())
}

/// The first number of `javac 17.0.15`.
fn major_version(line: &str) -> Option<u32> {
    let number = line.split_whitespace().nth(1)?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// One for each checkout, so that two of them do not write into each other's.
fn build_folder(root: &Path) -> Result<PathBuf> {
    let name = text(root)?.replace('/', "-");
    Ok(fixtures::cache()?.join("kotlin-build").join(name.trim_start_matches('-')))
}

struct TestCount {
    tests: usize,
    skipped: usize,
}

/// Adds up the reports of all modules: `<testsuite … tests="5" errors="0" skipped="0" failures="0">`.
fn count_tests(build: &Path) -> Result<TestCount> {
    let mut count = TestCount { tests: 0, skipped: 0 };
    for module in fs::read_dir(build)? {
        let reports = module?.path().join("surefire-reports");
        if !reports.is_dir() {
            continue;
        }
        for report in fs::read_dir(reports)? {
            let report = report?.path();
            if report.extension().is_none_or(|extension| extension != "xml") {
                continue;
            }
            let xml = fs::read_to_string(&report)?;
            let suite = parse_suite(&xml).with_context(|| format!("{} is no report", report.display()))?;
            count.tests += suite.tests;
            count.skipped += suite.skipped;
        }
    }
    Ok(count)
}

fn parse_suite(xml: &str) -> Option<TestCount> {
    let tag = xml.split_once("<testsuite ")?.1.split_once('>')?.0;
    let number = |name: &str| tag.split_once(&format!(" {name}=\""))?.1.split('"').next()?.parse().ok();
    Some(TestCount { tests: number("tests")?, skipped: number("skipped")? })
}

fn text(path: &Path) -> Result<&str> {
    match path.to_str() {
        Some(text) => Ok(text),
        None => bail!("{} is not UTF-8", path.display()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn versions_and_reports_are_read() {
        assert_eq!(major_version("javac 17.0.15\n"), Some(17));
        assert_eq!(major_version("javac 25-ea"), Some(25));
        assert_eq!(major_version(""), None);
        let xml = "<?xml version=\"1.0\"?>\n<testsuite xmlns:xsi=\"x\" name=\"A\" time=\"0.4\" tests=\"12\" errors=\"0\" skipped=\"1\" failures=\"0\">\n";
        let suite = parse_suite(xml).unwrap();
        assert_eq!((suite.tests, suite.skipped), (12, 1));
        assert!(parse_suite("<html>").is_none());
    }
}
