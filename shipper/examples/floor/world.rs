//! What a shipper needs around it: a Docker Engine that knows some containers, and a sink that takes everything and looks
//! at nothing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::{Value, json};

use crate::logs::Log;

/// Answers 204 to whatever comes.
pub(crate) fn sink() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut out = stream.try_clone()?;
                let mut requests = BufReader::with_capacity(256 << 10, stream);
                while let Some((_, bytes)) = head(&mut requests)? {
                    io::copy(&mut (&mut requests).take(bytes), &mut io::sink())?;
                    out.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
                }
                io::Result::Ok(())
            });
        }
    });
    Ok(address)
}

/// Knows containers with these logs, which run and log to files. What they have written it sends, in frames, to who
/// asks for it.
pub(crate) fn engine(socket: &Path, logs: &[Log]) -> io::Result<()> {
    let paths: Vec<(String, PathBuf)> = logs.iter().map(|log| (log.id.clone(), log.path.clone())).collect();
    let listener = UnixListener::bind(socket)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let paths = paths.clone();
            thread::spawn(move || {
                let mut out = stream.try_clone()?;
                let mut requests = BufReader::new(stream);
                while let Some((path, _)) = head(&mut requests)? {
                    if path.contains("/events") {
                        // Nothing ever happens; who asked hangs up.
                        out.write_all(
                            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
                        )?;
                        continue;
                    }
                    if path.contains("/logs?") {
                        let (_, log) =
                            paths.iter().find(|(id, _)| path.contains(id.as_str())).ok_or_else(unknown)?;
                        send_log(log, &mut out)?;
                        continue;
                    }
                    let ids: Vec<&str> = paths.iter().map(|(id, _)| id.as_str()).collect();
                    let body = answer(&path, &ids).to_string();
                    let bytes = body.len();
                    write!(
                        out,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n{body}"
                    )?;
                }
                io::Result::Ok(())
            });
        }
    });
    Ok(())
}

fn unknown() -> io::Error {
    io::Error::other("no such container")
}

/// Each line in a frame, and each frame in a chunk, as Docker sends them; the stream stays open.
fn send_log(log: &Path, out: &mut impl Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 << 10, out);
    out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    for line in BufReader::new(File::open(log)?).lines() {
        let line: Value = serde_json::from_str(&line?)?;
        let part = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let message = format!("{} {}", part("time"), part("log"));
        write!(out, "{:x}\r\n", message.len() + 8)?;
        out.write_all(&[1, 0, 0, 0])?;
        out.write_all(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes())?;
        write!(out, "{message}\r\n")?;
    }
    out.flush()
}

fn answer(path: &str, ids: &[&str]) -> Value {
    if path.contains("/containers/json") {
        return ids.iter().map(|id| json!({"Id": id, "State": "running", "Names": [name(id)]})).collect();
    }
    if let Some(id) = ids.iter().find(|id| path.contains(**id)) {
        return json!({
            "Id": id, "Name": name(id), "Created": "2026-01-01T00:00:00Z",
            "Config": {"Tty": false, "Image": "floor", "Labels": {}},
            "HostConfig": {"LogConfig": {"Type": "json-file"}},
        });
    }
    json!({"Version": "28.0.0", "ApiVersion": "1.48", "MinAPIVersion": "1.24"})
}

fn name(id: &str) -> String {
    format!("/c{}", u64::from_str_radix(&id[48..], 16).unwrap_or(0))
}

/// The path of the next request and the length of its body, which is still to be read.
fn head(from: &mut impl BufRead) -> io::Result<Option<(String, u64)>> {
    let (mut path, mut bytes) = (None, 0);
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(path.map(|path| (path, bytes)));
        }
        path = path.or_else(|| line.split(' ').nth(1).map(str::to_owned));
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            bytes = value.trim().parse().map_err(io::Error::other)?;
        }
    }
}
