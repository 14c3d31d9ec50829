//! `cargo xtask android`: the native library for Android's processors, and the archive around it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use xshell::{Cmd, Shell, cmd};

use crate::{
    kotlin::testing,
    ndk::Ndk,
    program::{Devices, cargo, find, has_target, rustc, shell, target_folder, timed},
};

/// One of Android's binary interfaces.
#[derive(Debug, PartialEq)]
struct Abi {
    /// Android's name of it, also of its folder in an archive.
    name: &'static str,
    /// Rust's name of it.
    triple: &'static str,
    /// What the kit's compilers begin with.
    clang: &'static str,
    /// Settings for the build of ggml.
    ggml: &'static [(&'static str, &'static str)],
}

const ABIS: &[Abi] = &[
    // ggml's own arm64 code is plain armv8-a unless GGML_CPU_ARM_ARCH says more; ours picks at run time.
    Abi { name: "arm64-v8a", triple: "aarch64-linux-android", clang: "aarch64-linux-android", ggml: &[] },
    Abi {
        name: "armeabi-v7a",
        triple: "armv7-linux-androideabi",
        clang: "armv7a-linux-androideabi",
        ggml: &[],
    },
    // ggml would take AVX2 for granted. Android promises SSE 4.2 only, and emulators give no more.
    Abi {
        name: "x86_64",
        triple: "x86_64-linux-android",
        clang: "x86_64-linux-android",
        ggml: &[
            ("GGML_AVX", "OFF"),
            ("GGML_AVX2", "OFF"),
            ("GGML_BMI2", "OFF"),
            ("GGML_F16C", "OFF"),
            ("GGML_FMA", "OFF"),
        ],
    },
];

/// Which arm64 processors ggml's code may ask for; only sensible for that one interface.
const ARM_ARCH: &str = "GGML_CPU_ARM_ARCH";

/// Devices with memory pages of 16 KiB load nothing that is aligned to less.
const PAGE: u64 = 16_384;

const PROFILE: &str = "small-release";
const LIBRARY: &str = "libnightgraft_ffi.so";
const PROJECT: &str = "android";
const ARCHIVE: &str = "android/nightgraft/build/outputs/aar/nightgraft-release.aar";

/// Builds the libraries of all interfaces, or of the named ones, and the archive unless that is not wanted.
pub fn run(root: &Path, names: &[String], devices: Devices, makes_archive: bool) -> Result<()> {
    let abis = selected_abis(names)?;
    let ndk = Ndk::find(&|name| env::var_os(name));
    let gradle = gradle(root);
    let missing =
        missing(&abis, &ndk, gradle.is_some() || !makes_archive, &|triple| has_target(&rustc(), triple));
    if !missing.is_empty() {
        bail!("the Android build needs what is not here:\n{}", missing.join("\n"));
    }
    let ndk = ndk?;
    let level = min_sdk(&fs::read_to_string(root.join("android/nightgraft/build.gradle.kts"))?)?;
    println!("NDK {} in {}, Android API {level}", ndk.revision(), ndk.folder().display());
    let sh = shell(root)?;
    for abi in &abis {
        timed(abi.name, abi.build(&sh, &ndk, level, devices))?;
        abi.install(&sh, root, &ndk)?;
    }
    testing::write_for_gradle(root)?;
    match gradle.filter(|_| makes_archive) {
        Some(gradle) => build_archive(&sh, root, &gradle),
        None => Ok(()),
    }
}

fn selected_abis(names: &[String]) -> Result<Vec<&'static Abi>> {
    if let Some(name) = names.iter().find(|name| ABIS.iter().all(|abi| abi.name != **name)) {
        let all: Vec<_> = ABIS.iter().map(|abi| abi.name).collect();
        bail!("'{name}' is none of {}", all.join(" "));
    }
    Ok(ABIS.iter().filter(|abi| names.is_empty() || names.iter().any(|name| name == abi.name)).collect())
}

/// What is not there and how to get it, a line each.
fn missing(
    abis: &[&Abi],
    ndk: &Result<Ndk>,
    has_gradle: bool,
    is_installed: &dyn Fn(&str) -> bool,
) -> Vec<String> {
    let mut missing = Vec::new();
    if let Err(why) = ndk {
        missing.push(format!("- the Android NDK: {why:#}"));
    }
    let absent: Vec<&str> =
        abis.iter().map(|abi| abi.triple).filter(|triple| !is_installed(triple)).collect();
    if !absent.is_empty() {
        let all = absent.join(" ");
        missing.push(format!("- Rust's standard library for {all}: rustup target add {all}"));
    }
    if find("cmake").is_none() {
        missing.push("- cmake: sdkmanager 'cmake;3.22.1', or this system's package".to_owned());
    }
    if !has_gradle {
        missing.push(
            "- Gradle: android/gradlew or `gradle` on the search path (https://gradle.org/install), with the Android \
             SDK in ANDROID_HOME; --no-archive builds the libraries without it"
                .to_owned(),
        );
    }
    missing
}

