//! The static library of the bindings with nothing global in it but the functions that apps call. All else, llama.cpp's names above
//! all, is local to it: an app may have whisper.cpp, another llama.cpp or another library of Rust's beside it.
//!
//! The linker joins all that those functions need into one object, and keeps only their names.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use xshell::{Cmd, Shell, cmd};

/// What uniffi declares for Swift.
const HEADER: &str = "ios/Sources/NightgraftFFI/include/NightgraftFFI.h";

/// The functions that apps call.
pub struct Functions(BTreeSet<String>);

impl Functions {
    /// Those that the header of the bindings declares.
    pub fn read(root: &Path) -> Result<Self> {
        let header = root.join(HEADER);
        let text =
            fs::read_to_string(&header).with_context(|| format!("cannot read {}", header.display()))?;
        let functions = Self::parse(&text);
        ensure!(!functions.0.is_empty(), "{} declares no function", header.display());
        Ok(functions)
    }

    fn parse(header: &str) -> Self {
        // The word before each parenthesis.
        let words = header
            .split('(')
            .filter_map(|text| text.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next());
        let is_ours = |word: &&str| ["uniffi_", "ffi_"].iter().any(|prefix| word.starts_with(prefix));
        Self(words.filter(is_ours).map(str::to_owned).collect())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Fails if a library lacks one of them, or shows anything else.
    pub fn check_globals(&self, globals: &BTreeSet<String>) -> Result<()> {
        let missing: Vec<_> = self.0.difference(globals).collect();
        ensure!(missing.is_empty(), "the library lacks {} functions: {missing:?}", missing.len());
        let foreign: Vec<_> = globals.difference(&self.0).collect();
        ensure!(foreign.is_empty(), "the library shows {} foreign names: {foreign:?}", foreign.len());
        Ok(())
    }

    /// A list for a linker, a name on each line.
    fn write_list(&self, file: &Path, prefix: &str) -> Result<()> {
        let lines: String = self.names().map(|name| format!("{prefix}{name}\n")).collect();
        fs::write(file, lines).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// The names that a library for Linux defines for others.
pub fn globals(sh: &Shell, library: &Path) -> Result<BTreeSet<String>> {
    let listing = cmd!(sh, "nm --defined-only --extern-only {library}").quiet().ignore_stderr().read()?;
    Ok(parse_globals(&listing, ""))
}

/// Writes to `folder` the library for Linux without its other names; its path.
pub fn relink_for_linux(sh: &Shell, functions: &Functions, library: &Path, folder: &Path) -> Result<PathBuf> {
    let files = Files::prepare(library, folder)?;
    functions.write_list(&files.list, "")?;
    let Files { list, object, library: output } = &files;
    let roots: Vec<_> = functions.names().map(|name| format!("--undefined={name}")).collect();
    // C++ puts what several objects may define into groups, of which the linker takes one by its name. Groups whose names have
    // become local would be taken all the same, for those of another library.
    let linker =
        cmd!(sh, "ld --relocatable --force-group-allocation {roots...} {library} -o {object}").quiet();
    linker.run().context("cannot join the library's objects")?;
    // Names that GNU's C++ wants to be one in a process are left alone below, unless they are weak by then. Bitcode of one object
    // behind that of another is none, and ends LLVM's plugin for archivers.
    let bitcode = ["--remove-section=.llvmbc", "--remove-section=.llvmcmd"];
    cmd!(sh, "objcopy --wildcard --weaken-symbol=_Z* {bitcode...} {object}").run()?;
    cmd!(sh, "objcopy --keep-global-symbols={list} {object}").run()?;
    cmd!(sh, "ar rcs {output} {object}").run()?;
    Ok(output.clone())
}

/// A kind of Apple's machines, as the linker wants to know it.
pub struct AppleTarget<'a> {
    /// Apple's name of the SDK.
    pub sdk: &'a str,
    /// Clang's name of the target, with the oldest system in it.
    pub triple: &'a str,
}

/// Writes to `folder` the library for an Apple system without its other names; its path.
pub fn relink_for_apple(
    sh: &Shell,
    functions: &Functions,
    target: &AppleTarget<'_>,
    library: &Path,
    folder: &Path,
) -> Result<PathBuf> {
    let files = Files::prepare(library, folder)?;
    functions.write_list(&files.list, "_")?;
    link_for_apple(sh, functions, target, library, &files)
        .quiet()
        .run()
        .context("cannot join the library's objects")?;
    let Files { object, library: output, .. } = &files;
    let sdk = target.sdk;
    cmd!(sh, "xcrun --sdk {sdk} libtool -static -o {output} {object}").run()?;
    let names = cmd!(sh, "xcrun --sdk {sdk} nm -gU {output}").quiet().read()?;
    functions.check_globals(&parse_globals(&names, "_"))?;
    Ok(output.clone())
}

/// A relocatable link makes all that is not on the list local.
fn link_for_apple<'a>(
    sh: &'a Shell,
    functions: &Functions,
    AppleTarget { sdk, triple }: &AppleTarget<'_>,
    library: &Path,
    Files { list, object, .. }: &Files,
) -> Cmd<'a> {
    let roots: Vec<_> = functions.names().map(|name| format!("-Wl,-u,_{name}")).collect();
    cmd!(
        sh,
        "xcrun --sdk {sdk} clang -target {triple} -r -nostdlib -Wl,-exported_symbols_list,{list} {roots...} {library} -o {object}"
    )
}

