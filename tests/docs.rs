//! The commands of README and guide work, run from top to bottom in one folder, as a reader would.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support;

/// Runs what stands in `sh` blocks of a document, in a folder with a reader's own conversations. The model was fetched before;
/// `make` only has to know the target, since the others of these tests are one of them.
fn run(document: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join(document)).unwrap();
    let commands = shell_blocks(&text);
    assert!(!commands.is_empty(), "{document} has no commands");

    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("cache/models");
    fs::create_dir_all(&models).unwrap();
    symlink(support::smollm2(), models.join("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap();
    let place = folder.path().join("place");
    fs::create_dir(&place).unwrap();
    symlink(root.join("tests"), place.join("tests")).unwrap();
    let notes = fs::read_to_string(root.join("tests/data/scenario/notes.jsonl")).unwrap();
    let own: Vec<&str> = notes.lines().take(16).collect();
    fs::write(place.join("chats.jsonl"), own.join("\n")).unwrap();

    let make = format!("make() {{ grep -q \"^$1:\" '{}'; }}\n", root.join("Makefile").display());
    let binaries = Path::new(env!("CARGO_BIN_EXE_nightgraft")).parent().unwrap();
    let path = std::env::join_paths(
        [binaries.to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let output = Command::new("sh")
        .args(["-euxc", &(make + &commands)])
        .current_dir(&place)
        .env("PATH", path.unwrap())
        .env("NIGHTGRAFT_CACHE", folder.path().join("cache"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{document}: {}\n{err}", String::from_utf8_lossy(&output.stdout));
}

/// The contents of all blocks that are marked as a shell's.
fn shell_blocks(text: &str) -> String {
    let mut blocks = String::new();
    let mut is_inside = false;
    for line in text.lines() {
        match line {
            "```sh" => is_inside = true,
            "```" => is_inside = false,
            _ if is_inside => blocks = blocks + line + "\n",
            _ => {}
        }
    }
    blocks
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
fn links_between_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
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
