//! SQLite: where a database is, and how it is opened. A program and what it compares itself with
//! use the same, so they differ only in how much a transaction has.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use rusqlite::Connection;
use tempfile::TempDir;

/// How long SQLite itself waits for another program that has the database locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens a database, makes its table, and prepares the statement that will be used most: that a
/// table of its name has other columns should be known now, not at the first batch.
pub fn open(file: &Path, table: &str, statement: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // With a write-ahead log and `FULL`, a commit waits for the disk exactly once.
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.execute_batch(table)?;
    connection.prepare_cached(statement)?;
    Ok(connection)
}

/// As SQLite reports them: not every file system can have the journal mode asked for.
pub fn settings(connection: &Connection) -> rusqlite::Result<String> {
    let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    let synchronous = match synchronous {
        0 => "off",
        1 => "normal",
        2 => "full",
        _ => "extra",
    };
    Ok(format!("journal {journal}, synchronous {synchronous}"))
}

/// A transaction that was cut short by a panic was rolled back, so the connection is still good.
pub fn lock<S>(store: &Mutex<S>) -> MutexGuard<'_, S> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the database is. The comparison's database is next to it, to be on the same disk.
pub struct Place {
    database: PathBuf,
    temporary: TempDir,
    keep: bool,
}

impl Place {
    /// The file that was asked for, or one for the program to be deleted at the end.
    pub fn new(asked_for: Option<&Path>, program: &str) -> Result<Self> {
        let mut temporary = tempfile::Builder::new();
        let prefix = format!(".{program}-");
        temporary.prefix(&prefix);
        Ok(match asked_for {
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
                    database: temporary.path().join("data.db"),
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

    /// With the name of the option that keeps it.
    pub fn describe(&self, option: &str) -> String {
        if self.keep {
            return self.database.display().to_string();
        }
        let directory = self.temporary.path().parent().unwrap_or(Path::new("/"));
        format!(
            "temporary, in {}, deleted; {option} FILE keeps it",
            directory.display()
        )
    }
}
