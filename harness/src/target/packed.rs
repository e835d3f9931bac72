//! A target's program and the libraries that it is linked with, as a root file system: all of them at their own paths, so
//! that the program starts as it does here, by its own name. No registry, no base image.
//!
//! Which libraries those are its own loader says (ld.so(8), `--list`): it looks for them as it does at a start, and the
//! program does not run. What a program loads later by itself (dlopen(3)) is not among them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind};

/// What an image must have beside the program: where temporary files go.
const TEMPORARY: &str = "tmp";

/// A program that is packed.
#[derive(Debug)]
pub struct Packed {
    /// An uncompressed tar archive.
    pub tar: Vec<u8>,
    /// Where the program lies in it.
    pub program: PathBuf,
    /// Folders of its libraries; none where it needs none.
    pub loader_folders: BTreeSet<PathBuf>,
}

/// Why a program can't be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// It, or a library of it, can't be read.
    #[error("can't read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It needs another program to run.
    #[error(
        "{} is a script ({first_line}), and an image holds one program with its libraries and nothing that this starts; \
         name a program, or run the target as a process (`run_in: process`)",
        path.display()
    )]
    Script {
        /// Which file.
        path: PathBuf,
        /// How it begins.
        first_line: String,
    },
    /// The kernel would not run it.
    #[error("{} is no program of Linux (ELF): {why}", path.display())]
    NoProgram {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Its loader does not say what it needs.
    #[error("{} does not say which libraries {} needs: {why}", loader.display(), path.display())]
    Loader {
        /// Which program.
        path: PathBuf,
        /// Its loader.
        loader: PathBuf,
        /// What it says instead.
        why: String,
    },
    /// It would not start here either.
    #[error("{} needs the library {library}, which is not found", path.display())]
    Library {
        /// Which program.
        path: PathBuf,
        /// Which library.
        library: String,
    },
}

/// Packs the program in this file, which an absolute path names.
///
/// # Errors
/// [`PackError`].
pub fn pack(program: &Path) -> Result<Packed, PackError> {
    let read =
        |path: &Path| fs::read(path).map_err(|source| PackError::Read { path: path.to_owned(), source });
    let bytes = read(program)?;
    let files = match interpreter(program, &bytes)? {
        Some(loader) => libraries(program, &loader)?,
        None => BTreeSet::new(),
    };
    let mut archive = tar::Builder::new(Vec::new());
    let in_memory = |source| PackError::Read { path: program.to_owned(), source };
    add_folder(&mut archive, TEMPORARY).map_err(in_memory)?;
    add(&mut archive, program, &bytes).map_err(in_memory)?;
    for file in &files {
        add(&mut archive, file, &read(file)?).map_err(in_memory)?;
    }
    let loader_folders = files.iter().filter_map(|file| Some(plain(file).parent()?.to_owned())).collect();
    Ok(Packed { tar: archive.into_inner().map_err(in_memory)?, program: plain(program), loader_folders })
}

/// The loader that a program names; none where it is linked statically.
fn interpreter(program: &Path, bytes: &[u8]) -> Result<Option<PathBuf>, PackError> {
    if bytes.starts_with(b"#!") {
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let first_line = String::from_utf8_lossy(first).chars().take(80).collect();
        return Err(PackError::Script { path: program.to_owned(), first_line });
    }
    let found = match FileKind::parse(bytes) {
        Ok(FileKind::Elf64) => named::<FileHeader64<Endianness>>(bytes),
        Ok(FileKind::Elf32) => named::<FileHeader32<Endianness>>(bytes),
        Ok(_) => return Err(no_program(program, "it is of another system")),
        Err(error) => Err(error),
    };
    found.map_err(|error| no_program(program, &error.to_string()))
}

fn no_program(program: &Path, why: &str) -> PackError {
    PackError::NoProgram { path: program.to_owned(), why: why.to_owned() }
}

fn named<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::read::Result<Option<PathBuf>> {
    let header = H::parse(bytes)?;
    let endian = header.endian()?;
    for segment in header.program_headers(endian, bytes)? {
        if let Some(name) = segment.interpreter(endian, bytes)? {
            return Ok(Some(PathBuf::from(OsString::from_vec(name.to_owned()))));
        }
    }
    Ok(None)
}

/// The loader and all that it would map.
fn libraries(program: &Path, loader: &Path) -> Result<BTreeSet<PathBuf>, PackError> {
    let failed = |why: String| PackError::Loader {
        path: program.to_owned(),
        loader: loader.to_owned(),
        why: why.trim().to_owned(),
    };
    let said = Command::new(loader).arg("--list").arg(program).output();
    let said = said.map_err(|error| failed(error.to_string()))?;
    let list = listed(&String::from_utf8_lossy(&said.stdout));
    let list = list.map_err(|library| PackError::Library { path: program.to_owned(), library })?;
    if !said.status.success() {
        return Err(failed(String::from_utf8_lossy(&said.stderr).into_owned()));
    }
    Ok(list.into_iter().chain([loader.to_owned()]).collect())
}

