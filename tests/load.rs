//! Many clients at once: a workflow of ten light steps on a 640 x 480 JPEG.
//!
//! The short form takes seconds; `MILLRACE_LOAD_SECONDS=60 cargo test --release --test load -- --nocapture`
//! is the long one. `MILLRACE_LOAD_URL=http://127.0.0.1:9001` drives another server in the same way
//! and prints its figures, for a comparison on the same machine.

#![allow(clippy::unwrap_used)] // a test that cannot go on ends

#[path = "support/server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use serde_json::{Value as Json, json};
use server::Server;

const CLIENTS: usize = 64;
/// Memory by which the server may have grown, KiB.
const GROWN: u64 = 20 << 10;

/// A picture with detail, as a camera gives it: about 60 KB.
fn jpeg() -> String {
    let picture = image::RgbImage::from_fn(640, 480, |x, y| {
        let noise = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)) >> 13;
        let wave = ((x as f32 / 17.0).sin() * (y as f32 / 23.0).cos() * 90.0 + 128.0) as u32;
        image::Rgb([wave + noise % 24, wave / 2 + 60, 255 - wave].map(|c| c.min(255) as u8))
    });
    let mut out = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, 85);
    picture.write_with_encoder(encoder).unwrap();
    STANDARD.encode(out)
}

fn body() -> String {
    let step = |i: usize| {
        json!({
            "type": "roboflow_core/property_definition@v1",
            "name": format!("size_{i}"),
            "data": "$inputs.image",
            "operations": [{"type": "ExtractImageProperty", "property_name": "size"}],
        })
    };
    let output = |i: usize| json!({"type": "JsonField", "name": format!("size_{i}"), "selector": format!("$steps.size_{i}.output")});
    json!({
        "specification": {
            "version": "1.0",
            "inputs": [{"type": "WorkflowImage", "name": "image"}],
            "steps": (0..10).map(step).collect::<Json>(),
            "outputs": (0..10).map(output).collect::<Json>(),
        },
        "inputs": {"image": {"type": "base64", "value": jpeg()}},
    })
    .to_string()
}

struct Load {
    url: String,
    body: bytes::Bytes,
    until: Instant,
    failed: AtomicU64,
}

async fn client(load: Arc<Load>) -> Histogram<u64> {
    let http = reqwest::Client::new();
    let mut times = Histogram::new(3).unwrap();
    while Instant::now() < load.until {
        let begun = Instant::now();
        let request = http
            .post(&load.url)
            .header("content-type", "application/json")
            .body(load.body.clone());
        let answered = async {
            let response = request.send().await.ok()?;
            let is_ok = response.status() == 200;
            let json: Json = response.json().await.ok()?;
            (is_ok && json["outputs"][0]["size_9"] == 640 * 480).then_some(())
        };
        match answered.await {
            Some(()) => times.record(begun.elapsed().as_micros() as u64).unwrap(),
            None => {
                load.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    times
}

/// Lets the clients loose; answers requests a second and prints the figures.
fn drive(runtime: &tokio::runtime::Runtime, url: &str, time: Duration) -> f64 {
    let load = Arc::new(Load {
        url: format!("{url}/workflows/run"),
        body: body().into(),
        until: Instant::now() + time,
        failed: AtomicU64::new(0),
    });
    let begun = Instant::now();
    let times = runtime.block_on(async {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| tokio::spawn(client(load.clone())))
            .collect();
        let mut all = Histogram::<u64>::new(3).unwrap();
        for client in clients {
            all.add(client.await.unwrap()).unwrap();
        }
        all
    });
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    let ms = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "{url}: {CLIENTS} clients, {time:?}: {} answers, {rate:.0} a second, p50 {:.1} ms, p99 {:.1} ms, {} errors",
        times.len(),
        ms(0.5),
        ms(0.99),
        load.failed.load(Ordering::Relaxed)
    );
    assert_eq!(load.failed.load(Ordering::Relaxed), 0);
    assert!(!times.is_empty());
    rate
}

/// Memory of a server, KiB: once it is below `enough`, or as little as it gets. It gives memory back by
/// itself, two seconds after the last request.
fn settled(server: &Server, enough: u64) -> u64 {
    let mut least = (server.memory_kib(), Instant::now());
    while least.0 >= enough && least.1.elapsed() < Duration::from_secs(4) {
        std::thread::sleep(Duration::from_millis(100));
        let now = server.memory_kib();
        if now < least.0 {
            least = (now, Instant::now());
        }
    }
    least.0
}

#[test]
fn many_clients_are_served_without_an_error_and_memory_is_flat() {
    let seconds = std::env::var("MILLRACE_LOAD_SECONDS").ok();
    let seconds = seconds.map_or(3, |s| s.parse().expect("a whole number of seconds"));
    let time = Duration::from_secs(seconds);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let server = Server::start(&[], &[]);
    // What is made once: threads, plans, connections.
    drive(&runtime, &server.url(""), Duration::from_secs(2));
    let before = settled(&server, 0);
    let own = drive(&runtime, &server.url(""), time);
    let after = settled(&server, before + GROWN);
    println!("memory before {} KiB, after {} KiB", before, after);
    assert!(
        after < before + GROWN,
        "{before} KiB before, {after} KiB after"
    );
    if let Ok(url) = std::env::var("MILLRACE_LOAD_URL") {
        drive(&runtime, &url, Duration::from_secs(2));
        let other = drive(&runtime, &url, time);
        println!("{:.1} times the throughput of {url}", own / other);
    }
}
