//! One file from its server to the disk, whole or not at all.
//!
//! Content goes to `<name>.partial` beside the place, under a lock that the reference's library
//! takes too. When a connection breaks, the rest is asked for with `Range`; a file whose MD5 is
//! known is taken up again even after a restart, as it is checked as a whole in any case. Only what
//! passed the check and is on the disk gets its name.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use md5::{Digest, Md5};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, RANGE};
use reqwest::{Client, StatusCode};
use url::Url;

use crate::definitions::platform::reason;
use crate::models::error::FileTrouble;
use crate::models::lock::FileLock;

/// Attempts in a row that bring nothing before a download is given up.
const TRIES: u32 = 4;
/// Wait before the second attempt; each further one is twice as long.
const WAIT: Duration = Duration::from_millis(250);
/// Bytes between two lines of the log.
const LOGGED: u64 = 64 << 20;
/// Bytes that are read from the disk at a time.
const CHUNK: usize = 1 << 20;

/// A download that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// Id of the model.
    pub model: Arc<str>,
    /// Name of the file.
    pub file: Arc<str>,
    /// Bytes that have come.
    pub done: u64,
    /// Bytes of the whole file, if its server told.
    pub total: Option<u64>,
}

/// All downloads that are under way.
#[derive(Debug, Default)]
pub(super) struct Downloads {
    running: DashMap<u64, Arc<Running>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Running {
    model: Arc<str>,
    file: Arc<str>,
    done: AtomicU64,
    /// 0: not known.
    total: AtomicU64,
}

/// A file that is wanted.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Id of the model, for log and figures.
    pub model: &'a str,
    /// Name in the package, for log and figures.
    pub name: &'a str,
    /// Where it is; may be signed, so it is never shown.
    pub url: &'a Url,
    /// Where it goes.
    pub target: &'a Path,
    /// MD5 of its content in lower-case hexadecimal.
    pub md5: Option<&'a str>,
    /// Whether its size is asked for first.
    pub head: bool,
    /// Longest wait for another process that makes no headway.
    pub patience: Duration,
}

/// The end of an attempt.
enum Broke {
    /// It may go on.
    Passing(String),
    /// It may not.
    For(FileTrouble),
}

/// A file as far as it has come.
struct Partial {
    path: PathBuf,
    file: File,
    sum: Md5,
    length: u64,
    etag: Option<String>,
    /// What the server says that the MD5 is.
    announced: Option<String>,
}

impl Downloads {
    /// What is under way now.
    pub fn list(&self) -> Vec<Download> {
        let mut list: Vec<(u64, Download)> = self
            .running
            .iter()
            .map(|entry| {
                let total = entry.total.load(Ordering::Relaxed);
                let download = Download {
                    model: entry.model.clone(),
                    file: entry.file.clone(),
                    done: entry.done.load(Ordering::Relaxed),
                    total: (total > 0).then_some(total),
                };
                (*entry.key(), download)
            })
            .collect();
        list.sort_by_key(|(n, _)| *n);
        list.into_iter().map(|(_, download)| download).collect()
    }

    /// Brings a file to its place, unless it is there when the lock is had.
    pub async fn fetch(&self, client: &Client, want: Wanted<'_>) -> Result<(), FileTrouble> {
        let folder = want.target.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(disk)?;
        let partial = beside(want.target, "", ".partial");
        let lock = beside(want.target, ".", ".lock");
        let headway = || fs::metadata(&partial).map_or(0, |m| m.len());
        let lock = FileLock::take(&lock, want.patience, headway).await;
        let Some(_lock) = lock.map_err(disk)? else {
            return Err(FileTrouble::Locked {
                limit: want.patience,
            });
        };
        if want.target.is_file() && is_whole(want).await? {
            return Ok(());
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let running = Arc::new(Running {
            model: want.model.into(),
            file: want.name.into(),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
        });
        self.running.insert(number, running.clone());
        let _listed = Listed(self, number);
        let result = bring(client, want, partial, &running).await;
        match &result {
            Ok(size) => tracing::info!(
                model = want.model,
                file = want.name,
                bytes = size,
                "downloaded"
            ),
            Err(why) => tracing::warn!(model = want.model, file = want.name, "{why}"),
        }
        result.map(drop)
    }
}

/// Takes a download off the list however it ends.
struct Listed<'a>(&'a Downloads, u64);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.running.remove(&self.1);
    }
}

