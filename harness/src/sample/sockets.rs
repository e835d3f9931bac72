//! What the sockets of a process are, by the kernel's tables: peer and state, inode by inode.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use procfs::ProcResult;
use procfs::net::{TcpNetEntry, TcpState, UdpNetEntry, UnixNetEntry, UnixState};
use procfs::process::Process;

use crate::sample::fold::fold;
use crate::sample::process;
use crate::sample::unix_peers::peers;

/// A socket that no table knows: closed and not given back, of another family (netlink, packet), or of another
/// network namespace.
const UNKNOWN: &str = "socket not connected or of another family";

/// Some sockets of a network namespace, in words.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    by_inode: BTreeMap<u64, String>,
}

impl Sockets {
    /// Looks for those with these inodes in the tables of the process's network namespace, one table after another until
    /// all are found: for one with a single line the kernel goes through all of its buckets. A table that can't be read
    /// is taken for empty, as where the kernel has no IPv6.
    #[must_use]
    pub fn of(pid: u32, inodes: &BTreeSet<u64>) -> Self {
        let mut found = Self::default();
        let Ok(process) = process::open(pid) else { return found };
        let tables: [fn(&mut Self, &Process, &BTreeSet<u64>); 5] = [
            Self::look_at_unix,
            |found, process, inodes| found.add_tcp(process.tcp(), inodes),
            |found, process, inodes| found.add_tcp(process.tcp6(), inodes),
            |found, process, inodes| found.add_udp(process.udp(), inodes),
            |found, process, inodes| found.add_udp(process.udp6(), inodes),
        ];
        for look_at in tables {
            if found.by_inode.len() < inodes.len() {
                look_at(&mut found, &process, inodes);
            }
        }
        found
    }

    /// Whoever listens for both kinds of addresses stands in the second table with all who connect.
    fn add_tcp(&mut self, table: ProcResult<Vec<TcpNetEntry>>, inodes: &BTreeSet<u64>) {
        let tcp = table.unwrap_or_default();
        let listening: BTreeSet<u16> = tcp
            .iter()
            .filter(|entry| entry.state == TcpState::Listen)
            .map(|entry| entry.local_address.port())
            .collect();
        let wanted = tcp.iter().filter(|entry| inodes.contains(&entry.inode));
        self.by_inode.extend(wanted.map(|entry| (entry.inode, self::tcp(entry, &listening))));
    }

    fn add_udp(&mut self, table: ProcResult<Vec<UdpNetEntry>>, inodes: &BTreeSet<u64>) {
        let wanted = table.unwrap_or_default().into_iter().filter(|entry| inodes.contains(&entry.inode));
        self.by_inode.extend(wanted.map(|entry| (entry.inode, self::udp(&entry))));
    }

    fn look_at_unix(&mut self, process: &Process, inodes: &BTreeSet<u64>) {
        let unix: BTreeMap<u64, UnixNetEntry> =
            process.unix().unwrap_or_default().into_iter().map(|entry| (entry.inode, entry)).collect();
        let wanted: Vec<(&u64, &UnixNetEntry)> =
            unix.iter().filter(|(inode, _)| inodes.contains(inode)).collect();
        let peers = if wanted.is_empty() { BTreeMap::new() } else { peers() };
        let peer = |inode: &u64| unix.get(peers.get(inode)?)?.path.as_deref();
        let named = wanted.into_iter().map(|(inode, entry)| (*inode, self::unix(entry, peer(inode))));
        self.by_inode.extend(named);
    }

    /// The kind of the socket with this inode.
    #[must_use]
    pub fn kind(&self, inode: u64) -> String {
        self.by_inode.get(&inode).map_or_else(|| UNKNOWN.to_owned(), Clone::clone)
    }
}

/// Whoever connects to us does so from a port of chance, which says nothing; whom we connect to is said in full.
fn tcp(entry: &TcpNetEntry, listening: &BTreeSet<u16>) -> String {
    let (local, peer) = (plain(entry.local_address), plain(entry.remote_address));
    let state = tcp_state(&entry.state);
    if entry.state == TcpState::Listen {
        return format!("socket listening on {local}");
    }
    if peer.port() == 0 {
        return format!("socket without peer {state}");
    }
    if listening.contains(&local.port()) {
        return format!("socket from {} to port {} {state}", peer.ip(), local.port());
    }
    format!("socket to {peer} {state}")
}

fn tcp_state(state: &TcpState) -> &'static str {
    match state {
        TcpState::Established => "established",
        TcpState::SynSent => "syn-sent",
        TcpState::SynRecv | TcpState::NewSynRecv => "syn-received",
        TcpState::FinWait1 => "fin-wait-1",
        TcpState::FinWait2 => "fin-wait-2",
        TcpState::TimeWait => "time-wait",
        TcpState::Close => "closed",
        TcpState::CloseWait => "close-wait",
        TcpState::LastAck => "last-ack",
        TcpState::Listen => "listening",
        TcpState::Closing => "closing",
    }
}

fn udp(entry: &UdpNetEntry) -> String {
    match plain(entry.remote_address) {
        peer if peer.port() == 0 => "socket udp without peer".to_owned(),
        peer => format!("socket udp to {peer}"),
    }
}

/// Only the side that was bound has a name: the other one is told by whom it is connected to.
fn unix(entry: &UnixNetEntry, peer: Option<&Path>) -> String {
    let name = match (&entry.path, peer) {
        (Some(own), _) => fold(&own.to_string_lossy()),
        (None, Some(peer)) => format!("to {}", fold(&peer.to_string_lossy())),
        (None, None) => "unnamed".to_owned(),
    };
    let state = match entry.state {
        UnixState::UNCONNECTED => "unconnected",
        UnixState::CONNECTING => "connecting",
        UnixState::CONNECTED => "connected",
        UnixState::DISCONNECTING => "disconnecting",
    };
    format!("socket unix {name} {state}")
}

/// An IPv4 peer of an IPv6 socket is an IPv4 peer.
fn plain(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}
