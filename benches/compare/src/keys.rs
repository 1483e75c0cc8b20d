//! Keys: as many as one likes, uniform or after Zipf.

/// How keys are spread.
#[derive(Clone, Copy, PartialEq)]
pub enum Spread {
    Uniform,
    /// With an exponent of 0.99: a few keys get most of the updates.
    Zipf,
}

impl Spread {
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Zipf];

    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf => "zipf",
        }
    }

    /// `count` keys of 0 to `distinct`, the same in each run.
    pub fn draw(self, distinct: usize, count: usize) -> Vec<u64> {
        let mut random = fastrand::Rng::with_seed(distinct as u64);
        match self {
            Self::Uniform => (0..count).map(|_| random.u64(..distinct as u64)).collect(),
            Self::Zipf => {
                let mut sum = 0.0;
                let until: Vec<f64> = (1..=distinct)
                    .map(|rank| {
                        sum += (rank as f64).powf(-0.99);
                        sum
                    })
                    .collect();
                // Popular keys are not neighbours.
                let mut keys: Vec<u64> = (0..distinct as u64).collect();
                random.shuffle(&mut keys);
                let draw = |_| {
                    let at = random.f64() * sum;
                    keys[until
                        .partition_point(|&until| until <= at)
                        .min(distinct - 1)]
                };
                (0..count).map(draw).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_has_favourites_and_uniform_has_none() {
        let most = |spread: Spread| {
            let keys = spread.draw(100, 100_000);
            let count = |key| keys.iter().filter(|&&other| other == key).count();
            (0..100).map(count).max().unwrap()
        };
        assert!((900..1300).contains(&most(Spread::Uniform)));
        assert!((17_000..22_000).contains(&most(Spread::Zipf)));
    }
}
