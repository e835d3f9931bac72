//! The measuring: one parser per kernel or wire interface, and the beat that they keep.

pub mod fold;
pub mod metrics;
pub mod process;
pub mod unix_peers;
pub mod sockets;
pub mod kinds;
pub mod memory;
pub mod usage;
pub mod sampler;
pub mod daemons;
