//! References to video as clients write them: which texts are taken at all (server specification
//! 4.7), and which source each means.

use crate::sources::SourceUri;

const REFUSED: &str = "Stream requests require a camera index, supported URL, or an absolute/explicit relative file path (for example ./video.mp4). Bare identifiers and raw GStreamer syntax are disabled. Trusted administrators may explicitly set ALLOW_UNSAFE_GSTREAMER_PIPELINES=True.";

/// Schemes of the reference, and the two of millrace's own that only name a source.
const SCHEMES: &[&str] = &[
    "http",
    "https",
    "rtsp",
    "rtsps",
    "rtspt",
    "rtspst",
    "rtmp",
    "rtmps",
    "udp",
    "srt",
    "rtp",
    "tcp",
    "file",
    "csi",
    "v4l2",
    "videotestsrc",
];
/// Schemes whose addresses have no host.
const WITHOUT_HOST: &[&str] = &["file", "csi", "v4l2", "videotestsrc"];

/// The source that a text means.
///
/// # Errors
/// In words, without secrets.
pub(super) fn parse(text: &str) -> Result<SourceUri, String> {
    if !is_plain(text) {
        return Err(REFUSED.into());
    }
    text.parse()
        .map_err(|e: crate::sources::SourceError| e.to_string())
}

/// The source that a camera index means.
///
/// # Errors
/// In words.
pub(super) fn camera(index: u64) -> Result<SourceUri, String> {
    let text = index.to_string();
    text.parse()
        .map_err(|e: crate::sources::SourceError| e.to_string())
}

/// Whether a text can be nothing but an address or an explicit path.
fn is_plain(text: &str) -> bool {
    if text.is_empty() || text.chars().any(|c| u32::from(c) < 32) {
        return false;
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return is_path(text);
    };
    let scheme = scheme.to_ascii_lowercase();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    SCHEMES.contains(&&*scheme)
        && !text
            .chars()
            .any(|c| c.is_whitespace() || matches!(c, '"' | '\''))
        && (WITHOUT_HOST.contains(&&*scheme) || !host.is_empty())
        && (scheme != "csi" || (!rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())))
}

fn is_path(text: &str) -> bool {
    let explicit = ["/", "./", "../", ".\\", "..\\"];
    let mut drive = text.chars();
    let on_drive = matches!(
        (drive.next(), drive.next(), drive.next()),
        (Some('a'..='z' | 'A'..='Z'), Some(':'), Some('\\' | '/'))
    );
    (on_drive || explicit.iter().any(|start| text.starts_with(start)))
        && !text.contains(['!', '=', '"', '\'', '`'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_explicit_paths_pass() {
        for text in [
            "/a/b.mp4",
            "./v.mp4",
            "../v.mp4",
            "rtsp://u:p@cam:554/a?x=1",
            "http://10.0.0.1/m",
            "file:///a.mp4",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "video.mp4",
            "videotestsrc ! appsink",
            "./a=b.mp4",
            "/a!b",
            "rtsp:///nohost",
            "rtsp://cam/a b",
            "gopher://x/y",
            "a\nb",
            "csi://x",
            "rtsp://u@/x",
        ] {
            assert_eq!(parse(text), Err(REFUSED.to_owned()), "{text:?}");
        }
        let told = parse("rtmp://u:hunter2@host/live").unwrap_err();
        assert!(!told.contains("hunter2"), "{told}");
    }
}
