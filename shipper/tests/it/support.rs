//! What several tests need of the world.

pub mod engine;
pub mod loki;
pub mod rig;
