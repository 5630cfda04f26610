//! Arguments about WebRTC sessions.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{BoolishValueParser, RangedU64ValueParser};

use super::host::sinks;
use crate::webrtc::Settings;

/// How WebRTC sessions behave.
#[derive(Clone, Debug, Args)]
pub struct WebrtcArgs {
    /// Take video over WebRTC (`/initialise_webrtc_worker`).
    #[arg(long = "webrtc", env = "WEBRTC_WORKER_ENABLED", value_parser = BoolishValueParser::new(), default_value = "true", value_name = "BOOL")]
    webrtc: bool,
    /// Leave frames of a session out that it cannot keep up with, where its client does not say.
    #[arg(long, env = "WEBRTC_REALTIME_PROCESSING", value_parser = BoolishValueParser::new(), default_value = "true", value_name = "BOOL")]
    webrtc_realtime: bool,
    /// WebRTC sessions at once.
    #[arg(long, env = "MILLRACE_WEBRTC_SESSIONS", value_parser = RangedU64ValueParser::<u64>::new().range(1..=4096), default_value = "16", value_name = "N")]
    webrtc_sessions: u64,
    /// Limit the sessions of one workspace.
    #[arg(long, env = "WEBRTC_WORKSPACE_STREAM_QUOTA_ENABLED", value_parser = BoolishValueParser::new(), default_value = "false", value_name = "BOOL")]
    webrtc_quota_enabled: bool,
    /// WebRTC sessions of one workspace at once, where they are limited.
    #[arg(
        long,
        env = "WEBRTC_WORKSPACE_STREAM_QUOTA",
        default_value_t = 10,
        value_name = "N"
    )]
    webrtc_quota: usize,
    /// Time that a session runs that does not ask for another, in seconds.
    #[arg(
        long,
        env = "WEBRTC_MODAL_FUNCTION_TIME_LIMIT",
        default_value_t = 3_600,
        value_name = "S"
    )]
    webrtc_timeout: u64,
    /// Longest time that a session may ask for, in seconds.
    #[arg(
        long,
        env = "WEBRTC_MODAL_FUNCTION_MAX_TIME_LIMIT",
        default_value_t = 604_800,
        value_name = "S"
    )]
    webrtc_max_timeout: u64,
    /// Time that a client has to connect, and that its upload may pause, in seconds.
    #[arg(long, env = "MILLRACE_WEBRTC_CONNECT_SECONDS", value_parser = RangedU64ValueParser::<u64>::new().range(1..=3600), default_value = "30", value_name = "S")]
    webrtc_connect_seconds: u64,
    /// Silence after which a client counts as gone, in seconds. It is asked before whether it is there.
    #[arg(long, env = "MILLRACE_WEBRTC_SILENCE_SECONDS", value_parser = RangedU64ValueParser::<u64>::new().range(3..=3600), default_value = "12", value_name = "S")]
    webrtc_silence_seconds: u64,
    /// Bytes of results that may wait for a slow client of a session.
    #[arg(
        long,
        env = "WEBRTC_DATA_CHANNEL_BUFFER_SIZE_LIMIT",
        default_value_t = 33_554_432,
        value_name = "BYTES"
    )]
    webrtc_buffer_bytes: u64,
    /// How often such a full buffer is looked at, in seconds.
    #[arg(
        long,
        env = "WEBRTC_DATA_CHANNEL_BUFFER_DRAINING_DELAY",
        default_value_t = 0.1,
        value_name = "S"
    )]
    webrtc_draining_seconds: f64,
    /// Results that may be ahead of the last one that the client acknowledged.
    #[arg(
        long,
        env = "WEBRTC_DATA_CHANNEL_ACK_WINDOW",
        default_value_t = 1,
        value_name = "N"
    )]
    webrtc_ack_window: u64,
    /// Compress the results of a session.
    #[arg(long, env = "WEBRTC_GZIP_PREVIEW_FRAME_COMPRESSION", value_parser = BoolishValueParser::new(), default_value = "true", value_name = "BOOL")]
    webrtc_gzip: bool,
    /// JPEG quality of pictures among the results of a session.
    #[arg(long, env = "WEBRTC_PREVIEW_FRAME_JPEG_QUALITY", value_parser = RangedU64ValueParser::<u8>::new().range(1..=100), default_value = "80", value_name = "1-100")]
    webrtc_jpeg_quality: u8,
    /// Let sessions read MJPEG cameras in private networks.
    #[arg(long, env = "WEBRTC_MJPEG_ALLOW_NON_GLOBAL_ADDRESSES", value_parser = BoolishValueParser::new(), default_value = "false", value_name = "BOOL")]
    webrtc_private_mjpeg: bool,
    /// Largest video that a session may upload, in MiB.
    #[arg(
        long,
        env = "MILLRACE_WEBRTC_UPLOAD_MIB",
        default_value_t = 1_024,
        value_name = "MIB"
    )]
    webrtc_upload_mib: u64,
    /// Room for all uploaded videos together, in MiB.
    #[arg(
        long,
        env = "MILLRACE_WEBRTC_UPLOADS_MIB",
        default_value_t = 4_096,
        value_name = "MIB"
    )]
    webrtc_uploads_mib: u64,
    /// Folder in which uploaded videos lie while their session runs.
    #[arg(
        long,
        env = "MILLRACE_WEBRTC_UPLOAD_DIR",
        default_value = "/tmp",
        value_name = "DIR"
    )]
    webrtc_upload_dir: PathBuf,
    /// First and last UDP port for the media of sessions; any without.
    #[arg(long, env = "MILLRACE_WEBRTC_PORTS", value_parser = ports, value_name = "FIRST-LAST")]
    webrtc_ports: Option<(u16, u16)>,
}

