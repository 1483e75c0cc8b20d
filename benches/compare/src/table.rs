//! The rows as tables, one for each group.

use comfy_table::{Table, presets};

use crate::row::Row;

/// What others may do without being mentioned, in cores.
const QUIET: f64 = 0.1;

pub fn print(rows: &[Row]) {
    for group in rows.chunk_by(|a, b| a.group() == b.group()) {
        println!("\n{}", table(group));
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "case",
        "ours",
        "peer",
        "peer/ours",
        "95 %",
        "unit",
        "ours",
        "peer",
        "kept",
        "note",
    ]);
    for row in rows {
        let [ratio, interval] = ratio(row);
        table.add_row([
            row.case.clone(),
            row.ours.clone(),
            row.peer.clone(),
            ratio,
            interval,
            row.unit.clone(),
            value(row.ours_value),
            row.peer_value.map(value).unwrap_or_default(),
            kept(row),
            row.note.clone(),
        ]);
    }
    table
}

/// The ratio and its interval; nothing if there is none.
pub fn ratio(row: &Row) -> [String; 2] {
    row.ratio.map_or_else(Default::default, |ratio| {
        [
            format!("{:.2}", ratio.median),
            format!("{:.2} to {:.2}", ratio.low, ratio.high),
        ]
    })
}

pub fn kept(row: &Row) -> String {
    let mut text = match (row.kept, row.dropped) {
        (0, _) => String::new(),
        (kept, _) if row.disturbed => format!("{kept}, disturbed"),
        (kept, 0) => kept.to_string(),
        (kept, dropped) => format!("{kept}, {dropped} dropped"),
    };
    if row.others > QUIET {
        let comma = if text.is_empty() { "" } else { ", " };
        text += &format!("{comma}others on {:.1} cores", row.others);
    }
    text
}

/// Three significant digits.
pub fn value(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        x if x < 10.0 => 2,
        x if x < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}
