//! A file over HTTP, going on where an earlier attempt stopped.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::Result;
use ureq::{Body, http::Response};

use super::{
    cache::DiskError,
    http::{self, Refusal, Request, Unreachable},
};
use crate::progress::Progress;

/// Attempts in a row that bring no byte.
const MAX_IDLE_ATTEMPTS: u32 = 4;

/// Downloads into `partial` up to byte `end`, or all there is, appending to what is there.
///
/// Nothing is checked but the length: the caller knows the sum. A connection that breaks is taken up again.
///
/// # Errors
/// [`Refusal`] and [`Unreachable`] before anything came, [`Interrupted`] afterwards; [`DiskError`].
pub fn resume(request: Request<'_>, partial: &Path, end: Option<u64>, label: &str, show: bool) -> Result<()> {
    if end.is_some_and(|end| length(partial) >= end) {
        return Ok(());
    }
    let mut progress = Progress::bytes(show, label, 0);
    let (mut idle, mut has_begun) = (0, false);
    loop {
        let before = length(partial);
        let problem = match attempt(request, partial, before, end, &mut progress) {
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
        has_begun |= idle == 0;
        if idle >= MAX_IDLE_ATTEMPTS {
            progress.close();
            return Err(if has_begun { Interrupted(problem).into() } else { problem });
        }
        tracing::info!("{problem}; trying again");
        thread::sleep(Duration::from_millis(250 << idle));
    }
}

/// The bytes of a file, 0 if there is none.
pub fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |data| data.len())
}

/// A download that had begun ended too early, more often than it is worth trying.
#[derive(Debug, thiserror::Error)]
#[error("the download broke off: {0:#}")]
pub struct Interrupted(anyhow::Error);

/// Why an attempt ended early.
enum AttemptError {
    /// The next one may well go on.
    Retryable(anyhow::Error),
    Permanent(anyhow::Error),
}

impl From<anyhow::Error> for AttemptError {
    fn from(error: anyhow::Error) -> Self {
        Self::Permanent(error)
    }
}

impl From<Unreachable> for AttemptError {
    fn from(error: Unreachable) -> Self {
        Self::Retryable(error.into())
    }
}

fn attempt(
    request: Request<'_>,
    partial: &Path,
    have: u64,
    end: Option<u64>,
    progress: &mut Progress,
) -> Result<(), AttemptError> {
    let range = match end {
        Some(end) => Some(format!("bytes={have}-{}", end - 1)),
        None => (have > 0).then(|| format!("bytes={have}-")),
    };
    let response = request.send(range.as_deref())?;
    let (start, total) = match (response.status().as_u16(), http::content_range(response.headers())) {
        (206, Some((start, total))) if start == have => (start, Some(total)),
        (206, _) => return Err(anyhow::anyhow!("the server answers with another range").into()),
        (200, _) => (0, response.body().content_length()),
        (416, _) => return range_not_satisfiable(&response, partial, have),
        _ => {
            let refusal = Refusal::of(&response);
            let is_passing = refusal.is_passing();
            let error = anyhow::Error::from(refusal);
            return Err(if is_passing { AttemptError::Retryable(error) } else { error.into() });
        }
    };
    let until = end.into_iter().chain(total).min();
    let mut file = open(partial, start)?;
    progress.start_at(start);
    let reached = copy(response.into_body(), &mut file, partial, start, until, progress)?;
    file.sync_all().map_err(DiskError::from_io("write", partial))?;
    match until {
        Some(until) if reached < until => Err(broken("it was closed")),
        _ => Ok(()),
    }
}

/// Everything may have been there already; if it was not, what was there is of another file.
fn range_not_satisfiable(response: &Response<Body>, partial: &Path, have: u64) -> Result<(), AttemptError> {
    let total =
        http::text(response.headers(), "content-range").and_then(|range| range.strip_prefix("bytes */"));
    if total.and_then(|total| total.parse().ok()) == Some(have) {
        return Ok(());
    }
    std::fs::remove_file(partial).map_err(DiskError::from_io("remove", partial))?;
    Err(AttemptError::Retryable(anyhow::anyhow!("the file on the server has changed")))
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

/// Copies from byte `start` until byte `until` or the end of the connection; returns the position reached.
fn copy(
    from: Body,
    to: &mut File,
    partial: &Path,
    start: u64,
    until: Option<u64>,
    progress: &mut Progress,
) -> Result<u64, AttemptError> {
    let mut from = from.into_reader().take(until.map_or(u64::MAX, |until| until.saturating_sub(start)));
    let mut at = start;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(at),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(error)),
        };
        to.write_all(&buffer[..n]).map_err(DiskError::from_io("write", partial))?;
        at += n as u64;
        progress.set(at, until.unwrap_or(at));
    }
}

