//! Boxes and masks on parts of an image, told in the coordinates of the whole, are where they were.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::cases;
use crate::blocks::BlockSpec;
use crate::blocks::bench::{Bench, batch, boxes};
use crate::blocks::fusion::detections_stitch;
use crate::blocks::transformations::{
    dynamic_crop, image_slicer, perspective_correction, static_crop,
};
use crate::imaging::Homography;
use crate::values::coordinates::to_root;
use crate::values::detections::column;
use crate::values::{Detections, Image, Mask, Matrix, Value, mask_sets};

const WIDTH: usize = 240;
const HEIGHT: usize = 180;

fn picture() -> Image {
    Image::new(Matrix::filled(WIDTH, HEIGHT, &[0; 3]), "whole".into())
}

/// A mask that fills a box of whole pixels but for its first corner, so that no two sides are alike.
fn mask([x1, y1, x2, y2]: [usize; 4], size: [usize; 2]) -> Mask {
    let (w, h) = (x2 - x1, y2 - y1);
    let bits: Vec<u8> = (0..w * h)
        .map(|i| u8::from(i % w + 2 * (i / w) >= w / 3))
        .collect();
    Mask::from_window(size[0], size[1], [x1, y1, w, h], &bits)
}

/// Boxes of whole pixels with masks, found on an image.
fn found(image: &Image, rows: &[[usize; 4]]) -> Detections {
    let plain: Vec<_> = rows.iter().map(|r| (r.map(|v| v as f64), 0.9)).collect();
    let size = [image.width(), image.height()];
    let mut set = boxes(&plain);
    set.masks = Some(Arc::new(rows.iter().map(|r| mask(*r, size)).collect()));
    let names = (0..rows.len()).map(|i| i.to_string().into()).collect();
    set.set_column(column::DETECTION_ID, names);
    set.attach_image(image);
    set
}

/// A box of at least `least` pixels a side inside `width` by `height` pixels.
fn inside(width: usize, height: usize, least: usize) -> impl Strategy<Value = [usize; 4]> {
    let span = |length: usize| {
        (0..length - least).prop_flat_map(move |start| (Just(start), start + least..=length))
    };
    (span(width), span(height)).prop_map(|((x1, x2), (y1, y2))| [x1, y1, x2, y2])
}

fn cut_out(spec: &'static BlockSpec, image: &Image, [x1, y1, x2, y2]: [usize; 4]) -> Image {
    // The crop begins at the centre minus half the length, rounded; even lengths keep that exact.
    let (width, height) = ((x2 - x1) / 2 * 2, (y2 - y1) / 2 * 2);
    let fields = [
        ("x_center", json!(x1 + width / 2)),
        ("y_center", json!(y1 + height / 2)),
        ("width", json!(width)),
        ("height", json!(height)),
    ];
    let rows = Bench::new(spec, &fields).run_many(&[("images", batch(vec![image.clone().into()]))]);
    rows.unwrap()[0][0].as_image().unwrap().clone()
}

