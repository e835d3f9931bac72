//! The mappings of a process by class, as the kernel lists them (proc(5), `maps`): heap, stacks, files, what is shared.
//!
//! `maps` says how large each is and costs the process nothing. How much of it is resident stands in `smaps`, for which
//! the kernel walks the page tables of the process: only on demand.

use std::fs;
use std::io;

use crate::sample::fold::fold;
use crate::sample::kinds::{Counts, bounded};

/// Addresses that are set aside and may not be touched: guards of stacks, room for a heap to grow.
pub const RESERVED: &str = "reserved";
/// Stacks of threads but the first.
pub const THREAD_STACK: &str = "thread stack";
/// Below a thread's stack lie a few pages that may not be touched; what is larger is room for something to grow.
const GUARD_BYTES: u64 = 64 * 1024;
/// What `smaps` counts in.
const KIB: u64 = 1024;

/// The mappings of processes by class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Bytes of address space.
    pub bytes: Counts,
    /// Bytes in memory; empty where nobody asked for them.
    pub resident_bytes: Counts,
}

/// Lists them for processes together; one that is gone or may not be looked at has no part in it.
#[must_use]
pub fn mapped(pids: &[u32], resident: bool) -> Mapped {
    let mut all = Mapped::default();
    for pid in pids {
        add(&mut all, text(*pid, resident).unwrap_or_default().as_str(), resident);
    }
    Mapped { bytes: bounded(all.bytes), resident_bytes: bounded(all.resident_bytes) }
}

fn text(pid: u32, resident: bool) -> io::Result<String> {
    let name = if resident { "smaps" } else { "maps" };
    Ok(String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{name}"))?).into_owned())
}

/// A mapping, from its line.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mapping<'a> {
    from: u64,
    to: u64,
    permissions: &'a str,
    path: &'a str,
}

fn add(all: &mut Mapped, text: &str, resident: bool) {
    let mut before: Option<Mapping> = None;
    let mut class = String::new();
    for line in text.lines() {
        if let Some(mapping) = mapping(line) {
            class = class_of(&mapping, before.as_ref());
            *all.bytes.entry(class.clone()).or_default() += mapping.to.saturating_sub(mapping.from);
            before = Some(mapping);
        } else if resident && let Some(bytes) = rss(line) {
            *all.resident_bytes.entry(class.clone()).or_default() += bytes;
        }
    }
}

/// `55d0c8a00000-55d0c8a21000 rw-p 00000000 00:00 0    [heap]`; `None` for any other line of `smaps`.
fn mapping(line: &str) -> Option<Mapping<'_>> {
    let mut rest = line;
    let mut fields = [""; 5];
    for field in &mut fields {
        let (head, tail) = rest.split_once(' ').unwrap_or((rest, ""));
        (*field, rest) = (head, tail.trim_start());
    }
    let (from, to) = fields.first()?.split_once('-')?;
    Some(Mapping {
        from: u64::from_str_radix(from, 16).ok()?,
        to: u64::from_str_radix(to, 16).ok()?,
        permissions: fields.get(1)?,
        path: rest,
    })
}

fn rss(line: &str) -> Option<u64> {
    let kib: u64 = line.strip_prefix("Rss:")?.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * KIB)
}

fn class_of(mapping: &Mapping, before: Option<&Mapping>) -> String {
    let guarded = before.is_some_and(|guard| {
        guard.to == mapping.from && is_reserved(guard) && guard.to.saturating_sub(guard.from) <= GUARD_BYTES
    });
    match mapping.path {
        "" if is_reserved(mapping) => RESERVED.to_owned(),
        "" if guarded && mapping.permissions.starts_with("rw") => THREAD_STACK.to_owned(),
        "" => "anonymous".to_owned(),
        "[heap]" => "heap".to_owned(),
        "[stack]" => "stack".to_owned(),
        "/dev/zero (deleted)" => "shared anonymous".to_owned(),
        path => named(path),
    }
}

fn is_reserved(mapping: &Mapping) -> bool {
    mapping.path.is_empty() && mapping.permissions.starts_with("---")
}

