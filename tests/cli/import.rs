//! `import`: from a folder, or a hub on this machine, to a file that every command opens; or to one sentence and no file.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
};

use nightgraft_tiny_model::{HuggingFaceFolder, Vocabulary};
use serde_json::json;

use super::{
    RunOutput, Sandbox, files,
    hub_server::{Hub, NOBODY, Running, direct, git_blob},
    keys,
};

fn llama() -> HuggingFaceFolder {
    HuggingFaceFolder { n_embd: 256, n_ff: 512, head_dim: 64, ..HuggingFaceFolder::new("LlamaForCausalLM") }
}

/// A sandbox with the recipe's folder as `hf`.
fn with_folder(recipe: &HuggingFaceFolder) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("hf")).unwrap();
    recipe.write(&sandbox.path("hf")).unwrap();
    sandbox
}

/// Everything in the sandbox that looks like a result or a part of one.
fn results(sandbox: &Sandbox) -> Vec<String> {
    let mut names = files(sandbox.folder.path());
    names.retain(|name| name.contains("out.gguf") || name.ends_with(".ngtmp"));
    names
}

#[test]
fn an_imported_model_is_tokenized_with_and_trained_on() {
    let recipe = HuggingFaceFolder { vocabulary: Vocabulary::SentencePiece, n_shards: 2, ..llama() };
    let sandbox = with_folder(&recipe);
    fs::write(sandbox.path("notes.txt"), "the rain is on the hill\n".repeat(40)).unwrap();
    for quantize in ["q4_k_m", "q4_0", "q8_0", "f16", "bf16", "f32"] {
        let out = format!("{quantize}.gguf");
        let ran = sandbox.run(&format!("import --from hf --quantize {quantize} --out {out} --json")).ok();
        assert_eq!(ran.err, "");
        let report = ran.json();
        assert_eq!(
            keys(&report),
            ["path", "bytes", "architecture", "quantization", "parameters", "tensors", "warnings"]
        );
        assert_eq!(report["quantization"], quantize.to_uppercase());
        assert_eq!(report["bytes"], fs::metadata(sandbox.path(&out)).unwrap().len());
        let pieces = sandbox.run(&format!("tokenize --model {out} --bos the")).ok().out;
        assert_eq!(pieces, "      1  \"<s>\"\n    265  \" the\"\n");
        let train = format!("train --model {out} --data notes.txt --out {quantize} --steps 2 --held-out 0");
        sandbox.run(&train).ok();
    }
    let ran = sandbox.run("import --from hf --out default.gguf").ok();
    for part in ["default.gguf  (", "llama, ", "Q4_K_M", "tensors: 5 F32, "] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
}

#[test]
fn a_lost_window_is_a_warning() {
    let config = vec![("sliding_window", json!(128))];
    let sandbox = with_folder(&HuggingFaceFolder { config, ..HuggingFaceFolder::new("MistralForCausalLM") });
    let ran = sandbox.run("import --from hf --quantize f16 --out out.gguf").ok();
    assert!(ran.err.starts_with("warning: the model was trained with a window of 128 tokens"), "{}", ran.err);
}

