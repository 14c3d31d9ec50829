//! A wrong command line or a nonsensical setting: exit code 2, before any file is opened.

use std::fs;

use super::Sandbox;

#[test]
fn a_command_line_that_does_not_parse() {
    let sandbox = Sandbox::new();
    let cases = [
        ("", "Usage: nightgraft"),
        ("frain", "unrecognized subcommand 'frain'"),
        ("train --data d --out o", "--model <FILE>"),
        ("train --model m --data d --out o --rnak 8", "unexpected argument '--rnak'"),
        ("train --model m --data d --out o --rank eight", "invalid value 'eight' for '--rank <N>'"),
        ("train --model m --data d --out o --layers top", "not all, last:N"),
        ("train --model m --data d --out o --lr fast", "'fast' is neither auto nor a number"),
        ("train --model m --data d --out o --targets wq", "unknown module 'wq'"),
        ("train --model m --data d --out o --schedule step", "none of constant, linear, cosine"),
        ("train --model m --data d --out o --device cuda", "none of auto, cpu, gpu, gpu:N"),
        ("train --model m --data d --out o --epochs 2 --steps 3", "cannot be used with"),
        ("train --model m --data d --out o --resume maybe", "none of auto, never"),
        ("export --adapter a --to onnx --out o", "possible values: peft, gguf, merged-gguf"),
        ("generate --model m", "--prompt <TEXT>"),
        ("fetch", "<NAME>"),
    ];
    for (args, fragment) in cases {
        let ran = sandbox.run(args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args}: {}", ran.err);
        assert!(ran.err.contains(fragment), "{args}: {fragment:?} in {}", ran.err);
    }
}

#[test]
fn a_setting_that_makes_no_sense() {
    let sandbox = Sandbox::new();
    let cases = [
        ("--rank 0", "--rank: 0 is not 1 to 256"),
        ("--lr -1", "--lr: -1 is not above 0"),
        ("--lr nan", "--lr: NaN is not above 0"),
        ("--dropout 1", "--dropout: 1 is not 0 to below 1"),
        ("--context 1", "--context: 1 is not 2 to"),
        ("--batch-tokens 0", "--batch-tokens: 0 is not 1 to"),
        ("--batch-tokens 128", "--batch-tokens: 128 is not 256 or more"),
        ("--context 600 --batch-tokens 512", "--batch-tokens: 512 is not 600 or more"),
        ("--epochs 0", "--epochs: 0 is not 1 to"),
        ("--threads 2 --threads 0", "--threads: 0 is not 1 to"),
        ("--held-out 1", "--held-out: 1 is not 0 to 0.9"),
        ("--layers 0..9", "--layers: '0..9' does not fit: the model has 2 layers"),
    ];
    for (args, fragment) in cases {
        sandbox.train(&format!("--out out {args}")).refuses(2, &[fragment]);
        assert!(!sandbox.path("out").exists(), "{args}");
    }
    sandbox.run("generate --model model.gguf --prompt a --temperature -1").refuses(2, &["--temperature: -1"]);
    sandbox.run("generate --model model.gguf --prompt a --max-tokens 0").refuses(2, &["--max-tokens: 0"]);
    sandbox.run("export --adapter a --to gguf --out o").refuses(2, &["--model: needed"]);
    sandbox.run("fetch smollm3").refuses(2, &["unknown model 'smollm3'", "smollm2-135m", "OWNER/REPO"]);
    sandbox
        .run("fetch owner/file.gguf")
        .refuses(2, &["owner/file.gguf: give OWNER/REPO, ", "OWNER/REPO/FILE.gguf"]);
    sandbox.run("fetch smollm2-135m --quant Q8_0").refuses(2, &["--quant: smollm2-135m is one file"]);
    sandbox.run("fetch owner/repo:Q8_0 --quant Q4_0").refuses(2, &["in the name and with --quant"]);
}

#[test]
fn a_bad_configuration_file_is_named_with_its_line() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("a.toml"), "rank = 8\nrnak = 9\n").unwrap();
    sandbox.train("--out out --config a.toml").refuses(2, &["--config: a.toml:2: unknown field `rnak`"]);
    fs::write(sandbox.path("a.toml"), "lr = \"fast\"\n").unwrap();
    sandbox
        .train("--out out --config a.toml")
        .refuses(2, &["--config: a.toml:1: expected \"auto\" or a number, not \"fast\""]);
    fs::write(sandbox.path("a.toml"), "lr = -1.0\n").unwrap();
    sandbox.train("--out out --config a.toml").refuses(2, &["--lr: -1 is not"]);
    fs::write(sandbox.path("a.toml"), [0xff, 0xfe]).unwrap();
    sandbox.train("--out out --config a.toml").refuses(1, &["cannot read a.toml"]);
    sandbox.train("--out out --config none.toml").refuses(1, &["cannot open none.toml", "No such file"]);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn instructions_that_do_not_exist_are_not_ignored() {
    let sandbox = Sandbox::new();
    let run = |value: &str, args: &[&str]| -> super::RunOutput {
        sandbox.command(args).env("NIGHTGRAFT_ISA", value).output().unwrap().into()
    };
    let train = ["train", "--model", "model.gguf", "--data", "chats.jsonl", "--out", "out"];
    for args in [&["inspect", "model.gguf"][..], &train] {
        for value in ["avx-512", "AVX2", "fastest"] {
            run(value, args)
                .refuses(2, &["NIGHTGRAFT_ISA: ", value, "scalar, neon", "this machine has scalar"]);
        }
    }
    let foreign = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    run(foreign, &train)
        .refuses(2, &["NIGHTGRAFT_ISA: this machine lacks the instructions", "it has scalar"]);
    assert!(!sandbox.path("out").exists());
    assert!(
        run("", &["inspect", "model.gguf"]).code == 0 && run("scalar", &["inspect", "model.gguf"]).code == 0
    );
}
