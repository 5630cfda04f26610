//! Operations on sets of boxes and on single boxes. The set that comes in is never changed.

use std::cmp::Ordering;
use std::sync::Arc;

use super::node::{Node, Read};
use super::properties::Property;
use super::rename::Rename;
use super::statements::StatementGroup;
use super::{CURRENT, QueryError, Scope};
use crate::values::serialise::{OutputOptions, serialise};
use crate::values::{Detection, Detections, Value, kind};

/// An operation on boxes.
#[derive(Debug)]
pub(super) enum DetectionsOperation {
    /// `DetectionsPropertyExtract`
    Properties(Property),
    /// `ExtractDetectionProperty`
    Property(Property),
    /// `DetectionsFilter`
    Filter(StatementGroup),
    /// `DetectionsSelection`
    Select(Selection),
    /// `SortDetections`
    Sort { by: SortKey, ascending: bool },
    /// `DetectionsOffset`
    Offset { x: i64, y: i64 },
    /// `DetectionsShift`
    Shift { x: i64, y: i64 },
    /// `DetectionsRename`
    Rename(Box<Rename>),
    /// `PickDetectionsByParentClass`
    PickByParent { class: String },
    /// `DetectionsToDictionary`
    Dictionary,
}

/// Which box `DetectionsSelection` keeps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Selection {
    LeftMost,
    RightMost,
    TopConfidence,
    First,
    Last,
}

/// What `SortDetections` sorts by.
#[derive(Clone, Copy, Debug)]
pub(super) enum SortKey {
    Confidence,
    Edge(usize),
    Size,
    CenterX,
    CenterY,
}

impl DetectionsOperation {
    pub(super) fn read(name: &str, node: &Node<'_>, path: &str) -> Option<Read<Self>> {
        Some(match name {
            "DetectionsPropertyExtract" => Property::read(node).map(Self::Properties),
            "ExtractDetectionProperty" => Property::read(node).map(Self::Property),
            "DetectionsFilter" => node
                .need("filter_operation")
                .and_then(|group| Ok(Self::Filter(StatementGroup::read(&group, path)?))),
            "DetectionsSelection" => read_selection(node).map(Self::Select),
            "SortDetections" => read_sort(node),
            "DetectionsOffset" => {
                read_pair(node, "offset_x", "offset_y").map(|(x, y)| Self::Offset { x, y })
            }
            "DetectionsShift" => {
                read_pair(node, "shift_x", "shift_y").map(|(x, y)| Self::Shift { x, y })
            }
            "DetectionsRename" => Rename::read(node).map(|rename| Self::Rename(Box::new(rename))),
            "PickDetectionsByParentClass" => node.need("parent_class").and_then(|class| {
                let class = class.text()?.to_owned();
                Ok(Self::PickByParent { class })
            }),
            "DetectionsToDictionary" => Ok(Self::Dictionary),
            _ => return None,
        })
    }

    pub(super) fn apply(&self, value: Value, scope: &Scope<'_>) -> Result<Value, QueryError> {
        if let Self::Property(property) = self {
            let Value::Detection(one) = &value else {
                return Err(scope.takes("a single box (`_` of a filter)", &value));
            };
            return property
                .of_one(one)
                .map_err(|absent| scope.broke(format!("the box has no `{}`", absent.0)));
        }
        let Value::Detections(set) = &value else {
            return Err(match self {
                Self::Properties(_) | Self::PickByParent { .. } | Self::Dictionary => {
                    scope.takes("boxes", &value)
                }
                _ => scope.takes_unplaced("boxes", &value),
            });
        };
        match self {
            Self::Properties(property) => property.of_set(set).map_err(|absent| {
                scope.failed(format!("the boxes have no property `{}`", absent.0))
            }),
            Self::Filter(group) => filter(set, group, scope),
            Self::Select(selection) => select(set, *selection, scope),
            Self::Sort { by, ascending } => Ok(sort(set, *by, *ascending)),
            Self::Offset { x, y } => {
                let (dx, dy) = (*x as f64 / 2.0, *y as f64 / 2.0);
                Ok(moved(set, [-dx, -dy, dx, dy]))
            }
            Self::Shift { x, y } => {
                let (x, y) = (*x as f64, *y as f64);
                Ok(moved(set, [x, y, x, y]))
            }
            Self::Rename(rename) => rename.apply(set, scope),
            Self::PickByParent { class } => Ok(pick_by_parent(set, class)),
            Self::Dictionary => dictionary(&value, scope),
            Self::Property(_) => Ok(value),
        }
    }

