//! What it is compared with: the same rows, a transaction for each.

use std::{
    fs,
    io::BufReader,
    path::PathBuf,
    slice,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use common::{database::Place, stop::Stop};

use crate::{
    reader,
    store::{Row, Store},
};

const FOR: Duration = Duration::from_secs(2);
const SAMPLE: usize = 20_000;

pub struct Baseline {
    pub rows: u64,
    pub elapsed: Duration,
}

impl Baseline {
    pub fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64()
    }
}

/// Some of the rows that were just written. They are read before the clock starts, which is to
/// the advantage of the slower way: the faster one's time includes the reading.
pub fn sample(files: &[PathBuf], stop: &Stop) -> Vec<Row> {
    let mut rows = Vec::new();
    for path in files {
        // What could not be read was reported the first time.
        let Ok(file) = fs::File::open(path) else {
            continue;
        };
        let Ok(Some(lines)) = reader::lines(BufReader::new(file)) else {
            continue;
        };
        let path: Arc<str> = path.to_string_lossy().into();
        for line in lines.map_while(Result::ok) {
            if rows.len() == SAMPLE || stop.is_set() {
                return rows;
            }
            rows.push(Row::new(&path, line));
        }
    }
    rows
}

/// Writes the sample row by row, from its start again if it ends too soon. `None` if there is
/// nothing to measure, or if Ctrl-C says that nobody wants to wait for it.
pub fn measure(place: &Place, sample: &[Row], stop: &Stop) -> Result<Option<Baseline>> {
    if sample.is_empty() || stop.is_set() {
        return Ok(None);
    }
    let mut store = Store::open(&place.comparison()).context("cannot make the comparison")?;
    let started = Instant::now();
    let mut rows = 0;
    for row in sample.iter().cycle() {
        store.insert(slice::from_ref(row))?;
        rows += 1;
        if started.elapsed() >= FOR {
            break;
        }
        if stop.is_set() {
            return Ok(None);
        }
    }
    Ok(Some(Baseline {
        rows,
        elapsed: started.elapsed(),
    }))
}
