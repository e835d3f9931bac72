//! A small file system of its own, which can be filled up and freed: a tmpfs at a target's state folder.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use procfs::process::Process;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// Enough for the state of any target of a run, and little enough to be filled in a moment.
const OPTIONS: &std::ffi::CStr = c"size=32m,mode=700";
/// What fills it.
const BALLAST: &str = "flatline-ballast";
/// What such a mount is called in the kernel's table; a run's id follows.
const PREFIX: &str = "flatline-disk-";

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It can't be mounted.
    #[error(
        "can't mount a small disk at {path}, which `disk_full` needs: {source}\n  Run as root, or leave the fault out."
    )]
    Mount {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It can't be filled, freed or unmounted.
    #[error("can't {what} the small disk at {path}: {source}")]
    Use {
        /// `fill`, `free` or `unmount`.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Mounted until it is unmounted.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one for a run at a folder, which is made.
    ///
    /// # Errors
    /// [`DiskError::Mount`].
    pub fn mount(at: &Path, run_id: &str) -> Result<Self, DiskError> {
        let failed = |source| DiskError::Mount { path: at.to_owned(), source };
        std::fs::create_dir_all(at).map_err(failed)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let mounted = mount(format!("{PREFIX}{run_id}"), at, "tmpfs", flags, OPTIONS);
        mounted.map_err(|errno| failed(errno.into()))?;
        Ok(Self(at.to_owned()))
    }

    /// Leaves not a byte.
    ///
    /// # Errors
    /// [`DiskError::Use`]: it can't be written for another reason.
    pub fn fill(&self) -> Result<(), DiskError> {
        let failed = |source| DiskError::Use { what: "fill", path: self.0.clone(), source };
        let mut ballast = File::create(self.0.join(BALLAST)).map_err(failed)?;
        loop {
            match ballast.write_all(&[0; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Makes room again.
    ///
    /// # Errors
    /// [`DiskError::Use`].
    pub fn free(&self) -> Result<(), DiskError> {
        match std::fs::remove_file(self.0.join(BALLAST)) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(DiskError::Use { what: "free", path: self.0.clone(), source })
            }
            _ => Ok(()),
        }
    }
}

/// Unmounts the disks of a run, or of all runs for which `of` says so. Answers with how many there were.
///
/// # Errors
/// [`DiskError::Use`].
pub fn unmount_all(of: impl Fn(&str) -> bool) -> Result<usize, DiskError> {
    let mounts = Process::myself().and_then(|own| own.mountinfo()).map(|mounts| mounts.0);
    let mut count = 0;
    for mount in mounts.unwrap_or_default() {
        let run_id = mount.mount_source.as_deref().and_then(|source| source.strip_prefix(PREFIX));
        if mount.fs_type == "tmpfs" && run_id.is_some_and(&of) {
            // Lazily: whoever still holds a file there must not keep it.
            unmount(&mount.mount_point, UnmountFlags::DETACH).map_err(|errno| DiskError::Use {
                what: "unmount",
                path: mount.mount_point.clone(),
                source: errno.into(),
            })?;
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_full_takes_no_byte_until_it_is_freed() {
        let folder = tempfile::tempdir().unwrap();
        let run_id = format!("test-{}", std::process::id());
        let disk = SmallDisk::mount(&folder.path().join("state"), &run_id).unwrap();
        let write = || std::fs::write(folder.path().join("state/x"), [7; 5000]);
        write().unwrap();
        disk.fill().unwrap();
        std::fs::remove_file(folder.path().join("state/x")).unwrap();
        disk.fill().unwrap();
        assert_eq!(write().unwrap_err().kind(), ErrorKind::StorageFull);
        disk.free().unwrap();
        write().unwrap();
        assert_eq!(unmount_all(|of| of == run_id).unwrap(), 1);
        assert!(!folder.path().join("state/x").exists(), "it was a file system of its own");
    }
}
