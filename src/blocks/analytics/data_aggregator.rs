//! Sums up values over an interval of time or of runs.
//!
//! # Inputs and outputs
//! Named values (`data`), each after its `data_operations`, go into the aggregates named in
//! `aggregation_mode` → one output `<name>_<mode>` for each, which holds a result on the run that ends
//! an interval and nothing on all others.
//!
//! # State
//! Per stream: the running aggregates, the number of runs and the start of the interval. Each element
//! of a batch is a run. A stream's first interval starts with its first run.
//!
//! # Edge cases
//! Time is that of the clock on the wall, also for files. A name in `aggregation_mode` that is not in
//! `data` is ignored; one in `data_operations` is refused. Values that an aggregate cannot take fail.
//!
//! # Parity
//! `data_aggregator_*`, `engine_error_aggregator_interval_zero`, specification 1.7. State per stream
//! is ours (decided V8).

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use super::aggregate::{Aggregate, MODES};
use crate::blocks::query::{self, Chain, Params};
use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, BuildError, Context, DynamicOutput, Family, Field,
    Inputs, Output, Row, StepProblem, Ty, output,
};
use crate::definition::step::{FieldValue, Step};
use crate::values::{Value, kind};

/// `roboflow_core/data_aggregator@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/data_aggregator@v1"],
    name: "Data Aggregator",
    family: Family::Analytics,
    about: "Sums up values over an interval of time or of runs.",
    fields: &[
        Field::required("data", &[Ty::Map(&[Ty::Selector(&[kind::WILDCARD])])])
            .about("The values by name."),
        Field::optional("data_operations", &[Ty::Map(&[Ty::Operations])], "{}")
            .about("What is done with a value before it is taken in, by name.")
            .extra(r#"{"keys_bound_in": "data", "uses_uql": true}"#),
        Field::required(
            "aggregation_mode",
            &[Ty::Map(&[Ty::List(&[Ty::OneOf(MODES)])])],
        )
        .about("What is worked out of each value, by name.")
        .extra(
            r#"{
                "keys_bound_in": "data",
                "values_metadata": {
                    "avg": {"name": "Average"},
                    "count": {"name": "Count Values"},
                    "count_distinct": {"name": "Number Of Distinct Values"},
                    "distinct": {"name": "Take Distinct Values"},
                    "max": {"name": "Take Maximum Value"},
                    "min": {"name": "Take Minimum Value"},
                    "sum": {"name": "Sum"},
                    "values_counts": {"name": "Count Distinct Values Occurrences"},
                    "values_difference": {"name": "Observed Values Difference"}
                }
            }"#,
        ),
        Field::optional(
            "interval_unit",
            &[Ty::OneOf(&["seconds", "minutes", "hours", "runs"])],
            r#""seconds""#,
        )
        .about("Unit of the interval.")
        .extra(
            r#"{
                "always_visible": true,
                "values_metadata": {
                    "hours": {"name": "Hours"},
                    "minutes": {"name": "Minutes"},
                    "runs": {"name": "Step runs"},
                    "seconds": {"name": "Seconds"}
                }
            }"#,
        ),
        Field::required("interval", &[Ty::Int])
            .bounds(Bounds::above(0.0))
            .about("Length of the interval."),
    ],
    outputs: &[output("*", &[kind::WILDCARD])],
    dynamic_outputs: Some(outputs),
    check: Some(check),
    build: |step, _| Ok(Box::new(DataAggregator::new(step)?)),
    ..BlockSpec::DEFAULT
};

/// Names in the object of a field, in order.
fn names(step: &Step, field: &str) -> Vec<Arc<str>> {
    match step.field(field) {
        FieldValue::Map(entries) => entries.iter().map(|(name, _)| name.clone()).collect(),
        FieldValue::Literal(Json::Object(entries), _) => {
            entries.keys().map(|name| name.as_str().into()).collect()
        }
        _ => Vec::new(),
    }
}