/// The wrapper if the project has one, else the installed Gradle.
fn gradle(root: &Path) -> Option<PathBuf> {
    let wrapper = root.join(PROJECT).join("gradlew");
    if wrapper.is_file() { Some(wrapper) } else { find("gradle") }
}

/// `minSdk` of the library, so that it is said in one place.
pub fn min_sdk(gradle: &str) -> Result<u32> {
    gradle
        .lines()
        .find_map(|line| line.trim().strip_prefix("minSdk")?.trim_start().strip_prefix('='))
        .and_then(|number| number.trim().parse().ok())
        .context("android/nightgraft/build.gradle.kts has no line `minSdk = NUMBER`")
}

impl Abi {
    fn build<'a>(&self, sh: &'a Shell, ndk: &Ndk, level: u32, devices: Devices) -> Cmd<'a> {
        let (cargo, target, features) = (cargo(), self.triple, devices.cargo_arguments());
        let library = ["--lib", "--package", "nightgraft-ffi"];
        let [c, cxx] = ["clang", "clang++"].map(|tool| ndk.compiler(self.clang, level, tool));
        let triple = target.replace('-', "_");
        let key = format!("CARGO_TARGET_{}", triple.to_uppercase());
        let build = cmd!(sh, "{cargo} build --profile {PROFILE} --locked {library...} --target {target}");
        let command = build
            .args(features)
            // The build script of llama-cpp-sys-2 finds the CMake toolchain file, the headers for the bindings and
            // the interface by these; an older kit in another variable must not win.
            .env("ANDROID_NDK", ndk.folder())
            .env("ANDROID_NDK_ROOT", ndk.folder())
            .env("ANDROID_API_LEVEL", level.to_string())
            .env("ANDROID_PLATFORM", format!("android-{level}"))
            // For C files that build scripts compile without CMake.
            .env(format!("CC_{triple}"), &c)
            .env(format!("CXX_{triple}"), cxx)
            .env(format!("AR_{triple}"), ndk.tool("llvm-ar"))
            .env(format!("RANLIB_{triple}"), ndk.tool("llvm-ranlib"))
            .env(format!("{key}_LINKER"), c)
            .env(format!("{key}_RUSTFLAGS"), format!("-Clink-arg=-Wl,-z,max-page-size={PAGE}"))
            // Flags for the machine that builds would take the place of the target's own.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .envs(self.ggml.iter().copied());
        if self.name == "arm64-v8a" { command } else { command.env_remove(ARM_ARCH) }
    }

    /// Copies the library to where Gradle looks, having made sure of its alignment.
    fn install(&self, sh: &Shell, root: &Path, ndk: &Ndk) -> Result<()> {
        let built = target_folder(root).join(self.triple).join(PROFILE).join(LIBRARY);
        let readelf = ndk.tool("llvm-readelf");
        let headers = cmd!(sh, "{readelf} --program-headers --wide {built}").read()?;
        let aligned = smallest_alignment(&headers)?;
        if aligned < PAGE {
            bail!(
                "{} is aligned to {aligned} bytes; devices with pages of {PAGE} cannot load it",
                built.display()
            );
        }
        let folder = root.join("android/nightgraft/src/main/jniLibs").join(self.name);
        fs::create_dir_all(&folder)?;
        let bytes = fs::copy(&built, folder.join(LIBRARY))
            .with_context(|| format!("cannot copy {}", built.display()))?;
        println!("{}: {bytes} bytes", folder.join(LIBRARY).display());
        Ok(())
    }
}

/// Finds the smallest alignment of all loaded segments in what `readelf --program-headers --wide` prints.
fn smallest_alignment(headers: &str) -> Result<u64> {
    let loaded = headers.lines().map(str::trim).filter(|line| line.starts_with("LOAD"));
    let alignments = loaded.map(|line| {
        let last = line.rsplit(' ').next().and_then(|word| word.strip_prefix("0x"));
        last.and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .with_context(|| format!("no alignment in '{line}'"))
    });
    alignments.collect::<Result<Vec<_>>>()?.into_iter().min().context("no segment is loaded")
}

fn build_archive(sh: &Shell, root: &Path, gradle: &Path) -> Result<()> {
    let archive = root.join(ARCHIVE);
    // An archive that is there afterwards is then the new one.
    if archive.exists() {
        fs::remove_file(&archive)?;
    }
    timed("archive", assemble(sh, gradle))?;
    let bytes =
        fs::metadata(&archive).with_context(|| format!("Gradle made no {}", archive.display()))?.len();
    println!("{}: {bytes} bytes", archive.display());
    Ok(())
}

