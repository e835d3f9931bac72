//! The Docker Engine: the few requests that we make, and which containers there are.
//!
//! `discovery` turns events and listings into [`known::Change`]s, which the sources follow.

pub mod known;
pub mod api;
pub mod logs;
pub mod metadata;
pub mod discovery;
