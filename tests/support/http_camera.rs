//! An HTTP server with one answer: a file, an endless MJPEG stream, or a status.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::clips::scramble;

/// `viewer:hunter2` as a browser sends it.
const LOGIN: &str = "Basic dmlld2VyOmh1bnRlcjI=";

/// What every request is answered with.
pub enum Answer {
    /// This file.
    File(Vec<u8>),
    /// This file, for the user `viewer` with the password `hunter2`.
    Guarded(Vec<u8>),
    /// A status line such as `404 Not Found`, and no content.
    Status(&'static str),
    /// Pictures of noise, 320×240, at 20 per second, this many per connection.
    Mjpeg(usize),
    /// The segments of this folder, `0.ts`, `1.ts` and so on, one second each, and a playlist of them
    /// under any name that ends in `.m3u8`. A live one has the last three of those that are due.
    Hls {
        /// The folder.
        folder: PathBuf,
        /// Number of segments.
        segments: usize,
        /// When the first one was due; all are, without end, if there is none.
        since: Option<Instant>,
        /// Whether the server has gone away: every request is refused.
        away: Arc<AtomicBool>,
    },
    /// Nothing at all: the connection is accepted and stays silent.
    Silence,
}

/// The server; stops when dropped.
pub struct HttpCamera {
    port: u16,
    alive: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HttpCamera {
    /// Starts a server on a free port.
    pub fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let alive = Arc::new(AtomicBool::new(true));
        let (answer, running) = (Arc::new(answer), alive.clone());
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if !running.load(Ordering::SeqCst) {
                    return;
                }
                let (answer, running) = (answer.clone(), running.clone());
                std::thread::spawn(move || {
                    let _ = serve(connection, &answer, &running);
                });
            }
        });
        Self {
            port,
            alive,
            thread: Some(thread),
        }
    }

    /// Address of anything on the server.
    pub fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://127.0.0.1:{}/{path}", self.port)
    }
}

impl Drop for HttpCamera {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(mut to: TcpStream, answer: &Answer, alive: &AtomicBool) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let read = to.read(&mut request)?;
    let head_only = request[..read].starts_with(b"HEAD");
    let has_login = request[..read]
        .windows(LOGIN.len())
        .any(|words| words == LOGIN.as_bytes());
    match answer {
        Answer::Guarded(_) if !has_login => {
            write!(
                to,
                "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"cam\"\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n"
            )?;
        }
        Answer::File(bytes) | Answer::Guarded(bytes) => {
            let length = bytes.len();
            write!(
                to,
                "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n"
            )?;
            if !head_only {
                to.write_all(bytes)?;
            }
        }
        Answer::Status(status) => {
            write!(
                to,
                "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )?;
        }
        Answer::Mjpeg(pictures) => {
            write!(
                to,
                "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
            )?;
            for i in 0..*pictures {
                let jpeg = noise_jpeg(i as u32);
                let length = jpeg.len();
                write!(
                    to,
                    "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n"
                )?;
                to.write_all(&jpeg)?;
                to.write_all(b"\r\n")?;
                std::thread::sleep(Duration::from_millis(50));
                if !alive.load(Ordering::SeqCst) {
                    break;
                }
            }
        }
        Answer::Hls {
            folder,
            segments,
            since,
            away,
        } => {
            if away.load(Ordering::SeqCst) {
                let refusal = "HTTP/1.1 503 Service Unavailable";
                write!(
                    to,
                    "{refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )?;
                return Ok(());
            }
            let path = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = path.split_whitespace().nth(1).unwrap_or("/").to_owned();
            let content = hls(folder, *segments, *since, &path);
            let length = content.len();
            write!(
                to,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            )?;
            to.write_all(&content)?;
        }
        Answer::Silence => {
            while alive.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    Ok(())
}

/// A segment, or the playlist.
fn hls(folder: &Path, segments: usize, since: Option<Instant>, path: &str) -> Vec<u8> {
    if !path.ends_with(".m3u8") {
        return std::fs::read(folder.join(path.trim_start_matches('/'))).unwrap_or_default();
    }
    let due = since.map_or(segments, |at| {
        (at.elapsed().as_secs() as usize + 4).min(segments)
    });
    let first = since.map_or(0, |_| due.saturating_sub(3));
    let mut list = format!(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n"
    );
    for i in first..due {
        list += &format!("#EXTINF:1.0,\n{i}.ts\n");
    }
    if since.is_none() {
        list += "#EXT-X-ENDLIST\n";
    }
    list.into_bytes()
}

fn noise_jpeg(seed: u32) -> Vec<u8> {
    let mut pixels = vec![0; 320 * 240 * 3];
    pixels[0] = seed as u8;
    scramble(&mut pixels);
    let picture = image::RgbImage::from_raw(320, 240, pixels).unwrap();
    let mut jpeg = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 50)
        .encode_image(&picture)
        .unwrap();
    jpeg
}
