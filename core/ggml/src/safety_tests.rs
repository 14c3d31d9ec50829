//! What a caller can get wrong: each an error, none a write to a mapping, an abort, or a number left over from before.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use nightgraft_kernels::KernelError;

use crate::{AttentionShape, Cpu, Error, Graph, Leaf, Place, Refusal};

fn integers(values: &[i32]) -> Leaf {
    let leaf = Leaf::i32(values.len()).unwrap();
    leaf.write_i32(values).unwrap();
    leaf
}

fn cpu(n_threads: usize) -> Cpu {
    Cpu::new(n_threads, Arc::default()).unwrap()
}

/// As in an attention whose columns wrapped: the result is what its shape says, and no view is outside.
#[test]
fn views_are_inside_what_they_are_of() {
    let mut g = Graph::new(32).unwrap();
    let q = g.leaf(&Leaf::f32(1, 4).unwrap()).unwrap();
    let starts = g.leaf(&integers(&[0])).unwrap();
    let shape = AttentionShape::new([1, 1], 4, 1.0).unwrap();
    let out = g.attention(shape, [q; 3], starts, Place::New).unwrap();
    assert_eq!(g.shape("test", out).unwrap(), (1, 5));
    assert!(matches!(g.columns(out, 0, 1 << 20), Err(Error::Shape { .. })));
    assert!(matches!(g.columns(out, usize::MAX, 5), Err(Error::Shape { .. })));
}

#[test]
fn an_index_that_points_nowhere_is_an_error_of_the_computation() {
    let (starts, targets) = (integers(&[0, 0, 0]), integers(&[0, 1, -1]));
    let stored = Leaf::f32(3, 5).unwrap();
    let shape = AttentionShape::new([1, 1], 4, 1.0).unwrap();
    let mut g = Graph::new(32).unwrap();
    let x = g.leaf(&Leaf::f32(3, 4).unwrap()).unwrap();
    let logits = g.leaf(&Leaf::f32(3, 4).unwrap()).unwrap();
    let (s, t) = (g.leaf(&starts).unwrap(), g.leaf(&targets).unwrap());
    let out = g.attention(shape, [x; 3], s, Place::New).unwrap();
    let gradient = g.cross_entropy(logits, t, &Leaf::f32(3, 2).unwrap()).unwrap();
    g.run(out).unwrap();
    g.run(gradient).unwrap();
    let [dq, dkv] = g.attention_back(shape, [x; 3], s, out, x).unwrap();
    g.run(dq).unwrap();
    g.run(dkv).unwrap();
    g.store(out, &stored).unwrap();
    for n_threads in [1, 2, 5] {
        let mut cpu = cpu(n_threads);
        for (start, target, refused_op) in [
            (3, 1, Some("attention")),
            (-1, 1, Some("attention")),
            (i32::MAX, 1, Some("attention")),
            (i32::MIN, 4, Some("attention")),
            (2, 4, Some("cross_entropy")),
            (2, i32::MAX, Some("cross_entropy")),
            (2, 3, None),
        ] {
            stored.write(0, &[7.0; 15]).unwrap();
            starts.write_i32(&[0, 0, start]).unwrap();
            targets.write_i32(&[0, target, -1]).unwrap();
            match (cpu.compute(&mut g), refused_op) {
                (Ok(()), None) => assert_ne!(stored.to_vec().unwrap(), [7.0; 15]),
                (Err(Error::Refused { op, reason }), Some(refused_op)) => {
                    assert_eq!(op, refused_op);
                    assert!(matches!(reason, Refusal::Kernel(KernelError::Index(_))), "{reason}");
                    assert_eq!(stored.to_vec().unwrap(), [7.0; 15], "nothing is stored from there on");
                }
                (got, _) => panic!("{start} {target}: {got:?}"),
            }
        }
    }
}
