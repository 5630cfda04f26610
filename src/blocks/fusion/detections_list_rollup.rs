//! Puts what was found on crops back into the image, and merges what was found on several.
//!
//! # Inputs and outputs
//! `child_detections`, a list with the boxes found on the crop of each row of `parent_detection` →
//! `rolled_up_detections` in coordinates of the root image, those of one class that overlap merged
//! (see [`groups`]), and `crop_zones`, the corners of each crop.
//!
//! # State
//! None.
//!
//! # Edge cases
//! There must be as many sets as parents. Results say of themselves that they are
//! `instance-segmentation`, whatever they are; track ids are lost. No parents give no boxes.

mod groups;

use std::sync::Arc;

use groups::{Child, Group, Rules};
use indexmap::IndexMap;

use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::geometry;
use crate::row;
use crate::values::detections::{column, new_id};
use crate::values::{Detections, Kind, Mask, Value, kind};

const RESULT: &[Kind] = &[
    kind::INSTANCE_SEGMENTATION,
    kind::OBJECT_DETECTION,
    kind::KEYPOINT_DETECTION,
];

/// `roboflow_core/detections_list_rollup@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/detections_list_rollup@v1",
        "DetectionsListRollUp",
    ],
    name: "Detections List Roll-Up",
    family: Family::Fusion,
    stateless: true,
    about: "Puts what was found on crops back into the image, and merges what was found on several.",
    fields: &[
        Field::required("parent_detection", &[Ty::Selector(kind::DETECTIONS)])
            .about("The boxes by which crops were cut."),
        Field::required("child_detections", &[Ty::Selector(&[kind::LIST_OF_VALUES])])
            .about("The boxes found on each crop."),
        Field::optional(
            "confidence_strategy",
            &[
                Ty::Selector(&[kind::LIST_OF_VALUES]),
                Ty::OneOf(&["max", "mean", "min"]),
            ],
            "\"max\"",
        )
        .about("Confidence of merged boxes."),
        Field::optional(
            "overlap_threshold",
            &[Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]), Ty::Float],
            "0.0",
        )
        .bounds(Bounds::within(0.0, 1.0))
        .about("Overlap from which on boxes are merged; 0 for any."),
        Field::optional(
            "keypoint_merge_threshold",
            &[Ty::Selector(&[kind::FLOAT]), Ty::Float],
            "10.0",
        )
        .bounds(Bounds::at_least(0.0))
        .about("Mean distance in pixels below which sets of key points are merged."),
    ],
    outputs: &[
        output("rolled_up_detections", RESULT),
        output("crop_zones", &[kind::LIST_OF_VALUES]),
    ],
    build: |_, _| Ok(Box::new(DetectionsListRollup)),
    ..BlockSpec::DEFAULT
};

struct DetectionsListRollup;

impl Block for DetectionsListRollup {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let parents = inputs.detections("parent_detection")?;
        let sets = inputs.list("child_detections")?;
        let sets: Option<Vec<&Arc<Detections>>> = sets.iter().map(Value::as_detections).collect();
        let sets =
            sets.ok_or_else(|| BlockError::failed("`child_detections` must be a list of boxes"))?;
        if sets.len() != parents.len() {
            return Err(BlockError::failed(format!(
                "{} sets of boxes cannot belong to {} parents",
                sets.len(),
                parents.len()
            )));
        }
        let zones: Vec<Value> = parents.xyxy.iter().map(corners).collect();
        let rules = Rules {
            confidence: inputs
                .value("confidence_strategy")
                .as_str()
                .unwrap_or("")
                .into(),
            overlap: inputs.float("overlap_threshold")?,
            distance: inputs.float("keypoint_merge_threshold")?,
        };
        let rolled_up = match parents.is_empty() {
            true => Detections::empty(),
            false => rolled_up(parents, &sets, &rules)?,
        };
        Ok(Output::One(row![rolled_up, zones]))
    }
}

fn corners(&[x1, y1, x2, y2]: &[f64; 4]) -> Value {
    let point = |x: f64, y: f64| Value::list(vec![Value::Float(x), Value::Float(y)]);
    Value::list(vec![
        point(x1, y1),
        point(x2, y1),
        point(x2, y2),
        point(x1, y2),
    ])
}

