//! Facts of the machine that a figure depends on.

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::result::Machine;

/// The commit that this program was built from, or `unknown`.
pub const COMMIT: &str = env!("FLATLINE_COMMIT");

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Processor, cores and memory.
#[must_use]
pub fn machine() -> Machine {
    let what = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing())
        .with_memory(MemoryRefreshKind::nothing().with_ram());
    let Ok(system) = System::new_with_specifics(what) else { return Machine::default() };
    Machine {
        cpu: system.cpus().first().map_or_else(String::new, |cpu| cpu.brand().trim().to_owned()),
        cores: system.cpus().len() as u64,
        memory_bytes: system.total_memory(),
    }
}

/// The kernel's release, or `unknown`.
#[must_use]
pub fn kernel() -> String {
    System::kernel_version().unwrap_or_else(|_| "unknown".to_owned())
}

/// What the kernel calls its present life: another one after each start of the machine. Empty where it does not say.
#[must_use]
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
