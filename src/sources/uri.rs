//! Where frames come from, as an operator writes it.
//!
//! | text | source |
//! | --- | --- |
//! | `/clips/a.mp4`, `a.mp4`, `file:///clips/a.mp4` | recorded file |
//! | `rtsp://user:pw@host:554/path`, `rtsps://…` | network camera |
//! | `http://…`, `https://…` | recorded file, or live if its length is unknown: MJPEG, HLS |
//! | `udp://0.0.0.0:5000`, `udp://239.1.2.3:5000` | MPEG-TS sent to this machine or to a group |
//! | `srt://host:port?passphrase=…`, `srt://:port?mode=listener` | MPEG-TS over SRT |
//! | `0`, `/dev/video0`, `v4l2:///dev/video0?size=1280x720&fps=30&format=mjpeg` | attached camera |
//! | `test:`, `videotestsrc://?size=640x360&fps=25&frames=100&pattern=ball&live=true` | test picture |
//!
//! Parsing touches nothing outside. Neither `Display` nor `Debug` shows user names, passwords and
//! other secrets ([`Address`]).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use url::Url;

use super::{Address, SourceError};
use crate::redact::Redacted;

/// A parsed source address.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceUri {
    /// A recorded file on disk.
    File(PathBuf),
    /// An RTSP camera or server.
    Rtsp(Address),
    /// A file or a stream (MJPEG, HLS) behind HTTP.
    Http(Address),
    /// An MPEG transport stream that comes in UDP packets.
    Udp(Address),
    /// An MPEG transport stream over SRT.
    Srt(Address),
    /// A camera attached to this machine.
    Camera(CameraUri),
    /// A picture made here.
    Pattern(PatternUri),
    /// A track of a connection that somebody else keeps, by its name ([`super::Inflow`]). No text
    /// means it.
    Track(Arc<str>),
}

/// An attached camera and what to ask it for.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraUri {
    /// Device file.
    pub device: PathBuf,
    /// Width and height to ask for.
    pub size: Option<(u32, u32)>,
    /// Frames per second to ask for.
    pub fps: Option<u32>,
    /// Stream format to ask for.
    pub format: Option<CameraFormat>,
}

/// What a camera sends over its cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameraFormat {
    /// Uncompressed pixels.
    Raw,
    /// JPEG pictures.
    Mjpeg,
    /// H.264.
    H264,
}

/// A test picture.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternUri {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Frames per second.
    pub fps: u32,
    /// Number of frames, after which the source ends; `None` goes on for ever.
    pub frames: Option<u32>,
    /// Name of GStreamer's pattern.
    pub pattern: String,
    /// Whether frames come by the clock, as from a camera, or as fast as they are taken.
    pub live: bool,
}

impl SourceUri {
    /// Whether frames come by themselves and are lost if nobody takes them. An HTTP address may be
    /// either; it is known when its first frame has come.
    pub fn is_live(&self) -> bool {
        match self {
            Self::File(_) | Self::Http(_) => false,
            Self::Rtsp(_) | Self::Udp(_) | Self::Srt(_) | Self::Camera(_) | Self::Track(_) => true,
            Self::Pattern(pattern) => pattern.live,
        }
    }

    /// The address in a form that can be shown.
    pub fn redacted(&self) -> Redacted {
        Redacted::new(&self.to_string())
    }

    /// A short name for the source, without secrets.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(path) => file_name(path),
            Self::Camera(camera) => file_name(&camera.device),
            Self::Rtsp(address) | Self::Http(address) | Self::Udp(address) | Self::Srt(address) => {
                address.name()
            }
            Self::Pattern(_) => "test".to_owned(),
            Self::Track(name) => name.to_string(),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Self::Camera(CameraUri::device(format!("/dev/video{text}"))));
        }
        if text.starts_with("/dev/video") {
            return Ok(Self::Camera(CameraUri::device(text)));
        }
        if let Some(rest) = text.strip_prefix("test:") {
            return PatternUri::parse(rest).map(Self::Pattern);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::File(PathBuf::from(text)));
        };
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "file" => Url::parse(text)
                .ok()
                .and_then(|url| url.to_file_path().ok())
                .map(Self::File)
                .ok_or_else(|| "a file address is file:///absolute/path".to_owned()),
            "rtsp" | "rtsps" => Ok(Self::Rtsp(Address::parse(&scheme, rest)?)),
            "http" | "https" => Ok(Self::Http(Address::parse(&scheme, rest)?)),
            "udp" => Ok(Self::Udp(Address::parse(&scheme, rest)?)),
            // Without a host it listens on every address of this machine.
            "srt" if rest.starts_with(':') => {
                let rest = format!("0.0.0.0{rest}");
                Ok(Self::Srt(Address::parse(&scheme, &rest)?))
            }
            "srt" => Ok(Self::Srt(Address::parse(&scheme, rest)?)),
            "v4l2" => CameraUri::parse(rest).map(Self::Camera),
            "videotestsrc" => PatternUri::parse(rest).map(Self::Pattern),
            _ => Err(format!(
                "{scheme}:// is not supported; use a path, file, rtsp, rtsps, http, https, udp, srt, v4l2 or videotestsrc"
            )),
        }
    }
}

impl FromStr for SourceUri {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        Self::parse(text.trim()).map_err(|reason| SourceError::Address {
            address: Redacted::new(text),
            reason,
        })
    }
}

