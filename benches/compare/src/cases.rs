//! What is measured.

mod burst;
mod e2e;
mod flush;
mod idle;
mod keyed;
mod latency;
mod map;
mod memory;
mod push;

use crate::{
    item::Item,
    ours::{Buffered, Setting},
    pair::{Plan, best, contest},
    peers::{Pipe, Piped},
    row::Row,
};

pub struct Case {
    pub name: String,
    /// Belongs to a quick run of everything.
    pub quick: bool,
    pub run: Run,
}

type Run = Box<dyn FnOnce(&str, Plan) -> Vec<Row>>;

impl Case {
    fn new(
        name: impl Into<String>,
        quick: bool,
        run: impl FnOnce(&str, Plan) -> Vec<Row> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            quick,
            run: Box::new(run),
        }
    }
}

pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    push::add(&mut cases);
    e2e::add(&mut cases);
    keyed::add(&mut cases);
    burst::add(&mut cases);
    latency::add(&mut cases);
    memory::add(&mut cases);
    idle::add(&mut cases);
    map::add(&mut cases);
    flush::add(&mut cases);
    cases
}

/// The best of our settings with the best way to use a peer, from many threads to a sink.
fn compare<T: Item, P: Pipe<T>>(
    case: &str,
    plan: Plan,
    producers: usize,
    settings: &[Setting],
) -> Row {
    let name = settings[0].way.name();
    let plan = plan.for_threads(producers);
    let mut ours = best(plan, Buffered::<T>::ways(producers, settings));
    let mut peer = best(plan, Piped::<T, P>::ways(producers));
    let outcome = contest(plan, &mut *ours, &mut *peer);
    Row::of(
        case,
        with_setting(name, ours.setting()),
        with_setting(P::NAME, peer.setting()),
        P::NOTE,
        outcome,
    )
}

/// `max_delay 1ms` behind what it belongs to.
fn with_setting(name: &str, setting: String) -> String {
    if setting.is_empty() {
        name.to_owned()
    } else {
        format!("{name} ({setting})")
    }
}
