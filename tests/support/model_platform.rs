//! A stand-in for the platform's side of models: a real HTTP server on this machine that serves
//! packages of the fixtures by both protocols, counts what it is asked, and fails as it is told. It
//! speaks HTTP/1.1 by hand, because it has to break it.

mod port;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use md5::{Digest, Md5};
use serde_json::{Value as Json, json};

use port::Port;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Stat,
    Weights,
    Legacy,
    Head,
    File,
}

/// How a request is answered, if not well.
#[derive(Clone, Debug)]
pub enum Manner {
    /// With this status.
    Status(u16),
    /// With so many bytes of the body; then the connection breaks.
    Cut(usize),
    /// With a body in which one byte is another.
    Corrupt,
    /// Well, after this time.
    Slowly(Duration),
    /// Well, once this is set.
    Once(Arc<AtomicBool>),
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Asked {
    pub route: Option<Route>,
    pub target: String,
    pub headers: HashMap<String, String>,
    /// Whether it came as a gateway gets it.
    pub proxied: bool,
}

struct Published {
    folder: PathBuf,
    task: String,
    /// Pages of packages; file addresses are filled in.
    pages: Vec<Vec<Json>>,
}

#[derive(Default)]
struct Book {
    models: HashMap<String, Published>,
    manners: Vec<(Route, String, Manner, usize)>,
    asked: Vec<Asked>,
}

/// The stand-in; it stops when dropped.
pub struct ModelPlatform {
    book: Arc<Mutex<Book>>,
    port: Port,
}

pub fn fixture(package: &str) -> PathBuf {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models");
    models.join(package)
}

pub fn md5_of(path: &Path) -> String {
    hex::encode(Md5::digest(std::fs::read(path).expect("file")))
}

/// A package of a folder as the platform describes it.
pub fn package(id: &str, folder: &Path) -> Json {
    let names = ["weights.onnx", "class_names.txt", "inference_config.json"];
    let files: Vec<Json> = names
        .iter()
        .map(|name| {
            json!({"fileHandle": name, "downloadUrl": name, "md5Hash": md5_of(&folder.join(name))})
        })
        .collect();
    json!({"type": "external-model-package-v1", "packageId": id, "packageManifest":
        {"type": "onnx-model-package-v1", "backendType": "onnx", "dynamicBatchSize": true,
         "quantization": "fp32", "opset": 12}, "packageFiles": files, "trustedSource": true})
}

impl ModelPlatform {
    pub fn start() -> Self {
        let book: Arc<Mutex<Book>> = Arc::default();
        let served = book.clone();
        let port = Port::open(move |connection| serve(&served, connection));
        Self { book, port }
    }

    /// Closes the port: connections are refused.
    pub fn refuse(&mut self) {
        self.port.refuse();
    }

    pub fn url(&self) -> url::Url {
        self.port.url()
    }

    /// Publishes a fixture under an id, with one package.
    pub fn publish(&self, id: &str, fixture_name: &str) {
        let folder = fixture(fixture_name);
        let name: String = fixture_name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let pages = vec![vec![package(&name, &folder)]];
        self.publish_as(id, &folder, "object-detection", pages);
    }

    /// Publishes files of a folder under an id, with these pages of packages.
    pub fn publish_as(&self, id: &str, folder: &Path, task: &str, pages: Vec<Vec<Json>>) {
        let published = Published {
            folder: folder.to_owned(),
            task: task.to_owned(),
            pages,
        };
        self.book().models.insert(id.to_owned(), published);
    }

    /// Answers the next `times` requests to a route whose target contains `part` in this manner.
    pub fn answer(&self, route: Route, part: &str, manner: Manner, times: usize) {
        let mut book = self.book();
        book.manners.push((route, part.to_owned(), manner, times));
    }

    pub fn answer_well(&self) {
        self.book().manners.clear();
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.book().asked.clone()
    }

    pub fn forget(&self) {
        self.book().asked.clear();
    }