fn ports(text: &str) -> Result<(u16, u16), String> {
    let wrong = || "it is two ports from 1024 on, as in 40000-40100".to_owned();
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let read = |port: &str| port.trim().parse().ok().filter(|port: &u16| *port >= 1_024);
    match (read(first), read(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(wrong()),
    }
}

impl WebrtcArgs {
    /// What the arguments say.
    pub fn settings(&self) -> Settings {
        let seconds = Duration::from_secs;
        let delay = Duration::try_from_secs_f64(self.webrtc_draining_seconds);
        Settings {
            enabled: self.webrtc,
            realtime: self.webrtc_realtime,
            buffer_bytes: self.webrtc_buffer_bytes,
            drain_delay: delay
                .unwrap_or(seconds(1))
                .clamp(Duration::from_millis(1), seconds(1)),
            ack_window: self.webrtc_ack_window,
            gzip: self.webrtc_gzip,
            jpeg_quality: self.webrtc_jpeg_quality,
            private_mjpeg: self.webrtc_private_mjpeg,
            quota: self.webrtc_quota_enabled.then_some(self.webrtc_quota),
            timeout: seconds(self.webrtc_timeout),
            max_timeout: seconds(self.webrtc_max_timeout),
            max_sessions: usize::try_from(self.webrtc_sessions).unwrap_or(usize::MAX),
            connect: seconds(self.webrtc_connect_seconds),
            silence: seconds(self.webrtc_silence_seconds),
            upload_bytes: self.webrtc_upload_mib.saturating_mul(1 << 20),
            uploads_bytes: self.webrtc_uploads_mib.saturating_mul(1 << 20),
            upload_dir: self.webrtc_upload_dir.clone(),
            ports: self.webrtc_ports,
            // Settings that make no sense are refused where the store of definitions is opened.
            forbidden: sinks().ok().and_then(|sinks| sinks.forbidden()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        webrtc: WebrtcArgs,
    }

    #[test]
    fn defaults_are_those_of_the_layer() {
        use clap::Parser;
        let only = Only::try_parse_from(["x"]).unwrap();
        assert_eq!(only.webrtc.settings(), Settings::default());
        let ports = Only::try_parse_from(["x", "--webrtc-ports", "40000-40100"]).unwrap();
        assert_eq!(ports.webrtc.settings().ports, Some((40_000, 40_100)));
        for wrong in ["40000", "9-10", "50000-40000", "a-b"] {
            assert!(Only::try_parse_from(["x", "--webrtc-ports", wrong]).is_err());
        }
    }
}
