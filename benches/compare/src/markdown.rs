//! All rows as one document.

use std::fmt::Write as _;

use crate::{
    machine::Machine,
    reasons::reason,
    row::Row,
    table::{kept, ratio, value},
};

const METHOD: &str = "\
Both sides of a row take turns in one process, in slices of 5 to 20 ms and in random order; a ratio \
is the median over all pairs of slices, with its 95 % bootstrap interval. Above 1 swaplane is the \
better one. Threads are started once, memory is touched before, every item is counted and summed \
where it arrives, and checked after each slice. Slices during which the hypervisor took the CPU away, \
or in which a single thread was off its CPU for more than 3 %, are thrown away (\"dropped\"). Each side \
is used in the best of the ways that it offers, tried before; which that was is in the row. Rows \
without a ratio are counts, or were measured once.";

const LEFT_OUT: &str = "\
`batch-aint-one` is left out: it answers every caller with what became of its item, which is another \
job.";

pub fn document(machine: &Machine, rows: &[Row]) -> String {
    let [what, limit] = machine.describe();
    let mut text = format!(
        "# Results\n\nWritten by `cargo run --release -p compare -- --markdown benches/RESULTS.md`, not \
         by hand. Numbers in the column \"why\" stand for the reasons below each table, of rows that we \
         lose.\n\nMeasured on: {what}. {limit}\n\n{METHOD}\n\n{LEFT_OUT}\n"
    );
    for group in rows.chunk_by(|a, b| a.group() == b.group()) {
        section(&mut text, group);
    }
    text
}

fn section(text: &mut String, rows: &[Row]) {
    let lost = rows.iter().filter(|row| row.is_lost()).count();
    let _ = write!(
        text,
        "\n## {}\n\n{} rows, of which {lost} are lost.\n\n\
         | case | ours | peer | peer/ours | 95 % | ours | peer | pairs | why |\n\
         |---|---|---|--:|--:|--:|--:|--:|---|\n",
        rows[0].group(),
        rows.len()
    );
    let mut reasons = Vec::new();
    for row in rows {
        let why = if row.is_lost() {
            let reason = reason(&row.case);
            let at = reasons.iter().position(|it| *it == reason);
            let at = at.unwrap_or_else(|| {
                reasons.push(reason);
                reasons.len() - 1
            });
            (at + 1).to_string()
        } else {
            String::new()
        };
        line(text, row, &why);
    }
    for (index, reason) in reasons.iter().enumerate() {
        let _ = write!(text, "\n{}. {reason}", index + 1);
    }
    if !reasons.is_empty() {
        text.push('\n');
    }
}

fn line(text: &mut String, row: &Row, why: &str) {
    let [ratio, interval] = ratio(row);
    let note = if row.note.is_empty() {
        String::new()
    } else {
        format!("; {}", row.note)
    };
    let _ = writeln!(
        text,
        "| {} | {} | {}{note} | {} | {} | {} {unit} | {} {unit} | {} | {why} |",
        row.case,
        row.ours,
        row.peer,
        ratio,
        interval,
        value(row.ours_value),
        row.peer_value.map(value).unwrap_or_default(),
        kept(row),
        unit = row.unit,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, peer: f64) -> Row {
        Row::single("push/x", "ours", "peer", "ns", (ours, peer), "a note")
    }

    #[test]
    fn what_is_lost_has_its_reason() {
        let mut text = String::new();
        section(&mut text, &[row(1.0, 2.0), row(2.0, 1.0)]);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.contains(&"2 rows, of which 1 are lost."), "{text}");
        assert!(
            lines.iter().any(|line| line.ends_with("| 2.00 ns |  |  |")),
            "{text}"
        );
        assert!(
            lines
                .iter()
                .any(|line| line.ends_with("| 1.00 ns |  | 1 |")),
            "{text}"
        );
        assert!(
            text.contains(&format!("\n1. {}", reason("push/x"))),
            "{text}"
        );
    }
}
