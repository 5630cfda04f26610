//! A web service that answers each request as a function of it says, and keeps what it got.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use serde_json::Value;

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Call {
    /// Method and path.
    pub line: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Call {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str());
        value.transpose().expect("a header of text").unwrap_or("")
    }
}

/// The service; it stops when dropped.
pub struct Service {
    calls: Arc<Mutex<Vec<Call>>>,
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Service {
    /// Answers with the status and the JSON that `answer` gives for the request and its number.
    pub fn start(answer: fn(&Call, usize, &str) -> (u16, Value)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("runtime");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0");
        let listener = runtime.block_on(listener).expect("a free port");
        let address = listener.local_addr().expect("address");
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let kept = calls.clone();
        let base = format!("http://{address}");
        let take = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let call = Call {
                line: format!("{method} {}", uri.path()),
                query: uri.query().unwrap_or_default().to_owned(),
                headers,
                body: body.to_vec(),
            };
            let mut calls = kept.lock().expect("lock");
            let (status, json) = answer(&call, calls.len(), &base);
            calls.push(call);
            drop(calls);
            let status = StatusCode::from_u16(status).expect("status");
            let response: Response = (status, Json(json)).into_response();
            std::future::ready(response)
        };
        let app = Router::new().fallback(take);
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self {
            calls,
            address,
            runtime: Some(runtime),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("lock").clone()
    }

    /// Method and path of each request.
    pub fn lines(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.line).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
