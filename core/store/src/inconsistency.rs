//! How a file that is valid may be another one than the store wrote last.

/// How a file of a store differs from what the store wrote last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum Inconsistency {
    /// An earlier version of it is in its place.
    #[strum(to_string = "it is not what the store wrote last, an earlier version of it was put in its place")]
    Earlier,
    /// It was removed, and is there again.
    #[strum(to_string = "the store had removed it, and it was put back")]
    PutBack,
    /// It is gone.
    #[strum(to_string = "it is missing")]
    Missing,
    /// It is the manifest, and files that it lists are newer.
    #[strum(to_string = "it is older than the store's files, an earlier version of it was put back")]
    EarlierManifest,
}
