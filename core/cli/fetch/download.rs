//! A file over HTTP, going on where an earlier attempt stopped.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
    sync::OnceLock,
    thread,
    time::Duration,
};

use anyhow::{Result, bail};

use super::cache::DiskError;
use crate::progress::Progress;

/// Attempts in a row that bring no byte.
const MAX_IDLE_ATTEMPTS: u32 = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Downloads `address` into `partial`, appending to what is there.
///
/// Nothing is checked but the length: the caller knows the sum. A connection that breaks is taken up again.
pub fn resume(address: &str, partial: &Path, label: &str, show: bool) -> Result<()> {
    let mut progress = Progress::bytes(show, label, 0);
    let mut idle = 0;
    loop {
        let before = length(partial);
        let problem = match attempt(address, partial, before, &mut progress) {
            Ok(()) => {
                progress.close();
                return Ok(());
            }
            Err(AttemptError::Permanent(error)) => {
                progress.close();
                return Err(error);
            }
            Err(AttemptError::Retryable(problem)) => problem,
        };
        idle = if length(partial) > before { 0 } else { idle + 1 };
        if idle >= MAX_IDLE_ATTEMPTS {
            progress.close();
            bail!("{problem}");
        }
        tracing::info!("{problem}; trying again");
        thread::sleep(Duration::from_millis(250 << idle));
    }
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |data| data.len())
}

/// Why an attempt ended early.
enum AttemptError {
    /// The next one may well go on.
    Retryable(String),
    Permanent(anyhow::Error),
}

impl From<anyhow::Error> for AttemptError {
    fn from(error: anyhow::Error) -> Self {
        Self::Permanent(error)
    }
}

fn attempt(address: &str, partial: &Path, have: u64, progress: &mut Progress) -> Result<(), AttemptError> {
    // A compressed answer has no byte positions to go on from.
    let request = agent().get(address).set("Accept-Encoding", "identity");
    let request = if have > 0 { request.set("Range", &format!("bytes={have}-")) } else { request };
    let response = match request.call() {
        Ok(response) => response,
        Err(ureq::Error::Status(416, response)) => return range_not_satisfiable(&response, partial, have),
        Err(ureq::Error::Status(code @ (408 | 429 | 500..), _)) => {
            return Err(AttemptError::Retryable(format!("the server answers with status {code}")));
        }
        Err(ureq::Error::Status(code, _)) => {
            return Err(AttemptError::Permanent(anyhow::anyhow!("the server refuses with status {code}")));
        }
        Err(ureq::Error::Transport(error)) => return Err(AttemptError::Retryable(reason(&error))),
    };
    let range = response.header("Content-Range").and_then(parse_range);
    let (start, total) = match (response.status(), range) {
        (206, Some((start, total))) if start == have => (start, Some(total)),
        (206, _) => {
            return Err(AttemptError::Permanent(anyhow::anyhow!("the server answers with another range")));
        }
        _ => (0, response.header("Content-Length").and_then(|length| length.parse().ok())),
    };
    let mut file = open(partial, start)?;
    progress.start_at(start);
    let end = copy(&mut response.into_reader(), &mut file, partial, start, total, progress)?;
    file.sync_all().map_err(DiskError::from_io("write", partial))?;
    match total {
        Some(total) if end < total => Err(AttemptError::Retryable("the connection broke".to_owned())),
        Some(total) if end > total => {
            remove(partial)?;
            Err(AttemptError::Retryable("the server sent too much".to_owned()))
        }
        _ => Ok(()),
    }
}

/// The system's certificates (or `SSL_CERT_FILE`'s) and proxy variables hold.
fn agent() -> &'static ureq::Agent {
    static AGENT: OnceLock<ureq::Agent> = OnceLock::new();
    AGENT.get_or_init(|| ureq::builder().timeout_connect(CONNECT_TIMEOUT).timeout_read(READ_TIMEOUT).build())
}

/// Everything may have been there already; if it was not, what was there is of another file.
fn range_not_satisfiable(response: &ureq::Response, partial: &Path, have: u64) -> Result<(), AttemptError> {
    let total = response.header("Content-Range").and_then(|range| range.strip_prefix("bytes */"));
    if total.and_then(|total| total.parse().ok()) == Some(have) {
        return Ok(());
    }
    remove(partial)?;
    Err(AttemptError::Retryable("the file on the server has changed".to_owned()))
}

/// `bytes 100-199/200` → start 100, total 200.
fn parse_range(header: &str) -> Option<(u64, u64)> {
    let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()?))
}

fn open(partial: &Path, start: u64) -> Result<File> {
    let mut options = OpenOptions::new();
    if start > 0 {
        options.append(true)
    } else {
        options.write(true).truncate(true)
    };
    options.create(true).open(partial).map_err(DiskError::from_io("write", partial))
}