/// The modes asked for a name, each once.
fn modes(step: &Step, name: &str) -> Vec<&'static str> {
    let mut modes = Vec::new();
    let listed = step.literal("aggregation_mode").and_then(|m| m.get(name));
    for text in listed.and_then(Json::as_array).into_iter().flatten() {
        let known = MODES.iter().find(|mode| text == **mode);
        modes.extend(known.filter(|mode| !modes.contains(*mode)).copied());
    }
    modes
}

fn outputs(step: &Step) -> Vec<DynamicOutput> {
    let mut outputs = Vec::new();
    for name in names(step, "data") {
        for mode in modes(step, &name) {
            outputs.push(DynamicOutput {
                name: format!("{name}_{mode}"),
                kinds: match mode {
                    "distinct" => vec![kind::LIST_OF_VALUES],
                    "values_counts" => vec![kind::DICTIONARY],
                    _ => vec![kind::FLOAT, kind::INTEGER],
                },
            });
        }
    }
    outputs
}

fn check(step: &Step) -> Vec<StepProblem> {
    let known = names(step, "data");
    let unknown = names(step, "data_operations");
    let unknown = unknown.iter().filter(|name| !known.contains(name));
    unknown
        .map(|name| StepProblem {
            field: Some("data_operations"),
            message: format!("`{name}` is not a name in `data`"),
        })
        .collect()
}

struct DataAggregator {
    sources: Vec<Source>,
    interval: Interval,
    streams: PerStream<Running>,
}

/// A named value: what is done with it and what is worked out of it.
struct Source {
    name: Arc<str>,
    operations: Chain,
    modes: Vec<&'static str>,
}

enum Interval {
    Runs(i64),
    Time(Duration),
}

/// The interval of one stream that is under way.
struct Running {
    runs: i64,
    start: Duration,
    aggregates: Vec<Vec<Aggregate>>,
}

impl DataAggregator {
    fn new(step: &Step) -> Result<Self, BuildError> {
        let operations = step.literal("data_operations");
        let mut sources = Vec::new();
        for name in names(step, "data") {
            let chain = match operations.and_then(|o| o.get(&*name)) {
                Some(chain) => query::parse_chain(chain)
                    .map_err(|problems| BuildError::new(query::problems_text(&problems)))?,
                None => Chain::default(),
            };
            sources.push(Source {
                modes: modes(step, &name),
                operations: chain,
                name,
            });
        }
        let length = step.number("interval").unwrap_or(1.0);
        let seconds = |unit: f64| Duration::try_from_secs_f64(length * unit);
        let interval = match step.text("interval_unit") {
            Some("runs") => return Ok(Self::every(sources, Interval::Runs(length as i64))),
            Some("minutes") => seconds(60.0),
            Some("hours") => seconds(3600.0),
            _ => seconds(1.0),
        };
        let interval = interval.map_err(|error| BuildError::new(format!("interval: {error}")))?;
        Ok(Self::every(sources, Interval::Time(interval)))
    }

    fn every(sources: Vec<Source>, interval: Interval) -> Self {
        Self {
            sources,
            interval,
            streams: PerStream::default(),
        }
    }
}

impl Block for DataAggregator {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let now = cx.services.clock.monotonic();
        let sources = &self.sources;
        let running = self.streams.get(cx.stream, || Running::new(sources, now));
        running.runs += 1;
        let data = inputs.value("data");
        let data = data.as_dict().ok_or_else(|| {
            BlockError::failed(format!(
                "field `data` must be an object, got {}",
                data.type_name()
            ))
        })?;
        for (source, aggregates) in self.sources.iter().zip(&mut running.aggregates) {
            let value = data.get(&source.name).cloned().unwrap_or_default();
            let value = source.operations.apply(value, &Params::NONE, cx)?;
            for aggregate in aggregates {
                aggregate.add(&value).map_err(|why| source.failed(&why))?;
            }
        }
        let over = match self.interval {
            Interval::Runs(length) => running.runs >= length,
            Interval::Time(length) => now.saturating_sub(running.start) >= length,
        };
        let mut row = Row::new();
        for (source, aggregates) in self.sources.iter().zip(&running.aggregates) {
            for aggregate in aggregates {
                row.push(if over {
                    aggregate.result().map_err(|why| source.failed(&why))?
                } else {
                    Value::None
                });
            }
        }
        if over {
            *running = Running::new(&self.sources, now);
        }
        Ok(Output::One(row))
    }
}

