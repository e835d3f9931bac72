//! From batches to outcomes: pushed, waiting for another attempt, or in the dead letters; then, and only
//! then, the checkpoint moves.

pub mod backoff;
pub mod parcel;
pub mod retry;
pub mod sift;
pub mod turns;
pub mod attempt;
pub mod dead_letters;
pub mod checkpoint;
pub mod books;
pub mod lane;
pub mod deliver;
