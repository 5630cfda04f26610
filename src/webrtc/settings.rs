//! How sessions behave.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::network::PlatformPlaces;

/// Settings of all sessions of a process. The variables are those of the reference where it has one.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `WEBRTC_WORKER_ENABLED`, true: whether there are sessions at all.
    pub enabled: bool,
    /// `WEBRTC_REALTIME_PROCESSING`, true: whether a session that does not say leaves frames out
    /// that it cannot keep up with.
    pub realtime: bool,
    /// `WEBRTC_DATA_CHANNEL_BUFFER_SIZE_LIMIT`, 32 MiB: bytes that may wait for a slow client.
    pub buffer_bytes: u64,
    /// `WEBRTC_DATA_CHANNEL_BUFFER_DRAINING_DELAY`, 0.1 s: how often a full buffer is looked at.
    pub drain_delay: Duration,
    /// `WEBRTC_DATA_CHANNEL_ACK_WINDOW`, 1: frames ahead of the last acknowledged one.
    pub ack_window: u64,
    /// `WEBRTC_GZIP_PREVIEW_FRAME_COMPRESSION`, true.
    pub gzip: bool,
    /// `WEBRTC_PREVIEW_FRAME_JPEG_QUALITY`, 80: quality of pictures among the data, 1 to 100.
    pub jpeg_quality: u8,
    /// `WEBRTC_MJPEG_ALLOW_NON_GLOBAL_ADDRESSES`, false.
    pub private_mjpeg: bool,
    /// `WEBRTC_WORKSPACE_STREAM_QUOTA`, if `WEBRTC_WORKSPACE_STREAM_QUOTA_ENABLED`: sessions of one
    /// workspace at once.
    pub quota: Option<usize>,
    /// `WEBRTC_MODAL_FUNCTION_TIME_LIMIT`, 3600 s: how long a session runs that does not say.
    pub timeout: Duration,
    /// `WEBRTC_MODAL_FUNCTION_MAX_TIME_LIMIT`, a week: how long a session may ask to run.
    pub max_timeout: Duration,
    /// `MILLRACE_WEBRTC_SESSIONS`, 16: sessions at once.
    pub max_sessions: usize,
    /// `MILLRACE_WEBRTC_CONNECT_SECONDS`, 30 s: how long a client may take to connect, and how long
    /// an upload may pause.
    pub connect: Duration,
    /// `MILLRACE_WEBRTC_SILENCE_SECONDS`, 12 s: silence after which a connected client counts as gone.
    pub silence: Duration,
    /// `MILLRACE_WEBRTC_UPLOAD_MIB`, 1024: size of an uploaded video.
    pub upload_bytes: u64,
    /// `MILLRACE_WEBRTC_UPLOADS_MIB`, 4096: size of all uploaded videos at one time.
    pub uploads_bytes: u64,
    /// `MILLRACE_WEBRTC_UPLOAD_DIR`, `/tmp`: where uploaded videos lie while their session runs.
    pub upload_dir: PathBuf,
    /// `MILLRACE_WEBRTC_PORTS`: first and last UDP port for media; any if not set.
    pub ports: Option<(u16, u16)>,
    /// Where nothing is sent, in offline mode: servers there that a client names are left out.
    pub forbidden: Option<Arc<PlatformPlaces>>,
}

impl Default for Settings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            enabled: true,
            realtime: true,
            buffer_bytes: 32 << 20,
            drain_delay: Duration::from_millis(100),
            ack_window: 1,
            gzip: true,
            jpeg_quality: 80,
            private_mjpeg: false,
            quota: None,
            timeout: seconds(3_600),
            max_timeout: seconds(604_800),
            max_sessions: 16,
            connect: seconds(30),
            silence: seconds(12),
            upload_bytes: 1 << 30,
            uploads_bytes: 4 << 30,
            upload_dir: PathBuf::from("/tmp"),
            ports: None,
            forbidden: None,
        }
    }
}
