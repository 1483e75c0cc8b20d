//! From N producers to batches of 512 at a sink that sums: throughput, end to end.

use super::{Case, compare, with_setting};
use crate::{
    item::{Item, Large, Small},
    ours::{Buffered, Setting, Way},
    pair::{best, contest},
    peers::{
        Pipe,
        channels::{Crossbeam, Flume, Kanal, Std, Tokio},
        domain::{Appender, Driven, Library, OpenTelemetry},
        mutex::{self, OwnShard, ParkingLot, Shared},
        queues::{Concurrent, Seg},
        rings::{Disruptor, Rtrb},
    },
    row::Row,
};

const PRODUCERS: [usize; 5] = [1, 2, 4, 8, 16];

pub fn add(cases: &mut Vec<Case>) {
    of::<Small>(cases, true);
    for producers in PRODUCERS {
        library::<OpenTelemetry>(cases, producers);
        library::<Appender>(cases, producers);
    }
    of::<Large>(cases, false);
    of::<String>(cases, false);
}

fn of<T: Item + Sync + Default>(cases: &mut Vec<Case>, all_ways: bool) {
    for producers in PRODUCERS {
        let quick = all_ways && (producers == 2 || producers == 8);
        // The way makes no difference that items of one size do not show.
        let ways = if all_ways {
            &Way::PLAIN[..]
        } else {
            &[Way::Writer]
        };
        for &way in ways {
            one::<T, OwnShard<ParkingLot<T>>>(cases, quick, producers, way);
            one::<T, OwnShard<mutex::Std<T>>>(cases, quick, producers, way);
            one::<T, Shared<ParkingLot<T>>>(cases, quick, producers, way);
            one::<T, Shared<mutex::Std<T>>>(cases, quick, producers, way);
            one::<T, Seg>(cases, quick, producers, way);
            one::<T, Concurrent>(cases, quick, producers, way);
            one::<T, Crossbeam>(cases, quick, producers, way);
            one::<T, Flume>(cases, quick, producers, way);
            one::<T, Kanal>(cases, quick, producers, way);
            one::<T, Tokio>(cases, quick, producers, way);
            one::<T, Std>(cases, quick, producers, way);
            one::<T, Rtrb>(cases, quick, producers, way);
            one::<T, Disruptor>(cases, quick, producers, way);
        }
    }
}

fn library<L: Library>(cases: &mut Vec<Case>, producers: usize) {
    let way = Way::Writer;
    let name = format!("e2e/16B/{producers}/{}/{}", way.short(), L::NAME);
    cases.push(Case::new(name, producers == 2, move |case, plan| {
        let plan = plan.for_threads(producers);
        let mut ours = best(
            plan,
            Buffered::<Small>::ways(producers, &Setting::choices(way)),
        );
        let outcome = contest(plan, &mut *ours, &mut Driven::<L>::new(producers));
        let name = with_setting(way.name(), ours.setting());
        vec![Row::of(case, name, L::NAME.to_owned(), L::NOTE, outcome)]
    }));
}

fn one<T: Item, P: Pipe<T>>(cases: &mut Vec<Case>, quick: bool, producers: usize, way: Way) {
    let name = format!("e2e/{}/{producers}/{}/{}", T::NAME, way.short(), P::NAME);
    cases.push(Case::new(name, quick, move |case, plan| {
        vec![compare::<T, P>(
            case,
            plan,
            producers,
            &Setting::choices(way),
        )]
    }));
}
