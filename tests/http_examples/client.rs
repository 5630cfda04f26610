//! Asks a server what a recording asked, and compares.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::comparison::compare;
use super::exchange::{
    Exchange, completed, completed_answer, exchange, png, python_text, special_body,
};
use super::picture_host;
use super::server::Server;

pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Json,
}

pub struct Client {
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    host: SocketAddr,
}

impl Client {
    pub fn new() -> Self {
        let policy = reqwest::redirect::Policy::none();
        Self {
            http: reqwest::Client::builder().redirect(policy).build().unwrap(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
            host: picture_host::serve("/files/tiny/1/img.png", STANDARD.decode(png()).unwrap()),
        }
    }

    pub fn ask(&self, server: &Server, exchange: &Exchange) -> Answer {
        let request = &exchange.request;
        let path = request["path"].as_str().unwrap();
        let path = path.replace("platform.example", &self.host.to_string());
        let method = request["method"].as_str().unwrap().parse().unwrap();
        let mut ask = self.http.request(method, server.url(&path));
        for (name, value) in request["headers"].as_object().unwrap() {
            ask = ask.header(name, value.as_str().unwrap());
        }
        ask = match special_body(exchange) {
            Some(bytes) => ask.body(bytes),
            None => match completed(&request["body"], self.host) {
                Json::Null => ask,
                Json::String(text) => ask.body(text),
                json => ask.body(python_text(&json)),
            },
        };
        self.runtime.block_on(async {
            let response = ask.send().await.expect("an answer");
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let bytes = response.bytes().await.expect("a body");
            let body =
                serde_json::from_slice(&bytes).unwrap_or_else(|_| {
                    match std::str::from_utf8(&bytes) {
                        Ok("") => Json::Null,
                        Ok(text) => text.into(),
                        Err(_) => format!(
                            "<{} bytes, starts {}>",
                            bytes.len(),
                            hex::encode(&bytes[..8])
                        )
                        .into(),
                    }
                });
            Answer {
                status,
                headers,
                body,
            }
        })
    }

    /// Asks and compares; answers what differs.
    pub fn check(&self, server: &Server, name: &str) -> Vec<String> {
        let exchange = exchange(name);
        let answer = self.ask(server, &exchange);
        let want = &exchange.response;
        let mut differences = Vec::new();
        if want["status"] != answer.status {
            differences.push(format!("status {} not {}", answer.status, want["status"]));
        }
        let wanted = completed_answer(&want["body"], self.host);
        differences.extend(compare(name, &wanted, &answer.body));
        for header in [
            "content-type",
            "x-model-id",
            "location",
            "x-workspace-id",
            "allow",
        ] {
            let wanted = want["headers"].get(header).and_then(Json::as_str);
            let got = answer
                .headers
                .get(header)
                .map(|value| value.to_str().unwrap());
            let plain = |text: &str| text.split(';').next().unwrap().to_owned();
            if wanted.is_some() && wanted.map(plain) != got.map(plain) {
                differences.push(format!("header {header}: {got:?} not {wanted:?}"));
            }
        }
        differences
            .into_iter()
            .map(|d| format!("{name}: {d}"))
            .collect()
    }
}
