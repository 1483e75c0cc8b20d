//! The table.

use std::path::Path;

use common::database;
use rusqlite::{Connection, params};

use crate::devices::{Reading, Readings, State};

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS devices (
        device    INTEGER PRIMARY KEY,
        version   INTEGER NOT NULL,
        latitude  REAL    NOT NULL,
        longitude REAL    NOT NULL,
        battery   INTEGER NOT NULL,
        status    TEXT    NOT NULL
    )";

/// An older version leaves the row as it is. So it does not matter how often, or how late, a row
/// is sent: at least once is enough.
const UPSERT: &str = "
    INSERT INTO devices (device, version, latitude, longitude, battery, status)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (device) DO UPDATE SET
        version = excluded.version,
        latitude = excluded.latitude,
        longitude = excluded.longitude,
        battery = excluded.battery,
        status = excluded.status
    WHERE excluded.version > devices.version";

pub struct Store {
    connection: Connection,
}

impl Store {
    pub fn open(file: &Path) -> rusqlite::Result<Self> {
        let connection = database::open(file, TABLE, UPSERT)?;
        Ok(Self { connection })
    }

    /// Writes the newer ones of the states in one transaction, or none; how many were newer.
    pub fn upsert<'a>(
        &mut self,
        states: impl IntoIterator<Item = (u32, u64, &'a State)>,
    ) -> rusqlite::Result<u64> {
        let transaction = self.connection.transaction()?;
        let mut written = 0;
        {
            let mut upsert = transaction.prepare_cached(UPSERT)?;
            for (device, version, state) in states {
                written += upsert.execute(params![
                    device,
                    version as i64,
                    state.latitude,
                    state.longitude,
                    state.battery,
                    state.status,
                ])?;
            }
        }
        transaction.commit()?;
        Ok(written as u64)
    }

    pub fn readings(&self) -> rusqlite::Result<Readings> {
        self.connection
            .prepare("SELECT device, version, latitude, longitude, battery, status FROM devices")?
            .query_map([], |row| {
                let version: i64 = row.get(1)?;
                let reading = Reading {
                    version: u64::try_from(version)
                        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(1, version))?,
                    state: State {
                        latitude: row.get(2)?,
                        longitude: row.get(3)?,
                        battery: row.get(4)?,
                        status: row.get(5)?,
                    },
                };
                Ok((row.get(0)?, reading))
            })?
            .collect()
    }

    pub fn settings(&self) -> rusqlite::Result<String> {
        database::settings(&self.connection)
    }
}

#[cfg(test)]
mod tests {
    use common::database::Place;

    use super::*;

    fn state(status: &str) -> State {
        State {
            latitude: 47.376_886_7,
            longitude: -0.1,
            battery: 100,
            status: status.to_owned(),
        }
    }

    #[test]
    fn only_newer_states_are_written_and_they_come_back_as_they_were() {
        let place = Place::new(None, "state_sync").unwrap();
        let mut store = Store::open(place.database()).unwrap();
        let (old, new, other) = (state("old"), state("new"), state("other"));
        let written = |store: &mut Store, states: &[(u32, u64, &State)]| {
            store.upsert(states.iter().copied()).unwrap()
        };
        assert_eq!(written(&mut store, &[(1, 5, &new), (2, 1, &other)]), 2);
        assert_eq!(written(&mut store, &[(1, 4, &old), (2, 1, &old)]), 0);
        let reading = |version, state| Reading { version, state };
        let expected = Readings::from([(1, reading(5, new)), (2, reading(1, other))]);
        assert_eq!(store.readings().unwrap(), expected);
    }
}
