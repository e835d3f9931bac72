//! The embedded engine: the part of Docker's API that log shippers use, where there is no Docker.
//!
//! Containers are plain processes of this machine, or, where they are generators that write little, tasks of this one.
//! Their output is written as Docker's json-file driver does: same folders, names, modes, escapes, pieces and rotation.
//! So a shipper finds what it would find on Docker, and nothing in it knows the difference. What is missing is what makes
//! a container one: no image, no namespace, no network, no limit of its own.

mod entry;
mod split;
mod options;
mod log_place;
mod log_file;
pub mod backlog;
mod filters;
mod events;
mod log_reader;
mod container;
mod life;
mod engine;
mod lives;
mod shown;
mod routes;
mod server;

pub use life::Generators;
pub use server::{Embedded, EmbeddedError};
