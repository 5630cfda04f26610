//! E-mail: a message and the people it goes to, delivered to a mail server.
//!
//! A [`Mail`] becomes a [`Request`] whose address is that of the server (`smtps://` for TLS from the
//! start, `smtp://` for TLS that is asked for), so that it waits, is retried and is given up like
//! any other event. Nothing is ever sent without TLS. The envelope names everybody who gets the
//! mail, whether the headers of the message name them or not. A refusal for good (5xx) is not tried
//! again, one for now (4xx) and a server that is away are.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use url::Url;

use super::address::{AddressPolicy, AddressRefused};
use super::outcome::{Answer, Failure};
use super::request::{Request, RequestError};
use crate::network::HostRefused;
use crate::network::address::is_global;

/// Port on which servers want to be asked for TLS.
const SUBMISSION: u16 = 587;
/// Addresses of one server that are tried.
const MOST: usize = 8;

/// A message for a mail server.
pub struct Mail<'a> {
    /// Host of the server.
    pub server: &'a str,
    /// Its port.
    pub port: u16,
    /// Who logs in.
    pub user: &'a str,
    /// With which password.
    pub password: &'a str,
    /// Who sends.
    pub from: &'a str,
    /// Everybody who gets it.
    pub to: &'a [String],
    /// Headers and body.
    pub message: &'a [u8],
}

impl Mail<'_> {
    /// The mail as a request.
    ///
    /// # Errors
    /// If the server has no name that an address may have.
    pub fn request(&self, addresses: AddressPolicy) -> Result<Request, RequestError> {
        let scheme = match self.port {
            SUBMISSION => "smtp",
            _ => "smtps",
        };
        let url = format!("{scheme}://{}:{}", self.server, self.port);
        let url = Url::parse(&url).map_err(RequestError::Url)?;
        let mut head = format!("{}\n", self.from);
        for person in self.to {
            head.push_str(person);
            head.push('\n');
        }
        head.push('\n');
        let body = [head.as_bytes(), self.message].concat();
        let login = STANDARD.encode(format!("{}\0{}", self.user, self.password));
        let mut request = Request::to(url, addresses).timeout(Duration::from_secs(30));
        if let Ok(mut value) = HeaderValue::from_str(&login) {
            value.set_sensitive(true);
            request.headers.insert(AUTHORIZATION, value);
        }
        request.body = Bytes::from(body);
        Ok(request)
    }
}

/// Whether a request is a mail.
pub(super) fn is_mail(request: &Request) -> bool {
    matches!(request.url.scheme(), "smtp" | "smtps")
}

/// Hands a mail to its server, at the first of its addresses that can be reached.
pub(super) async fn deliver(request: &Request) -> Result<Answer, Failure> {
    let (envelope, message) = parts(&request.body).ok_or_else(|| refused("no mail address"))?;
    let mut outcome = Err(refused("no address"));
    for peer in resolve(request).await? {
        outcome = hand_over(request, peer, &envelope, message).await;
        if !matches!(outcome, Err(Failure::Network { .. })) {
            break;
        }
    }
    outcome
}

async fn hand_over(
    request: &Request,
    peer: SocketAddr,
    envelope: &Envelope,
    message: &[u8],
) -> Result<Answer, Failure> {
    let host = request.url.host_str().unwrap_or_default();
    let tls = TlsParameters::new(host.to_owned()).map_err(|e| refused(&e.to_string()))?;
    let tls = match request.url.scheme() {
        "smtp" => Tls::Required(tls),
        _ => Tls::Wrapper(tls),
    };
    let server = peer.ip().to_string();
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server)
        .port(peer.port())
        .tls(tls)
        .timeout(Some(request.timeout));
    if let Some((user, password)) = login(request) {
        transport = transport.credentials(Credentials::new(user, password));
    }
    let sent = transport.build().send_raw(envelope, message).await;
    let response = sent.map_err(|error| failure(request, &error))?;
    let said: Vec<&str> = response.message().collect();
    Ok(Answer::confirmed(format!(
        "{} {}",
        response.code(),
        said.join(" ")
    )))
}

fn parts(body: &[u8]) -> Option<(Envelope, &[u8])> {
    let end = body.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, message) = body.split_at(end);
    let mut people = std::str::from_utf8(head).ok()?.lines();
    let from: Address = people.next()?.parse().ok()?;
    let to: Option<Vec<Address>> = people.map(|person| person.parse().ok()).collect();
    let envelope = Envelope::new(Some(from), to?).ok()?;
    Some((envelope, message.get(2..)?))
}

fn login(request: &Request) -> Option<(String, String)> {
    let text = request.headers.get(AUTHORIZATION)?.as_bytes();
    let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let (user, password) = text.split_once('\0')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The addresses of the server; under the strict policy all of them must be global.
async fn resolve(request: &Request) -> Result<Vec<SocketAddr>, Failure> {
    let host = request.url.host_str().unwrap_or_default();
    let port = request.url.port().unwrap_or(465);
    let unresolved = || AddressRefused::from(HostRefused::Unresolved(host.into()));
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((bare, port)).await;
    let found: Vec<SocketAddr> = found.map_err(|_| unresolved())?.take(MOST).collect();
    if request.addresses == AddressPolicy::GlobalOnly {
        let private = found.iter().find(|peer| !is_global(peer.ip()));
        if let Some(peer) = private {
            return Err(AddressRefused::NotGlobal(peer.ip()).into());
        }
    }
    if found.is_empty() {
        return Err(unresolved().into());
    }
    Ok(found)
}

fn refused(reason: &str) -> Failure {
    Failure::Said {
        reason: reason.to_owned(),
        retry: false,
    }
}

fn failure(request: &Request, error: &lettre::transport::smtp::Error) -> Failure {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        cause = inner.source();
    }
    if error.is_permanent() || error.is_transient() {
        return Failure::Said {
            reason,
            retry: error.is_transient(),
        };
    }
    Failure::Network {
        url: request.redacted_url(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail<'a>(port: u16, to: &'a [String]) -> Mail<'a> {
        Mail {
            server: "mail.example.com",
            port,
            user: "me@example.com",
            password: "s3cret",
            from: "me@example.com",
            to,
            message: b"Subject: x\r\n\r\nhello\n\nworld",
        }
    }

    #[test]
    fn envelope_message_and_login_come_back_and_stay_unseen() {
        let to = ["a@example.com".to_owned(), "b@example.com".to_owned()];
        let request = mail(465, &to).request(AddressPolicy::Any).unwrap();
        assert_eq!(request.receiver(), "smtps://mail.example.com:465");
        let (envelope, message) = parts(&request.body).unwrap();
        assert_eq!(envelope.to().len(), 2);
        assert_eq!(message, b"Subject: x\r\n\r\nhello\n\nworld");
        let (user, password) = login(&request).unwrap();
        assert_eq!((&*user, &*password), ("me@example.com", "s3cret"));
        assert!(!format!("{request:?}").contains("s3cret"));
        assert!(is_mail(&request));
        let asked = mail(587, &to).request(AddressPolicy::Any).unwrap();
        assert_eq!(asked.receiver(), "smtp://mail.example.com:587");
    }

    #[test]
    fn a_server_without_a_name_is_refused() {
        let to = ["a@example.com".to_owned()];
        let nowhere = Mail {
            server: "a b",
            ..mail(465, &to)
        };
        assert!(nowhere.request(AddressPolicy::Any).is_err());
    }
}
