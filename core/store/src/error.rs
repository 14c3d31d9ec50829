//! Why a file of a store, or a checkpoint, cannot be read or written.

use std::fmt;
use std::path::{Path, PathBuf};

use super::file_problem::FileProblem;
use super::inconsistency::Inconsistency;
use super::store_problem::StoreProblem;

/// What a fallible call returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be wrong with stores, sealed files and checkpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused a file operation.
    #[error(transparent)]
    Io(#[from] nightgraft_files::Error),
    /// An example, or a file of them, that cannot be used.
    #[error(transparent)]
    Text(#[from] nightgraft_text::Error),
    /// A checkpoint that cannot be used.
    #[error("checkpoint {}: {problem}{}", path.display(), learning_on(path, problem))]
    Checkpoint {
        /// The checkpoint file.
        path: PathBuf,
        /// What is wrong.
        problem: CheckpointProblem,
    },
    /// A sealed file that is valid, and whose content is not of the shape that this program writes.
    #[error(
        "{}: another build of this program wrote it, and this one cannot read it ({problem}); use the build that \
         wrote it",
        path.display()
    )]
    OtherBuild {
        /// The file.
        path: PathBuf,
        /// The kind and place of what is not understood, never its words.
        problem: FileProblem,
    },
    /// A sealed file that is not what was once written.
    #[error("{} is damaged: {problem}", path.display())]
    Corrupted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: FileProblem,
    },
    /// A file of a store that is valid, and not the one that the store wrote last.
    #[error(
        "{}: {why}; bring back the whole store as it was at one moment, or let `nightgraft store verify --repair` keep \
         what is certain", path.display()
    )]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: Inconsistency,
    },
    /// An encrypted file, and not the key for it.
    #[error("the key does not open {}: it is not the one that the file was written with", path.display())]
    WrongKey {
        /// The file, or the store.
        path: PathBuf,
    },
    /// An encrypted store, and no key at all.
    #[error("the store {}: it is encrypted; give its key", path.display())]
    NoKey {
        /// The store.
        path: PathBuf,
    },
    /// Another process has the store open.
    #[error("the store {} is in use by another process; end that one first", path.display())]
    Locked {
        /// The store's folder.
        path: PathBuf,
    },
    /// A write that would make the store larger than it may be.
    #[error("the store needs {needed} bytes and may take {quota}; delete something, or allow more")]
    Quota {
        /// Bytes that the store would take.
        needed: u64,
        /// Bytes that it may take.
        quota: u64,
    },
    /// Something that a store cannot do, such as to use an adapter of another base model.
    #[error("store {}: {problem}", path.display())]
    Refused {
        /// The store's folder, or a file in it.
        path: PathBuf,
        /// What is wrong and what to try.
        problem: StoreProblem,
    },
}

impl Error {
    /// For `map_err` on a file operation: `.map_err(Error::io("open", path))`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let fail = nightgraft_files::Error::io(action, path);
        move |source| Self::Io(fail(source))
    }
}

/// Why a checkpoint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointProblem {
    /// Another version of this program wrote it, and could go on with it.
    OtherVersion {
        /// The version of the format.
        found: u32,
        /// The version that is read here.
        known: u32,
    },
    /// It was made with another base model.
    OtherBase,
    /// It was made with other data.
    OtherData,
    /// It was made with other settings.
    OtherSettings {
        /// The settings that differ, as they were.
        then: Vec<String>,
        /// The settings that differ, as they are now.
        now: Vec<String>,
    },
    /// Its numbers are not of such a run, although they are what was once written.
    Impossible(Impossibility),
    /// The numbers that were to be written do not have the adapter's shapes.
    Shapes(NumberSet),
}

/// What of a checkpoint cannot be of the run that would go on from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Impossibility {
    /// The shapes of the adapter, or of the optimizer's moments.
    AdapterShapes,
    /// The gradients of the step under way, or that there are none.
    Gradients,
    /// The shapes of the best adapter.
    BestShapes,
    /// The number of steps.
    Steps,
    /// The place in the data.
    DataPosition,
    /// The place in the held-out examples.
    Evaluation,
}

/// One of the sets of numbers in a checkpoint: each has a number for each of the adapter's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberSet {
    /// The adapter itself.
    Adapter,
    /// The running mean of its gradients.
    FirstMoment,
    /// The running mean of their squares.
    SecondMoment,
    /// The gradients of the step under way.
    Gradient,
    /// The best adapter so far.
    Best,
}

impl NumberSet {
    /// All, in the order of the file.
    pub const ALL: [Self; 5] =
        [Self::Adapter, Self::FirstMoment, Self::SecondMoment, Self::Gradient, Self::Best];

    /// What a checkpoint calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Adapter => "adapter",
            Self::FirstMoment => "first_moment",
            Self::SecondMoment => "second_moment",
            Self::Gradient => "gradient",
            Self::Best => "best",
        }
    }
}

impl fmt::Display for Impossibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AdapterShapes => "the adapter or its moments have other shapes than the run",
            Self::Gradients => "the gradients do not fit the step under way",
            Self::BestShapes => "the best adapter has other shapes than the run",
            Self::Steps => "the steps do not fit the run",
            Self::DataPosition => "the place in the data does not fit the run",
            Self::Evaluation => "the evaluation under way does not fit the held-out examples",
        })
    }
}

impl CheckpointProblem {
    /// Whether it is of another run than the one that would go on from it.
    pub fn is_of_another_run(&self) -> bool {
        matches!(self, Self::OtherBase | Self::OtherData | Self::OtherSettings { .. })
    }

    /// What is wrong, without what to try.
    pub fn what(&self) -> String {
        match self {
            Self::OtherVersion { found, known } => {
                format!("written in version {found} of the format, this program reads version {known}")
            }
            Self::OtherBase => "it was made with another base model".to_owned(),
            Self::OtherData => "it was made with other data".to_owned(),
            Self::OtherSettings { then, now } => {
                format!("it was made with {}, now {}", then.join(", "), now.join(", "))
            }
            Self::Impossible(problem) => problem.to_string(),
            Self::Shapes(set) => format!("the shapes of {} are not those of the adapter", set.name()),
        }
    }
}

/// How to keep what another run learned. A schedule spans all steps, so that a longer run is another one from its first step;
/// but its adapter can be trained on.
fn learning_on(checkpoint: &Path, problem: &CheckpointProblem) -> String {
    let run = checkpoint.parent().and_then(Path::parent);
    match (problem, run) {
        (CheckpointProblem::OtherData | CheckpointProblem::OtherSettings { .. }, Some(run)) => format!(
            ". To keep what it learned, train on from its adapter: --init-adapter {} --out ELSEWHERE",
            run.join("adapter").display()
        ),
        _ => String::new(),
    }
}

impl fmt::Display for CheckpointProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())?;
        f.write_str(match self {
            Self::OtherVersion { .. } => {
                "; continue with the program that wrote it, or start anew with --resume never"
            }
            Self::OtherBase | Self::OtherData | Self::OtherSettings { .. } => {
                ". Use another --out, or --resume never to start anew"
            }
            Self::Impossible(_) => "; use --resume never",
            Self::Shapes(_) => "",
        })
    }
}
