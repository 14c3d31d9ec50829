//! `cargo xtask symbols`: the static library shows the functions that apps call and nothing else, and links beside another ggml.
//! Tried with the library for Linux, which is made like that of iPhones but for the linker.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use xshell::{Cmd, Shell, cmd};

use crate::{
    artifacts::{Artifacts, LlamaBuild},
    program::{build_in_workspace, shell, skip_unless_ci},
    static_library::{Functions, globals, relink_for_linux},
};

const LIBRARY: &str = "libnightgraft_ffi.a";

/// Builds the library, relinks it, counts its global names and links a program with it and llama.cpp's own libraries.
///
/// # Errors
/// The names that do not belong there, or the linker's message.
pub fn run(root: &Path) -> Result<()> {
    if !cfg!(target_os = "linux") {
        return skip_unless_ci(
            "the count of global names",
            "cargo xtask ios counts them for Apple's systems",
        );
    }
    let sh = shell(root)?;
    let built = Artifacts::build(build_in_workspace(&sh).args(["--test", "scenario"]))?;
    let library =
        built.files.iter().find(|file| file.ends_with(LIBRARY)).context("no static library was built")?;
    let llama = built.llama.as_ref().context("nothing of the build is llama.cpp's")?;
    let functions = Functions::read(root)?;
    let scratch = tempfile::tempdir()?;

    let relinked = relink_for_linux(&sh, &functions, library, scratch.path())?;
    functions.check_globals(&globals(&sh, &relinked)?)?;
    println!(
        "{} functions and 0 foreign names are global, of {} before",
        functions.names().count(),
        globals(&sh, library)?.len()
    );

    let program = Program::write(scratch.path(), &functions)?;
    program.link(&sh, &relinked, llama)?.run().context("the library does not link beside another ggml")?;
    let file = &program.file;
    cmd!(sh, "{file}").run().context("a program with another ggml does not start")?;
    let clash = program.link(&sh, library, llama)?.ignore_status().quiet().output()?;
    let complaint = String::from_utf8_lossy(&clash.stderr).matches("multiple definition of").count();
    ensure!(
        !clash.status.success() && complaint > 0,
        "the library as cargo builds it was expected not to link"
    );
    println!("it links beside another ggml; before, {complaint} names were there twice");
    Ok(())
}

/// A program that calls all functions of ours, and has all of another ggml in it.
struct Program {
    source: PathBuf,
    file: PathBuf,
}

impl Program {
    fn write(folder: &Path, functions: &Functions) -> Result<Self> {
        let program = Self { source: folder.join("program.c"), file: folder.join("program") };
        let declarations: String = functions.names().map(|name| format!("void {name}(void);\n")).collect();
        let addresses: Vec<_> = functions.names().collect();
        fs::write(
            &program.source,
            format!(
                "{declarations}void *ggml_init(void *);\nvoid (*const functions[])(void) = {{ {} }};\n\
                 int main(void) {{ return functions[0] == 0 || ggml_init == 0; }}\n",
                addresses.join(", ")
            ),
        )?;
        Ok(program)
    }

    /// `library` comes before ggml's own libraries, which are taken whole.
    fn link<'a>(&self, sh: &'a Shell, library: &Path, llama: &LlamaBuild) -> Result<Cmd<'a>> {
        let Self { source, file } = self;
        // Both are `KIND=VALUE`, or the value alone.
        let value = |text: &String| text.rsplit('=').next().unwrap_or(text).to_owned();
        let folders: Vec<_> = llama.search_paths.iter().map(|path| format!("-L{}", value(path))).collect();
        let own = llama.libraries.iter().filter(|name| name.starts_with("static=ggml"));
        let own: Vec<_> = own.map(|name| format!("-l{}", value(name))).collect();
        ensure!(!own.is_empty(), "llama.cpp's build has left no static library of ggml's");
        Ok(cmd!(
            sh,
            "c++ -x c {source} -x none {library} {folders...} -Wl,--whole-archive {own...} -Wl,--no-whole-archive -lm -ldl -lpthread -o {file}"
        ))
    }
}