    /// How often each route was asked: stat, weights, older protocol, heads, files.
    pub fn counts(&self) -> [usize; 5] {
        let book = self.book();
        let routes = [
            Route::Stat,
            Route::Weights,
            Route::Legacy,
            Route::Head,
            Route::File,
        ];
        routes.map(|route| book.asked.iter().filter(|a| a.route == Some(route)).count())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("lock")
    }
}

fn serve(book: &Mutex<Book>, mut connection: TcpStream) {
    let Some((method, mut asked)) = read_request(&mut connection) else {
        return;
    };
    let address = connection.local_addr().expect("address");
    let base = format!("http://{address}");
    if let Some(inner) = asked.target.strip_prefix("/proxy?") {
        let inner = url::form_urlencoded::parse(inner.as_bytes())
            .next()
            .expect("url")
            .1;
        asked.target = inner
            .strip_prefix(&base)
            .expect("an address of ours")
            .to_owned();
        asked.proxied = true;
    }
    let url = url::Url::parse(&format!("{base}{}", asked.target)).expect("target");
    let path = percent_decoded(&url);
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    asked.route = route(&method, &parts);
    let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
    let (answer, manner) = {
        let mut book = book.lock().expect("lock");
        book.asked.push(asked.clone());
        let place = book.manners.iter().position(|(route, part, _, left)| {
            asked.route == Some(*route) && asked.target.contains(part) && *left > 0
        });
        let manner = place.map(|n| {
            book.manners[n].3 -= 1;
            book.manners[n].2.clone()
        });
        (answer(&book, &base, asked.route, &parts, &query), manner)
    };
    let (mut status, mut body) = answer.unwrap_or((404, b"{\"error\": \"not found\"}".to_vec()));
    let mut sent = usize::MAX;
    match manner {
        Some(Manner::Status(told)) => (status, body) = (told, b"{\"error\": \"told\"}".to_vec()),
        Some(Manner::Cut(length)) => sent = length,
        Some(Manner::Corrupt) => body[0] ^= 1,
        Some(Manner::Slowly(time)) => std::thread::sleep(time),
        Some(Manner::Once(free)) => {
            while !free.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        None => {}
    }
    let range = ranged(&asked, &mut status, &mut body);
    let head = format!(
        "HTTP/1.1 {status} Told\r\nConnection: close\r\nContent-Length: {}\r\n{range}\r\n",
        body.len()
    );
    // The client may have given up.
    let _ = connection.write_all(head.as_bytes());
    if method != "HEAD" {
        let _ = connection.write_all(&body[..sent.min(body.len())]);
    }
    let _ = connection.shutdown(Shutdown::Write);
    // Reads to the end, so that closing does not reset what was not received yet.
    let _ = connection.read(&mut [0; 16]);
}

fn route(method: &str, parts: &[&str]) -> Option<Route> {
    match parts {
        ["models", "v1", "external", "stat"] => Some(Route::Stat),
        ["models", "v1", "external", "weights"] => Some(Route::Weights),
        ["ort", _, _] | ["getWeights"] => Some(Route::Legacy),
        ["files", ..] if method == "HEAD" => Some(Route::Head),
        ["files", ..] => Some(Route::File),
        _ => None,
    }
}

/// Leaves the part that was asked for, and says which one in a header.
fn ranged(asked: &Asked, status: &mut u16, body: &mut Vec<u8>) -> String {
    let range = asked.headers.get("range");
    let start = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let (200, Some(start)) = (*status, start) else {
        return String::new();
    };
    let whole = body.len();
    if start >= whole {
        (*status, *body) = (416, Vec::new());
        return String::new();
    }
    (*status, *body) = (206, body[start..].to_vec());
    format!("Content-Range: bytes {start}-{}/{whole}\r\n", whole - 1)
}

fn answer(
    book: &Book,
    base: &str,
    route: Option<Route>,
    parts: &[&str],
    query: &HashMap<String, String>,
) -> Option<(u16, Vec<u8>)> {
    let json = |value: Json| Some((200, value.to_string().into_bytes()));
    let file = |id: &str, name: &str| {
        let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
        format!("{base}/files/{id}/{name}?signature=s3cret")
    };
    match route? {
        Route::Stat => {
            let model = book.models.get(query.get("modelId")?)?;
            json(
                json!({"modelMetadata": {"modelArchitecture": "yolov8", "modelVariant": "yolov8n",
                "taskType": model.task}}),
            )
        }
        Route::Weights => {
            let id = query.get("modelId")?;
            let model = book.models.get(id)?;
            let page: usize = query
                .get("startAfter")
                .map_or(0, |n| n.parse().expect("page"));
            let mut packages = model.pages.get(page)?.clone();
            for package in &mut packages {
                for place in package["packageFiles"].as_array_mut().into_iter().flatten() {
                    let name = place["downloadUrl"].as_str().expect("name").to_owned();
                    place["downloadUrl"] = file(id, &name).into();
                }
            }
            let next = (page + 1 < model.pages.len()).then(|| (page + 1).to_string());
            json(
                json!({"modelMetadata": {"type": "external-model-metadata-v1", "modelId": id,
                "modelArchitecture": "yolov8", "modelVariant": null, "taskType": model.task,
                "modelPackages": packages, "nextPage": next}}),
            )
        }
        Route::Legacy => {
            let id = match parts {
                ["ort", project, version] => format!("{project}/{version}"),
                _ => query.get("model")?.clone(),
            };
            let model = book.models.get(&id)?;
            let names = std::fs::read_to_string(model.folder.join("class_names.txt")).ok()?;
            json(json!({"ort": {"type": model.task, "modelType": "yolov8n",
                "model": file(&id, "weights.onnx"), "environment": file(&id, "environment.json"),
                "classes": names.lines().collect::<Vec<_>>(), "colors": {}}}))
        }
        Route::Head | Route::File => {
            let [_, id, name] = parts else { return None };
            let model = book.models.get(*id)?;
            Some((200, std::fs::read(model.folder.join(name)).ok()?))
        }
    }
}

fn percent_decoded(url: &url::Url) -> Vec<String> {
    let parts = url.path_segments().expect("path");
    parts
        .map(|part| {
            let pair = format!("x={}", part.replace('+', "%2B"));
            let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
            decoded.expect("a pair").1.into_owned()
        })
        .collect()
}

fn read_request(connection: &mut TcpStream) -> Option<(String, Asked)> {
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
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let asked = Asked {
        route: None,
        target,
        headers,
        proxied: false,
    };
    Some((method, asked))
}
