//! A server of pictures, watched by the project's own sources.

use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use super::*;
use crate::outputs::View;
use crate::sources::{Event, Frame, Source, SourceSpec};
use crate::values::{Image, Matrix};

const SOON: Duration = Duration::from_secs(20);

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A stream of gray pictures, 25 a second, of the size that is set.
struct Stream {
    view: Arc<View>,
    width: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    fn start() -> Self {
        let view: Arc<View> = Arc::default();
        let width = Arc::new(AtomicUsize::new(96));
        let over: Arc<AtomicBool> = Arc::default();
        let (shown, size, told) = (view.clone(), width.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            for number in 1.. {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                let level = 60 + (number % 100) as u8;
                let pixels = Matrix::filled(size.load(Ordering::Relaxed), 64, &[level; 3]);
                shown.show_image("gate", number, Image::new(pixels, "gate".into()));
                std::thread::sleep(Duration::from_millis(40));
            }
        });
        Self {
            view,
            width,
            over,
            thread: Some(thread),
        }
    }

    fn feed(&self) -> Feed {
        Feed {
            view: self.view.clone(),
            source: None,
            output: None,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn open(url: &str) -> Source {
    Source::open(SourceSpec::new(url.parse().unwrap())).unwrap()
}

#[track_caller]
fn frame(source: &Source, wanted: impl Fn(&Frame) -> bool) -> Frame {
    let until = Instant::now() + SOON;
    while Instant::now() < until {
        if let Some(Event::Frame(frame)) = source.next(SOON).unwrap()
            && wanted(&frame)
        {
            return frame;
        }
    }
    panic!("no such frame: {:?}", source.stats());
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn names_become_paths() {
    assert_eq!(path("gate"), "/gate");
    assert_eq!(path("yard/north"), "/yard/north");
    assert_eq!(path("/cam 1?x"), "/cam_1_x");
}

#[test]
fn a_port_that_is_taken_is_told_and_a_stopped_server_gives_it_back() {
    let first = RtspServer::start(any_port(), None).unwrap();
    let refused = RtspServer::start(first.address(), None).err().unwrap();
    let told = refused.to_string();
    assert!(told.starts_with("cannot listen at 127.0.0.1:"), "{told}");
    first.stop();
    let again = RtspServer::start(first.address(), None);
    assert!(again.is_ok(), "{:?}", again.err());
}

#[test]
fn the_picture_is_encoded_once_for_all_and_only_while_somebody_watches() {
    let stream = Stream::start();
    let server = RtspServer::start(any_port(), None).unwrap();
    let mounted = server.mount("gate", stream.feed());
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(stream.view.viewers(), 0, "nobody watches");
    let watching = [open(&mounted.url()), open(&mounted.url())];
    for source in &watching {
        let seen = frame(source, |_| true);
        assert_eq!((seen.image.width(), seen.image.height()), (96, 64));
        let level = i32::from(seen.image.pixels().data[0]);
        assert!((50..=170).contains(&level), "{level}");
    }
    assert_eq!(stream.view.viewers(), 1, "one encoder for both");
    // Another size reaches those who watch.
    stream.width.store(130, Ordering::Relaxed);
    frame(&watching[0], |frame| frame.image.width() == 130);
    drop(watching);
    until("the end of the encoder", || stream.view.viewers() == 0);
    let again = open(&mounted.url());
    frame(&again, |frame| frame.image.width() == 130);
    drop(mounted);
    until("the end of the sessions", || stream.view.viewers() == 0);
    server.stop();
}

#[test]
fn who_does_not_know_the_login_sees_nothing() {
    let stream = Stream::start();
    let login = Login {
        user: "ada".into(),
        password: "s3cret".into(),
    };
    assert_eq!(format!("{login:?}"), "Login(***)");
    let server = RtspServer::start(any_port(), Some(&login)).unwrap();
    let mounted = server.mount("gate", stream.feed());
    let with = |login: &str| {
        mounted
            .url()
            .replace("rtsp://", &format!("rtsp://{login}@"))
    };
    for url in [mounted.url(), with("ada:wrong")] {
        let source = open(&url);
        let refused = source.ready(Duration::from_secs(3)).unwrap_err();
        assert!(refused.to_string().contains("password"), "{refused}");
    }
    frame(&open(&with("ada:s3cret")), |_| true);
}
