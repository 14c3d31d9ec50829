//! `cargo xtask ios`: static libraries for iPhones, for simulators and for Macs that test without one, and the XCFramework around
//! them.

pub mod release;

use std::{
    env::consts::OS,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use xshell::{Cmd, Shell, cmd};

use crate::{
    program::{Devices, cargo, find, has_target, rustc, shell, target_folder, timed},
    static_library::{AppleTarget, Functions, relink_for_apple},
};

/// A kind of machine that an XCFramework has one library for.
#[derive(Debug)]
struct Platform {
    /// What the Swift package calls its system.
    system: &'static str,
    /// What Clang calls it.
    clang_system: &'static str,
    /// The variable with the oldest version that compilers build for.
    oldest: &'static str,
    /// Apple's name of its SDK.
    sdk: &'static str,
    /// What Clang's name of a target ends with.
    environment: &'static str,
    /// Rust's name of each of its architectures, and Apple's.
    architectures: &'static [(&'static str, &'static str)],
}

const DEVICE: Platform = Platform {
    system: "iOS",
    clang_system: "ios",
    oldest: "IPHONEOS_DEPLOYMENT_TARGET",
    sdk: "iphoneos",
    environment: "",
    architectures: &[("aarch64-apple-ios", "arm64")],
};

const SIMULATOR: Platform = Platform {
    sdk: "iphonesimulator",
    environment: "-simulator",
    architectures: &[("aarch64-apple-ios-sim", "arm64"), ("x86_64-apple-ios", "x86_64")],
    ..DEVICE
};

const MAC: Platform = Platform {
    system: "macOS",
    clang_system: "macosx",
    oldest: "MACOSX_DEPLOYMENT_TARGET",
    sdk: "macosx",
    environment: "",
    architectures: &[("aarch64-apple-darwin", "arm64"), ("x86_64-apple-darwin", "x86_64")],
};

const PLATFORMS: &[Platform] = &[DEVICE, SIMULATOR, MAC];

const PROFILE: &str = "small-release";
const LIBRARY: &str = "libnightgraft_ffi.a";

/// Where the Swift package looks for it. It has no headers: the package's own C target has them, for all systems.
const FRAMEWORK: &str = "ios/Nightgraft.xcframework";

/// Builds everything, with `makes_release` the package of a release too.
pub fn run(root: &Path, devices: Devices, makes_release: bool) -> Result<()> {
    let missing = missing(OS, &|name| find(name).is_some(), &|triple| has_target(&rustc(), triple));
    if !missing.is_empty() {
        bail!("the iOS build needs what is not here:\n{}", missing.join("\n"));
    }
    let package = fs::read_to_string(root.join("ios/Package.swift"))?;
    let (sh, target, functions) = (shell(root)?, target_folder(root), Functions::read(root)?);
    let mut libraries = Vec::new();
    for platform in PLATFORMS {
        let deployment_target = deployment_target(&package, platform.system)?;
        for (triple, architecture) in platform.architectures {
            timed(triple, platform.build(&sh, triple, &deployment_target, devices)?)?;
            let built = target.join(triple).join(PROFILE).join(LIBRARY);
            let clang = platform.clang_target(architecture, &deployment_target);
            let apple = AppleTarget { sdk: platform.sdk, triple: &clang };
            relink_for_apple(&sh, &functions, &apple, &built, &relinked(&target, triple))?;
        }
        libraries.push(platform.universal_library(&sh, &target)?);
    }
    let framework = root.join(FRAMEWORK);
    // xcodebuild adds to what is there, and fails on the same platform twice.
    if framework.exists() {
        fs::remove_dir_all(&framework)?;
    }
    timed("XCFramework", create_xcframework(&sh, &libraries))?;
    println!("{}", framework.display());
    if makes_release { release::make(&sh, root, &framework, &target.join("ios-release")) } else { Ok(()) }
}

/// What is not there and how to get it, a line each.
fn missing(
    system: &str,
    is_there: &dyn Fn(&str) -> bool,
    is_installed: &dyn Fn(&str) -> bool,
) -> Vec<String> {
    let mut missing = Vec::new();
    if system != "macos" {
        missing.push(format!("- macOS: Apple's SDKs and linker run nowhere else, and this is {system}"));
    }
    for (program, how) in [
        ("xcodebuild", "Xcode from the App Store, then xcode-select --switch /Applications/Xcode.app"),
        ("lipo", "comes with Xcode"),
        ("cmake", "brew install cmake"),
    ] {
        if !is_there(program) {
            missing.push(format!("- {program}: {how}"));
        }
    }
    let triples = PLATFORMS.iter().flat_map(|platform| platform.architectures).map(|(triple, _)| *triple);
    let absent: Vec<&str> = triples.filter(|triple| !is_installed(triple)).collect();
    if !absent.is_empty() {
        let all = absent.join(" ");
        missing.push(format!("- Rust's standard library for {all}: rustup target add {all}"));
    }
    missing
}

/// `.iOS(.v16)` of the Swift package is `16.0`, so that it is said in one place.
fn deployment_target(package: &str, system: &str) -> Result<String> {
    let platform = package.split_once(&format!(".{system}(")).and_then(|(_, rest)| rest.split_once(')'));
    let (version, _) =
        platform.with_context(|| format!("ios/Package.swift names no platform .{system}(...)"))?;
    let version = version.trim();
    let numbers = version
        .strip_prefix(".v")
        .map_or_else(|| version.trim_matches('"').to_owned(), |version| version.replace('_', "."));
    let is_version =
        numbers.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_version {
        bail!("ios/Package.swift: '{version}' is no version of {system}");
    }
    Ok(if numbers.contains('.') { numbers } else { format!("{numbers}.0") })
}

impl Platform {
    fn build<'a>(
        &self,
        sh: &'a Shell,
        triple: &str,
        deployment_target: &str,
        devices: Devices,
    ) -> Result<Cmd<'a>> {
        let found = self.architectures.iter().find(|(name, _)| *name == triple);
        let (_, architecture) = found.with_context(|| format!("{triple} is none of {}", self.sdk))?;
        let cargo = cargo();
        let library = ["--lib", "--package", "nightgraft-ffi"];
        Ok(cmd!(sh, "{cargo} build --profile {PROFILE} --locked {library...} --target {triple}")
            .args(devices.cargo_arguments())
            // Read by rustc and by the build of C files.
            .env(self.oldest, deployment_target)
            // The build script of llama-cpp-sys-2 hands these to CMake, which would take the device's SDK also for
            // the simulator.
            .env("CMAKE_OSX_SYSROOT", self.sdk)
            .env("CMAKE_OSX_ARCHITECTURES", architecture)
            .env("CMAKE_OSX_DEPLOYMENT_TARGET", deployment_target)
            // A command buffer that is sent to the GPU from the background ends the app.
            .env("GGML_METAL", "OFF")
            // Flags and SDKs for the machine that builds would go into the phone's code.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("SDKROOT"))
    }

    /// Clang's name, which has the oldest system in it.
    fn clang_target(&self, architecture: &str, deployment_target: &str) -> String {
        format!("{architecture}-apple-{}{deployment_target}{}", self.clang_system, self.environment)
    }

    /// One library for all architectures.
    fn universal_library(&self, sh: &Shell, target: &Path) -> Result<PathBuf> {
        let built = self.relinked(target);
        let [several @ .., last] = built.as_slice() else { bail!("{} has no processors", self.sdk) };
        if several.is_empty() {
            return Ok(last.clone());
        }
        let output = target.join(self.sdk).join(LIBRARY);
        fs::create_dir_all(target.join(self.sdk))?;
        timed(self.sdk, lipo(sh, &built, &output))?;
        Ok(output)
    }

    fn relinked(&self, target: &Path) -> Vec<PathBuf> {
        self.architectures.iter().map(|(triple, _)| relinked(target, triple).join(LIBRARY)).collect()
    }
}

