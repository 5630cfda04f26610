//! Pictures of streams over RTSP: a server in this process.
//!
//! Each stream is at `rtsp://HOST:PORT/<stream>`, each source of a stream with several at
//! `/<stream>/<source>`. The picture is encoded as H.264 while somebody watches, once for all who do,
//! by the graphics card where it has an encoder ([`ENCODERS`]) and by x264 elsewhere. It may change
//! its size meanwhile. With a login, clients prove by digest that they know it; the password does not
//! go over the wire. [`RtspServer::stop`] ends all sessions, the threads and the port.

mod feed;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;
use rtsp::{gio, glib};

pub use feed::Feed;

/// Sessions at the same time, of all streams.
pub const MOST_SESSIONS: u32 = 64;
/// Threads that serve clients.
const THREADS: i32 = 4;
/// Role of those who may watch.
const VIEWER: &str = "viewer";
/// Encoders in the order in which they are tried, with what goes before and into them.
pub const ENCODERS: &[(&str, &str, &str)] = &[
    ("nvh264enc", "NV12", "zerolatency=true bframes=0"),
    ("vah264enc", "NV12", "b-frames=0"),
    ("v4l2h264enc", "NV12", ""),
    (
        "x264enc",
        "I420",
        "tune=zerolatency speed-preset=veryfast pass=qual quantizer=24 threads=2 key-int-max=250",
    ),
];

/// Who may watch.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(***)")
    }
}

/// Why pictures are not sent over RTSP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtspError {
    /// The port cannot be had.
    #[error(
        "cannot listen at {address}: {reason}; choose another port for --rtsp-listen or stop what listens there"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// The machine has no encoder.
    #[error("no H.264 encoder is installed; install gstreamer1.0-plugins-ugly")]
    NoEncoder,
    /// GStreamer or the machine refused.
    #[error("pictures cannot be sent over RTSP: {0}")]
    Failed(String),
}

/// A running server; it stops when dropped.
pub struct RtspServer {
    server: rtsp::RTSPServer,
    mounts: rtsp::RTSPMountPoints,
    address: SocketAddr,
    login: bool,
    /// What a stream is sent through.
    launch: String,
    running: Mutex<Option<Running>>,
}

