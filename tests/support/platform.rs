//! A stand-in for the platform: a real HTTP server on this machine that answers for definitions as
//! it is told, well or badly. It speaks HTTP/1.1 by hand, because it has to break it.
#![allow(dead_code)] // each test binary uses its part

mod port;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value as Json, json};

use port::Port;

/// How requests are answered.
#[derive(Clone, Debug)]
pub enum Manner {
    /// With the published definition, or 404.
    Well,
    /// With the published definition after this time.
    Slowly(Duration),
    /// With this status and header, and a body that tells nothing.
    Status(u16, Option<(&'static str, String)>),
    /// With 200 and this body.
    Body(Vec<u8>),
    /// With half of the answer; then the connection breaks.
    Half,
    /// Not at all: the connection breaks.
    Drop,
    /// Not at all: the connection stays open.
    Hang,
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Asked {
    pub target: String,
    pub headers: HashMap<String, String>,
}

#[derive(Debug)]
struct Book {
    published: HashMap<String, Json>,
    manner: Manner,
    etags: bool,
    /// Keys that are accepted, with their workspaces; without any, all are.
    keys: HashMap<String, String>,
    /// How far the platform's clock is ahead.
    ahead: chrono::TimeDelta,
    asked: Vec<Asked>,
    /// Connections that hang, so that they stay open.
    kept: Vec<TcpStream>,
}

/// The stand-in; it stops when dropped.
pub struct Platform {
    book: Arc<Mutex<Book>>,
    port: Port,
}

impl Platform {
    pub fn start() -> Self {
        let book = Arc::new(Mutex::new(Book {
            published: HashMap::new(),
            manner: Manner::Well,
            etags: false,
            keys: HashMap::new(),
            ahead: chrono::TimeDelta::zero(),
            asked: Vec::new(),
            kept: Vec::new(),
        }));
        let served = book.clone();
        let port = Port::open(move |connection| serve(&served, connection));
        Self { book, port }
    }

    /// Opens the port, the same one after [`Self::refuse`].
    pub fn listen(&mut self) {
        self.port.listen();
    }

    /// Closes the port: connections are refused.
    pub fn refuse(&mut self) {
        self.port.refuse();
    }

    pub fn url(&self) -> url::Url {
        self.port.url()
    }

    /// Publishes a definition under `workspace/workflow` or `workspace/workflow@version`.
    pub fn publish(&self, id: &str, definition: &Json) {
        let mut book = self.book();
        book.published.insert(id.to_owned(), definition.clone());
    }

    pub fn answer(&self, manner: Manner) {
        self.book().manner = manner;
    }

    /// From now on answers have an `ETag` and conditional requests are understood.
    pub fn with_etags(&self) {
        self.book().etags = true;
    }

    /// From now on only keys that were named so are accepted.
    pub fn accept(&self, key: &str, workspace: &str) {
        self.book().keys.insert(key.into(), workspace.into());
    }

    pub fn clock_ahead(&self, by: chrono::TimeDelta) {
        self.book().ahead = by;
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.book().asked.clone()
    }

    pub fn count(&self) -> usize {
        self.book().asked.len()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("lock")
    }
}

/// The answer of the platform that publishes a definition, as it was recorded.
pub fn body_of(definition: &Json) -> Vec<u8> {
    let recorded = include_str!("../../fixtures/platform/workflow_definition.json");
    let recorded: Json = serde_json::from_str(recorded).expect("recorded JSON");
    let mut body = recorded["response"]["body"].clone();
    let config = json!({"specification": definition, "preset": "single-model"});
    body["workflow"]["config"] = config.to_string().into();
    body.to_string().into()
}

fn serve(book: &Mutex<Book>, mut connection: TcpStream) {
    let Some(asked) = read_request(&mut connection) else {
        return;
    };
    let (manner, definition, etags) = {
        let mut book = book.lock().expect("lock");
        book.asked.push(asked.clone());
        let date = (chrono::Utc::now() + book.ahead).to_rfc2822();
        let bearer = asked.headers.get("authorization");
        let bearer = bearer.and_then(|text| text.strip_prefix("Bearer ").map(str::to_owned));
        let key = query(&asked.target, "api_key").or(bearer);
        let workspace = key.and_then(|key| book.keys.get(&key));
        if asked.target.starts_with("/?") || (workspace.is_none() && !book.keys.is_empty()) {
            let (status, body) = match workspace {
                Some(workspace) => (200, json!({"welcome": "here", "workspace": workspace})),
                None if book.keys.is_empty() => (200, json!({"welcome": "here"})),
                None => (401, json!({"error": "unknown api key"})),
            };
            let (date, body) = (Some(("Date", date)), body.to_string());
            return respond(&mut connection, status, date, body.as_bytes());
        }
        let definition = book.published.get(&id_of(&asked.target)).cloned();
        (book.manner.clone(), definition, book.etags)
    };
    let body = definition.as_ref().map(body_of);
    let tag = body.as_ref().filter(|_| etags).map(|b| {
        format!(
            "\"{}-{}\"",
            b.len(),
            b.iter().map(|b| *b as u64).sum::<u64>()
        )
    });
    let well = |connection: &mut TcpStream| match (&body, &tag) {
        (None, _) => respond(connection, 404, None, b"{\"error\": \"not found\"}"),
        (Some(_), Some(tag)) if asked.headers.get("if-none-match") == Some(tag) => {
            respond(connection, 304, Some(("ETag", tag.clone())), b"");
        }
        (Some(body), tag) => {
            respond(connection, 200, tag.clone().map(|t| ("ETag", t)), body);
        }
    };
    match manner {
        Manner::Well => well(&mut connection),
        Manner::Slowly(after) => {
            std::thread::sleep(after);
            well(&mut connection);
        }
        Manner::Status(status, header) => {
            respond(
                &mut connection,
                status,
                header,
                b"{\"error\": \"made to fail\"}",
            );
        }
        Manner::Body(body) => respond(&mut connection, 200, None, &body),
        Manner::Half => {
            let body = body.unwrap_or_default();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = connection.write_all(head.as_bytes());
            let _ = connection.write_all(&body[..body.len() / 2]);
        }
        Manner::Drop => {}
        Manner::Hang => {
            book.lock().expect("lock").kept.push(connection);
            return;
        }
    }
    let _ = connection.shutdown(Shutdown::Write);
    // Reads to the end, so that closing does not reset what was not received yet.
    let _ = connection.read(&mut [0; 16]);
}

fn read_request(connection: &mut TcpStream) -> Option<Asked> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if connection.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Some(Asked { target, headers })
}

/// `/{workspace}/workflows/{id}?…` as `workspace/id` or `workspace/id@version`.
fn id_of(target: &str) -> String {
    let version = query(target, "workflow_version").map(|version| format!("@{version}"));
    let url = url::Url::parse(&format!("http://x{target}")).expect("target");
    let parts: Vec<&str> = url.path_segments().expect("path").collect();
    match parts[..] {
        [workspace, "workflows", id] => {
            format!("{workspace}/{id}{}", version.unwrap_or_default())
        }
        _ => String::new(),
    }
}

fn query(target: &str, wanted: &str) -> Option<String> {
    let url = url::Url::parse(&format!("http://x{target}")).expect("target");
    let mut pairs = url.query_pairs();
    pairs
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| value.into_owned())
}

fn respond(connection: &mut TcpStream, status: u16, header: Option<(&str, String)>, body: &[u8]) {
    let mut head = format!("HTTP/1.1 {status} Told\r\nConnection: close\r\n");
    if status != 304 {
        head += &format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
    }
    if let Some((name, value)) = header {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    // The client may have given up.
    let _ = connection.write_all(head.as_bytes());
    let _ = connection.write_all(body);
}
