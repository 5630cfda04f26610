//! Base64 text, read as leniently as Python reads it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The text is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is not base64: {reason}")]
pub struct NotBase64 {
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The bytes of base64 text, read as Python's `b64decode` does: characters outside the alphabet
/// are skipped, padding ends the data, missing padding is an error.
pub fn decode_base64(text: &str) -> Result<Vec<u8>, NotBase64> {
    STANDARD
        .decode(text)
        .or_else(|_| decode_base64_leniently(text))
}

fn decode_base64_leniently(text: &str) -> Result<Vec<u8>, NotBase64> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut quad, mut filled, mut pads) = (0u32, 0, 0);
    for c in text.bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' if filled >= 2 => {
                pads += 1;
                if filled + pads >= 4 {
                    return Ok(bytes);
                }
                continue;
            }
            _ => continue,
        };
        pads = 0;
        quad = quad << 6 | u32::from(six);
        match filled {
            0 => filled = 1,
            1 => {
                bytes.push((quad >> 4) as u8);
                filled = 2;
            }
            2 => {
                bytes.push((quad >> 2) as u8);
                filled = 3;
            }
            _ => {
                bytes.push(quad as u8);
                filled = 0;
            }
        }
    }
    match filled {
        0 => Ok(bytes),
        1 => Err(NotBase64 {
            reason: "one character too many",
        }),
        _ => Err(NotBase64 {
            reason: "the padding is missing",
        }),
    }
}

/// The base64 text of bytes.
pub fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_python_reads_it() {
        for (text, want) in [
            ("", Some(&b""[..])),
            ("@@", Some(b"")),
            ("aGVsbG8=", Some(b"hello")),
            ("aGVs\nbG8=", Some(b"hello")),
            ("aGVsbG8=ignored", Some(b"hello")),
            ("aGVsbG8", None),
            ("aGVsb", None),
        ] {
            assert_eq!(decode_base64(text).ok().as_deref(), want, "{text}");
        }
    }
}
