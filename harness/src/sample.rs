//! The measuring: one parser per kernel or wire interface, and the beat that they keep.

pub mod metrics;
pub mod process;
pub mod sampler;
