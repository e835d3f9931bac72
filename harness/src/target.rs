//! Processes under test, known only from outside: a command line, a config file, a ready probe, a
//! metrics address.

pub mod confine;
pub mod container;
pub mod ended;
pub mod packed;
pub mod process;
mod ready;
pub mod restart;
pub mod running;
pub mod spec;