fn broken(reason: impl std::fmt::Display) -> AttemptError {
    AttemptError::Retryable(anyhow::anyhow!("the connection broke ({reason})"))
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
                let head = head.join("\n").to_lowercase();
                let asked = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
                let (start, end) = asked.filter(|_| ranges).unwrap_or("0-").split_once('-').unwrap();
                let (start, total): (usize, usize) = (start.parse().unwrap(), body.len());
                let end = end.parse::<usize>().map_or(total, |last| total.min(last + 1));
                let answer = if start >= total {
                    format!("HTTP/1.1 416 no\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\n")
                } else if start > 0 || end < total {
                    let range = format!("bytes {start}-{}/{total}", end - 1);
                    format!(
                        "HTTP/1.1 206 part\r\nContent-Range: {range}\r\nContent-Length: {}\r\n",
                        end - start
                    )
                } else {
                    format!("HTTP/1.1 200 ok\r\nContent-Length: {total}\r\n")
                };
                let rest = &body[start.min(end)..end];
                let sent = cuts.next().map_or(rest, |cut| &rest[..cut.min(rest.len())]);
                stream.write_all(answer.as_bytes()).unwrap();
                stream.write_all(b"Connection: close\r\n\r\n").unwrap();
                stream.write_all(sent).unwrap();
            }
        });
        address
    }

    fn download(address: &str, partial: &Path) -> Result<()> {
        resume(Request { address, token: None }, partial, None, "a", false)
    }

    fn body() -> Vec<u8> {
        (0..200_000u32).map(|i| (i * 7 % 251) as u8).collect()
    }

    #[test]
    fn a_broken_connection_is_taken_up_again() {
        let folder = tempfile::tempdir().unwrap();
        let partial = folder.path().join("a.part");
        download(&serve(body(), vec![70_000, 50_000], true), &partial).unwrap();
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
        download(&serve(body(), vec![], true), &partial).unwrap();
        let whole = std::fs::read(&partial).unwrap();
        assert_eq!((whole[0], &whole[1..]), (b'!', &body()[1..]));
    }

    #[test]
    fn a_server_without_ranges_starts_afresh() {
        let folder = tempfile::tempdir().unwrap();
        let partial = folder.path().join("a.part");
        std::fs::write(&partial, b"something else").unwrap();
        download(&serve(body(), vec![], false), &partial).unwrap();
        assert_eq!(std::fs::read(&partial).unwrap(), body());
    }

    #[test]
    fn a_whole_file_is_not_fetched_again_and_a_longer_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let partial = folder.path().join("a.part");
        std::fs::write(&partial, body()).unwrap();
        download(&serve(body(), vec![], true), &partial).unwrap();
        assert_eq!(std::fs::read(&partial).unwrap(), body());

        std::fs::write(&partial, [body(), vec![0; 9]].concat()).unwrap();
        download(&serve(body(), vec![], true), &partial).unwrap();
        assert_eq!(std::fs::read(&partial).unwrap(), body());
    }

    #[test]
    fn the_first_bytes_alone_are_fetched_and_kept() {
        for ranges in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let partial = folder.path().join("a.part");
            let address = serve(body(), vec![10_000], ranges);
            for end in [30_000, 20_000, 200_000] {
                let request = Request { address: &address, token: None };
                resume(request, &partial, Some(end), "a", false).unwrap();
                let expected = &body()[..30_000.max(end as usize)];
                assert_eq!(std::fs::read(&partial).unwrap(), expected);
            }
        }
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
        let error = download(&address, &folder.path().join("a")).unwrap_err();
        assert_eq!(error.downcast_ref::<Refusal>().map(|refusal| refusal.status), Some(404));
    }
}