    /// Whether a set of boxes comes out as a set of boxes.
    pub(super) fn keeps_detections(&self) -> bool {
        !matches!(
            self,
            Self::Properties(_) | Self::Property(_) | Self::Dictionary
        )
    }

    pub(super) fn collect_names(&self, names: &mut Vec<Arc<str>>) {
        match self {
            Self::Filter(group) => {
                let mut inner = group.names();
                inner.retain(|name| &**name != CURRENT);
                names.append(&mut inner);
            }
            Self::Rename(rename) => rename.collect_names(names),
            _ => {}
        }
    }
}

fn read_selection(node: &Node<'_>) -> Read<Selection> {
    node.need("mode")?.one_of(&[
        ("left_most", Selection::LeftMost),
        ("right_most", Selection::RightMost),
        ("top_confidence", Selection::TopConfidence),
        ("first", Selection::First),
        ("last", Selection::Last),
    ])
}

fn read_sort(node: &Node<'_>) -> Read<DetectionsOperation> {
    let by = node.need("mode").and_then(|mode| {
        mode.one_of(&[
            ("confidence", SortKey::Confidence),
            ("x_min", SortKey::Edge(0)),
            ("x_max", SortKey::Edge(2)),
            ("y_min", SortKey::Edge(1)),
            ("y_max", SortKey::Edge(3)),
            ("size", SortKey::Size),
            ("center_x", SortKey::CenterX),
            ("center_y", SortKey::CenterY),
        ])
    });
    let ascending = node.or("ascending", true, |field| field.flag());
    Ok(DetectionsOperation::Sort {
        by: by?,
        ascending: ascending?,
    })
}

fn read_pair(node: &Node<'_>, x: &str, y: &str) -> Read<(i64, i64)> {
    let x = node.need(x).and_then(|field| field.int());
    let y = node.need(y).and_then(|field| field.int());
    Ok((x?, y?))
}

fn filter(
    set: &Arc<Detections>,
    group: &StatementGroup,
    scope: &Scope<'_>,
) -> Result<Value, QueryError> {
    let mut kept = Vec::with_capacity(set.len());
    for row in 0..set.len() {
        let one = Value::Detection(Detection {
            set: set.clone(),
            row,
        });
        if group.holds(&scope.params.with_current(&one), scope.cx)? {
            kept.push(row);
        }
    }
    Ok(match kept.len() == set.len() {
        true => Value::Detections(set.clone()),
        false => set.take(&kept).into(),
    })
}

fn select(
    set: &Arc<Detections>,
    selection: Selection,
    scope: &Scope<'_>,
) -> Result<Value, QueryError> {
    if set.is_empty() {
        return Ok(Value::Detections(set.clone()));
    }
    let first_where = |wanted: Ordering, key: &dyn Fn(usize) -> f64| {
        (1..set.len()).fold(0, |best, row| {
            match key(row).partial_cmp(&key(best)) == Some(wanted) {
                true => row,
                false => best,
            }
        })
    };
    let row = match selection {
        Selection::First => 0,
        Selection::Last => set.len() - 1,
        Selection::LeftMost => first_where(Ordering::Less, &|row| set.center(row)[0]),
        Selection::RightMost => first_where(Ordering::Greater, &|row| set.center(row)[0]),
        Selection::TopConfidence => match &set.confidence {
            Some(confidence) => first_where(Ordering::Greater, &|row| confidence[row]),
            None => return Err(scope.failed("the boxes have no confidences")),
        },
    };
    Ok(set.take(&[row]).into())
}

/// Stable ascending order with undefined numbers last; descending is its reverse, so ties come out
/// reversed. Without the confidences to sort by the set stays as it is.
fn sort(set: &Arc<Detections>, by: SortKey, ascending: bool) -> Value {
    let keys: Vec<f64> = match (by, &set.confidence) {
        (SortKey::Confidence, Some(confidence)) => confidence.to_vec(),
        (SortKey::Confidence, None) => return Value::Detections(set.clone()),
        (SortKey::Edge(i), _) => set.xyxy.iter().map(|corners| corners[i]).collect(),
        (SortKey::Size, _) => (0..set.len()).map(|row| set.area(row)).collect(),
        (SortKey::CenterX, _) => (0..set.len()).map(|row| set.center(row)[0]).collect(),
        (SortKey::CenterY, _) => (0..set.len()).map(|row| set.center(row)[1]).collect(),
    };
    if set.is_empty() {
        return Value::Detections(set.clone());
    }
    let mut rows: Vec<usize> = (0..set.len()).collect();
    rows.sort_by(|&a, &b| {
        let (a, b) = (keys[a], keys[b]);
        a.partial_cmp(&b)
            .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
    });
    if !ascending {
        rows.reverse();
    }
    set.take(&rows).into()
}