/// The folder of a library without its foreign names.
fn relinked(target: &Path, triple: &str) -> PathBuf {
    target.join(triple).join(PROFILE).join("relinked")
}

fn lipo<'a>(sh: &'a Shell, libraries: &[PathBuf], output: &Path) -> Cmd<'a> {
    cmd!(sh, "lipo -create {libraries...} -output {output}")
}

fn create_xcframework<'a>(sh: &'a Shell, libraries: &[PathBuf]) -> Cmd<'a> {
    let libraries = libraries.iter().flat_map(|library| [OsStr::new("-library"), library.as_os_str()]);
    cmd!(sh, "xcodebuild -create-xcframework {libraries...} -output {FRAMEWORK}")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn here() -> Shell {
        shell(Path::new("/")).expect("a shell")
    }

    #[test]
    fn a_simulator_is_built_with_its_own_sdk() {
        let sh = here();
        let command = SIMULATOR.build(&sh, "x86_64-apple-ios", "16.0", Devices::All).expect("it is one");
        let words = command.to_string();
        assert!(words.ends_with("--package nightgraft-ffi --target x86_64-apple-ios"), "{words}");
        let command = Command::from(command);
        let variable = |name: &str| {
            command
                .get_envs()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.map(|value| value.to_owned()))
        };
        assert_eq!(variable("CMAKE_OSX_SYSROOT"), Some(Some("iphonesimulator".into())));
        assert_eq!(variable("CMAKE_OSX_ARCHITECTURES"), Some(Some("x86_64".into())));
        assert_eq!(variable("IPHONEOS_DEPLOYMENT_TARGET"), Some(Some("16.0".into())));
        assert_eq!(variable("GGML_METAL"), Some(Some("OFF".into())));
        assert_eq!(variable("SDKROOT"), Some(None));
        assert!(DEVICE.build(&sh, "x86_64-apple-ios", "16.0", Devices::All).is_err());
        assert_eq!(SIMULATOR.clang_target("x86_64", "16.0"), "x86_64-apple-ios16.0-simulator");
        assert_eq!(DEVICE.clang_target("arm64", "16.0"), "arm64-apple-ios16.0");
        assert_eq!(MAC.clang_target("arm64", "14.0"), "arm64-apple-macosx14.0");
    }

    #[test]
    fn the_simulators_libraries_become_one_and_the_devices_stays() {
        let sh = here();
        let built = SIMULATOR.relinked(Path::new("/t"));
        assert_eq!(
            lipo(&sh, &built, Path::new("/t/iphonesimulator/libnightgraft_ffi.a")).to_string(),
            "lipo -create /t/aarch64-apple-ios-sim/small-release/relinked/libnightgraft_ffi.a \
             /t/x86_64-apple-ios/small-release/relinked/libnightgraft_ffi.a -output /t/iphonesimulator/libnightgraft_ffi.a"
        );
        assert_eq!(
            DEVICE.universal_library(&sh, Path::new("/t")).expect("nothing to join"),
            Path::new("/t/aarch64-apple-ios/small-release/relinked/libnightgraft_ffi.a")
        );
    }

    #[test]
    fn the_framework_has_each_library() {
        let sh = here();
        assert_eq!(
            create_xcframework(&sh, &["/t/device.a".into(), "/t/simulator.a".into()]).to_string(),
            "xcodebuild -create-xcframework -library /t/device.a -library /t/simulator.a \
             -output ios/Nightgraft.xcframework"
        );
    }

    #[test]
    fn what_is_missing_is_named_with_the_way_to_get_it() {
        let lines =
            missing("linux", &|name| name == "cmake", &|triple| triple == "x86_64-apple-ios").join("\n");
        assert!(lines.contains("macOS") && lines.contains("xcodebuild") && lines.contains("lipo"), "{lines}");
        let absent = "aarch64-apple-ios aarch64-apple-ios-sim aarch64-apple-darwin x86_64-apple-darwin";
        assert!(lines.ends_with(&format!("rustup target add {absent}")), "{lines}");
        assert!(!lines.contains("cmake"), "{lines}");
        assert!(missing("macos", &|_| true, &|_| true).is_empty());
    }

    #[test]
    fn the_lowest_system_is_the_packages_own() {
        let package = |version: &str| format!("platforms: [.macOS(.v13), .iOS({version})],");
        for (written, meant) in [(".v16", "16.0"), (".v15_4", "15.4"), ("\"17.2\"", "17.2")] {
            assert_eq!(deployment_target(&package(written), "iOS").expect("a version"), meant);
        }
        assert_eq!(deployment_target(&package(".v16"), "macOS").expect("a version"), "13.0");
        assert!(deployment_target(&package(".latest"), "iOS").is_err());
        assert!(deployment_target("platforms: [.macOS(.v13)]", "iOS").is_err());
    }
}
