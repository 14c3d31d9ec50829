//! Names of the Hub, as people type them.

use std::fmt;

use crate::failure::UsageError;

/// A GGUF file of a repository, or the way to choose one.
#[derive(Debug, PartialEq)]
pub struct Location {
    /// `OWNER/REPO`.
    pub repository: String,
    pub choice: Choice,
}

/// Which of a repository's files is meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// The one of this path.
    File(String),
    /// One whose name has this quantization, in whatever case.
    Quantization(String),
    /// One that suits most.
    Usual,
}

impl Location {
    /// Takes `OWNER/REPO`, `OWNER/REPO:QUANT` or `OWNER/REPO/FILE.gguf` apart; `hf:` may stand before it, and `quant` beside.
    pub fn parse(name: &str, quant: Option<&str>) -> Result<Self, UsageError> {
        let refuse = |problem: &str| Err(UsageError(format!("{name}: {problem}")));
        let shape = "give OWNER/REPO, OWNER/REPO:QUANT or OWNER/REPO/FILE.gguf";
        let mut parts = name.strip_prefix("hf:").unwrap_or(name).splitn(3, '/');
        let (Some(owner), Some(rest), file) = (parts.next(), parts.next(), parts.next()) else {
            return refuse(shape);
        };
        let (repo, tag) = match rest.split_once(':') {
            Some((repo, tag)) => (repo, Some(tag)),
            None => (rest, None),
        };
        if !is_name(owner) || !is_name(repo) || is_gguf(repo) {
            return refuse(shape);
        }
        let choice = match (file, tag.or(quant)) {
            (Some(file), None) if is_gguf(file) && is_path(file) => Choice::File(file.to_owned()),
            (Some(file), None) if is_path(file) => return refuse("only .gguf files can be used"),
            (Some(_), None) => return refuse(shape),
            (Some(_), Some(_)) => return refuse("a file and a quantization; give one of them"),
            (None, Some(_)) if tag.is_some() && quant.is_some() => {
                return refuse("a quantization in the name and with --quant; give one of them");
            }
            (None, Some("")) => return refuse("the quantization is missing, as in OWNER/REPO:Q8_0"),
            (None, Some(quantization)) => Choice::Quantization(quantization.to_owned()),
            (None, None) => Choice::Usual,
        };
        Ok(Self { repository: format!("{owner}/{repo}"), choice })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.choice {
            Choice::File(file) => write!(f, "{file} of {}", self.repository),
            Choice::Quantization(quantization) => write!(f, "{}:{quantization}", self.repository),
            Choice::Usual => f.write_str(&self.repository),
        }
    }
}

/// Whether it names a GGUF file.
pub fn is_gguf(path: &str) -> bool {
    path.to_ascii_lowercase().ends_with(".gguf")
}

/// Whether it is a path that stays in its folder, and can be shown.
pub fn is_path(path: &str) -> bool {
    let is_part = |part: &str| {
        !matches!(part, "" | "." | "..") && !part.contains(|c: char| c == '\\' || c.is_control())
    };
    path.split('/').all(is_part)
}

/// Names of owners and repositories have these characters, whatever a server says.
fn is_name(name: &str) -> bool {
    is_path(name) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let parsed = |name, quant| Location::parse(name, quant).unwrap();
        let location = |choice| Location { repository: "o/r.1".to_owned(), choice };
        let quantization = || location(Choice::Quantization("q8_0".to_owned()));
        assert_eq!(parsed("o/r.1", None), location(Choice::Usual));
        assert_eq!(parsed("hf:o/r.1", None), location(Choice::Usual));
        assert_eq!(parsed("o/r.1:q8_0", None), quantization());
        assert_eq!(parsed("o/r.1", Some("q8_0")), quantization());
        assert_eq!(parsed("o/r.1/a.gguf", None), location(Choice::File("a.gguf".to_owned())));
        assert_eq!(parsed("hf:o/r.1/sub/a.GGUF", None), location(Choice::File("sub/a.GGUF".to_owned())));
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_right_one() {
        let refusal = |name, quant| Location::parse(name, quant).unwrap_err().0;
        for name in
            ["", "o", "o/", "/r", "o/a.gguf", "o/../a.gguf", "o/r/", "o/r//a.gguf", "o/r/../a.gguf", "o o/r"]
        {
            assert!(refusal(name, None).contains("OWNER/REPO/FILE.gguf"), "{name}: {}", refusal(name, None));
        }
        assert_eq!(refusal("o/r/a.bin", None), "o/r/a.bin: only .gguf files can be used");
        assert!(refusal("o/r:", None).contains("OWNER/REPO:Q8_0"));
        assert!(refusal("o/r:Q8_0", Some("Q4_0")).contains("--quant"));
        assert!(refusal("o/r/a.gguf", Some("Q4_0")).contains("give one of them"));
    }
}
