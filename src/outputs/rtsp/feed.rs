//! Feeds one picture to those who watch it over RTSP.
//!
//! A thread that lives as long as somebody watches takes the newest picture whenever the encoder is
//! through with the last one. The encoder shares the pixels; a picture that it has no time for is
//! left out. Every second begins with a key frame, so that who comes later sees something soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;
use gstreamer_video as gst_video;

use super::super::view::{Shot, View};
use crate::delivery::video::{even, shared_buffer};
use crate::values::Matrix;

/// How often a feed without pictures looks whether anybody still watches.
const LOOK: Duration = Duration::from_millis(200);
/// Time from one key frame to the next.
const KEY_FRAMES: Duration = Duration::from_secs(1);

/// Which picture of a stream is sent.
#[derive(Clone)]
pub struct Feed {
    /// Where it comes from.
    pub view: Arc<View>,
    /// The source; the first without.
    pub source: Option<String>,
    /// The output; see [`crate::streams::Shown::choose`].
    pub output: Option<String>,
}

/// Begins to feed a media that was just made for its first viewer.
pub(super) fn begin(media: &rtsp::RTSPMedia, feed: Feed) {
    let Ok(bin) = media.element().downcast::<gst::Bin>() else {
        return;
    };
    let source = bin.by_name("src").map(|e| e.downcast::<gst_app::AppSrc>());
    let (Some(Ok(source)), Some(encoder)) = (source, bin.by_name("encoder")) else {
        tracing::error!("the pipeline of an RTSP stream lacks an element");
        return;
    };
    let over = Arc::new(AtomicBool::new(false));
    let told = over.clone();
    media.connect_unprepared(move |_| told.store(true, Ordering::Relaxed));
    let thread = Thread {
        source,
        encoder,
        size: [0, 0],
        next_key: None,
    };
    let name = "rtsp-feed".to_owned();
    let spawned = std::thread::Builder::new()
        .name(name)
        .spawn(move || thread.run(&feed, &over));
    if let Err(error) = spawned {
        tracing::error!(%error, "the machine refuses a thread for an RTSP stream");
    }
}

struct Thread {
    source: gst_app::AppSrc,
    encoder: gst::Element,
    size: [usize; 2],
    /// When the next key frame is due.
    next_key: Option<Instant>,
}

impl Thread {
    fn run(mut self, feed: &Feed, over: &AtomicBool) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let Ok(runtime) = runtime else {
            tracing::error!("an RTSP stream cannot wait for pictures");
            return;
        };
        let mut viewer = feed.view.watch();
        runtime.block_on(async {
            while !over.load(Ordering::Relaxed) {
                match tokio::time::timeout(LOOK, viewer.next()).await {
                    Ok(Some(shot)) if self.push(&shot, feed) => {}
                    // The last viewer has gone.
                    Ok(Some(_)) => return,
                    Ok(None) => {
                        let _ = self.source.end_of_stream();
                        return;
                    }
                    Err(_) => {}
                }
            }
        });
    }

    /// Hands a picture to the encoder; false if it takes none any more.
    fn push(&mut self, shot: &Shot, feed: &Feed) -> bool {
        let Some(shown) = shot.shown(feed.source.as_deref()) else {
            // The source had no frame in this round.
            return true;
        };
        let pixels = even(&shown.choose(feed.output.as_deref()).bgr());
        if !self.fit(&pixels) {
            return true;
        }
        let now = Instant::now();
        if self.next_key.is_none_or(|due| now >= due) {
            self.next_key = Some(now + KEY_FRAMES);
            let key = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true);
            self.encoder.send_event(key.build());
        }
        self.source.push_buffer(shared_buffer(&pixels)).is_ok()
    }

    /// Tells the encoder the size of the pictures when it changes; false for one that has none.
    fn fit(&mut self, pixels: &Matrix) -> bool {
        let size = pixels.size();
        if size == self.size {
            return true;
        }
        let [width, height] = size.map(|side| side as u32);
        let format = gst_video::VideoFormat::Bgr;
        let info = gst_video::VideoInfo::builder(format, width, height).build();
        let Some(caps) = info.ok().and_then(|info| info.to_caps().ok()) else {
            return false;
        };
        self.source.set_caps(Some(&caps));
        self.size = size;
        true
    }
}
