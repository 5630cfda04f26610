//! Small pictures in small inputs, checked number by number.

use super::*;
use crate::models::config::InferenceConfig;

/// The preparation of a small input with further entries of `network_input`.
fn preparation(mode: &str, more: &str, changes: &str, resizer: Resizer) -> Preparation {
    let text = format!(
        r#"{{"image_pre_processing": {changes},
        "network_input": {{"training_input_size": {{"height": 4, "width": 6}},
        "color_mode": "rgb", "resize_mode": "{mode}" {more}}}}}"#
    );
    let config: InferenceConfig = serde_json::from_str(&text).unwrap();
    let input = &config.network_input;
    let changes = config.image_pre_processing.clone().unwrap();
    Preparation::new(input, &changes, input.training_input_size, resizer).unwrap()
}

fn written(preparation: &Preparation, image: &Image) -> (Vec<f32>, Placement) {
    let mut planes = vec![f32::NAN; preparation.floats()];
    let placement = preparation.write(image, &mut planes).unwrap();
    (planes, placement)
}

/// Columns of one colour each: the blue of a pixel is its column, its red ten times its row.
fn image(width: usize, height: usize) -> Image {
    let pixel = |i: usize| [(i % width) as u8, 100, (i / width * 10) as u8];
    let data = (0..width * height).flat_map(pixel).collect();
    Image::new(Matrix::new(width, height, 3, data).unwrap(), "image".into())
}

#[test]
fn channels_are_ordered_and_scaled() {
    let as_is = preparation(
        "stretch",
        r#", "scaling_factor": 255"#,
        "{}",
        Resizer::OpenCv,
    );
    let (planes, placement) = written(&as_is, &image(6, 4));
    assert_eq!(planes[5], 0.0);
    assert_eq!(planes[23], 30.0 / 255.0, "red first");
    assert_eq!(planes[48 + 5], 5.0 / 255.0, "blue last");
    assert_eq!(
        placement.to_image([1.0, 1.0, 9.0, 3.5]),
        [1.0, 1.0, 6.0, 4.0]
    );
    let normalised = r#", "scaling_factor": 255,
        "normalization": [[0.5, 0.25, 0.5], [0.5, 0.5, 0.125]]"#;
    let (planes, _) = written(
        &preparation("stretch", normalised, "{}", Resizer::OpenCv),
        &image(6, 4),
    );
    assert_eq!(planes[0], -1.0);
    assert_eq!(planes[24], (100.0 / 255.0 - 0.25) / 0.5);
    assert_eq!(planes[48], -4.0);
}

#[test]
fn a_letterbox_has_a_border_of_its_value() {
    let letterbox = preparation(
        "letterbox",
        r#", "padding_value": 114"#,
        "{}",
        Resizer::OpenCv,
    );
    let (planes, placement) = written(&letterbox, &image(12, 4));
    assert_eq!((placement.left, placement.top), (0.0, 1.0));
    assert_eq!((placement.scale_x, placement.scale_y), (0.5, 0.5));
    assert_eq!(planes[24..30], [114.0; 6]);
    assert_eq!(planes[30..36], [100.0; 6]);
    assert_eq!(
        placement.to_image([0.0, 1.0, 6.0, 3.0]),
        [0.0, 0.0, 12.0, 4.0]
    );
}

#[test]
fn the_longer_edge_is_fitted_as_the_family_does() {
    let letterbox = preparation("fit-longer-edge", "", "{}", Resizer::OpenCv);
    assert_eq!(written(&letterbox, &image(12, 4)).0[0], 127.0);
    let stretched = preparation("fit-longer-edge", "", "{}", Resizer::Pillow);
    let placement = written(&stretched, &image(12, 4)).1;
    assert_eq!((placement.scale_x, placement.scale_y), (0.5, 1.0));
}

#[test]
fn the_middle_is_cut_out_or_framed_without_scaling() {
    let middle = preparation("center-crop", "", "{}", Resizer::OpenCv);
    let (planes, placement) = written(&middle, &image(9, 2));
    assert_eq!((placement.left, placement.top), (-1.0, 1.0));
    assert_eq!(planes[48..54], [0.0; 6], "the frame is black");
    assert_eq!(planes[54..60], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(
        placement.to_image([0.0, 1.0, 6.0, 3.0]),
        [1.0, 0.0, 7.0, 2.0]
    );
}

#[test]
fn a_static_crop_moves_boxes() {
    let crop = r#"{"static-crop":
        {"enabled": true, "x_min": 25, "x_max": 75, "y_min": 50, "y_max": 100}}"#;
    let cropped = preparation("stretch", "", crop, Resizer::OpenCv);
    let (planes, placement) = written(&cropped, &image(12, 8));
    assert_eq!(planes[48..54], [3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    assert_eq!(planes[0], 40.0);
    assert_eq!(
        placement.to_image([0.0, 0.0, 6.0, 4.0]),
        [3.0, 4.0, 9.0, 8.0]
    );
    let nothing = r#"{"static-crop": {"enabled": true, "x_min": 50, "x_max": 50}}"#;
    let nothing = preparation("stretch", "", nothing, Resizer::OpenCv);
    assert!(nothing.write(&image(12, 8), &mut [0.0; 72]).is_err());
}

#[test]
fn gray_is_in_all_planes() {
    let gray = r#"{"grayscale": {"enabled": true}}"#;
    let (planes, _) = written(
        &preparation("stretch", "", gray, Resizer::OpenCv),
        &image(6, 4),
    );
    assert_eq!(planes[..24], planes[24..48]);
    assert_eq!(planes[..24], planes[48..]);
}

#[test]
fn dimensions_of_the_data_set_come_before_the_networks() {
    let more = r#", "padding_value": 114,
        "dataset_version_resize_dimensions": {"height": 24, "width": 12}"#;
    let (planes, placement) = written(
        &preparation("letterbox", more, "{}", Resizer::Pillow),
        &image(24, 12),
    );
    assert_eq!((placement.left, placement.top), (0.0, 9.0));
    assert_eq!((placement.unit_x, placement.unit_y), (12.0, 24.0));
    assert_eq!(placement.scale_x, 0.5);
    assert_eq!(planes[0], 114.0 / 255.0);
    assert_eq!(
        placement.to_image([0.0, 9.0, 12.0, 15.0]),
        [0.0, 0.0, 24.0, 12.0]
    );
}

#[test]
fn the_thinnest_picture_keeps_a_pixel() {
    let letterbox = preparation("letterbox", "", "{}", Resizer::OpenCv);
    let (planes, _) = written(&letterbox, &image(1000, 1));
    assert!(planes.iter().all(|value| value.is_finite()));
}

#[test]
fn only_three_channels_can_be_prepared() {
    let text = r#"{"network_input": {"training_input_size": {"height": 4, "width": 6},
        "color_mode": "rgb", "resize_mode": "stretch", "input_channels": 1}}"#;
    let config: InferenceConfig = serde_json::from_str(text).unwrap();
    let input = &config.network_input;
    let size = input.training_input_size;
    let made = Preparation::new(input, &Default::default(), size, Resizer::OpenCv);
    assert!(made.unwrap_err().contains("input_channels"));
}
