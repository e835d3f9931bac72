//! Log files as Docker's json-file driver writes them, made from a seed: the same for everybody.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the lines are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 200 bytes, four of them quotes.
    Short,
    /// 2,000 bytes, sixteen of them quotes.
    Long,
    /// 200 bytes, every sixth of them escaped in JSON.
    Escaped,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Short, Self::Long, Self::Escaped];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Short => "200 bytes",
            Self::Long => "2 KB",
            Self::Escaped => "full of escapes",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Short | Self::Escaped => 200,
            Self::Long => 2000,
        }
    }
}

/// One container's log.
pub(crate) struct Log {
    pub(crate) id: String,
    pub(crate) path: PathBuf,
}

/// `lines` lines in `files` logs below `root`, each in a folder of its container's.
pub(crate) fn write(root: &Path, kind: Kind, lines: u64, files: u64) -> io::Result<Vec<Log>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let begin_ns = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX) - 900_000_000_000;
    let mut logs = Vec::new();
    for file in 0..files {
        let id = format!("{file:064x}");
        fs::create_dir_all(root.join(&id))?;
        let path = root.join(&id).join(format!("{id}-json.log"));
        let mut out = BufWriter::new(File::create(&path)?);
        let mut chance = Chance(file + 1);
        let mut text = String::new();
        for line in 0..lines / files {
            message(kind, line, &mut chance, &mut text);
            let at = begin_ns + i64::try_from(line).unwrap_or(i64::MAX) * 100_003;
            let time = jiff::Timestamp::from_nanosecond(i128::from(at)).map_err(io::Error::other)?;
            let log = serde_json::to_string(&text)?.replace('<', "\\u003c").replace('>', "\\u003e");
            writeln!(out, "{{\"log\":{log},\"stream\":\"stdout\",\"time\":\"{time}\"}}")?;
        }
        out.flush()?;
        logs.push(Log { id, path });
    }
    Ok(logs)
}

fn message(kind: Kind, number: u64, chance: &mut Chance, text: &mut String) {
    const WORDS: [&str; 8] = ["request", "served", "from", "cache", "upstream", "in", "with", "status"];
    text.clear();
    text.push_str(&format!("level=info n={number} id={:016x}", chance.next()));
    while text.len() < kind.bytes() - 1 {
        let drawn = chance.next();
        let word = WORDS[usize::try_from(drawn % 8).unwrap_or(0)];
        match kind {
            Kind::Escaped => text.push_str(&format!("\t\"{}\"<{}>", &word[..2], drawn % 7)),
            Kind::Short | Kind::Long if text.len() % 100 < 11 => text.push_str(&format!(" \"{word}\"")),
            Kind::Short | Kind::Long => text.push_str(&format!(" {word}={}", drawn >> 44)),
        }
    }
    text.truncate(kind.bytes() - 1);
    text.push('\n');
}

/// As good as chance, and the same each time (xorshift).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
