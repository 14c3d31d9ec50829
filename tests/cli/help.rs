//! What `--help` teaches.

use super::Bench;

#[test]
fn every_help_is_as_it_was_reviewed() {
    let bench = Bench::new();
    insta::assert_snapshot!("help", bench.run("--help").ok().out);
    for command in
        ["fetch", "inspect", "tokenize", "train", "plan", "bench", "eval", "generate", "export", "gradients"]
    {
        snapshot(&bench, command);
    }
    for command in ["store", "store list", "store show", "store promote", "store rollback", "store delete"] {
        snapshot(&bench, command);
    }
    for command in ["store verify", "store rotate-key", "store export"] {
        snapshot(&bench, command);
    }
    for command in [
        "night",
        "retrain-without",
        "journal",
        "journal add",
        "journal list",
        "journal delete",
        "journal compact",
    ] {
        snapshot(&bench, command);
    }
}

fn snapshot(bench: &Bench, command: &str) {
    let name = format!("help_{}", command.replace([' ', '-'], "_"));
    insta::assert_snapshot!(name, bench.run(&format!("{command} --help")).ok().out);
}

#[test]
fn the_version_is_the_package_s() {
    assert_eq!(Bench::new().run("--version").ok().out, format!("nightgraft {}\n", env!("CARGO_PKG_VERSION")));
}
