//! Images: pixels, and where they lie in the image they were cut from.
//!
//! An [`Image`] is a handle. Clones share pixels; a step that draws makes its own copy first
//! ([`Image::to_owned_bgr`]), so no step ever sees another's drawing. Frames of a decoder keep
//! their YUV planes and become BGR once, when the first step asks for pixels.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::{Timestamp, VideoMetadata};

/// Rows of 8-bit pixels without padding: `height` × `width` × `channels`, BGR or gray.
#[derive(Clone, PartialEq, Eq)]
pub struct Matrix {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// 3 for BGR, 1 for gray.
    pub channels: usize,
    /// `height * width * channels` bytes.
    pub data: Vec<u8>,
}

impl Matrix {
    /// Pixels from bytes; `None` if their number does not fit the size.
    pub fn new(width: usize, height: usize, channels: usize, data: Vec<u8>) -> Option<Self> {
        (data.len() == width * height * channels).then_some(Self {
            width,
            height,
            channels,
            data,
        })
    }

    /// An image of one colour; `pixel` has a byte per channel.
    pub fn filled(width: usize, height: usize, pixel: &[u8]) -> Self {
        let mut data = Vec::with_capacity(width * height * pixel.len());
        for _ in 0..width * height {
            data.extend_from_slice(pixel);
        }
        Self {
            width,
            height,
            channels: pixel.len(),
            data,
        }
    }

    /// Width and height.
    pub fn size(&self) -> [usize; 2] {
        [self.width, self.height]
    }

    /// Copies the pixels of a rectangle that lies inside the image.
    pub fn cut(&self, x: usize, y: usize, width: usize, height: usize) -> Self {
        let c = self.channels;
        let mut data = Vec::with_capacity(width * height * c);
        for row in y..y + height {
            let start = (row * self.width + x) * c;
            data.extend_from_slice(&self.data[start..start + width * c]);
        }
        Self {
            width,
            height,
            channels: c,
            data,
        }
    }
}

impl fmt::Debug for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Matrix({}x{}x{})",
            self.width, self.height, self.channels
        )
    }
}

/// Where an image lies in another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Identifier of the image that the pixels belong to.
    pub id: Arc<str>,
    /// Left edge in the other image, pixels.
    pub x: i64,
    /// Top edge in the other image, pixels.
    pub y: i64,
    /// Width of the other image, pixels.
    pub width: i64,
    /// Height of the other image, pixels.
    pub height: i64,
}

impl Origin {
    /// The origin of an image that was not cut from another.
    pub fn whole(id: Arc<str>, width: usize, height: usize) -> Self {
        Self {
            id,
            x: 0,
            y: 0,
            width: width as i64,
            height: height as i64,
        }
    }
}

/// How the two chroma planes of a frame are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum YuvLayout {
    /// Three planes, chroma halved both ways.
    I420,
    /// Two planes, U and V interleaved, chroma halved both ways.
    Nv12,
    /// Three planes, chroma halved across only.
    I422,
}

/// The decoder's memory behind a frame, held without a copy.
pub trait Planes: Send + Sync {
    /// Bytes and stride (bytes per row) of plane `i`: luma, then chroma.
    fn plane(&self, i: usize) -> (&[u8], usize);
}

/// A frame as the decoder gave it: luma and chroma planes.
pub struct YuvFrame {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Arrangement of the chroma samples.
    pub layout: YuvLayout,
    /// Whether luma spans 0–255 (else 16–235).
    pub full_range: bool,
    /// The planes.
    pub planes: Box<dyn Planes>,
}

impl YuvFrame {
    /// The frame in BGR by the reference's integer formula (exact to the bit).
    pub fn to_bgr(&self) -> Matrix {
        let mut data = vec![0; self.width * self.height * 3];
        millrace_pixels::yuv_to_bgr(&self.view(), &mut data);
        Matrix {
            width: self.width,
            height: self.height,
            channels: 3,
            data,
        }
    }

    /// The planes as the pixel loops take them.
    pub fn view(&self) -> millrace_pixels::Yuv<'_> {
        let (y, y_stride) = self.planes.plane(0);
        let (u, u_stride) = self.planes.plane(1);
        let (v, v_stride) = match self.layout {
            YuvLayout::Nv12 => (&u[1..], u_stride),
            _ => self.planes.plane(2),
        };
        millrace_pixels::Yuv {
            width: self.width,
            height: self.height,
            y,
            y_stride,
            u,
            u_stride,
            v,
            v_stride,
            chroma_step: if self.layout == YuvLayout::Nv12 { 2 } else { 1 },
            chroma_rows_halved: self.layout != YuvLayout::I422,
            full_range: self.full_range,
        }
    }
}

