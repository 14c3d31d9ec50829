//! `cargo xtask size`: how large the library of the bindings is, and whether it has grown.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use xshell::{Cmd, Shell, cmd};

use crate::{
    artifacts::{Artifacts, LlamaBuild},
    cross,
    program::{Devices, build_in_workspace, cargo, find, rustc, shell, skip_unless_ci, target_folder, timed},
};

const PROFILE: &str = "small-release";
const RECORD_PATH: &str = "bindings/size.json";

/// What is written for a new record: how much a library may grow before somebody must say that it is meant.
const TOLERANCE: f64 = 0.03;

/// What training on GPUs may add.
const MOST_OF_GPUS: u64 = 4_000_000;

/// Builds and compares for this machine and for arm64 Linux, with GPUs and without; with `update` it writes the record instead.
pub fn run(root: &Path, update: bool) -> Result<()> {
    let sh = shell(root)?;
    let mut sizes = BTreeMap::new();
    let host = host(&sh)?;
    for devices in [Devices::Cpu, Devices::All] {
        let library = Library::of_this_machine(&sh, root, &host, devices)?;
        sizes.insert(name(&host, devices), library.measure(&sh)?);
    }
    check_gpus(&sizes, &host)?;
    if host != cross::ARM64 {
        match cross::build_or_reason(root, cross::Purpose::Size)? {
            Ok(built) => {
                for devices in [Devices::Cpu, Devices::All] {
                    let library = Library::of_arm64(&sh, root, &built, devices)?;
                    sizes.insert(name(cross::ARM64, devices), library.measure(&sh)?);
                }
                check_gpus(&sizes, cross::ARM64)?;
            }
            Err(why) => skip_unless_ci("the size for arm64", &why)?,
        }
    }
    let path = root.join(RECORD_PATH);
    if update {
        return Ok(fs::write(&path, SizeRecord::renewed(&path, &sizes)?.text())?);
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let verdict = SizeRecord::read(&text)?.judge(&sizes);
    println!("{}", verdict.lines.join("\n"));
    if verdict.has_grown {
        bail!("the library grew; if that is meant: cargo xtask size --update");
    }
    Ok(())
}

/// Says what training on GPUs adds for a target, of which both sizes are there, and refuses too much.
fn check_gpus(sizes: &BTreeMap<String, u64>, target: &str) -> Result<()> {
    let of_gpus = sizes[target].saturating_sub(sizes[&name(target, Devices::Cpu)]);
    println!("GPUs take {of_gpus} bytes of {target}");
    if of_gpus > MOST_OF_GPUS {
        bail!("that is more than {MOST_OF_GPUS}");
    }
    Ok(())
}

/// What a size is recorded under.
fn name(target: &str, devices: Devices) -> String {
    match devices {
        Devices::All => target.to_owned(),
        Devices::Cpu => format!("{target}, processor alone"),
    }
}

/// The built library, and how its sections are asked for.
struct Library {
    file: PathBuf,
    sections: &'static str,
}

impl Library {
    fn of_this_machine(sh: &Shell, root: &Path, host: &str, devices: Devices) -> Result<Self> {
        let release = build_in_workspace(sh).args(["--test", "scenario"]);
        let llama = Artifacts::build(release)?.llama.context("nothing of the build is llama.cpp's")?;
        let (cargo, target) = (cargo(), target_folder(root));
        build(cmd!(sh, "{cargo}"), &target, host, &llama, devices.cargo_arguments())?;
        Ok(Self { file: target.join(PROFILE).join(file_name()), sections: "size" })
    }

    fn of_arm64(sh: &Shell, root: &Path, built: &Artifacts, devices: Devices) -> Result<Self> {
        let target = cross::arm64_folder(root, cross::Purpose::Size);
        let llama = built.llama.as_ref().context("nothing of the arm64 build is llama.cpp's")?;
        let cargo = cross::cargo_for_arm64(sh, root, cross::Purpose::Size);
        let arguments = [&["--target", cross::ARM64], devices.cargo_arguments()].concat();
        build(cargo, &target, cross::ARM64, llama, &arguments)?;
        let file = target.join(cross::ARM64).join(PROFILE).join("libnightgraft_ffi.so");
        Ok(Self { file, sections: "aarch64-linux-gnu-size" })
    }

    /// The size of the file, having printed what it consists of.
    fn measure(&self, sh: &Shell) -> Result<u64> {
        let Self { file, sections } = self;
        let bytes = fs::metadata(file).with_context(|| format!("no {}", file.display()))?.len();
        println!("{}: {bytes} bytes", file.display());
        if cfg!(target_os = "linux") && find(sections).is_some() {
            let table = cmd!(sh, "{sections} -A -d {file}").read()?;
            for (part, bytes) in sizes_by_purpose(&table) {
                println!("  {part:22} {bytes:>11}");
            }
        }
        Ok(bytes)
    }
}

/// Builds the small library without compiling llama.cpp again: a profile of its own would run the build script anew,
/// for minutes, and get the same code. `cargo_arguments` come last.
fn build(
    command: Cmd<'_>,
    target: &Path,
    triple: &str,
    llama: &LlamaBuild,
    cargo_arguments: &[&str],
) -> Result<()> {
    fs::create_dir_all(target)?;
    let configuration = target.join(format!("{PROFILE}-{triple}.toml"));
    fs::write(&configuration, llama.build_script_override(triple, true)?)?;
    let library = ["--lib", "--crate-type", "cdylib", "--package", "nightgraft-ffi"];
    let command = command.args(["rustc", "--profile", PROFILE, "--locked"]).args(library);
    let command = command.arg("--config").arg(configuration).args(cargo_arguments);
    timed(&format!("{PROFILE} for {triple}"), command)
}

fn file_name() -> &'static str {
    if cfg!(target_os = "macos") { "libnightgraft_ffi.dylib" } else { "libnightgraft_ffi.so" }
}

