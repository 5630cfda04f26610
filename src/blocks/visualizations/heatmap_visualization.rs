//! Shows where objects have been, warmer where more often.
//!
//! # Inputs and outputs
//! `image`, `predictions`, `metadata` (the stream; the image's own if not given), `position`,
//! `opacity`, `radius` and `kernel_size` of a spot, `top_hue` and `low_hue`, and whether objects
//! that stand still count (`ignore_stationary`, `motion_threshold`) → `image`.
//!
//! # State
//! Per stream: heat per pixel, without decay, begun anew when the image's size changes; and the
//! last counted place of each track (bounded, see `PerTrack`), forgotten a minute after its last movement.
//!
//! # Edge cases
//! With track ids and `ignore_stationary` an object counts once it has moved `motion_threshold`
//! pixels from its last counted place, so its first appearance does not. Spots of one frame that
//! overlap count once. Gray images become colour images.

use std::time::Duration;

use opencv::core::Size;
use opencv::imgproc;

use crate::blocks::state::{PerStream, PerTrack};
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::geometry::Anchor;
use crate::imaging::blend::mix;
use crate::imaging::canvas::FILLED;
use crate::imaging::{self, Canvas, Color, Pixel, Region, pixels};
use crate::values::{Detections, Mask, Matrix, kind};

use super::common::{self, fields};

/// How often tracks that stopped moving are looked for, and after which time they are forgotten.
const CLEAN_EVERY: Duration = Duration::from_secs(10);
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// `roboflow_core/heatmap_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/heatmap_visualization@v1",
        "HeatmapVisualization",
    ],
    name: "Heatmap Visualization",
    family: Family::Visualization,
    about: "Shows where objects have been, warmer where more often.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        fields::PREDICTIONS,
        Field::optional("metadata", &[Ty::Selector(&[kind::VIDEO_METADATA])], "null")
            .about("The stream; the image's own if not given."),
        Field::optional(
            "position",
            &[
                Ty::OneOf(&[
                    "CENTER",
                    "CENTER_LEFT",
                    "CENTER_RIGHT",
                    "TOP_CENTER",
                    "TOP_LEFT",
                    "TOP_RIGHT",
                    "BOTTOM_CENTER",
                    "BOTTOM_LEFT",
                    "BOTTOM_RIGHT",
                ]),
                Ty::Selector(&[kind::STRING]),
            ],
            "\"BOTTOM_CENTER\"",
        )
        .about("Place on the box."),
        fields::number("opacity", "0.2").about("Strength of the colours."),
        fields::integer("radius", "40").about("Radius of a spot, pixels."),
        fields::integer("kernel_size", "25").about("How much the colours run, pixels."),
        fields::integer("top_hue", "0").about("Hue of the warmest pixels."),
        fields::integer("low_hue", "125").about("Hue of the coldest pixels."),
        Field::optional(
            "ignore_stationary",
            &[Ty::Bool, Ty::Selector(&[kind::BOOLEAN])],
            "true",
        )
        .about("Whether objects that stand still do not count."),
        fields::integer("motion_threshold", "25").about("From which distance a track has moved."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    build: |_, _| Ok(Box::<Heatmap>::default()),
    ..BlockSpec::DEFAULT
};

#[derive(Default)]
struct Heatmap {
    streams: PerStream<Stream>,
}

/// What is remembered of one stream.
#[derive(Default)]
struct Stream {
    heat: Heat,
    moving: Moving,
}

/// Number of times that each pixel was hit.
#[derive(Default)]
struct Heat {
    width: usize,
    height: usize,
    hits: Vec<f32>,
    /// Smallest region that holds all hits.
    extent: Option<Region>,
}

impl Heat {
    /// Counts the pixels within `radius` of any of the centres.
    fn add(&mut self, size: [usize; 2], centers: &[Pixel], radius: i32) -> opencv::Result<()> {
        let [width, height] = size;
        if size != [self.width, self.height] {
            *self = Self {
                width,
                height,
                hits: vec![0.0; width * height],
                extent: None,
            };
        }
        let Some(region) = common::region_around(centers, radius.saturating_add(1), size) else {
            return Ok(());
        };
        let [x, y, w, h] = region;
        let mut spots = Matrix::filled(w, h, &[0]);
        let mut canvas = Canvas::at(&mut spots, [x as i32, y as i32])?;
        for &center in centers {
            canvas.circle(center, radius, Color::hex(1), FILLED)?;
        }
        drop(canvas);
        for (row, hit) in spots.data.chunks_exact(w).enumerate() {
            let start = (y + row) * width + x;
            for (heat, &hit) in self.hits[start..start + w].iter_mut().zip(hit) {
                *heat += f32::from(hit);
            }
        }
        self.extent = Some(match self.extent {
            Some(old) => union(old, region),
            None => region,
        });
        Ok(())
    }

