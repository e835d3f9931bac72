//! Whom a Unix socket is connected to. `/proc/net/unix` does not say; the kernel's socket diagnosis does, over netlink
//! (sock_diag(7), netlink(7), `linux/unix_diag.h`).

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// The kernel answers at once; what does not come within this does not come.
const WITHIN: Duration = Duration::from_millis(200);
/// The kernel sends no more than this at a time.
const BUFFER_BYTES: usize = 32 * 1024;

/// Length of a message's header, and of what it says of a socket before its attributes.
const HEADER: usize = 16;
const SOCKET: usize = 16;
/// Types of messages: the kernel's error, the end of the list, and one socket (also the request).
const ERROR: u16 = 2;
const DONE: u16 = 3;
const BY_FAMILY: u16 = 20;
/// The attribute that holds the peer's inode, and the bit that asks for it.
const PEER: u16 = 2;
const SHOW_PEER: u32 = 1 << 2;
/// A request for all there are.
const REQUEST_DUMP: u16 = 0x1 | 0x300;

/// The inode of each connected Unix socket's peer, by the inode of the socket, in the network namespace of this
/// process. Empty where the kernel has no such diagnosis.
#[must_use]
pub fn peers() -> BTreeMap<u64, u64> {
    ask().unwrap_or_default()
}

fn ask() -> io::Result<BTreeMap<u64, u64>> {
    let (family, protocol) = (AddressFamily::NETLINK, Some(netlink::SOCK_DIAG));
    let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(WITHIN))?;
    send(&socket, &request(), SendFlags::empty())?;
    let mut peers = BTreeMap::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let (_, length) = recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        if !read(buffer.get(..length).unwrap_or_default(), &mut peers) {
            return Ok(peers);
        }
    }
}

/// A header and a `unix_diag_req`: family, protocol, states, inode, what to show, cookie.
fn request() -> Vec<u8> {
    let unix = [1, 0, 0, 0];
    let words = [u32::MAX, 0, SHOW_PEER, 0, 0].map(u32::to_ne_bytes).concat();
    let length = HEADER + unix.len() + words.len();
    let length = u32::try_from(length).unwrap_or(0).to_ne_bytes();
    let (kind, flags) = (BY_FAMILY.to_ne_bytes(), REQUEST_DUMP.to_ne_bytes());
    [&length[..], &kind, &flags, &[0; 8], &unix, &words].concat()
}

/// Reads the messages of one answer; says whether more will come.
fn read(mut answer: &[u8], peers: &mut BTreeMap<u64, u64>) -> bool {
    let mut any = false;
    while let Some((kind, body, rest)) = message(answer) {
        if kind == DONE || kind == ERROR {
            return false;
        }
        if kind == BY_FAMILY
            && let Some((inode, peer)) = socket(body)
        {
            peers.insert(u64::from(inode), u64::from(peer));
        }
        (any, answer) = (true, rest);
    }
    any
}

/// The first message: its type, its body, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = word(bytes, 0)? as usize;
    let body = bytes.get(HEADER..length)?;
    Some((half(bytes, 4)?, body, bytes.get(aligned(length)..).unwrap_or_default()))
}

/// The inode of a socket and of its peer; `None` where it has none, or one that nobody has accepted yet.
fn socket(body: &[u8]) -> Option<(u32, u32)> {
    let inode = word(body, 4)?;
    let mut attributes = body.get(SOCKET..)?;
    while let (Some(length), Some(kind)) = (half(attributes, 0), half(attributes, 2)) {
        if kind == PEER {
            return word(attributes, 4).filter(|peer| *peer > 0).map(|peer| (inode, peer));
        }
        // An attribute is as long as its head at least: so the loop ends.
        attributes = attributes.get(aligned(usize::from(length).max(4))..)?;
    }
    None
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Messages and attributes begin at multiples of four.
fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    use proptest::prelude::*;

    use super::*;

    fn inode(socket: &UnixStream) -> u64 {
        use std::os::fd::AsRawFd;
        std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().ino()
    }

    #[test]
    fn two_ends_of_a_pair_are_each_others_peer() {
        let (one, other) = UnixStream::pair().unwrap();
        let peers = ask().unwrap();
        assert_eq!(peers.get(&inode(&one)), Some(&inode(&other)));
        assert_eq!(peers.get(&inode(&other)), Some(&inode(&one)));
    }

    proptest! {
        #[test]
        fn whatever_is_answered_is_read_to_its_end(answer in proptest::collection::vec(0_u8..24, 0..400)) {
            read(&answer, &mut BTreeMap::new());
        }
    }
}
