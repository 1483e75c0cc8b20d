//! What it is compared with: updates of the same kind, a transaction for each.

use std::{
    iter,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use common::{database::Place, stop::Stop};

use crate::{
    devices::{Devices, State},
    gateway::Gateway,
    store::Store,
};

const FOR: Duration = Duration::from_secs(1);
const SAMPLE: usize = 50_000;

pub struct Baseline {
    pub updates: u64,
    pub elapsed: Duration,
}

impl Baseline {
    pub fn updates_per_second(&self) -> f64 {
        self.updates as f64 / self.elapsed.as_secs_f64()
    }

    /// How many seconds so many updates would take at that rate.
    pub fn seconds_for(&self, updates: u64) -> f64 {
        updates as f64 / self.updates_per_second()
    }
}

pub struct Update {
    device: u32,
    version: u64,
    state: State,
}

/// The first updates of a gateway. Their states are made before the clock starts, which is to the
/// advantage of the slower way: the faster one's time includes the making.
pub fn sample(gateway: Gateway, devices: &Devices) -> Vec<Update> {
    gateway
        .take(SAMPLE)
        .map(|(device, version)| Update {
            device,
            version,
            state: devices.state(device, version),
        })
        .collect()
}

/// Writes the sample update by update, to its end or as long as one wants to wait for it. `None`
/// if Ctrl-C says that nobody wants to.
pub fn measure(place: &Place, sample: &[Update], stop: &Stop) -> Result<Option<Baseline>> {
    if stop.is_set() {
        return Ok(None);
    }
    let mut store = Store::open(&place.comparison()).context("cannot make the comparison")?;
    let started = Instant::now();
    let mut updates = 0;
    for update in sample {
        store.upsert(iter::once((update.device, update.version, &update.state)))?;
        updates += 1;
        if started.elapsed() >= FOR {
            break;
        }
        if stop.is_set() {
            return Ok(None);
        }
    }
    Ok(Some(Baseline {
        updates,
        elapsed: started.elapsed(),
    }))
}