    /// The pixels that were ever hit, with their colours, in a region that holds them all and
    /// `margin` pixels around. `None` if there are none.
    fn colored(&self, margin: usize, hue: impl Fn(f32) -> u8) -> Option<(Region, Matrix, Mask)> {
        let [x, y, w, h] = self.extent?;
        let (x1, y1) = (x.saturating_sub(margin), y.saturating_sub(margin));
        let (x2, y2) = (
            (x + w + margin).min(self.width),
            (y + h + margin).min(self.height),
        );
        let region = [x1, y1, x2 - x1, y2 - y1];
        let lines = (y1..y2).map(|row| &self.hits[row * self.width + x1..row * self.width + x2]);
        let hits: Vec<f32> = lines.flatten().copied().collect();
        let most = hits.iter().copied().fold(0.0, f32::max);
        if most == 0.0 {
            return None;
        }
        let hues = hits.iter().map(|&heat| hue(heat / most)).collect();
        let hit: Vec<u8> = hits.iter().map(|&heat| u8::from(heat > 0.0)).collect();
        let hues = Matrix {
            width: region[2],
            height: region[3],
            channels: 1,
            data: hues,
        };
        Some((region, hues, Mask::from_dense(region[2], region[3], &hit)))
    }
}

fn union([ax, ay, aw, ah]: Region, [bx, by, bw, bh]: Region) -> Region {
    let (x, y) = (ax.min(bx), ay.min(by));
    let (right, bottom) = ((ax + aw).max(bx + bw), (ay + ah).max(by + bh));
    [x, y, right - x, bottom - y]
}

/// Last counted place of each track.
#[derive(Default)]
struct Moving {
    tracks: PerTrack<([f64; 2], Duration)>,
    cleaned: Duration,
}

impl Moving {
    /// Whether a track has moved far enough to count; a new one has not.
    fn counts(&mut self, track: i64, at: [f64; 2], threshold: f64, now: Duration) -> bool {
        let Some((last, moved)) = self.tracks.find(track) else {
            self.tracks.get(track, || (at, now));
            return false;
        };
        let far = (at[0] - last[0]).hypot(at[1] - last[1]) >= threshold;
        if far {
            (*last, *moved) = (at, now);
        }
        far
    }

    fn clean(&mut self, now: Duration) {
        if now.saturating_sub(self.cleaned) >= CLEAN_EVERY {
            self.tracks
                .retain(|(_, moved)| now.saturating_sub(*moved) <= FORGET_AFTER);
            self.cleaned = now;
        }
    }
}

impl Block for Heatmap {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let detections = inputs.detections("predictions")?;
        let position = Anchor::parse(inputs.text("position")?)?;
        let metadata = inputs.optional("metadata", |i, f| i.video(f, cx))?;
        let stream = match &metadata {
            Some(video) => &video.video_identifier,
            None => image.video_identifier(),
        };
        let state = self.streams.get(stream, Stream::default);
        let counted = if inputs.flag("ignore_stationary")? {
            let threshold = inputs.float("motion_threshold")?;
            let now = cx.services.clock.monotonic();
            counted(&mut state.moving, detections, position, threshold, now)?
        } else {
            (0..detections.len()).collect()
        };
        let mut centers = Vec::with_capacity(counted.len());
        for row in counted {
            centers.push(common::pixel_at(position, detections, row)?);
        }
        let radius = pixels(inputs.int("radius")?);
        let size = [image.width(), image.height()];
        state.heat.add(size, &centers, radius)?;

        let kernel = imaging::kernel(inputs.int("kernel_size")?)?;
        let opacity = inputs.float("opacity")?;
        let low = inputs.float("low_hue")? as f32;
        let range = low - inputs.float("top_hue")? as f32;
        let margin = kernel.max(0) as usize;
        let colored = state
            .heat
            .colored(margin, |share| (low - share * range) as u8);
        let image = common::in_color(image);
        let Some((region, hues, hit)) = colored else {
            return common::unchanged(&image);
        };
        common::drawn(&image, |pixels| {
            lay_over(pixels, region, &hues, &hit, kernel, opacity)?;
            Ok(())
        })
    }
}

/// The rows that count as movement; all of them without track ids.
fn counted(
    moving: &mut Moving,
    detections: &Detections,
    position: Anchor,
    threshold: f64,
    now: Duration,
) -> Result<Vec<usize>, BlockError> {
    let Some(tracks) = &detections.tracker_id else {
        return Ok((0..detections.len()).collect());
    };
    let mut rows = Vec::new();
    for (row, &track) in tracks.iter().enumerate() {
        let at = position.of(detections, row)?;
        if moving.counts(track, at, threshold, now) {
            rows.push(row);
        }
    }
    moving.clean(now);
    Ok(rows)
}

