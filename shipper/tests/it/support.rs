//! What several tests need of the world.

pub mod disk;
pub mod engine;
pub mod loki;
pub mod rig;
