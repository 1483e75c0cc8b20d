//! What a push costs in one thread: with all that it takes to get the items to a sink, or alone.

use super::Case;
use crate::{
    item::Small,
    pair::{BoxSide, contest},
    peers::{
        Pipe,
        channels::Crossbeam,
        mutex::{KeyOf as _, Keyed, OwnShard, ParkingLot, Std, Uniform},
        queues::Seg,
        rings::Rtrb,
    },
    row::Row,
    solo::{ByKey, ByQueue, ByWriter, Ends, Ours, Plain, Solo, Timed},
};

type Item16 = Small;

/// How much is pushed before it is collected.
#[derive(Clone, Copy)]
struct Chunk {
    name: &'static str,
    items: u64,
    timed: Timed,
}

const CHUNKS: [Chunk; 3] = [
    Chunk {
        name: "collected-8192",
        items: 8192,
        timed: Timed::Both,
    },
    Chunk {
        name: "collected-512",
        items: 512,
        timed: Timed::Both,
    },
    Chunk {
        name: "alone",
        items: 8192,
        timed: Timed::Push,
    },
];

pub fn add(cases: &mut Vec<Case>) {
    for chunk in CHUNKS {
        for (short, name, ours) in [
            ("writer", "Writer::push", writer as fn(Chunk) -> BoxSide),
            ("queue", "Queue::push", queue),
            ("keyed", "Queue::push_keyed", keyed),
        ] {
            let mut one = |peer_name: &'static str, peer: fn(Chunk) -> BoxSide| {
                let case = format!("push/{}/{short}/{peer_name}", chunk.name);
                let quick = chunk.items != 512;
                cases.push(Case::new(case, quick, move |case, plan| {
                    let outcome = contest(plan, &mut *ours(chunk), &mut *peer(chunk));
                    vec![Row::of(case, name.into(), peer_name.into(), "", outcome)]
                }));
            };
            one("plain-Vec", plain);
            one(
                "own-mutex-parking_lot",
                pipe::<OwnShard<ParkingLot<Item16>>>,
            );
            one("own-mutex-std", pipe::<OwnShard<Std<Item16>>>);
            if short == "keyed" {
                one("hashed-mutex-parking_lot", pipe::<Keyed<Uniform>>);
                continue;
            }
            one("crossbeam-SegQueue", pipe::<Seg>);
            one("crossbeam-channel", pipe::<Crossbeam>);
            one("rtrb", pipe::<Rtrb>);
        }
    }
}

fn writer(chunk: Chunk) -> BoxSide {
    let ours = Ours::<Item16, _>::new(ByWriter::new(), None);
    Box::new(Solo::new(ours, chunk.items, chunk.timed))
}

fn queue(chunk: Chunk) -> BoxSide {
    let ours = Ours::<Item16, _>::new(ByQueue, None);
    Box::new(Solo::new(ours, chunk.items, chunk.timed))
}

fn keyed(chunk: Chunk) -> BoxSide {
    let ours = Ours::<Item16, _>::new(ByKey::new(Uniform::table()), None);
    Box::new(Solo::new(ours, chunk.items, chunk.timed))
}

fn plain(chunk: Chunk) -> BoxSide {
    let plain = Plain::<Item16>::new(chunk.items);
    Box::new(Solo::new(plain, chunk.items, chunk.timed))
}

fn pipe<P: Pipe<Item16>>(chunk: Chunk) -> BoxSide {
    Box::new(Solo::new(
        Ends::<Item16, P>::new(),
        chunk.items,
        chunk.timed,
    ))
}
