//! The devices, and what is true of them: the yardstick for the database.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::random::Random;

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub latitude: f64,
    pub longitude: f64,
    /// In percent.
    pub battery: u8,
    pub status: String,
}

/// A state and which one it is: the device counts them, from 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub version: u64,
    pub state: State,
}

/// The newest reading of each device, by its number.
pub type Readings = BTreeMap<u32, Reading>;

/// All devices, shared by the threads that speak for them.
///
/// A state follows from the seed, the device and the version. So the truth is known at the end
/// without having been written down, and whichever way an update took it cannot change it.
pub struct Devices {
    seed: u64,
    /// The version of each device's newest reading; 0 if there is none.
    newest: Vec<AtomicU64>,
    /// What the database had at the start. The devices go on counting from there.
    before: Readings,
}

impl Devices {
    pub fn new(count: u32, seed: u64, before: Readings) -> Self {
        let version = |device| before.get(&device).map_or(0, |reading| reading.version);
        Self {
            seed,
            newest: (0..count).map(|n| AtomicU64::new(version(n))).collect(),
            before,
        }
    }

    /// A device that has something new, and the version of it. Some have much more to say than
    /// others: of 5000, the busiest makes 6 % of all updates and the busiest fifty make 22 %.
    pub fn update(&self, random: &mut Random) -> (u32, u64) {
        let device = (random.fraction().powi(3) * self.newest.len() as f64) as usize;
        // Nothing else is published along with it.
        let version = self.newest[device].fetch_add(1, Ordering::Relaxed) + 1;
        (device as u32, version)
    }

    pub fn state(&self, device: u32, version: u64) -> State {
        let mut random = Random::new(&[self.seed, device.into(), version]);
        let doing = ["waiting", "loading", "driving", "charging", "out of order"];
        let doing = doing[random.below(doing.len() as u64) as usize];
        State {
            latitude: random.fraction() * 180.0 - 90.0,
            longitude: random.fraction() * 360.0 - 180.0,
            battery: random.below(101) as u8,
            status: format!("{doing} since {} min", random.below(600)),
        }
    }

    /// What the database has to say when all updates have come through.
    pub fn truth(&self) -> Readings {
        let mut truth = self.before.clone();
        for (device, newest) in (0..).zip(&self.newest) {
            let version = newest.load(Ordering::Relaxed);
            let before = truth.get(&device).map_or(0, |reading| reading.version);
            if version > before {
                let state = self.state(device, version);
                truth.insert(device, Reading { version, state });
            }
        }
        truth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truth_is_the_newest_version_and_else_what_was_there() {
        let kept = Reading {
            version: 9,
            state: Devices::new(1, 77, Readings::new()).state(0, 9),
        };
        // The devices 1 and 7 were there before; 7 is none of ours.
        let before = Readings::from([(1, kept.clone()), (7, kept.clone())]);
        let devices = Devices::new(2, 1, before.clone());
        assert_eq!(devices.truth(), before);

        let mut random = Random::new(&[1]);
        let mut newest = BTreeMap::new();
        for _ in 0..100 {
            let (device, version) = devices.update(&mut random);
            newest.insert(device, version);
        }
        let truth = devices.truth();
        assert_eq!(truth.len(), 3);
        assert_eq!(truth[&7], kept);
        assert_eq!(newest[&0] + newest[&1], 100 + 9);
        for (device, version) in newest {
            assert_eq!(truth[&device].version, version);
            assert_eq!(truth[&device].state, devices.state(device, version));
        }
    }

    #[test]
    fn a_few_devices_are_busy_and_all_are_heard() {
        let devices = Devices::new(100, 1, Readings::new());
        let mut random = Random::new(&[1]);
        let mut updates = [0_u32; 100];
        for _ in 0..100_000 {
            updates[devices.update(&mut random).0 as usize] += 1;
        }
        assert!(updates[0] > 15_000);
        assert!(updates.iter().all(|&n| n > 100));
    }
}
