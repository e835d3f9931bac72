//! The generator's image, made of this very program: no registry, no base image, no build step.
//!
//! A dynamically linked program needs its loader and libraries inside the image too. Which those are
//! the kernel knows: they are mapped into this process (`/proc/self/maps`, proc(5)). So the image works
//! whether the program was linked statically or not, on any distribution.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use procfs::process::{MMapPath, Process};

/// The program that runs, wherever its file is by now (proc(5)).
pub const OWN_PROGRAM: &str = "/proc/self/exe";
/// Where the program lies in the image.
const PROGRAM: &str = "flatline";
/// Where its libraries lie in the image.
const LIBRARIES: &str = "lib";

/// The image as a root file system, and the command that starts the program in it.
#[derive(Debug)]
pub struct Image {
    /// An uncompressed tar archive.
    pub tar: Vec<u8>,
    /// What a container's command begins with.
    pub entrypoint: Vec<String>,
}

/// Why the image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The kernel would not say what is mapped.
    #[error("can't list the libraries of this program from /proc/self/maps: {0}")]
    Maps(#[from] procfs::ProcError),
    /// A file can't be read.
    #[error("can't put {path} into the generator's image: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Packs this program and what it is linked with.
///
/// # Errors
/// [`ImageError`] where `/proc/self` or one of the files can't be read.
pub fn pack() -> Result<Image, ImageError> {
    let own = Process::myself()?;
    let program = own.exe()?;
    let libraries = mapped_libraries(&own, &program)?;
    let mut archive = tar::Builder::new(Vec::new());
    // `exe` and not the name it had: it may have been replaced by a new build since.
    add(&mut archive, Path::new(OWN_PROGRAM), PROGRAM)?;
    let mut loader = None;
    for library in &libraries {
        let Some(name) = library.file_name().and_then(OsStr::to_str) else { continue };
        let inside = format!("{LIBRARIES}/{name}");
        add(&mut archive, library, &inside)?;
        if name.starts_with("ld-") || name.starts_with("ld.") {
            loader = Some(format!("/{inside}"));
        }
    }
    let tar = archive.into_inner().map_err(|source| ImageError::Read { path: program, source })?;
    Ok(Image { tar, entrypoint: entrypoint(loader) })
}

/// No files at all, for an engine whose containers run programs of this machine: this very program.
#[must_use]
pub fn of_this_machine() -> Image {
    Image { tar: Vec::new(), entrypoint: vec![OWN_PROGRAM.to_owned()] }
}

/// Through the loader where there is one, so that the path compiled into the program does not matter.
fn entrypoint(loader: Option<String>) -> Vec<String> {
    let program = format!("/{PROGRAM}");
    match loader {
        Some(loader) => vec![loader, "--library-path".to_owned(), format!("/{LIBRARIES}"), program],
        None => vec![program],
    }
}

fn mapped_libraries(own: &Process, program: &Path) -> Result<BTreeSet<PathBuf>, ImageError> {
    let maps = own.maps()?;
    let files = maps.into_iter().filter_map(|map| {
        let MMapPath::Path(path) = map.pathname else { return None };
        Some(path)
    });
    Ok(files.filter(|path| path != program && path.to_string_lossy().contains(".so")).collect())
}

fn add(archive: &mut tar::Builder<Vec<u8>>, from: &Path, to: &str) -> Result<(), ImageError> {
    let failed = |source| ImageError::Read { path: from.to_owned(), source };
    let bytes = std::fs::read(from).map_err(failed)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o755);
    header.set_cksum();
    archive.append_data(&mut header, to, bytes.as_slice()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_holds_the_program_and_every_library_that_it_maps() {
        let image = pack().unwrap();
        let mut archive = tar::Archive::new(image.tar.as_slice());
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert!(names.contains(&"flatline".to_owned()), "{names:?}");
        if image.entrypoint.len() > 1 {
            assert!(names.iter().any(|name| name.starts_with("lib/libc.so")), "{names:?}");
            assert!(image.entrypoint[0].starts_with("/lib/ld-"), "{:?}", image.entrypoint);
        }
    }
}
