//! Whether the database says what is true, row by row.

use std::fmt;

use crate::devices::{Reading, Readings};

/// How many devices are named; the others are counted.
const NAMED: usize = 3;

/// What is wrong with the database: nothing, if all goes well.
#[derive(Debug, Default)]
pub struct Differences {
    named: Vec<Difference>,
    pub count: u64,
}

#[derive(Debug, PartialEq)]
enum Difference {
    Missing { device: u32, version: u64 },
    Unknown { device: u32 },
    Version { device: u32, is: u64, should: u64 },
    State { device: u32, version: u64 },
}

pub fn compare(database: &Readings, truth: &Readings) -> Differences {
    let mut differences = Differences::default();
    for (&device, should) in truth {
        if let Some(difference) = of_device(device, database.get(&device), should) {
            differences.add(difference);
        }
    }
    for &device in database.keys() {
        if !truth.contains_key(&device) {
            differences.add(Difference::Unknown { device });
        }
    }
    differences
}

fn of_device(device: u32, is: Option<&Reading>, should: &Reading) -> Option<Difference> {
    let version = should.version;
    match is {
        None => Some(Difference::Missing { device, version }),
        Some(is) if is.version != version => Some(Difference::Version {
            device,
            is: is.version,
            should: version,
        }),
        Some(is) if is.state != should.state => Some(Difference::State { device, version }),
        Some(_) => None,
    }
}

impl Differences {
    fn add(&mut self, difference: Difference) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(difference);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, difference) in self.named.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{difference}")?;
        }
        match self.count - self.named.len() as u64 {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { device, version } => {
                write!(f, "device {device} has no row, but is at version {version}")
            }
            Self::Unknown { device } => write!(f, "device {device} has a row, but never spoke"),
            Self::Version { device, is, should } => {
                write!(f, "device {device} has version {is}, not {should}")
            }
            Self::State { device, version } => {
                write!(f, "device {device} has another state at version {version}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Devices;

    fn reading(device: u32, version: u64) -> Reading {
        let state = Devices::new(1, 1, Readings::new()).state(device, version);
        Reading { version, state }
    }

    fn readings(versions: &[(u32, u64)]) -> Readings {
        let reading = |&(device, version)| (device, reading(device, version));
        versions.iter().map(reading).collect()
    }

    #[test]
    fn the_same_is_no_difference() {
        let truth = readings(&[(1, 3), (2, 1)]);
        assert!(compare(&truth, &truth).is_empty());
        assert!(compare(&Readings::new(), &Readings::new()).is_empty());
    }

    #[test]
    fn each_kind_of_difference_is_found_and_named() {
        let truth = readings(&[(1, 3), (2, 1), (3, 5)]);
        let mut database = readings(&[(1, 2), (3, 5), (4, 1)]);
        database.get_mut(&3).unwrap().state.battery ^= 1;
        let differences = compare(&database, &truth);
        assert_eq!(differences.count, 4);
        assert_eq!(
            differences.to_string(),
            "device 1 has version 2, not 3; device 2 has no row, but is at version 1; device 3 has \
             another state at version 5; and 1 more"
        );
        let unknown = compare(&readings(&[(4, 1)]), &Readings::new());
        assert_eq!(unknown.to_string(), "device 4 has a row, but never spoke");
    }
}
