//! Hugging Face's own cache folder, shared with other programs: its place, its layout, and the token that is kept beside it.
//!
//! A file is kept once, under its sum, and each commit of a repository links to what it holds (huggingface.co/docs, "Understand
//! caching"). Locks and unfinished files have the names that `huggingface_hub` gives them.

use std::{
    env,
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{
    choose::choose,
    location::{Choice, Location, is_path},
};
use crate::fetch::{
    cache::{DiskError, path_in},
    checksum::{is_sha256, sha256},
};

/// The folder of one repository.
pub struct CachedRepository {
    folder: PathBuf,
    locks: PathBuf,
}

/// A file of the cache.
pub struct CachedFile {
    /// In the folder of a commit.
    pub path: PathBuf,
    /// The sum that it was downloaded with.
    pub sha256: Option<String>,
}

impl CachedRepository {
    /// The folder of this one in the cache that the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn of(location: &Location) -> Result<Self> {
        let cache = match path_in("HF_HUB_CACHE") {
            Some(folder) => folder,
            None => home()?.join("hub"),
        };
        let name = format!("models--{}", location.repository.replace('/', "--"));
        Ok(Self { folder: cache.join(&name), locks: cache.join(".locks").join(name) })
    }

    /// What of a choice is here, of the commit that was fetched last: a model's file, or all files of a split one.
    pub fn find(&self, choice: &Choice) -> Option<Vec<CachedFile>> {
        let snapshot = self.latest()?;
        let cached = |file: String| {
            let path = snapshot.join(file);
            let blob = fs::canonicalize(&path).ok()?;
            let name = blob.file_name().and_then(|name| name.to_str());
            Some(CachedFile { path, sha256: name.filter(|name| is_sha256(name)).map(str::to_owned) })
        };
        chosen(&snapshot, choice)?.into_iter().map(cached).collect()
    }

    /// The folder of the commit that was fetched last.
    pub fn latest(&self) -> Option<PathBuf> {
        let commit = fs::read_to_string(self.folder.join("refs/main")).ok()?;
        Some(self.folder.join("snapshots").join(Some(commit.trim()).filter(|commit| is_path(commit))?))
    }

    /// The folder of a commit.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Where the file of this sum is kept.
    pub fn blob(&self, sha256: &str) -> PathBuf {
        self.folder.join("blobs").join(sha256)
    }

    /// Where it is as long as it is unfinished.
    pub fn unfinished(&self, sha256: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{sha256}.incomplete"))
    }

    /// Whoever has it downloads that file.
    pub fn lock(&self, sha256: &str) -> PathBuf {
        self.locks.join(format!("{sha256}.lock"))
    }

    /// The folder of the files.
    ///
    /// # Errors
    /// [`DiskError`] if it cannot be made.
    pub fn blobs(&self) -> Result<PathBuf> {
        let folder = self.folder.join("blobs");
        fs::create_dir_all(&folder).map_err(DiskError::from_io("create", &folder))?;
        Ok(folder)
    }

    /// Links `file` of a commit to the file of that sum, and makes the commit the latest one.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn link(&self, commit: &str, file: &str, sha256: &str) -> Result<PathBuf> {
        let path = self.snapshot(commit).join(file);
        let folder = path.parent().context("a file lies in a folder")?;
        fs::create_dir_all(folder).map_err(DiskError::from_io("create", folder))?;
        if fs::symlink_metadata(&path).is_ok() {
            fs::remove_file(&path).map_err(DiskError::from_io("replace", &path))?;
        }
        let target = format!("{}../../blobs/{sha256}", "../".repeat(file.matches('/').count()));
        // Where there are no links, the file moves to where it is looked for.
        symlink(target, &path)
            .or_else(|_| fs::rename(self.blob(sha256), &path))
            .map_err(DiskError::from_io("create", &path))?;
        let refs = self.folder.join("refs");
        fs::create_dir_all(&refs).map_err(DiskError::from_io("create", &refs))?;
        let main = refs.join("main");
        fs::write(&main, commit).map_err(DiskError::from_io("write", &main))?;
        Ok(path)
    }
}

impl CachedFile {
    /// Whether its bytes have the sum that it was downloaded with.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn is_intact(&self) -> Result<bool> {
        Ok(self.sha256.as_deref() == Some(sha256(&self.path)?.as_str()))
    }
}

