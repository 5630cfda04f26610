//! The RTSP server of a fake camera, and what it does to its own stream.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;
use rtsp::{gio, glib};

use super::super::clips::scramble;
use super::film::{Film, GROUP};

/// RTP ticks per second of every codec used here.
const TICKS: f64 = 90_000.0;
const PATH: &str = "/cam";

/// Who may watch.
pub enum Login<'a> {
    /// Everybody.
    None,
    /// User and password in clear text.
    Basic(&'a str, &'a str),
    /// User and a hash of the password.
    Digest(&'a str, &'a str),
}

/// A running server.
pub struct Server {
    films: PathBuf,
    tls: Option<gio::TlsCertificate>,
    server: rtsp::RTSPServer,
    stream: Arc<Mutex<Stream>>,
    _source: glib::Source,
}

/// What is sent, and how it is spoilt.
struct Stream {
    film: Arc<Film>,
    /// Shown from the next key frame on.
    next_film: Option<Arc<Film>>,
    rate: f64,
    began: Instant,
    offset: u32,
    stuck: bool,
    stuck_at: Option<u32>,
    corrupt: bool,
    truncate: bool,
}

impl Server {
    /// Starts on a free port.
    pub fn start(films: PathBuf, film: &str, tls: Option<PathBuf>) -> Result<Self, String> {
        let stream = Stream {
            film: Arc::new(Film::read(&films, film)?),
            next_film: None,
            rate: 25.0,
            began: Instant::now(),
            offset: 0,
            stuck: false,
            stuck_at: None,
            corrupt: false,
            truncate: false,
        };
        let tls = tls
            .map(gio::TlsCertificate::from_file)
            .transpose()
            .map_err(|e| e.to_string())?;
        let server = rtsp::RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service("0");
        // A client that waits for a stalled stream holds its thread.
        server.thread_pool().unwrap().set_max_threads(8);
        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let source = server
            .create_source(None::<&gio::Cancellable>)
            .map_err(|e| e.to_string())?;
        source.attach(Some(&context));
        std::thread::spawn(move || context.with_thread_default(|| main_loop.run()));
        let server = Self {
            films,
            tls,
            server,
            stream: Arc::new(Mutex::new(stream)),
            _source: source,
        };
        server.publish(true);
        server.ask(Login::None);
        Ok(server)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.server.bound_port() as u16
    }

    fn change(&self, change: impl FnOnce(&mut Stream)) {
        change(&mut self.stream.lock().unwrap());
    }

    /// Sends another film.
    pub fn show(&mut self, name: &str) -> Result<(), String> {
        let film = Arc::new(Film::read(&self.films, name)?);
        let mut stream = self.stream.lock().unwrap();
        if stream.film.media == film.media {
            stream.next_film = Some(film);
            return Ok(());
        }
        stream.film = film;
        stream.next_film = None;
        drop(stream);
        self.publish(true);
        Ok(())
    }

    /// Sends at another rate.
    pub fn set_rate(&self, rate: f64) {
        self.change(|s| s.rate = rate);
    }

    /// Moves the time stamps.
    pub fn jump(&self, seconds: f64) {
        let ticks = (seconds * TICKS) as i64 as u32;
        self.change(|s| s.offset = s.offset.wrapping_add(ticks));
    }

    /// Holds the time stamps, or lets them go on.
    pub fn stick(&self, stuck: bool) {
        self.change(|s| {
            s.stuck = stuck;
            s.stuck_at = None;
        });
    }

    /// Scrambles packets, or stops it.
    pub fn corrupt(&self, corrupt: bool) {
        self.change(|s| s.corrupt = corrupt);
    }

    /// Cuts packets in half, or stops it.
    pub fn truncate(&self, truncate: bool) {
        self.change(|s| s.truncate = truncate);
    }

    /// Ends all sessions.
    pub fn end_sessions(&self) {
        self.server
            .client_filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
        if let Some(pool) = self.server.session_pool() {
            pool.filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
        }
    }

    /// Asks for a login from now on.
    pub fn ask(&self, login: Login<'_>) {
        use rtsp::gst_rtsp::RTSPAuthMethod;
        let auth = rtsp::RTSPAuth::new();
        let mut token = rtsp::RTSPToken::builder()
            .field("media.factory.role", "viewer")
            .build();
        auth.set_tls_certificate(self.tls.as_ref());
        match login {
            Login::None => auth.set_default_token(Some(&mut token)),
            Login::Basic(user, password) => {
                auth.add_basic(&rtsp::RTSPAuth::make_basic(user, password), &token);
            }
            Login::Digest(user, password) => {
                auth.set_supported_methods(RTSPAuthMethod::Digest);
                auth.add_digest(user, password, &token);
            }
        }
        self.server.set_auth(Some(&auth));
        self.end_sessions();
    }

