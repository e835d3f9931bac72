//! The run directory: everything that was measured, readable while the run goes on and after it was
//! killed.

pub mod bound;
pub mod files;
pub mod baselines;
pub mod history;
mod table;
pub mod recorder;
