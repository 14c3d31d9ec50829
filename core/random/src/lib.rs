//! Everything that is drawn by lot, the same on every machine and after every update.
//!
//! What a seed draws is part of a run's identity: its start, the order of its examples, its dropout masks. So only the
//! stream cipher comes from a library, and all that is made of its words stands here, in integers and single roundings:
//! libraries of random numbers keep the right to change their ranges and shuffles. The tests pin the first values of each.

#![forbid(unsafe_code)]

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use sha2::{Digest, Sha256};

/// A sequence of random numbers: ChaCha8, whose key is made from a seed.
#[derive(Clone, Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// The first of a seed's independent sequences.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::from_seed(expanded(seed)))
    }

    /// One of a seed's 2⁶⁴ independent sequences.
    pub fn stream(seed: u64, stream: u64) -> Self {
        let Self(mut words) = Self::new(seed);
        words.set_stream(stream);
        Self(words)
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `n`, or 0 if `n` is 0. A multiplication maps 64 random bits without visible bias.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// A number from `low` to `high`, in steps of 2⁻²³ of their distance. With finite ends whose distance is finite
    /// it is finite; rounding may make it `high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        const ONE: u32 = 127 << 23;
        let from_one = f32::from_bits(ONE | (self.0.next_u32() >> 9));
        (from_one - 1.0) * (high - low) + low
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        self.0.next_u32() as u8
    }

    /// A number from 0 to below 1, in steps of 2⁻²⁴.
    pub fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1u32 << 24) as f32
    }

    /// Puts `items` in a random order: Fisher and Yates's shuffle, from the last place down.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// Shuffles from the second place up, and draws the choices of as many places at a time as fit into 32 bits. It is
    /// the shuffle that sessions have always been planned with; elsewhere [`shuffle`](Self::shuffle) serves.
    pub fn shuffle_upward<T>(&mut self, items: &mut [T]) {
        let (mut choices, mut n_left) = (0, 0);
        for (last, n_places) in (1..items.len()).zip(2..=u32::MAX) {
            if n_left == 0 {
                let bound;
                (bound, n_left) = fitting_factors(n_places);
                choices = self.below_nearly_evenly(bound);
            }
            items.swap(last, (choices % n_places) as usize);
            choices /= n_places;
            n_left -= 1;
        }
    }

    /// A number below `n` whose bias is below 2⁻³², by Canon's method: where the rounding of a first product of 32 bits
    /// is in doubt, a second one decides it.
    fn below_nearly_evenly(&mut self, n: u32) -> u32 {
        let mut product = || u64::from(self.0.next_u32()) * u64::from(n);
        let first = product();
        if first as u32 <= n.wrapping_neg() {
            return (first >> 32) as u32;
        }
        let carry = (u64::from(first as u32) + (product() >> 32)) >> 32;
        ((first >> 32) + carry) as u32
    }
}

/// The product of `first` and as many of the numbers after it as keep it within 32 bits, and how many factors it has.
fn fitting_factors(first: u32) -> (u32, u32) {
    let (mut product, mut n) = (first, 1);
    for factor in (first..=u32::MAX).skip(1) {
        match product.checked_mul(factor) {
            Some(larger) => (product, n) = (larger, n + 1),
            None => break,
        }
    }
    (product, n)
}

/// A key of 32 bytes: the words of a PCG32 sequence (O'Neill, PCG: A Family of Simple Fast Space-Efficient
/// Statistically Good Algorithms for Random Number Generation, 2014; XSH-RR) that begins at `seed`, so that seeds
/// that differ in one bit give keys that differ in half of theirs.
fn expanded(seed: u64) -> [u8; 32] {
    const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
    const INCREMENT: u64 = 11_634_580_027_462_260_723;
    let mut state = seed;
    let mut key = [0; 32];
    for word in key.as_chunks_mut().0 {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        let mixed = (((state >> 18) ^ state) >> 27) as u32;
        *word = mixed.rotate_right((state >> 59) as u32).to_le_bytes();
    }
    key
}

/// A key that stands for these numbers in this order: the first 8 bytes of their SHA-256. Keys of lists that differ
/// anywhere have nothing in common.
pub fn key(numbers: &[u64]) -> u64 {
    let mut hasher = Sha256::new();
    numbers.iter().for_each(|number| hasher.update(number.to_le_bytes()));
    let digest: [u8; 32] = hasher.finalize().into();
    u64::from_le_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs and sessions that were begun before must find the same numbers again.
    #[test]
    fn the_first_values_are_pinned() {
        let random = || Random::stream(42, 3);
        let many = |draw: fn(&mut Random) -> u64| -> [u64; 3] {
            let mut random = random();
            std::array::from_fn(|_| draw(&mut random))
        };
        assert_eq!(
            many(Random::bits),
            [6_672_028_999_979_260_041, 10_928_159_205_316_631_748, 13_467_973_396_282_439_615]
        );
        assert_eq!(many(|random| random.below(1000) as u64), [361, 592, 730]);
        assert_eq!(
            many(|random| random.between(-1.0 / 24.0, 1.0 / 24.0).to_bits().into()),
            [0x3b67_dcb0, 0xbc3c_d660, 0x3c9a_2af6]
        );
        let mut first = Random::new(42);
        assert_eq!([(); 6].map(|()| first.byte()), [161, 181, 136, 198, 140, 8]);
        let mut first = Random::new(42);
        let units = [(); 3].map(|()| first.unit().to_bits());
        assert_eq!(units, [0x3e65_756c, 0x3f2e_90bf, 0x3e15_e644]);
    }

    #[test]
    fn the_shuffles_are_pinned() {
        let shuffled = |n: usize, seed: u64, shuffle: fn(&mut Random, &mut [usize])| {
            let mut random = Random::new(seed);
            let mut order: Vec<usize> = (0..n).collect();
            shuffle(&mut random, &mut order);
            (order, random.bits())
        };
        let (order, next) = shuffled(20, 7, Random::shuffle_upward);
        assert_eq!(order, [12, 11, 18, 2, 9, 13, 15, 10, 3, 4, 8, 7, 14, 1, 0, 6, 16, 19, 5, 17]);
        assert_eq!(next, 12_991_601_491_111_613_745);
        assert_eq!(shuffled(1, 7, Random::shuffle_upward), (vec![0], 2_910_824_217_569_608_635));
        // Long enough for places of each number to a draw, and for draws in doubt.
        let (order, next) = shuffled(100_000, 9, Random::shuffle_upward);
        let hash = |order: &[usize]| {
            order.iter().fold(0u64, |hash, &place| {
                hash.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(place as u64)
            })
        };
        assert_eq!((hash(&order), next), (6_428_162_181_757_341_216, 4_282_193_216_236_107_107));
        let (order, _) = shuffled(10, 7, Random::shuffle);
        assert_eq!(order, [4, 6, 2, 0, 8, 3, 7, 5, 9, 1]);
        for shuffle in [Random::shuffle, Random::shuffle_upward] {
            let (mut order, _) = shuffled(1000, 3, shuffle);
            order.sort_unstable();
            assert!(order.into_iter().eq(0..1000));
        }
    }

    #[test]
    fn keys_are_pinned_and_differ() {
        assert_eq!(key(&[1, 2, 3]), 7_538_429_734_515_106_530);
        // A rotation and exclusive ors, for one, make the same key of these.
        let keys =
            [[0, 1, 0], [1, 0, 0], [0, 0, 1], [1 << 32, 0, 0], [0, 0, 1 << 32]].map(|numbers| key(&numbers));
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key));
        }
    }
}
