//! A started sink against the recorded answers of a real Loki, over real HTTP, and under load.
//!
//! The recordings speak of times relative to their own now (`{{ns age_s=10}}`); times that a recording
//! wrote out are moved so that its newest one is ten seconds old.

mod faults;
mod golden;
mod load;
mod program;