async fn bring(
    client: &Client,
    want: Wanted<'_>,
    path: PathBuf,
    running: &Running,
) -> Result<u64, FileTrouble> {
    if want.head
        && let Some(size) = size(client, want.url).await
    {
        running.total.store(size, Ordering::Relaxed);
    }
    let mut partial = Partial::open(path, want.md5.is_some()).await?;
    running.done.store(partial.length, Ordering::Relaxed);
    let resumed = partial.length > 0;
    tracing::info!(
        model = want.model,
        file = want.name,
        from = partial.length,
        size = running.total.load(Ordering::Relaxed),
        "downloading"
    );
    partial.fill(client, want, running).await?;
    match partial.check(want.md5) {
        Ok(()) => {}
        // What an earlier run left may be of another time; a fresh copy decides.
        Err(_) if resumed => {
            partial.clear()?;
            partial.fill(client, want, running).await?;
            partial.check(want.md5).inspect_err(|_| partial.discard())?;
        }
        Err(wrong) => {
            partial.discard();
            return Err(wrong);
        }
    }
    let length = partial.length;
    let target = want.target.to_owned();
    off_thread(move || partial.publish(&target)).await?;
    Ok(length)
}

/// Whether what is there is what is wanted. A file whose MD5 is not known counts as such.
async fn is_whole(want: Wanted<'_>) -> Result<bool, FileTrouble> {
    let Some(md5) = want.md5 else {
        return Ok(true);
    };
    let path = want.target.to_owned();
    let found = off_thread(move || Ok(hex::encode(sum_of(&mut File::open(path)?)?.0.finalize())));
    let same = found.await? == md5;
    if !same {
        tracing::warn!(file = %want.target.display(), "is damaged and is downloaded again");
    }
    Ok(same)
}

impl Partial {
    /// What an earlier attempt left, if it may be taken up; else nothing.
    async fn open(path: PathBuf, resume: bool) -> Result<Self, FileTrouble> {
        off_thread(move || {
            let mut file = File::options()
                .create(true)
                .truncate(!resume)
                .read(true)
                .append(resume)
                .write(true)
                .open(&path)?;
            let (sum, length) = sum_of(&mut file)?;
            Ok(Self {
                path,
                file,
                sum,
                length,
                etag: None,
                announced: None,
            })
        })
        .await
    }

