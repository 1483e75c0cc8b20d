//! Why everything should stop, once something says so.

use std::{
    process,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result};

#[derive(Clone, Debug)]
pub enum Why {
    Interrupted,
    SinkFailed(String),
}

/// Set at most once each, looked at by all threads.
#[derive(Default)]
pub struct Stop {
    interrupted: AtomicBool,
    failure: OnceLock<String>,
}

impl Stop {
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
    }

    /// Keeps the first failure: what follows is usually the same once more.
    pub fn fail(&self, error: String) {
        let _ = self.failure.set(error);
    }

    pub fn is_set(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) || self.failure.get().is_some()
    }

    /// A failure matters more than Ctrl-C, whichever came first.
    pub fn why(&self) -> Option<Why> {
        match self.failure.get() {
            Some(error) => Some(Why::SinkFailed(error.clone())),
            None => self.is_set().then_some(Why::Interrupted),
        }
    }
}

pub fn on_ctrl_c(stop: Arc<Stop>) -> Result<()> {
    let mut pressed = false;
    ctrlc::set_handler(move || {
        if pressed {
            // Nothing is cleaned up, not even a temporary database: whoever asks twice means it.
            process::exit(130);
        }
        pressed = true;
        stop.interrupt();
        eprintln!("\nstopping, and writing what is buffered; once more to quit at once");
    })
    .context("cannot watch for Ctrl-C")
}