impl fmt::Debug for YuvFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "YuvFrame({}x{} {:?})",
            self.width, self.height, self.layout
        )
    }
}

#[derive(Debug)]
enum Storage {
    Matrix(Arc<Matrix>),
    Planes {
        frame: YuvFrame,
        bgr: OnceLock<Arc<Matrix>>,
    },
}

#[derive(Clone, Debug)]
struct Inner {
    storage: Arc<Storage>,
    parent: Arc<Origin>,
    root: Arc<Origin>,
    video: Option<Arc<VideoMetadata>>,
    /// The base64 text by which the image entered, while the pixels are still those.
    entered_as: Option<Arc<str>>,
}

/// An image that knows its place in its parent and in the root image, and its video frame.
#[derive(Clone, Debug)]
pub struct Image(Arc<Inner>);

impl Image {
    /// An image that was not cut from another, named `id` (input name or stream).
    pub fn new(pixels: Matrix, id: Arc<str>) -> Self {
        let origin = Arc::new(Origin::whole(id, pixels.width, pixels.height));
        Self::with(
            Storage::Matrix(Arc::new(pixels)),
            origin.clone(),
            origin,
            None,
        )
    }

    /// A decoded video frame, converted to BGR only when a step asks for pixels.
    pub fn from_frame(frame: YuvFrame, id: Arc<str>, video: Arc<VideoMetadata>) -> Self {
        let origin = Arc::new(Origin::whole(id, frame.width, frame.height));
        let storage = Storage::Planes {
            frame,
            bgr: OnceLock::new(),
        };
        Self::with(storage, origin.clone(), origin, Some(video))
    }

    fn with(
        storage: Storage,
        parent: Arc<Origin>,
        root: Arc<Origin>,
        video: Option<Arc<VideoMetadata>>,
    ) -> Self {
        Self(Arc::new(Inner {
            storage: Arc::new(storage),
            parent,
            root,
            video,
            entered_as: None,
        }))
    }

    /// Pixels across.
    pub fn width(&self) -> usize {
        match &*self.0.storage {
            Storage::Matrix(m) => m.width,
            Storage::Planes { frame, .. } => frame.width,
        }
    }

    /// Pixels down.
    pub fn height(&self) -> usize {
        match &*self.0.storage {
            Storage::Matrix(m) => m.height,
            Storage::Planes { frame, .. } => frame.height,
        }
    }

    /// 3 for BGR, 1 for gray.
    pub fn channels(&self) -> usize {
        match &*self.0.storage {
            Storage::Matrix(m) => m.channels,
            Storage::Planes { .. } => 3,
        }
    }

    /// The pixels as they are: BGR, or gray for results of thresholding and the like. A decoder's
    /// frame is converted on the first call.
    pub fn pixels(&self) -> &Arc<Matrix> {
        match &*self.0.storage {
            Storage::Matrix(m) => m,
            Storage::Planes { frame, bgr } => bgr.get_or_init(|| Arc::new(frame.to_bgr())),
        }
    }

    /// The decoder's planes, if the pixels still are the decoder's.
    pub fn planes(&self) -> Option<&YuvFrame> {
        match &*self.0.storage {
            Storage::Matrix(_) => None,
            Storage::Planes { frame, .. } => Some(frame),
        }
    }

    /// The decoder's planes as long as nobody has asked for BGR yet: the form to read for a step
    /// that can take either.
    pub fn unconverted_planes(&self) -> Option<&YuvFrame> {
        match &*self.0.storage {
            Storage::Planes { frame, bgr } if bgr.get().is_none() => Some(frame),
            _ => None,
        }
    }

    /// The pixels in BGR, gray repeated in all three channels; shared where no copy is needed.
    pub fn bgr(&self) -> Arc<Matrix> {
        let pixels = self.pixels();
        if pixels.channels == 3 {
            return pixels.clone();
        }
        let data = millrace_pixels::repeat_gray(&pixels.data);
        Arc::new(Matrix {
            width: pixels.width,
            height: pixels.height,
            channels: 3,
            data,
        })
    }