fn host(sh: &Shell) -> Result<String> {
    let rustc = rustc();
    let version = cmd!(sh, "{rustc} -vV").read()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not tell its host")?.to_owned())
}

/// Sizes by purpose, from `size -A -d`; what is not loaded from the file counts for nothing.
fn sizes_by_purpose(table: &str) -> Vec<(&'static str, u64)> {
    let mut sums: BTreeMap<&'static str, u64> = BTreeMap::new();
    for line in table.lines() {
        let mut words = line.split_whitespace();
        let (Some(section), Some(bytes)) = (words.next(), words.next()) else { continue };
        let (true, Ok(bytes)) = (section.starts_with('.'), bytes.parse::<u64>()) else { continue };
        let part = match section {
            ".text" | ".plt" | ".plt.got" | ".init" | ".fini" => "code",
            ".rodata" => "constants",
            ".eh_frame" | ".eh_frame_hdr" | ".gcc_except_table" => "unwinding",
            ".dynsym" | ".dynstr" | ".gnu.hash" | ".hash" | ".gnu.version" | ".gnu.version_r" => "names",
            ".bss" | ".tbss" => continue,
            relocation if relocation.starts_with(".rel") => "relocations",
            data if data.starts_with(".data") || data.starts_with(".got") => "data",
            _ => "other",
        };
        *sums.entry(part).or_default() += bytes;
    }
    sums.into_iter().collect()
}

/// The committed sizes.
struct SizeRecord {
    tolerance: f64,
    /// By target.
    bytes: BTreeMap<String, u64>,
}

struct Verdict {
    lines: Vec<String>,
    has_grown: bool,
}