fn named(path: &str) -> String {
    let of_kernel = path.strip_prefix('[').and_then(|path| path.strip_suffix(']'));
    if let Some(name) = of_kernel {
        // Names that a program gives to its own (prctl(2), `PR_SET_VMA`).
        let own = name.strip_prefix("anon:").map(|name| format!("anonymous {}", fold(name.trim())));
        let shared =
            || name.strip_prefix("anon_shmem:").map(|name| format!("shared anonymous {}", fold(name.trim())));
        return own.or_else(shared).unwrap_or_else(|| "kernel".to_owned());
    }
    let (path, deleted) = path.strip_suffix(" (deleted)").map_or((path, false), |path| (path, true));
    let sort = match path {
        _ if path.starts_with("/memfd:") || path.starts_with("/SYSV") || path.starts_with("/dev/shm/") => {
            "shared memory"
        }
        _ if deleted => "deleted file",
        _ if path.starts_with("/dev/") => "device",
        _ => "file",
    };
    format!("{sort} {}", fold(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0c8a00000-55d0c8a01000 r--p 00000000 08:01 123                        /usr/bin/my program
55d0c8a01000-55d0c8a02000 rw-p 00000000 00:00 0 
55d0c8b00000-55d0c8b21000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000021000 rw-p 00000000 00:00 0 
7f0000021000-7f0004000000 ---p 00000000 00:00 0 
7f0004000000-7f0004001000 rw-p 00000000 00:00 0 
7f0010000000-7f0010001000 ---p 00000000 00:00 0 
7f0010001000-7f0010021000 rw-p 00000000 00:00 0 
7f0020000000-7f0020002000 rw-s 00000000 00:01 5                          /dev/zero (deleted)
7f0020002000-7f0020003000 rw-s 00000000 00:01 6                          /memfd:pool-7 (deleted)
7f0020003000-7f0020004000 rw-s 00000000 00:01 6                          /SYSV0012af (deleted)
7f0020004000-7f0020005000 r-xp 00000000 08:01 7                          /usr/lib/libc.so.6
7f0020005000-7f0020006000 r-xp 00000000 08:01 8                          /usr/lib/libold.so.1 (deleted)
7f0020006000-7f0020007000 rw-p 00000000 00:00 0                          [anon: Go: heap]
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";

    fn classes(text: &str) -> Mapped {
        let mut all = Mapped::default();
        add(&mut all, text, true);
        all
    }

    #[test]
    fn each_mapping_has_its_class_and_all_of_them_add_up() {
        let found = classes(MAPS).bytes;
        let pages = |class: &str| found.get(class).copied().unwrap_or(0) / 4096;
        let one = [
            "file /usr/bin/my program",
            "file /usr/lib/libc.so.*",
            "deleted file /usr/lib/libold.so.*",
            "shared memory /memfd:pool-*",
            "shared memory /SYSV*af",
            "anonymous Go: heap",
            "kernel",
        ];
        assert_eq!(one.map(pages), [1; 7], "{found:?}");
        assert_eq!([pages("heap"), pages("stack"), pages("shared anonymous")], [0x21, 0x21, 2], "{found:?}");
        // Below the first stack lies its guard; below the other mapping lies the rest of a heap.
        assert_eq!([pages(THREAD_STACK), pages("anonymous")], [0x20, 1 + 0x21 + 1], "{found:?}");
        assert_eq!(pages(RESERVED), 0x3fdf + 1, "{found:?}");
        let whole: u64 = MAPS.lines().filter_map(mapping).map(|mapping| mapping.to - mapping.from).sum();
        assert_eq!(found.values().sum::<u64>(), whole);
    }

    #[test]
    fn what_is_resident_belongs_to_the_mapping_above_it() {
        let text = "7f00-9f00 rw-p 00000000 00:00 0       [heap]\nSize:     8 kB\nRss:        5 kB\nVmFlags: rd\n\
                    9f00-af00 r-xp 00000000 08:01 7       /bin/x\nRss:        2 kB\nPss: 1 kB\n";
        let found = classes(text);
        assert_eq!(found.resident_bytes, Counts::from([("file /bin/x".into(), 2048), ("heap".into(), 5120)]));
        assert_eq!(classes(MAPS).resident_bytes, Counts::new());
    }

    #[test]
    fn a_process_shows_what_it_maps() {
        let own = [std::process::id()];
        let before = mapped(&own, false);
        assert!(before.bytes.contains_key("heap") && before.bytes.contains_key("stack"), "{before:?}");
        assert!(before.resident_bytes.is_empty());
        let large = vec![1_u8; 256 << 20];
        let after = mapped(&own, true);
        let grown = |counts: &Counts, before: &Counts| {
            counts.get("anonymous").copied().unwrap_or(0) - before.get("anonymous").copied().unwrap_or(0)
        };
        assert!(grown(&after.bytes, &before.bytes) >= 200 << 20, "{before:?} {after:?}");
        assert!(grown(&after.resident_bytes, &Counts::new()) >= large.len() as u64 / 2, "{after:?}");
        assert_eq!(mapped(&[u32::MAX], true), Mapped::default());
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_there_is_read_to_its_end(text in "[0-9a-f rwxps/:\\[\\]()Rskdet-]{0,200}\n?[0-9a-f-]{0,40}") {
            classes(&text);
        }
    }
}
