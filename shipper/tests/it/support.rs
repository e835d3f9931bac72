//! What the tests share.

pub mod loki;
pub mod rig;
