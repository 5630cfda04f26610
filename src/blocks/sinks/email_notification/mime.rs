//! Letters as mail servers take them.

use std::time::{Duration, SystemTime};

use lettre::message::header::ContentType;
use lettre::message::{Attachment, Mailbox, MessageBuilder, MultiPart, SinglePart};

/// Everything that a mail says.
pub(super) struct Letter {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) cc: Vec<String>,
    pub(super) bcc: Vec<String>,
    pub(super) subject: String,
    pub(super) body: String,
    pub(super) html: bool,
    /// Images that the body shows.
    pub(super) images: Vec<Part>,
    pub(super) attachments: Vec<Part>,
    /// Seconds since 1970.
    pub(super) date: f64,
}

/// A file, or an image that the body shows by its name.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) content: Vec<u8>,
}

impl Letter {
    /// Everybody who gets it, and the text for the server, which does not name those of `bcc`.
    pub(super) fn write(&self) -> Result<(Vec<String>, Vec<u8>), String> {
        let mailbox = |address: &String| {
            let parsed = address.trim().parse::<Mailbox>();
            parsed.map_err(|_| format!("`{address}` is no mail address"))
        };
        let since = Duration::try_from_secs_f64(self.date).unwrap_or_default();
        let mut builder = MessageBuilder::new()
            .from(mailbox(&self.from)?)
            .subject(self.subject.as_str())
            .date(SystemTime::UNIX_EPOCH + since);
        let mut everybody = Vec::new();
        for address in &self.to {
            let person = mailbox(address)?;
            everybody.push(person.email.to_string());
            builder = builder.to(person);
        }
        for address in &self.cc {
            let person = mailbox(address)?;
            everybody.push(person.email.to_string());
            builder = builder.cc(person);
        }
        for address in &self.bcc {
            everybody.push(mailbox(address)?.email.to_string());
        }
        let message = builder.multipart(self.parts()?);
        let message = message.map_err(|error| error.to_string())?;
        Ok((everybody, message.formatted()))
    }

    fn parts(&self) -> Result<MultiPart, String> {
        let mut parts = match self.html {
            true => MultiPart::related().singlepart(SinglePart::html(self.body.clone())),
            false => MultiPart::mixed().singlepart(SinglePart::plain(self.body.clone())),
        };
        for image in &self.images {
            let part = Attachment::new_inline(image.name.clone());
            parts = parts.singlepart(part.body(image.content.clone(), kind("image/jpeg")?));
        }
        for file in &self.attachments {
            let part = Attachment::new(file.name.clone());
            let octets = kind("application/octet-stream")?;
            parts = parts.singlepart(part.body(file.content.clone(), octets));
        }
        Ok(parts)
    }
}

fn kind(text: &str) -> Result<ContentType, String> {
    ContentType::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> Letter {
        Letter {
            from: "me@example.com".into(),
            to: vec!["to@example.com".into(), "Second <b@example.com>".into()],
            cc: vec!["cc@example.com".into()],
            bcc: vec!["bcc@example.com".into()],
            subject: "H\u{e9}llo\r\nBcc: evil@example.com".into(),
            body: "text".into(),
            html: false,
            images: Vec::new(),
            attachments: vec![Part {
                name: "a.csv".into(),
                content: b"1,2".to_vec(),
            }],
            date: 0.0,
        }
    }

    #[test]
    fn everybody_gets_it_and_the_hidden_stay_hidden() {
        let (everybody, message) = letter().write().unwrap();
        let all = [
            "to@example.com",
            "b@example.com",
            "cc@example.com",
            "bcc@example.com",
        ];
        assert_eq!(everybody, all);
        let text = String::from_utf8(message).unwrap();
        assert!(!text.to_lowercase().contains("bcc@example.com"), "{text}");
        assert!(
            !text.contains("\r\nBcc:"),
            "a subject adds no header: {text}"
        );
        assert!(text.contains("Cc: cc@example.com"), "{text}");
        assert!(text.contains("filename=\"a.csv\""), "{text}");
    }

    #[test]
    fn what_is_no_address_is_told() {
        let mut wrong = letter();
        wrong.cc = vec!["nobody".into()];
        assert_eq!(wrong.write().unwrap_err(), "`nobody` is no mail address");
    }
}