/// Puts a finished and checked file under its sum; it stays there through a power cut.
///
/// # Errors
/// [`DiskError`].
pub fn keep(unfinished: &Path, blob: &Path) -> Result<()> {
    fs::rename(unfinished, blob).map_err(DiskError::from_io("rename", unfinished))?;
    let folder = blob.parent().context("a file lies in a folder")?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(DiskError::from_io("write", folder))
}

/// Who asks: `HF_TOKEN`, else what `hf auth login` has kept.
///
/// # Errors
/// If it cannot be one.
pub fn token() -> Result<Option<String>> {
    let token = match env::var("HF_TOKEN") {
        Ok(token) if !token.trim().is_empty() => token,
        Err(env::VarError::NotUnicode(_)) => bail!("HF_TOKEN is no token: it is not text"),
        _ => {
            let path = path_in("HF_TOKEN_PATH").map_or_else(|| home().map(|home| home.join("token")), Ok)?;
            match fs::read_to_string(&path) {
                Ok(token) => token,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            }
        }
    };
    let token = token.trim();
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("HF_TOKEN, or what `hf auth login` has kept, is no token: no token has such characters");
    }
    Ok(Some(token.to_owned()).filter(|token| !token.is_empty()))
}

/// Where Hugging Face's programs keep their things.
fn home() -> Result<PathBuf> {
    if let Some(home) = path_in("HF_HOME") {
        return Ok(home);
    }
    if let Some(caches) = path_in("XDG_CACHE_HOME") {
        return Ok(caches.join("huggingface"));
    }
    match env::home_dir().filter(|home| !home.as_os_str().is_empty()) {
        Some(home) => Ok(home.join(".cache").join("huggingface")),
        None => bail!("no home folder is known; say where to keep models with HF_HOME=FOLDER"),
    }
}

/// The chosen files of those in a commit's folder, by their paths there.
fn chosen(snapshot: &Path, choice: &Choice) -> Option<Vec<String>> {
    let mut paths = Vec::new();
    collect(snapshot, "", &mut paths).ok()?;
    paths.sort();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    Some(choose(&paths, choice).ok()?.into_iter().map(str::to_owned).collect())
}

/// The paths of all files below a folder.
fn collect(folder: &Path, prefix: &str, paths: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn cached(folder: &Path) -> CachedRepository {
        CachedRepository { folder: folder.join("models--o--r"), locks: folder.join(".locks/models--o--r") }
    }

    #[test]
    fn what_is_linked_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let cached = cached(folder.path());
        let usual = Choice::Usual;
        assert!(cached.find(&usual).is_none());
        // sha256("abc")
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        fs::write(cached.blobs().unwrap().join("part"), "abc").unwrap();
        keep(&cached.blobs().unwrap().join("part"), &cached.blob(sum)).unwrap();
        let path = cached.link("0a1b", "sub/m-Q4_K_M.gguf", sum).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "abc");
        assert_eq!(path, folder.path().join("models--o--r/snapshots/0a1b/sub/m-Q4_K_M.gguf"));

        for choice in
            [&usual, &Choice::Quantization("q4_k_m".into()), &Choice::File("sub/m-Q4_K_M.gguf".into())]
        {
            let files = cached.find(choice).unwrap();
            let [file] = files.as_slice() else { unreachable!("the model is one file") };
            assert_eq!((&file.path, file.sha256.as_deref()), (&path, Some(sum)));
            assert!(file.is_intact().unwrap());
        }
        assert!(cached.find(&Choice::Quantization("Q8_0".into())).is_none());

        fs::write(cached.blob(sum), "abd").unwrap();
        assert!(!cached.find(&usual).unwrap()[0].is_intact().unwrap());
        // A later commit is the latest, also with the same file; what it does not have is not found.
        cached.link("ffff", "m-Q8_0.gguf", sum).unwrap();
        cached.link("ffff", "m-Q8_0.gguf", sum).unwrap();
        assert!(cached.find(&Choice::Quantization("Q4_K_M".into())).is_none());
        assert!(cached.find(&usual).unwrap()[0].path.ends_with("ffff/m-Q8_0.gguf"));
    }
}
