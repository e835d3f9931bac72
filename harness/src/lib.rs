//! Flatline: leak-regression soak tests and A/B comparisons for log shippers, on real containers.
//!
//! The modules stand in the order in which data flows; each uses only those above it.

pub mod units;
pub mod clock;
pub mod result;
pub mod environment;
pub mod faults;
pub mod orphans;
pub mod world;
pub mod embedded;
pub mod audit;
pub mod loki;
pub mod leaky;
pub mod target;
pub mod sample;
pub mod record;
pub mod growth;
pub mod simulated;
pub mod trend;
pub mod scenario;
pub mod report;
pub mod run;
pub mod cli;
