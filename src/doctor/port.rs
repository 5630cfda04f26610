//! Which server answers where ours is meant to.
//!
//! A native application, a container and an earlier run all take the same port, and the one that
//! answers may be an old one with an old definition.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value as Json;

use super::{Finding, Subject};

/// The port that clients ask unless they are told another.
pub const PORT: u16 = 9001;

const CHECK: &str = "server";
/// What the name of our own server contains.
const OWN_NAME: &str = "millrace";
const TIMEOUT: Duration = Duration::from_secs(2);
/// Longest answer that is read.
const MAX_ANSWER: u64 = 8 << 20;

/// A process that listens on the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its number, if this user may see it.
    pub pid: Option<u32>,
    /// Its name.
    pub name: Option<String>,
}

/// What the server says of its dependencies, if it is one of ours.
pub fn freshness(subject: &Subject) -> Option<Json> {
    get(subject.listen, "/freshness").filter(|told| told.get("server").is_some())
}

/// Tells who answers on the server's port; `freshness` is what it says of its dependencies.
pub fn check(subject: &Subject, freshness: Option<&Json>) -> Finding {
    let address = subject.listen;
    let listeners = listeners(Path::new("/proc"), address.port());
    if TcpStream::connect_timeout(&address, TIMEOUT).is_err() {
        let evidence = format!("nothing answers on {address}: a server can start there");
        return Finding::sound(CHECK, evidence);
    }
    let info = match freshness {
        Some(told) => told.get("server").cloned(),
        None => get(address, "/info"),
    };
    let field = |name: &str| {
        let info = info.as_ref()?;
        Some(info.get(name)?.as_str()?.to_owned())
    };
    let name = field("name");
    let ours = listeners
        .iter()
        .filter_map(|l| l.name.as_ref())
        .chain(&name)
        .any(|name| name.to_lowercase().contains(OWN_NAME));
    let who: Vec<String> = listeners.iter().map(describe).collect();
    let evidence = format!(
        "{address} is answered by {}, version {}{}{}{}",
        name.as_deref().unwrap_or("something that has no /info"),
        field("version").as_deref().unwrap_or("unknown"),
        field("uuid").map_or(String::new(), |id| format!(", id {id}")),
        field("started").map_or(String::new(), |at| format!(", started {at}")),
        match who.is_empty() {
            true => " (its process cannot be seen from here)".to_owned(),
            false => format!("; listening: {}", who.join(", ")),
        }
    );
    let several = listeners.len() > 1;
    if ours && !several {
        return Finding::sound(CHECK, evidence);
    }
    let pid = listeners.iter().find_map(|l| l.pid);
    let stop = match pid {
        Some(pid) => format!("kill {pid}"),
        None => format!("docker ps --filter publish={}", address.port()),
    };
    let what = if several {
        "several processes listen on one port, and nobody knows which of them answers"
    } else {
        "another server answers in the place of millrace"
    };
    Finding::wrong(
        CHECK,
        format!("{what}: {evidence}"),
        format!("{stop}   (stops it), or let millrace listen on another port"),
    )
}

fn describe(listener: &Listener) -> String {
    match (&listener.name, listener.pid) {
        (Some(name), Some(pid)) => format!("{name} (process {pid})"),
        (None, Some(pid)) => format!("process {pid}"),
        _ => "a process of another user".into(),
    }
}

/// What a server answers on a path, if it is JSON.
fn get(address: SocketAddr, path: &str) -> Option<Json> {
    let mut connection = TcpStream::connect_timeout(&address, TIMEOUT).ok()?;
    connection.set_read_timeout(Some(TIMEOUT)).ok()?;
    connection.set_write_timeout(Some(TIMEOUT)).ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    connection.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // A server that keeps the connection open has answered by the time the read gives up.
    let _ = connection.take(MAX_ANSWER).read_to_end(&mut answer);
    let answer = String::from_utf8(answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body.trim()).ok()
}

/// The processes that listen on a port.
fn listeners(proc: &Path, port: u16) -> Vec<Listener> {
    let mut sockets: Vec<String> = ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(proc.join("net").join(table)).ok())
        .flat_map(|table| listening_sockets(&table, port))
        .collect();
    sockets.sort_unstable();
    sockets.dedup();
    let mut found: Vec<Listener> = sockets.iter().map(|s| owner(proc, s)).collect();
    // A process that listens on IPv4 and on IPv6 is one.
    found.sort_by_key(|l| l.pid);
    found.dedup_by(|a, b| a.pid.is_some() && a.pid == b.pid);
    found
}

/// Inodes of sockets that listen on a port, from a table such as `/proc/net/tcp`.
fn listening_sockets(table: &str, port: u16) -> Vec<String> {
    const LISTENING: &str = "0A";
    let here = |line: &&str| {
        let mut columns = line.split_whitespace();
        let local = columns.nth(1).and_then(|a| a.rsplit_once(':'));
        let at = local.and_then(|(_, p)| u16::from_str_radix(p, 16).ok());
        at == Some(port) && columns.nth(1) == Some(LISTENING)
    };
    table
        .lines()
        .filter(here)
        .filter_map(|line| line.split_whitespace().nth(9).map(str::to_owned))
        .collect()
}

/// The process that holds a socket.
fn owner(proc: &Path, inode: &str) -> Listener {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    for process in processes {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        let files = fs::read_dir(process.path().join("fd"));
        let holds = files.into_iter().flatten().flatten().any(|file| {
            fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str())
        });
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).ok();
            return Listener {
                pid: Some(pid),
                name: name.map(|n| n.trim().to_owned()),
            };
        }
    }
    Listener {
        pid: None,
        name: None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_table_of_sockets_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             \x20  0: 0100007F:2329 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n\
             \x20  1: 0100007F:2329 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n\
             \x20  2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n";
        assert_eq!(listening_sockets(table, 9001), ["4711"]);
        assert_eq!(listening_sockets(table, 80), ["4713"]);
    }

    #[test]
    fn a_listener_is_known_by_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let [found] = &listeners(Path::new("/proc"), port)[..] else {
            panic!("one listener");
        };
        assert_eq!(found.pid, Some(std::process::id()));
        drop(listener);
        assert!(listeners(Path::new("/proc"), port).is_empty());
    }
}