/// The paths in a loader's list; or the name of the first library for which it has none.
fn listed(list: &str) -> Result<BTreeSet<PathBuf>, String> {
    let mut paths = BTreeSet::new();
    for line in list.lines().map(str::trim) {
        let (name, place) = line.split_once(" => ").unwrap_or((line, line));
        if place == "not found" {
            return Err(name.to_owned());
        }
        // What the kernel itself maps (vdso(7)) has no path.
        let path = place.rsplit_once(" (").map_or(place, |(path, _address)| path);
        if path.starts_with('/') {
            paths.insert(PathBuf::from(path));
        }
    }
    Ok(paths)
}

/// Without `.` and `..`, which have no place in an archive. No link is followed: a program is to find its loader under the
/// name that it has for it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(component),
        }
    }
    plain
}

fn add(archive: &mut tar::Builder<Vec<u8>>, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o755);
    header.set_cksum();
    let path = plain(path);
    archive.append_data(&mut header, path.strip_prefix("/").unwrap_or(&path), bytes)
}

fn add_folder(archive: &mut tar::Builder<Vec<u8>>, name: &str) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o1777);
    header.set_cksum();
    archive.append_data(&mut header, name, io::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tar: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(tar);
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    fn inside(path: &Path) -> String {
        path.strip_prefix("/").unwrap().display().to_string()
    }

    #[test]
    fn a_program_that_is_linked_statically_is_packed_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("static");
        let mut bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
        // The first segment that names a loader (elf(5), PT_INTERP) is made one that says nothing (PT_NULL).
        let headers = FileHeader64::<Endianness>::parse(bytes.as_slice()).unwrap();
        let endian = headers.endian().unwrap();
        let segments = headers.program_headers(endian, bytes.as_slice()).unwrap();
        let place =
            segments.iter().position(|segment| segment.p_type(endian) == object::elf::PT_INTERP).unwrap();
        let offset =
            usize::try_from(headers.e_phoff(endian)).unwrap() + place * std::mem::size_of_val(&segments[0]);
        bytes[offset..offset + 4].fill(0);
        fs::write(&path, bytes).unwrap();
        let packed = pack(&path).unwrap();
        assert_eq!(names(&packed.tar).len(), 2, "a place for temporary files and itself");
        assert!(packed.loader_folders.is_empty());
    }

    #[test]
    fn a_program_is_packed_at_its_own_path_with_its_loader_and_libraries() {
        let own = std::env::current_exe().unwrap();
        let packed = pack(&own).unwrap();
        let names = names(&packed.tar);
        assert!(names.contains(&inside(&own)), "{names:?}");
        assert!(names.contains(&"tmp".to_owned()) || names.contains(&"tmp/".to_owned()), "{names:?}");
        let loader = interpreter(&own, &fs::read(&own).unwrap()).unwrap().unwrap();
        assert!(names.contains(&inside(&loader)), "{names:?}");
        assert!(names.iter().any(|name| name.contains("/libc.so")), "{names:?}");
        assert!(!packed.loader_folders.is_empty());
        // It starts with what is in there and nothing else.
        let all: BTreeSet<PathBuf> = names.iter().map(|name| Path::new("/").join(name)).collect();
        for library in libraries(&own, &loader).unwrap() {
            assert!(all.contains(&library), "{}", library.display());
        }
    }

    #[test]
    fn a_path_that_goes_back_is_packed_where_it_leads() {
        let own = std::env::current_exe().unwrap();
        let name = own.file_name().unwrap();
        let roundabout = own.parent().unwrap().join("x/.././").join(name);
        assert_eq!(plain(&roundabout), own);
        assert_eq!(plain(Path::new("/../a/./b/../c")), Path::new("/a/c"));
    }

    #[test]
    fn a_loaders_list_is_read_whoever_wrote_it() {
        let glibc = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f6)\n\
                     \t/lib64/ld-linux-x86-64.so.2 (0x00007f7)\n";
        let paths = |list| {
            listed(list).unwrap().into_iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(paths(glibc), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
        let musl =
            "\t/lib/ld-musl-x86_64.so.1 (0x7f)\n\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f)\n";
        assert_eq!(paths(musl), ["/lib/ld-musl-x86_64.so.1"]);
        assert_eq!(paths("\tlibodd.so => /opt/a (b) c/libodd.so (0x7f)\n"), ["/opt/a (b) c/libodd.so"]);
        assert_eq!(
            listed("\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n\tlibgone.so.3 => not found\n"),
            Err("libgone.so.3".into())
        );
        assert_eq!(paths("\tstatically linked\n"), [""; 0]);
    }

    #[test]
    fn what_can_not_be_packed_is_told_as_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it");
        let told = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            pack(&path).unwrap_err().to_string()
        };
        let script = told(b"#!/usr/bin/env python3\nprint(1)\n");
        assert!(
            script.contains("is a script (#!/usr/bin/env python3)") && script.contains("run_in: process"),
            "{script}"
        );
        for bytes in [
            &b""[..],
            b"MZ",
            b"\x7fELF",
            b"\x7fELF\x02\x01\x01 and so on, which makes no sense at all of it ....",
        ] {
            assert!(told(bytes).contains("is no program of Linux"), "{}", told(bytes));
        }
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(told(&own[..4096.min(own.len())]).contains("it"), "cut off");
        let none = pack(Path::new("/nowhere/program")).unwrap_err().to_string();
        assert!(none.contains("can't read /nowhere/program"), "{none}");
    }
}
