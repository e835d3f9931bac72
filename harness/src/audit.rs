//! The books: what the sink was given ([`ledger`]), and whether every line that was written is
//! accounted for ([`reconcile`]).

pub mod intervals;
pub mod ledger;
pub mod reconcile;
