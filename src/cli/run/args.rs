//! Arguments of `millrace run`, and the outputs that they name.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::super::cameras::CameraArgs;
use super::super::outbox::OutboxPlaceArgs;
use super::super::rtsp::RtspArgs;
use super::super::stage::StageArgs;
use super::super::store::StoreArgs;
use super::super::{HostArgs, ImageUrlArgs};
use crate::delivery::Request;
use crate::delivery::jsonl::Rotation;
use crate::delivery::video::series::{Cut, FilmPlan};
use crate::delivery::webhook::Condition;
use crate::network::listen;
use crate::outputs::{
    EventsSpec, FilmSpec, LinesSpec, OutputsSpec, PictureSpec, file_name, named, wrong_scheme,
};
use crate::streams::CanaryUntil;

/// A number of bytes, as in 500MB.
fn size(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(Cut::Size(bytes)) => Ok(bytes),
        _ => Err("it is a size such as 500MB or 2GB".to_owned()),
    }
}

/// Arguments of `millrace run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
millrace run people.json --source clip.mp4 --output out --video out/annotated.mp4\n  \
millrace run people.json --source rtsp://user:pass@10.0.0.7/main --webhook http://127.0.0.1:8000/events --webhook-when alarm\n  \
millrace run people.json --source videotestsrc:// --max-fps 5 --preview\n\n\
Each line of the results is a JSON object: stream, frame_number, frame_timestamp, arrived_at, finished_at, latency_ms, definition, models, \
and outputs (or error). Ctrl-C ends cleanly, a second one at once.\n\
Exit code: 0 all well, 1 a stream failed or frames had errors, 2 refused before anything ran.")]
pub struct RunArgs {
    /// File of the definition, or `workspace/workflow` of the platform.
    pub(super) definition: PathBuf,
    /// Where frames come from: a file, rtsp://, rtsps://, http(s):// (file, MJPEG, HLS), udp://, srt://,
    /// /dev/video0, videotestsrc://.
    /// May stand several times; each source is a stream with state of its own.
    #[arg(long = "source", value_name = "URI", required = true)]
    pub(super) sources: Vec<String>,
    /// Name of the stream, one for each --source; made from the address without.
    #[arg(long = "video-id", value_name = "ID")]
    pub(super) video_ids: Vec<String>,
    /// Parameter of the workflow; the value is JSON, or text if it is none. An image is given by its
    /// path or URL, and read once.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub(super) parameters: Vec<String>,
    /// Name of the image input that gets the frames; the first one without.
    #[arg(long, value_name = "NAME")]
    pub(super) image_input: Option<String>,
    /// Folder for results: `results.jsonl`, or `<stream>.jsonl` for several sources.
    #[arg(long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
    /// Put a file of results aside before it has more bytes than that (500MB, 2GB), as
    /// `results.jsonl.1` and so on; it grows without end otherwise.
    #[arg(long, value_parser = size, value_name = "SIZE", requires = "output")]
    pub(super) output_rotate: Option<u64>,
    /// Files of results put aside that stay; the oldest are removed.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(0..=999), value_name = "N", requires = "output_rotate")]
    pub(super) output_keep: u16,
    /// Write pictures in outputs as base64 JPEG into results and events too.
    #[arg(long)]
    pub(super) include_images: bool,
    /// Post each result to this address, in order, with retries.
    #[arg(long, value_name = "URL")]
    pub(super) webhook: Option<String>,
    /// Post or send only results in which this output is true, e.g. `alarm` or `line.count_in`.
    #[arg(long, value_name = "OUTPUT")]
    pub(super) webhook_when: Option<Condition>,
    /// Send each result to Kafka: kafka://host:9092/TOPIC, kafkas:// with TLS, further brokers as
    /// `?brokers=`; the key is the name of the stream, or `?key=TEXT`.
    #[arg(long, value_name = "URL")]
    pub(super) kafka: Option<String>,
    /// Publish each result over MQTT 5 with QoS 1: mqtt://user:pass@host:1883/TOPIC, mqtts:// with
    /// TLS; `?retain=true` keeps the last one.
    #[arg(long, value_name = "URL")]
    pub(super) mqtt: Option<String>,
    /// Publish each result over NATS: nats://host:4222/SUBJECT, tls:// with TLS; `?ack=jetstream`
    /// waits until a JetStream stream has stored it.
    #[arg(long, value_name = "URL")]
    pub(super) nats: Option<String>,
    /// Send each result to Redis: redis://host:6379/0?stream=NAME, or `?list=NAME`, or
    /// `?channel=NAME`; rediss:// with TLS.
    #[arg(long, value_name = "URL")]
    pub(super) redis: Option<String>,
    /// Film of the annotated frames, H.264 in MP4; `-<stream>` is added for several sources.
    #[arg(long, value_name = "FILE.mp4")]
    pub(super) video: Option<PathBuf>,
    /// Cut the film into files by time of the stream (90s, 10m, 1h) or by size (500MB, 2GB); each is
    /// named `<name>-<number>-<start>.mp4` and whole as soon as the next begins.
    #[arg(long, value_name = "TIME|SIZE", requires = "video")]
    pub(super) video_segment: Option<Cut>,
    /// Files of the cut film that stay; the oldest are removed. All without.
    #[arg(long, value_name = "N", requires = "video_segment")]
    pub(super) video_keep: Option<NonZeroUsize>,
    /// Output to film and show; without, the first output that is an image, else the frame.
    #[arg(long, value_name = "OUTPUT")]
    pub(super) video_output: Option<String>,
    /// Most frames per second to run: further ones of a camera are dropped, a file is slowed down.
    #[arg(long, value_name = "N")]
    pub(super) max_fps: Option<f64>,
    /// Play files at their own speed.
    #[arg(long)]
    pub(super) realtime: bool,
    /// Show the annotated frames in a window.
    #[arg(long)]
    pub(super) preview: bool,
    /// Keep the definition as it is now, whatever becomes of its source.
    #[arg(long)]
    pub(super) no_follow: bool,
    /// Try a new version of the definition beside the old one on so many frames of the first stream,
    /// and tell how their outputs differ. Steps with memory start anew in the trial; sinks are off.
    #[arg(long, value_name = "FRAMES")]
    pub(super) canary: Option<u64>,
    /// When the streams move to a new version that was tried.
    #[arg(
        long,
        value_enum,
        default_value = "equal",
        requires = "canary",
        value_name = "WHEN"
    )]
    pub(super) canary_until: CanaryUntil,
    /// Tell over HTTP how fresh everything is, e.g. at 127.0.0.1:9001, and show the picture: `/streams`
    /// in a browser.
    #[arg(long, value_parser = listen::address, value_name = "ADDRESS:PORT")]
    pub(super) http: Option<SocketAddr>,
    #[command(flatten)]
    pub(super) rtsp: RtspArgs,
    #[command(flatten)]
    pub(super) stages: StageArgs,
    #[command(flatten)]
    pub(super) cameras: CameraArgs,
    #[command(flatten)]
    pub(super) store: StoreArgs,
    #[command(flatten)]
    pub(super) image_urls: ImageUrlArgs,
    #[command(flatten)]
    pub(super) host: HostArgs,
    #[command(flatten)]
    pub(super) outbox: OutboxPlaceArgs,
}

