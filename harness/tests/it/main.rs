//! All integration tests in one binary: linking one is much quicker than linking many.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test stops at what it did not expect, and may say what it saw"
)]

mod ab;
mod analyze;
mod audit;
mod bench;
mod browser;
mod cli;
mod compare;
mod compressed;
mod contained;
mod crashes;
mod embedded;
mod engines;
mod growth;
mod history;
mod loki;
mod merge;
mod outputs;
mod resume;
mod script;
mod selftest;
mod shipped;
mod support;
mod watch;
