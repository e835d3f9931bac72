//! A disk of a few pages that can be filled up, freed and made read-only, as a file system of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const BALLAST: &str = "ballast";

/// Mounted at a folder until it is dropped. Whoever tests a full disk must be able to mount one.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Makes the folder too.
    pub fn mount(at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k,mode=700", "small-disk"]).arg(at));
        Self(at.to_owned())
    }

    /// Leaves no byte.
    pub fn fill(&self) {
        let mut ballast = std::fs::File::create(self.0.join(BALLAST)).unwrap();
        while ballast.write_all(&[0; 512]).is_ok() {}
    }

    /// Makes room again.
    pub fn free(&self) {
        std::fs::remove_file(self.0.join(BALLAST)).unwrap();
    }

    /// As after an error of the disk.
    pub fn set_read_only(&self, read_only: bool) {
        let option = if read_only { "remount,ro" } else { "remount,rw" };
        run(Command::new("mount").args(["-o", option]).arg(&self.0));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what a test that has failed still holds open must not keep it.
        run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} (tests need root): {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
