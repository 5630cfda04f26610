//! Puts two overlapping pictures together.
//!
//! # Inputs and outputs
//! `image1` and `image2`; points that look alike in both (SIFT) say how one is to be warped onto the
//! other (see [`alignment`]) → `stitched_image`, on a canvas for both.
//!
//! # State
//! None.
//!
//! # Edge cases
//! The picture whose points lie further to the left is warped, unless both lie alike. The canvas begins
//! at the picture that is not warped unless the other one reaches beyond it to the left or top, so that
//! parts may be cut. Pictures that cannot be aligned give an empty result, not an error.

mod alignment;

use alignment::{Found, Pair, aligned};

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::geometry;
use crate::imaging::{self, Homography};
use crate::row;
use crate::values::codec::DEFAULT_MAX_PIXELS;
use crate::values::{Image, Matrix, Value, kind};

/// `roboflow_core/stitch_images@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/stitch_images@v1"],
    name: "Stitch Images",
    family: Family::Transformation,
    stateless: true,
    about: "Puts two overlapping pictures together.",
    fields: &[
        Field::required("image1", &[Ty::Selector(&[kind::IMAGE])]).about("One picture."),
        Field::required("image2", &[Ty::Selector(&[kind::IMAGE])]).about("The other."),
        Field::optional(
            "max_allowed_reprojection_error",
            &[
                Ty::Float,
                Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]),
                Ty::Null,
            ],
            "3",
        )
        .about("Pixels by which points may miss each other."),
        Field::optional(
            "count_of_best_matches_per_query_descriptor",
            &[Ty::Int, Ty::Selector(&[kind::INTEGER]), Ty::Null],
            "2",
        )
        .about("How many look-alikes of each point are sought, at least two."),
    ],
    outputs: &[output("stitched_image", &[kind::IMAGE])],
    literal_check: Some(|step| {
        let none = step.number("count_of_best_matches_per_query_descriptor") == Some(0.0);
        let problem = none.then(|| crate::blocks::StepProblem {
            field: Some("count_of_best_matches_per_query_descriptor"),
            message: "must be greater than 0".into(),
        });
        problem.into_iter().collect()
    }),
    build: |_, _| Ok(Box::new(StitchImages)),
    ..BlockSpec::DEFAULT
};

struct StitchImages;

impl Block for StitchImages {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let (one, two) = (inputs.image("image1")?, inputs.image("image2")?);
        let number = |name: &str| inputs.value(name).as_f64().map(f64::abs);
        let tolerance = number("max_allowed_reprojection_error");
        let matches = number("count_of_best_matches_per_query_descriptor");
        if matches == Some(0.0) {
            return Err(BlockError::failed(
                "`count_of_best_matches_per_query_descriptor` must be greater than 0",
            ));
        }
        // Telling whether a look-alike is the only one takes a second one to compare.
        let stitched = match tolerance.zip(matches.filter(|n| *n != 1.0)) {
            Some((tolerance, _)) => stitch(&one.bgr(), &two.bgr(), tolerance).ok().flatten(),
            None => None,
        };
        let id = || format!("{} + {}", one.parent().id, two.parent().id);
        let result = stitched.map(|pixels| Image::new(pixels, id().into()));
        Ok(Output::One(row![result.map_or(Value::None, Value::from)]))
    }
}

fn stitch(one: &Matrix, two: &Matrix, tolerance: f64) -> opencv::Result<Option<Matrix>> {
    let (a, b) = (Found::on(one)?, Found::on(two)?);
    let pairs = a.look_alikes(&b)?;
    let Some((x, y)) = a.mean_x().zip(b.mean_x()) else {
        return Ok(None);
    };
    let back = |pairs: &[Pair]| pairs.iter().map(|(p, q)| (*q, *p)).collect::<Vec<_>>();
    let (base, other, map) = match x < y {
        true => (two, one, aligned(&pairs, tolerance)),
        false => (one, two, aligned(&back(&pairs), tolerance)),
    };
    map.map_or(Ok(None), |map| together(base, other, &map))
}

