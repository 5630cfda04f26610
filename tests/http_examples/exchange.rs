//! The recorded exchanges, with what the recordings have cut put back.

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

/// Where the recordings are, a folder for each group.
pub const FOLDER: &str = "fixtures/http-examples";

/// The offer of a client for data channels, whole where the recording has a cut one.
const OFFER: &str = "v=0\r\no=- 4004279696 4004279696 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
    a=group:BUNDLE 0\r\na=msid-semantic:WMS *\r\n\
    m=application 59146 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 127.0.0.1\r\na=mid:0\r\n\
    a=sctp-port:5000\r\na=max-message-size:65536\r\na=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n";

/// A recorded exchange.
pub struct Exchange {
    pub name: String,
    pub request: Json,
    pub response: Json,
}

pub fn exchange(name: &str) -> Exchange {
    let text = std::fs::read_to_string(format!("{FOLDER}/{name}.json")).expect(name);
    let mut json: Json = serde_json::from_str(&text).expect(name);
    Exchange {
        name: name.to_owned(),
        request: json["request"].take(),
        response: json["response"].take(),
    }
}

pub fn names(folder: &str) -> Vec<String> {
    let mut names: Vec<String> = Path::new(FOLDER)
        .join(folder)
        .read_dir()
        .expect(folder)
        .map(|entry| entry.expect("entry").path())
        .map(|path| format!("{folder}/{}", path.file_stem().unwrap().to_str().unwrap()))
        .collect();
    names.sort();
    names
}

/// The recorded picture, in the forms in which it was sent.
pub fn png() -> String {
    let plain = exchange("server/image_plain_base64");
    let text = plain.request["body"]["inputs"]["image"].as_str();
    text.expect("an image").to_owned()
}

fn jpeg() -> String {
    let bytes = STANDARD.decode(png()).unwrap();
    let picture = image::load_from_memory(&bytes).unwrap().to_rgb8();
    let mut out = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, 95);
    picture.write_with_encoder(encoder).unwrap();
    STANDARD.encode(out)
}

/// Puts whole pictures where the recordings have cut ones, and the stand-in's address where they
/// name the platform's.
pub fn completed(value: &Json, host: SocketAddr) -> Json {
    match value {
        Json::String(text) if text.ends_with("base64 chars>") => jpeg().into(),
        Json::String(text) if text.ends_with("<sdp cut>") => OFFER.into(),
        Json::String(text) => text.replace("platform.example", &host.to_string()).into(),
        Json::Array(items) => items.iter().map(|item| completed(item, host)).collect(),
        Json::Object(entries) => entries
            .iter()
            .map(|(name, item)| (name.clone(), completed(item, host)))
            .collect(),
        other => other.clone(),
    }
}

/// JSON with the blanks that the recording client put; refusals quote it.
pub fn python_text(json: &Json) -> String {
    struct Blanks;
    impl serde_json::ser::Formatter for Blanks {
        fn begin_array_value<W: ?Sized + std::io::Write>(
            &mut self,
            out: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            out.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_key<W: ?Sized + std::io::Write>(
            &mut self,
            out: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            out.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_value<W: ?Sized + std::io::Write>(
            &mut self,
            out: &mut W,
        ) -> std::io::Result<()> {
            out.write_all(b": ")
        }
    }
    let mut text = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut text, Blanks);
    serde::Serialize::serialize(json, &mut writer).unwrap();
    String::from_utf8(text).unwrap()
}

/// Answers may name the stand-in too; cut pictures stay cut.
pub fn completed_answer(value: &Json, host: SocketAddr) -> Json {
    let text = value
        .to_string()
        .replace("platform.example", &host.to_string());
    serde_json::from_str(&text).unwrap()
}

/// Bodies that the recordings cut because they are no text.
pub fn special_body(exchange: &Exchange) -> Option<Vec<u8>> {
    let picture = STANDARD.decode(png()).unwrap();
    let form = |part: &str| {
        let head = format!(
            "--BOUND\r\nContent-Disposition: form-data; name=\"{part}\"; filename=\"a.png\"\r\n\
             Content-Type: image/png\r\n\r\n"
        );
        [head.as_bytes(), &picture, b"\r\n--BOUND--\r\n"].concat()
    };
    match exchange.name.as_str() {
        "server/legacy_multipart" => Some(form("file")),
        "errors/err_legacy_multipart_wrong_part" => Some(form("wrong")),
        "errors/err_legacy_raw_bytes" => Some(picture.clone()),
        _ => None,
    }
}
