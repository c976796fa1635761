//! A random order over a number range, without a list.

/// A keyed bijection over `0..n`, in constant memory.
///
/// Construction: an alternating Feistel network of eight rounds over the smallest number of bits `w` with
/// `2^w ≥ n`, split into halves of `w/2` and `w - w/2` bits; round `i` XORs into one half a 64-bit mixing function
/// (the finaliser of `MurmurHash3`) of the other half and round key `i`. What lands at or beyond `n` is put through
/// again ("cycle walking", Black and Rogaway 2002) until it lands inside: fewer than two passes on average.
/// Round keys come from the key by `SplitMix64`.
///
/// It spreads probes; it is not a cipher, and nothing rests on its secrecy.
#[derive(Debug, Clone)]
pub struct Permutation {
    n: u128,
    low_bits: u32,
    low_mask: u64,
    high_mask: u64,
    keys: [u64; ROUNDS],
}

const ROUNDS: usize = 8;

impl Permutation {
    /// The permutation of `0..n` under this key.
    pub fn new(key: [u8; 16], n: u128) -> Self {
        let bits = if n < 2 { 0 } else { 128 - (n - 1).leading_zeros() };
        let (high_bits, low_bits) = (bits / 2, bits - bits / 2);
        let key = u128::from_be_bytes(key);
        #[expect(clippy::cast_possible_truncation, reason = "the halves of the key")]
        let (mut state, other) = ((key >> 64) as u64, key as u64);
        let keys = std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(state ^ mix(other.wrapping_add(state)))
        });
        Self { n, low_bits, low_mask: mask(low_bits), high_mask: mask(high_bits), keys }
    }

    /// How many numbers it permutes.
    pub fn count(&self) -> u128 {
        self.n
    }

    /// The number at place `i`. A place outside `0..n` stays where it is.
    pub fn at(&self, i: u128) -> u128 {
        if i >= self.n {
            return i;
        }
        let mut x = i;
        loop {
            x = self.pass(x);
            if x < self.n {
                return x;
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "each half is masked to at most 64 bits")]
    fn pass(&self, x: u128) -> u128 {
        let mut low = x as u64 & self.low_mask;
        let mut high = (x >> self.low_bits) as u64 & self.high_mask;
        for pair in self.keys.chunks_exact(2) {
            low ^= mix(high ^ pair[0]) & self.low_mask;
            high ^= mix(low ^ pair[1]) & self.high_mask;
        }
        u128::from(high) << self.low_bits | u128::from(low)
    }

    /// A key for a part of the work: `key` mixed with the part's number.
    pub fn key_for(key: [u8; 16], part: u64) -> [u8; 16] {
        let key = u128::from_be_bytes(key);
        #[expect(clippy::cast_possible_truncation, reason = "the halves of the key")]
        let (high, low) = ((key >> 64) as u64, key as u64);
        let a = mix(high ^ mix(part.wrapping_add(0x9e37_79b9_7f4a_7c15)));
        let b = mix(low.wrapping_add(a) ^ part);
        (u128::from(a) << 64 | u128::from(b)).to_be_bytes()
    }
}

fn mask(bits: u32) -> u64 {
    u64::MAX.checked_shr(64 - bits).unwrap_or(0)
}

fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_bijection(key: [u8; 16], n in 0u128..3000) {
            let order = Permutation::new(key, n);
            let mut seen: Vec<u128> = (0..n).map(|i| order.at(i)).collect();
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..n));
        }

        #[test]
        fn it_stays_inside_however_large(key: [u8; 16], n in 1u128.., i: u128) {
            let i = i % n;
            prop_assert!(Permutation::new(key, n).at(i) < n);
        }

        #[test]
        fn no_two_places_meet(key: [u8; 16], n in 2u128.., i: u128, j: u128) {
            let (i, j) = (i % n, j % n);
            let order = Permutation::new(key, n);
            prop_assert_eq!(order.at(i) == order.at(j), i == j);
        }

        #[test]
        fn outside_is_left_alone(key: [u8; 16], n: u64, beyond: u64) {
            let i = u128::from(n) + u128::from(beyond);
            prop_assert_eq!(Permutation::new(key, u128::from(n)).at(i), i);
        }
    }

    #[test]
    fn neighbours_are_spread() {
        // Random order leaves two neighbours apart by n/3 on average.
        let (n, order) = (100_000u128, Permutation::new([7; 16], 100_000));
        let far: u128 = (1..n).map(|i| order.at(i).abs_diff(order.at(i - 1))).sum::<u128>() / (n - 1);
        assert!((30_000..36_000).contains(&far), "{far}");
    }

    #[test]
    fn another_key_is_another_order() {
        let of = |key| (0..64).map(|i| Permutation::new(key, 64).at(i)).collect::<Vec<_>>();
        assert_ne!(of([1; 16]), of([2; 16]));
        assert_ne!(Permutation::key_for([1; 16], 1), Permutation::key_for([1; 16], 2));
    }

    #[test]
    fn the_order_is_the_same_for_ever() {
        // A resumed job walks on where it stopped: this must not change between releases.
        let order = Permutation::new(*b"0123456789abcdef", 10);
        assert_eq!((0..10).map(|i| order.at(i)).collect::<Vec<_>>(), [6, 4, 1, 5, 3, 9, 0, 2, 7, 8]);
    }
}