impl fmt::Display for SourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Rtsp(address) | Self::Http(address) | Self::Udp(address) | Self::Srt(address) => {
                write!(f, "{address}")
            }
            Self::Camera(camera) => write!(f, "{}", camera.device.display()),
            Self::Track(name) => write!(f, "track {name}"),
            Self::Pattern(p) => {
                write!(f, "videotestsrc://?size={}x{}", p.width, p.height)?;
                write!(f, "&fps={}&pattern={}&live={}", p.fps, p.pattern, p.live)?;
                match p.frames {
                    Some(frames) => write!(f, "&frames={frames}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl CameraUri {
    fn device(device: impl Into<PathBuf>) -> Self {
        Self {
            device: device.into(),
            size: None,
            fps: None,
            format: None,
        }
    }

    fn parse(rest: &str) -> Result<Self, String> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let device = if path.is_empty() { "/dev/video0" } else { path };
        let mut camera = Self::device(device);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "size" => camera.size = Some(parse_size(&value)?),
                "fps" => camera.fps = Some(parse_count("fps", &value)?),
                "format" => {
                    camera.format = Some(match value.as_ref() {
                        "raw" => CameraFormat::Raw,
                        "mjpeg" => CameraFormat::Mjpeg,
                        "h264" => CameraFormat::H264,
                        _ => return Err("format is raw, mjpeg or h264".to_owned()),
                    });
                }
                _ => return Err(format!("unknown parameter {name}; use size, fps, format")),
            }
        }
        Ok(camera)
    }
}

impl PatternUri {
    fn parse(rest: &str) -> Result<Self, String> {
        let query = rest.trim_start_matches(['/', '?']);
        let mut pattern = Self {
            width: 640,
            height: 360,
            fps: 25,
            frames: None,
            pattern: "ball".to_owned(),
            live: true,
        };
        let mut live = None;
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "size" => (pattern.width, pattern.height) = parse_size(&value)?,
                "fps" => pattern.fps = parse_count("fps", &value)?,
                "frames" => pattern.frames = Some(parse_count("frames", &value)?),
                "pattern" => pattern.pattern = value.into_owned(),
                "live" => {
                    live = Some(value.parse().map_err(|_| "live is true or false")?);
                }
                _ => {
                    return Err(format!(
                        "unknown parameter {name}; use size, fps, frames, pattern, live"
                    ));
                }
            }
        }
        pattern.live = live.unwrap_or(pattern.frames.is_none());
        Ok(pattern)
    }
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("size is WIDTHxHEIGHT, each 1 to 16384, not {text}");
    let (width, height) = text.split_once('x').ok_or_else(wrong)?;
    let side = |side: &str| side.parse().ok().filter(|n| (1..=16384).contains(n));
    side(width).zip(side(height)).ok_or_else(wrong)
}

fn parse_count(name: &str, text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|n| (1..=i32::MAX as u32).contains(n))
        .ok_or_else(|| format!("{name} is a whole number from 1, not {text}"))
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> SourceUri {
        text.parse().unwrap()
    }

    #[test]
    fn every_spelling_finds_its_kind() {
        let file = |path: &str| SourceUri::File(path.into());
        assert_eq!(parse("clips/a b.mp4"), file("clips/a b.mp4"));
        assert_eq!(parse("file:///clips/a%20b.mp4"), file("/clips/a b.mp4"));
        let camera = SourceUri::Camera(CameraUri::device("/dev/video2"));
        assert_eq!(parse("2"), camera);
        assert_eq!(parse("/dev/video2"), camera);
        assert_eq!(parse("v4l2:///dev/video2"), camera);
        let SourceUri::Camera(asked) =
            parse("v4l2:///dev/video0?size=1280x720&fps=30&format=mjpeg")
        else {
            panic!("not a camera");
        };
        assert_eq!(asked.size, Some((1280, 720)));
        assert_eq!(
            (asked.fps, asked.format),
            (Some(30), Some(CameraFormat::Mjpeg))
        );
        assert!(parse("test:").is_live());
        let SourceUri::Pattern(p) = parse("videotestsrc://?size=320x240&fps=10&frames=5") else {
            panic!("not a pattern");
        };
        assert_eq!(
            (p.width, p.height, p.fps, p.frames),
            (320, 240, 10, Some(5))
        );
        assert!(!p.live);
    }

    #[test]
    fn credentials_are_taken_out_of_the_address() {
        for text in [
            "rtsp://admin:p%40ss%2Fw@cam:8554/live?channel=1",
            "RTSP://admin:p@ss%2Fw@cam:8554/live?channel=1",
        ] {
            let SourceUri::Rtsp(address) = parse(text) else {
                panic!("not rtsp");
            };
            assert_eq!(address.location(), "rtsp://cam:8554/live?channel=1");
            assert_eq!(address.credentials(), Some(("admin", "p@ss/w")));
            assert_eq!(address.to_string(), "rtsp://***@cam:8554/live?channel=1");
            assert!(!format!("{:?}", parse(text)).contains("p@ss"));
        }
        assert_eq!(parse("rtsp://u:p@cam:554/a/b?token=x").name(), "cam/a/b");
    }

    #[test]
    fn what_cannot_be_read_says_why_without_secrets() {
        let cases = [
            ("", "empty"),
            ("ftp://u:hunter2@host/x", "not supported"),
            ("rtsp://", "host"),
            ("rtsp://u:hunter2/x@host/y", "%2F"),
            ("test:?size=0x5", "size"),
            ("v4l2:///dev/video0?format=avi", "format"),
        ];
        for (text, word) in cases {
            let error = text.parse::<SourceUri>().unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(word), "{text}: {shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(!error.retry());
        }
    }
}
