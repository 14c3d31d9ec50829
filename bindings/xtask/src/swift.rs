//! `cargo xtask swift`: formats checked, package built, tests run, documentation, public API and the documents' snippets checked,
//! with a real compiler and the real library. Then a package outside the checkout takes the one of a release. A Swift 6 on the
//! `PATH` is used; without one, a Debian chroot is made that has it.

mod consumer;
mod documentation;
mod public_api;
mod readme;
mod toolchain;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use toolchain::Toolchain;

use crate::api::{self, Purpose, Record};
use crate::fixtures::{self, Fixtures};
use crate::generate;
use crate::program::skip_unless_ci;
use crate::scenario::OUT_VARIABLE;
use crate::snippets::{self, SWIFT};

/// What apps and their tests import, and the list of its public API.
const MODULES: [(&str, Record); 2] = [("Nightgraft", api::SWIFT), ("NightgraftTesting", api::SWIFT_TESTING)];

/// Runs everything. Without a toolchain that is a loud skip, or an error where `CI=true`.
///
/// # Errors
/// The first check that fails.
pub fn run(root: &Path) -> Result<()> {
    let cache = cache()?;
    let toolchain = match toolchain(root) {
        Ok(toolchain) => toolchain,
        Err(error) => return skip_unless_ci("the Swift suite", &format!("{error:#}")),
    };
    println!("{toolchain}");
    let paths = Paths::prepare(root, &cache)?;
    let checks = Checks { toolchain: &toolchain, paths: &paths };
    checks.format()?;
    checks.tiny_model()?;
    let tests = checks.test()?;
    checks.symbol_graphs()?;
    let symbols = checks.documentation()?;
    checks.public_api(Purpose::Compare)?;
    let documents = checks.readme()?;
    checks.consumer()?;
    println!(
        "swift: {tests} tests passed, {symbols} public symbols documented, the snippets of {documents} documents compile, a \
         package outside the checkout has its first answer"
    );
    Ok(())
}

/// Writes the list of the public API anew.
///
/// # Errors
/// What is missing, or does not compile.
pub fn record_api(root: &Path) -> Result<()> {
    let cache = cache()?;
    let toolchain = toolchain(root)?;
    let paths = Paths::prepare(root, &cache)?;
    let checks = Checks { toolchain: &toolchain, paths: &paths };
    checks.symbol_graphs()?;
    checks.public_api(Purpose::Record)
}

/// The toolchain, made if there is none.
///
/// # Errors
/// What is missing.
pub fn toolchain(root: &Path) -> Result<Toolchain> {
    Toolchain::find(root, &cache()?)
}

fn cache() -> Result<PathBuf> {
    Ok(fs::canonicalize(fixtures::cache()?)?)
}

/// The files that the checks need, and where theirs go.
struct Paths {
    root: PathBuf,
    /// The Swift package.
    package: PathBuf,
    /// The folder of `libnightgraft_ffi.so`.
    library: PathBuf,
    fixtures: Fixtures,
    /// SwiftPM's build folder, one for each checkout.
    scratch: PathBuf,
    scenario_out: Option<PathBuf>,
}

impl Paths {
    fn prepare(root: &Path, cache: &Path) -> Result<Self> {
        let library = generate::library(root)?;
        let name = text(root)?.replace('/', "-");
        let scratch = cache.join("swift-build").join(name.trim_start_matches('-'));
        fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
        let scenario_out = std::env::var_os(OUT_VARIABLE).map(PathBuf::from);
        if let Some(folder) = &scenario_out {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(Self {
            root: root.to_owned(),
            package: root.join("ios"),
            library: library.parent().context("a library lies in a folder")?.to_owned(),
            fixtures: fixtures::make(root)?,
            scratch,
            scenario_out: scenario_out.map(fs::canonicalize).transpose()?,
        })
    }

    fn variables(&self) -> Vec<(&'static str, PathBuf)> {
        let fixtures = self.fixtures.variables().map(|(name, value)| (name, PathBuf::from(value)));
        let mut variables: Vec<_> = fixtures.collect();
        variables.extend(["LD_LIBRARY_PATH", "NIGHTGRAFT_LIBRARY"].map(|name| (name, self.library.clone())));
        variables.extend(self.scenario_out.clone().map(|folder| (OUT_VARIABLE, folder)));
        variables
    }

    /// What the commands read, and what they write to.
    fn folders(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let fixtures = self.fixtures.variables().map(|(_, path)| PathBuf::from(path));
        let models = fixtures.filter_map(|file| file.parent().map(Path::to_owned));
        let read = [self.root.clone(), self.library.clone()].into_iter().chain(models).collect();
        let write = [Some(self.scratch.clone()), self.scenario_out.clone()].into_iter().flatten().collect();
        (read, write)
    }
}

struct Checks<'a> {
    toolchain: &'a Toolchain,
    paths: &'a Paths,
}

