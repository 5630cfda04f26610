//! An HTTP receiver that keeps what it got and answers as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Received {
    pub at: Instant,
    pub method: String,
    pub uri: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Received {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("body is text")
    }

    pub fn header(&self, name: &str) -> &str {
        match self.headers.get(name) {
            Some(value) => value.to_str().expect("header is text"),
            None => "",
        }
    }
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub header: Option<(&'static str, String)>,
    /// Time before the answer.
    pub after: Duration,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            header: None,
            after: Duration::ZERO,
        }
    }

    pub fn with(self, name: &'static str, value: &str) -> Self {
        Self {
            header: Some((name, value.to_owned())),
            ..self
        }
    }

    pub fn never() -> Self {
        Self {
            after: Duration::from_secs(3600),
            ..Self::status(200)
        }
    }
}

struct Book {
    received: Mutex<Vec<Received>>,
    replies: Mutex<VecDeque<Reply>>,
    otherwise: Reply,
}

/// The receiver; it stops when dropped.
pub struct Receiver {
    book: Arc<Book>,
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Receiver {
    /// Answers with `replies` one after the other, then with `otherwise`.
    pub fn start(replies: Vec<Reply>, otherwise: Reply) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), replies, otherwise)
    }

    /// The same at an address of choice.
    #[allow(dead_code)] // not every test program chooses
    pub fn start_at(address: SocketAddr, replies: Vec<Reply>, otherwise: Reply) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("runtime");
        let book = Arc::new(Book {
            received: Mutex::default(),
            replies: Mutex::new(replies.into()),
            otherwise,
        });
        let app = Router::new().fallback(take).with_state(book.clone());
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(address))
            .expect("a free port");
        let address = listener.local_addr().expect("address");
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self {
            book,
            address,
            runtime: Some(runtime),
        }
    }

    pub fn ok() -> Self {
        Self::start(Vec::new(), Reply::status(200))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn received(&self) -> Vec<Received> {
        self.book.received.lock().expect("lock").clone()
    }

    /// Waits until so many requests came in.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            let received = self.received();
            if received.len() >= count {
                return received;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("got {} requests, want {count}", self.received().len());
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn take(
    State(book): State<Arc<Book>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let received = Received {
        at: Instant::now(),
        method: method.to_string(),
        uri: uri.to_string(),
        headers,
        body: body.to_vec(),
    };
    book.received.lock().expect("lock").push(received);
    let reply = book.replies.lock().expect("lock").pop_front();
    let reply = reply.unwrap_or_else(|| book.otherwise.clone());
    tokio::time::sleep(reply.after).await;
    let status = StatusCode::from_u16(reply.status).expect("status");
    match reply.header {
        Some(header) => (status, [header]).into_response(),
        None => status.into_response(),
    }
}
