//! Coercion of field values (engine specification 1.5).

use serde_json::{Value as Json, json};

use crate::blocks::{Bounds, Field, Ty};
use crate::definition::fields::check;
use crate::values::kind;

fn accept(types: &'static [Ty], input: Json) -> Option<Json> {
    check(&Field::required("f", types), &input).ok()
}

#[test]
fn coercion_follows_the_table_of_the_specification() {
    for (input, want) in [
        (json!(5), Some(5)),
        (json!(true), Some(1)),
        (json!(5.0), Some(5)),
        (json!("5.0"), Some(5)),
        (json!(" +5 "), Some(5)),
        (json!("1_000"), Some(1000)),
        (json!(5.5), None),
        (json!("1e3"), None),
        (json!("5.5"), None),
        (json!(null), None),
    ] {
        assert_eq!(
            accept(&[Ty::Int], input.clone()),
            want.map(Json::from),
            "{input}"
        );
    }
    for (input, want) in [
        (json!(5), Some(5.0)),
        (json!(true), Some(1.0)),
        (json!("1e3"), Some(1000.0)),
        (json!(" 0.5 "), Some(0.5)),
        (json!("half"), None),
        (json!(""), None),
        (json!(null), None),
        (json!([1.0]), None),
    ] {
        let got = accept(&[Ty::Float], input.clone());
        assert_eq!(got, want.map(Json::from), "{input}");
    }
    for (inputs, want) in [
        (
            json!([true, 1, 1.0, "True", "YES", "on", "t", "Y", "1"]),
            Some(true),
        ),
        (
            json!([false, 0, 0.0, "False", "no", "OFF", "f", "n", "0"]),
            Some(false),
        ),
        (
            json!([2, -1, 0.5, "", "maybe", " true", null, [], {}]),
            None,
        ),
    ] {
        for input in inputs.as_array().unwrap() {
            let got = accept(&[Ty::Bool], input.clone());
            assert_eq!(got, want.map(Json::from), "{input}");
        }
    }
    for refused in [json!(1), json!(true), json!(null), json!(["a"])] {
        assert_eq!(accept(&[Ty::Str], refused), None);
    }
    let list: &[Ty] = &[Ty::List(&[Ty::Int])];
    assert_eq!(accept(list, json!(["1", 2.0])), Some(json!([1, 2])));
    let object: &[Ty] = &[Ty::Map(&[Ty::Int])];
    assert_eq!(accept(object, json!({"a": "1"})), Some(json!({"a": 1})));
    for refused in [json!("12"), json!({"0": 1}), json!([["a", 1]])] {
        assert_eq!(accept(list, refused.clone()), None, "{refused}");
    }
    assert_eq!(accept(object, json!([["a", 1]])), None);
    assert_eq!(accept(&[Ty::Int, Ty::Null], json!(null)), Some(json!(null)));
    assert_eq!(accept(&[Ty::OneOf(&["a"])], json!("A")), None);
    assert_eq!(accept(&[Ty::IntIn(0, 5)], json!("6")), None);
    let pair: &[Ty] = &[Ty::Tuple(&[&[Ty::Int], &[Ty::Str]])];
    assert_eq!(accept(pair, json!(["1", "b"])), Some(json!([1, "b"])));
    assert_eq!(accept(pair, json!([1])), None);
}

#[test]
fn unions_prefer_the_exact_type() {
    assert_eq!(accept(&[Ty::Int, Ty::Str], json!("5")), Some(json!("5")));
    assert_eq!(accept(&[Ty::Int, Ty::Str], json!(5.0)), Some(json!(5)));
    assert_eq!(accept(&[Ty::Float, Ty::Int], json!(5)), Some(json!(5)));
    assert_eq!(accept(&[Ty::Float, Ty::Int], json!("5")), Some(json!(5.0)));
    assert_eq!(accept(&[Ty::Float, Ty::Int], json!(true)), Some(json!(1.0)));
    let any_scalar: &[Ty] = &[Ty::Bool, Ty::Int, Ty::Float, Ty::Str];
    for kept in [json!(true), json!(1), json!(1.0), json!("1")] {
        let got = accept(any_scalar, kept.clone()).unwrap();
        assert_eq!(got.to_string(), kept.to_string());
    }
}

#[test]
fn members_of_lists_count_for_exactness() {
    let either: &[Ty] = &[Ty::List(&[Ty::Int]), Ty::List(&[Ty::Str])];
    assert_eq!(accept(either, json!(["5"])), Some(json!(["5"])));
    assert_eq!(accept(either, json!([5.0])), Some(json!([5])));
    let numbers: &[Ty] = &[Ty::List(&[Ty::Float]), Ty::List(&[Ty::Int])];
    assert_eq!(accept(numbers, json!([5])), Some(json!([5])));
    assert_eq!(accept(numbers, json!([5, 0.5])), Some(json!([5.0, 0.5])));
    let objects: &[Ty] = &[Ty::Map(&[Ty::Int]), Ty::Map(&[Ty::Any])];
    assert_eq!(accept(objects, json!({"a": "5"})), Some(json!({"a": "5"})));
    // Anything goes before coercion, but not before an exact match.
    assert_eq!(accept(&[Ty::Int, Ty::Any], json!("5")), Some(json!("5")));
    assert_eq!(accept(&[Ty::Any, Ty::Int], json!(5)), Some(json!(5)));
}

#[test]
fn text_may_stand_for_numbers_that_json_lacks() {
    assert_eq!(accept(&[Ty::Float], json!("nan")), Some(json!("nan")));
    assert_eq!(
        accept(&[Ty::Float, Ty::Str], json!("inf")),
        Some(json!("inf"))
    );
    assert_eq!(accept(&[Ty::Float], json!("1_0.5")), Some(json!(10.5)));
    assert_eq!(accept(&[Ty::Float], json!("_1")), None);
    const SHARE: &[Ty] = &[Ty::FloatIn(Bounds::within(0.0, 1.0))];
    assert_eq!(accept(SHARE, json!("inf")), None);
    let bounded = Field::required("f", &[Ty::Float]).bounds(Bounds::at_least(0.0));
    assert!(check(&bounded, &json!("-inf")).is_err());
    assert!(check(&bounded, &json!("inf")).is_ok());
}

#[test]
fn problems_name_the_place() {
    let types: &[Ty] = &[Ty::List(&[Ty::Int])];
    let problems = check(&Field::required("f", types), &json!([1, "x"])).unwrap_err();
    assert_eq!(problems[0].path, "[1]");
    let bounded = Field::required("f", &[Ty::Float, Ty::Selector(&[kind::FLOAT])])
        .bounds(Bounds::at_least(0.0));
    assert!(check(&bounded, &json!(-1)).is_err());
    assert!(check(&bounded, &json!("$inputs.x")).is_ok());
}