struct Running {
    source: glib::Source,
    context: glib::MainContext,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl RtspServer {
    /// Listens at an address; port 0 takes a free one.
    ///
    /// # Errors
    /// If the address cannot be had or there is no encoder.
    pub fn start(listen: SocketAddr, login: Option<&Login>) -> Result<Arc<Self>, RtspError> {
        let failed = |error: &dyn std::fmt::Display| RtspError::Failed(error.to_string());
        crate::sources::gst::init().map_err(|e| failed(&e))?;
        let launch = launch(usable_encoder().ok_or(RtspError::NoEncoder)?);
        let server = rtsp::RTSPServer::new();
        server.set_address(&listen.ip().to_string());
        server.set_service(&listen.port().to_string());
        if let Some(pool) = server.session_pool() {
            pool.set_max_sessions(MOST_SESSIONS);
        }
        if let Some(pool) = server.thread_pool() {
            pool.set_max_threads(THREADS);
        }
        if let Some(login) = login {
            ask_for(&server, login);
        }
        let mounts = server.mount_points();
        let mounts = mounts.ok_or_else(|| failed(&"the server has no mount points"))?;
        let context = glib::MainContext::new();
        let source = server
            .create_source(None::<&gio::Cancellable>)
            .map_err(|error| RtspError::Listen {
                address: listen,
                reason: error.message().to_lowercase(),
            })?;
        source.attach(Some(&context));
        let port = u16::try_from(server.bound_port()).unwrap_or(listen.port());
        let stop: Arc<AtomicBool> = Arc::default();
        let (to_run, stopped) = (context.clone(), stop.clone());
        let serve = move || {
            while !stopped.load(Ordering::Relaxed) {
                to_run.iteration(true);
            }
        };
        let own = context.clone();
        let thread = std::thread::Builder::new()
            .name("rtsp".into())
            .spawn(move || {
                if let Err(error) = own.with_thread_default(serve) {
                    tracing::error!(%error, "pictures are not sent over RTSP");
                }
            })
            .map_err(|e| failed(&format!("the machine refuses a thread: {e}")))?;
        Ok(Arc::new(Self {
            server,
            mounts,
            address: SocketAddr::new(listen.ip(), port),
            login: login.is_some(),
            launch,
            running: Mutex::new(Some(Running {
                source,
                context,
                stop,
                thread,
            })),
        }))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether viewers need a login.
    pub fn asks_for_login(&self) -> bool {
        self.login
    }

    /// Offers pictures under a name until the mount is dropped.
    pub fn mount(self: &Arc<Self>, name: &str, feed: Feed) -> Mounted {
        let path = path(name);
        let factory = rtsp::RTSPMediaFactory::new();
        factory.set_launch(&self.launch);
        factory.set_shared(true);
        factory.set_protocols(
            rtsp::gst_rtsp::RTSPLowerTrans::TCP | rtsp::gst_rtsp::RTSPLowerTrans::UDP,
        );
        if self.login {
            factory.add_role_from_structure(
                &gst::Structure::builder(VIEWER)
                    .field("media.factory.access", true)
                    .field("media.factory.construct", true)
                    .build(),
            );
        }
        factory.connect_media_configure(move |_, media| feed::begin(media, feed.clone()));
        self.mounts.add_factory(&path, factory);
        Mounted {
            server: Arc::downgrade(self),
            url: format!("rtsp://{}{path}", self.shown_address()),
            path,
        }
    }

    /// The address as clients may write it.
    fn shown_address(&self) -> SocketAddr {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        address
    }

    fn unmount(&self, path: &str) {
        self.mounts.remove_factory(path);
        let Some(pool) = self.server.session_pool() else {
            return;
        };
        // Whoever watches it would wait for a picture that never comes.
        let mut ends = |_: &rtsp::RTSPSessionPool, session: &rtsp::RTSPSession| {
            let (media, matched) = session.media(path);
            match media.is_some() && usize::try_from(matched) == Ok(path.len()) {
                true => rtsp::RTSPFilterResult::Remove,
                false => rtsp::RTSPFilterResult::Keep,
            }
        };
        pool.filter(Some(&mut ends));
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all sessions and the port. What was mounted is gone.
    pub fn stop(&self) {
        let Some(running) = self.running().take() else {
            return;
        };
        running.source.destroy();
        self.server
            .client_filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
        if let Some(pool) = self.server.session_pool() {
            pool.filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
        }
        running.stop.store(true, Ordering::Relaxed);
        running.context.wakeup();
        if running.thread.join().is_err() {
            tracing::error!("the thread of the RTSP server panicked");
        }
    }
}

impl Drop for RtspServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Pictures that a server offers, until dropped.
pub struct Mounted {
    server: Weak<RtspServer>,
    path: String,
    url: String,
}

impl Mounted {
    /// Where they are.
    pub fn url(&self) -> String {
        self.url.clone()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(server) = self.server.upgrade() {
            server.unmount(&self.path);
        }
    }
}

/// The path of a stream: what no address can have becomes `_`.
fn path(name: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let name = name.trim_matches('/').chars();
    let name: String = name.map(|c| if harmless(c) { c } else { '_' }).collect();
    format!("/{name}")
}

/// Name of the encoder that takes the pictures; none if there is no usable one.
pub fn encoder() -> Option<&'static str> {
    usable_encoder().map(|(factory, _, _)| *factory)
}

/// The first encoder that is there and can be opened.
fn usable_encoder() -> Option<&'static (&'static str, &'static str, &'static str)> {
    ENCODERS.iter().find(|(factory, _, _)| {
        let Ok(element) = gst::ElementFactory::make(factory).build() else {
            return false;
        };
        let opened = element.set_state(gst::State::Ready).is_ok();
        let _ = element.set_state(gst::State::Null);
        opened
    })
}

fn launch((factory, format, properties): &(&str, &str, &str)) -> String {
    format!(
        "( appsrc name=src is-live=true format=time do-timestamp=true max-buffers=2 \
         leaky-type=downstream ! videoconvert n-threads=1 ! \
         video/x-raw,format={format},colorimetry=bt601 ! {factory} name=encoder {properties} ! \
         h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 config-interval=-1 \
         aggregate-mode=zero-latency )"
    )
}

fn ask_for(server: &rtsp::RTSPServer, login: &Login) {
    let auth = rtsp::RTSPAuth::new();
    let token = rtsp::RTSPToken::builder()
        .field("media.factory.role", VIEWER)
        .build();
    auth.set_supported_methods(rtsp::gst_rtsp::RTSPAuthMethod::Digest);
    auth.add_digest(&login.user, &login.password, &token);
    server.set_auth(Some(&auth));
}
