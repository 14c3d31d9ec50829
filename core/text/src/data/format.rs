//! What kind a data file is of, by its name or because somebody said so.

use std::path::Path;

use strum::{EnumString, VariantNames};

use super::problem::DataProblem;
use crate::{Error, Result, SettingProblem};

/// How the bytes of a data file are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, EnumString, VariantNames)]
#[strum(parse_err_ty = Error, parse_err_fn = unknown_format)]
pub enum Format {
    /// One JSON object a line: `.jsonl`.
    #[strum(serialize = "jsonl")]
    JsonLines,
    /// Plain text: `.txt`.
    #[strum(serialize = "text")]
    Text,
}

/// What the name of a file tells of its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// The extension says it.
    Certain(Format),
    /// Nothing says it: a pipe or a device, as `/dev/stdin` and what a shell's `<(...)` stands for. Programs that write into
    /// one write JSON lines.
    Assumed(Format),
}

impl Format {
    /// How the file at `path` is read if nobody says it; JSON lines for a pipe.
    ///
    /// # Errors
    /// [`Error::Data`] if its name does not tell, [`Error::Io`] if there is no such file.
    pub fn of(path: &Path) -> Result<Self> {
        match Named::of(path)? {
            Named::Certain(format) | Named::Assumed(format) => Ok(format),
        }
    }
}

fn unknown_format(word: &str) -> Error {
    let problem = SettingProblem::UnknownWord { word: word.to_owned(), known: Format::VARIANTS };
    Error::Config { option: "--format", problem }
}

impl Named {
    pub(super) fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("txt") => return Ok(Self::Certain(Format::Text)),
            Some("jsonl") => return Ok(Self::Certain(Format::JsonLines)),
            Some("json") => {
                return Err(Error::Data { path: path.to_owned(), line: None, problem: DataProblem::Json });
            }
            _ => {}
        }
        let metadata = std::fs::metadata(path).map_err(Error::io("open", path))?;
        // A file that a shell passes as standard input has such a name, too.
        let is_device = ["/dev", "/proc"].iter().any(|folder| path.starts_with(folder));
        if !metadata.is_dir() && (is_device || !metadata.is_file()) {
            return Ok(Self::Assumed(Format::JsonLines));
        }
        Err(Error::Data { path: path.to_owned(), line: None, problem: DataProblem::UnknownKind })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_tell_the_format_and_pipes_hold_json_lines() {
        let of = |path: &str| Named::of(Path::new(path));
        assert_eq!(of("a.TXT").unwrap(), Named::Certain(Format::Text));
        assert_eq!(of("/dev/a.jsonl").unwrap(), Named::Certain(Format::JsonLines));
        assert_eq!(of("/dev/null").unwrap(), Named::Assumed(Format::JsonLines));
        let file = tempfile::NamedTempFile::new().unwrap();
        for odd in [file.path(), file.path().parent().unwrap()] {
            let error = Named::of(odd).unwrap_err();
            let is_named = matches!(&error, Error::Data { path, line: None, problem: DataProblem::UnknownKind } if path == odd);
            assert!(is_named, "{error}");
        }
        assert!(matches!(of("/nowhere/data").unwrap_err(), Error::Io(_)));
    }

    #[test]
    fn formats_are_words() {
        for format in [Format::JsonLines, Format::Text] {
            assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
        }
        assert_eq!(
            "json".parse::<Format>().unwrap_err().to_string(),
            "--format: 'json' is none of jsonl, text"
        );
    }
}
