//! What `--help` teaches.

use super::Bench;

#[test]
fn every_help_is_as_it_was_reviewed() {
    let bench = Bench::new();
    insta::assert_snapshot!("help", bench.run("--help").ok().out);
    for command in ["fetch", "inspect", "tokenize", "train", "eval", "generate", "export", "gradients"] {
        insta::assert_snapshot!(format!("help_{command}"), bench.run(&format!("{command} --help")).ok().out);
    }
}

#[test]
fn the_version_is_the_package_s() {
    assert_eq!(Bench::new().run("--version").ok().out, format!("nightgraft {}\n", env!("CARGO_PKG_VERSION")));
}
