//! What a producer is fed by: updates of devices, not always in their order.

use std::sync::Arc;

use crate::{devices::Devices, random::Random};

/// How many updates are held up at once at most.
const HELD_UP: usize = 1_000;

/// Where updates of all devices come in. Several gateways hear of the same device, and each lets
/// some of the updates lie for a while.
pub struct Gateway {
    devices: Arc<Devices>,
    random: Random,
    late_percent: u64,
    held_up: Vec<(u32, u64)>,
    left: u64,
}

impl Gateway {
    pub fn new(devices: &Arc<Devices>, random: Random, late_percent: u64, updates: u64) -> Self {
        Self {
            devices: Arc::clone(devices),
            random,
            late_percent,
            held_up: Vec::new(),
            left: updates,
        }
    }

    /// From now on only what was held up comes.
    pub fn stop(&mut self) {
        self.left = 0;
    }

    fn held_up(&mut self) -> Option<(u32, u64)> {
        let n = match self.held_up.len() as u64 {
            0 => return None,
            len => self.random.below(len),
        };
        Some(self.held_up.swap_remove(n as usize))
    }
}

/// The device and the version of each update.
impl Iterator for Gateway {
    type Item = (u32, u64);

    fn next(&mut self) -> Option<(u32, u64)> {
        while self.left > 0 {
            self.left -= 1;
            let update = self.devices.update(&mut self.random);
            if self.random.below(100) >= self.late_percent {
                return Some(update);
            }
            self.held_up.push(update);
            if self.held_up.len() > HELD_UP {
                return self.held_up();
            }
        }
        self.held_up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Readings;

    fn gateway(late_percent: u64) -> Gateway {
        let devices = Arc::new(Devices::new(10, 1, Readings::new()));
        Gateway::new(&devices, Random::new(&[1]), late_percent, 20_000)
    }

    /// How many come after a newer one of the same device.
    fn late(updates: &[(u32, u64)]) -> usize {
        let mut newest = [0; 10];
        let is_late = |&&(device, version): &&(u32, u64)| {
            let newest = &mut newest[device as usize];
            let is_late = version < *newest;
            *newest = version.max(*newest);
            is_late
        };
        updates.iter().filter(is_late).count()
    }

    #[test]
    fn every_update_comes_once_and_some_are_late() {
        for late_percent in [0, 5, 100] {
            let mut updates: Vec<_> = gateway(late_percent).collect();
            assert_eq!(updates.len(), 20_000);
            assert_eq!(late(&updates) > 0, late_percent > 0);
            updates.sort_unstable();
            updates.dedup();
            assert_eq!(updates.len(), 20_000);
        }
    }

    #[test]
    fn what_was_held_up_comes_also_after_a_stop() {
        let mut gateway = gateway(50);
        let before = gateway.by_ref().take(100).count();
        let held_up = gateway.held_up.len();
        gateway.stop();
        assert_eq!((before, gateway.count()), (100, held_up));
        assert!(held_up > 0);
    }
}
