//! What stands in Docker's json-file logs, and how much of it a checkpoint covers. Read by this test
//! alone: what the shipper makes of the same files is what is tested.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use shipper::record::{ContainerId, FileIdentity, Position};
use shipper::stamp;

/// Docker's folder of containers.
pub(crate) const ROOT: &str = "/var/lib/docker/containers";

/// A file of a container's log.
struct Generation {
    inode: (u64, u64),
    text: String,
    lines: Vec<Logged>,
}

/// One line as Docker has it.
struct Logged {
    text: String,
    time_ns: i64,
    /// Behind its last byte.
    end: u64,
}

pub(crate) fn path(id: &ContainerId) -> PathBuf {
    in_folder(Path::new(ROOT), id)
}

fn in_folder(root: &Path, id: &ContainerId) -> PathBuf {
    root.join(id.as_str()).join(format!("{}-json.log", id.as_str()))
}

/// All lines that Docker has kept in its folder of containers `root`, oldest first.
pub(crate) fn kept(root: &Path, id: &ContainerId) -> Vec<String> {
    read(&in_folder(root, id)).into_iter().flat_map(|one| one.lines).map(|line| line.text).collect()
}

/// The lines before a position, as far as Docker still has them; nothing if its place is gone.
pub(crate) fn covered(id: &ContainerId, position: &Position) -> Vec<String> {
    let generations = read(&path(id));
    let end = match position {
        Position::File { identity, offset, .. } => {
            let found = generations.iter().position(|one| one.is(identity));
            found.map(|at| {
                let covers = |line: &&Logged| line.end <= *offset;
                (at, generations[at].lines.iter().take_while(covers).count())
            })
        }
        Position::Api { time_ns, seen } => {
            let lines = generations.iter().enumerate().flat_map(|(at, one)| {
                one.lines.iter().enumerate().map(move |(place, line)| (at, place + 1, line.time_ns))
            });
            let of_that_time = lines.filter(|(_, _, time)| time == time_ns);
            let mark = of_that_time.take(usize::try_from(*seen).unwrap()).last();
            mark.map(|(at, place, _)| (at, place))
        }
    };
    let Some((last, count)) = end else { return Vec::new() };
    let mut covered = Vec::new();
    for (at, generation) in generations.into_iter().enumerate().take(last + 1) {
        let count = if at == last { count } else { generation.lines.len() };
        covered.extend(generation.lines.into_iter().take(count).map(|line| line.text));
    }
    covered
}

/// Rotation may go on meanwhile: a file that was renamed under our eyes is read once.
fn read(log: &Path) -> Vec<Generation> {
    let mut files: Vec<File> = Vec::new();
    for generation in (0..5).rev() {
        let mut name = log.as_os_str().to_owned();
        if generation > 0 {
            name.push(format!(".{generation}"));
        }
        let Ok(file) = File::open(name) else { continue };
        let ino = file.metadata().unwrap().ino();
        if files.iter().all(|other| other.metadata().unwrap().ino() != ino) {
            files.push(file);
        }
    }
    files.into_iter().map(Generation::of).collect()
}

impl Generation {
    fn of(mut file: File) -> Self {
        let metadata = file.metadata().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        Self { inode: (metadata.dev(), metadata.ino()), lines: lines(&text), text }
    }

    fn is(&self, known: &FileIdentity) -> bool {
        let head = self.text.as_bytes().get(..usize::try_from(known.head_len).unwrap());
        self.inode == (known.dev, known.ino) && head.is_some_and(|head| fnv_1a(head) == known.head_hash)
    }
}

/// As checkpoints have it.
fn fnv_1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn lines(text: &str) -> Vec<Logged> {
    let (mut found, mut end) = (Vec::new(), 0);
    // The last one may be still being written.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        end += line.len() as u64;
        // Numbered lines hold nothing that JSON would escape.
        let text = between(line, "{\"log\":\"", "\\n\",");
        let (time_ns, _) = stamp::parse(between(line, "\"time\":\"", "\"}").as_bytes()).unwrap();
        found.push(Logged { text: text.to_owned(), time_ns, end });
    }
    found
}

fn between<'a>(line: &'a str, head: &str, tail: &str) -> &'a str {
    let (_, rest) = line.split_once(head).unwrap_or_else(|| panic!("no log line of Docker's: {line}"));
    rest.split_once(tail).unwrap_or_else(|| panic!("no log line of Docker's: {line}")).0
}
