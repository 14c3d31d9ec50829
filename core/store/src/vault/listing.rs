//! The content of a manifest: which files there are, and in which version.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::stamp::Stamp;

/// The files of a folder as they are after one change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// The number of the change. It grows with each, and no sealed file has a larger one.
    pub(super) counter: u64,
    /// The number of the listing that this one takes the place of; 0 for the first.
    pub(super) after: u64,
    /// By path from the folder, with `/` between its parts.
    pub(super) files: BTreeMap<String, Stamp>,
}

impl Listing {
    /// The files that differ between the two.
    pub(super) fn difference<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a str> {
        let names = self.files.keys().chain(other.files.keys());
        names.filter(|name| self.files.get(*name) != other.files.get(*name)).map(String::as_str).collect()
    }

    /// Notes that a file is there in this version, or not at all.
    pub(super) fn set(&mut self, name: &str, stamp: Option<Stamp>) {
        match stamp {
            Some(stamp) => drop(self.files.insert(name.to_owned(), stamp)),
            None => drop(self.files.remove(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Whoever changes what stands here raises the version of the store.
    #[test]
    fn the_format_stays_what_it_is() {
        let mut listing = Listing { counter: 7, after: 5, ..Listing::default() };
        listing.set("grafts/00000001.ngs", Some(Stamp::new(1234, [0xab; 16])));
        listing.set("current.ngs", Some(Stamp::new(9, [0; 16])));
        let json = serde_json::to_string(&listing).unwrap();
        let (zeros, tag) = ("0".repeat(32), "ab".repeat(16));
        let files = format!(r#"{{"current.ngs":[9,"{zeros}"],"grafts/00000001.ngs":[1234,"{tag}"]}}"#);
        assert_eq!(json, format!(r#"{{"counter":7,"after":5,"files":{files}}}"#));
        assert_eq!(serde_json::from_str::<Listing>(&json).unwrap(), listing);

        let mut other = listing.clone();
        assert!(listing.difference(&other).is_empty());
        other.set("current.ngs", None);
        other.set("usage.ngs", Some(Stamp::new(9, [0; 16])));
        assert_eq!(listing.difference(&other), ["current.ngs", "usage.ngs"].into());
    }
}
