//! `fetch` of models by their names on the Hub.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::PathBuf,
    thread,
};

use nightgraft_gguf::Value;
use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{N_EMBD, N_HEAD, TinyModel, split};

use super::{
    RunOutput, Sandbox, files,
    hub_server::{COMMIT, Hub, NOBODY, direct, sha256},
};

/// What is read of a model before the rest of it.
const FIRST: usize = 16 << 20;
/// The bytes of Llama 3's factors in [`large`], which are read beside them.
const FACTORS: usize = 4 * N_EMBD / N_HEAD / 2;

fn tiny(kind: WeightType) -> Vec<u8> {
    write(&TinyModel::new(kind), &[])
}

/// A model of 19 MB, Llama 3's factors at its end.
fn large() -> TinyModel {
    TinyModel { n_layer: 8, rope_factors: true, ..TinyModel::new(WeightType::F32) }
}

/// The file of a model, with some keys changed.
fn write(model: &TinyModel, keys: &[(&str, &str)]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let mut metadata = model.metadata();
    for &(key, value) in keys {
        metadata.insert(key, Value::String(value.to_owned()));
    }
    model.writer(metadata).unwrap().write(&path).unwrap();
    fs::read(path).unwrap()
}

/// Files of a repository in the cache, without the links to them.
fn blobs(sandbox: &Sandbox) -> Vec<String> {
    files(&sandbox.path("hub/hub/models--owner--repo/blobs"))
}

fn snapshot(sandbox: &Sandbox, path: &str) -> PathBuf {
    sandbox.path("hub/hub/models--owner--repo/snapshots").join(COMMIT).join(path)
}

#[test]
fn a_repository_s_usual_file_is_fetched_with_size_and_licence_shown() {
    let sandbox = Sandbox::new();
    let (usual, other) = (tiny(WeightType::Q4_K), tiny(WeightType::Q8_0));
    let hub = Hub::new()
        .with("m-Q2_K.gguf", b"GGUF of another kind".to_vec())
        .with("sub/m-q4_k_m.gguf", usual.clone())
        .with("m-Q8_0.gguf", other.clone())
        .start();

    let fetched = hub.fetch(&sandbox, &["owner/repo"]).ok();
    let path = snapshot(&sandbox, "sub/m-q4_k_m.gguf");
    assert_eq!(fetched.out, format!("{}\n", path.display()));
    assert!(fs::read(&path).unwrap() == usual);
    let shown: Vec<_> = fetched.err.lines().take(2).collect();
    let size = format!("{:.1} kB", usual.len() as f64 / 1e3);
    assert_eq!(shown[0], format!("owner/repo: sub/m-q4_k_m.gguf, {size}, licence: apache-2.0"));
    assert_eq!(shown[1], "other quantizations there, for --quant: Q2_K, Q8_0");
    assert_eq!(hub.sent(), usual.len(), "each byte once");
    sandbox.run(&format!("inspect {}", path.display())).ok();

    // From here on without the network.
    let requests = hub.requests();
    for name in ["owner/repo", "hf:owner/repo/sub/m-q4_k_m.gguf", "owner/repo:Q4_K_M"] {
        let again = hub.fetch(&sandbox, &[name]).ok();
        assert_eq!((again.out.as_str(), again.err.as_str()), (fetched.out.as_str(), ""), "{name}");
    }
    let again = hub.fetch(&sandbox, &["owner/repo", "--verify", "--json"]).ok().json();
    assert_eq!((&again["sha256"], &again["downloaded"]), (&sha256(&usual).into(), &false.into()));
    assert_eq!(hub.requests(), requests);

    let eight = hub.fetch(&sandbox, &["owner/repo", "--quant", "q8_0", "--json"]).ok();
    assert_eq!(eight.err, "");
    let eight = eight.json();
    assert_eq!(eight["path"], snapshot(&sandbox, "m-Q8_0.gguf").to_str().unwrap());
    assert_eq!((&eight["licence"], &eight["downloaded"]), (&"apache-2.0".into(), &true.into()));
    assert_eq!((&eight["bytes"], &eight["sha256"]), (&other.len().into(), &sha256(&other).into()));
    assert!(snapshot(&sandbox, "sub/m-q4_k_m.gguf").exists());
}

#[test]
fn a_broken_download_goes_on_where_it_was() {
    let sandbox = Sandbox::new();
    let body = write(&large(), &[]);
    let hub = Hub::new().with("m-f32.gguf", body.clone()).broken_after(FIRST + 1_000_000).start();
    hub.fetch(&sandbox, &["owner/repo"]).refuses(
        1,
        &[
            "cannot fetch owner/repo: the download broke off",
            "The same command goes on where this one stopped",
        ],
    );
    assert_eq!(blobs(&sandbox), [format!("{}.incomplete", sha256(&body))]);
    assert!(!snapshot(&sandbox, "m-f32.gguf").exists());

    let rest = Hub::new().with("m-f32.gguf", body.clone()).start();
    let fetched = rest.fetch(&sandbox, &["owner/repo", "--quiet"]).ok();
    assert_eq!(fetched.err, "");
    assert!(fs::read(fetched.out.trim_end()).unwrap() == body);
    assert_eq!(blobs(&sandbox), [sha256(&body)]);
    assert_eq!(
        hub.sent() + rest.sent(),
        body.len() + 2 * FACTORS,
        "nothing twice but what the header is judged by"
    );
}

