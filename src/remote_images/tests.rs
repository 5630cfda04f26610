//! Fetching from real servers on the loopback. In the world of these tests 127.0.0.1 is a public
//! address and 127.0.0.2 a private one.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::values::Matrix;
use crate::values::codec::encode_png;
use crate::values::deserialise::{InputOptions, deserialise};

const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn is_public_here(address: IpAddr) -> bool {
    address == PUBLIC
}

fn png() -> Vec<u8> {
    encode_png(&Matrix::filled(4, 3, &[1, 2, 3])).unwrap()
}

type Answer = dyn Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Sync;

/// A server that answers each path as a test wants, on a connection of its own.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    sent: Arc<AtomicUsize>,
}

impl Server {
    fn start(
        at: IpAddr,
        answer: impl Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((at, 0)).unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            sent: Arc::default(),
        };
        let (requests, answer) = (server.requests.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (requests, answer) = (requests.clone(), answer.clone());
                thread::spawn(move || serve(stream, &requests, &*answer));
            }
        });
        server
    }

    fn of(at: IpAddr, pages: &[(&str, Vec<u8>)]) -> Self {
        let pages: HashMap<String, Vec<u8>> = pages
            .iter()
            .map(|(path, page)| ((*path).to_owned(), page.clone()))
            .collect();
        Self::start(at, move |path, stream| match pages.get(path) {
            Some(page) => stream.write_all(page),
            None => stream.write_all(&reply("404 Not Found", "", b"gone")),
        })
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.address.port())
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, requests: &Mutex<Vec<String>>, answer: &Answer) {
    let mut head = String::new();
    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
        match line {
            Ok(line) if line.is_empty() => break,
            Ok(line) => head = format!("{head}{line}\n"),
            Err(_) => return,
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    requests.lock().unwrap().push(head);
    // The other side may hang up at any time.
    let _ = answer(&path, &mut stream);
}

fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn redirect(to: &str) -> Vec<u8> {
    reply("302 Found", &format!("Location: {to}\r\n"), b"")
}

/// Names and their addresses; each look-up of a name takes the next one.
#[derive(Default)]
struct Book {
    names: HashMap<&'static str, Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Book {
    fn of(names: &[(&'static str, &[IpAddr])]) -> Arc<Self> {
        let names = names.iter().map(|(name, list)| (*name, list.to_vec()));
        Arc::new(Self {
            names: names.collect(),
            asked: AtomicUsize::new(0),
        })
    }

    fn usual() -> Arc<Self> {
        Self::of(&[("img.site.org", &[PUBLIC]), ("inside.site.org", &[PRIVATE])])
    }
}

impl Lookup for Book {
    fn addresses(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst);
        let list = self.names.get(host).map(Vec::as_slice).unwrap_or_default();
        let address = list.get(turn.min(list.len().saturating_sub(1)));
        Ok(address.into_iter().copied().collect())
    }
}

fn settings() -> Settings {
    Settings {
        plain_http: true,
        bare_hosts: true,
        limits: Limits {
            image_bytes: 100_000,
            image: Duration::from_secs(10),
            ..Limits::default()
        },
        ..Settings::default()
    }
}

fn images(settings: Settings, lookup: Arc<Book>) -> Arc<RemoteImages> {
    let is_public = is_public_here;
    RemoteImages::in_world(settings, World { lookup, is_public })
}

#[test]
fn an_image_comes_from_the_host_that_its_name_stands_for() {
    let server = Server::of(PUBLIC, &[("/a.png?x=1", reply("200 OK", "", &png()))]);
    let images = images(settings(), Book::usual());
    let url = server.url("user:word@img.site.org", "/a.png?x=1#part");
    assert_eq!(images.fetch(&url).unwrap(), png());
    let request = server.requests().remove(0).to_lowercase();
    assert!(request.contains(&format!("host: img.site.org:{}", server.address.port())));
    assert!(request.contains("authorization: basic"), "{request}");
    assert_eq!(
        images.fetch(&server.url("img.site.org", "/b")).unwrap_err(),
        FetchError::Status(404)
    );
    let nowhere = images.fetch("http://unknown.site.org/").unwrap_err();
    assert_eq!(nowhere, FetchError::Unresolved);
}

#[test]
fn a_name_that_stands_for_this_machine_is_refused() {
    let server = Server::of(PUBLIC, &[("/", reply("200 OK", "", &png()))]);
    // Judged as it really is: the loopback is not public.
    let images = RemoteImages::with_lookup(settings(), Book::usual());
    let url = server.url("img.site.org", "/");
    for text in [&url, "http://localhost/", "http://localhost./"] {
        let error = images.fetch(text).unwrap_err();
        assert!(
            matches!(error, FetchError::NotPublic | FetchError::Unresolved),
            "{text}"
        );
        assert!(!error.to_string().contains("127"), "{error}");
    }
    assert_eq!(images.fetch(&url), Err(FetchError::NotPublic));
    assert!(server.requests().is_empty());
    let allowed = Settings {
        private_addresses: true,
        ..settings()
    };
    let allowed = RemoteImages::with_lookup(allowed, Book::usual());
    assert_eq!(allowed.fetch(&url).unwrap(), png());
}

#[test]
fn a_name_that_changes_its_address_cannot_slip_through() {
    let private = Server::of(PRIVATE, &[("/a", reply("200 OK", "", &png()))]);
    let port = private.address.port();
    let book = Book::of(&[("img.site.org", &[PUBLIC, PRIVATE])]);
    let images = images(settings(), book.clone());
    let url = format!("http://img.site.org:{port}/a");
    // Nobody listens there on the public address, which alone was checked and tried.
    assert!(images.fetch(&url).is_err());
    assert_eq!(book.asked.load(Ordering::SeqCst), 1);
    assert_eq!(images.fetch(&url), Err(FetchError::NotPublic));
    assert!(private.requests().is_empty());
}

#[test]
fn redirects_are_followed_to_public_places_only() {
    let private = Server::of(PRIVATE, &[("/a", reply("200 OK", "", &png()))]);
    let port = private.address.port();
    let server = Server::of(
        PUBLIC,
        &[
            ("/1", redirect("/2")),
            ("/2", redirect("3?token=hunter2")),
            ("/3?token=hunter2", redirect("/png")),
            ("/png", reply("200 OK", "", &png())),
            ("/loop", redirect("/loop")),
            (
                "/address",
                redirect(&format!("http://127.0.0.2:{port}/a?token=hunter2")),
            ),
            ("/hex", redirect(&format!("http://0x7f000002:{port}/a"))),
            (
                "/name",
                redirect(&format!("http://inside.site.org:{port}/a")),
            ),
            ("/file", redirect("file:///etc/passwd")),
            ("/back", redirect("\\\\\\\\127.0.0.2/a")),
        ],
    );
    let short = Settings {
        max_redirects: 3,
        ..settings()
    };
    let images = images(short, Book::usual());
    let fetch = |path| images.fetch(&server.url("img.site.org", path));
    assert_eq!(fetch("/1").unwrap(), png());
    assert_eq!(fetch("/loop"), Err(FetchError::Redirects(3)));
    for path in ["/address", "/hex", "/name", "/file", "/back"] {
        let error = fetch(path).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert_eq!(
        fetch("/address").unwrap_err().to_string(),
        format!(
            "it redirects to http://127.0.0.2:{port}/a?token=***: the host has no public address \
             (ALLOW_URL_TO_NON_GLOBAL_ADDRESSES)"
        )
    );
    assert_eq!(fetch("/name"), Err(FetchError::NotPublic));
    assert!(private.requests().is_empty());
}

#[test]
fn neither_silence_nor_a_trickle_holds_anybody_up() {
    let server = Server::start(PUBLIC, |path, stream| {
        if path == "/trickle" {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n\x89PNG\r\n\x1a\n")?;
            loop {
                stream.write_all(b"0")?;
                thread::sleep(Duration::from_millis(20));
            }
        }
        thread::sleep(Duration::from_secs(20));
        Ok(())
    });
    let limit = Duration::from_millis(300);
    let mut hasty = settings();
    hasty.limits.image = limit;
    let images = images(hasty, Book::usual());
    let started = Instant::now();
    for path in ["/silence", "/trickle"] {
        let error = images.fetch(&server.url("img.site.org", path)).unwrap_err();
        assert_eq!(error, FetchError::Timeout(limit), "{path}");
    }
    assert!(started.elapsed() < Duration::from_secs(8));
}

#[test]
fn reading_stops_at_the_limit_and_at_what_is_no_image() {
    let endless = |stream: &mut TcpStream, sent: &AtomicUsize, piece: &[u8]| loop {
        stream.write_all(piece)?;
        sent.fetch_add(piece.len(), Ordering::SeqCst);
    };
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let mut server = Server::start(PUBLIC, move |path, stream| match path {
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n\x89PNG\r\n\x1a\n")?;
            endless(stream, &counted, &[0; 8192])
        }
        "/page" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>")?;
            endless(stream, &counted, &[b' '; 8192])
        }
        "/announced" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n"),
        "/packed" => stream.write_all(&reply(
            "200 OK",
            "Content-Encoding: gzip\r\n",
            &[0x1f, 0x8b, 8, 0],
        )),
        _ => stream.write_all(&reply("200 OK", "", b"")),
    });
    server.sent = sent;
    let images = images(settings(), Book::usual());
    let fetch = |path| images.fetch(&server.url("img.site.org", path)).unwrap_err();
    assert_eq!(fetch("/endless"), FetchError::TooLong(100_000));
    assert_eq!(fetch("/announced"), FetchError::TooLong(100_000));
    assert!(
        fetch("/page")
            .to_string()
            .ends_with("it is of type text/html")
    );
    assert!(
        fetch("/packed")
            .to_string()
            .ends_with("it is of type unknown")
    );
    assert!(fetch("/empty").to_string().ends_with("it is empty"));
    // What was sent beyond the limit is in the buffers of the connection.
    assert!(server.sent.load(Ordering::SeqCst) < 64 << 20);
}

#[test]
fn several_images_are_fetched_at_the_same_time_but_not_all() {
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (counting, peak) = (now.clone(), most.clone());
    let server = Server::start(PUBLIC, move |path, stream| {
        peak.fetch_max(
            counting.fetch_add(1, Ordering::SeqCst) + 1,
            Ordering::SeqCst,
        );
        thread::sleep(Duration::from_millis(150));
        counting.fetch_sub(1, Ordering::SeqCst);
        stream.write_all(&reply("200 OK", "", &[&png(), path.as_bytes()].concat()))
    });
    let mut few = settings();
    few.limits.at_once = 3;
    let images = images(few, Book::usual());
    let paths: Vec<String> = (0..7).map(|i| format!("/{i}")).collect();
    let urls: Vec<String> = paths
        .iter()
        .map(|p| server.url("img.site.org", p))
        .collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let fetched = images.fetch_all(&urls);
    for (path, image) in paths.iter().zip(fetched) {
        assert_eq!(image.unwrap(), [&png(), path.as_bytes()].concat());
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[test]
fn one_that_fails_ends_the_request() {
    let server = Server::start(PUBLIC, |path, stream| {
        if path == "/slow" {
            thread::sleep(Duration::from_secs(20));
        }
        stream.write_all(&reply("404 Not Found", "", b""))
    });
    let images = images(settings(), Book::usual());
    let started = Instant::now();
    let [slow, gone] = ["/slow", "/gone?key=hunter2"].map(|p| server.url("img.site.org", p));
    let failed = images.fetch_all(&[&slow, &gone]);
    assert_eq!(failed[1], Err(FetchError::Status(404)));
    let text = failed[0].as_ref().unwrap_err().to_string();
    assert!(
        text.starts_with("given up, because http://img.site.org"),
        "{text}"
    );
    assert!(
        text.ends_with("/gone?key=*** could not be loaded: the server answered with status 404")
    );
    // A URL against the rules ends the request before anything is asked for.
    let asked = server.requests().len();
    let refused = images.fetch_all(&[&slow, "ftp://img.site.org/"]);
    assert_eq!(refused[1], Err(FetchError::Scheme));
    assert!(matches!(refused[0], Err(FetchError::GivenUp { .. })));
    assert_eq!(server.requests().len(), asked);
    assert!(started.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_request_has_limits_of_its_own() {
    let server = Server::start(PUBLIC, |path, stream| {
        if path.starts_with("/slow") {
            thread::sleep(Duration::from_secs(20));
        }
        stream.write_all(&reply("200 OK", "", &[png(), vec![0; 1000]].concat()))
    });
    let mut small = settings();
    small.limits.request_bytes = 2500;
    small.limits.request = Duration::from_millis(400);
    let limits = small.limits;
    let images = images(small, Book::usual());
    let fetch = |paths: [&str; 3]| {
        let urls = paths.map(|p| server.url("img.site.org", p));
        images.fetch_all(&urls.each_ref().map(String::as_str))
    };
    let too_much = fetch(["/1", "/2", "/3"]);
    let too_long = Err(FetchError::TooLong(limits.request_bytes));
    assert!(too_much.contains(&too_long), "{too_much:?}");
    let too_slow = fetch(["/slow1", "/slow2", "/slow3"]);
    assert_eq!(too_slow[0], Err(FetchError::Timeout(limits.request)));
}

#[test]
fn readers_of_inputs_take_images_by_url() {
    let bomb = encode_png(&Matrix::filled(400, 300, &[0, 0, 0])).unwrap();
    let server = Server::of(
        PUBLIC,
        &[
            ("/a.png?signature=hunter2", reply("200 OK", "", &png())),
            ("/bomb?signature=hunter2", reply("200 OK", "", &bomb)),
            ("/torn?signature=hunter2", reply("200 OK", "", &png()[..30])),
        ],
    );
    let options = InputOptions {
        max_pixels: 1000,
        ..InputOptions::remote(images(settings(), Book::usual()))
    };
    let read = |path: &str| {
        let url = server.url("img.site.org", &format!("{path}?signature=hunter2"));
        let json = json!({"type": "url", "value": url});
        deserialise(&["image".to_owned()], &json, "image", &options)
    };
    assert!(read("/a.png").is_ok());
    for (path, why) in [
        ("/gone", "the server answered with status 404"),
        (
            "/bomb",
            "the image has 400 x 300 pixels, more than the limit of 1000",
        ),
        ("/torn", "the PNG image cannot be decoded"),
    ] {
        let error = read(path).unwrap_err();
        assert_eq!(error.class_name(), "InputImageLoadError");
        let shown = server.url("img.site.org", &format!("{path}?signature=***"));
        let text = format!("Could not load image from url: {shown}. Details: {why}");
        assert!(error.to_string().contains(&text), "{error}");
    }
}

#[test]
fn threads_of_other_runtimes_may_fetch() {
    let server = Server::of(PUBLIC, &[("/a", reply("200 OK", "", &png()))]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let images = images(settings(), Book::usual());
        assert!(images.fetch(&server.url("img.site.org", "/a")).is_ok());
    });
}
