//! Why the files of a split model are no model together.

use nightgraft_gguf::SplitPart;

/// What is wrong with a file of several, or with what lies beside it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitProblem {
    /// It does not say which part it is.
    #[error("it is a part of {count} of a split model, and does not say which one (split.no)")]
    NoNumber {
        /// How many there are.
        count: u64,
    },
    /// Its name is not that of this part, so there is no telling the names of the others.
    #[error(
        "it is part {number} of {count} of a split model: such a file is named NAME-{number:05}-of-{count:05}.gguf and lies \
         beside the others; name them so"
    )]
    Name {
        /// Its number, from 1.
        number: u64,
        /// How many there are.
        count: u64,
    },
    /// A file that is not there.
    #[error("part {number} of {count} is missing: put {file} beside it")]
    Missing {
        /// Its number, from 1.
        number: u64,
        /// How many there are.
        count: u64,
        /// Its name.
        file: String,
    },
    /// A file that is not what its name says.
    #[error("by its name it is part {number} of {count} of a model, and by its contents {}", described(said))]
    OtherPart {
        /// Its number by its name, from 1.
        number: u64,
        /// How many there are by its name.
        count: u64,
        /// What it says itself.
        said: Option<SplitPart>,
    },
    /// Files that hold more or fewer tensors than one of them says.
    #[error(
        "part {number} is of a model of {expected} tensors (split.tensors.count), and the parts hold {found}: one of them is of \
         another model"
    )]
    TensorCount {
        /// The number of the file, from 1.
        number: u64,
        /// How many it says.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// A tensor that two files hold.
    #[error("tensor {tensor:?} is in two of the parts: one of them is of another model")]
    RepeatedTensor {
        /// The tensor.
        tensor: String,
    },
}

fn described(said: &Option<SplitPart>) -> String {
    match said {
        None => "a whole file".to_owned(),
        Some(SplitPart { number: None, count, .. }) => format!("a part of {count}"),
        Some(SplitPart { number: Some(number), count, .. }) => format!("part {number} of {count}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_is_wrong_and_what_to_do() {
        let part = |number, count| Some(SplitPart { number, count, n_tensors: None });
        let other = |said| SplitProblem::OtherPart { number: 2, count: 3, said };
        for (problem, words) in [
            (
                SplitProblem::NoNumber { count: 3 },
                "it is a part of 3 of a split model, and does not say which one (split.no)",
            ),
            (
                SplitProblem::Name { number: 2, count: 3 },
                "it is part 2 of 3 of a split model: such a file is named NAME-00002-of-00003.gguf and lies beside the others; \
                 name them so",
            ),
            (
                SplitProblem::Missing { number: 2, count: 3, file: "m-00002-of-00003.gguf".into() },
                "part 2 of 3 is missing: put m-00002-of-00003.gguf beside it",
            ),
            (other(None), "by its name it is part 2 of 3 of a model, and by its contents a whole file"),
            (
                other(part(None, 4)),
                "by its name it is part 2 of 3 of a model, and by its contents a part of 4",
            ),
            (
                other(part(Some(1), 3)),
                "by its name it is part 2 of 3 of a model, and by its contents part 1 of 3",
            ),
            (
                SplitProblem::TensorCount { number: 1, expected: 20, found: 19 },
                "part 1 is of a model of 20 tensors (split.tensors.count), and the parts hold 19: one of them is of another model",
            ),
            (
                SplitProblem::RepeatedTensor { tensor: "t".into() },
                "tensor \"t\" is in two of the parts: one of them is of another model",
            ),
        ] {
            assert_eq!(problem.to_string(), words);
        }
    }
}