impl RunArgs {
    /// The receivers of results, by the flags.
    ///
    /// # Errors
    /// If an address does not fit its flag, or there is a condition and no receiver.
    pub(super) fn events(&self) -> Result<Vec<EventsSpec>, String> {
        let flags = [
            ("webhook", &self.webhook),
            ("kafka", &self.kafka),
            ("mqtt", &self.mqtt),
            ("nats", &self.nats),
            ("redis", &self.redis),
        ];
        let mut events = Vec::new();
        for (kind, url) in flags {
            let Some(url) = url else { continue };
            let wrong = |why: &dyn std::fmt::Display| format!("--{kind}: {why}");
            if let Some(why) = wrong_scheme(kind, url) {
                return Err(wrong(&why));
            }
            Request::event(url, String::new()).map_err(|e| wrong(&e))?;
            events.push(EventsSpec {
                kind,
                url: url.clone(),
                when: self.webhook_when.clone(),
                with_images: self.include_images,
            });
        }
        match self.webhook_when.is_some() && events.is_empty() {
            false => Ok(events),
            true => Err(
                "--webhook-when: there is nothing to post to, add --webhook, --kafka, --mqtt, --nats \
                 or --redis"
                    .into(),
            ),
        }
    }

    /// The outputs of a stream. With `several` streams the files carry the stream's name.
    ///
    /// # Errors
    /// If an address does not fit its flag.
    pub(super) fn outputs(&self, stream: &str, several: bool) -> Result<OutputsSpec, String> {
        let shown = PictureSpec {
            output: self.video_output.clone(),
        };
        let lines = self.output.as_ref().map(|folder| LinesSpec {
            path: folder.join(match several {
                true => format!("{}.jsonl", file_name(stream)),
                false => "results.jsonl".into(),
            }),
            with_images: self.include_images,
            append: false,
            rotation: self.output_rotate.map(|bytes| Rotation {
                bytes,
                keep: usize::from(self.output_keep),
            }),
        });
        let film = self.video.as_ref().map(|path| FilmSpec {
            plan: FilmPlan {
                path: named(path, several.then_some(stream)),
                cut: self.video_segment,
                keep: self.video_keep.map(NonZeroUsize::get),
            },
            output: self.video_output.clone(),
        });
        Ok(OutputsSpec {
            events: self.events()?,
            lines,
            film,
            preview: self.http.map(|_| shown.clone()),
            rtsp: Some(shown),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        run: RunArgs,
    }

    fn read(flags: &[&str]) -> Result<RunArgs, clap::Error> {
        let needed = ["run", "a.json", "--source", "a.mp4"];
        let all = needed.iter().chain(flags);
        Only::try_parse_from(all).map(|only| only.run)
    }

    #[test]
    fn results_rotate_only_where_that_is_asked_for() {
        let rotation = |flags: &[&str]| {
            let outputs = read(flags).unwrap().outputs("a", false).unwrap();
            outputs.lines.unwrap().rotation
        };
        assert_eq!(rotation(&["--output", "out"]), None);
        let asked = ["--output", "out", "--output-rotate", "500MB"];
        let bounds = |keep| {
            Some(Rotation {
                bytes: 500_000_000,
                keep,
            })
        };
        assert_eq!(rotation(&asked), bounds(9));
        let kept = [&asked[..], &["--output-keep", "0"]].concat();
        assert_eq!(rotation(&kept), bounds(0));
        for wrong in [
            &["--output-rotate", "500MB"][..],
            &["--output", "out", "--output-keep", "2"],
            &["--output", "out", "--output-rotate", "10m"],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn places_to_listen_at_may_have_names() {
        let http = read(&["--http", "localhost:9001"]).unwrap().http.unwrap();
        assert!(http.ip().is_loopback() && http.port() == 9001);
        assert!(read(&["--http", "localhost"]).is_err());
    }
}
