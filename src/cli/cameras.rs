//! Arguments that say how cameras are connected to.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::sources::{Fingerprint, RtspTransport, SourceSpec, SourceUri};

/// How cameras are connected to; for all sources of a command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cameras")]
pub struct CameraArgs {
    /// Way of RTP packets: auto (TCP, and UDP if the camera refuses that), tcp, udp, or http (TCP inside
    /// HTTP).
    #[arg(long, value_name = "WAY", default_value = "auto")]
    pub rtsp_transport: RtspTransport,
    /// How long RTP packets wait for those that were overtaken, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "0.1", value_parser = seconds)]
    pub rtsp_latency: Duration,
    /// Authorities that sign certificates of rtsps and https sources, instead of those that the machine
    /// trusts.
    #[arg(long, value_name = "FILE.pem")]
    pub tls_ca: Option<PathBuf>,
    /// SHA-256 of the only certificate that rtsps sources may have, whoever signed it.
    #[arg(long, value_name = "SHA256")]
    pub tls_pin: Option<Fingerprint>,
    /// Accept every certificate.
    #[arg(long, conflicts_with_all = ["tls_ca", "tls_pin"])]
    pub tls_unchecked: bool,
    /// Silence after which a camera counts as lost, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub camera_silence: Duration,
    /// How long a new connection may take to its first frame, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub camera_connect: Duration,
    /// Longest wait between two attempts, in seconds. A camera whose port answers is tried about every
    /// second.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub camera_wait: Duration,
    /// Failed attempts in a row after which a camera is given up; never without.
    #[arg(long, value_name = "N")]
    pub camera_attempts: Option<u32>,
}

impl CameraArgs {
    /// Puts the arguments into the settings of a source.
    pub(super) fn apply(&self, spec: &mut SourceSpec) {
        spec.rtsp.transport = self.rtsp_transport;
        spec.rtsp.latency = self.rtsp_latency;
        spec.tls.ca = self.tls_ca.clone();
        spec.tls.pin = self
            .tls_pin
            .filter(|_| matches!(spec.uri, SourceUri::Rtsp(_)));
        spec.check_certificate = !self.tls_unchecked;
        spec.reconnect.silence = self.camera_silence;
        spec.reconnect.connect = self.camera_connect;
        spec.reconnect.max = self.camera_wait;
        spec.reconnect.attempts = self.camera_attempts;
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "it is a number of seconds".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        cameras: CameraArgs,
    }

    fn spec(uri: &str, args: &[&str]) -> SourceSpec {
        let args = std::iter::once("run").chain(args.iter().copied());
        let mut spec = SourceSpec::new(uri.parse().unwrap());
        Command::parse_from(args).cameras.apply(&mut spec);
        spec
    }

    #[test]
    fn without_arguments_nothing_changes() {
        let plain = SourceSpec::new("rtsps://cam/x".parse().unwrap());
        assert_eq!(spec("rtsps://cam/x", &[]), plain);
    }

    #[test]
    fn arguments_reach_the_sources_that_they_are_for() {
        let pin = "ab".repeat(32);
        let args = [
            "--rtsp-transport=http",
            "--tls-pin",
            &pin,
            "--camera-silence=2.5",
            "--camera-attempts=3",
        ];
        let camera = spec("rtsps://cam/x", &args);
        assert_eq!(camera.rtsp.transport, RtspTransport::Http);
        assert_eq!(camera.tls.pin.unwrap().to_string(), pin);
        assert_eq!(camera.reconnect.silence, Duration::from_millis(2500));
        assert_eq!(camera.reconnect.attempts, Some(3));
        assert_eq!(spec("https://cam/x.m3u8", &args).tls.pin, None);
        for wrong in [["--tls-pin=xyz"], ["--camera-silence=-1"]] {
            assert!(Command::try_parse_from(["run"].into_iter().chain(wrong)).is_err());
        }
    }
}
