//! Runs set against each other: two of them, one against a known state, and a hundred nights in a row. Pure.
//!
//! The way through, in order: [`digest`] makes a few figures of a run, [`ground`] says in what two runs' environments
//! differ, [`contrast`] sets a candidate against a baseline, [`change`] finds where a row of nights changes, and
//! [`history`] reads the nights as a whole. `docs/history.md` argues the method and gives its figures.

pub mod digest;
pub mod ground;
pub mod contrast;
pub mod change;
pub mod history;
pub mod simulated;
