//! Values that nobody sane would write into a field.

use std::sync::Arc;

use millrace::blocks::{Field, Ty};
use millrace::values::{Array, Detections, Value};
use serde_json::{Value as Json, json};

/// Numbers at the edges of what the types and the blocks can hold.
const NUMBERS: [f64; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.5,
    255.0,
    1e4,
    1e6,
    -1e12,
    1e300,
    -1e300,
    5e-324,
    4_294_967_296.5,
];
const WHOLE: [i64; 16] = [
    0,
    1,
    -1,
    2,
    3,
    7,
    100,
    32_767,
    65_536,
    i32::MAX as i64,
    i32::MIN as i64,
    1 << 32,
    1_000_000_000_000,
    i64::MAX,
    i64::MIN,
    i64::MIN + 1,
];
const TEXTS: [&str; 14] = [
    "",
    " ",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "x",
    "%s {} {{ $parameters.x }} {% raw",
    "é\u{301}\u{200d}🦀\u{0}",
    "rgb(999999999999, -1, nan)",
    "#12345é",
    "../../etc/passwd",
    "(((((a+)+)+)+)+)$",
    "{\"a\": [1, {\"b\": NaN}]}",
];

/// A small generator of pseudo-random numbers (xorshift), the same on each run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 27;
        (x % end as u64) as usize
    }
}

/// Lists of points, plain and odd.
fn shapes() -> Vec<Json> {
    let circle = |n: usize, r: f64| -> Vec<[f64; 2]> {
        (0..n)
            .map(|i| {
                let turn = i as f64 / n as f64 * std::f64::consts::TAU;
                [r * turn.cos(), r * turn.sin()]
            })
            .collect()
    };
    vec![
        json!([]),
        json!([0]),
        json!([[], []]),
        json!([[0, 0]]),
        json!([[0, 0], [0, 0]]),
        json!([[0, 0], [0, 0], [0, 0], [0, 0]]),
        json!([[0, 0], [10, 10], [20, 20], [30, 30]]),
        json!([[0, 0], [10, 10], [10, 0], [0, 10]]),
        json!([[1e300, -1e300], [-1e300, 1e300], [1e300, 1e300], [0, 0]]),
        json!([
            [i64::MAX, i64::MIN],
            [i64::MIN, i64::MAX],
            [0, 0],
            [i64::MAX, i64::MAX]
        ]),
        json!([
            [2147483647, 0],
            [0, 2147483647],
            [-2147483648_i64, 0],
            [0, -2147483648_i64]
        ]),
        json!([["nan", "inf"], [0, 1], [1, 0], [1, 1]]),
        json!([[0, 0, 0], [1, 1, 1], [2, 2, 2]]),
        json!([
            [[0, 0], [9, 0], [9, 9], [0, 9]],
            [[0, 0], [0, 0], [0, 0], [0, 0]]
        ]),
        json!(circle(2_000, 20.0)),
        json!(circle(4, 1e9)),
        json!([5e-324, -1e300, 1e300]),
        json!(vec![1; 5_000]),
        json!(vec!["a"; 500]),
    ]
}

fn objects() -> Vec<Json> {
    let mut deep = json!(1);
    for _ in 0..60 {
        deep = json!({ "a": deep });
    }
    let many: serde_json::Map<String, Json> =
        (0..2_000).map(|i| (format!("k{i}"), json!(i))).collect();
    vec![
        json!({}),
        json!({"": null}),
        json!({"person": "nan", "car": 1e300, "é\u{0}": i64::MIN}),
        json!({"a": "$inputs.objects", "b": "$inputs.nothing"}),
        json!({"a": ["distinct"], "n": []}),
        deep,
        json!(many),
    ]
}