    /// Attempts until the file is whole or several in a row bring nothing.
    async fn fill(
        &mut self,
        client: &Client,
        want: Wanted<'_>,
        running: &Running,
    ) -> Result<(), FileTrouble> {
        let (mut idle, mut wait) = (0, WAIT);
        loop {
            let before = self.length;
            let total = running.total.load(Ordering::Relaxed);
            if total > 0 && self.length == total {
                return Ok(());
            }
            let reason = match self.attempt(client, want, running).await {
                Ok(()) => return Ok(()),
                Err(Broke::For(trouble)) => return Err(trouble),
                Err(Broke::Passing(reason)) => reason,
            };
            if self.length > before {
                (idle, wait) = (0, WAIT);
            }
            idle += 1;
            if idle >= TRIES {
                return Err(FileTrouble::Broken { reason });
            }
            tracing::warn!(
                model = want.model,
                file = want.name,
                at = self.length,
                "the download goes on after a break: {reason}"
            );
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    async fn attempt(
        &mut self,
        client: &Client,
        want: Wanted<'_>,
        running: &Running,
    ) -> Result<(), Broke> {
        let mut request = client.get(want.url.clone());
        if self.length > 0 {
            request = request.header(RANGE, format!("bytes={}-", self.length));
            if let (Some(etag), None) = (&self.etag, want.md5) {
                request = request.header(IF_RANGE, etag);
            }
        }
        let mut response = request.send().await.map_err(passing)?;
        let status = response.status();
        self.accept(status, response.headers())?;
        self.note(response.headers(), status == StatusCode::OK);
        if let Some(rest) = response.content_length() {
            running.total.store(self.length + rest, Ordering::Relaxed);
        }
        let mut logged = self.length;
        while let Some(chunk) = response.chunk().await.map_err(passing)? {
            self.append(&chunk).map_err(|e| Broke::For(disk(e)))?;
            running.done.store(self.length, Ordering::Relaxed);
            if self.length - logged >= LOGGED {
                logged = self.length;
                let size = running.total.load(Ordering::Relaxed);
                tracing::info!(
                    model = want.model,
                    file = want.name,
                    done = logged,
                    size,
                    "downloading"
                );
            }
        }
        match running.total.load(Ordering::Relaxed) {
            total if total > 0 && self.length < total => Err(Broke::Passing(format!(
                "it ended at {} of {total} bytes",
                self.length
            ))),
            _ => Ok(()),
        }
    }

    /// Whether an answer brings what is missing; where it brings everything, begins anew.
    fn accept(&mut self, status: StatusCode, headers: &HeaderMap) -> Result<(), Broke> {
        match status {
            StatusCode::RANGE_NOT_SATISFIABLE if self.length > 0 => {
                self.clear().map_err(Broke::For)?;
                let reason = "what was there is no part of it".into();
                Err(Broke::Passing(reason))
            }
            StatusCode::PARTIAL_CONTENT if starts_at(headers) == Some(self.length) => Ok(()),
            StatusCode::OK => self.clear().map_err(Broke::For),
            status if status.is_success() || matches!(status.as_u16(), 408 | 429 | 500..) => {
                Err(Broke::Passing(format!("it answered {}", status.as_u16())))
            }
            status => Err(Broke::For(FileTrouble::Status {
                status: status.as_u16(),
            })),
        }
    }

    fn note(&mut self, headers: &HeaderMap, whole: bool) {
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
        if whole {
            self.etag = text(ETAG.as_str()).map(str::to_owned);
        }
        // `md5=<base64>`, alone or in a list.
        let hashes = headers.get_all("x-goog-hash").iter();
        let md5 = hashes
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .find_map(|part| part.trim().strip_prefix("md5="));
        let bytes = md5.and_then(|md5| {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.decode(md5).ok()
        });
        if let Some(bytes) = bytes {
            self.announced = Some(hex::encode(bytes));
        }
    }

    fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.file.write_all(chunk)?;
        self.sum.update(chunk);
        self.length += chunk.len() as u64;
        Ok(())
    }

    /// Begins anew.
    fn clear(&mut self) -> Result<(), FileTrouble> {
        if self.length > 0 {
            use std::io::Seek;
            self.file.set_len(0).map_err(disk)?;
            self.file.rewind().map_err(disk)?;
            self.sum = Md5::new();
            self.length = 0;
        }
        Ok(())
    }

    /// Compares the content with the platform's MD5, or else with that of the file's server.
    fn check(&self, md5: Option<&str>) -> Result<(), FileTrouble> {
        let found = hex::encode(self.sum.clone().finalize());
        match md5.or(self.announced.as_deref()) {
            Some(wanted) if wanted != found => Err(FileTrouble::Checksum {
                wanted: wanted.to_owned(),
                found,
            }),
            _ => Ok(()),
        }
    }

    fn discard(&self) {
        // A leftover is taken for what it is by the next attempt, so this may fail.
        let _ = fs::remove_file(&self.path);
    }

    fn publish(self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        sync_folder(target);
        Ok(())
    }
}

/// Brings a new name to the disk. Some file systems cannot; the file is whole anyway.
pub(super) fn sync_folder(path: &Path) {
    let folder = path.parent().unwrap_or(Path::new("."));
    let _ = File::open(folder).and_then(|f| f.sync_all());
}

/// Size of a file by its server; a server that does not tell is no hindrance.
async fn size(client: &Client, url: &Url) -> Option<u64> {
    let response = client.head(url.clone()).send().await.ok()?;
    let response = response.error_for_status().ok()?;
    let length = response.headers().get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Where the content of a partial answer starts.
fn starts_at(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let start = range.strip_prefix("bytes ")?.split('-').next()?;
    start.trim().parse().ok()
}

fn passing(error: reqwest::Error) -> Broke {
    Broke::Passing(reason(&error.without_url()))
}

fn disk(error: io::Error) -> FileTrouble {
    FileTrouble::Disk {
        reason: error.to_string(),
    }
}

fn sum_of(file: &mut File) -> io::Result<(Md5, u64)> {
    let (mut sum, mut length) = (Md5::new(), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok((sum, length)),
            n => {
                sum.update(&chunk[..n]);
                length += n as u64;
            }
        }
    }
}

/// Work on the disk, away from the threads that serve connections.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, FileTrouble> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(disk)
}

/// `<before><name><after>` in the same folder.
pub(super) fn beside(path: &Path, before: &str, after: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{before}{name}{after}"))
}
