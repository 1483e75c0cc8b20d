//! The table.

use std::{path::Path, sync::Arc};

use common::database;
use rusqlite::{Connection, params};

use crate::reader::Line;

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
        let connection = database::open(file, TABLE, INSERT)?;
        Ok(Self { connection })
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

    pub fn settings(&self) -> rusqlite::Result<String> {
        database::settings(&self.connection)
    }
}

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS lines (
        path   TEXT    NOT NULL,
        number INTEGER NOT NULL,
        text   TEXT    NOT NULL,
        lossy  INTEGER NOT NULL
    )";

const INSERT: &str = "INSERT INTO lines (path, number, text, lossy) VALUES (?1, ?2, ?3, ?4)";
