//! A hub on this machine that answers as the real one does: what is in a repository at
//! `/api/models/OWNER/REPO/revision/main`, its files at `/OWNER/REPO/resolve/COMMIT/PATH`.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{RunOutput, Sandbox};

/// A closed port: whoever asks there is refused at once.
pub const NOBODY: &str = "http://127.0.0.1:9";
/// The one commit of the repository.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A repository, `owner/repo`, and how badly it is served.
pub struct Hub {
    files: Vec<(String, Vec<u8>)>,
    /// Those of the files that git itself keeps.
    small: Vec<&'static str>,
    /// The sum that is stated for the last of the files, if not its own.
    pub stated: Option<String>,
    licence: &'static str,
    /// Files are for who has this token.
    pub token: Option<&'static str>,
    /// After so many bytes of files the connection breaks, and from then on none is answered.
    breaks_after: usize,
}

/// A hub that answers.
pub struct Running {
    endpoint: String,
    sent: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Hub {
    pub fn new() -> Self {
        Self {
            files: Vec::new(),
            small: Vec::new(),
            stated: None,
            licence: "apache-2.0",
            token: None,
            breaks_after: usize::MAX,
        }
    }

    pub fn with(mut self, path: &str, bytes: Vec<u8>) -> Self {
        self.files.push((path.to_owned(), bytes));
        self
    }

    pub fn with_small(mut self, path: &'static str, bytes: Vec<u8>) -> Self {
        self.small.push(path);
        self.with(path, bytes)
    }

    pub fn broken_after(self, bytes: usize) -> Self {
        Self { breaks_after: bytes, ..self }
    }

    pub fn start(self) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let running = Running {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            sent: Arc::default(),
            requests: Arc::default(),
        };
        let (sent, requests) = (Arc::clone(&running.sent), Arc::clone(&running.requests));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                requests.fetch_add(1, Ordering::SeqCst);
                if sent.load(Ordering::SeqCst) < self.breaks_after {
                    self.answer(stream, &sent);
                }
            }
        });
        running
    }

    fn answer(&self, mut stream: TcpStream, sent: &AtomicUsize) {
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let head: Vec<_> = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
        let asked = head[0].split(' ').nth(1).unwrap();
        let header = |name: &str| {
            let mut values = head.iter().filter_map(|line| line.split_once(": "));
            values.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let refuse = |stream: &mut TcpStream, status: u16, code: &str| {
            let answer = format!("HTTP/1.1 {status} no\r\nX-Error-Code: {code}\r\nContent-Length: 0\r\n");
            stream.write_all(format!("{answer}Connection: close\r\n\r\n").as_bytes()).unwrap();
        };
        if asked == "/api/models/owner/repo/revision/main?blobs=true" {
            let body = self.description().to_string();
            let answer =
                format!("HTTP/1.1 200 ok\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            return stream.write_all((answer + &body).as_bytes()).unwrap();
        }
        let path = asked.strip_prefix("/owner/repo/resolve/").and_then(|path| path.split_once('/'));
        let body =
            path.and_then(|(_, path)| self.files.iter().find(|(name, _)| name == path)).map(|(_, body)| body);
        let Some(body) = body else { return refuse(&mut stream, 404, "RepoNotFound") };
        match (self.token, header("authorization")) {
            (Some(_), None) => return refuse(&mut stream, 401, "GatedRepo"),
            (Some(token), Some(given)) if given != format!("Bearer {token}") => {
                return refuse(&mut stream, 403, "GatedRepo");
            }
            _ => {}
        }
        let range = header("range").and_then(|range| range.strip_prefix("bytes="));
        let (start, last) = range.and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
        let (start, last) = (start.parse().unwrap(), last.parse().unwrap_or(body.len() - 1));
        let part: &[u8] = &body[start..=last];
        let answer = format!(
            "HTTP/1.1 206 part\r\nContent-Range: bytes {start}-{last}/{}\r\nContent-Length: {}\r\n\
            Connection: close\r\n\r\n",
            body.len(),
            part.len()
        );
        let part = &part[..part.len().min(self.breaks_after - sent.load(Ordering::SeqCst))];
        sent.fetch_add(part.len(), Ordering::SeqCst);
        // Whoever has enough hangs up.
        let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(part));
    }

    /// What the real one says of a repository, as far as it is read.
    fn description(&self) -> serde_json::Value {
        let mut siblings = vec![json!({"rfilename": "README.md", "size": 7, "blobId": "00"})];
        for (path, body) in &self.files {
            if self.small.contains(&path.as_str()) {
                siblings.push(json!({"rfilename": path, "size": body.len(), "blobId": git_blob(body)}));
                continue;
            }
            let lfs = json!({"sha256": sha256(body), "size": body.len(), "pointerSize": 128});
            siblings.push(json!({"rfilename": path, "size": body.len(), "blobId": "00", "lfs": lfs}));
        }
        if let (Some(stated), Some(last)) = (&self.stated, siblings.last_mut()) {
            last["lfs"]["sha256"] = json!(stated);
        }
        json!({"id": "owner/repo", "sha": COMMIT, "cardData": {"license": self.licence}, "siblings": siblings})
    }
}

impl Running {
    pub fn address(&self, path: &str) -> String {
        format!("{}/owner/repo/resolve/{COMMIT}/{path}", self.endpoint)
    }

    /// Bytes of files that were sent.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    /// Where it answers.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How many requests were made.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// `nightgraft fetch` of this hub.
    pub fn command(&self, sandbox: &Sandbox, args: &[&str]) -> Command {
        let mut command = direct(sandbox, &[&["fetch"], args].concat());
        command.env("HF_ENDPOINT", &self.endpoint);
        command
    }

    /// What `nightgraft fetch` of this hub gives.
    pub fn fetch(&self, sandbox: &Sandbox, args: &[&str]) -> RunOutput {
        self.command(sandbox, args).output().unwrap().into()
    }
}

/// The binary, without this machine's proxies.
pub fn direct(sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut command = sandbox.command(args);
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name that git gives these bytes.
pub fn git_blob(bytes: &[u8]) -> String {
    let mut hash = Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