/// Lays the colours of a region over the image where it was hit.
fn lay_over(
    pixels: &mut Matrix,
    region: Region,
    hues: &Matrix,
    hit: &Mask,
    kernel: i32,
    opacity: f64,
) -> opencv::Result<()> {
    let [x, y, width, height] = region;
    let source = imaging::view(hues)?;
    let soft = imaging::produce(width, height, 1, |out| {
        imgproc::blur_def(&source, out, Size::new(kernel, kernel))
    })?;
    let hsv = Matrix {
        width,
        height,
        channels: 3,
        data: soft.data.iter().flat_map(|&hue| [hue, 255, 255]).collect(),
    };
    let source = imaging::view(&hsv)?;
    let color = imaging::produce(width, height, 3, |out| {
        imgproc::cvt_color_def(&source, out, imgproc::COLOR_HSV2BGR)
    })?;
    let mut part = pixels.cut(x, y, width, height);
    mix(
        &mut part,
        [0, 0, width, height],
        &color,
        opacity,
        1.0 - opacity,
    )?;
    let mut result = pixels.cut(x, y, width, height);
    imaging::blend::copy_masked(&mut result, &part, hit)?;
    imaging::blend::paste(pixels, region, &result);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::common::testing::{
        assert_picture, image_of, run, run_again, scene, services, step,
    };
    use super::*;
    use crate::values::{Detections, Image, Value};

    fn two(tracked: bool) -> Detections {
        let corners = |x: f64, y: f64, w: f64, h: f64| {
            let (left, top) = (x - w / 2.0, y - h / 2.0);
            [left, top, left + w, top + h]
        };
        Detections {
            xyxy: Arc::new(vec![
                corners(38.0, 46.0, 24.6, 30.2),
                corners(164.0, 105.0, 30.0, 20.0),
            ]),
            tracker_id: tracked.then(|| Arc::new(vec![1, 7])),
            ..Detections::default()
        }
    }

    #[test]
    fn the_first_frame_is_drawn_as_recorded() {
        let draw = |more: &[(&'static str, Value)]| {
            let mut fields = vec![
                ("image", scene().into()),
                ("predictions", two(false).into()),
            ];
            fields.extend(more.iter().cloned());
            image_of(run(&BLOCK, &fields))
        };
        assert_picture(draw(&[]).pixels(), "visualizations/heatmap.png");
        let strong = [
            ("opacity", 0.8.into()),
            ("radius", 12i64.into()),
            ("kernel_size", 5i64.into()),
            ("position", "CENTER".into()),
        ];
        assert_picture(draw(&strong).pixels(), "visualizations/heatmap_strong.png");
    }

    #[test]
    fn a_new_track_does_not_count_and_a_moved_one_does() {
        let mut moving = Moving::default();
        let at = |s| Duration::from_secs(s);
        assert!(!moving.counts(1, [0.0, 0.0], 25.0, at(0)));
        assert!(!moving.counts(1, [20.0, 0.0], 25.0, at(1)));
        assert!(moving.counts(1, [25.0, 0.0], 25.0, at(2)));
        moving.clean(at(62));
        assert!(moving.tracks.find(1).is_some());
        moving.clean(at(73));
        assert!(moving.tracks.find(1).is_none());
        let fields = [("image", scene().into()), ("predictions", two(true).into())];
        let drawn = image_of(run(&BLOCK, &fields));
        assert_picture(drawn.pixels(), "visualizations/scene.png");
    }

    #[test]
    fn streams_do_not_mix_and_another_size_begins_anew() {
        let (made, _) = step(&BLOCK, &[]);
        let mut block = (BLOCK.build)(&made, &services()).unwrap();
        let mut show = |image: Image, detections: Detections| {
            let fields = [("image", image.into()), ("predictions", detections.into())];
            image_of(run_again(&BLOCK, block.as_mut(), &fields))
        };
        let other = || Image::new(scene().pixels().as_ref().clone(), "other".into());
        show(scene(), two(false));
        let empty = show(other(), Detections::default());
        assert_picture(empty.pixels(), "visualizations/scene.png");
        let kept = show(scene(), Detections::default());
        assert_picture(kept.pixels(), "visualizations/heatmap.png");
        let small = Image::new(Matrix::filled(50, 40, &[1]), "image".into());
        let shown = show(small, Detections::default());
        assert_eq!(**shown.pixels(), Matrix::filled(50, 40, &[1, 1, 1]));
    }
}
