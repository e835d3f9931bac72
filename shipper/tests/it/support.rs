//! What several tests need of the world.

pub mod allowance;
pub mod between;
pub mod book;
pub mod burial;
pub mod disk;
pub mod docker_log;
pub mod dockerd;
pub mod engine;
pub mod holdings;
pub mod items;
pub mod judge;
pub mod letters;
pub mod loki;
pub mod numbered;
pub mod orphans;
pub mod program;
pub mod reading;
pub mod rig;
pub mod sink;
pub mod small_disk;
pub mod stage;