fn rolled_up(
    parents: &Detections,
    sets: &[&Arc<Detections>],
    rules: &Rules,
) -> Result<Detections, BlockError> {
    let size = parents.cell(column::ROOT_PARENT_DIMENSIONS, 0);
    let [height, width] = size
        .and_then(|cell| geometry::point(cell).ok())
        .ok_or_else(|| {
            BlockError::failed(format!(
                "the parents do not say how large the root image is (column `{}`)",
                column::ROOT_PARENT_DIMENSIONS
            ))
        })?;
    let size = (width as usize, height as usize);
    let mut children = Vec::new();
    for (i, set) in sets.iter().enumerate() {
        let [x, y, ..] = parents.xyxy[i].map(f64::trunc);
        for row in 0..set.len() {
            children.push(Child::moved(set, row, [x, y], size)?);
        }
    }
    if children.is_empty() {
        return Ok(Detections::empty());
    }
    let first_type = |set: &&Arc<Detections>| set.cell(column::PREDICTION_TYPE, 0).cloned();
    let key_points = sets
        .iter()
        .filter_map(first_type)
        .any(|kind| kind.as_str() == Some("keypoint-detection"));
    let masks = sets.iter().any(|set| set.masks.is_some());
    let mut classes: IndexMap<i64, Vec<Child>> = IndexMap::new();
    for child in children {
        classes.entry(child.class_id).or_default().push(child);
    }
    let mut groups = Vec::new();
    for members in classes.into_values() {
        groups.extend(match (key_points, masks) {
            (true, _) => rules.by_key_points(members),
            (false, true) => rules.by_masks(members),
            (false, false) => rules.by_boxes(members),
        });
    }
    let mut out = table(&groups, sets, size, masks && !key_points);
    if key_points {
        groups::add_key_points(&mut out, &groups);
    } else {
        // Key points follow boxes only if the children say that they are key point detections.
        out.data.retain(|name, _| !name.starts_with("keypoints_"));
    }
    Ok(out)
}

