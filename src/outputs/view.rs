//! What those see who look at a stream.
//!
//! The stream leaves the newest pictures here, as handles: nothing is copied, and nothing is encoded
//! before somebody asks. A picture that several viewers ask for in the same form is encoded once. A
//! viewer takes the newest picture when it is ready for one, so a slow viewer sees fewer and nobody
//! waits for it. The number of viewers of a stream is bounded; when all places are taken, one that has
//! taken no picture for a while ([`STUCK`]) loses its place.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use opencv::imgproc;
use tokio::sync::watch;

use crate::imaging::resized;
use crate::streams::{FrameResult, Shown};
use crate::values::codec::encode_jpeg;
use crate::values::{Image, Matrix};

/// Viewers of a stream at the same time.
pub const MOST_VIEWERS: usize = 16;

/// Time without taking a picture after which a viewer may lose its place.
pub const STUCK: Duration = Duration::from_secs(30);

/// Why somebody sees nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// As many look as may.
    #[error("{0} viewers look at this stream and more are not allowed; close one")]
    Full(usize),
    /// The stream has no such source.
    #[error("the stream has no source `{name}`; its sources: {known}")]
    NoSource {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The definition has no such output, or it is no picture.
    #[error("the definition has no picture `{name}` among its outputs; pictures: {known}")]
    NoOutput {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The picture cannot be encoded.
    #[error("the picture cannot be encoded: {0}")]
    Encoding(String),
}

/// In which form a picture is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The source; the first without.
    pub source: Option<String>,
    /// The output that was asked for; it has to be there.
    pub output: Option<String>,
    /// The output that is shown if none was asked for; see [`Shown::choose`].
    pub usual: Option<String>,
    /// Pixels across; as many as the picture has without, and never more.
    pub width: Option<usize>,
    /// Quality of the JPEG, 1 to 100.
    pub quality: u8,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            source: None,
            output: None,
            usual: None,
            width: None,
            quality: 80,
        }
    }
}

/// The pictures of one result.
pub struct Shot {
    frames: Vec<ShotFrame>,
    encodings: Mutex<Vec<(Form, Encoding)>>,
    encoded: Arc<AtomicU64>,
}

/// A picture in JPEG, made by the first who asks for it.
type Encoding = Arc<OnceLock<Result<Bytes, ViewError>>>;

/// A frame of a result.
struct ShotFrame {
    name: Arc<str>,
    number: i64,
    shown: Shown,
}

/// A picture in a form.
#[derive(PartialEq, Eq)]
struct Form {
    frame: usize,
    /// The place among the outputs, or the frame itself.
    output: Option<usize>,
    width: usize,
    quality: u8,
}

impl Shot {
    /// The frame that a source gave.
    fn frame(&self, source: Option<&str>) -> Result<usize, ViewError> {
        let Some(wanted) = source else {
            return Ok(0);
        };
        let fits = |name: &str| {
            name == wanted
                || name
                    .rsplit_once('/')
                    .is_some_and(|(_, last)| last == wanted)
        };
        let found = self.frames.iter().position(|frame| fits(&frame.name));
        found.ok_or_else(|| ViewError::NoSource {
            name: wanted.to_owned(),
            known: list(self.frames.iter().map(|frame| &frame.name)),
        })
    }

    /// The number of the frame that a source gave.
    pub fn number(&self, source: Option<&str>) -> Option<i64> {
        let frame = self.frame(source).ok()?;
        self.frames.get(frame).map(|frame| frame.number)
    }

    /// What a source has to show.
    pub(super) fn shown(&self, source: Option<&str>) -> Option<&Shown> {
        let frame = self.frame(source).ok()?;
        self.frames.get(frame).map(|frame| &frame.shown)
    }

