//! What is measured.

mod e2e;
mod memory;
mod push;

use crate::{pair::Plan, row::Row};

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
    memory::add(&mut cases);
    cases
}

/// `max_delay 1ms` behind what it belongs to.
fn with_setting(name: &str, setting: String) -> String {
    if setting.is_empty() {
        name.to_owned()
    } else {
        format!("{name} ({setting})")
    }
}
