//! Which programs of this machine listen on a port, as far as `/proc` tells.
//!
//! Sockets of other network namespaces (containers with a network of their own) do not show; the
//! program that forwards their port does. The programs of other users show for root only.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// State of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub address: IpAddr,
    pub inode: u64,
}

/// The sockets that listen on a port.
pub(super) fn on(port: u16) -> Vec<Listener> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| parse(&table, port))
        .collect()
}

/// The listening sockets in a table of the kernel.
fn parse(table: &str, port: u16) -> Vec<Listener> {
    let line = |line: &str| {
        let mut columns = line.split_whitespace();
        let (address, local_port) = columns.nth(1)?.split_once(':')?;
        let state = columns.nth(1)?;
        if state != LISTENING || u16::from_str_radix(local_port, 16).ok()? != port {
            return None;
        }
        Some(Listener {
            address: address_of(address)?,
            inode: columns.nth(5)?.parse().ok()?,
        })
    };
    table.lines().skip(1).filter_map(line).collect()
}

/// An address in the kernel's form: words of 32 bits in the machine's byte order.
fn address_of(text: &str) -> Option<IpAddr> {
    let word = |text: &str| Some(u32::from_str_radix(text, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(Ipv4Addr::from(word(text)?).into()),
        32 => {
            let mut octets = [0u8; 16];
            for (i, chunk) in octets.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(text.get(8 * i..8 * i + 8)?)?);
            }
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// The programs that hold these sockets: `python3 (process 123)`.
pub(super) fn programs(listeners: &[Listener]) -> Vec<String> {
    let wanted: BTreeSet<String> = listeners
        .iter()
        .map(|listener| format!("socket:[{}]", listener.inode))
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<(u32, String)> = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|process| holds(*process, &wanted))
        .map(|process| {
            let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            (process, format!("{} (process {process})", name.trim()))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, name)| name).collect()
}

fn holds(process: u32, sockets: &BTreeSet<String>) -> bool {
    let files = fs::read_dir(format!("/proc/{process}/fd"));
    files.into_iter().flatten().flatten().any(|file| {
        fs::read_link(file.path())
            .is_ok_and(|target| target.to_str().is_some_and(|t| sockets.contains(t)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2329 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0000000000000000 100 0 0 10 0
   2: 0100007F:2329 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 20 4 30 10 -1
";

    #[test]
    fn listening_sockets_are_read_from_the_kernels_table() {
        let found = parse(TABLE, 9001);
        let localhost = Ipv4Addr::LOCALHOST.into();
        assert_eq!(
            found,
            [Listener {
                address: localhost,
                inode: 4711
            }]
        );
        let six = TABLE.replace(
            "0100007F:2329 00000000:0000 0A",
            "00000000000000000000000001000000:2329 00000000000000000000000000000000:0000 0A",
        );
        assert_eq!(
            parse(&six, 9001)[0].address,
            IpAddr::from(Ipv6Addr::LOCALHOST)
        );
        assert_eq!(parse("", 9001), []);
    }

    #[test]
    fn the_program_behind_a_socket_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = on(listener.local_addr().unwrap().port());
        assert_eq!(found.len(), 1);
        let programs = programs(&found);
        let us = format!("(process {})", std::process::id());
        assert!(programs.iter().any(|p| p.ends_with(&us)), "{programs:?}");
    }
}
