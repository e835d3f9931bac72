//! All tests of the shipper from outside, in one binary: each further one would be linked again.
#![cfg(test)]
#![allow(clippy::float_cmp, unreachable_pub, reason = "figures are exact here, and nothing is exported")]

mod support;

mod app;
mod archived;
mod budget;
mod checkpoint;
mod cli;
mod crash;
mod dead_letters;
mod delivery;
mod deploy;
mod disk_full;
mod docker;
mod dockerd;
mod fairness;
mod filters;
mod flat;
mod hybrid;
mod lanes;
mod lives;
mod loki_answers;
mod operation;
mod outage;
mod reload;
mod requests;
mod rotation;
mod shutdown;
mod tls;
mod turns;
mod window;
