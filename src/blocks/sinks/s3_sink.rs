//! Writes texts as objects to an S3 bucket.
//!
//! # Inputs and outputs
//! `content` becomes an object of its own (`separate_files`), or goes behind the entries before it,
//! and the whole object is written again until it holds `max_entries_per_file` (`append_log`). Keys
//! hold both prefixes and the local time. `error_status` and `message` tell what became of it.
//!
//! # State
//! Per stream, the key and the entries of the log.
//!
//! # Edge cases
//! Credentials come from the workflow alone, never from the machine. The step waits for the first
//! attempt; what fails for a passing reason is tried again in the background where there is one, out
//! of the outbox if there is one, and the report tells of the failure all the same. The reference
//! stops the stream for up to seven seconds and then gives up. A log keeps the entry that failed for
//! its next object. Signatures are valid for seven days, so an object may wait as long.

mod signature;

use std::time::Duration;

use super::entry::{self, Written};
use super::report::{OUTPUTS, Report};
use super::sending::{deliver, post};
use super::shapes::{CHOSEN_SECRET_OR_NULL, CHOSEN_TEXT, CHOSEN_TEXT_OR_NULL};
use crate::blocks::state::PerStream;
use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Role};
use crate::delivery::{AddressPolicy, Request, RequestError};

use signature::Signer;

const NO_CREDENTIALS: &str = "S3 sink requires `aws_access_key_id` and `aws_secret_access_key` to be provided by the workflow. The server's ambient AWS credentials are not used.";
const REGION: &str = "us-east-1";
const TIMEOUT: Duration = Duration::from_secs(30);

/// `roboflow_core/s3_sink@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/s3_sink@v1"],
    name: "S3 Sink",
    family: Family::Sink,
    about: "Writes texts as objects to an S3 bucket.",
    fields: FIELDS,
    outputs: OUTPUTS,
    role: Role::Sink,
    check: Some(entry::check),
    build: |_, _| Ok(Box::new(S3Sink::default())),
    ..BlockSpec::DEFAULT
};

const FIELDS: &[Field] = &[
    entry::CONTENT,
    entry::FILE_TYPE,
    entry::OUTPUT_MODE,
    Field::required("bucket_name", CHOSEN_TEXT).about("Bucket."),
    Field::optional("s3_prefix", CHOSEN_TEXT, r#""""#)
        .about("Start of the key of each object.")
        .always_visible(),
    entry::FILE_NAME_PREFIX,
    entry::MAX_ENTRIES,
    Field::optional("aws_access_key_id", CHOSEN_SECRET_OR_NULL, "null")
        .about("Identifier of the key."),
    Field::optional("aws_secret_access_key", CHOSEN_SECRET_OR_NULL, "null").about("The key."),
    Field::optional("aws_region", CHOSEN_TEXT_OR_NULL, "null").about("Region of the bucket."),
];

#[derive(Default)]
struct S3Sink {
    logs: PerStream<Option<Log>>,
}

/// The object that is added to.
struct Log {
    key: String,
    entries: usize,
    text: String,
}

impl Block for S3Sink {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        if let Some(off) = Report::off_by_policy(cx) {
            return Ok(off.plain());
        }
        let written = Written::read(inputs)?;
        let bucket = Bucket::read(inputs)?;
        if !written.appends {
            let key = bucket.key(&written, cx);
            let report = bucket.put(&key, written.content.to_owned(), &written, cx);
            return Ok(report.plain());
        }
        let log = self.logs.get(cx.stream, || None);
        let fresh = log.as_ref().is_none_or(|log| log.entries >= written.most);
        let entry = match written.entry(fresh) {
            Ok(entry) => entry,
            Err(reason) => return Ok(Report::failed(reason).plain()),
        };
        if fresh {
            *log = None;
        }
        let log = log.get_or_insert_with(|| Log {
            key: bucket.key(&written, cx),
            entries: 0,
            text: String::new(),
        });
        log.entries += 1;
        log.text.push_str(&entry);
        let report = bucket.put(&log.key, log.text.clone(), &written, cx);
        Ok(report.plain())
    }
}

/// Where objects go.
struct Bucket<'a> {
    name: &'a str,
    prefix: &'a str,
    signer: Signer<'a>,
}

impl<'a> Bucket<'a> {
    fn read(inputs: &Inputs<'a>) -> Result<Self, BlockError> {
        let read = |field| -> Result<Option<&'a str>, BlockError> {
            let text = inputs.optional(field, |inputs, field| inputs.text(field))?;
            Ok(text.filter(|text| !text.is_empty()))
        };
        let (Some(id), Some(secret)) = (read("aws_access_key_id")?, read("aws_secret_access_key")?)
        else {
            return Err(BlockError::failed(NO_CREDENTIALS));
        };
        Ok(Self {
            name: inputs.text("bucket_name")?,
            prefix: inputs.text("s3_prefix")?.trim_end_matches('/'),
            signer: Signer {
                id,
                secret,
                region: read("aws_region")?.unwrap_or(REGION),
            },
        })
    }

    fn key(&self, written: &Written<'_>, cx: &Context<'_>) -> String {
        let name = written.name(0, cx);
        match self.prefix {
            "" => name,
            prefix => format!("{prefix}/{name}"),
        }
    }

    fn put(&self, key: &str, text: String, written: &Written<'_>, cx: &Context<'_>) -> Report {
        let request = match self.request(key, text, written, cx) {
            Ok(request) => request,
            Err(error) => return Report::failed(error.to_string()),
        };
        let trouble = match deliver(request.clone(), cx) {
            Ok(_) => {
                let place = format!("s3://{}/{key}", self.name);
                return Report::done(format!("Data saved successfully to {place}"));
            }
            Err(trouble) => trouble,
        };
        let failure = &trouble.failure;
        let later = || Report::failed(format!("{failure}; the object waits and is sent later"));
        if trouble.kept {
            return later();
        }
        if failure.retry() && cx.services.dispatcher.settings().background {
            return match post(request, cx) {
                Ok(()) => later(),
                Err(error) => Report::failed(format!("{failure}; {error}")),
            };
        }
        Report::failed(failure.to_string())
    }

    fn request(
        &self,
        key: &str,
        text: String,
        written: &Written<'_>,
        cx: &Context<'_>,
    ) -> Result<Request, RequestError> {
        let endpoint = cx.services.sinks.settings.s3.as_deref();
        let seconds = cx.now().unix_seconds() as i64;
        let url = self.signer.put(endpoint, self.name, key, seconds);
        // Only a bucket's name is the definition's; it cannot lead away from the service.
        let request = Request::new("PUT", &url, AddressPolicy::Any)?.timeout(TIMEOUT);
        let media_type = written.media_type().as_bytes();
        let request = request.header("content-type", media_type)?;
        Ok(request.body(
            reqwest::header::HeaderValue::from_static("text/plain"),
            text,
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::BLOCK;
    use crate::blocks::Services;
    use crate::blocks::sinks::testing::Bench;

    #[test]
    fn credentials_of_the_machine_are_not_used() {
        let fields = json!({"content": "x", "output_mode": "separate_files", "bucket_name": "b"});
        let mut bench = Bench::new(&BLOCK, fields, Services::default());
        let error = bench.run("a").unwrap_err().to_string();
        assert!(
            error.contains("ambient AWS credentials are not used"),
            "{error}"
        );
    }
}
