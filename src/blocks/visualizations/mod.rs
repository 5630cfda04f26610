//! Drawing.

pub mod anomaly_heatmap_visualization;
pub mod background_color_visualization;
pub mod blur_visualization;
pub mod bounding_box_visualization;
pub mod circle_visualization;
pub mod classification_label_visualization;
pub mod color_visualization;
pub mod common;
pub mod corner_visualization;
pub mod crop_visualization;
pub mod dot_visualization;
pub mod ellipse_visualization;
pub mod grid_visualization;
pub mod halo_visualization;
pub mod heatmap_visualization;
pub mod icon_visualization;
pub mod keypoint_visualization;
pub mod label_visualization;
pub mod line_counter_visualization;
pub mod mask_visualization;
pub mod model_comparison_visualization;
pub mod pixelate_visualization;
pub mod polygon_visualization;
pub mod polygon_zone_visualization;
pub mod reference_path_visualization;
pub mod text_display;
pub mod trace_visualization;
pub mod triangle_visualization;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &anomaly_heatmap_visualization::BLOCK,
    &background_color_visualization::BLOCK,
    &blur_visualization::BLOCK,
    &bounding_box_visualization::BLOCK,
    &circle_visualization::BLOCK,
    &classification_label_visualization::BLOCK,
    &color_visualization::BLOCK,
    &corner_visualization::BLOCK,
    &crop_visualization::BLOCK,
    &dot_visualization::BLOCK,
    &ellipse_visualization::BLOCK,
    &grid_visualization::BLOCK,
    &halo_visualization::V1,
    &halo_visualization::V2,
    &heatmap_visualization::BLOCK,
    &icon_visualization::BLOCK,
    &keypoint_visualization::BLOCK,
    &label_visualization::V1,
    &label_visualization::V2,
    &line_counter_visualization::BLOCK,
    &mask_visualization::BLOCK,
    &model_comparison_visualization::BLOCK,
    &pixelate_visualization::BLOCK,
    &polygon_visualization::V1,
    &polygon_visualization::V2,
    &polygon_zone_visualization::BLOCK,
    &reference_path_visualization::BLOCK,
    &text_display::BLOCK,
    &trace_visualization::BLOCK,
    &triangle_visualization::BLOCK,
];