/// The warped picture and the other one on one canvas; `None` if there is no sensible canvas.
fn together(base: &Matrix, other: &Matrix, map: &Homography) -> opencv::Result<Option<Matrix>> {
    let [w, h] = other.size().map(|side| side as f64);
    let corners =
        [[0.0, 0.0], [0.0, h], [w, h], [w, 0.0]].map(|p| map.point(p).map(|c| f64::from(c as f32)));
    let around = geometry::bounds(corners).unwrap_or_default();
    let [x1, y1, x2, y2] = around.map(f64::trunc);
    let (x2, y2) = (x2.max(base.width as f64), y2.max(base.height as f64));
    let (width, height) = (x2 - x1, y2 - y1);
    let most = f64::from(i16::MAX);
    let sensible = width >= 1.0 && height >= 1.0 && width < most && height < most;
    if !sensible || width * height > DEFAULT_MAX_PIXELS as f64 {
        return Ok(None);
    }
    let (dx, dy) = ((-x1).max(0.0), (-y1).max(0.0));
    let (width, height) = (width as usize, height as usize);
    let mut canvas = map.moved(dx, dy).warped(other, width, height)?;
    let (x, y) = (dx as usize, dy as usize);
    if x + base.width <= width && y + base.height <= height {
        imaging::blend::paste(&mut canvas, [x, y, base.width, base.height], base);
    }
    Ok(Some(canvas))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::Bench;

    /// A picture of 160 × 120 pixels out of a scene, from `x` on. The scene is plain from 110 to 150, so
    /// that what can be seen of the left part lies further to the left.
    fn part(x: usize) -> Image {
        let pixel = |px: usize, py: usize| {
            let (a, b) = (px as f64 / 9.0, py as f64 / 7.0);
            let wave =
                (a.sin() * (b * 1.3).cos() + (a * 0.37 + b).sin() + (a * b * 0.11).cos()) / 3.0;
            if (110..150).contains(&px) {
                128
            } else {
                (wave * 120.0 + 128.0) as u8
            }
        };
        let mut data = Vec::new();
        for y in 0..120 {
            for px in x..x + 160 {
                data.extend([pixel(px, y); 3]);
            }
        }
        Image::new(
            Matrix::new(160, 120, 3, data).unwrap(),
            format!("at{x}").into(),
        )
    }

    fn run(one: Image, two: Image, matches: i64) -> Result<Value, BlockError> {
        run_with(
            "count_of_best_matches_per_query_descriptor",
            matches.into(),
            one,
            two,
        )
    }

    fn run_with(name: &str, value: Value, one: Image, two: Image) -> Result<Value, BlockError> {
        let given = [
            ("image1", one.into()),
            ("image2", two.into()),
            (name, value),
        ];
        Bench::new(&BLOCK, &[])
            .run(&given)
            .map(|row| row[0].clone())
    }

    #[test]
    fn no_tolerance_stands_for_the_usual_one() {
        let with = |tolerance: f64| {
            let name = "max_allowed_reprojection_error";
            let whole = run_with(name, tolerance.into(), part(0), part(60)).unwrap();
            whole.as_image().unwrap().pixels().clone()
        };
        assert_eq!(with(0.0).data, with(3.0).data);
    }

    #[test]
    fn two_parts_of_a_scene_become_one_picture() {
        let whole = run(part(0), part(60), 2).unwrap();
        let whole = whole.as_image().unwrap();
        assert_eq!(&*whole.parent().id, "at0 + at60");
        assert!(whole.width().abs_diff(220) <= 2 && whole.height().abs_diff(120) <= 2);
        let pixels = whole.pixels();
        let scene = [part(0).pixels().clone(), part(60).pixels().clone()];
        let at = |m: &Matrix, x: usize, y: usize| i32::from(m.data[(y * m.width + x) * 3]);
        for (x, y) in [(30, 40), (100, 60), (150, 90), (200, 30)] {
            let want = if x < 160 {
                at(&scene[0], x, y)
            } else {
                at(&scene[1], x - 60, y)
            };
            assert!((at(pixels, x, y) - want).abs() < 25, "{x} {y}");
        }
    }

    #[test]
    fn what_cannot_be_aligned_gives_nothing() {
        let blank = || Image::new(Matrix::filled(80, 60, &[90; 3]), "blank".into());
        assert!(run(blank(), blank(), 2).unwrap().is_none());
        assert!(run(part(0), part(60), 1).unwrap().is_none());
        assert!(run(part(0), part(60), 0).is_err());
    }
}
