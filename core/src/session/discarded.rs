//! What an earlier run or session left, and is of no use any more: nothing of it goes without a word.

use std::fmt;
use std::path::PathBuf;

use nightgraft_store::{CheckpointProblem, Error as StoreError, FileProblem, GraftId};
use serde::{Serialize, Serializer};

use crate::error::SessionChange;

/// Something that was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    /// One checkpoint.
    Checkpoint(PathBuf),
    /// All checkpoints of a run.
    Checkpoints,
    /// The session's plan; its checkpoints stay.
    Plan,
    /// The plan, the checkpoints and what was measured.
    Session,
    /// What the quality gate had measured.
    Measurements,
    /// What was drawn to be held out; what the grafts have passed over still is.
    HeldOut,
    /// A graft that a session would have started from.
    Start(GraftId),
}

/// Why it is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscardReason {
    /// It is not what was once written.
    Damaged {
        /// Which file it is.
        path: PathBuf,
        /// How that shows.
        problem: FileProblem,
    },
    /// It is encrypted, and not with the key at hand.
    OtherKey {
        /// Which file it is.
        path: PathBuf,
    },
    /// It cannot be read, for the reason that the store gives.
    Unreadable(String),
    /// The graft is not what was once written, so that the session starts from the base model instead.
    DamagedStart {
        /// How that shows.
        problem: FileProblem,
    },
    /// It is of another run.
    OtherRun(CheckpointProblem),
    /// Examples that it learned from were deleted.
    ExamplesDeleted,
    /// The graft that it started from is gone, or saw an example that was deleted.
    LostStart,
    /// What was asked for is another session, and to begin it anew.
    Changed {
        /// What differs.
        what: SessionChange,
    },
    /// Its session is over.
    Over,
    /// Another adapter, or other examples, were measured.
    OtherSubject,
    /// To start anew was asked for.
    Asked,
}

impl From<&StoreError> for DiscardReason {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Checkpoint { problem, .. } if problem.is_of_another_run() => {
                Self::OtherRun(problem.clone())
            }
            StoreError::Corrupted { path, problem } => {
                Self::Damaged { path: path.clone(), problem: problem.clone() }
            }
            StoreError::WrongKey { path } => Self::OtherKey { path: path.clone() },
            error => Self::Unreadable(error.to_string()),
        }
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint(path) => write!(f, "the checkpoint {}", path.display()),
            Self::Checkpoints => f.write_str("the checkpoints of an earlier run"),
            Self::Plan => f.write_str("the session's plan"),
            Self::Session => f.write_str("the session that was under way"),
            Self::Measurements => f.write_str("what the quality gate had measured"),
            Self::HeldOut => f.write_str("the list of examples that were drawn to be held out"),
            Self::Start(id) => write!(f, "graft {id}"),
        }
    }
}

impl fmt::Display for DiscardReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { path, problem } => {
                let (path, problem) = (path.clone(), problem.clone());
                write!(f, "{}", StoreError::Corrupted { path, problem })
            }
            Self::OtherKey { path } => write!(f, "{}", StoreError::WrongKey { path: path.clone() }),
            Self::Unreadable(why) => f.write_str(why),
            Self::DamagedStart { problem } => {
                write!(f, "{problem}; the session starts from the base model, and learns all examples anew")
            }
            Self::OtherRun(problem) => f.write_str(problem.what().as_str()),
            Self::ExamplesDeleted => f.write_str("examples that it learned from were deleted"),
            Self::LostStart => {
                f.write_str("the graft that it started from is gone, or saw an example that was deleted")
            }
            Self::Changed { what } => write!(f, "{what}"),
            Self::Over => f.write_str("it is over"),
            Self::OtherSubject => f.write_str("it is of another adapter or of other examples"),
            Self::Asked => f.write_str("to start anew was asked for"),
        }
    }
}

impl Serialize for Leftover {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for DiscardReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