/// Copies until the connection ends; returns the position reached.
fn copy(
    from: &mut dyn Read,
    to: &mut File,
    partial: &Path,
    start: u64,
    total: Option<u64>,
    progress: &mut Progress,
) -> Result<u64, AttemptError> {
    let mut at = start;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(at),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(AttemptError::Retryable(format!("the connection broke: {error}"))),
        };
        to.write_all(&buffer[..n]).map_err(DiskError::from_io("write", partial))?;
        at += n as u64;
        progress.set(at, total.unwrap_or(at));
    }
}

fn remove(partial: &Path) -> Result<()> {
    std::fs::remove_file(partial).map_err(DiskError::from_io("remove", partial))
}

/// What kept us from the server, without the address: the caller has named the source.
fn reason(error: &ureq::Transport) -> String {
    match error.message() {
        Some(message) => format!("{}: {message}", error.kind()),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        io::{BufRead, BufReader},
        net::TcpListener,
    };

    use super::*;

    /// Answers requests on this machine: the first `cuts.len()` answers stop after so many bytes of the body.
    fn serve(body: Vec<u8>, cuts: Vec<usize>, ranges: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/file", listener.local_addr().unwrap());
        thread::spawn(move || {
            let mut cuts = cuts.into_iter();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<_> = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
                let asked = head.iter().find_map(|line| line.strip_prefix("Range: bytes="));
                let start: usize =
                    asked.filter(|_| ranges).map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
                let total = body.len();
                let answer = if start >= total {
                    format!("HTTP/1.1 416 no\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\n")
                } else if start > 0 {
                    let range = format!("bytes {start}-{}/{total}", total - 1);
                    format!(
                        "HTTP/1.1 206 part\r\nContent-Range: {range}\r\nContent-Length: {}\r\n",
                        total - start
                    )
                } else {
                    format!("HTTP/1.1 200 ok\r\nContent-Length: {total}\r\n")
                };
                let rest = &body[start.min(total)..];
                let sent = cuts.next().map_or(rest, |cut| &rest[..cut.min(rest.len())]);
                stream.write_all(answer.as_bytes()).unwrap();
                stream.write_all(b"Connection: close\r\n\r\n").unwrap();
                stream.write_all(sent).unwrap();
            }
        });
        address
    }

    fn body() -> Vec<u8> {
        (0..200_000u32).map(|i| (i * 7 % 251) as u8).collect()
    }

    #[test]
    fn a_broken_connection_is_taken_up_again() {
        let folder = tempfile::tempdir().unwrap();
        let partial = folder.path().join("a.part");
        resume(&serve(body(), vec![70_000, 50_000], true), &partial, "a", false).unwrap();
        assert_eq!(std::fs::read(&partial).unwrap(), body());
    }

    #[test]
    fn an_earlier_part_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let partial = folder.path().join("a.part");
        // A marker in place of the first bytes shows that they are not fetched again.
        let mut part = body()[..150_000].to_vec();
        part[0] = b'!';
        std::fs::write(&partial, &part).unwrap();
        resume(&serve(body(), vec![], true), &partial, "a", false).unwrap();
        let whole = std::fs::read(&partial).unwrap();
        assert_eq!((whole[0], &whole[1..]), (b'!', &body()[1..]));
    }

    #[test]
    fn a_server_without_ranges_starts_afresh() {
        let folder = tempfile::tempdir().unwrap();
        let partial = folder.path().join("a.part");
        std::fs::write(&partial, b"something else").unwrap();
        resume(&serve(body(), vec![], false), &partial, "a", false).unwrap();
        assert_eq!(std::fs::read(&partial).unwrap(), body());
    }

    #[test]
    fn a_whole_file_is_not_fetched_again_and_a_longer_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let partial = folder.path().join("a.part");
        std::fs::write(&partial, body()).unwrap();
        resume(&serve(body(), vec![], true), &partial, "a", false).unwrap();
        assert_eq!(std::fs::read(&partial).unwrap(), body());

        std::fs::write(&partial, [body(), vec![0; 9]].concat()).unwrap();
        resume(&serve(body(), vec![], true), &partial, "a", false).unwrap();
        assert_eq!(std::fs::read(&partial).unwrap(), body());
    }

    #[test]
    fn a_refusal_is_said_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/file", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            stream.write_all(b"HTTP/1.1 404 gone\r\nContent-Length: 0\r\n\r\n").unwrap();
        });
        let folder = tempfile::tempdir().unwrap();
        let error = resume(&address, &folder.path().join("a"), "a", false).unwrap_err();
        assert_eq!(error.to_string(), "the server refuses with status 404");
    }
}
