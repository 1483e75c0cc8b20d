//! Random numbers that are the same in every run: splitmix64.

pub struct Random(u64);

impl Random {
    /// Every list of numbers begins a sequence of its own.
    pub fn new(seed: &[u64]) -> Self {
        seed.iter().fold(Self(0), |mut random, part| {
            random.0 ^= part;
            Self(random.next())
        })
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `end`, without it. Slightly uneven for an enormous `end`, which nobody has here.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From 0 to 1, without 1.
    pub fn fraction(&mut self) -> f64 {
        // As many bits as an f64 has.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_and_each_part_of_it_matters() {
        let first = |seed: &[u64]| Random::new(seed).next();
        assert_eq!(first(&[1, 2, 3]), first(&[1, 2, 3]));
        let all = [
            first(&[1, 2, 3]),
            first(&[1, 3, 2]),
            first(&[1, 2]),
            first(&[0]),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn numbers_stay_within_their_bounds_and_reach_all_of_it() {
        let mut random = Random::new(&[7]);
        let mut seen = [false; 10];
        for _ in 0..1_000 {
            seen[random.below(10) as usize] = true;
            assert!((0.0..1.0).contains(&random.fraction()));
        }
        assert_eq!(seen, [true; 10]);
    }
}