    fn choose<'a>(shown: &'a Shown, wish: &Wish) -> Result<(Option<usize>, &'a Image), ViewError> {
        let Some(name) = wish.output.as_deref() else {
            let chosen = shown.choose(wish.usual.as_deref());
            let same = |(_, image): &(Arc<str>, Image)| image.same_pixels(chosen);
            return Ok((shown.outputs.iter().position(same), chosen));
        };
        let mut outputs = shown.outputs.iter().enumerate();
        match outputs.find(|(_, (known, _))| **known == *name) {
            Some((place, (_, image))) => Ok((Some(place), image)),
            None => Err(ViewError::NoOutput {
                name: name.to_owned(),
                known: list(shown.outputs.iter().map(|(name, _)| name)),
            }),
        }
    }

    /// The picture as JPEG. Takes time when nobody asked for it in this form before.
    ///
    /// # Errors
    /// If there is no such picture, or it cannot be encoded.
    pub fn jpeg(&self, wish: &Wish) -> Result<Bytes, ViewError> {
        let frame = self.frame(wish.source.as_deref())?;
        let no_frame = || ViewError::Encoding("the result has no frame".into());
        let shown = &self.frames.get(frame).ok_or_else(no_frame)?.shown;
        let (output, image) = Self::choose(shown, wish)?;
        let own = image.width();
        let form = Form {
            frame,
            output,
            width: wish.width.map_or(own, |width| width.clamp(1, own)),
            quality: wish.quality,
        };
        let (width, quality) = (form.width, form.quality);
        let encoding = self.encoding(form);
        let make = || {
            self.encoded.fetch_add(1, Ordering::Relaxed);
            encode(image, width, quality)
        };
        encoding.get_or_init(make).clone()
    }

    fn encoding(&self, form: Form) -> Encoding {
        let all = self.encodings.lock();
        let mut all = all.unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = all.iter().find(|(known, _)| *known == form) {
            return known.clone();
        }
        let new = Encoding::default();
        all.push((form, new.clone()));
        new
    }
}

fn list<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> String {
    let names: Vec<&str> = names.map(AsRef::as_ref).collect();
    match names.is_empty() {
        true => "none".into(),
        false => names.join(", "),
    }
}

fn encode(image: &Image, width: usize, quality: u8) -> Result<Bytes, ViewError> {
    let failed = |error: &dyn std::fmt::Display| ViewError::Encoding(error.to_string());
    let pixels = image.bgr();
    let scaled: Arc<Matrix> = if width == pixels.width {
        pixels
    } else {
        let height = (pixels.height * width).div_ceil(pixels.width.max(1)).max(1);
        let small = resized(&pixels, width, height, imgproc::INTER_AREA);
        Arc::new(small.map_err(|e| failed(&e))?)
    };
    let jpeg = encode_jpeg(&scaled, quality).map_err(|e| failed(&e))?;
    Ok(jpeg.into())
}

/// What there is to see.
#[derive(Clone, Default)]
struct Seen {
    /// The newest result.
    shot: Option<Arc<Shot>>,
    /// Whether nothing comes any more.
    over: bool,
}

/// The place of a viewer.
struct Place {
    /// When it last took a picture.
    taken: Mutex<Instant>,
    /// Whether it was given to another one.
    lost: AtomicBool,
}

impl Place {
    fn new() -> Self {
        Self {
            taken: Mutex::new(Instant::now()),
            lost: AtomicBool::new(false),
        }
    }

    fn taken(&self) -> MutexGuard<'_, Instant> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the newest pictures of a stream are; see the module documentation.
#[derive(Default)]
pub struct View {
    seen: watch::Sender<Seen>,
    places: Mutex<Vec<Arc<Place>>>,
    encoded: Arc<AtomicU64>,
}

impl View {
    /// Leaves the pictures of a result; `names` are those of its sources, in the order of its frames.
    pub(super) fn show(&self, result: &FrameResult, names: &[Arc<str>]) {
        let frames = result.frames().zip(result.shown()).zip(names);
        let frames = frames.map(|(((_, frame), shown), name)| ShotFrame {
            name: name.clone(),
            number: frame.number,
            shown,
        });
        let shot = Shot {
            frames: frames.collect(),
            encodings: Mutex::default(),
            encoded: self.encoded.clone(),
        };
        self.put(Arc::new(shot));
    }