    /// Has the stream under its path, or nothing.
    pub fn publish(&self, publish: bool) {
        let mounts = self.server.mount_points().unwrap();
        mounts.remove_factory(PATH);
        if publish {
            mounts.add_factory(PATH, self.factory());
        }
        self.end_sessions();
    }

    fn factory(&self) -> rtsp::RTSPMediaFactory {
        let factory = rtsp::RTSPMediaFactory::new();
        factory.set_launch(self.stream.lock().unwrap().film.launch());
        factory.set_shared(true);
        factory.add_role_from_structure(
            &gst::Structure::builder("viewer")
                .field("media.factory.access", true)
                .field("media.factory.construct", true)
                .build(),
        );
        let stream = self.stream.clone();
        factory.connect_media_configure(move |_, media| {
            let bin = media.element().downcast::<gst::Bin>().unwrap();
            let source = bin.by_name("src").unwrap();
            let source = source.downcast::<gst_app::AppSrc>().unwrap();
            let payloader = bin.by_name("pay0").unwrap();
            let spoilt = stream.clone();
            payloader.static_pad("src").unwrap().add_probe(
                gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
                move |_, info| {
                    spoil(&mut spoilt.lock().unwrap(), info);
                    gst::PadProbeReturn::Ok
                },
            );
            source.set_caps(Some(&stream.lock().unwrap().film.caps()));
            let stream = stream.clone();
            std::thread::spawn(move || send(&stream, &source));
        });
        factory
    }
}

/// Sends the film from where it is by the clock, until nobody listens any more.
fn send(stream: &Mutex<Stream>, source: &gst_app::AppSrc) {
    let began = Instant::now();
    let mut due = began;
    let start = {
        let stream = stream.lock().unwrap();
        (stream.began.elapsed().as_secs_f64() * stream.rate) as usize
    };
    for number in start.. {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (mut unit, rate) = {
            let mut stream = stream.lock().unwrap();
            if number.is_multiple_of(GROUP)
                && let Some(film) = stream.next_film.take()
            {
                stream.film = film;
            }
            let units = &stream.film.units;
            (units[number % units.len()].clone(), stream.rate)
        };
        let time = gst::ClockTime::try_from(due - began).unwrap();
        let unit_mut = unit.make_mut();
        unit_mut.set_pts(time);
        unit_mut.set_dts(time);
        if source.push_buffer(unit).is_err() {
            return;
        }
        due += Duration::from_secs_f64(1.0 / rate);
    }
}

fn spoil(stream: &mut Stream, info: &mut gst::PadProbeInfo<'_>) {
    match &mut info.data {
        Some(gst::PadProbeData::Buffer(packet)) => spoil_packet(stream, packet),
        Some(gst::PadProbeData::BufferList(list)) => {
            let mut spoilt = gst::BufferList::new();
            for packet in list.iter_owned() {
                let mut packet = packet;
                spoil_packet(stream, &mut packet);
                spoilt.make_mut().add(packet);
            }
            *list = spoilt;
        }
        _ => {}
    }
}

/// Changes one RTP packet: its time stamp lies in bytes 4 to 8, its payload begins at 12.
fn spoil_packet(stream: &mut Stream, packet: &mut gst::Buffer) {
    let mut bytes = packet.map_readable().unwrap().as_slice().to_vec();
    if bytes.len() < 12 {
        return;
    }
    let stamp = u32::from_be_bytes(bytes[4..8].try_into().unwrap());
    let mut sent = stamp.wrapping_add(stream.offset);
    if stream.stuck {
        sent = *stream.stuck_at.get_or_insert(sent);
    }
    bytes[4..8].copy_from_slice(&sent.to_be_bytes());
    if stream.corrupt && bytes.len() > 40 {
        scramble(&mut bytes[24..]);
    }
    if stream.truncate && bytes.len() > 40 {
        bytes.truncate(12 + (bytes.len() - 12) / 2);
    }
    let mut changed = gst::Buffer::from_mut_slice(bytes);
    let _ = packet.copy_into(
        changed.make_mut(),
        gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META,
        ..,
    );
    *packet = changed;
}
