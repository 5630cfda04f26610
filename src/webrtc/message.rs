//! The messages of a session as bytes (server specification 4.8).
//!
//! - `inference`, server to client: JSON, gzip-compressed where it has outputs, in chunks of at most
//!   [`CHUNK`] bytes, each behind a header of three little-endian `u32`: frame id, index of the chunk,
//!   number of chunks.
//! - `inference`, client to server: JSON text with any of `ack`, `stream_output`, `data_output`.
//! - `video_upload`, client to server: chunks behind a header of two little-endian `u32`: index,
//!   number of chunks. A message of one byte keeps the connection alive and is sent back.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::values::Timestamp;

/// Most bytes of payload in a message.
pub const CHUNK: usize = 48 * 1024;
/// Longest text that a client may send; the SDK's have a few dozen bytes.
pub const LONGEST_TEXT: usize = 64 * 1024;
/// Longest reason, in characters, for which such a text is not heard.
const LONGEST_REASON: usize = 200;
/// Names of outputs that a client may ask for at once.
const MOST_NAMES: usize = 256;

/// Cuts a payload into messages, in order. `frame` tells clients which chunks belong together.
pub fn chunks(frame: u32, payload: &[u8]) -> impl ExactSizeIterator<Item = Vec<u8>> {
    let total = payload.len().div_ceil(CHUNK);
    payload.chunks(CHUNK).enumerate().map(move |(index, part)| {
        let mut message = Vec::with_capacity(12 + part.len());
        for number in [frame, index as u32, total as u32] {
            message.extend_from_slice(&number.to_le_bytes());
        }
        message.extend_from_slice(part);
        message
    })
}

/// A chunk of an upload: its index, the number of chunks, and its bytes.
///
/// # Errors
/// If the message is shorter than its header.
pub fn upload_chunk(message: &[u8]) -> Result<(u32, u32, &[u8]), BadMessage> {
    let (index, rest) = message.split_first_chunk().ok_or(BadMessage::Short)?;
    let (total, data) = rest.split_first_chunk().ok_or(BadMessage::Short)?;
    Ok((u32::from_le_bytes(*index), u32::from_le_bytes(*total), data))
}

/// What a client says on the channel of results. What it does not mention stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Control {
    /// All frames up to this one are dealt with.
    #[serde(default)]
    pub ack: Option<i64>,
    /// Names of outputs of which the first is shown on the track.
    #[serde(default)]
    pub stream_output: Option<Vec<String>>,
    /// Names of outputs to send, `*` for all but pictures.
    #[serde(default)]
    pub data_output: Option<Vec<String>>,
}

/// A message that is left unheard.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadMessage {
    /// It is longer than [`LONGEST_TEXT`].
    #[error("it has {0} bytes; the longest message has {LONGEST_TEXT}")]
    Long(usize),
    /// It ends within its header.
    #[error("it is shorter than its header")]
    Short,
    /// It is not the JSON that is spoken here.
    #[error("{0}")]
    Json(String),
}

/// Reads what a client says.
///
/// # Errors
/// If it is too long or not of the form above.
pub fn control(text: &str) -> Result<Control, BadMessage> {
    if text.len() > LONGEST_TEXT {
        return Err(BadMessage::Long(text.len()));
    }
    let mut read: Control = serde_json::from_str(text).map_err(|error| {
        // It may repeat all that the client said.
        BadMessage::Json(error.to_string().chars().take(LONGEST_REASON).collect())
    })?;
    let lists = [&mut read.stream_output, &mut read.data_output];
    for names in lists.into_iter().flatten() {
        names.truncate(MOST_NAMES);
    }
    Ok(read)
}

/// What clients are told of a frame besides its outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameFacts {
    /// Number of the result in the session, from 1.
    pub id: u64,
    /// When the frame came.
    pub received_at: Timestamp,
    /// Time since the first result, in 1/90000 s: that of the picture on the track.
    pub pts: u64,
    /// Frames per second that the client declared or the file has.
    pub declared_fps: Option<f64>,
    /// Frames per second as measured.
    pub measured_fps: Option<f64>,
    /// Pixels across and down.
    pub size: (usize, usize),
}

/// Ticks of a second in [`FrameFacts::pts`], the rate of RTP clocks for video.
pub const TICKS: u64 = 90_000;

/// The message on a frame; `own` are millrace's fields beside the reference's.
pub fn frame(
    facts: &FrameFacts,
    data: Option<Map<String, Json>>,
    errors: &[String],
    own: Map<String, Json>,
) -> Json {
    let mut message = json!({
        "serialized_output_data": data,
        "video_metadata": {
            "frame_id": facts.id,
            "received_at": facts.received_at.isoformat(),
            "pts": facts.pts,
            "time_base": 1.0 / TICKS as f64,
            "declared_fps": facts.declared_fps,
            "measured_fps": facts.measured_fps,
            "width": facts.size.0,
            "height": facts.size.1,
        },
        "errors": errors,
        "processing_complete": false,
        "termination_reason": null,
    });
    if let Json::Object(message) = &mut message {
        message.extend(own);
    }
    message
}

