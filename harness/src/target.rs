//! Processes under test, known only from outside: a command line, a config file, a ready probe, a
//! metrics address.

pub mod confine;
pub mod process;
pub mod restart;
pub mod spec;
