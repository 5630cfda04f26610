//! Takes the bend of a lens out of an image.
//!
//! # Inputs and outputs
//! `image`, focal lengths, optical centre and distortion of the camera → `calibrated_image`, of the same
//! size: with all pixels of the source in it, by the usual model; by `k1` alone and unscaled with
//! `use_fisheye_model`.
//!
//! # State
//! Where the pixels come from, for one lens and size; computed anew when either changes.
//!
//! # Edge cases
//! What the lens did not see is black, which is everything for a focal length of 0 and, by the usual
//! model, for a number that is none. The result forgets the video metadata, and that the image was
//! cut from another.

use opencv::core::{BORDER_CONSTANT, Mat, MatTraitConst, Scalar, Vec2s};
use opencv::imgproc::{self, INTER_LINEAR};

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::definition::coerce::parse_float;
use crate::imaging;
use crate::row;
use crate::values::{Image, Matrix, Value, kind};

/// `roboflow_core/camera-calibration@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/camera-calibration@v1"],
    name: "Camera Calibration",
    family: Family::Transformation,
    stateless: true,
    about: "Takes the bend of a lens out of an image.",
    fields: &[
        Field::required("image", &[Ty::Selector(&[kind::IMAGE])])
            .alias("images")
            .about("The image."),
        Field::required("fx", NUMBER).about("Focal length across, pixels."),
        Field::required("fy", NUMBER).about("Focal length down, pixels."),
        Field::required("cx", NUMBER).about("Optical centre, x."),
        Field::required("cy", NUMBER).about("Optical centre, y."),
        Field::required("k1", NUMBER).about("First radial coefficient."),
        Field::required("k2", NUMBER).about("Second radial coefficient."),
        Field::required("k3", NUMBER).about("Third radial coefficient."),
        Field::required("p1", NUMBER).about("First tangential coefficient."),
        Field::required("p2", NUMBER).about("Second tangential coefficient."),
        Field::optional(
            "use_fisheye_model",
            &[Ty::Bool, Ty::Selector(&[kind::BOOLEAN]), Ty::Null],
            "false",
        )
        .about("Whether the lens is a fisheye."),
    ],
    outputs: &[output("calibrated_image", &[kind::IMAGE])],
    build: |_, _| Ok(Box::<CameraCalibration>::default()),
    ..BlockSpec::DEFAULT
};

const NUMBER: &[Ty] = &[Ty::Float, Ty::Selector(&[kind::FLOAT]), Ty::Null];

/// Steps of a fraction of a pixel in OpenCV's tables.
const FRACTIONS: f64 = 32.0;

#[derive(Default)]
struct CameraCalibration {
    last: Option<(Lens, Maps)>,
}

impl Block for CameraCalibration {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let fisheye = inputs
            .optional("use_fisheye_model", Inputs::flag)?
            .unwrap_or(false);
        // The standard model takes nothing for a number that is none, and text for a number.
        let number = |name: &str| {
            let number = match inputs.value(name) {
                Value::None if !fisheye => Some(f64::NAN),
                Value::Str(text) if !fisheye => parse_float(text),
                _ => None,
            };
            let number = number.map_or_else(|| inputs.float(name), Ok);
            number.map(|x| f64::from(x as f32))
        };
        let lens = Lens {
            size: [image.width(), image.height()],
            focus: [number("fx")?, number("fy")?],
            centre: [number("cx")?, number("cy")?],
            radial: [number("k1")?, number("k2")?, number("k3")?],
            tangential: [number("p1")?, number("p2")?],
            fisheye,
        };
        let straight = match &mut self.last {
            _ if lens.is_blind() => Matrix::filled(
                image.width(),
                image.height(),
                &vec![0; image.pixels().channels],
            ),
            Some((last, maps)) if *last == lens => maps.applied(image.pixels())?,
            last => last
                .insert((lens, lens.maps()?))
                .1
                .applied(image.pixels())?,
        };
        let place = image.parent();
        let result = image.with_pixels(straight).with_video(None);
        let result: Image = result.with_origins(place.clone(), place.clone());
        Ok(Output::One(row![result]))
    }
}

#[derive(Clone, Copy, PartialEq)]
struct Lens {
    /// Width and height of the picture.
    size: [usize; 2],
    focus: [f64; 2],
    centre: [f64; 2],
    radial: [f64; 3],
    tangential: [f64; 2],
    fisheye: bool,
}

/// Where each pixel of the result comes from, in one of OpenCV's two forms.
struct Maps(Mat, Mat);

