//! The command line.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, str::FromStr, thread, time::Duration};

use clap::{
    CommandFactory, Parser,
    error::{Error, ErrorKind},
};

const MAX_CAPACITY: usize = 10_000_000;

/// Keeps an SQLite table in step with devices that many threads update.
///
/// Each update is the new state of a device, with its version, and goes into a swaplane map, where
/// the updates of one device become one entry; one sink writes each batch of entries as one
/// transaction of upserts. In the end the table is compared with the true state of each device.
/// Ctrl-C stops the updates, writes what is buffered, and still compares; a second Ctrl-C quits at
/// once.
///
/// Exit status: 0 if the database says what is true (also after Ctrl-C), 1 if not, 2 for a wrong
/// argument.
#[derive(Parser)]
#[command(version, allow_negative_numbers = true)]
pub struct Args {
    /// Devices that change
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5_000,
        value_parser = within::<u32>(1..=1_000_000)
    )]
    pub devices: u32,

    /// Threads that update them, each of them all devices
    #[arg(
        long,
        value_name = "N",
        default_value_t = threads(),
        value_parser = within::<usize>(1..=1024)
    )]
    pub threads: usize,

    /// Updates of all threads together
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5_000_000,
        value_parser = within::<u64>(1..=1_000_000_000_000)
    )]
    pub updates: u64,

    /// Percentage of the updates that are held up on their way, and come after newer ones
    #[arg(
        long,
        value_name = "PERCENT",
        default_value_t = 5,
        value_parser = within::<u64>(0..=100)
    )]
    pub late: u64,

    /// Keep the rows in this database, and go on from those that it has [default: a temporary one,
    /// deleted at the end]
    #[arg(long, value_name = "FILE")]
    pub database: Option<PathBuf>,

    /// Devices the map holds at most, on their way to the database included
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8_000,
        value_parser = within::<usize>(1..=MAX_CAPACITY)
    )]
    pub capacity: usize,

    /// Rows per transaction at most [default: 2000, or three quarters of the capacity if that is
    /// less]
    #[arg(
        long,
        value_name = "N",
        value_parser = within::<usize>(1..=largest_batch(MAX_CAPACITY))
    )]
    batch_size: Option<usize>,

    /// Milliseconds a changed device waits for its batch to fill at most; 0 sends whatever is
    /// there as soon as the sink is free
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 50,
        value_parser = within::<u64>(0..=3_600_000)
    )]
    max_delay: u64,

    /// Devices of which the map remembers the version after they were written, so that what is
    /// late is refused there, and not by the database
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        value_parser = within::<usize>(0..=1_000_000)
    )]
    pub remember_versions: usize,

    /// Another seed makes other states and updates
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = within::<u64>(0..=u64::MAX))]
    pub seed: u64,
}

impl Args {
    /// Ends the program with a message if they are wrong.
    pub fn get() -> Self {
        let args = Self::parse();
        args.check().unwrap_or_else(|error| error.exit());
        args
    }

    /// What concerns two options at once. swaplane would refuse it too, but here the message names
    /// the option, and comes before a database file is made.
    fn check(&self) -> Result<(), Error> {
        let most = largest_batch(self.capacity);
        match self.batch_size {
            Some(size) if size > most => Err(Self::command().error(
                ErrorKind::ValueValidation,
                format!(
                    "invalid value '{size}' for '--batch-size <N>': must be a whole number from 1 \
                     to {most}, three quarters of --capacity {}",
                    self.capacity
                ),
            )),
            _ => Ok(()),
        }
    }

    pub fn batch_size(&self) -> usize {
        self.batch_size
            .unwrap_or_else(|| largest_batch(self.capacity).min(2_000))
    }

    pub fn max_delay(&self) -> Duration {
        Duration::from_millis(self.max_delay)
    }
}

/// A number, or a message that tells what it has to be, however it is wrong.
fn within<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Clone,
{
    move |text| {
        let number = text.parse().ok();
        number.filter(|n| range.contains(n)).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!("must be a whole number from {least} to {most}")
        })
    }
}

/// swaplane's own bound: a quarter of the capacity may lie unused in its shards.
const fn largest_batch(capacity: usize) -> usize {
    capacity - capacity / 4
}

/// One per CPU, but several also on a machine that has only one: that is what this is about.
fn threads() -> usize {
    thread::available_parallelism()
        .map_or(4, usize::from)
        .max(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound_and_the_defaults_are_in_range() {
        Args::command().debug_assert();
        let args = Args::parse_from(["state_sync"]);
        assert!(args.check().is_ok());
        assert_eq!(args.batch_size(), 2_000);
    }

    #[test]
    fn a_batch_fits_the_capacity() {
        let parse = |args: &str| {
            let args = Args::parse_from(format!("state_sync {args}").split(' '));
            args.check().map(|()| args.batch_size())
        };
        assert_eq!(parse("--capacity 1").unwrap(), 1);
        assert_eq!(parse("--capacity 100").unwrap(), 75);
        assert_eq!(parse("--capacity 100 --batch-size 75").unwrap(), 75);
        assert!(parse("--capacity 100 --batch-size 76").is_err());
    }
}
