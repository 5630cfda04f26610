//! What the outbox costs: the time that posting an event of 1 KB takes from who makes it, and how
//! many events a second reach a receiver on this machine, in one run, with and without.
//!
//! `cargo bench --bench outbox [-- EVENTS]`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millrace::delivery::outbox::{Durability, OutboxSettings};
use millrace::delivery::{Capacity, Dispatcher, Event, Overflow, Request, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const STREAMS: usize = 16;
const BYTES: usize = 1024;

fn main() -> Result<()> {
    let events = std::env::args().skip(1).find_map(|a| a.parse().ok());
    let events = events.unwrap_or(30_000);
    let receiver = Receiver::start()?;
    println!("{events} events of {BYTES} bytes, {STREAMS} streams, receiver on this machine");
    println!("                                   post, µs: mean   p50   p99    max    delivered/s");

    at_full_speed("in memory", &in_memory(), events, &receiver.url())?;
    let some = events.min(20_000);
    paced(
        "in memory, 5000 events/s",
        &in_memory(),
        some,
        &receiver.url(),
    )?;

    let folder = tempfile::tempdir()?;
    let outbox = at(folder.path(), Durability::Process);
    at_full_speed("outbox", &outbox, events, &receiver.url())?;
    drop(outbox);

    let outbox = at(folder.path(), Durability::Process);
    paced("outbox, 5000 events/s", &outbox, some, &receiver.url())?;
    drop(outbox);
    down_then_up(folder.path(), events, &receiver)?;

    let folder = tempfile::tempdir()?;
    let outbox = at(folder.path(), Durability::Power);
    at_full_speed(
        "outbox, survives power",
        &outbox,
        events.min(500),
        &receiver.url(),
    )
}

fn settings() -> Settings {
    Settings {
        at_once: STREAMS,
        ..Settings::default()
    }
}

fn in_memory() -> Dispatcher {
    Dispatcher::new(Settings {
        capacity: Capacity {
            events: usize::MAX,
            bytes: usize::MAX,
            overflow: Overflow::Refuse,
        },
        ..settings()
    })
}

fn at(folder: &Path, durability: Durability) -> Dispatcher {
    let mut outbox = OutboxSettings::new(folder);
    outbox.durability = durability;
    Dispatcher::with_outbox(settings(), outbox)
}

fn event(url: &str, n: usize) -> Result<Event> {
    let body = format!("{n:08}{}", "x".repeat(BYTES - 8));
    Ok(Event {
        stream: format!("camera {}", n % STREAMS).into(),
        request: Arc::new(Request::event(url, body)?),
    })
}

/// Posts as fast as it goes, and waits until everything arrived.
fn at_full_speed(name: &str, dispatcher: &Dispatcher, events: usize, url: &str) -> Result<()> {
    let before = dispatcher.counts().delivered;
    let start = Instant::now();
    let times = post(dispatcher, events, url, None)?;
    arrived(dispatcher, before + events as u64)?;
    row(name, times, events as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

/// Posts at a steady rate, as cameras do.
fn paced(name: &str, dispatcher: &Dispatcher, events: usize, url: &str) -> Result<()> {
    let start = Instant::now();
    let times = post(dispatcher, events, url, Some(Duration::from_micros(200)))?;
    arrived(dispatcher, events as u64)?;
    row(name, times, events as f64 / start.elapsed().as_secs_f64());
    dispatcher.close(Duration::from_secs(5));
    Ok(())
}

/// Everything waits while the receiver is down, and goes out of the database afterwards.
fn down_then_up(folder: &Path, events: usize, receiver: &Receiver) -> Result<()> {
    let url = receiver.url();
    receiver.refuse(true);
    let dispatcher = at(folder, Durability::Process);
    let times = post(&dispatcher, events, &url, None)?;
    dispatcher.close(Duration::ZERO);
    drop(dispatcher);
    row("outbox, receiver down", times, 0.0);
    receiver.refuse(false);
    let dispatcher = at(folder, Durability::Process);
    let start = Instant::now();
    dispatcher.resume()?;
    arrived(&dispatcher, events as u64)?;
    println!(
        "after a restart, out of the database: {:.0} delivered/s",
        events as f64 / start.elapsed().as_secs_f64()
    );
    dispatcher.close(Duration::from_secs(5));
    Ok(())
}

fn post(
    dispatcher: &Dispatcher,
    events: usize,
    url: &str,
    every: Option<Duration>,
) -> Result<Vec<Duration>> {
    let made: Vec<Event> = (0..events).map(|n| event(url, n)).collect::<Result<_>>()?;
    let start = Instant::now();
    let mut times = Vec::with_capacity(events);
    for (n, event) in made.into_iter().enumerate() {
        if let Some(every) = every {
            let due = every * u32::try_from(n)?;
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        let begun = Instant::now();
        dispatcher.post(event)?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

fn arrived(dispatcher: &Dispatcher, delivered: u64) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(300);
    while dispatcher.counts().delivered < delivered {
        ensure!(Instant::now() < end, "{} and no more", dispatcher.counts());
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn row(name: &str, mut times: Vec<Duration>, rate: f64) {
    times.sort_unstable();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let mean = micros(times.iter().sum::<Duration>()) / times.len() as f64;
    let at = |share: f64| micros(times[((times.len() - 1) as f64 * share) as usize]);
    println!(
        "{name:42} {mean:7.1} {:5.1} {:5.1} {:6.0}   {rate:10.0}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// A receiver that does nothing but say that it took the event.
struct Receiver {
    address: SocketAddr,
    refuse: Arc<std::sync::atomic::AtomicBool>,
    _runtime: tokio::runtime::Runtime,
}

impl Receiver {
    fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr().context("address")?;
        let refuse = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let told = refuse.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, told.clone()));
            }
        });
        Ok(Self {
            address,
            refuse,
            _runtime: runtime,
        })
    }

    fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }

    fn refuse(&self, refuse: bool) {
        self.refuse
            .store(refuse, std::sync::atomic::Ordering::SeqCst);
    }
}

/// Requests have a head of a few hundred bytes and a body of known length.
async fn answer(mut stream: TcpStream, refuse: Arc<std::sync::atomic::AtomicBool>) {
    let mut bytes = Vec::new();
    loop {
        let head = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        if let Some(head) = head.filter(|head| bytes.len() >= head + 4 + BYTES) {
            bytes.drain(..head + 4 + BYTES);
            let reply: &[u8] = if refuse.load(std::sync::atomic::Ordering::SeqCst) {
                b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
            } else {
                b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
            };
            if stream.write_all(reply).await.is_err() {
                return;
            }
            continue;
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