fn moved(set: &Detections, by: [f64; 4]) -> Value {
    let corners = set
        .xyxy
        .iter()
        .map(|corners| std::array::from_fn(|i| corners[i] + by[i]));
    Detections {
        xyxy: Arc::new(corners.collect()),
        ..set.clone()
    }
    .into()
}

/// Boxes of a class, then the others whose centre lies in one of them, borders included. Without
/// such a class the result is an empty set that does not even know its image.
fn pick_by_parent(set: &Detections, class: &str) -> Value {
    let is_parent = |row: usize| set.class_name(row).is_some_and(|name| **name == *class);
    let (parents, others): (Vec<usize>, Vec<usize>) = (0..set.len()).partition(|&r| is_parent(r));
    if parents.is_empty() {
        return Detections::empty().into();
    }
    let inside = |row: usize| {
        let [x, y] = set.center(row);
        parents.iter().any(|&parent| {
            let [x1, y1, x2, y2] = set.xyxy[parent];
            x1 <= x && x <= x2 && y1 <= y && y <= y2
        })
    };
    let children: Vec<usize> = others.into_iter().filter(|&row| inside(row)).collect();
    set.take(&[parents, children].concat()).into()
}

/// The set as the object that clients get, in its own coordinates.
fn dictionary(set: &Value, scope: &Scope<'_>) -> Result<Value, QueryError> {
    let options = OutputOptions::new(scope.cx.now());
    match serialise(&[kind::OBJECT_DETECTION], set, &options) {
        Ok(json) => Ok(Value::from_json(&json)),
        Err(error) => Err(scope.failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use crate::blocks::query::trial::{apply, apply_with, boxes, ids, shown};
    use crate::values::{Detections, Value};
    use serde_json::{Value as Json, json};

    fn run(operation: Json) -> Value {
        apply(json!([operation]), boxes().into()).unwrap()
    }

    fn corners(value: &Value, row: usize) -> [f64; 4] {
        value.as_detections().unwrap().xyxy[row]
    }

    fn filter(operator: &str, conditions: &[(&str, &str, Json)]) -> Json {
        let statements: Vec<Json> = conditions
            .iter()
            .map(|(property, comparator, value)| {
                json!({
                    "type": "BinaryStatement", "comparator": {"type": comparator},
                    "left_operand": {"type": "DynamicOperand", "operations": [
                        {"type": "ExtractDetectionProperty", "property_name": property}]},
                    "right_operand": {"type": "StaticOperand", "value": value},
                })
            })
            .collect();
        json!({"type": "DetectionsFilter", "filter_operation": {
            "type": "StatementGroup", "operator": operator, "statements": statements}})
    }

    #[test]
    fn sorting_is_stable_and_descending_is_its_reverse() {
        for (mode, ascending, order) in [
            ("confidence", true, "d1 d0 d2"),
            ("confidence", false, "d2 d0 d1"),
            ("center_y", true, "d0 d2 d1"),
            ("size", true, "d2 d0 d1"),
            ("x_min", false, "d1 d2 d0"),
        ] {
            let operation = json!({"type": "SortDetections", "mode": mode, "ascending": ascending});
            assert_eq!(ids(&run(operation)), order, "{mode}");
        }
        let mut unsure = boxes();
        unsure.confidence = None;
        let by_confidence = json!([{"type": "SortDetections", "mode": "confidence"}]);
        assert_eq!(
            ids(&apply(by_confidence, unsure.into()).unwrap()),
            "d0 d1 d2"
        );
    }

    #[test]
    fn selections_take_the_first_of_equals() {
        for (mode, id) in [
            ("top_confidence", "d0"),
            ("left_most", "d0"),
            ("right_most", "d1"),
            ("first", "d0"),
            ("last", "d2"),
        ] {
            let operation = json!({"type": "DetectionsSelection", "mode": mode});
            assert_eq!(ids(&run(operation.clone())), id, "{mode}");
            let none = apply(json!([operation]), boxes().take(&[]).into()).unwrap();
            assert_eq!(ids(&none), "", "{mode}");
        }
    }

    #[test]
    fn boxes_grow_and_move_without_clipping() {
        let grown = run(json!({"type": "DetectionsOffset", "offset_x": 3, "offset_y": 10}));
        assert_eq!(corners(&grown, 0), [8.5, 10.0, 31.5, 30.0]);
        let moved = run(json!({"type": "DetectionsShift", "shift_x": -30, "shift_y": 5}));
        assert_eq!(corners(&moved, 0), [-20.0, 20.0, 0.0, 30.0]);
        assert_eq!(ids(&moved), "d0 d1 d2");
    }

    #[test]
    fn boxes_are_picked_with_their_parents() {
        let pick = |class: &str| {
            run(json!({"type": "PickDetectionsByParentClass", "parent_class": class}))
        };
        assert_eq!(ids(&pick("person")), "d0 d2");
        let none = pick("plane");
        let none = none.as_detections().unwrap();
        assert!(none.is_empty() && none.data.is_empty() && none.class_id.is_some());
    }

    #[test]
    fn filters_keep_order_columns_and_image_facts() {
        let square = json!([[0, 0], [30, 0], [30, 30], [0, 30]]);
        let through_d0 = json!([[20, 0], [30, 0], [30, 30], [20, 30]]);
        for (operation, kept) in [
            (
                filter(
                    "or",
                    &[("class_name", "in (Sequence)", json!(["car", "face"]))],
                ),
                "d1 d2",
            ),
            (
                filter("or", &[("center", "(Detection) in zone", square)]),
                "d0 d2",
            ),
            (
                filter("or", &[("center", "(Detection) in zone", through_d0)]),
                "d2",
            ),
            (
                filter(
                    "or",
                    &[
                        ("confidence", "(Number) >", json!(0.6)),
                        ("class_name", "==", json!("car")),
                    ],
                ),
                "d0 d1 d2",
            ),
            (
                filter(
                    "and",
                    &[
                        ("confidence", "(Number) >", json!(0.6)),
                        ("class_name", "==", json!("face")),
                    ],
                ),
                "d2",
            ),
        ] {
            assert_eq!(ids(&run(operation.clone())), kept, "{operation}");
        }
        let mut tracked = boxes();
        tracked.tracker_id = Some(vec![1, 2, 3].into());
        let by_track = json!([filter("or", &[("tracker_id", "(Number) >", json!(1))])]);
        let kept = apply(by_track.clone(), tracked.into()).unwrap();
        assert_eq!(ids(&kept), "d1 d2");
        assert_eq!(
            shown(apply(by_track.clone(), boxes().into())),
            "!EvaluationEngineError"
        );
        let mut empty = Detections::default();
        empty.metadata.insert("parent_id".into(), "p".into());
        let kept = apply(by_track, empty.into()).unwrap();
        assert!(
            kept.as_detections()
                .unwrap()
                .metadata
                .contains_key("parent_id")
        );
    }

    #[test]
    fn filters_see_parameters_beside_the_box() {
        let operation = json!([{"type": "DetectionsFilter", "filter_operation": {
            "type": "StatementGroup", "statements": [{
                "type": "BinaryStatement", "comparator": {"type": "(Number) >="},
                "left_operand": {"type": "DynamicOperand", "operations": [
                    {"type": "ExtractDetectionProperty", "property_name": "confidence"}]},
                "right_operand": {"type": "DynamicOperand", "operand_name": "least"}}]}}]);
        let params = Value::from_json(&json!({"least": 0.9, "_": 5}));
        let kept = apply_with(operation.clone(), boxes().into(), &params).unwrap();
        assert_eq!(ids(&kept), "d0 d2");
        assert_eq!(
            shown(apply(operation, boxes().into())),
            "!UndeclaredSymbolError"
        );
    }

    #[test]
    fn boxes_become_the_object_that_clients_get() {
        let written = run(json!({"type": "DetectionsToDictionary"}));
        let entry = |name: &str| crate::values::python::repr(&written.as_dict().unwrap()[name]);
        assert_eq!(entry("image"), "{'width': 100, 'height': 80}");
        assert!(entry("predictions").starts_with(
            "[{'width': 20.0, 'height': 10.0, 'x': 20.0, 'y': 20.0, 'confidence': 0.9, \
             'class_id': 1, 'class': 'person', 'detection_id': 'd0'}, "
        ));
    }

    #[test]
    fn other_values_are_refused() {
        for operation in [
            json!({"type": "DetectionsSelection", "mode": "first"}),
            json!({"type": "PickDetectionsByParentClass", "parent_class": "a"}),
            json!({"type": "DetectionsRename", "class_map": {}}),
            json!({"type": "SortDetections", "mode": "size"}),
            json!({"type": "DetectionsToDictionary"}),
        ] {
            let result = apply(json!([operation]), Value::list(vec![]));
            assert_eq!(shown(result), "!InvalidInputTypeError", "{operation}");
        }
    }
}
