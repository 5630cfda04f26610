//! A port of 127.0.0.1 at which a stand-in answers, and that can be closed for a while.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

type Serve = Arc<dyn Fn(TcpStream) + Send + Sync>;

/// The port; it is closed when dropped.
pub struct Port {
    serve: Serve,
    address: SocketAddr,
    open: Option<Arc<AtomicBool>>,
}

impl Port {
    /// Opens a free port; each connection is served in a thread of its own.
    pub fn open(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let mut port = Self {
            serve: Arc::new(serve),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            open: None,
        };
        port.listen();
        port
    }

    /// Opens the port, the same one after [`Self::refuse`].
    pub fn listen(&mut self) {
        let listener = TcpListener::bind(self.address).expect("a free port");
        self.address = listener.local_addr().expect("address");
        let open = Arc::new(AtomicBool::new(true));
        self.open = Some(open.clone());
        let serve = self.serve.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if !open.load(Ordering::SeqCst) {
                    return;
                }
                let (serve, connection) = (serve.clone(), connection.expect("connection"));
                std::thread::spawn(move || serve(connection));
            }
        });
    }

    /// Closes the port: connections are refused.
    pub fn refuse(&mut self) {
        if let Some(open) = self.open.take() {
            open.store(false, Ordering::SeqCst);
            // Wakes the listener, which then goes.
            let _ = TcpStream::connect(self.address);
            while TcpStream::connect(self.address).is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Where it listens.
    pub fn url(&self) -> url::Url {
        format!("http://{}", self.address).parse().expect("address")
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.refuse();
    }
}
