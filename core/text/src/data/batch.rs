//! Micro-batches: several examples one after the other, without padding.

use crate::Example;

/// Tokens of one micro-batch. Each example is a segment of its own: a token sees only what stands before it
/// in its segment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The token ids. `[n_tokens]`
    pub ids: Vec<u32>,
    /// The position of each token in its segment, from 0. `[n_tokens]`
    pub positions: Vec<i32>,
    /// For each token, the place in the batch of the first token of its segment. `[n_tokens]`
    pub starts: Vec<i32>,
    /// The id to predict after each token, or −1 for no loss. `[n_tokens]`
    pub targets: Vec<i32>,
}

/// Puts the examples with the indices `members` one after the other. An index without an example is left out.
pub fn assemble(examples: &[Example], members: &[usize]) -> Batch {
    let mut batch = Batch::default();
    for example in members.iter().filter_map(|&index| examples.get(index)) {
        let start = batch.ids.len();
        batch.ids.extend(&example.ids);
        batch.targets.extend(&example.targets);
        batch.positions.extend((0..example.len()).map(|position| position as i32));
        batch.starts.extend(example.ids.iter().map(|_| start as i32));
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_follow_each_other_and_count_from_zero() {
        let examples = [
            Example { ids: vec![5, 6, 7], targets: vec![6, 7, -1] },
            Example { ids: vec![8, 9], targets: vec![-1, 3] },
        ];
        let expected = Batch {
            ids: vec![8, 9, 5, 6, 7],
            positions: vec![0, 1, 0, 1, 2],
            starts: vec![0, 0, 2, 2, 2],
            targets: vec![-1, 3, 6, 7, -1],
        };
        assert_eq!(assemble(&examples, &[1, 0]), expected);
        assert_eq!(assemble(&examples, &[7]), Batch::default());
    }
}
