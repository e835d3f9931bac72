//! What several tests need of the world.

pub mod burial;
pub mod disk;
pub mod engine;
pub mod judge;
pub mod loki;
pub mod rig;
pub mod small_disk;
