//! What can't be avoided, and nothing else: the bytes are read, the lines found, their texts unescaped, written
//! as a push, compressed and sent. No window, no ledger, no checkpoint, no label but what stands here; a line
//! that is not as Docker writes it ends it. One thread.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use memchr::{memchr, memchr2};

const PAGE_BYTES: usize = 256 << 10;
/// As the shipper's batches.
const PUSH_BYTES: usize = 1 << 20;

/// Ships the logs of all containers below `root` to the sink at `address`.
pub(crate) fn ship(root: &Path, address: &str) -> io::Result<()> {
    let mut push = Push::new(TcpStream::connect(address)?, address);
    let mut page = vec![0; PAGE_BYTES];
    for (number, folder) in std::fs::read_dir(root)?.enumerate() {
        let folder = folder?;
        let id = folder.file_name().to_string_lossy().into_owned();
        push.stream(&format!("{{container=\"c{number}\", job=\"docker\", stream=\"stdout\"}}"), &id)?;
        let mut file = File::open(folder.path().join(format!("{id}-json.log")))?;
        let mut kept = 0;
        loop {
            let read = file.read(&mut page[kept..])?;
            if read == 0 {
                break;
            }
            let (mut at, end) = (0, kept + read);
            while let Some(length) = memchr(b'\n', &page[at..end]) {
                push.line(&page[at..at + length])?;
                at += length + 1;
            }
            page.copy_within(at..end, 0);
            kept = end - at;
        }
    }
    push.send()
}

struct Push {
    sink: TcpStream,
    head: String,
    labels: String,
    metadata: Vec<u8>,
    text: Vec<u8>,
    entries: Vec<u8>,
    body: Vec<u8>,
    compressed: Vec<u8>,
    snappy: snap::raw::Encoder,
    answer: Vec<u8>,
}

impl Push {
    fn new(sink: TcpStream, address: &str) -> Self {
        let head = format!(
            "POST /loki/api/v1/push HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-protobuf\r\n"
        );
        Self {
            sink,
            head,
            labels: String::new(),
            metadata: Vec::new(),
            text: Vec::new(),
            entries: Vec::new(),
            body: Vec::new(),
            compressed: Vec::new(),
            snappy: snap::raw::Encoder::new(),
            answer: vec![0; 4096],
        }
    }

    /// Other lines follow.
    fn stream(&mut self, labels: &str, id: &str) -> io::Result<()> {
        if self.body.len() + self.entries.len() > PUSH_BYTES {
            self.send()?;
        }
        self.close_stream();
        labels.clone_into(&mut self.labels);
        self.metadata.clear();
        field(&mut self.metadata, 1, b"container_id");
        field(&mut self.metadata, 2, &id.as_bytes()[..12]);
        Ok(())
    }

    /// `{"log":"TEXT\n","stream":"stdout","time":"2026-11-24T14:38:18.123456789Z"}`
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.text.clear();
        let rest = unescape(&line[8..], &mut self.text);
        let (seconds, nanos) = time(&rest[rest.iter().position(|byte| *byte == b'T').unwrap_or(0) - 10..]);
        let text = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        let mut stamp = [0; 16];
        let mut stamped = io::Cursor::new(&mut stamp[..]);
        stamped.write_all(&[8])?;
        varint(&mut stamped, seconds)?;
        stamped.write_all(&[16])?;
        varint(&mut stamped, nanos)?;
        let stamp_bytes = usize::try_from(stamped.position()).unwrap_or(0);
        let bytes = 2 + stamp_bytes + field_bytes(text.len()) + field_bytes(self.metadata.len());
        self.entries.push(0x12);
        varint(&mut self.entries, bytes as u64)?;
        field(&mut self.entries, 1, &stamp[..stamp_bytes]);
        field(&mut self.entries, 2, text);
        field(&mut self.entries, 3, &self.metadata);
        if self.entries.len() > PUSH_BYTES { self.send() } else { Ok(()) }
    }

    fn close_stream(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        let bytes = field_bytes(self.labels.len()) + self.entries.len();
        self.body.push(0x0a);
        varint(&mut self.body, bytes as u64).unwrap_or_default();
        field(&mut self.body, 1, self.labels.as_bytes());
        self.body.extend_from_slice(&self.entries);
        self.entries.clear();
    }

    fn send(&mut self) -> io::Result<()> {
        self.close_stream();
        self.compressed.resize(snap::raw::max_compress_len(self.body.len()), 0);
        let bytes = self.snappy.compress(&self.body, &mut self.compressed).map_err(io::Error::other)?;
        self.body.clear();
        write!(self.sink, "{}Content-Length: {bytes}\r\n\r\n", self.head)?;
        self.sink.write_all(&self.compressed[..bytes])?;
        let answer = self.sink.read(&mut self.answer)?;
        if self.answer[..answer].starts_with(b"HTTP/1.1 204") {
            Ok(())
        } else {
            Err(io::Error::other("the sink does not take it"))
        }
    }
}

/// What follows the closing quote.
fn unescape<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> &'a [u8] {
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        text.extend_from_slice(&rest[..at]);
        if rest[at] == b'"' {
            return &rest[at + 1..];
        }
        text.push(match rest[at + 1] {
            b'n' => b'\n',
            b't' => b'\t',
            b'u' => rest[at + 4..at + 6].iter().fold(0, |code, digit| code << 4 | hex(*digit)),
            other => other,
        });
        rest = &rest[at + if rest[at + 1] == b'u' { 6 } else { 2 }..];
    }
    rest
}

fn hex(digit: u8) -> u8 {
    if digit.is_ascii_digit() { digit - b'0' } else { (digit | 0x20) - b'a' + 10 }
}

/// Seconds and nanoseconds. The day is looked up nowhere: each month has 31 days here.
fn time(text: &[u8]) -> (u64, u64) {
    let number = |at: usize, digits: usize| {
        text[at..at + digits].iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
    };
    let days = number(0, 4) * 372 + number(5, 2) * 31 + number(8, 2);
    let seconds = days * 86_400 + number(11, 2) * 3_600 + number(14, 2) * 60 + number(17, 2);
    let (mut nanos, mut unit) = (0, 100_000_000);
    for digit in text[20..].iter().take_while(|byte| byte.is_ascii_digit()) {
        nanos += u64::from(digit - b'0') * unit;
        unit /= 10;
    }
    (seconds, nanos)
}

fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag << 3 | 2);
    varint(out, bytes.len() as u64).unwrap_or_default();
    out.extend_from_slice(bytes);
}

fn field_bytes(bytes: usize) -> usize {
    1 + bytes
        + if bytes < 1 << 7 {
            1
        } else if bytes < 1 << 14 {
            2
        } else {
            3
        }
}

fn varint(out: &mut impl Write, mut value: u64) -> io::Result<()> {
    let (mut bytes, mut length) = ([0; 10], 0);
    while value >= 0x80 {
        bytes[length] = value.to_le_bytes()[0] | 0x80;
        value >>= 7;
        length += 1;
    }
    bytes[length] = value.to_le_bytes()[0];
    out.write_all(&bytes[..=length])
}