impl Source {
    fn failed(&self, why: &str) -> BlockError {
        BlockError::failed(format!("field `data`, value `{}`: {why}", self.name))
    }
}

impl Running {
    fn new(sources: &[Source], start: Duration) -> Self {
        let fresh = |s: &Source| s.modes.iter().filter_map(|m| Aggregate::new(m)).collect();
        Self {
            runs: 0,
            start,
            aggregates: sources.iter().map(fresh).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::Bench;
    use crate::blocks::query::trial::problems;
    use serde_json::json;

    fn bench(unit: &str, interval: i64) -> Bench {
        let fields = [
            ("data", json!({"n": 0, "m": 0})),
            (
                "aggregation_mode",
                json!({"n": ["sum", "count", "sum"], "x": ["max"]}),
            ),
            (
                "data_operations",
                json!({"n": [{"type": "Multiply", "other": 2}]}),
            ),
            ("interval_unit", json!(unit)),
            ("interval", json!(interval)),
        ];
        Bench::new(&BLOCK, &fields)
    }

    /// Sum and count after one more value.
    fn add(bench: &mut Bench, n: i64) -> Vec<Option<i64>> {
        let data = Value::from_json(&json!({"n": n, "m": 0}));
        let row = bench.run(&[("data", data)]).unwrap();
        row.iter().map(Value::as_i64).collect()
    }

    #[test]
    fn results_come_at_the_end_of_each_interval() {
        let mut bench = bench("runs", 2);
        let nothing = [None, None];
        assert_eq!(add(&mut bench, 3), nothing);
        assert_eq!(add(&mut bench, 4), [Some(14), Some(2)]);
        assert_eq!(add(&mut bench, 1), nothing);
        assert_eq!(add(&mut bench, 1), [Some(4), Some(2)]);
    }

    #[test]
    fn an_interval_may_be_time() {
        let mut bench = bench("minutes", 2);
        assert_eq!(add(&mut bench, 1), [None, None]);
        bench.wait(119);
        assert_eq!(add(&mut bench, 1), [None, None]);
        bench.wait(1);
        assert_eq!(add(&mut bench, 1), [Some(6), Some(3)]);
        assert_eq!(add(&mut bench, 1), [None, None]);
    }

    #[test]
    fn each_stream_has_its_own_interval() {
        let mut bench = bench("runs", 2);
        add(&mut bench, 1);
        bench.on_stream("other");
        assert_eq!(add(&mut bench, 5), [None, None]);
        assert_eq!(add(&mut bench, 5), [Some(20), Some(2)]);
    }

    #[test]
    fn values_that_cannot_be_summed_are_named() {
        let data = Value::from_json(&json!({"n": 0, "m": "a"}));
        let fields = [
            ("data", json!({"n": 0, "m": 0})),
            ("aggregation_mode", json!({"n": ["sum"], "m": ["sum"]})),
            ("interval_unit", json!("runs")),
            ("interval", json!(2)),
        ];
        let error = Bench::new(&BLOCK, &fields).run(&[("data", data)]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("`m`") && error.contains("str"), "{error}");
    }

    #[test]
    fn operations_on_a_name_that_is_not_there_are_refused() {
        let definition = |name: &str| {
            json!({
                "data": {"n": "$inputs.n"}, "interval": 1, "aggregation_mode": {"x": ["sum"]},
                "data_operations": {name: [{"type": "Multiply", "other": 2}]}})
        };
        assert_eq!(problems(&BLOCK, definition("n")), Vec::<String>::new());
        assert_eq!(
            problems(&BLOCK, definition("x")),
            ["`x` is not a name in `data`"]
        );
    }
}
