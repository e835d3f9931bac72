//! Runs: what happens when, who is asked, what is decided.

pub mod attach;
pub mod progress;
pub mod order;
mod beat;
mod truth;
mod compare;
mod events;
mod attribution;
mod judge;
mod processes;
mod early;
mod surroundings;
mod journal;
mod letters;
mod house;
mod conclude;
pub mod so_far;
pub mod live;
pub mod actions;
pub mod ab;
pub mod clean;
mod bounded;
pub mod table;
pub mod analyze;
pub mod selftest;
pub mod watch;
pub mod power;
