//! Runs the program, and asks the database what it did.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

fn state_sync(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_state_sync"));
    command
        .stdin(std::process::Stdio::null())
        .args(args.split_whitespace());
    command
}

fn run(args: &str, database: &Path) -> Output {
    let mut command = state_sync(args);
    command.arg("--database").arg(database);
    command.output().unwrap()
}

/// How many rows there are, and the sum of their versions: a device counts its updates, so that is
/// how many updates the database knows of.
fn rows_and_updates(database: &Path) -> rusqlite::Result<(u64, u64)> {
    Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?.query_row(
        "SELECT count(*), ifnull(sum(version), 0) FROM devices",
        [],
        |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64)),
    )
}

/// What the table says of `name`.
fn cell(output: &Output, name: &str) -> String {
    let table = String::from_utf8_lossy(&output.stdout);
    table
        .lines()
        .filter_map(|line| line.trim_matches('│').split_once('┆'))
        .find(|(cell, _)| cell.trim() == name)
        .unwrap_or_else(|| panic!("no \"{name}\" in:\n{table}{}", errors(output)))
        .1
        .trim()
        .to_owned()
}

fn number(output: &Output, name: &str) -> u64 {
    let cell = cell(output, name);
    cell.replace(',', "")
        .parse()
        .unwrap_or_else(|_| panic!("{name} is no number: {cell}"))
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What holds after every run in which nothing failed.
fn assert_good(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", errors(output));
    let number = |name| number(output, name);
    assert_eq!(
        number("Updates offered"),
        number("Accepted") + number("Stale, refused by the map")
    );
    assert_eq!(
        number("Accepted"),
        number("Coalesced") + number("Entries sent")
    );
    assert_eq!(
        number("Entries sent"),
        number("Rows written") + number("Stale, refused by the database")
    );
    assert_eq!(number("Batches"), number("Transactions"));
    assert_eq!(number("Rows that differ"), 0);
}

#[test]
fn the_database_says_what_is_true() {
    let dir = TempDir::new().unwrap();
    let database = dir.path().join("devices.db");
    let args = "--devices 200 --threads 3 --updates 50000 --late 20 --batch-size 50";

    let output = run(args, &database);
    assert_good(&output);
    assert_eq!(errors(&output), "", "quiet without a terminal");
    assert_eq!(number(&output, "Updates offered"), 50_000);
    assert_eq!(number(&output, "Rows in the database"), 200);
    assert!(number(&output, "Stale, refused by the map") > 0);
    assert!(number(&output, "Coalesced") > 0);
    assert!(number(&output, "Batches") >= 4);
    assert_eq!(cell(&output, "Database"), database.display().to_string());
    assert_eq!(rows_and_updates(&database).unwrap(), (200, 50_000));

    // The devices go on from where they were; some have no part in it.
    let output = run("--devices 100 --updates 20000 --seed 2", &database);
    assert_good(&output);
    assert_eq!(number(&output, "Rows in the database"), 200);
    assert_eq!(rows_and_updates(&database).unwrap(), (200, 70_000));

    let left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with(".state_sync-"))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn a_temporary_database_is_deleted() {
    let dir = TempDir::new().unwrap();
    let output = state_sync("--updates 1000")
        .env("TMPDIR", dir.path())
        .env("TMP", dir.path())
        .output()
        .unwrap();
    assert_good(&output);
    assert!(cell(&output, "Database").contains("--database"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn nothing_is_lost_where_there_is_hardly_any_room() {
    let dir = TempDir::new().unwrap();
    for capacity in [1, 2, 7, 100] {
        let database = dir.path().join(capacity.to_string());
        let updates = 200 * capacity;
        let args = format!("--devices 5000 --updates {updates} --capacity {capacity}");
        let output = run(&args, &database);
        assert_good(&output);
        assert!(number(&output, "Waits for room") > 0);
        assert_eq!(rows_and_updates(&database).unwrap().1, updates);
    }
}

#[test]
fn what_comes_in_order_is_never_stale() {
    let output = state_sync("--threads 1 --late 0 --updates 20000 --devices 50")
        .output()
        .unwrap();
    assert_good(&output);
    assert_eq!(number(&output, "Stale, refused by the map"), 0);
    assert_eq!(number(&output, "Stale, refused by the database"), 0);
}

#[test]
fn a_map_that_remembers_versions_sends_nothing_stale() {
    let args = "--late 50 --updates 50000 --devices 500 --capacity 300 --max-delay 0";
    let output = state_sync(args)
        .args(["--remember-versions", "500"])
        .output()
        .unwrap();
    assert_good(&output);
    assert!(number(&output, "Stale, refused by the map") > 0);
    assert_eq!(number(&output, "Stale, refused by the database"), 0);
}

#[test]
fn a_database_that_differs_is_an_error() {
    let dir = TempDir::new().unwrap();
    let database = dir.path().join("devices.db");
    assert_good(&run("--updates 1000 --devices 20", &database));
    Connection::open(&database)
        .unwrap()
        .execute_batch(
            "CREATE TRIGGER tamper AFTER UPDATE OF version ON devices WHEN NEW.device = 3
             BEGIN UPDATE devices SET battery = 101 WHERE device = 3; END",
        )
        .unwrap();
    let output = run("--updates 1000 --devices 20", &database);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(number(&output, "Rows that differ"), 1);
    let errors = errors(&output);
    assert!(errors.contains("differs from the true state: device 3 has another state"));
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn a_refused_batch_is_an_error_and_stops_the_updates() {
    const UPDATES: u64 = 1_000_000_000_000;
    let dir = TempDir::new().unwrap();
    let database = dir.path().join("devices.db");
    assert_good(&run("--updates 1000 --devices 20", &database));
    Connection::open(&database)
        .unwrap()
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON devices WHEN NEW.device = 13
             BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        )
        .unwrap();
    let output = run(&format!("--updates {UPDATES} --devices 20"), &database);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("refused a batch: not this one"));
    assert!(errors(&output).contains("differs"));
    assert!(number(&output, "Rows that differ") > 0);
    assert!(number(&output, "Updates offered") < UPDATES);
}

#[test]
fn wrong_arguments_are_named_and_end_with_status_2() {
    let dir = TempDir::new().unwrap();
    let database = dir.path().join("devices.db");
    let cases = [
        ("--devices 0", "--devices", "from 1 to 1000000"),
        ("--devices many", "--devices", "'many'"),
        ("--threads 1025", "--threads", "from 1 to 1024"),
        ("--updates -1", "--updates", "from 1 to 1000000000000"),
        ("--late 101", "--late", "from 0 to 100"),
        ("--capacity 0", "--capacity", "from 1 to 10000000"),
        ("--batch-size 0", "--batch-size", "from 1 to 7500000"),
        (
            "--capacity 10 --batch-size 9",
            "--batch-size",
            "from 1 to 8",
        ),
        ("--max-delay soon", "--max-delay", "'soon'"),
        (
            "--remember-versions -3",
            "--remember-versions",
            "from 0 to 1000000",
        ),
    ];
    for (args, option, part) in cases {
        let output = run(args, &database);
        let errors = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{args}: {errors}");
        assert!(errors.contains(option), "{args}: {errors}");
        assert!(errors.contains(part), "{args}: {errors}");
        assert!(output.stdout.is_empty());
    }
    assert!(!database.exists(), "a wrong argument leaves no database");
}

#[test]
fn a_database_that_cannot_be_used_is_an_error() {
    let dir = TempDir::new().unwrap();
    let file = |name: &str| dir.path().join(name);
    fs::create_dir(file("directory")).unwrap();
    fs::write(file("text"), "long enough to be read. ".repeat(100)).unwrap();
    let with = |name: &str, sql: &str| {
        let connection = Connection::open(file(name)).unwrap();
        connection.execute_batch(sql).unwrap();
    };
    with("other", "CREATE TABLE devices (name, version)");
    assert_good(&run("--updates 10", &file("negative")));
    with("negative", "UPDATE devices SET version = -1");

    let cases = [
        ("no/such/directory/x.db", "no/such/directory"),
        ("directory", "unable to open"),
        ("text", "not a database"),
        ("other", "no column named device"),
        ("negative", "-1 out of range"),
    ];
    for (name, part) in cases {
        let output = run("--updates 10", &file(name));
        let errors = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{name}: {errors}");
        assert!(errors.contains("--database"), "{name}: {errors}");
        assert!(errors.contains(name), "{name}: {errors}");
        assert!(errors.contains(part), "{name}: {errors}");
        assert!(output.stdout.is_empty());
    }
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
    fn after_ctrl_c_the_database_still_says_what_is_true() {
        const UPDATES: u64 = 1_000_000_000_000;
        let dir = TempDir::new().unwrap();
        let database = dir.path().join("devices.db");
        let child = state_sync(&format!("--updates {UPDATES} --threads 2 --late 50"))
            .arg("--database")
            .arg(&database)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();

        let started = Instant::now();
        while !rows_and_updates(&database).is_ok_and(|(rows, _)| rows > 0) {
            assert!(started.elapsed() < Duration::from_secs(60), "no row came");
            thread::sleep(Duration::from_millis(5));
        }
        let kill = Command::new("sh")
            .args(["-c", &format!("kill -INT {}", child.id())])
            .status()
            .unwrap();
        assert!(kill.success());

        let output = child.wait_with_output().unwrap();
        assert_good(&output);
        let updates = number(&output, "Updates offered");
        assert_eq!(rows_and_updates(&database).unwrap().1, updates);
        assert!(updates < UPDATES);
        assert_eq!(cell(&output, "Updates ended"), "early, by Ctrl-C");
    }
}
