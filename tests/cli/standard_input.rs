//! Data that is in no file: standard input and named pipes.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    thread,
};

use super::{RunOutput, Sandbox, chats};

impl Sandbox {
    /// The binary with this text on its standard input, through a pipe.
    fn run_with_input(&self, args: &str, input: &str) -> RunOutput {
        let args: Vec<_> = args.split_whitespace().collect();
        let mut command = self.command(&args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
        // A program that refuses something else does not read it.
        let writer = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output.into()
    }
}

#[test]
fn standard_input_is_data_like_a_file() {
    let sandbox = Sandbox::new();
    let file = sandbox.run("eval --model model.gguf --data chats.jsonl --json").ok().json();
    for name in ["/dev/stdin", "-", "/dev/fd/0"] {
        let piped = sandbox
            .run_with_input(&format!("eval --model model.gguf --data {name} --json"), &chats())
            .ok()
            .json();
        assert_eq!(piped, file, "{name}");
    }
    let text = "eval --model model.gguf --data - --format text";
    sandbox.run_with_input(text, &"The cat sat on the mat. ".repeat(20)).ok();
}

#[test]
fn a_file_as_standard_input_and_a_named_pipe_are_read_too() {
    let sandbox = Sandbox::new();
    let shell = |script: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(assert_cmd::cargo::cargo_bin("nightgraft"));
        RunOutput::from(shell.current_dir(sandbox.path("")).output().unwrap())
    };
    let eval = "\"$0\" eval --model model.gguf --json --data";
    let file = shell(&format!("{eval} chats.jsonl")).ok().json();
    assert_eq!(shell(&format!("{eval} - < chats.jsonl")).ok().json(), file);
    assert_eq!(shell(&format!("mkfifo p && {{ cat chats.jsonl > p & {eval} p; }}")).ok().json(), file);
}

/// What comes through the pipe decides, not its name: the run goes on with the same data, and refuses another.
#[test]
fn a_run_goes_on_with_what_comes_through_the_pipe_again() {
    let sandbox = Sandbox::new();
    let train = "train --model model.gguf --data - --out out --steps 4 --held-out 0";
    sandbox.run_with_input(train, &chats()).ok();
    let again = sandbox.run_with_input(train, &chats()).ok();
    assert!(again.err.contains("going on after step 4"), "{}", again.err);
    sandbox.run_with_input(train, "{\"text\": \"something else\"}\n").refuses(1, &["made with other data"]);
}

#[test]
fn what_is_no_json_in_a_pipe_is_told_how_to_be_read() {
    let sandbox = Sandbox::new();
    let eval = "eval --model model.gguf --data";
    sandbox
        .run_with_input(&format!("{eval} -"), "plain text\n")
        .refuses(1, &["/dev/stdin:1: ", "--format text"]);
    sandbox.run_with_input(&format!("{eval} -"), "").refuses(1, &["/dev/stdin: holds nothing to learn from"]);
    fs::copy(sandbox.path("chats.jsonl"), sandbox.path("chats")).unwrap();
    sandbox.run(&format!("{eval} chats")).refuses(1, &["chats: not a known kind", "--format"]);
    sandbox.run(&format!("{eval} chats --format jsonl")).ok();
    assert_eq!(sandbox.run(&format!("{eval} chats --format yaml")).code, 2);
}

#[test]
fn a_journal_takes_examples_from_a_pipe() {
    let sandbox = Sandbox::new();
    let added = sandbox.run_with_input("journal add - --store mine --json", &chats()).ok().json();
    assert_eq!(added["added"], super::CHATS);
    sandbox.run_with_input("journal add - --store mine --format text", "a text\n").ok();
}