impl SizeRecord {
    fn read(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).context("the record of sizes is not JSON")?;
        let tolerance = value["tolerance"].as_f64().context("the record of sizes has no tolerance")?;
        let entries = value["bytes"].as_object().context("the record of sizes has no bytes")?;
        let entries = entries.iter().map(|(target, bytes)| {
            Ok((target.clone(), bytes.as_u64().with_context(|| format!("{target} has no size"))?))
        });
        Ok(Self { tolerance, bytes: entries.collect::<Result<_>>()? })
    }

    /// The sizes in place of the old ones; those of targets that were not built stay.
    fn renewed(path: &Path, sizes: &BTreeMap<String, u64>) -> Result<Self> {
        let mut record = match fs::read_to_string(path) {
            Ok(text) => Self::read(&text)?,
            Err(_) => Self { tolerance: TOLERANCE, bytes: BTreeMap::new() },
        };
        record.bytes.extend(sizes.iter().map(|(target, bytes)| (target.clone(), *bytes)));
        Ok(record)
    }

    fn text(&self) -> String {
        let value = json!({ "profile": PROFILE, "tolerance": self.tolerance, "bytes": self.bytes });
        format!("{value:#}\n")
    }

    fn judge(&self, sizes: &BTreeMap<String, u64>) -> Verdict {
        let mut verdict = Verdict { lines: Vec::new(), has_grown: false };
        for (target, now) in sizes {
            let Some(before) = self.bytes.get(target) else {
                verdict.lines.push(format!("{target}: {now} bytes, none on record"));
                continue;
            };
            let change = *now as f64 / *before as f64 - 1.0;
            let note = if change > self.tolerance {
                verdict.has_grown = true;
                "too much"
            } else if change < -self.tolerance {
                "much less: record it with cargo xtask size --update"
            } else {
                "within the tolerance"
            };
            verdict
                .lines
                .push(format!("{target}: {now} bytes, {:+.2} % of {before}: {note}", change * 100.0));
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(entries: &[(&str, u64)]) -> BTreeMap<String, u64> {
        entries.iter().map(|(target, bytes)| ((*target).to_owned(), *bytes)).collect()
    }

    #[test]
    fn growth_fails_only_beyond_the_tolerance() {
        let record = SizeRecord { tolerance: 0.03, bytes: sizes(&[("here", 1000)]) };
        for (now, grown) in [(1000, false), (1029, false), (1031, true), (500, false)] {
            assert_eq!(record.judge(&sizes(&[("here", now)])).has_grown, grown, "{now}");
        }
        let unknown = record.judge(&sizes(&[("elsewhere", 1 << 40)]));
        assert!(!unknown.has_grown && unknown.lines[0].contains("none on record"), "{:?}", unknown.lines);
        assert!(record.judge(&sizes(&[("here", 900)])).lines[0].contains("--update"));
    }

    #[test]
    fn a_renewed_record_keeps_what_was_not_built() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("size.json");
        let first = SizeRecord::renewed(&path, &sizes(&[("here", 1), ("there", 2)])).expect("a new record");
        fs::write(&path, first.text()).expect("written");
        let second = SizeRecord::renewed(&path, &sizes(&[("here", 3)])).expect("it is well formed");
        let read = SizeRecord::read(&second.text()).expect("it is well formed");
        assert_eq!((read.bytes, read.tolerance), (sizes(&[("here", 3), ("there", 2)]), TOLERANCE));
        assert!(SizeRecord::read("{}").is_err());
        assert!(SizeRecord::read(r#"{"tolerance": 0.1, "bytes": {"here": -1}}"#).is_err());
    }

    #[test]
    fn sections_are_summed_by_purpose() {
        let table = "lib.so  :\nsection    size   addr\n.text   100   4096\n.plt   10   1\n.rodata   7   1\n\
                     .eh_frame   5   1\n.bss   999   1\n.rela.dyn   4   1\n.data.rel.ro   3   1\nTotal   1128\n";
        assert_eq!(
            sizes_by_purpose(table),
            [("code", 110), ("constants", 7), ("data", 3), ("relocations", 4), ("unwinding", 5)]
        );
    }
}