impl Maps {
    fn applied(&self, pixels: &Matrix) -> opencv::Result<Matrix> {
        let source = imaging::view(pixels)?;
        imaging::produce(pixels.width, pixels.height, pixels.channels, |out| {
            let black = Scalar::all(0.0);
            imgproc::remap(
                &source,
                out,
                &self.0,
                &self.1,
                INTER_LINEAR,
                BORDER_CONSTANT,
                black,
            )
        })
    }
}

impl Lens {
    /// Whether no pixel of the picture has a place: without a focus, or with a number missing.
    fn is_blind(&self) -> bool {
        let numbers = [
            self.focus.as_slice(),
            &self.centre,
            &self.radial,
            &self.tangential,
        ];
        self.focus.contains(&0.0) || numbers.concat().iter().any(|number| number.is_nan())
    }

    fn maps(&self) -> opencv::Result<Maps> {
        match self.fisheye {
            true => self.fisheye_maps(),
            false => self.usual_maps(),
        }
    }

    /// Where the lens sends a ray.
    fn bend(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let ([k1, k2, k3], [p1, p2]) = (self.radial, self.tangential);
        let (x2, y2, xy) = (x * x, y * y, 2.0 * x * y);
        let r2 = x2 + y2;
        let scale = 1.0 + ((k3 * r2 + k2) * r2 + k1) * r2;
        [
            x * scale + p1 * xy + p2 * (r2 + 2.0 * x2),
            y * scale + p1 * (r2 + 2.0 * y2) + p2 * xy,
        ]
    }

