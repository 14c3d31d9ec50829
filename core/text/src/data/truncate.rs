//! Cutting examples that are longer than the context.

use std::ops::Range;

use crate::Example;

/// Windows of at most `context` tokens over a stream in which every token is learned.
///
/// Windows overlap by the one token that the last position of each predicts, so each token is predicted
/// exactly once, by as much context as its window has. With `bos`, every window begins with it: models that
/// were trained with BOS cannot do without. The very first token is predicted from BOS, or not at all.
pub(super) fn windows(stream: &[u32], bos: Option<u32>, context: usize) -> Vec<Example> {
    let head = bos.iter().len();
    let step = context.saturating_sub(head).max(1);
    let mut examples = Vec::with_capacity(stream.len() / step + 1);
    for start in (0..stream.len()).step_by(step) {
        let end = (start + step).min(stream.len());
        let mut tokens: Vec<u32> = bos.into_iter().collect();
        tokens.extend(&stream[start..end]);
        tokens.extend(stream.get(end));
        // What follows BOS was predicted by the window before this one, except at the start.
        let mut is_supervised = vec![true; tokens.len()];
        is_supervised[..=head.min(tokens.len() - 1)].fill(false);
        if start == 0 && head == 1 {
            is_supervised[1] = true;
        }
        push(&mut examples, tokens, &is_supervised, head + end - start);
    }
    examples
}

/// Makes an example of a prompt and an answer fit. The prompt loses tokens at its left, since what stands
/// nearest to the answer matters most, but keeps `protected` tokens there (BOS); if a quarter of the
/// context is left to it, the answer loses tokens at its right. Gives the example and the number of lost
/// tokens.
pub(super) fn answer(
    mut tokens: Vec<u32>,
    mut is_supervised: Vec<bool>,
    protected: usize,
    context: usize,
) -> (Example, usize) {
    // The last token need not be an input: it can be the target of the one before it.
    let limit = context + 1;
    let excess = tokens.len().saturating_sub(limit);
    if excess > 0 {
        let prompt = is_supervised.iter().position(|&is_supervised| is_supervised).unwrap_or(0);
        let kept = (context / 4).max(protected + 1).min(prompt);
        let cut = protected.min(kept)..;
        let from_prompt = cut.start..cut.start + excess.min(prompt - kept);
        tokens.drain(from_prompt.clone());
        is_supervised.drain(from_prompt);
        tokens.truncate(limit);
        is_supervised.truncate(limit);
    }
    let mut examples = Vec::with_capacity(1);
    let len = tokens.len().min(context);
    push(&mut examples, tokens, &is_supervised, len);
    (examples.pop().unwrap_or_default(), excess)
}

/// Pieces of at most `context` tokens of an example whose targets are set. Pieces without a target are left
/// out; gives the pieces and the tokens of those that were left out.
pub(super) fn pieces(example: Example, context: usize) -> (Vec<Example>, usize) {
    if example.len() <= context {
        return (vec![example], 0);
    }
    let ranges =
        (0..example.len()).step_by(context.max(1)).map(|start| start..(start + context).min(example.len()));
    let piece = |range: Range<usize>| Example {
        ids: example.ids[range.clone()].to_vec(),
        targets: example.targets[range].to_vec(),
    };
    let (kept, dropped): (Vec<_>, Vec<_>) = ranges.map(piece).partition(|piece| piece.n_supervised() > 0);
    (kept, dropped.iter().map(Example::len).sum())
}

/// Adds the example of `tokens` with its first `len` tokens as inputs, if anything is learned from it.
fn push(examples: &mut Vec<Example>, tokens: Vec<u32>, is_supervised: &[bool], len: usize) {
    let mut example = Example::from_supervision(tokens, is_supervised);
    example.ids.truncate(len);
    example.targets.truncate(len);
    if example.n_supervised() > 0 {
        examples.push(example);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn windows_predict_every_token_exactly_once(n in 0u32..400, context in 2usize..50, with_bos: bool) {
            let stream: Vec<u32> = (10..10 + n).collect();
            let bos = with_bos.then_some(1);
            let windows = windows(&stream, bos, context);
            let targets: Vec<i32> =
                windows.iter().flat_map(|window| window.targets.clone()).filter(|&target| target >= 0).collect();
            let skipped = usize::from(!with_bos).min(stream.len());
            prop_assert!(targets.iter().map(|&target| target as u32).eq(stream[skipped..].iter().copied()));
            for window in &windows {
                prop_assert!(window.len() <= context && window.len() == window.targets.len());
                prop_assert_eq!(window.ids[0] == 1, with_bos);
                for (t, &target) in window.targets.iter().enumerate() {
                    if target >= 0 && window.ids[t] != 1 {
                        prop_assert_eq!(target as u32, window.ids[t] + 1);
                    }
                }
            }
        }

        #[test]
        fn an_answer_keeps_a_target_and_fits(prompt in 1usize..60, answer_len in 1usize..60, context in 2usize..40) {
            let tokens: Vec<u32> = (0..(prompt + answer_len) as u32).collect();
            let is_supervised: Vec<bool> = (0..tokens.len()).map(|t| t >= prompt).collect();
            let (example, lost) = answer(tokens.clone(), is_supervised, 1, context);
            prop_assert!(example.len() <= context && example.n_supervised() > 0);
            prop_assert_eq!(lost, tokens.len().saturating_sub(context + 1));
            prop_assert_eq!(example.ids[0], 0);
            let first = example.targets.iter().find(|&&target| target >= 0).unwrap();
            prop_assert_eq!(*first as usize, prompt);
        }

        #[test]
        fn pieces_keep_every_target(n in 1usize..100, context in 2usize..20, seed: u64) {
            let targets: Vec<i32> = (0..n).map(|t| if seed >> (t % 64) & 1 == 1 { t as i32 } else { -1 }).collect();
            let example = Example { ids: (0..n as u32).collect(), targets: targets.clone() };
            let (pieces, lost) = pieces(example, context);
            let all = |targets: &[i32]| -> Vec<i32> { targets.iter().copied().filter(|&t| t >= 0).collect() };
            let kept: Vec<i32> = pieces.iter().flat_map(|piece| piece.targets.clone()).collect();
            prop_assert_eq!(all(&kept), all(&targets));
            prop_assert_eq!(kept.len() + lost, n);
        }
    }

    #[test]
    fn windows_overlap_by_their_target() {
        let two = windows(&[10, 11, 12, 13, 14], None, 3);
        assert_eq!(
            two,
            [
                Example { ids: vec![10, 11, 12], targets: vec![11, 12, 13] },
                Example { ids: vec![13, 14], targets: vec![14, -1] },
            ]
        );
        let two = windows(&[10, 11, 12], Some(1), 3);
        assert_eq!(
            two,
            [Example { ids: vec![1, 10, 11], targets: vec![10, 11, 12] }],
            "the last token was predicted already"
        );
        assert!(windows(&[10], None, 3).is_empty());
    }

    #[test]
    fn a_long_prompt_is_cut_at_its_left_and_a_long_answer_at_its_right() {
        let supervised = |n: usize, from: usize| (0..n).map(|t| t >= from).collect::<Vec<_>>();
        let (example, lost) = answer((0..10).collect(), supervised(10, 7), 1, 5);
        assert_eq!((example.ids, lost), (vec![0, 5, 6, 7, 8], 4));
        assert_eq!(example.targets, [-1, -1, 7, 8, 9]);
        let (example, _) = answer((0..20).collect(), supervised(20, 4), 1, 8);
        assert_eq!(example.ids, [0, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(example.targets, [-1, 4, 5, 6, 7, 8, 9, 10]);
    }
}