/// The groups as rows, with every column that a child has.
fn table(
    groups: &[Group],
    sets: &[&Arc<Detections>],
    (width, height): (usize, usize),
    masks: bool,
) -> Detections {
    let single = |x: f64| f64::from(x as f32);
    let mask = |group: &Group| group.mask.clone().unwrap_or(Mask::empty(width, height));
    let mut out = Detections {
        xyxy: Arc::new(groups.iter().map(|g| g.xyxy.map(single)).collect()),
        masks: masks.then(|| Arc::new(groups.iter().map(mask).collect())),
        confidence: Some(Arc::new(
            groups.iter().map(|g| single(g.confidence)).collect(),
        )),
        class_id: Some(Arc::new(groups.iter().map(|g| g.class_id).collect())),
        ..Detections::default()
    };
    for name in sets.iter().flat_map(|set| set.data.keys()) {
        if !out.data.contains_key(name) {
            let cells = groups.iter().map(|group| group.cell(name)).collect();
            out.set_column(name, cells);
        }
    }
    let origin = Value::list(vec![Value::Int(0), Value::Int(0)]);
    for (name, otherwise) in [
        (column::PARENT_COORDINATES, &origin),
        (column::ROOT_PARENT_COORDINATES, &origin),
        (column::ROOT_PARENT_ID, &Value::from("image")),
    ] {
        let cell = |group: &Group| match group.cell_of_class(name) {
            Value::None => otherwise.clone(),
            known => known,
        };
        if out.data.contains_key(name) {
            out.set_column(name, groups.iter().map(cell).collect());
        }
    }
    let size = Value::list(vec![height.into(), width.into()]);
    for name in [
        column::ROOT_PARENT_DIMENSIONS,
        column::PARENT_DIMENSIONS,
        column::IMAGE_DIMENSIONS,
    ] {
        if out.data.contains_key(name) {
            out.fill_column(name, size.clone());
        }
    }
    let fresh = || groups.iter().map(|_| new_id().into()).collect();
    for name in [column::PARENT_ID, column::INFERENCE_ID] {
        let first = sets.first().and_then(|set| set.cell(name, 0)).cloned();
        match first {
            _ if !out.data.contains_key(name) => {}
            Some(first) => out.fill_column(name, first),
            None => out.set_column(name, fresh()),
        }
    }
    if out.data.contains_key(column::DETECTION_ID) {
        out.set_column(column::DETECTION_ID, fresh());
    }
    if out.data.contains_key(column::PREDICTION_TYPE) {
        out.fill_column(column::PREDICTION_TYPE, "instance-segmentation".into());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, boxes};
    use serde_json::{Value as Json, json};

    fn parents(rows: &[[f64; 4]]) -> Detections {
        let plain: Vec<_> = rows.iter().map(|r| (*r, 0.9)).collect();
        let mut set = boxes(&plain);
        let size = Value::list(vec![Value::Int(240), Value::Int(320)]);
        set.fill_column(column::ROOT_PARENT_DIMENSIONS, size);
        set
    }

    fn roll_up(
        fields: &[(&str, Json)],
        parents: Detections,
        children: Vec<Detections>,
    ) -> Result<Arc<Detections>, BlockError> {
        let children = children.into_iter().map(Value::from).collect();
        let given = [
            ("parent_detection", parents.into()),
            ("child_detections", Value::list(children)),
        ];
        let row = Bench::new(&BLOCK, fields).run(&given)?;
        Ok(row[0].as_detections().unwrap().clone())
    }

    const TWO: [[f64; 4]; 2] = [[20.0, 20.0, 120.0, 100.0], [90.7, 30.4, 200.0, 110.0]];

    #[test]
    fn boxes_on_two_crops_become_one() {
        let children = || {
            vec![
                boxes(&[([74.0, 20.0, 98.0, 60.0], 0.5), ([0.0, 0.0, 9.0, 9.0], 0.4)]),
                boxes(&[([0.0, 8.0, 30.0, 50.0], 0.75)]),
            ]
        };
        let whole = roll_up(&[], parents(&TWO), children()).unwrap();
        assert_eq!(
            *whole.xyxy,
            [[90.0, 38.0, 120.0, 80.0], [20.0, 20.0, 29.0, 29.0]]
        );
        assert_eq!(whole.confidence.as_ref().unwrap()[0], 0.75);
        let mean = roll_up(
            &[("confidence_strategy", json!("mean"))],
            parents(&TWO),
            children(),
        );
        assert_eq!(mean.unwrap().confidence.as_ref().unwrap()[0], 0.625);
        let apart = roll_up(
            &[("overlap_threshold", json!(1.0))],
            parents(&TWO),
            children(),
        );
        assert_eq!(apart.unwrap().len(), 3);
    }

    #[test]
    fn masks_on_two_crops_become_one() {
        let leaf = |x: usize| {
            let mut set = boxes(&[([x as f64, 10.0, x as f64 + 20.0, 30.0], 0.9)]);
            let mask = Mask::from_window(100, 80, [x, 10, 20, 20], &[1; 400]);
            set.masks = Some(Arc::new(vec![mask]));
            set
        };
        let whole = roll_up(&[], parents(&TWO), vec![leaf(75), leaf(0)]).unwrap();
        // The crops begin at (20, 20) and (90, 30).
        assert_eq!(*whole.xyxy, [[90.0, 30.0, 115.0, 60.0]]);
        assert_eq!(whole.masks.as_ref().unwrap()[0].width(), 320);
        let far = roll_up(&[], parents(&TWO), vec![leaf(0), leaf(40)]).unwrap();
        assert_eq!(far.len(), 2);
    }

    #[test]
    fn columns_that_no_child_has_are_not_made_up() {
        let mut child = boxes(&[([1.0, 2.0, 9.0, 9.0], 0.5), ([20.0, 2.0, 29.0, 9.0], 0.5)]);
        child.data.shift_remove(column::PREDICTION_TYPE);
        child.data.shift_remove(column::INFERENCE_ID);
        let points = Value::from_json(&json!([[1.0, 5.0]]));
        child.fill_column(column::KEYPOINTS_XY, points);
        child.fill_column(column::PARENT_ID, "crop".into());
        let empty = Detections::empty();
        let of = |sets| roll_up(&[], parents(&TWO), sets).unwrap();
        let whole = of(vec![child.clone(), empty.clone()]);
        for absent in [
            column::PREDICTION_TYPE,
            column::INFERENCE_ID,
            column::KEYPOINTS_XY,
        ] {
            assert!(!whole.data.contains_key(absent), "{absent}");
        }
        let parent = |set: &Detections, row| {
            let cell = set.cell(column::PARENT_ID, row);
            cell.and_then(Value::as_str).map(str::to_owned)
        };
        assert_eq!(parent(&whole, 1).as_deref(), Some("crop"));
        // Without a row on the first crop each row has a parent of its own.
        let whole = of(vec![empty, child]);
        assert_ne!(parent(&whole, 0), parent(&whole, 1));
    }

    #[test]
    fn key_points_that_agree_become_one() {
        let pose = |x: f64| {
            let mut set = boxes(&[([x, 0.0, x + 30.0, 30.0], 0.8)]);
            set.fill_column(column::PREDICTION_TYPE, "keypoint-detection".into());
            let points = Value::from_json(&json!([[x, 5.0], [x + 10.0, 9.0]]));
            set.set_column(column::KEYPOINTS_XY, vec![points]);
            set
        };
        // The points lie √116 apart.
        let far = [("keypoint_merge_threshold", json!(11.0))];
        let whole = roll_up(&far, parents(&TWO), vec![pose(74.0), pose(0.0)]).unwrap();
        assert_eq!(whole.len(), 1);
        let cell = whole.cell(column::KEYPOINTS_XY, 0).unwrap();
        assert_eq!(
            geometry::points(cell).unwrap(),
            [[92.0, 30.0], [102.0, 34.0]]
        );
        let two = roll_up(&[], parents(&TWO), vec![pose(74.0), pose(0.0)]);
        assert_eq!(two.unwrap().len(), 2);
    }

    #[test]
    fn sets_belong_to_parents() {
        let error = roll_up(&[], parents(&TWO), vec![boxes(&[])]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("1 sets of boxes cannot belong to 2 parents")
        );
        assert!(roll_up(&[], parents(&[]), vec![]).unwrap().is_empty());
        let none = roll_up(&[], parents(&TWO), vec![boxes(&[]), boxes(&[])]);
        assert!(none.unwrap().is_empty());
    }
}