#[test]
fn another_file_than_the_stated_one_is_not_kept() {
    let sandbox = Sandbox::new();
    let mut hub = Hub::new().with("m-Q8_0.gguf", tiny(WeightType::Q8_0));
    hub.stated = Some("ab".repeat(32));
    hub.start().fetch(&sandbox, &["owner/repo"]).refuses(1, &["sum differs", "not kept"]);
    assert_eq!(blobs(&sandbox), [""; 0]);
    assert!(!snapshot(&sandbox, "m-Q8_0.gguf").exists());
}

#[test]
fn a_file_that_was_damaged_is_fetched_again_when_that_is_asked_for() {
    let sandbox = Sandbox::new();
    let body = tiny(WeightType::Q8_0);
    let hub = Hub::new().with("m-Q8_0.gguf", body.clone()).start();
    hub.fetch(&sandbox, &["owner/repo:Q8_0"]).ok();
    let path = snapshot(&sandbox, "m-Q8_0.gguf");
    let mut damaged = body.clone();
    damaged[body.len() / 2] ^= 1;
    fs::write(&path, &damaged).unwrap();
    hub.fetch(&sandbox, &["owner/repo:Q8_0"]).ok();
    assert!(fs::read(&path).unwrap() == damaged, "only --verify looks");
    hub.fetch(&sandbox, &["owner/repo:Q8_0", "--verify"]).ok();
    assert!(fs::read(&path).unwrap() == body);
}

#[test]
fn what_cannot_be_trained_is_refused_by_its_header() {
    let sandbox = Sandbox::new();
    let body = write(&large(), &[("general.architecture", "mamba")]);
    let hub = Hub::new().with("m-F32.gguf", body).start();
    let refused = hub.fetch(&sandbox, &["owner/repo"]);
    refused.refuses(
        1,
        &[
            "m-F32.gguf cannot be trained here",
            "architecture \"mamba\", a recurrent model, cannot be trained; supported: llama,",
            "another model",
        ],
    );
    assert_eq!(hub.sent(), FIRST + FACTORS, "no more than the first bytes");
    assert_eq!(blobs(&sandbox), [""; 0]);

    // A projector for images, which comes with a model, and a file that is none.
    let projector = write(&TinyModel::new(WeightType::Q8_0), &[("general.type", "mmproj")]);
    let hub = Hub::new().with("p.gguf", projector).with("web.gguf", b"<!doctype html>".to_vec()).start();
    hub.fetch(&sandbox, &["owner/repo/p.gguf"]).refuses(1, &["type \"mmproj\", not a model"]);
    hub.fetch(&sandbox, &["owner/repo/web.gguf"]).refuses(1, &["not a usable GGUF file: it starts with"]);
}

#[test]
fn weights_that_cannot_be_trained_on_are_refused_with_the_other_quantizations() {
    let sandbox = Sandbox::new();
    let mut body = tiny(WeightType::F32);
    // The type of a tensor stands after its name, the number of its dimensions and these.
    let name = b"blk.0.attn_q.weight";
    let at = body.windows(name.len()).position(|window| window == name).unwrap() + name.len() + 4 + 16;
    assert_eq!(body[at..at + 4], 0u32.to_le_bytes());
    body[at..at + 4].copy_from_slice(&15u32.to_le_bytes());
    let hub = Hub::new().with("m-Q8_K.gguf", body).with("m-Q5_1.gguf", tiny(WeightType::Q5_1)).start();
    hub.fetch(&sandbox, &["owner/repo:Q8_K"]).refuses(
        1,
        &["tensor blk.0.attn_q.weight is Q8_K; the formats that can be trained on are F32,", ": Q5_1"],
    );
    assert_eq!(blobs(&sandbox), [""; 0]);
}

