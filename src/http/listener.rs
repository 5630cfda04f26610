//! Listens and serves connections: a bounded number of them, each with a time within which the head of
//! a request has to come, and an orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

/// How connections are served.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// Threads that read and write.
    pub threads: usize,
    /// Connections at once; further ones wait to be accepted.
    pub connections: usize,
    /// Time from the first byte of a request, or from the last answer, to the end of the next head.
    pub head: Duration,
    /// Time that requests under way have to finish when the server stops.
    pub farewell: Duration,
}

impl Default for Listening {
    fn default() -> Self {
        Self {
            threads: 1,
            connections: 1_024,
            head: Duration::from_secs(15),
            farewell: Duration::from_secs(10),
        }
    }
}

/// A listening server; it stops when dropped.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Listens at the first of these addresses that can be had (port 0 takes a free one).
    ///
    /// # Errors
    /// If none can be had.
    pub fn start(
        addresses: &[SocketAddr],
        router: Router,
        listening: Listening,
    ) -> Result<Self, String> {
        let refused = |e: &dyn std::fmt::Display| {
            let tried: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            format!(
                "cannot listen at {}: {e}; choose another port or stop what listens there",
                tried.join(" or ")
            )
        };
        let listener = std::net::TcpListener::bind(addresses).map_err(|e| refused(&e))?;
        listener.set_nonblocking(true).map_err(|e| refused(&e))?;
        let address = listener.local_addr().map_err(|e| refused(&e))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(listening.threads)
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(|e| refused(&e))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => serve(listener, router, listening, stopped).await,
                Err(error) => tracing::error!(%error, "the HTTP side stopped"),
            }
        };
        let thread = thread::Builder::new()
            .name("http".into())
            .spawn(move || {
                runtime.block_on(serve);
                // Work that nobody waits for any more must not keep the process.
                runtime.shutdown_background();
            })
            .map_err(|e| refused(&e))?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests under way finish within their time, and waits for that.
    pub fn stop(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP side panicked");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

async fn serve(
    listener: TcpListener,
    router: Router,
    listening: Listening,
    mut stopped: oneshot::Receiver<()>,
) {
    let farewell = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(listening.connections));
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(listening.head);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            // Dropped or told: both mean stop.
            _ = &mut stopped => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Mostly too many open files: others have to close first.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = protocol.serve_connection(TokioIo::new(stream), service);
        let connection = farewell.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke off");
            }
            drop(place);
        });
    }
    drop(listener);
    tokio::select! {
        () = farewell.shutdown() => {}
        () = tokio::time::sleep(listening.farewell) => {
            tracing::warn!("requests that were under way are given up");
        }
    }
}
