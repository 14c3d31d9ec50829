//! What `--help` teaches.

use super::Sandbox;

#[test]
fn every_help_is_as_it_was_reviewed() {
    let sandbox = Sandbox::new();
    insta::assert_snapshot!("help", sandbox.run("--help").ok().out);
    for command in [
        "fetch",
        "import",
        "inspect",
        "tokenize",
        "train",
        "plan",
        "bench",
        "devices",
        "eval",
        "generate",
        "export",
        "gradients",
    ] {
        snapshot(&sandbox, command);
    }
    for command in ["store", "store list", "store show", "store promote", "store rollback", "store delete"] {
        snapshot(&sandbox, command);
    }
    for command in ["store nights", "store verify", "store rotate-key", "store destroy", "store export"] {
        snapshot(&sandbox, command);
    }
    for command in [
        "night",
        "retrain-without",
        "journal",
        "journal add",
        "journal list",
        "journal delete",
        "journal forget",
        "journal export",
        "journal compact",
    ] {
        snapshot(&sandbox, command);
    }
}

fn snapshot(sandbox: &Sandbox, command: &str) {
    let name = format!("help_{}", command.replace([' ', '-'], "_"));
    insta::assert_snapshot!(name, sandbox.run(&format!("{command} --help")).ok().out);
}

#[test]
fn the_version_is_the_package_s() {
    assert_eq!(
        Sandbox::new().run("--version").ok().out,
        format!("nightgraft {}\n", env!("CARGO_PKG_VERSION"))
    );
}