    /// A copy of the pixels in BGR to draw on.
    pub fn to_owned_bgr(&self) -> Matrix {
        if let Some(frame) = self.unconverted_planes() {
            return frame.to_bgr();
        }
        Arc::unwrap_or_clone(self.bgr())
    }

    /// Place in the image that this one was cut from, and this image's own id.
    pub fn parent(&self) -> &Arc<Origin> {
        &self.0.parent
    }

    /// Place in the root image, and the root image's id.
    pub fn root(&self) -> &Arc<Origin> {
        &self.0.root
    }

    /// The video metadata that the image carries, if any.
    pub fn video(&self) -> Option<&Arc<VideoMetadata>> {
        self.0.video.as_ref()
    }

    /// The video metadata, or the synthetic ones of an image without: identifier = the image's id,
    /// frame 0, time `now`, 30 fps.
    pub fn video_or_synthetic(&self, now: Timestamp) -> Arc<VideoMetadata> {
        match &self.0.video {
            Some(video) => video.clone(),
            None => Arc::new(VideoMetadata::synthetic(self.0.parent.id.clone(), now)),
        }
    }

    /// Identifier of the stream that the image belongs to.
    pub fn video_identifier(&self) -> &Arc<str> {
        match &self.0.video {
            Some(video) => &video.video_identifier,
            None => &self.0.parent.id,
        }
    }

    /// The base64 text by which the image came in, if its pixels are unchanged since.
    pub fn entered_as(&self) -> Option<&Arc<str>> {
        self.0.entered_as.as_ref()
    }

    /// The same image remembering the base64 text by which it came in.
    pub fn with_entered_as(&self, text: Arc<str>) -> Self {
        Self(Arc::new(Inner {
            entered_as: Some(text),
            ..(*self.0).clone()
        }))
    }

    /// The same image with these video metadata.
    pub fn with_video(&self, video: Option<Arc<VideoMetadata>>) -> Self {
        Self(Arc::new(Inner {
            video,
            ..(*self.0).clone()
        }))
    }

    /// The same image with these places in parent and root.
    pub fn with_origins(&self, parent: Arc<Origin>, root: Arc<Origin>) -> Self {
        Self(Arc::new(Inner {
            parent,
            root,
            ..(*self.0).clone()
        }))
    }

    /// Other pixels in the same place: what a drawing or filtering block returns.
    pub fn with_pixels(&self, pixels: Matrix) -> Self {
        Self(Arc::new(Inner {
            storage: Arc::new(Storage::Matrix(Arc::new(pixels))),
            entered_as: None,
            ..(*self.0).clone()
        }))
    }

    /// The same pixels as the result of a step: the text by which the image came in is forgotten.
    pub fn as_result(&self) -> Self {
        if self.0.entered_as.is_none() {
            return self.clone();
        }
        Self(Arc::new(Inner {
            entered_as: None,
            ..(*self.0).clone()
        }))
    }

    /// A cut-out named `id` whose top left corner lies at (`x`, `y`) of this image; `pixels` are
    /// the cut-out's own (see [`Matrix::cut`]). Video metadata are kept under the identifier
    /// `"<old> | crop: <id>"` if `keep_video`, else dropped.
    pub fn cropped(&self, pixels: Matrix, id: Arc<str>, x: i64, y: i64, keep_video: bool) -> Self {
        let root = &self.0.root;
        let parent = Origin {
            id: id.clone(),
            x,
            y,
            width: self.width() as i64,
            height: self.height() as i64,
        };
        let new_root = Origin {
            id: root.id.clone(),
            x: root.x + x,
            y: root.y + y,
            width: root.width,
            height: root.height,
        };
        let video = match &self.0.video {
            Some(video) if keep_video => {
                let identifier = format!("{} | crop: {id}", video.video_identifier);
                Some(Arc::new(VideoMetadata {
                    video_identifier: identifier.into(),
                    ..(**video).clone()
                }))
            }
            _ => None,
        };
        Self::with(
            Storage::Matrix(Arc::new(pixels)),
            Arc::new(parent),
            Arc::new(new_root),
            video,
        )
    }

    /// Whether two handles share the same pixels.
    pub fn same_pixels(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0.storage, &other.0.storage)
    }
}
