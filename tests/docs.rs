//! What the documents show is right. Their commands are run here, from top to bottom in one folder, as a reader would; their code
//! is compiled by `cargo xtask kotlin`, `swift` and `python`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support;

#[path = "../bindings/xtask/src/documents.rs"]
mod documents;

use documents::Block;

/// Commands that are only looked up, with their options. `make` runs these very tests. The tasks of `cargo xtask` are CI's own
/// steps, or need an NDK, a Mac or (`size`) a second build of everything. Gradle needs Android's plugin, which comes from Google's
/// own registry.
const LOOKED_UP: &str = r#"
make() { grep -q "^$1:" "$ROOT/Makefile"; }
cargo() {
    test "$1" = xtask
    test "$2" != help || return 0
    task=$(sed -n "/^ *cmd $2 {/,/}/p" "$ROOT/bindings/xtask/src/flags.rs")
    test -n "$task"
    shift 2
    for option; do echo "$task" | grep -q "optional $option\$"; done
}
gradle() { grep -q "^include(.*\"${1%:*}\"" settings.gradle.kts; }
"#;

/// Runs what stands in `sh` blocks of a document, in a folder with a reader's own conversations. The model was fetched before.
fn run(document: &str) {
    let root = root();
    let blocks = blocks(document).into_iter().filter(|block| block.language == "sh");
    // The wrapper is a program of the folder, which nothing can take the place of.
    let commands: String = blocks.map(|block| block.text.replace("./gradlew", "gradle")).collect();
    assert!(!commands.is_empty(), "{document} has no commands");

    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("cache/models");
    fs::create_dir_all(&models).unwrap();
    symlink(support::smollm2(), models.join("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap();
    let place = folder.path().join("place");
    fs::create_dir(&place).unwrap();
    for folder in ["android", "tests"] {
        symlink(root.join(folder), place.join(folder)).unwrap();
    }
    let notes = fs::read_to_string(root.join("tests/data/scenario/notes.jsonl")).unwrap();
    let own: Vec<&str> = notes.lines().take(16).collect();
    fs::write(place.join("chats.jsonl"), own.join("\n")).unwrap();

    let binaries = Path::new(env!("CARGO_BIN_EXE_nightgraft")).parent().unwrap();
    let path = std::env::join_paths(
        [binaries.to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let output = Command::new("sh")
        .args(["-euxc", &(LOOKED_UP.to_owned() + &commands)])
        .current_dir(&place)
        .env("ROOT", root)
        .env("PATH", path.unwrap())
        .env("NIGHTGRAFT_CACHE", folder.path().join("cache"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{document}: {}\n{err}", String::from_utf8_lossy(&output.stdout));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn blocks(document: &str) -> Vec<Block> {
    documents::blocks(&fs::read_to_string(root().join(document)).unwrap())
}

/// Whether the lines stand in a file, spaces aside, one after the other with any others between them.
fn is_shown_of(lines: &str, file: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let file = words(&fs::read_to_string(root().join(file)).unwrap());
    let mut rest = Some(file.as_str());
    for line in lines.lines().map(words) {
        rest = rest.and_then(|rest| rest.split_once(&line)).map(|(_, rest)| rest);
    }
    rest.is_some()
}

#[test]
fn the_commands_of_the_readme_work() {
    run("README.md");
}

#[test]
fn the_commands_of_the_guide_work() {
    run("docs/GUIDE.md");
}

#[test]
fn the_commands_of_the_other_documents_work() {
    let others = documents::documents(root()).unwrap();
    let others = others.iter().filter(|name| !["README.md", "docs/GUIDE.md"].contains(&name.as_str()));
    others.filter(|name| blocks(name).iter().any(|block| block.language == "sh")).for_each(|name| run(name));
}

#[test]
fn every_block_is_checked_by_something() {
    for document in documents::documents(root()).unwrap() {
        for Block { language, line, text } in blocks(&document) {
            let is_checked = match language.as_str() {
                // By the tests above, in every document.
                "sh" => true,
                // By `cargo xtask kotlin`, `swift` and `python`, in every document.
                "kotlin" | "swift" | "python" => true,
                // What Gradle and Android read cannot be tried here: it is what the sample and the app that stands for others
                // have. The sample's manifest is parsed by SampleTest.kt; build files are read by nothing.
                "kts" => {
                    let files = [
                        "consumer/build.gradle.kts",
                        "consumer/settings.gradle.kts",
                        "sample/build.gradle.kts",
                    ];
                    files.iter().any(|file| is_shown_of(&text, &format!("android/{file}")))
                }
                "xml" => is_shown_of(&text, "android/sample/src/main/AndroidManifest.xml"),
                // A drawing.
                "text" => true,
                // Another language needs a check of its own, here.
                _ => false,
            };
            assert!(
                is_checked,
                "{document}:{line}: nothing checks this ({language}), or the sample has something else"
            );
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = root();
    let documents = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "android/README.md",
        "ios/README.md",
        "bindings/README.md",
    ];
    let documents = documents.into_iter().map(|name| root.join(name));
    let folders = ["docs", "docs/architecture", "benches", "core"];
    let others = folders.into_iter().flat_map(|name| fs::read_dir(root.join(name)).unwrap());
    let others = others
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "md"));
    let mut n_links = 0;
    for document in documents.chain(others) {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let file = link.split('#').next().unwrap();
            if !file.is_empty() && !file.contains(':') {
                assert!(document.parent().unwrap().join(file).exists(), "{}: {link}", document.display());
                n_links += 1;
            }
        }
    }
    assert!(n_links > 20, "only {n_links} links found");
}
