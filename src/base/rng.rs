//! Seeded randomness: the same seed gives the same calls, tags and losses, on every machine.

use std::time::Duration;

/// The xoshiro256++ generator of Blackman and Vigna. Repeatable, and not for secrets: keys and
/// nonces come from secrets that `shell` reads from the system.
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

impl Rng {
    /// A generator for this seed.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| splitmix(&mut state)))
    }

    /// A generator seeded with 256 bits, as `shell` reads them from the system.
    pub fn from_entropy(entropy: [u64; 4]) -> Self {
        if entropy == [0; 4] { Self::new(0) } else { Self(entropy) }
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// The next 32 bits.
    pub const fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A number in `0..bound`; 0 when the bound is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }

    /// True in `percent` of 100 cases.
    pub const fn percent(&mut self, percent: u8) -> bool {
        self.below(100) < percent as u64
    }

    /// A duration in `from..to`, in whole microseconds.
    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = to.saturating_sub(from).as_micros();
        from + Duration::from_micros(self.below(u64::try_from(span).unwrap_or(u64::MAX)))
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A13, of chance.
    #[test]
    fn same_seed_same_numbers() {
        let mut one = Rng::new(7);
        let mut two = Rng::new(7);
        let mut other = Rng::new(8);
        assert_eq!(one.next_u64(), two.next_u64());
        assert_ne!(one.next_u64(), other.next_u64());
        assert!((0..1000).all(|_| one.below(10) < 10));
    }
}
