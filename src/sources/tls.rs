//! Whose certificates are trusted: those of the machine's authorities, of an authority of one's own,
//! or one certificate only, known by its fingerprint.
//!
//! GStreamer checks the chain, the host and the dates against a list of authorities; what fails
//! comes to [`guard_rtsp`], which knows about pinned certificates. With a pin the list is as good as
//! empty, so that every certificate comes here, also one that a public authority has signed.

use std::fmt;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crossbeam_channel::Sender;
use gio::prelude::*;
use gstreamer as gst;
use sha2::{Digest, Sha256};

use super::chain::internal;
use super::supervisor::Signal;
use super::{SourceError, SourceSpec};
use crate::redact::Redacted;

/// An authority whose key nobody has, so that it signs nothing. GStreamer takes no empty list.
const NOBODY: &[u8] = b"-----BEGIN CERTIFICATE-----\n\
MIIBeDCCAR2gAwIBAgIUCugCERMId53yuXBWI7KnG4JgPRswCgYIKoZIzj0EAwIw\n\
ETEPMA0GA1UEAwwGbm9ib2R5MB4XDTI2MTEyMjAyMzkxN1oXDTI2MTEyMzAyMzkx\n\
N1owETEPMA0GA1UEAwwGbm9ib2R5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n\
FDBXccRTuDdVkXpoNrHs4UaDk9NdLyScW4d7c9Rd+mQZbB2KMXTiMA1oEKgjVX/u\n\
XSMhuyL+ImzUHNAbOyIr/KNTMFEwHQYDVR0OBBYEFAEOj9Gc1+YAhdPFTgpQujZ8\n\
797kMB8GA1UdIwQYMBaAFAEOj9Gc1+YAhdPFTgpQujZ8797kMA8GA1UdEwEB/wQF\n\
MAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAOM6eidN1xhkwrobIAKOkZ/C7XEwC5tM\n\
4xRbnZVQ/hweAiEAhYL2m0C8VgAKoiRiJgUk3/Kz3Sppm5YieLeYeNi9CkQ=\n\
-----END CERTIFICATE-----\n";

/// Which certificates are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// File with the certificates of the authorities to trust, in PEM, instead of those of the
    /// machine.
    pub ca: Option<PathBuf>,
    /// The one certificate to trust, whoever signed it, whatever host and dates are in it. For
    /// `rtsps`.
    pub pin: Option<Fingerprint>,
}

/// SHA-256 of a certificate in its binary form (DER); what
/// `openssl x509 -noout -fingerprint -sha256` prints.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl FromStr for Fingerprint {
    type Err = SourceError;

    /// Reads 64 hexadecimal digits, with or without colons between them.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| SourceError::Option {
            option: "pin",
            reason: "it is the SHA-256 of the certificate, 64 hexadecimal digits".to_owned(),
        })?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Sets up which certificates `rtspsrc` accepts. A certificate that is not trusted is an error that
/// goes to `signals`.
pub(crate) fn guard_rtsp(
    source: &gst::Element,
    spec: &SourceSpec,
    name: &Redacted,
    signals: &Sender<Signal>,
) -> Result<(), SourceError> {
    let trusted = match (spec.tls.pin, &spec.tls.ca) {
        (Some(_), _) => Some(nobody()?),
        (None, Some(file)) => Some(authorities(file)?),
        (None, None) => None,
    };
    if let Some(trusted) = trusted {
        source.set_property("tls-database", trusted);
    }
    let (pin, check) = (spec.tls.pin, spec.check_certificate);
    let (name, signals) = (name.clone(), signals.clone());
    source.connect("accept-certificate", false, move |args| {
        let seen = args
            .get(2)
            .and_then(|v| v.get::<gio::TlsCertificate>().ok())
            .and_then(|certificate| certificate.certificate())
            .map(|der| Fingerprint::of(&der));
        let accepted = match pin {
            Some(pin) => seen == Some(pin),
            None => !check,
        };
        if !accepted {
            let reason = match (pin, seen) {
                (Some(_), Some(seen)) => format!("it is not the pinned one but {seen}"),
                _ => "expired, for another host, or signed by nobody known here".to_owned(),
            };
            let _ = signals.try_send(Signal::Fault(SourceError::Certificate {
                source_name: name.clone(),
                reason,
            }));
        }
        Some(accepted.to_value())
    });
    Ok(())
}

/// A list on which nobody is. GStreamer reads lists from files only; this one is in memory.
fn nobody() -> Result<gio::TlsDatabase, SourceError> {
    let file = rustix::fs::memfd_create("nobody", rustix::fs::MemfdFlags::CLOEXEC)
        .map(std::fs::File::from)
        .map_err(internal)?;
    (&file).write_all(NOBODY).map_err(internal)?;
    authorities(&PathBuf::from(format!(
        "/proc/self/fd/{}",
        file.as_raw_fd()
    )))
}

/// The authorities in a PEM file.
pub(crate) fn authorities(file: &Path) -> Result<gio::TlsDatabase, SourceError> {
    let wrong = |reason: String| SourceError::Option {
        option: "ca",
        reason: format!("{} cannot be read ({reason})", file.display()),
    };
    let file = std::path::absolute(file).map_err(|e| wrong(e.to_string()))?;
    gio::TlsFileDatabase::new(file)
        .map(|database| database.upcast())
        .map_err(|e| wrong(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_with_and_without_colons() {
        let print = Fingerprint::of(b"certificate");
        let plain = print.to_string();
        assert_eq!(plain.len(), 64);
        let pairs: Vec<&str> = (0..32).map(|i| &plain[2 * i..2 * i + 2]).collect();
        let with_colons = pairs.join(":").to_uppercase();
        assert_eq!(plain.parse::<Fingerprint>().unwrap(), print);
        assert_eq!(with_colons.parse::<Fingerprint>().unwrap(), print);
        for wrong in ["", "ab:cd", "zz"] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }
}