    /// Leaves a picture as a stream with one source does.
    #[cfg(test)]
    pub(super) fn show_image(&self, name: &str, number: i64, image: Image) {
        let shown = Shown {
            outputs: vec![("drawn".into(), image.clone())],
            frame: image,
        };
        let frame = ShotFrame {
            name: name.into(),
            number,
            shown,
        };
        self.put(Arc::new(Shot {
            frames: vec![frame],
            encodings: Mutex::default(),
            encoded: self.encoded.clone(),
        }));
    }

    fn put(&self, shot: Arc<Shot>) {
        self.seen.send_modify(|seen| seen.shot = Some(shot));
    }

    /// Nothing comes any more: those who look are told, and the last picture stays for those who ask
    /// for one.
    pub(super) fn close(&self) {
        self.seen.send_modify(|seen| seen.over = true);
    }

    /// The newest pictures, without looking on.
    pub fn newest(&self) -> Option<Arc<Shot>> {
        self.seen.borrow().shot.clone()
    }

    /// Begins to look.
    ///
    /// # Errors
    /// If as many look as may.
    pub fn look(self: &Arc<Self>) -> Result<Viewer, ViewError> {
        self.look_beside(STUCK)
    }

    fn look_beside(self: &Arc<Self>, stuck: Duration) -> Result<Viewer, ViewError> {
        let mut places = self.places();
        if places.len() >= MOST_VIEWERS {
            let longest = (0..places.len()).min_by_key(|at| *places[*at].taken());
            let longest = longest.filter(|at| places[*at].taken().elapsed() >= stuck);
            let at = longest.ok_or(ViewError::Full(MOST_VIEWERS))?;
            places.swap_remove(at).lost.store(true, Ordering::Relaxed);
        }
        Ok(self.sit_down(&mut places))
    }

    /// The same for who counts its own viewers.
    pub(super) fn watch(self: &Arc<Self>) -> Viewer {
        self.sit_down(&mut self.places())
    }

    fn sit_down(self: &Arc<Self>, places: &mut Vec<Arc<Place>>) -> Viewer {
        let place = Arc::new(Place::new());
        places.push(place.clone());
        let mut seen = self.seen.subscribe();
        // The picture that is there is seen too.
        seen.mark_changed();
        Viewer {
            view: self.clone(),
            seen,
            place,
        }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who look.
    pub fn viewers(&self) -> usize {
        self.places().len()
    }

    /// Pictures that were encoded so far.
    pub fn encoded(&self) -> u64 {
        self.encoded.load(Ordering::Relaxed)
    }
}

/// Somebody who looks at a stream, until dropped.
pub struct Viewer {
    view: Arc<View>,
    seen: watch::Receiver<Seen>,
    place: Arc<Place>,
}

impl Viewer {
    /// The newest result that was not seen yet; waits for one. `None` when the stream is over, or the
    /// place was given to another viewer.
    pub async fn next(&mut self) -> Option<Arc<Shot>> {
        loop {
            *self.place.taken() = Instant::now();
            self.seen.changed().await.ok()?;
            if self.place.lost.load(Ordering::Relaxed) {
                return None;
            }
            *self.place.taken() = Instant::now();
            let seen = self.seen.borrow_and_update().clone();
            match seen {
                Seen { over: true, .. } => return None,
                Seen {
                    shot: Some(shot), ..
                } => return Some(shot),
                Seen { shot: None, .. } => {}
            }
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut places = self.view.places();
        places.retain(|place| !Arc::ptr_eq(place, &self.place));
    }
}

impl std::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Viewer")
    }
}

#[cfg(test)]
mod tests;
