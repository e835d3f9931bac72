//! Flatline: leak-regression soak tests and A/B comparisons for log shippers, on real containers.
//!
//! The modules stand in the order in which data flows; each uses only those above it.

pub mod result;
pub mod report;