#[test]
fn a_gated_repository_tells_how_to_get_in() {
    let sandbox = Sandbox::new();
    let mut hub = Hub::new().with("m-Q8_0.gguf", tiny(WeightType::Q8_0));
    hub.token = Some("hf_good");
    let hub = hub.start();
    let page = format!("{}/owner/repo", hub.endpoint());
    hub.fetch(&sandbox, &["owner/repo"])
        .refuses(1, &["licence has to be accepted", &page, "HF_TOKEN", "hf auth login"]);
    let with_token = |token: &str| -> RunOutput {
        hub.command(&sandbox, &["owner/repo"]).env("HF_TOKEN", token).output().unwrap().into()
    };
    with_token("hf_bad").refuses(1, &["of this token has no access", "accept the licence", &page]);
    with_token("hf_b\nad").refuses(1, &["is no token"]);
    with_token("hf_good").ok();

    // What `hf auth login` keeps.
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("hub")).unwrap();
    fs::write(sandbox.path("hub/token"), "hf_good\n").unwrap();
    hub.fetch(&sandbox, &["owner/repo"]).ok();
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let sandbox = Sandbox::new();
    let hub = Hub::new()
        .with("m-Q8_0.gguf", b"GGUF".to_vec())
        .with("m-Q2_K-00001-of-00002.gguf", b"GGUF".to_vec())
        .start();
    hub.fetch(&sandbox, &["other/repo"])
        .refuses(1, &["cannot fetch other/repo: ", "there is no such file or repository", "private"]);
    hub.fetch(&sandbox, &["owner/repo/n.gguf"])
        .refuses(1, &["cannot fetch n.gguf of owner/repo: ", "no such file", "it holds m-Q8_0.gguf, "]);
    hub.fetch(&sandbox, &["owner/repo:Q4_0"]).refuses(1, &["no such quantization", "it holds Q8_0, Q2_K"]);
    hub.fetch(&sandbox, &["owner/repo:q2_k"])
        .refuses(1, &["lacks m-Q2_K-00002-of-00002.gguf", "choose another quantization"]);
    let empty = Hub::new().with("model.safetensors", b"{}".to_vec()).start();
    empty
        .fetch(&sandbox, &["owner/repo"])
        .refuses(1, &["holds no GGUF file", "-GGUF", "nightgraft import --from"]);
    assert_eq!(hub.sent() + empty.sent(), 0);
}

#[test]
fn all_files_of_a_split_model_are_fetched() {
    let sandbox = Sandbox::new();
    let parts = split(&sandbox.path("model.gguf"), 3);
    let bytes: Vec<Vec<u8>> = parts.iter().map(|path| fs::read(path).unwrap()).collect();
    let name = |number: usize| format!("sub/m-Q4_1-{number:05}-of-00003.gguf");
    let with_parts =
        |hub: Hub| (1..=3).fold(hub, |hub, number| hub.with(&name(number), bytes[number - 1].clone()));
    let hub = with_parts(Hub::new()).start();
    let fetched = hub.fetch(&sandbox, &["owner/repo:q4_1", "--json"]).ok().json();
    let total = bytes.iter().map(Vec::len).sum::<usize>();
    assert_eq!((&fetched["bytes"], &fetched["downloaded"]), (&total.into(), &true.into()));
    assert!(fetched.get("sha256").is_none(), "{fetched}");
    let path = fetched["path"].as_str().unwrap();
    assert!(path.ends_with(&name(1)), "{path}");
    assert_eq!(sandbox.run(&format!("inspect {path} --json")).ok().json()["files"], 3);

    // The whole of it is here, by any of its files.
    let sent = hub.sent();
    for wanted in ["owner/repo:Q4_1".to_owned(), format!("owner/repo/{}", name(2))] {
        let again = hub.fetch(&sandbox, &[&wanted, "--json"]).ok().json();
        assert_eq!((&again["path"], &again["downloaded"]), (&fetched["path"], &false.into()));
    }
    assert_eq!(hub.sent(), sent);

    // What cannot be trained is told by the headers of all.
    let mut odd = Hub::new();
    for (number, part) in (1..).zip([&bytes[0], &bytes[1], &bytes[1]]) {
        odd = odd.with(&name(number), part.clone());
    }
    let other = Sandbox::new();
    odd.start()
        .fetch(&other, &["owner/repo"])
        .refuses(1, &["cannot be trained here", "part 3 of 3", "part 2 of 3"]);
}

#[test]
fn a_hub_that_cannot_be_reached_is_said() {
    let sandbox = Sandbox::new();
    let hub = Hub::new().with("m-Q8_0.gguf", tiny(WeightType::Q8_0)).start();
    let fetched = hub.fetch(&sandbox, &["owner/repo"]).ok();
    let mut command = direct(&sandbox, &["fetch", "owner/repo", "--quiet"]);
    let ran = RunOutput::from(command.env("HF_ENDPOINT", NOBODY).output().unwrap()).ok();
    assert_eq!(ran.out, fetched.out);
    assert!(ran.err.starts_with("warning: the Hub cannot be reached"), "{}", ran.err);

    let mut command = direct(&sandbox, &["fetch", "owner/repo/model.gguf"]);
    let ran = RunOutput::from(command.env("HF_ENDPOINT", NOBODY).output().unwrap());
    ran.refuses(
        1,
        &[
            "model.gguf of owner/repo",
            NOBODY,
            "cannot be reached",
            "check the network",
            "--model by its path",
        ],
    );
}

#[test]
fn an_answer_that_is_no_description_is_refused() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (stream, answer) in listener
            .incoming()
            .zip(["200 ok\r\nContent-Length: 2\r\n\r\n[]", "503 no\r\nContent-Length: 0\r\n\r\n"])
        {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lines.map(Result::unwrap).take_while(|line| !line.is_empty()).for_each(drop);
            stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).unwrap();
        }
    });
    let fetch = || -> RunOutput {
        direct(&sandbox, &["fetch", "owner/repo"]).env("HF_ENDPOINT", &endpoint).output().unwrap().into()
    };
    fetch().refuses(1, &["something else than the description of a repository"]);
    fetch().refuses(1, &["answers with status 503; try again later"]);
}
