//! A host on this machine that serves one picture.

use std::net::SocketAddr;

/// Serves the bytes under a path for as long as the test runs.
pub fn serve(path: &'static str, bytes: Vec<u8>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let picture = axum::routing::get(move || async move { bytes.clone() });
            let router = axum::Router::new().route(path, picture);
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    address
}
