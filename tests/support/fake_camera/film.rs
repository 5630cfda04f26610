//! What a fake camera shows: short clips with the frame's number in the picture, encoded once by the
//! test process and read by the cameras.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::super::clips::SHAPES;

/// Frames of each film; then it begins again.
pub const FRAMES: usize = 150;

/// Frames from one key frame to the next.
pub const GROUP: usize = 15;

/// The films, in a folder that is removed with the process.
pub struct Films(tempfile::TempDir);

impl Films {
    /// `main` (H.264, 640×360), `small` (H.264, 480×272), `h265` and `jpeg` (480×272); a key frame
    /// every 15.
    pub fn folder() -> &'static Path {
        static FILMS: OnceLock<Films> = OnceLock::new();
        let films = FILMS.get_or_init(|| {
            gst::init().unwrap();
            let films = Films(tempfile::tempdir().unwrap());
            let x264 = "x264enc tune=zerolatency bframes=0 key-int-max=15 speed-preset=ultrafast \
                        bitrate=700 option-string=scenecut=0 ! h264parse config-interval=-1 ! \
                        video/x-h264,stream-format=byte-stream,alignment=au";
            let x265 = "x265enc tune=zerolatency key-int-max=15 speed-preset=ultrafast bitrate=700 \
                        option-string=scenecut=0:log-level=none ! h265parse config-interval=-1 ! \
                        video/x-h265,stream-format=byte-stream,alignment=au";
            let cut = "videocrop right=160 top=88";
            films.encode("main", x264);
            films.encode("small", &format!("{cut} ! {x264}"));
            films.encode("h265", &format!("{cut} ! {x265}"));
            films.encode("jpeg", &format!("{cut} ! jpegenc quality=70"));
            films
        });
        films.0.path()
    }

    fn encode(&self, name: &str, encoder: &str) {
        let pipeline = gst::parse::launch(&format!(
            "filesrc location={SHAPES} ! qtdemux ! avdec_h264 ! {encoder} ! \
             appsink name=units sync=false"
        ))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        let sink = pipeline.by_name("units").unwrap();
        let sink = sink.downcast::<gst_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let mut film = Vec::new();
        for i in 0..FRAMES {
            let sample = sink.pull_sample().unwrap();
            if i == 0 {
                let media = sample.caps().unwrap().structure(0).unwrap().name();
                writeln!(film, "{media}").unwrap();
            }
            let unit = sample.buffer().unwrap().map_readable().unwrap();
            film.extend((unit.len() as u32).to_be_bytes());
            film.extend(unit.as_slice());
        }
        pipeline.set_state(gst::State::Null).unwrap();
        std::fs::write(self.0.path().join(name), film).unwrap();
    }
}

/// A film as a camera reads it.
pub struct Film {
    /// Its media type.
    pub media: String,
    /// The encoded frames.
    pub units: Vec<gst::Buffer>,
}

impl Film {
    /// Reads a film of a folder.
    pub fn read(folder: &Path, name: &str) -> Result<Self, String> {
        let path: PathBuf = folder.join(name);
        let mut bytes = Vec::new();
        std::fs::File::open(&path)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(|e| format!("{}: {e}", path.display()))?;
        let end = bytes.iter().position(|b| *b == b'\n').ok_or("no film")?;
        let media = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let (mut at, mut units) = (end + 1, Vec::new());
        while at + 4 <= bytes.len() {
            let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            at += 4;
            units.push(gst::Buffer::from_slice(bytes[at..at + length].to_vec()));
            at += length;
        }
        Ok(Self { media, units })
    }

    /// Caps of the units; sizes are in the stream.
    pub fn caps(&self) -> gst::Caps {
        let caps = gst::Caps::builder(&*self.media);
        match self.media.as_str() {
            "image/jpeg" => caps
                .field("width", 480i32)
                .field("height", 272i32)
                .field("framerate", gst::Fraction::new(25, 1))
                .build(),
            _ => caps
                .field("stream-format", "byte-stream")
                .field("alignment", "au")
                .build(),
        }
    }

    /// The pipeline that sends it.
    pub fn launch(&self) -> &'static str {
        match self.media.as_str() {
            "video/x-h265" => {
                "( appsrc name=src is-live=true format=time ! \
                 rtph265pay name=pay0 pt=96 config-interval=-1 )"
            }
            "image/jpeg" => {
                "( appsrc name=src is-live=true format=time ! rtpjpegpay name=pay0 pt=26 )"
            }
            _ => {
                "( appsrc name=src is-live=true format=time ! \
                 rtph264pay name=pay0 pt=96 config-interval=-1 )"
            }
        }
    }
}
