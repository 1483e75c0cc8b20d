//! The database: its place, its settings, its table. Both the sink and the comparison use it, so
//! they differ only in how many updates a transaction has.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::devices::{Reading, Readings, State};

/// How long SQLite itself waits for another program that has the database locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

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
        let connection = Connection::open(file)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // With a write-ahead log and `FULL`, a commit waits for the disk exactly once.
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS devices (
                 device    INTEGER PRIMARY KEY,
                 version   INTEGER NOT NULL,
                 latitude  REAL    NOT NULL,
                 longitude REAL    NOT NULL,
                 battery   INTEGER NOT NULL,
                 status    TEXT    NOT NULL
             )",
        )?;
        let store = Self { connection };
        // A table of that name with other columns should be known now, not at the first batch.
        store.connection.prepare_cached(UPSERT)?;
        Ok(store)
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

    /// As SQLite reports them: not every file system can have the journal mode asked for.
    pub fn settings(&self) -> rusqlite::Result<String> {
        let journal: String = self
            .connection
            .pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        let synchronous: i64 = self
            .connection
            .pragma_query_value(None, "synchronous", |row| row.get(0))?;
        let synchronous = match synchronous {
            0 => "off",
            1 => "normal",
            2 => "full",
            _ => "extra",
        };
        Ok(format!("journal {journal}, synchronous {synchronous}"))
    }
}

/// A transaction that was cut short by a panic was rolled back, so the connection is still good.
pub fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the database is. The comparison's database is next to it, to be on the same disk.
pub struct Place {
    database: PathBuf,
    temporary: TempDir,
    keep: bool,
}

impl Place {
    pub fn new(database: Option<&Path>) -> Result<Self> {
        let mut temporary = tempfile::Builder::new();
        temporary.prefix(".state_sync-");
        Ok(match database {
            Some(file) => {
                let directory = match file.parent() {
                    Some(parent) if parent != Path::new("") => parent,
                    _ => Path::new("."),
                };
                Self {
                    database: file.to_owned(),
                    temporary: temporary
                        .tempdir_in(directory)
                        .with_context(|| format!("cannot write to {}", directory.display()))?,
                    keep: true,
                }
            }
            None => {
                let temporary = temporary
                    .tempdir()
                    .context("cannot make a temporary directory")?;
                Self {
                    database: temporary.path().join("devices.db"),
                    temporary,
                    keep: false,
                }
            }
        })
    }

    pub fn database(&self) -> &Path {
        &self.database
    }

    pub fn comparison(&self) -> PathBuf {
        self.temporary.path().join("comparison.db")
    }

    pub fn describe(&self) -> String {
        if self.keep {
            return self.database.display().to_string();
        }
        let directory = self.temporary.path().parent().unwrap_or(Path::new("/"));
        format!(
            "temporary, in {}, deleted; --database FILE keeps it",
            directory.display()
        )
    }
}

#[cfg(test)]
mod tests {
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
        let place = Place::new(None).unwrap();
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
