//! Servers that a client names, with `OFFLINE_MODE`.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::json;

use super::server::Server;
use super::{Client, OFFER, request};

/// A socket at an address of this machine that sessions ask at: they leave the loopback out. `None` on
/// a machine that has no other network.
fn stun_server() -> Option<UdpSocket> {
    let way = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: the kernel chooses the address that it would send from.
    way.connect("192.0.2.1:9").ok()?;
    Some(UdpSocket::bind((way.local_addr().unwrap().ip(), 0)).unwrap())
}

/// Whether a session asks a STUN server, in offline mode and with a platform at this address.
fn asks(stun: &UdpSocket, platform: SocketAddr) -> bool {
    let address = stun.local_addr().unwrap();
    let platform = format!("http://{platform}");
    let folder = tempfile::tempdir().unwrap();
    let env = [
        ("OFFLINE_MODE", "true"),
        ("API_BASE_URL", &platform),
        ("MODEL_CACHE_DIR", folder.path().to_str().unwrap()),
    ];
    let server = Server::start(&[], &env);
    let mut body = request(OFFER);
    body["webrtc_config"] = json!({"iceServers": [{"urls": [format!("stun:{address}")]}]});
    let client = Client::new();
    let (status, answer, session) = client.post(&server, "/initialise_webrtc_worker", &body);
    assert!(status == 200 && session.is_some(), "{answer}");
    stun.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stun.recv(&mut [0; 1_500]).is_ok()
}

#[test]
fn servers_of_the_platform_are_not_asked_and_others_are() {
    let Some(stun) = stun_server() else {
        println!("skipped: this machine has no network but the loopback, which sessions leave out");
        return;
    };
    let address = stun.local_addr().unwrap();
    assert!(!asks(&stun, address), "the platform was asked");
    let elsewhere = SocketAddr::new(address.ip(), 1);
    assert!(asks(&stun, elsewhere), "it is not the platform's");
}
