//! Runs the program, and asks the database what it did.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

fn ingest() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingest"));
    command.stdin(std::process::Stdio::null());
    command
}

fn count(db: &Path) -> rusqlite::Result<u64> {
    Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_ONLY)?
        .query_row("SELECT count(*) FROM lines", [], |row| row.get::<_, i64>(0))
        .map(|count| count as u64)
}

/// The number in the table's row of that name.
fn number(output: &Output, name: &str) -> u64 {
    let table = String::from_utf8_lossy(&output.stdout);
    let row = table
        .lines()
        .find(|line| line.contains(name))
        .unwrap_or_else(|| panic!("no \"{name}\" in:\n{table}{}", errors(output)));
    let digits: String = row.chars().filter(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_line_becomes_a_row() {
    let dir = TempDir::new().unwrap();
    let text = dir.path().join("text");
    fs::create_dir_all(text.join("deeper")).unwrap();
    fs::write(text.join("unix"), "one\ntwo\n\n").unwrap();
    fs::write(text.join("windows"), "one\r\ntwo").unwrap();
    fs::write(text.join("empty"), "").unwrap();
    fs::write(text.join("binary"), b"\x7fELF\0\n\n\n").unwrap();
    fs::write(text.join("deeper/latin1"), b"caf\xe9\nok\n").unwrap();
    let many: String = (1..=2_500).map(|n| format!("line {n}\n")).collect();
    fs::write(text.join("deeper/many"), many).unwrap();
    let db = dir.path().join("lines.db");

    let run = |times: u64| {
        let output = ingest()
            .arg(&text)
            .args(["--threads", "3", "--batch-size", "100", "--db"])
            .arg(&db)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        assert_eq!(errors(&output), "", "quiet without a terminal");
        assert_eq!(number(&output, "Lines pushed"), 2_507);
        assert_eq!(number(&output, "Rows in the database"), 2_507);
        assert_eq!(number(&output, "Lossy lines"), 1);
        assert!(number(&output, "Batches") >= 26);
        assert_eq!(count(&db).unwrap(), 2_507 * times);
    };
    run(1);

    let connection = Connection::open(&db).unwrap();
    let rows = |file: &str| -> Vec<(i64, String, bool)> {
        connection
            .prepare("SELECT number, text, lossy FROM lines WHERE path = ?1 ORDER BY number")
            .unwrap()
            .query_map([text.join(file).to_str().unwrap()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    let row = |number, text: &str, lossy| (number, text.to_owned(), lossy);
    assert_eq!(
        rows("unix"),
        [
            row(1, "one", false),
            row(2, "two", false),
            row(3, "", false)
        ]
    );
    assert_eq!(
        rows("windows"),
        [row(1, "one", false), row(2, "two", false)]
    );
    assert_eq!(
        rows("deeper/latin1"),
        [row(1, "caf\u{fffd}", true), row(2, "ok", false)]
    );
    assert_eq!(rows("deeper/many").len(), 2_500);
    assert_eq!(rows("binary"), []);

    // A second run adds to the database, and still compares only its own rows.
    run(2);
    let left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with(".ingest-"))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn stops_at_the_limit() {
    let dir = TempDir::new().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(dir.path().join(name), "x\n".repeat(1_000)).unwrap();
    }
    let output = ingest()
        .arg(dir.path())
        .args(["--max-lines", "1234"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(number(&output, "Lines pushed"), 1_234);
    assert_eq!(number(&output, "Rows in the database"), 1_234);
}

#[test]
fn unreadable_files_are_reported_and_counted() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("good"), "a\nb\n").unwrap();
    // A line that is too long fails for everyone; a file without permissions is read by the
    // superuser.
    let endless = "x".repeat(17 * 1024 * 1024);
    fs::write(dir.path().join("endless"), format!("first\n{endless}")).unwrap();
    let output = ingest().arg(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(errors(&output).contains("endless: line 2 is longer"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 unreadable"));
    assert_eq!(number(&output, "Lines pushed"), 3);
}

#[test]
fn a_refused_batch_is_an_error_and_stops_the_reading() {
    let dir = TempDir::new().unwrap();
    let text = dir.path().join("text");
    fs::write(&text, "x\n".repeat(1_000)).unwrap();
    let db = dir.path().join("lines.db");
    Connection::open(&db)
        .unwrap()
        .execute_batch(
            "CREATE TABLE lines (path, number, text, lossy);
             CREATE TRIGGER refuse BEFORE INSERT ON lines WHEN NEW.number = 150
             BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        )
        .unwrap();
    let output = ingest()
        .arg(&text)
        .args(["--threads", "1", "--batch-size", "100", "--db"])
        .arg(&db)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    assert!(errors(&output).contains("not this one"));
    let rows = count(&db).unwrap();
    assert!(rows < number(&output, "Lines pushed"));
    assert_eq!(rows, number(&output, "Rows in the database"));
}

#[test]
fn wrong_arguments_are_named_and_end_with_status_2() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("text"), "not SQL. ".repeat(200)).unwrap();
    let db = dir.path().join("lines.db");
    let cases: [(&[&str], &str); 7] = [
        (&["--threads", "0"], "--threads"),
        (&["--batch-size", "0"], "--batch-size"),
        (&["--batch-size", "75001"], "75000"),
        (&["--max-delay", "soon"], "--max-delay"),
        (&["no/such/path"], "no/such/path"),
        (&["--db", "no/such/directory/x.db"], "no/such/directory"),
        (&["--db", "text"], "not a database"),
    ];
    fs::write(
        dir.path().join("text"),
        "long enough to be read. ".repeat(100),
    )
    .unwrap();
    for (args, part) in cases {
        let mut command = ingest();
        command.current_dir(dir.path());
        if !args.contains(&"--db") {
            command.arg("--db").arg(&db);
        }
        let output = command.args(args).output().unwrap();
        let errors = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {errors}");
        assert!(errors.contains(part), "{args:?}: {errors}");
        assert!(output.stdout.is_empty());
    }
    assert!(!db.exists(), "a wrong argument leaves no database behind");
}

#[cfg(unix)]
mod unix {
    use std::{
        process::Stdio,
        thread,
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn after_ctrl_c_the_table_still_adds_up() {
        const FILES: u64 = 8;
        const LINES: u64 = 500_000;
        let dir = TempDir::new().unwrap();
        let text = dir.path().join("text");
        fs::create_dir(&text).unwrap();
        let content = "a line of text\n".repeat(LINES as usize);
        for n in 0..FILES {
            fs::write(text.join(n.to_string()), &content).unwrap();
        }
        let db = dir.path().join("lines.db");
        let child = ingest()
            .arg(&text)
            .args(["--threads", "2", "--batch-size", "200", "--db"])
            .arg(&db)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();

        let started = Instant::now();
        while !count(&db).is_ok_and(|rows| rows > 0) {
            assert!(started.elapsed() < Duration::from_secs(30), "no row came");
            thread::sleep(Duration::from_millis(5));
        }
        let kill = Command::new("sh")
            .args(["-c", &format!("kill -INT {}", child.id())])
            .status()
            .unwrap();
        assert!(kill.success());

        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let lines = number(&output, "Lines pushed");
        assert_eq!(lines, number(&output, "Rows in the database"));
        assert_eq!(lines, count(&db).unwrap());
        assert!(lines < FILES * LINES, "it was over before the signal came");
        assert!(String::from_utf8_lossy(&output.stdout).contains("Ctrl-C"));
    }
}
