//! The map as its flusher sees it.

use std::hash::{BuildHasher, Hash};

use super::collect::Collector;
use super::entry::Kind;
use super::store::Table;
use crate::capacity::Gate;
use crate::source::{Intake, Source};
use crate::sync::Arc;

impl<K, V, S, M> Source for Table<K, V, S, M>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
    M: Kind,
{
    type Item = M::Item<K, V>;
    type Collector = Collector<K, V, S, M>;

    fn collector(of: &Arc<Self>) -> Self::Collector {
        Collector::new(of.clone())
    }

    fn gate(&self) -> &Gate {
        self.gate()
    }

    fn close(&self) -> bool {
        self.close()
    }

    fn is_closed(&self) -> bool {
        self.is_closed()
    }

    fn intake(&self) -> Intake {
        self.intake()
    }
}