#[test]
fn folders_that_do_not_import_are_refused_with_what_is_wrong() {
    let configured = |key, value| HuggingFaceFolder { config: vec![(key, value)], ..llama() };
    let run = |recipe: &HuggingFaceFolder, change: &dyn Fn(&Sandbox), fragments: &[&str]| {
        let sandbox = with_folder(recipe);
        change(&sandbox);
        sandbox.run("import --from hf --quantize q8_0 --out out.gguf").refuses(1, fragments);
        assert_eq!(results(&sandbox), [""; 0]);
    };
    let nothing = |_: &Sandbox| ();
    let unknown = configured("architectures", json!(["MambaForCausalLM"]));
    run(&unknown, &nothing, &["MambaForCausalLM does not import", "LlamaForCausalLM, ", "Phi3ForCausalLM"]);
    let mixture = configured("num_local_experts", json!(8));
    run(&mixture, &nothing, &["LlamaForCausalLM with num_local_experts is a mixture of experts"]);
    let small = configured("vocab_size", json!(100));
    run(&small, &nothing, &["tokenizer.json", "does not fit", "100 of the embedding"]);
    let wide = configured("intermediate_size", json!(544));
    run(&wide, &nothing, &["mlp.gate_proj.weight has the shape [512, 256]; config.json asks for [544, 256]"]);

    let remove =
        |name: &'static str| move |sandbox: &Sandbox| fs::remove_file(sandbox.path("hf").join(name)).unwrap();
    run(&llama(), &remove("tokenizer.json"), &["hf has no tokenizer.json"]);
    let sharded = HuggingFaceFolder { n_shards: 2, ..llama() };
    let shard = "model-00002-of-00002.safetensors";
    run(&sharded, &remove(shard), &["hf has no model-00002-of-00002.safetensors"]);
    let truncate = |sandbox: &Sandbox| {
        let path = sandbox.path("hf").join(shard);
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    run(&sharded, &truncate, &[shard, "the file is truncated: it has ", " bytes of "]);

    let sandbox = Sandbox::new();
    sandbox
        .run("import --from nothing --out out.gguf")
        .refuses(2, &["--from: nothing is no folder", "OWNER/REPO"]);
    sandbox.run("import --from o/r/m.gguf --out out.gguf").refuses(2, &["--from: o/r/m.gguf is a file"]);
}

#[test]
fn only_what_an_import_wrote_is_replaced() {
    let sandbox = with_folder(&llama());
    let import = |more: &str| sandbox.run(&format!("import --from hf --quantize q4_0 {more}"));
    for foreign in ["model.gguf", "chats.jsonl"] {
        let before = fs::read(sandbox.path(foreign)).unwrap();
        import(&format!("--out {foreign}")).refuses(2, &["--out: ", foreign, "--force"]);
        assert_eq!(fs::read(sandbox.path(foreign)).unwrap(), before);
    }
    import("--out hf").refuses(2, &["it is a folder"]);
    let weights = fs::read(sandbox.path("hf/model.safetensors")).unwrap();
    import("--out hf/model.safetensors --force")
        .refuses(2, &["--out: hf/model.safetensors is model.safetensors of the model itself"]);
    assert!(fs::read(sandbox.path("hf/model.safetensors")).unwrap() == weights);
    import("--out chats.jsonl --force").ok();
    fs::write(sandbox.path("empty"), "").unwrap();
    import("--out empty").ok();
    import("--out empty").ok();
    import("--out missing/out.gguf").refuses(2, &["--out: missing/out.gguf", "missing is no folder"]);
    import("--out new/").refuses(2, &["--out: new/ is the name of a folder"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("empty", sandbox.path("link")).unwrap();
        import("--out link --force").refuses(2, &["--out: link is a link"]);
        import("--out /dev/null --force").refuses(2, &["--out: /dev/null is no regular file"]);
    }
    let upper = sandbox.run("import --from hf --quantize Q4_0 --out upper.gguf --json").ok().json();
    assert_eq!(upper["quantization"], "Q4_0");
}

/// The folder of a recipe as a repository, its JSON small and its weights large.
fn repository(recipe: &HuggingFaceFolder) -> Hub {
    let folder = tempfile::tempdir().unwrap();
    recipe.write(folder.path()).unwrap();
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let mut hub = Hub::new().with("consolidated.safetensors", b"the same again".to_vec());
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        hub = hub.with_small(name, read(name));
    }
    if recipe.n_shards == 1 {
        return hub.with("model.safetensors", read("model.safetensors"));
    }
    hub = hub.with_small("model.safetensors.index.json", read("model.safetensors.index.json"));
    for name in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
        hub = hub.with(name, read(name));
    }
    hub
}

fn import_from(hub: &Running, sandbox: &Sandbox, args: &str) -> RunOutput {
    let args: Vec<_> = ["import", "--from", "owner/repo", "--out", "out.gguf", "--quantize", "q8_0"]
        .into_iter()
        .chain(args.split_whitespace())
        .collect();
    direct(sandbox, &args).env("HF_ENDPOINT", hub.endpoint()).output().unwrap().into()
}

