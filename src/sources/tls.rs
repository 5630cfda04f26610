//! Whose certificates are trusted: those of the machine's authorities, of an authority of one's own,
//! or one certificate only, known by its fingerprint.
//!
//! GStreamer checks the chain, the host and the dates against a list of authorities; what fails
//! comes to [`guard_rtsp`], which knows about pinned certificates. With a pin the list is empty, so
//! that every certificate comes here, also one that a public authority has signed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crossbeam_channel::Sender;
use gio::prelude::*;
use gstreamer as gst;
use sha2::{Digest, Sha256};

use super::supervisor::Signal;
use super::{SourceError, SourceSpec};
use crate::redact::Redacted;

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
    let trusted = match spec.tls.pin {
        Some(_) => Some(Path::new("/dev/null")),
        None => spec.tls.ca.as_deref(),
    };
    if let Some(file) = trusted {
        source.set_property("tls-database", authorities(file)?);
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
