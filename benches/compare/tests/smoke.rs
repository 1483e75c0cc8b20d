//! The program runs, checks what arrives, and writes what it should. Nothing here is timed.

use std::{fs, process::Command};

use serde_json::Value;
use tempfile::TempDir;

fn compare() -> Command {
    Command::new(env!("CARGO_BIN_EXE_compare"))
}

#[test]
fn a_quick_run_writes_rows_and_a_chart() {
    let dir = TempDir::new().unwrap();
    let json = dir.path().join("rows.json");
    let output = compare()
        .args(["--quick", "--json"])
        .arg(&json)
        .arg("--svg")
        .arg(dir.path())
        .args([
            "push/collected-8192/writer/plain-Vec",
            "e2e/16B/2/queue/flume",
        ])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");

    let report: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    for field in ["cpu", "kernel", "rustc", "commit"] {
        assert!(report["machine"][field].is_string(), "{report}");
    }
    let rows = report["rows"].as_array().unwrap();
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["case"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "push/collected-8192/writer/plain-Vec",
            "e2e/16B/2/queue/flume"
        ]
    );
    for row in rows {
        let [low, median, high] =
            ["low", "median", "high"].map(|field| row["ratio"][field].as_f64().unwrap());
        assert!(0.0 < low && low <= median && median <= high, "{row}");
        assert!(row["ours_value"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["peer_value"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["kept"].as_u64().unwrap() > 0, "{row}");
        assert!(row["dropped"].is_u64(), "{row}");
        assert!(row["others"].as_f64().unwrap() >= 0.0, "{row}");
    }
    let svg = fs::read_to_string(dir.path().join("ratios.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("<rect"));

    let document = dir.path().join("results.md");
    let again = compare()
        .arg("--from")
        .arg(&json)
        .arg("--markdown")
        .arg(&document)
        .arg("e2e/")
        .status()
        .unwrap();
    assert!(again.success());
    let document = fs::read_to_string(&document).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| e2e/"));
    assert_eq!(rows.count(), 1, "{document}");
    assert!(!document.contains("| push/"), "{document}");
}

#[test]
fn cases_are_listed_and_unknown_ones_named() {
    let list = compare().args(["--list", "e2e/16B/1/"]).output().unwrap();
    let names = String::from_utf8(list.stdout).unwrap();
    assert!(names.lines().all(|name| name.starts_with("e2e/16B/1/")));
    assert!(names.lines().count() > 10);

    let none = compare().arg("no such case").output().unwrap();
    assert_eq!(none.status.code(), Some(2));
    assert!(none.stdout.is_empty());
}
