//! What the example programs share.

pub mod database;
pub mod figures;
pub mod stop;