/// Operations and statements of the query language with hostile arguments.
fn operations() -> Vec<Json> {
    let chain = |op: Json| json!([op]);
    let boxes = |op: Json| {
        json!([{"type": "DetectionsPropertyExtract", "property_name": "confidence"},
               {"type": "SequenceApply", "operations": [op]}])
    };
    let mut all = vec![json!([]), json!([{}]), json!([{"type": "Nothing"}])];
    for n in WHOLE {
        all.push(boxes(json!({"type": "NumberRound", "decimal_digits": n})));
        all.push(boxes(json!({"type": "Multiply", "other": n})));
        all.push(boxes(json!({"type": "Divide", "other": n})));
        all.push(chain(
            json!({"type": "DetectionsOffset", "offset_x": n, "offset_y": n}),
        ));
        all.push(chain(
            json!({"type": "DetectionsShift", "shift_x": n, "shift_y": n}),
        ));
        all.push(json!([{"type": "ConvertDictionaryToJSON"}, {"type": "Multiply", "other": n}]));
        all.push(
            json!([{"type": "ToString"}, {"type": "StringSubSequence", "start": n, "end": n}]),
        );
        all.push(json!([{"type": "ToString"}, {"type": "Multiply", "other": n}]));
        all.push(
            json!([{"type": "DetectionsPropertyExtract", "property_name": "class_name"},
                        {"type": "SequenceElementsCount"}, {"type": "Multiply", "other": n}]),
        );
    }
    for pattern in TEXTS {
        all.push(json!([{"type": "ToString"}, {"type": "StringMatches", "regex": pattern}]));
        all.push(
            json!([{"type": "TimestampToISOFormat"}, {"type": "ToNumber", "cast_to": pattern}]),
        );
    }
    let mut nested = json!({"type": "ToString"});
    for _ in 0..40 {
        nested = json!({"type": "SequenceApply", "operations": [nested]});
    }
    all.push(json!([nested]));
    all
}

fn statements() -> Vec<Json> {
    let one = |left: Json, comparator: &str, right: Json| {
        json!({"type": "StatementGroup", "statements": [{"type": "BinaryStatement",
            "left_operand": left, "comparator": {"type": comparator}, "right_operand": right}]})
    };
    let fixed = |value: Json| json!({"type": "StaticOperand", "value": value});
    let mut all = vec![
        json!({}),
        json!({"type": "StatementGroup", "statements": []}),
    ];
    for zone in shapes() {
        let boxes = json!({"type": "DynamicOperand", "operand_name": "boxes"});
        all.push(one(boxes, "(Detection) in zone", fixed(zone)));
    }
    for comparator in [
        "(Number) >=",
        "==",
        "(String) contains",
        "in (Sequence)",
        "all in (Sequence)",
    ] {
        for value in [
            json!(null),
            json!("x"),
            json!(1e300),
            json!([[]]),
            json!({}),
        ] {
            all.push(one(fixed(value.clone()), comparator, fixed(value)));
        }
    }
    all
}

/// What a definition may try to say in a field.
pub fn literals(field: &Field) -> Vec<Json> {
    let mut all = vec![json!(null), json!(true), json!(false)];
    all.extend(NUMBERS.map(Json::from));
    all.extend(WHOLE.map(Json::from));
    all.extend(TEXTS.map(Json::from));
    all.push(json!("y".repeat(20_000)));
    all.extend(shapes());
    all.extend(objects());
    let mut within = |ty: &Ty| match ty {
        Ty::OneOf(names) | Ty::NamedOneOf(_, names) => {
            all.extend(names.iter().map(|n| json!(n)));
            all.push(json!(names));
        }
        Ty::Operations => all.extend(operations()),
        Ty::Map(_) | Ty::Object => {
            all.extend(
                operations()
                    .into_iter()
                    .map(|ops| json!({"classes": ops, "n": ops})),
            );
        }
        Ty::Statement => all.extend(statements()),
        _ => {}
    };
    for ty in field.types {
        within(ty);
        if let Ty::List(inner) | Ty::ListIn(inner, ..) = ty {
            inner.iter().for_each(&mut within);
        }
    }
    all
}

/// What a field may find at run time.
pub fn values() -> Vec<Value> {
    let mut all = vec![Value::None, Value::Bool(true)];
    all.extend(NUMBERS.map(Value::Float));
    all.extend([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(Value::Float));
    all.extend(WHOLE.map(Value::Int));
    all.push(Value::whole(i128::MAX));
    all.extend(TEXTS.map(Value::str));
    all.push(Value::str("y".repeat(20_000)));
    all.push(Value::Bytes(vec![0xff; 300].into()));
    all.extend(shapes().iter().chain(&objects()).map(Value::from_json));
    all.push(Value::detections(Detections::empty()));
    let nan = Value::Float(f64::NAN);
    let pair = Value::tuple(vec![nan.clone(), Value::Float(f64::INFINITY)]);
    all.push(Value::list(vec![nan; 5]));
    all.push(Value::list(vec![pair; 4]));
    for shape in [vec![0], vec![0, 0], vec![1, 0, 3], vec![3, 2]] {
        let data = vec![f64::NAN; shape.iter().product()];
        all.push(Value::Array(Arc::new(Array::floats(shape, data))));
    }
    all
}
