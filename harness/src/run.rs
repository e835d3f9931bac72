//! Runs: what happens when, who is asked, what is decided.

pub mod ab;
pub mod attach;
pub mod journal;
pub mod judge;
pub mod progress;
pub mod truth;
