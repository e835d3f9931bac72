//! `flatline confine`: how a run starts a target within limits.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::target::confine::{ConfineError, Confinement};

/// Options of `flatline confine`.
#[derive(Args, Debug)]
pub struct ConfineArgs {
    /// File descriptors that may be open at a time
    #[arg(long)]
    pub fds: Option<u64>,
    /// Processors that it may run on, as in 0,2-3
    #[arg(long, value_name = "LIST")]
    pub cpus: Option<String>,
    /// Folder of the control group that it joins
    #[arg(long, value_name = "DIR")]
    pub group: Option<PathBuf>,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub program: Vec<OsString>,
}

impl ConfineArgs {
    /// Becomes the program; returns only where that fails.
    #[must_use]
    pub fn run(self) -> ConfineError {
        let Self { fds, cpus, group, program } = self;
        Confinement { fds, cpus, group }.run(&program)
    }
}
