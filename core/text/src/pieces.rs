//! A compact two-way map between the texts of a vocabulary and their ids.
//!
//! A vocabulary of 262,144 pieces takes about 6 MB this way, a fifth of what two hash maps of strings take.

use std::hash::{BuildHasher, RandomState};

/// The pieces of a vocabulary.
#[derive(Debug)]
pub(crate) struct Pieces {
    /// All texts, one after the other.
    texts: String,
    /// Where each text ends.
    ends: Vec<u32>,
    /// Open addressing: id + 1, or 0 for a free place. A power of two long, at most half full.
    table: Vec<u32>,
    hasher: RandomState,
}

impl Pieces {
    /// Maps the texts to their places in `texts`.
    ///
    /// # Errors
    /// The place of the first text that occurs a second time, or of the first that does not fit in 4 GiB.
    pub(crate) fn new<'a>(texts: impl ExactSizeIterator<Item = &'a str>) -> Result<Self, usize> {
        let n_places = (2 * texts.len()).next_power_of_two();
        let mut pieces = Self {
            texts: String::new(),
            ends: Vec::with_capacity(texts.len()),
            table: vec![0; n_places],
            hasher: RandomState::new(),
        };
        for (index, text) in texts.enumerate() {
            let place = match pieces.place(text) {
                (place, None) => place,
                (_, Some(_)) => return Err(index),
            };
            pieces.texts.push_str(text);
            pieces.ends.push(u32::try_from(pieces.texts.len()).map_err(|_| index)?);
            pieces.table[place] = u32::try_from(index + 1).map_err(|_| index)?;
        }
        pieces.texts.shrink_to_fit();
        Ok(pieces)
    }

    /// The id of a text.
    pub(crate) fn id(&self, text: &str) -> Option<u32> {
        self.place(text).1
    }

    /// The text of an id.
    pub(crate) fn text(&self, id: u32) -> Option<&str> {
        let index = id as usize;
        let end = *self.ends.get(index)? as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.texts.get(start..end)
    }

    /// The number of pieces.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Where the text stands in the table, or the free place where it would stand.
    fn place(&self, text: &str) -> (usize, Option<u32>) {
        let mask = self.table.len() - 1;
        let mut place = self.hasher.hash_one(text) as usize & mask;
        loop {
            match self.table[place] {
                0 => return (place, None),
                entry if self.text(entry - 1) == Some(text) => return (place, Some(entry - 1)),
                _ => place = (place + 1) & mask,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn texts_and_ids_map_both_ways() {
        let texts: Vec<String> = (0..1000).map(|n| format!("piece {n}")).collect();
        let pieces = Pieces::new(texts.iter().map(String::as_str)).unwrap();
        for (n, text) in texts.iter().enumerate() {
            assert_eq!(pieces.id(text), Some(n as u32));
            assert_eq!(pieces.text(n as u32), Some(text.as_str()));
        }
        assert_eq!(pieces.id("piece 1000"), None);
        assert_eq!(pieces.text(1000), None);
        assert_eq!(pieces.len(), 1000);
        assert_eq!(Pieces::new(["a", "b", "a"].into_iter()).unwrap_err(), 2);
        assert_eq!(Pieces::new([].into_iter()).unwrap().id("a"), None);
    }
}
