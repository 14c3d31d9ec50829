//! What policies take and which is the fastest, on numbers that can be followed by hand.

use super::*;

/// Three trained layers and micro-batches of 128 tokens. To save an attention takes less memory than to save a feed-forward
/// part, and spares less time; a layer that saves more has less to compute again, and a smaller arena.
const ESTIMATE: MemoryEstimate = MemoryEstimate {
    capacity: 128,
    n_trained: 3,
    residual: 1000,
    saved: [100, 400],
    recompute_macs: [300, 600],
    head_weights: 1,
    n_embd: 2,
    arenas: [5400, 5200, 5100, 5000],
    head_arenas: [9000, 7000, 4000, 2000],
    graphs: 50,
    scratch: 7,
};

fn policy(saved_attention: usize, saved_feed_forward: usize, head_rows: usize) -> RecomputePolicy {
    RecomputePolicy { saved_attention, saved_feed_forward, head_rows }
}

#[test]
fn a_policy_takes_what_it_saves_and_the_largest_arena_that_it_needs() {
    // Saved, arena and graphs; the head's rows in and out are counted with the graphs.
    for (policy, [saved, arena, graphs]) in [
        (RecomputePolicy::MIN_MEMORY, [0, 5400, 306]),
        (policy(3, 0, 16), [300, 5200, 306]),
        (policy(0, 3, 16), [1200, 5100, 306]),
        (policy(3, 1, 16), [700, 5200, 306]),
        (policy(1, 3, 16), [1300, 5100, 306]),
        (policy(3, 3, 16), [1500, 5000, 306]),
        (policy(1, 2, 32), [900, 5400, 562]),
        (policy(2, 0, 64), [200, 7000, 1074]),
        (policy(3, 3, 128), [1500, 9000, 2098]),
    ] {
        let bytes = ModelBytes { residual: 1000, saved, arena, graphs };
        assert_eq!(ESTIMATE.bytes(policy), bytes, "{policy:?}");
        assert_eq!(bytes.total(), 1000 + saved + arena + graphs);
    }
    let untrained = MemoryEstimate { n_trained: 0, ..ESTIMATE };
    assert_eq!(untrained.bytes(RecomputePolicy::EVAL).arena, 9000);
    assert_eq!(untrained.bytes(RecomputePolicy::MIN_MEMORY).arena, 5400);
    assert_eq!(ESTIMATE.scratch_per_thread(), 7);
}

#[test]
fn the_fastest_that_fits_is_taken() {
    for (budget, fastest) in [
        (0, None),
        (6705, None),
        (6706, Some(RecomputePolicy::MIN_MEMORY)),
        // The layers that save their attention have a smaller arena.
        (6806, Some(policy(3, 0, 16))),
        (7062, Some(policy(3, 0, 32))),
        // Saving more is worth more than reading the head's matrix half as often.
        (7206, Some(policy(3, 1, 16))),
        (8062, Some(policy(3, 3, 32))),
        (10_573, Some(policy(3, 3, 32))),
        (10_574, Some(policy(3, 3, 64))),
        (13_597, Some(policy(3, 3, 64))),
        (13_598, Some(policy(3, 3, 128))),
        (u64::MAX, Some(policy(3, 3, 128))),
    ] {
        assert_eq!(ESTIMATE.fastest_within(budget), fastest, "{budget} bytes");
    }
}

#[test]
fn the_part_that_spares_more_time_for_its_bytes_is_saved_first() {
    let feed_forward_first = MemoryEstimate { saved: [400, 100], ..ESTIMATE };
    assert_eq!(feed_forward_first.fastest_within(6706), Some(policy(0, 3, 16)));
    assert_eq!(feed_forward_first.fastest_within(6962), Some(policy(0, 3, 32)));
    let alike = MemoryEstimate { saved: [200, 400], ..ESTIMATE };
    assert_eq!(alike.fastest_within(7106), Some(policy(0, 1, 16)));
}

#[test]
fn more_memory_is_never_slower_and_no_budget_is_exceeded() {
    let mut cost = u64::MAX;
    for budget in 6706..13_700 {
        let policy = ESTIMATE.fastest_within(budget).expect("the least takes 6706 bytes");
        assert!(ESTIMATE.bytes(policy).total() <= budget, "{budget} bytes");
        assert!(ESTIMATE.recompute_cost(&policy) <= cost, "{budget} bytes");
        cost = ESTIMATE.recompute_cost(&policy);
    }
    assert_eq!(cost, 80, "the head's matrix alone, read forward and backward");
}

#[test]
fn without_a_budget_speed_may_take_what_is_to_spare() {
    // All rows of the head at once take 12,098 bytes, and half of them with everything saved no more than that.
    assert_eq!(ESTIMATE.fastest_with_spare(0), policy(3, 3, 64));
    assert_eq!(ESTIMATE.fastest_with_spare(1499), policy(3, 3, 64));
    assert_eq!(ESTIMATE.fastest_with_spare(1500), policy(3, 3, 128));
}
