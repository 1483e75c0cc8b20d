//! Keyed pushes from many threads: spread over the partitions, and all at one.

use super::{Case, compare};
use crate::{
    item::Small,
    ours::{Setting, Way},
    peers::{
        Pipe,
        mutex::{KeyOf, Keyed, ParkingLot, Shared, Std, Uniform, Zipf},
    },
};

type Item16 = Small;

pub fn add(cases: &mut Vec<Case>) {
    for producers in [2, 4] {
        spread::<Uniform>(cases, "uniform", producers);
        spread::<Zipf>(cases, "zipf", producers);
        one::<Shared<ParkingLot<Item16>>>(cases, producers);
        one::<Shared<Std<Item16>>>(cases, producers);
    }
}

fn spread<K: KeyOf>(cases: &mut Vec<Case>, keys: &str, producers: usize) {
    let peer = <Keyed<K> as Pipe<Item16>>::NAME;
    let name = format!("keyed/{keys}/{producers}/{peer}");
    cases.push(Case::new(name, producers == 2, move |case, plan| {
        let settings = Setting::choices(Way::Keyed(K::table()));
        vec![compare::<Item16, Keyed<K>>(
            case, plan, producers, &settings,
        )]
    }));
}

fn one<P: Pipe<Item16>>(cases: &mut Vec<Case>, producers: usize) {
    let name = format!("keyed/one-partition/{producers}/{}", P::NAME);
    cases.push(Case::new(name, producers == 2, move |case, plan| {
        let mut settings = Setting::choices(Way::Keyed(Uniform::table()));
        for setting in &mut settings {
            setting.partitions = Some(1);
        }
        vec![compare::<Item16, P>(case, plan, producers, &settings)]
    }));
}
