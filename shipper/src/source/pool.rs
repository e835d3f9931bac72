//! x
pub mod frames;
