//! Bursts of much more than the capacity, so that producers have to wait for the consumer.

use std::time::Duration;

use super::{Case, compare};
use crate::{
    item::Small,
    ours::{Setting, Way},
    peers::{
        Pipe,
        bounded::{CAPACITY, Crossbeam, Flume, Kanal, Std, Tokio},
    },
};

type Item16 = Small;

pub fn add(cases: &mut Vec<Case>) {
    for producers in [2, 8] {
        one::<Crossbeam>(cases, producers);
        one::<Flume>(cases, producers);
        one::<Kanal>(cases, producers);
        one::<Tokio>(cases, producers);
        one::<Std>(cases, producers);
    }
}

fn one<P: Pipe<Item16>>(cases: &mut Vec<Case>, producers: usize) {
    let name = format!("burst/{producers}/{}", P::NAME);
    cases.push(Case::new(name, producers == 2, move |case, plan| {
        let settings = [Way::Writer, Way::Reserving].map(|way| {
            [Duration::ZERO, Duration::from_millis(1)].map(|delay| Setting {
                way,
                delay,
                capacity: CAPACITY,
                partitions: None,
            })
        });
        vec![compare::<Item16, P>(
            case,
            plan,
            producers,
            &settings.concat(),
        )]
    }));
}
