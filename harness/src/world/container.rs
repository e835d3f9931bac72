//! What the engine is told of a container.

/// How a container of the run is started.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// Its name, unique on the engine.
    pub name: String,
    /// Its command line, entry point first.
    pub command: Vec<String>,
    /// A folder of the host, mounted at the same path inside.
    pub mount: String,
    /// Docker's `max-size`, bytes.
    pub log_max_bytes: u64,
    /// Docker's `max-file`.
    pub log_max_files: u32,
}
