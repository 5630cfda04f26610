//! An RTSP camera in this process. It sends a clip in a loop, can be stopped and started again under
//! the same address, can fall silent with the connection standing, and can ask for a password.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;

use super::clips;

/// A clip as a camera sends it: H.264 without reordering, a key frame every 10 frames.
pub struct CameraClip {
    caps: gst::Caps,
    units: Vec<gst::Buffer>,
    length: gst::ClockTime,
}

impl CameraClip {
    /// The synthetic clip, encoded once per test process.
    pub fn shapes() -> Arc<Self> {
        static CLIP: OnceLock<Arc<CameraClip>> = OnceLock::new();
        CLIP.get_or_init(|| Arc::new(Self::encode(clips::SHAPES)))
            .clone()
    }

    fn encode(path: &str) -> Self {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(&format!(
            "filesrc location={path} ! qtdemux ! avdec_h264 ! \
             x264enc tune=zerolatency bframes=0 key-int-max=10 speed-preset=ultrafast ! \
             h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au ! \
             appsink name=units sync=false"
        ))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        let sink = pipeline.by_name("units").unwrap();
        let sink = sink.downcast::<gst_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let (mut caps, mut units) = (None, Vec::new());
        while let Ok(sample) = sink.pull_sample() {
            let segment = sample
                .segment()
                .unwrap()
                .downcast_ref::<gst::ClockTime>()
                .unwrap();
            caps = sample.caps_owned();
            let mut unit = sample.buffer_owned().unwrap();
            let time = segment.to_running_time(unit.pts().unwrap());
            let unit_mut = unit.make_mut();
            unit_mut.set_pts(time);
            unit_mut.set_dts(time);
            units.push(unit);
        }
        pipeline.set_state(gst::State::Null).unwrap();
        Self {
            caps: caps.unwrap(),
            length: gst::ClockTime::from_mseconds(40) * units.len() as u64,
            units,
        }
    }
}

/// How the camera is set up.
#[derive(Clone, Default)]
pub struct Setup {
    /// User name and password to ask for.
    pub login: Option<(String, String)>,
    /// Whether only UDP is offered.
    pub udp_only: bool,
    /// A pipeline to send instead of the clip.
    pub launch: Option<&'static str>,
}

/// A camera; stops when dropped.
pub struct RtspServer {
    clip: Arc<CameraClip>,
    setup: Setup,
    port: i32,
    silent: Arc<AtomicBool>,
    running: Option<Running>,
}

struct Running {
    alive: Arc<AtomicBool>,
    server: rtsp::RTSPServer,
    source: glib::Source,
    main_loop: glib::MainLoop,
    thread: JoinHandle<()>,
}

impl RtspServer {
    /// Starts a camera on a free port.
    pub fn start(clip: Arc<CameraClip>, setup: Setup) -> Self {
        gst::init().unwrap();
        let mut camera = Self {
            clip,
            setup,
            port: 0,
            silent: Arc::default(),
            running: None,
        };
        camera.restart();
        camera
    }

    /// The camera's address, without login.
    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/cam", self.port)
    }

    /// The camera's address with a login in it.
    pub fn url_with(&self, user: &str, password: &str) -> String {
        format!("rtsp://{user}:{password}@127.0.0.1:{}/cam", self.port)
    }

    /// The connection stands, and nothing is sent any more.
    pub fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// Sends again.
    pub fn speak(&self) {
        self.silent.store(false, Ordering::SeqCst);
    }

    /// Closes every connection and the port.
    pub fn stop(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        running.alive.store(false, Ordering::SeqCst);
        running.source.destroy();
        running
            .server
            .client_filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
        if let Some(pool) = running.server.session_pool() {
            pool.filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
        }
        std::thread::sleep(Duration::from_millis(50));
        running.main_loop.quit();
        running.thread.join().unwrap();
    }

    /// Starts again, under the same address.
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "the camera runs already");
        let server = rtsp::RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service(&self.port.to_string());
        let alive = Arc::new(AtomicBool::new(true));
        let factory = self.factory(&alive);
        if let Some((user, password)) = &self.setup.login {
            ask_for_login(&server, &factory, user, password);
        }
        server.mount_points().unwrap().add_factory("/cam", factory);
        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let source = server
            .create_source(None::<&rtsp::gio::Cancellable>)
            .unwrap();
        source.attach(Some(&context));
        self.port = server.bound_port();
        let to_run = main_loop.clone();
        let thread = std::thread::spawn(move || {
            context.with_thread_default(|| to_run.run()).unwrap();
        });
        self.running = Some(Running {
            alive,
            server,
            source,
            main_loop,
            thread,
        });
    }

    /// Sends this pipeline from the next start on.
    pub fn change(&mut self, launch: &'static str) {
        self.setup.launch = Some(launch);
    }

    fn factory(&self, alive: &Arc<AtomicBool>) -> rtsp::RTSPMediaFactory {
        let factory = rtsp::RTSPMediaFactory::new();
        factory.set_launch(self.setup.launch.unwrap_or(
            "( appsrc name=src is-live=true format=time block=true max-bytes=500000 ! h264parse ! \
             rtph264pay name=pay0 pt=96 config-interval=-1 )",
        ));
        factory.set_shared(true);
        factory.set_protocols(match self.setup.udp_only {
            true => rtsp::gst_rtsp::RTSPLowerTrans::UDP,
            false => rtsp::gst_rtsp::RTSPLowerTrans::TCP,
        });
        let (clip, alive, silent) = (self.clip.clone(), alive.clone(), self.silent.clone());
        factory.connect_media_configure(move |_, media| {
            let bin = media.element().downcast::<gst::Bin>().unwrap();
            let Some(source) = bin.by_name("src") else {
                return;
            };
            let source = source.downcast::<gst_app::AppSrc>().unwrap();
            source.set_caps(Some(&clip.caps));
            let (clip, alive, silent) = (clip.clone(), alive.clone(), silent.clone());
            std::thread::spawn(move || send(&clip, &source, &alive, &silent));
        });
        factory
    }
}

impl Drop for RtspServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends the clip in a loop at its own speed until the camera stops or nobody listens.
fn send(clip: &CameraClip, source: &gst_app::AppSrc, alive: &AtomicBool, silent: &AtomicBool) {
    let start = Instant::now();
    for sent in 0.. {
        let (round, index) = (sent / clip.units.len(), sent % clip.units.len());
        let mut unit = clip.units[index].clone();
        let time = unit.pts().unwrap() + clip.length * round as u64;
        let due = start + Duration::from(time);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        while silent.load(Ordering::SeqCst) && alive.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let unit_mut = unit.make_mut();
        unit_mut.set_pts(time);
        unit_mut.set_dts(time);
        if !alive.load(Ordering::SeqCst) || source.push_buffer(unit).is_err() {
            return;
        }
    }
}

fn ask_for_login(
    server: &rtsp::RTSPServer,
    factory: &rtsp::RTSPMediaFactory,
    user: &str,
    password: &str,
) {
    let auth = rtsp::RTSPAuth::new();
    let token = rtsp::RTSPToken::builder()
        .field("media.factory.role", "viewer")
        .build();
    auth.add_basic(&rtsp::RTSPAuth::make_basic(user, password), &token);
    server.set_auth(Some(&auth));
    factory.add_role_from_structure(
        &gst::Structure::builder("viewer")
            .field("media.factory.access", true)
            .field("media.factory.construct", true)
            .build(),
    );
}
