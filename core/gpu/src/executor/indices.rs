//! Rows of integers: checked before a shader follows them.

use nightgraft_ggml as ggml;
use nightgraft_kernels::IndexError;

use super::storage::Placed;
use crate::{Device, Error};

/// A row of integers that a graph reads, and what has to be true of them.
pub(super) struct IndexCheck {
    pub buffer: ggml::Buffer,
    pub place: Placed,
    /// How many the graph reads, from which one on.
    pub first: usize,
    pub len: usize,
    pub rule: Rule,
}

/// What integers have to be.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Rule {
    /// For each token the first one of its segment: none behind it.
    Starts,
    /// Columns below this, or negative for none.
    Targets { end: usize },
}

impl IndexCheck {
    /// Checks the host's integers and copies them to the device; gives their bytes.
    ///
    /// # Errors
    /// [`Error::Index`]; [`Error::Host`], [`Error::OutOfMemory`], [`Error::Lost`].
    pub fn upload(&self, device: &Device) -> Result<u64, Error> {
        let integers = self.buffer.to_vec_i32()?;
        let read = integers.get(self.first..).and_then(|from| from.get(..self.len)).unwrap_or_default();
        self.rule.check(read)?;
        device.write(&self.place.buffer, 4 * self.place.first, bytemuck::cast_slice(&integers))?;
        Ok(4 * integers.len() as u64)
    }
}

impl Rule {
    fn check(self, integers: &[i32]) -> Result<(), IndexError> {
        let refused = |(token, got): (usize, &i32)| {
            let (op, what, end, is_inside) = match (self, usize::try_from(*got)) {
                (Self::Starts, start) => {
                    ("attention", "start of the segment", token + 1, start.is_ok_and(|s| s <= token))
                }
                (Self::Targets { end }, target) => {
                    ("cross_entropy", "target", end, target.map_or(true, |target| target < end))
                }
            };
            (!is_inside).then_some(IndexError { op, what, token, end, got: *got })
        };
        integers.iter().enumerate().find_map(refused).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_that_point_nowhere_are_named() {
        assert_eq!(Rule::Starts.check(&[0, 0, 2]), Ok(()));
        assert_eq!(Rule::Targets { end: 5 }.check(&[4, -1, i32::MIN, 0]), Ok(()));
        for (rule, integers, token, end) in [
            (Rule::Starts, vec![0, 2], 1, 2),
            (Rule::Starts, vec![-1], 0, 1),
            (Rule::Targets { end: 5 }, vec![0, 4, 5], 2, 5),
        ] {
            let got = integers[token];
            let refused = rule.check(&integers).map_err(|error| (error.token, error.end, error.got));
            assert_eq!(refused, Err((token, end, got)));
        }
    }
}
