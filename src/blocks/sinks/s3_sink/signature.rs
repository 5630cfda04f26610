//! Addresses that allow one request to S3, as Signature Version 4 has them (query form, unsigned
//! payload): <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>.

use chrono::DateTime;
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};

/// Seconds for which an address is valid: the longest that the service allows.
const VALID: u32 = 7 * 24 * 3600;

/// Who signs.
pub(super) struct Signer<'a> {
    pub(super) id: &'a str,
    pub(super) secret: &'a str,
    pub(super) region: &'a str,
}

impl Signer<'_> {
    /// The address to put an object to, from `now` (seconds since 1970) on. A service in place of
    /// Amazon's has the bucket in the path.
    pub(super) fn put(&self, endpoint: Option<&str>, bucket: &str, key: &str, now: i64) -> String {
        match endpoint {
            Some(base) => self.signed("PUT", base, &format!("/{bucket}/{key}"), now, VALID),
            // The name would be a host, so one that cannot be goes into the path.
            None if !is_host(bucket) => {
                let base = format!("https://s3.{}.amazonaws.com", self.region());
                self.signed("PUT", &base, &format!("/{bucket}/{key}"), now, VALID)
            }
            None => {
                let base = format!("https://{bucket}.s3.{}.amazonaws.com", self.region());
                self.signed("PUT", &base, &format!("/{key}"), now, VALID)
            }
        }
    }

    /// The region as a part of a host: nothing that ends one.
    fn region(&self) -> String {
        let allowed = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
        self.region.chars().filter(allowed).collect()
    }

    fn signed(&self, method: &str, base: &str, path: &str, now: i64, valid: u32) -> String {
        let time = DateTime::from_timestamp(now, 0).unwrap_or_default();
        let (stamp, day) = (time.format("%Y%m%dT%H%M%SZ"), time.format("%Y%m%d"));
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let host = base.split_once("://").map_or(base, |(_, host)| host);
        let path = encoded(path, true);
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={stamp}\
             &X-Amz-Expires={valid}&X-Amz-SignedHeaders=host",
            encoded(&format!("{}/{scope}", self.id), false)
        );
        let canonical = format!("{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}");
        let day = day.to_string();
        let parts = [&*day, self.region, "s3", "aws4_request", &*text];
        let first = format!("AWS4{}", self.secret).into_bytes();
        let signature = parts.iter().fold(first, |key, part| hmac(&key, part));
        let signature = hex::encode(signature);
        format!("{base}{path}?{query}&X-Amz-Signature={signature}")
    }
}

/// Whether a bucket's name can be the first part of a host that a certificate covers.
fn is_host(bucket: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !bucket.is_empty() && bucket.chars().all(allowed)
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes a key of any length, so there is nothing to fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Every byte but letters, digits and `-._~` as `%XX`; a slash stays in a path.
fn encoded(text: &str, path: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if plain || (path && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNER: Signer<'_> = Signer {
        id: "AKIAIOSFODNN7EXAMPLE",
        secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region: "us-east-1",
    };

    #[test]
    fn the_signature_of_the_services_own_example() {
        // Example of the page named above.
        let base = "https://examplebucket.s3.amazonaws.com";
        let url = SIGNER.signed("GET", base, "/test.txt", 1_369_353_600, 86_400);
        let expected = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        assert!(
            url.ends_with(&format!("&X-Amz-Signature={expected}")),
            "{url}"
        );
        assert!(url.contains("X-Amz-Date=20130524T000000Z"));
    }

    #[test]
    fn a_bucket_is_a_host_or_a_path_and_leads_nowhere_else() {
        let put = |endpoint, bucket| SIGNER.put(endpoint, bucket, "a b/c\u{e9}", 0);
        assert!(
            put(None, "data").starts_with("https://data.s3.us-east-1.amazonaws.com/a%20b/c%C3%A9?")
        );
        let odd = put(None, "evil.example/x@");
        assert!(
            odd.starts_with("https://s3.us-east-1.amazonaws.com/evil.example/x%40/"),
            "{odd}"
        );
        let other = put(Some("http://127.0.0.1:5000"), "data");
        assert!(
            other.starts_with("http://127.0.0.1:5000/data/a%20b/"),
            "{other}"
        );
    }
}