impl Checks<'_> {
    fn format(&self) -> Result<()> {
        let what = [
            "Package.swift",
            "Sources/Nightgraft",
            "Sources/NightgraftTesting",
            "Tests",
            "Sample",
            "Consumer",
        ];
        self.run_tool(&[&["swift", "format", "lint", "--strict", "--recursive"][..], &what].concat())
    }

    /// The model that apps' tests take is the one that the other languages' tests make.
    fn tiny_model(&self) -> Result<()> {
        let variables = self.paths.variables();
        let made = variables.iter().find(|(name, _)| *name == "NIGHTGRAFT_TINY");
        let (_, made) = made.context("the suites have a tiny model")?;
        let kept = self.paths.package.join("Sources/NightgraftTesting/tiny.gguf");
        let read = |file: &Path| fs::read(file).with_context(|| format!("cannot read {}", file.display()));
        ensure!(
            read(&kept)? == read(made)?,
            "{} is another model than {}, which core/examples/tiny_model.rs writes",
            kept.display(),
            made.display()
        );
        Ok(())
    }

    /// Returns how many tests passed.
    fn test(&self) -> Result<usize> {
        let scratch = text(&self.paths.scratch)?;
        let mut command =
            self.command(&["swift", "test", "--scratch-path", scratch, "--disable-swift-testing"]);
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start swift test")?;
        let output = child.stdout.take().context("the output was asked for")?;
        let mut summary = None;
        for line in BufReader::new(output).lines() {
            let line = line.context("cannot read the output of swift test")?;
            println!("{line}");
            summary = parse_summary(&line).or(summary);
        }
        let status = child.wait().context("cannot wait for swift test")?;
        ensure!(status.success(), "swift test ended with {status}");
        let summary = summary.context("swift test did not say how many tests it ran")?;
        ensure!(
            summary.failures == 0 && summary.skipped == 0,
            "of {} Swift tests, {} failed and {} were skipped",
            summary.tests,
            summary.failures,
            summary.skipped
        );
        ensure!(summary.tests > 0, "swift test ran no test");
        Ok(summary.tests)
    }

    /// Has the compiler list the public symbols of each module.
    fn symbol_graphs(&self) -> Result<()> {
        let scratch = text(&self.paths.scratch)?;
        self.run_tool(&[
            "swift",
            "package",
            "--scratch-path",
            scratch,
            "dump-symbol-graph",
            "--minimum-access-level",
            "public",
            "--skip-synthesized-members",
        ])
    }

    /// A module's symbol graphs, and the folder of its sources.
    fn module(&self, name: &str) -> Result<(Vec<PathBuf>, PathBuf)> {
        let graphs = documentation::symbol_graphs(&self.paths.scratch, name)?;
        Ok((graphs, self.paths.package.join("Sources").join(name)))
    }

    fn public_api(&self, purpose: Purpose) -> Result<()> {
        for (module, record) in &MODULES {
            let (graphs, sources) = self.module(module)?;
            record.keep(&self.paths.root, &public_api::list(&graphs, &sources)?, purpose)?;
        }
        Ok(())
    }

    /// Returns how many public symbols there are, all documented.
    fn documentation(&self) -> Result<usize> {
        let mut symbols = 0;
        for (module, _) in &MODULES {
            let (graphs, sources) = self.module(module)?;
            symbols += documentation::check(&graphs, &sources)?;
        }
        let (graphs, _) = self.module("Nightgraft")?;
        let graph = graphs.first().context("the module has a graph of its own")?;
        let catalogue = "Sources/Nightgraft/Nightgraft.docc";
        let out = self.paths.scratch.join("Nightgraft.doccarchive");
        if let Some(docc) = &self.toolchain.docc {
            // A link in a comment or an article that leads nowhere is an error.
            let own = graph.parent().context("the graph lies in a folder")?.join("only");
            fs::create_dir_all(&own)?;
            fs::copy(graph, own.join("Nightgraft.symbols.json"))?;
            let options = ["--warnings-as-errors", "--fallback-display-name", "Nightgraft"];
            let place =
                ["--fallback-bundle-identifier", "org.nightgraft.Nightgraft", "--output-path", text(&out)?];
            let graph = ["--additional-symbol-graph-dir", text(&own)?];
            self.run_tool(&[&[text(docc)?, "convert", catalogue][..], &graph, &options, &place].concat())?;
        } else {
            println!("SKIPPED the links in the Swift documentation: this toolchain has no docc");
        }
        Ok(symbols)
    }

    /// Type-checks the documents' snippets against the modules that the tests were built with. Returns how many documents
    /// have some.
    fn readme(&self) -> Result<usize> {
        let prelude = readme::prelude(&self.paths.package)?;
        let snippets = snippets::write(&self.paths.root, &SWIFT, &self.paths.scratch.join("snippets"))?;
        let modules = self.paths.scratch.join("debug/Modules");
        let mut words = vec!["swiftc", "-typecheck", "-parse-as-library", "-warnings-as-errors"];
        // The package compiles its own targets with these.
        words.extend(["-swift-version", "6", "-enable-upcoming-feature", "ExistentialAny"]);
        words.extend(["-I", text(&modules)?, "-I", "Sources/NightgraftFFI/include"]);
        words.push(text(&prelude)?);
        let files = snippets.iter().map(|file| text(file)).collect::<Result<Vec<_>>>()?;
        self.run_tool(&[words, files].concat())?;
        Ok(snippets.len())
    }

    fn command(&self, words: &[&str]) -> Command {
        let (read, write) = self.paths.folders();
        let mut command = self.toolchain.command(words, &read, &write);
        command.current_dir(&self.paths.package).envs(self.paths.variables());
        command
    }

    fn run_tool(&self, words: &[&str]) -> Result<()> {
        let status = self.command(words).status().with_context(|| format!("cannot start {words:?}"))?;
        ensure!(status.success(), "{} ended with {status}", words.join(" "));
        Ok(())
    }
}