proptest! {
    #![proptest_config(cases(64))]

    /// Crop of a crop: what is found on the innermost is told in the root's coordinates.
    #[test]
    fn what_is_found_on_crops_lies_where_it_was(
        outer in inside(WIDTH, HEIGHT, 60),
        share in [0.0..1.0f64, 0.0..1.0, 0.0..1.0, 0.0..1.0],
    ) {
        let whole = picture();
        let crop = cut_out(&static_crop::ABSOLUTE, &whole, outer);
        // A box inside the crop, at least 12 pixels a side.
        let place = |from: f64, length: f64, side: usize| {
            let size = 12 + (length * (side - 12) as f64) as usize;
            let start = (from * (side - size) as f64) as usize;
            (start, start + size)
        };
        let (x1, x2) = place(share[0], share[1], crop.width());
        let (y1, y2) = place(share[2], share[3], crop.height());
        let on_crop = found(&crop, &[[x1, y1, x2, y2]]);
        let told = to_root(&on_crop);
        let moved = [outer[0], outer[1], outer[0], outer[1]];
        let at = [0, 1, 2, 3].map(|i| [x1, y1, x2, y2][i] + moved[i]);
        prop_assert_eq!(told.xyxy[0], at.map(|v| v as f64));
        let mask_there = &told.masks.as_ref().unwrap()[0];
        prop_assert_eq!(mask_there, &mask(at, [WIDTH, HEIGHT]));
        let back = mask_there.cut(outer[0] as i64, outer[1] as i64, crop.width(), crop.height());
        prop_assert_eq!(&back, &on_crop.masks.as_ref().unwrap()[0]);

        let fields = [
            ("images", batch(vec![crop.clone().into()])),
            ("predictions", batch(vec![on_crop.into()])),
        ];
        let rows = Bench::new(&dynamic_crop::BLOCK, &[]).run_nested(&fields).unwrap();
        let inner = rows[0][0][0].as_image().unwrap();
        let alone = rows[0][0][1].as_detections().unwrap();
        let here = [0, 0, inner.width(), inner.height()];
        prop_assert_eq!(alone.xyxy[0], here.map(|v| v as f64));
        let told = to_root(&found(inner, &[here]));
        prop_assert_eq!(told.xyxy[0], at.map(|v| v as f64));
        let (root, own) = (inner.root(), &alone.masks.as_ref().unwrap()[0]);
        prop_assert_eq!(&own.moved(root.x, root.y, WIDTH, HEIGHT), &mask(at, [WIDTH, HEIGHT]));
    }

    /// Boxes found on every slice that holds them are, stitched, the boxes of the whole image.
    #[test]
    fn slices_stitched_have_the_boxes_of_the_whole(
        size in [50usize..120, 50usize..120],
        share in [0.0..0.6f64, 0.0..0.6],
        objects in prop::collection::vec(inside(WIDTH, HEIGHT, 8), 1..12),
        even in any::<bool>(),
    ) {
        let whole = picture();
        let fields = [
            ("slice_width", json!(size[0])),
            ("slice_height", json!(size[1])),
            ("overlap_ratio_width", json!(share[0])),
            ("overlap_ratio_height", json!(share[1])),
        ];
        let spec = if even { &image_slicer::V2 } else { &image_slicer::V1 };
        let slices = Bench::new(spec, &fields).run_many(&[("image", whole.clone().into())]).unwrap();
        let mut expected = Vec::new();
        let mut sets = Vec::new();
        for slice in slices.iter().map(|row| row[0].as_image().unwrap()) {
            let (x, y) = (slice.parent().x as usize, slice.parent().y as usize);
            let (right, low) = (x + slice.width(), y + slice.height());
            let held = objects.iter().filter(|b| b[0] >= x && b[1] >= y && b[2] <= right && b[3] <= low);
            let held: Vec<[usize; 4]> = held.copied().collect();
            let local: Vec<_> = held.iter().map(|b| [b[0] - x, b[1] - y, b[2] - x, b[3] - y]).collect();
            expected.extend(held);
            sets.push(Value::from(found(slice, &local)));
        }
        let stitch = |strategy: &str| {
            let row = Bench::new(&detections_stitch::BLOCK, &[]).run(&[
                ("reference_image", whole.clone().into()),
                ("predictions", Value::list(sets.clone())),
                ("overlap_filtering_strategy", strategy.into()),
                ("iou_threshold", 0.999.into()),
            ]);
            row.unwrap()[0].as_detections().unwrap().clone()
        };
        let all = stitch("none");
        prop_assert_eq!(all.len(), expected.len());
        for (row, want) in expected.iter().enumerate() {
            prop_assert_eq!(all.xyxy[row], want.map(|v| v as f64));
            prop_assert_eq!(&all.masks.as_ref().unwrap()[row], &mask(*want, [WIDTH, HEIGHT]));
        }
        // What was found twice is one box, and nothing else goes.
        expected.sort_unstable();
        expected.dedup();
        let mut once: Vec<[usize; 4]> = stitch("nms").xyxy.iter().map(|b| b.map(|v| v as usize)).collect();
        once.sort_unstable();
        prop_assert_eq!(once, expected);
    }

    /// Through a perspective and through its inverse, masks stay and boxes hold what they held.
    #[test]
    fn a_perspective_and_its_inverse_leave_masks_where_they_were(
        object in inside(WIDTH, HEIGHT, 40),
        lean in [-25.0..25.0f64, -25.0..25.0, -25.0..25.0, -25.0..25.0],
    ) {
        let (w, h) = (WIDTH as f64 - 1.0, HEIGHT as f64 - 1.0);
        let quad = [[lean[0], h + lean[1]], [lean[2], lean[3]], [w + lean[1], lean[0]], [w + lean[3], h + lean[2]]];
        let large = [WIDTH * 3, HEIGHT * 3];
        let set = found(&picture(), &[object]);
        let there = corrected(quad, large, &set);
        let (right, low) = (large[0] as f64 - 1.0, large[1] as f64 - 1.0);
        let map = Homography::between(&quad, &[[0.0, low], [0.0, 0.0], [right, 0.0], [right, low]]).unwrap();
        let back = [[0.0, h], [0.0, 0.0], [w, 0.0], [w, h]].map(|corner| map.point(corner));
        // A corner beyond the rectangle is cut off there.
        let corner = |x: usize, y: usize| map.point([x as f64, y as f64]);
        let [x1, y1, x2, y2] = object;
        let corners = [corner(x1, y1), corner(x2, y1), corner(x2, y2), corner(x1, y2)];
        prop_assume!(corners.iter().all(|p| (0.0..=right).contains(&p[0]) && (0.0..=low).contains(&p[1])));
        let again = corrected(back, [WIDTH, HEIGHT], &there);
        let (before, after) = (&set.masks.as_ref().unwrap()[0], &again.masks.as_ref().unwrap()[0]);
        let overlap = mask_sets::iou(before, after);
        prop_assert!(overlap > 0.93, "{}: {:?} {:?}", overlap, before.window(), after.window());

        // Boxes alone grow, as each time an upright box is put around a turned one.
        let mut bare = set.clone();
        bare.masks = None;
        let again = corrected(back, [WIDTH, HEIGHT], &corrected(quad, large, &bare));
        let (was, is) = (bare.xyxy[0], again.xyxy[0]);
        prop_assert!(is[0] <= was[0] + 1.0 && is[1] <= was[1] + 1.0, "{:?} {:?}", was, is);
        prop_assert!(is[2] >= was[2] - 1.0 && is[3] >= was[3] - 1.0, "{:?} {:?}", was, is);
    }

    /// Without a turn the boxes come back to the pixel.
    #[test]
    fn an_upright_perspective_gives_the_boxes_back(
        object in inside(WIDTH, HEIGHT, 4),
        part in inside(WIDTH, HEIGHT, 30),
    ) {
        let set = { let mut set = found(&picture(), &[object]); set.masks = None; set };
        let [x1, y1, x2, y2] = part.map(|v| v as f64);
        let quad = [[x1, y2], [x1, y1], [x2, y1], [x2, y2]];
        let large = [WIDTH * 2, HEIGHT * 2];
        let (right, low) = (large[0] as f64 - 1.0, large[1] as f64 - 1.0);
        let map = Homography::between(&quad, &[[0.0, low], [0.0, 0.0], [right, 0.0], [right, low]]).unwrap();
        let (w, h) = (WIDTH as f64 - 1.0, HEIGHT as f64 - 1.0);
        let back = [[0.0, h], [0.0, 0.0], [w, 0.0], [w, h]].map(|corner| map.point(corner));
        let again = corrected(back, [WIDTH, HEIGHT], &corrected(quad, large, &set));
        prop_assert_eq!(again.xyxy[0], set.xyxy[0]);
    }
}

/// The detections in the rectangle of `size` that a quad becomes.
fn corrected(quad: [[f64; 2]; 4], size: [usize; 2], set: &Detections) -> Detections {
    let fields = [
        ("perspective_polygons", json!(quad)),
        ("transformed_rect_width", json!(size[0])),
        ("transformed_rect_height", json!(size[1])),
    ];
    let given = [
        ("images", batch(vec![picture().into()])),
        ("predictions", batch(vec![set.clone().into()])),
    ];
    let rows = Bench::new(&perspective_correction::BLOCK, &fields).run_many(&given);
    (**rows.unwrap()[0][0].as_detections().unwrap()).clone()
}
