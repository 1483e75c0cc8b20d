//! The progress bar.

use std::{
    fmt::Write,
    io::{self, IsTerminal as _},
    time::Duration,
};

use common::figures::grouped;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use swaplane::Queue;

use crate::store::Row;

/// Shows the bytes read, the rows written, and how many rows are in between. Only on a terminal.
pub fn bar(bytes: u64, queue: &Queue<Row>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let queue = queue.clone();
    let rows = move |_: &ProgressState, out: &mut dyn Write| {
        let stats = queue.stats();
        // The bar cannot do anything about an error either.
        let _ = write!(
            out,
            "{} rows, {} buffered",
            grouped(stats.delivered),
            grouped(stats.held),
        );
    };
    let style = ProgressStyle::with_template(
        "{wide_bar} {binary_bytes}/{binary_total_bytes}  {rows}  {elapsed}",
    )
    .expect("the template is valid")
    .with_key("rows", rows);
    let bar = ProgressBar::new(bytes).with_style(style);
    // After the last file is read there is still something to see.
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