/// The last message: no frame comes any more after `frames` of them.
pub fn complete(frames: u64, now: Timestamp, reason: Option<&str>, errors: &[String]) -> Json {
    json!({
        "serialized_output_data": null,
        "video_metadata": {
            "frame_id": frames,
            "received_at": now.isoformat(),
            "pts": null,
            "time_base": null,
            "declared_fps": null,
            "measured_fps": null,
            "width": null,
            "height": null,
        },
        "errors": errors,
        "processing_complete": true,
        "termination_reason": reason,
    })
}

/// Compresses a message as the reference does, at level 6.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::new(6));
    // Writing into memory does not fail; were it to, the message goes as it is, which clients take too.
    match encoder.write_all(bytes).and_then(|()| encoder.finish()) {
        Ok(packed) => packed,
        Err(_) => bytes.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_payload_is_cut_into_chunks_that_name_frame_index_and_number() {
        let payload: Vec<u8> = (0..CHUNK * 2 + 5).map(|i| i as u8).collect();
        let messages: Vec<_> = chunks(7, &payload).collect();
        let sizes: Vec<_> = messages.iter().map(Vec::len).collect();
        assert_eq!(sizes, [12 + CHUNK, 12 + CHUNK, 17]);
        assert_eq!(&messages[1][..12], [7, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]);
        let joined: Vec<u8> = messages.iter().flat_map(|m| m[12..].to_vec()).collect();
        assert_eq!(joined, payload);
        assert_eq!(chunks(1, &payload[..CHUNK]).len(), 1);
    }

    #[test]
    fn chunks_of_uploads_are_read_and_short_ones_refused() {
        let message = [&[2, 0, 0, 0, 5, 1, 0, 0][..], b"abc"].concat();
        assert_eq!(upload_chunk(&message), Ok((2, 261, &b"abc"[..])));
        assert_eq!(upload_chunk(&message[..7]), Err(BadMessage::Short));
        assert_eq!(upload_chunk(&[]), Err(BadMessage::Short));
    }

    #[test]
    fn what_clients_say_is_read_and_nonsense_refused() {
        let ack = control(r#"{"ack": 12, "other": [1]}"#).unwrap();
        assert_eq!(ack.ack, Some(12));
        assert_eq!(ack.data_output, None);
        let change = control(r#"{"data_output": ["a"], "stream_output": []}"#).unwrap();
        assert_eq!(change.data_output, Some(vec!["a".to_owned()]));
        assert_eq!(change.stream_output, Some(Vec::new()));
        for text in [
            "",
            "\"garbage\"",
            "{\"ack\": \"x\"}",
            "{\"data_output\": [3]}",
        ] {
            assert!(matches!(control(text), Err(BadMessage::Json(_))), "{text}");
        }
        let long = " ".repeat(LONGEST_TEXT + 1);
        let Err(BadMessage::Json(told)) = control(&json!({"ack": &long[..1_000]}).to_string())
        else {
            panic!("a text is no number");
        };
        assert!(told.len() <= LONGEST_REASON, "{told}");
        assert_eq!(control(&long), Err(BadMessage::Long(LONGEST_TEXT + 1)));
    }

    #[test]
    fn compressed_messages_begin_as_clients_look_for() {
        let packed = gzip(b"{\"a\": 1}");
        assert_eq!(packed[..2], [0x1f, 0x8b]);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*packed)
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "{\"a\": 1}");
    }

    #[test]
    fn messages_have_the_fields_of_the_reference() {
        let facts = FrameFacts {
            id: 3,
            received_at: Timestamp::from_unix_micros(0),
            pts: 7_200,
            declared_fps: Some(25.0),
            measured_fps: None,
            size: (64, 48),
        };
        let own = Map::from_iter([("definition".to_owned(), json!({"hash": "x"}))]);
        let told = frame(&facts, None, &["late".to_owned()], own);
        assert_eq!(told["video_metadata"]["frame_id"], 3);
        assert_eq!(told["video_metadata"]["pts"], 7_200);
        assert_eq!(told["errors"], json!(["late"]));
        assert_eq!(told["processing_complete"], false);
        assert_eq!(told["definition"]["hash"], "x");
        let last = complete(9, facts.received_at, Some("timeout_reached"), &[]);
        assert_eq!(last["processing_complete"], true);
        assert_eq!(last["termination_reason"], "timeout_reached");
        assert_eq!(last["video_metadata"]["frame_id"], 9);
    }
}
