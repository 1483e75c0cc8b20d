//! The database: its place, its settings, its table. Both the sink and the comparison use it, so
//! they differ only in how many rows a transaction has.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::reader::Line;

/// How long SQLite itself waits for another program that has the database locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

pub struct Row {
    path: Arc<str>,
    line: Line,
}

impl Row {
    pub fn new(path: &Arc<str>, line: Line) -> Self {
        Self {
            path: Arc::clone(path),
            line,
        }
    }
}

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
            "CREATE TABLE IF NOT EXISTS lines (
                 path   TEXT    NOT NULL,
                 number INTEGER NOT NULL,
                 text   TEXT    NOT NULL,
                 lossy  INTEGER NOT NULL
             )",
        )?;
        let store = Self { connection };
        // A table of that name with other columns should be known now, not at the first batch.
        store.connection.prepare_cached(INSERT)?;
        Ok(store)
    }

    /// Writes all rows in one transaction, or none.
    pub fn insert(&mut self, rows: &[Row]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(INSERT)?;
            for Row { path, line } in rows {
                insert.execute(params![path, line.number as i64, line.text, line.lossy])?;
            }
        }
        transaction.commit()
    }

    pub fn count(&self) -> rusqlite::Result<u64> {
        self.connection
            .query_row("SELECT count(*) FROM lines", [], |row| row.get::<_, i64>(0))
            .map(|count| count as u64)
    }

    /// As SQLite reports them: not every file system can have the journal mode asked for.
    pub fn settings(&self) -> rusqlite::Result<String> {
        let ask = |pragma| {
            self.connection
                .pragma_query_value(None, pragma, |row| row.get(0))
        };
        let journal: String = ask("journal_mode")?;
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

const INSERT: &str = "INSERT INTO lines (path, number, text, lossy) VALUES (?1, ?2, ?3, ?4)";

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
    pub fn new(db: Option<&Path>) -> Result<Self> {
        let mut temporary = tempfile::Builder::new();
        temporary.prefix(".ingest-");
        Ok(match db {
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
                    database: temporary.path().join("lines.db"),
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
        format!("temporary, in {}", directory.display())
    }
}
