//! The progress bar.

use std::{
    fmt::Write,
    io::{self, IsTerminal as _},
    time::Duration,
};

use common::figures::grouped;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use swaplane::Map;

use crate::devices::State;

/// Shows the updates made, the rows they became, and how many more there will be. Only on a
/// terminal.
pub fn bar(updates: u64, map: &Map<u32, State>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let map = map.clone();
    let rows = move |_: &ProgressState, out: &mut dyn Write| {
        let stats = map.stats();
        // The bar cannot do anything about an error either.
        let _ = write!(
            out,
            "{} rows sent, {} buffered",
            grouped(stats.delivered),
            grouped(stats.held),
        );
    };
    let style = ProgressStyle::with_template(
        "{wide_bar} {human_pos}/{human_len} updates  {rows}  {elapsed}",
    )
    .expect("the template is valid")
    .with_key("rows", rows);
    let bar = ProgressBar::new(updates).with_style(style);
    // After the last update there is still something to see.
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
