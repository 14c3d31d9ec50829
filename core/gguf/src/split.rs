//! Models in several files, as `llama-gguf-split` of llama.cpp makes them: how the files are named, and what they say of themselves.
//!
//! All keys of the model are in the first file. Every file has three keys of its own besides: `split.no`, its number from 0 on,
//! `split.count`, how many files there are, and `split.tensors.count`, how many tensors they have together.

use super::{Metadata, Value};

/// The keys of a part.
const KEYS: [&str; 3] = ["split.no", "split.count", "split.tensors.count"];
/// `-00001-of-00003.gguf`
const SUFFIX_LEN: usize = 20;

/// Which part of a model a file is, by its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitPart {
    /// Its number, from 1; none if it does not say so, or it is larger than `count`.
    pub number: Option<u64>,
    /// How many there are, more than one.
    pub count: u64,
    /// How many tensors they have together, if it says so.
    pub n_tensors: Option<u64>,
}

impl SplitPart {
    /// What the keys of a file say; none for a whole model.
    pub fn of(metadata: &Metadata) -> Option<Self> {
        let [number, count, n_tensors] = KEYS.map(|key| metadata.u64(key));
        let count = count.filter(|&count| count > 1)?;
        let number = number.filter(|&number| number < count).map(|number| number + 1);
        Some(Self { number, count, n_tensors })
    }

    /// The keys of a file that is this part.
    pub fn describe(&self, metadata: &mut Metadata) {
        let small = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
        let tensors = self.n_tensors.and_then(|n| i32::try_from(n).ok()).unwrap_or(i32::MAX);
        let number = self.number.unwrap_or(1).saturating_sub(1);
        let values = [Value::U16(small(number)), Value::U16(small(self.count)), Value::I32(tensors)];
        for (key, value) in KEYS.into_iter().zip(values) {
            metadata.insert(key, value);
        }
    }

    /// Takes what a file says of its part out of its keys: those of the model are left.
    pub fn remove_keys(metadata: &mut Metadata) {
        metadata.remove(&KEYS);
    }
}

/// The name of a part's file, `NAME-00001-of-00003.gguf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitName<'a> {
    /// What is in front of the numbers.
    pub name: &'a str,
    /// The number of the part, from 1.
    pub number: u64,
    /// How many there are, more than one.
    pub count: u64,
}

impl<'a> SplitName<'a> {
    /// Takes the name of a file, with or without folders, apart; none for the name of a whole model's file.
    pub fn parse(file: &'a str) -> Option<Self> {
        let (name, suffix) = file.split_at_checked(file.len().checked_sub(SUFFIX_LEN)?)?;
        let (number, count) = suffix.strip_prefix('-')?.strip_suffix(".gguf")?.split_once("-of-")?;
        let parse = |digits: &str| match digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit())
        {
            true => digits.parse().ok(),
            false => None,
        };
        let (number, count) = (parse(number)?, parse(count)?);
        (count > 1 && (1..=count).contains(&number)).then_some(Self { name, number, count })
    }

    /// The name of another part's file.
    pub fn with_number(&self, number: u64) -> String {
        format!("{}-{number:05}-of-{:05}.gguf", self.name, self.count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_of_a_part_read_back_and_go() {
        let mut metadata = Metadata::new();
        metadata.insert("general.name", Value::String("m".into()));
        let whole = metadata.clone();
        let part = SplitPart { number: Some(2), count: 3, n_tensors: Some(290) };
        part.describe(&mut metadata);
        assert_eq!(SplitPart::of(&metadata), Some(part));
        assert_eq!(metadata.u64("split.no"), Some(1));
        SplitPart::remove_keys(&mut metadata);
        assert_eq!(metadata, whole);
        assert_eq!(metadata.string("general.name"), Some("m"));
    }

    #[test]
    fn what_is_split_into_one_file_is_whole() {
        let of = |entries: &[(&str, Value)]| {
            let mut metadata = Metadata::new();
            for (key, value) in entries {
                metadata.insert(*key, value.clone());
            }
            SplitPart::of(&metadata)
        };
        let (no, count) = ("split.no", "split.count");
        for whole in
            [of(&[]), of(&[(count, Value::U16(0))]), of(&[(no, Value::U16(0)), (count, Value::U16(1))])]
        {
            assert_eq!(whole, None);
        }
        let lost = Some(SplitPart { number: None, count: 2, n_tensors: None });
        assert_eq!(of(&[(no, Value::U16(9)), (count, Value::U16(2))]), lost);
        assert_eq!(of(&[(count, Value::I32(2))]), lost);
    }

    #[test]
    fn names_read_back() {
        let name = SplitName::parse("a/m-q8_0-00002-of-00003.gguf").unwrap();
        assert_eq!(name, SplitName { name: "a/m-q8_0", number: 2, count: 3 });
        assert_eq!(name.with_number(1), "a/m-q8_0-00001-of-00003.gguf");
        for other in [
            "m.gguf",
            "",
            "m-00001-of-00001.gguf",
            "m-00000-of-00002.gguf",
            "m-00003-of-00002.gguf",
            "m-0001-of-00002.gguf",
            "m-+0001-of-00002.gguf",
            "m-00001-of-00002.GGUF",
            "m_00001-of-00002.gguf",
            "é-00001-of-0002.gguf",
        ] {
            assert_eq!(SplitName::parse(other), None, "{other}");
        }
    }
}