    /// The ray that the lens sends to a pixel: five steps of a fixed-point iteration, as OpenCV takes.
    fn ray(&self, pixel: [f64; 2]) -> [f64; 2] {
        let ([k1, k2, k3], [p1, p2]) = (self.radial, self.tangential);
        let start = [0, 1].map(|i| (pixel[i] - self.centre[i]) / self.focus[i]);
        let [mut x, mut y] = start;
        for _ in 0..5 {
            let r2 = x * x + y * y;
            let shrink = 1.0 / (1.0 + ((k3 * r2 + k2) * r2 + k1) * r2);
            if shrink < 0.0 {
                return start;
            }
            let dx = 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x);
            let dy = p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y;
            (x, y) = ((start[0] - dx) * shrink, (start[1] - dy) * shrink);
        }
        [x, y]
    }

    /// The camera without bend that sees all pixels of the rim: focal lengths and centre. What lies
    /// inside the rim may be seen further out if the lens bends strongly; OpenCV does not look there.
    fn seeing_all(&self) -> ([f64; 2], [f64; 2]) {
        let last = self.size.map(|side| side as f64 - 1.0);
        let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        let on_rim = |&(i, j): &(i32, i32)| i % 8 == 0 || j % 8 == 0;
        let grid = (0..81).map(|n| (n % 9, n / 9)).filter(on_rim);
        for (i, j) in grid.map(|(i, j)| (f64::from(i), f64::from(j))) {
            let ray = self.ray([i * last[0] / 8.0, j * last[1] / 8.0]);
            for axis in 0..2 {
                low[axis] = low[axis].min(ray[axis]);
                high[axis] = high[axis].max(ray[axis]);
            }
        }
        let focus = [0, 1].map(|i| last[i] / (high[i] - low[i]));
        let centre = [0, 1].map(|i| -focus[i] * low[i]);
        let single = |pair: [f64; 2]| pair.map(|x| f64::from(x as f32));
        (single(focus), single(centre))
    }

    fn usual_maps(&self) -> opencv::Result<Maps> {
        let [width, height] = self.size;
        let (focus, centre) = self.seeing_all();
        let count = width * height;
        let (mut whole, mut parts) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for v in 0..height {
            let y = (v as f64 - centre[1]) / focus[1];
            for u in 0..width {
                let bent = self.bend([(u as f64 - centre[0]) / focus[0], y]);
                let at = [0, 1].map(|i| {
                    let pixel = self.focus[i] * bent[i] + self.centre[i];
                    (pixel * FRACTIONS).round_ties_even() as i32
                });
                whole.push(Vec2s::from(at.map(|c| (c >> 5) as i16)));
                parts.push(((at[1] & 31) * 32 + (at[0] & 31)) as u16);
            }
        }
        let (rows, columns) = (height as i32, width as i32);
        let whole = Mat::new_rows_cols_with_data(rows, columns, &whole)?.try_clone()?;
        let parts = Mat::new_rows_cols_with_data(rows, columns, &parts)?.try_clone()?;
        Ok(Maps(whole, parts))
    }

    fn fisheye_maps(&self) -> opencv::Result<Maps> {
        let [width, height] = self.size;
        let k1 = self.radial[0];
        let count = width * height;
        let (mut across, mut down) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for v in 0..height {
            for u in 0..width {
                let ray = [
                    (u as f64 - self.centre[0]) / self.focus[0],
                    (v as f64 - self.centre[1]) / self.focus[1],
                ];
                let r2 = ray[0] * ray[0] + ray[1] * ray[1];
                let scale = match k1.abs() < 1e-8 || r2 < 1e-8 {
                    true => 1.0,
                    false => (1.0 - (1.0 - 4.0 * k1 * r2).max(0.0).sqrt()) / (2.0 * k1 * r2),
                };
                across.push((ray[0] * scale * self.focus[0] + self.centre[0]) as f32);
                down.push((ray[1] * scale * self.focus[1] + self.centre[1]) as f32);
            }
        }
        let (rows, columns) = (height as i32, width as i32);
        let across = Mat::new_rows_cols_with_data(rows, columns, &across)?.try_clone()?;
        let down = Mat::new_rows_cols_with_data(rows, columns, &down)?.try_clone()?;
        Ok(Maps(across, down))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, frame};
    use serde_json::json;

    fn lens(k1: f64) -> Lens {
        Lens {
            size: [200, 150],
            focus: [160.0, 150.0],
            centre: [98.0, 76.0],
            radial: [k1, 0.0, 0.0],
            tangential: [0.0; 2],
            fisheye: false,
        }
    }

    #[test]
    fn a_straight_lens_changes_nothing() {
        let pixel = |i: usize| (i % 200) as u8;
        let ramp = Matrix::new(200, 150, 1, (0..200 * 150).map(pixel).collect()).unwrap();
        let straight = lens(0.0).maps().unwrap().applied(&ramp).unwrap();
        let far = |(a, b): (&u8, &u8)| a.abs_diff(*b) > 1;
        assert!(!straight.data.iter().zip(&ramp.data).any(far));
        let fisheye = Lens {
            fisheye: true,
            ..lens(0.0)
        };
        assert_eq!(fisheye.maps().unwrap().applied(&ramp).unwrap(), ramp);
    }

    #[test]
    fn a_lens_without_focus_or_with_a_number_missing_sees_nothing() {
        let unfocused = Lens {
            focus: [0.0, 150.0],
            ..lens(0.1)
        };
        assert!(unfocused.is_blind() && lens(f64::NAN).is_blind());
        assert!(!lens(0.0).is_blind());
    }

    #[test]
    fn the_way_there_and_back_is_the_same() {
        let lens = Lens {
            tangential: [0.002, -0.001],
            ..lens(-0.28)
        };
        let [u, v] = [120.0, 40.0];
        let bent = lens.bend(lens.ray([u, v]));
        assert!(
            (bent[0] * 160.0 + 98.0 - u).abs() < 0.01 && (bent[1] * 150.0 + 76.0 - v).abs() < 0.01
        );
        let ([fx, _], [cx, _]) = lens.seeing_all();
        let left = lens.ray([0.0, 75.0])[0];
        assert!(fx * left + cx >= -1e-3);
    }

    #[test]
    fn a_strong_bend_is_measured_along_the_rim() {
        let strong = Lens {
            radial: [-0.28, -0.95, 0.01],
            tangential: [0.002, -0.001],
            ..lens(0.0)
        };
        // What cv2.getOptimalNewCameraMatrix of OpenCV 4.12 answers.
        let (focus, centre) = strong.seeing_all();
        let got = [focus, centre].concat();
        for (got, want) in got.iter().zip([131.724, 47.317318, 114.50114, 60.0715]) {
            assert!((got - want).abs() < 1e-2, "{got} {want}");
        }
    }

    #[test]
    fn the_result_forgets_its_video() {
        let fields =
            ["fx", "fy", "cx", "cy", "k1", "k2", "k3", "p1", "p2"].map(|name| (name, json!(1)));
        let row = Bench::new(&BLOCK, &fields)
            .run(&[("image", frame("v", 3, None))])
            .unwrap();
        let image = row[0].as_image().unwrap();
        assert!(image.video().is_none() && (image.width(), image.height()) == (4, 4));
        let unknown = Bench::new(&BLOCK, &fields[1..]).run(&[("image", frame("v", 3, None))]);
        let black = unknown.unwrap()[0].as_image().unwrap().pixels().clone();
        assert!(black.data.iter().all(|byte| *byte == 0));
        let mut fisheye = fields[1..].to_vec();
        fisheye.push(("use_fisheye_model", json!(true)));
        let mut fisheye = Bench::new(&BLOCK, &fisheye);
        assert!(fisheye.run(&[("image", frame("v", 3, None))]).is_err());
    }
}