/// What XCTest says at the end of each suite; the last suite is that of all.
#[derive(Clone, Copy)]
struct Summary {
    tests: usize,
    skipped: usize,
    failures: usize,
}

/// Reads a line such as `Executed 31 tests, with 1 test skipped and 0 failures (0 unexpected) in 2.1 seconds`.
fn parse_summary(line: &str) -> Option<Summary> {
    let words: Vec<&str> = line.trim().strip_prefix("Executed ")?.split_whitespace().collect();
    let before = |word: &str| {
        let place = words.iter().position(|found| found.starts_with(word))?;
        words.get(place.checked_sub(1)?)?.parse().ok()
    };
    let skipped =
        words.iter().position(|word| *word == "skipped").and_then(|place| words.get(place.checked_sub(2)?));
    let skipped = skipped.and_then(|number| number.parse().ok()).unwrap_or(0);
    Some(Summary { tests: words.first()?.parse().ok()?, skipped, failures: before("failure")? })
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::parse_summary;

    #[test]
    fn the_summary_of_xctest_is_read() {
        let all = parse_summary("\t Executed 31 tests, with 0 failures (0 unexpected) in 2.1 (2.1) seconds")
            .unwrap();
        assert_eq!((all.tests, all.skipped, all.failures), (31, 0, 0));
        let one =
            parse_summary("Executed 1 test, with 1 failure (0 unexpected) in 2.1 (2.1) seconds").unwrap();
        assert_eq!((one.tests, one.skipped, one.failures), (1, 0, 1));
        let skipped =
            parse_summary("Executed 12 tests, with 2 tests skipped and 3 failures (1 unexpected) in 1 s")
                .unwrap();
        assert_eq!((skipped.tests, skipped.skipped, skipped.failures), (12, 2, 3));
        assert!(parse_summary("Test Suite 'All tests' passed").is_none());
    }
}
