//! TCP in between: what a cable, a switch and a firewall do to a connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;

/// How often a waiting thread looks at its orders.
const LOOK: Duration = Duration::from_millis(10);

/// Takes connections and passes them on to a port of this machine.
pub struct Relay {
    port: u16,
    orders: Arc<Orders>,
}

#[derive(Default)]
struct Orders {
    refuse: AtomicBool,
    freeze: AtomicBool,
    stall: AtomicBool,
    /// Connections made before this count are to end.
    ended: AtomicU64,
    made: AtomicU64,
    open: Mutex<Vec<(u64, TcpStream)>>,
}

impl Relay {
    /// Listens at `port` of this machine (0 for a free one).
    pub fn start(port: u16, target: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let orders = Arc::new(Orders::default());
        let given = orders.clone();
        std::thread::spawn(move || take_connections(listener, target, &given));
        Ok(Self { port, orders })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes the port and every connection, or opens the port again; returns when that is done.
    pub fn refuse(&self, refuse: bool) {
        self.orders.refuse.store(refuse, Ordering::SeqCst);
        if refuse {
            self.orders.end_all();
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        for _ in 0..500 {
            if TcpStream::connect_timeout(&address, LOOK * 20).is_err() == refuse {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Lets nothing pass, or everything again.
    pub fn freeze(&self, freeze: bool) {
        self.orders.freeze.store(freeze, Ordering::SeqCst);
    }

    /// Lets answers pass and no packet of the stream, or everything again. Only for RTP inside the RTSP
    /// connection.
    pub fn stall(&self, stall: bool) {
        self.orders.stall.store(stall, Ordering::SeqCst);
    }

    /// Ends every connection with RST.
    pub fn reset(&self) {
        for (_, stream) in self.orders.open.lock().unwrap().iter() {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        self.orders.end_all();
    }
}

impl Orders {
    fn end_all(&self) {
        self.ended
            .store(self.made.load(Ordering::SeqCst), Ordering::SeqCst);
        self.open.lock().unwrap().clear();
    }
}

fn take_connections(listener: TcpListener, target: u16, orders: &Arc<Orders>) {
    let address = listener.local_addr().unwrap();
    let mut listening = Some(listener);
    loop {
        let refuse = orders.refuse.load(Ordering::SeqCst);
        if refuse {
            listening = None;
        } else if listening.is_none() {
            listening = TcpListener::bind(address).ok();
            if let Some(listener) = &listening {
                listener.set_nonblocking(true).unwrap();
            }
        }
        match listening.as_ref().map(TcpListener::accept) {
            Some(Ok((stream, _))) => pass_on(stream, target, orders),
            _ => std::thread::sleep(LOOK),
        }
    }
}

fn pass_on(from: TcpStream, target: u16, orders: &Arc<Orders>) {
    let Ok(to) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else {
        return;
    };
    let number = orders.made.fetch_add(1, Ordering::SeqCst) + 1;
    for stream in [&from, &to] {
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LOOK)).unwrap();
    }
    let mut open = orders.open.lock().unwrap();
    open.push((number, from.try_clone().unwrap()));
    drop(open);
    let (from_too, to_too) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    let answers = Some(Interleaved::default());
    for (mut source, mut sink, parts) in [(from, to, None), (to_too, from_too, answers)] {
        let orders = orders.clone();
        std::thread::spawn(move || {
            copy(&mut source, &mut sink, parts, number, &orders);
            if orders.ended.load(Ordering::SeqCst) < number {
                let _ = sink.shutdown(Shutdown::Both);
                let _ = source.shutdown(Shutdown::Both);
            }
            orders.open.lock().unwrap().retain(|(n, _)| *n != number);
        });
    }
}

fn copy(
    source: &mut TcpStream,
    sink: &mut TcpStream,
    mut parts: Option<Interleaved>,
    number: u64,
    orders: &Orders,
) {
    let mut bytes = [0; 16384];
    while orders.ended.load(Ordering::SeqCst) < number {
        let read = match source.read(&mut bytes) {
            Ok(0) => return,
            Ok(read) => read,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => return,
        };
        while orders.freeze.load(Ordering::SeqCst) {
            if orders.ended.load(Ordering::SeqCst) >= number {
                return;
            }
            std::thread::sleep(LOOK);
        }
        let passed = match &mut parts {
            Some(parts) => parts.pass(&bytes[..read], orders.stall.load(Ordering::SeqCst)),
            None => bytes[..read].to_vec(),
        };
        if sink.write_all(&passed).is_err() {
            return;
        }
    }
}

/// What a server sends: answers in RTSP, and in between packets (`$`, channel, length, bytes).
#[derive(Default)]
struct Interleaved {
    pending: Vec<u8>,
    /// Whether it is something else, such as TLS.
    other: bool,
}

impl Interleaved {
    /// What is passed on of further bytes.
    fn pass(&mut self, bytes: &[u8], stall: bool) -> Vec<u8> {
        self.pending.extend_from_slice(bytes);
        let mut passed = Vec::new();
        while let Some(&first) = self.pending.first() {
            self.other |= !b"$R".contains(&first);
            if self.other {
                passed.append(&mut self.pending);
                break;
            }
            let length = match first {
                b'$' => packet_length(&self.pending),
                _ => answer_length(&self.pending),
            };
            let Some(length) = length.filter(|n| *n <= self.pending.len()) else {
                break;
            };
            let part = self.pending.drain(..length);
            if first != b'$' || !stall {
                passed.extend(part);
            }
        }
        passed
    }
}

fn packet_length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(2..4)?;
    Some(4 + usize::from(u16::from_be_bytes(length.try_into().ok()?)))
}

fn answer_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let body = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    Some(head + body.unwrap_or(0))
}