#[test]
fn a_repository_is_downloaded_and_imported() {
    let recipe = HuggingFaceFolder { n_shards: 2, ..llama() };
    let (sandbox, hub) = (Sandbox::new(), repository(&recipe).start());
    let ran = import_from(&hub, &sandbox, "").ok();
    let shown = ran.err.lines().next().unwrap();
    assert!(shown.starts_with("owner/repo: ") && shown.ends_with(", licence: apache-2.0"), "{shown}");
    let name = sandbox.run("inspect out.gguf --json").ok().json();
    assert_eq!(name["name"], "repo");

    // The same bytes as from a folder of that name, and nothing that the model does not consist of.
    let other = Sandbox::new();
    fs::create_dir(other.path("repo")).unwrap();
    recipe.write(&other.path("repo")).unwrap();
    other.run("import --from repo --out out.gguf --quantize q8_0").ok();
    assert!(fs::read(other.path("out.gguf")).unwrap() == fs::read(sandbox.path("out.gguf")).unwrap());
    let cached = files(&sandbox.path("hub"));
    assert!(cached.iter().any(|name| name.ends_with("config.json")));
    assert!(!cached.iter().any(|name| name.ends_with("consolidated.safetensors")), "{cached:?}");

    let sent = hub.sent();
    import_from(&hub, &sandbox, "--quiet").ok();
    assert_eq!(hub.sent(), sent, "each byte once");
    let mut offline = direct(&sandbox, &["import", "--from", "owner/repo", "--out", "out.gguf"]);
    let ran = RunOutput::from(offline.env("HF_ENDPOINT", NOBODY).output().unwrap()).ok();
    assert!(ran.err.contains("warning: the Hub cannot be reached"), "{}", ran.err);
}

#[test]
fn what_does_not_import_is_refused_before_its_weights_come() {
    let config = vec![("architectures", json!(["MambaForCausalLM"]))];
    let (sandbox, hub) = (Sandbox::new(), repository(&HuggingFaceFolder { config, ..llama() }).start());
    import_from(&hub, &sandbox, "").refuses(1, &["MambaForCausalLM does not import"]);
    assert!(hub.sent() < 100_000, "{} bytes", hub.sent());
    assert_eq!(results(&sandbox), [""; 0]);
}

#[test]
fn a_broken_download_of_weights_goes_on_where_it_was() {
    let recipe = llama();
    let sandbox = Sandbox::new();
    let folder = tempfile::tempdir().unwrap();
    recipe.write(folder.path()).unwrap();
    let weights = fs::metadata(folder.path().join("model.safetensors")).unwrap().len() as usize;
    let hub = repository(&recipe).broken_after(weights / 2).start();
    import_from(&hub, &sandbox, "").refuses(
        1,
        &["model.safetensors of owner/repo", "broke off", "The same command goes on where this one stopped"],
    );
    assert_eq!(results(&sandbox), [""; 0]);
    let rest = repository(&recipe).start();
    import_from(&rest, &sandbox, "").ok();
    let small = ["config.json", "tokenizer.json", "tokenizer_config.json"];
    let small: usize =
        small.iter().map(|name| fs::metadata(folder.path().join(name)).unwrap().len() as usize).sum();
    assert_eq!(hub.sent() + rest.sent(), weights + small, "nothing twice");
}

#[test]
fn a_small_file_with_other_bytes_is_not_kept() {
    let recipe = llama();
    let (sandbox, hub) = (Sandbox::new(), repository(&recipe).start());
    import_from(&hub, &sandbox, "").ok();
    // Under the name that the right bytes would have.
    let config = recipe.config().to_string();
    let blob = sandbox.path("hub/hub/models--owner--repo/blobs").join(git_blob(config.as_bytes()));
    fs::remove_file(&blob).unwrap();
    let wrong = config.replace("Llama", "Mamba");
    fs::write(blob.with_extension("incomplete"), &wrong[..wrong.len() - 1]).unwrap();
    import_from(&hub, &sandbox, "").refuses(1, &["config.json of owner/repo", "sum differs", "not kept"]);
    assert!(!blob.exists() && !blob.with_extension("incomplete").exists());
    import_from(&hub, &sandbox, "").ok();
}

#[test]
fn an_interrupted_import_leaves_nothing() {
    let sandbox = with_folder(&HuggingFaceFolder { n_layer: 32, ..llama() });
    let args = ["import", "--from", "hf", "--quantize", "q4_k_m", "--out", "out.gguf"];
    let mut child = sandbox.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // The scratch file is there from the first tensor on.
    while results(&sandbox).is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
        thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = RunOutput::from(child.wait_with_output().unwrap());
    assert_eq!(output.code, 130, "{}", output.err);
    assert!(output.err.contains("stopping; nothing is left"), "{}", output.err);
    assert_eq!(results(&sandbox), [""; 0]);
}