fn assemble<'a>(sh: &'a Shell, gradle: &Path) -> Cmd<'a> {
    cmd!(sh, "{gradle} --project-dir {PROJECT} :nightgraft:assembleRelease")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::ndk::fake_ndk;

    fn variable(command: &Command, name: &str) -> Option<String> {
        let value = command.get_envs().find(|(key, _)| *key == name)?.1?;
        Some(value.to_string_lossy().into_owned())
    }

    fn abi(name: &str) -> &'static Abi {
        ABIS.iter().find(|abi| abi.name == name).expect("there is one")
    }

    #[test]
    fn the_build_has_the_kits_compilers_and_the_alignment() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let ndk = fake_ndk(&scratch.path().join("kit"), "27.2.12479018");
        let sh = shell(scratch.path()).expect("a shell");
        let command = Command::from(abi("arm64-v8a").build(&sh, &ndk, 26, Devices::Cpu));
        let compiler = ndk.compiler("aarch64-linux-android", 26, "clang").to_string_lossy().into_owned();
        assert!(compiler.ends_with("/bin/aarch64-linux-android26-clang"), "{compiler}");
        assert_eq!(variable(&command, "CC_aarch64_linux_android"), Some(compiler.clone()));
        assert_eq!(variable(&command, "CXX_aarch64_linux_android"), Some(format!("{compiler}++")));
        assert_eq!(variable(&command, "CARGO_TARGET_AARCH64_LINUX_ANDROID_LINKER"), Some(compiler));
        assert_eq!(
            variable(&command, "CARGO_TARGET_AARCH64_LINUX_ANDROID_RUSTFLAGS").as_deref(),
            Some("-Clink-arg=-Wl,-z,max-page-size=16384")
        );
        assert_eq!(variable(&command, "ANDROID_PLATFORM").as_deref(), Some("android-26"));
        assert_eq!(variable(&command, "ANDROID_NDK"), Some(ndk.folder().to_string_lossy().into_owned()));
        let arguments: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        assert!(
            arguments.join(" ").contains("--profile small-release --locked --lib --package nightgraft-ffi")
        );
        assert!(arguments.join(" ").ends_with("--target aarch64-linux-android --no-default-features"));
        let with_gpus = Command::from(abi("arm64-v8a").build(&sh, &ndk, 26, Devices::All));
        assert!(with_gpus.get_args().all(|word| word != "--no-default-features"));
    }

    #[test]
    fn only_arm64_hears_of_its_processors_and_only_x86_loses_avx() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let ndk = fake_ndk(&scratch.path().join("kit"), "27.2.12479018");
        let sh = shell(scratch.path()).expect("a shell");
        let removed = |name: &str| {
            let command = Command::from(abi(name).build(&sh, &ndk, 26, Devices::All));
            let gone = command.get_envs().any(|(key, value)| key == ARM_ARCH && value.is_none());
            (gone, variable(&command, "GGML_AVX2"))
        };
        assert_eq!(removed("arm64-v8a"), (false, None));
        assert_eq!(removed("armeabi-v7a"), (true, None));
        assert_eq!(removed("x86_64"), (true, Some("OFF".to_owned())));
    }

    #[test]
    fn what_is_missing_is_named_with_the_way_to_get_it() {
        let abis = selected_abis(&["armeabi-v7a", "arm64-v8a"].map(String::from)).expect("they exist");
        let lines =
            missing(&abis, &Ndk::find(&|_| None), false, &|triple| triple.starts_with("aarch64")).join("\n");
        assert!(lines.contains("ANDROID_NDK_HOME"), "{lines}");
        assert!(lines.contains("rustup target add armv7-linux-androideabi"), "{lines}");
        assert!(!lines.contains("aarch64-linux-android"), "{lines}");
        assert!(lines.contains("--no-archive"), "{lines}");
        assert!(selected_abis(&["mips".to_owned()]).is_err());
        assert_eq!(selected_abis(&[]).expect("all").len(), 3);
    }

    #[test]
    fn the_lowest_system_is_the_librarys_own() {
        assert_eq!(min_sdk("android {\n  defaultConfig {\n    minSdk = 26\n  }\n}").expect("it is said"), 26);
        assert!(min_sdk("minSdkPreview = \"x\"").is_err());
    }

    #[test]
    fn the_worst_segment_counts() {
        let headers = "Program Headers:\n  Type Offset\n  LOAD 0x000000 0x0 0x0 0x01000 0x01000 R   0x4000\n  \
                       LOAD 0x001000 0x0 0x0 0x01000 0x01000 R E 0x1000\n  DYNAMIC 0x1 0x1 0x1 0x1 0x1 RW 0x8\n";
        assert_eq!(smallest_alignment(headers).expect("two segments"), 0x1000);
        assert!(smallest_alignment("Program Headers:\n").is_err());
    }

    #[test]
    fn a_wrapper_comes_before_an_installed_gradle() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        fs::create_dir(scratch.path().join("android")).expect("a folder");
        fs::write(scratch.path().join("android/gradlew"), "").expect("a file");
        let gradle = gradle(scratch.path()).expect("it is there");
        assert_eq!(gradle, scratch.path().join("android/gradlew"));
        let sh = shell(scratch.path()).expect("a shell");
        assert!(
            assemble(&sh, &gradle)
                .to_string()
                .ends_with(" --project-dir android :nightgraft:assembleRelease")
        );
    }
}
