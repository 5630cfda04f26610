//! Whether a source that is lost can be reached again, asked in the cheapest way there is: a TCP
//! connection to its port that is closed at once, or a look at its device file.
//!
//! The question is asked in a thread of its own, as name resolution cannot be called off. The answer
//! comes as a signal.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::SourceUri;
use super::supervisor::Signal;

/// How long a port may take to answer.
const ANSWER: Duration = Duration::from_millis(900);

/// How a source is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A port that takes connections.
    Port {
        /// Host name or address.
        host: String,
        /// Number of the port.
        port: u16,
    },
    /// A file that is there while the camera is plugged in.
    Device(PathBuf),
    /// Nothing can be asked, and an attempt costs nobody anything: packets are waited for here.
    Here,
}

impl Place {
    /// Where a source is.
    pub(crate) fn of(uri: &SourceUri) -> Self {
        let (address, usual) = match uri {
            SourceUri::Rtsp(address) if address.is_encrypted() => (address, 322),
            SourceUri::Rtsp(address) => (address, 554),
            SourceUri::Http(address) if address.is_encrypted() => (address, 443),
            SourceUri::Http(address) => (address, 80),
            SourceUri::Camera(camera) => return Self::Device(camera.device.clone()),
            SourceUri::File(_)
            | SourceUri::Udp(_)
            | SourceUri::Srt(_)
            | SourceUri::Pattern(_)
            | SourceUri::Track(_) => {
                return Self::Here;
            }
        };
        match address.endpoint(usual) {
            Some((host, port)) => Self::Port { host, port },
            None => Self::Here,
        }
    }

    /// Looks, and answers with a signal; false if it could not begin to.
    pub(crate) fn look(&self, signals: &Sender<Signal>) -> bool {
        let (host, port) = match self {
            Self::Here => return signals.try_send(Signal::Reach(Ok(()))).is_ok(),
            Self::Device(path) => {
                let there = path.metadata().map(|_| ()).map_err(words);
                return signals.try_send(Signal::Reach(there)).is_ok();
            }
            Self::Port { host, port } => (host.clone(), *port),
        };
        let signals = signals.clone();
        std::thread::Builder::new()
            .name("source:probe".to_owned())
            .spawn(move || {
                let answer = connect(&host, port);
                let _ = signals.try_send(Signal::Reach(answer));
            })
            .is_ok()
    }
}

/// Connects to the first address that answers.
fn connect(host: &str, port: u16) -> Result<(), String> {
    let mut answer = Err("its name has no address".to_owned());
    for address in (host, port).to_socket_addrs().map_err(words)?.take(3) {
        answer = TcpStream::connect_timeout(&address, ANSWER)
            .map(|_| ())
            .map_err(words);
        if answer.is_ok() {
            break;
        }
    }
    answer
}

fn words(error: std::io::Error) -> String {
    let text = error.to_string().to_lowercase();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(uri: &str) -> Result<(), String> {
        let (sender, signals) = crossbeam_channel::bounded(1);
        assert!(Place::of(&uri.parse().unwrap()).look(&sender));
        match signals.recv_timeout(Duration::from_secs(5)) {
            Ok(Signal::Reach(answer)) => answer,
            _ => panic!("no answer"),
        }
    }

    #[test]
    fn an_open_port_answers_and_a_closed_one_does_not() {
        let camera = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("rtsp://u:p@{}/x", camera.local_addr().unwrap());
        assert_eq!(answer(&uri), Ok(()));
        drop(camera);
        assert_eq!(answer(&uri), Err("connection refused".to_owned()));
        assert_eq!(answer("udp://127.0.0.1:5000"), Ok(()));
        assert!(answer("/dev/video97").is_err());
    }

    #[test]
    fn the_port_is_that_of_the_scheme_unless_the_address_names_one() {
        let port = |uri: &str| match Place::of(&uri.parse().unwrap()) {
            Place::Port { port, .. } => port,
            other => panic!("{other:?}"),
        };
        assert_eq!(port("rtsp://cam/x"), 554);
        assert_eq!(port("rtsps://cam/x"), 322);
        assert_eq!(port("https://cam/x"), 443);
        assert_eq!(port("http://[::1]:81/x"), 81);
    }
}