/// What a relinking writes.
struct Files {
    list: PathBuf,
    object: PathBuf,
    library: PathBuf,
}

impl Files {
    fn prepare(library: &Path, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let name = library.file_name().context("a library is a file")?;
        let files = Self {
            list: folder.join("functions.txt"),
            object: folder.join("nightgraft.o"),
            library: folder.join(name),
        };
        // An archiver adds to what is there.
        if files.library.exists() {
            fs::remove_file(&files.library)?;
        }
        Ok(files)
    }
}

/// The names of lines such as `0000000000000040 T name`.
fn parse_globals(listing: &str, prefix: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let [_address, _kind, name] = line.split_whitespace().collect::<Vec<_>>()[..] else { return None };
        Some(name.strip_prefix(prefix).unwrap_or(name).to_owned())
    };
    listing.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::program::shell;

    const HEADER: &str = "#define UNIFFI_FFIDEF_X\ntypedef void (*UniffiForeign)(uint64_t, int8_t);\n\
                          RustBuffer ffi_n_rustbuffer_alloc(uint64_t size\n);\nvoid*_Nonnull uniffi_n_fn_open(RustBuffer path);\n";

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_headers_functions_are_all_that_may_be_global() {
        let functions = Functions::parse(HEADER);
        assert_eq!(functions.0, set(&["ffi_n_rustbuffer_alloc", "uniffi_n_fn_open"]));
        let listing =
            "lib.a(x.o):\n0000000000000010 T _uniffi_n_fn_open\n0000000000000020 D _ffi_n_rustbuffer_alloc\n";
        functions.check_globals(&parse_globals(listing, "_")).unwrap();
        let foreign = set(&["ffi_n_rustbuffer_alloc", "uniffi_n_fn_open", "ggml_init"]);
        assert!(
            functions
                .check_globals(&foreign)
                .unwrap_err()
                .to_string()
                .contains("1 foreign names: [\"ggml_init\"]")
        );
        assert!(functions.check_globals(&set(&["uniffi_n_fn_open"])).is_err());
    }

    #[test]
    fn apples_linker_is_told_the_target_and_each_function() {
        let sh = shell(Path::new("/")).unwrap();
        let files =
            Files { list: "/t/functions.txt".into(), object: "/t/n.o".into(), library: "/t/lib.a".into() };
        let target = AppleTarget { sdk: "iphonesimulator", triple: "arm64-apple-ios17.0-simulator" };
        let command = link_for_apple(&sh, &Functions::parse(HEADER), &target, Path::new("/b/lib.a"), &files);
        assert_eq!(
            command.to_string(),
            "xcrun --sdk iphonesimulator clang -target arm64-apple-ios17.0-simulator -r -nostdlib \
             -Wl,-exported_symbols_list,/t/functions.txt -Wl,-u,_ffi_n_rustbuffer_alloc -Wl,-u,_uniffi_n_fn_open /b/lib.a -o /t/n.o"
        );
    }
}
