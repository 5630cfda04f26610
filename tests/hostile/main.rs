//! Hostile definitions and hostile inputs, over every block that runs inside the engine: each gives an
//! answer or a typed error, in bounded time and memory, and never panics.
//!
//! A case that hangs ends the test with the case's name; a panic is found by its hook even where the
//! engine catches it. One case in seven is tried, the same ones on each run; `MILLRACE_HOSTILE=1` tries
//! all of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod frames;
#[allow(dead_code)]
#[path = "../../benches/blocks/scene.rs"]
mod scene;
mod values;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millrace::blocks::{BlockSpec, Family, Field, Services, Ty, registry};
use millrace::engine::{Engine, RuntimeInput, RuntimeInputs};
use millrace::plan::Plan;
use millrace::values::deserialise::InputOptions;
use millrace::values::serialise::OutputOptions;
use millrace::values::{Timestamp, Value};
use scene::Scene;
use serde_json::{Value as Json, json};

/// Longest that a case may take; a build for tests is slow and the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);
/// Longest that a case may compute.
const SLOW: Duration = Duration::from_secs(3);
/// Memory in KiB by which a case may raise the most that the process ever held: more than the canvas of
/// the largest zone.
const MEMORY: u64 = 320 << 10;
/// Most pixels of a picture or a mask that comes in: what a frame costs grows with them.
const MAX_PIXELS: u64 = 100_000;
/// Of so many cases one is tried in the short form.
const SHARE: usize = 7;
/// Combinations of several hostile fields that are tried on each block.
const COMBINATIONS: usize = 30;

const SCENE: Scene = Scene {
    size: [48, 32],
    objects: 5,
    churn: 1,
    masks: true,
};

/// The case under way and the panics so far.
struct Watch {
    case: String,
    since: Instant,
    panics: Vec<String>,
}

static WATCH: Mutex<Option<Watch>> = Mutex::new(None);
/// One test at a time, so that memory and panics have one cause.
static TURN: Mutex<()> = Mutex::new(());

fn watch() -> MutexGuard<'static, Option<Watch>> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What went wrong in the cases of one test, and how many there were.
struct Trials {
    problems: Vec<String>,
    share: usize,
    told: usize,
    tried: usize,
    answered: usize,
    most: u64,
    _turn: MutexGuard<'static, ()>,
}

impl Trials {
    fn begin() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        *watch() = Some(Watch {
            case: String::new(),
            since: Instant::now(),
            panics: Vec::new(),
        });
        std::panic::set_hook(Box::new(|panic| {
            if let Some(watch) = watch().as_mut() {
                // Once for each place.
                let place = panic.location().map_or(String::new(), ToString::to_string);
                if !watch.panics.iter().any(|told| told.contains(&place)) {
                    let told = format!("{}: {panic}", watch.case);
                    watch.panics.push(told);
                }
            }
        }));
        std::thread::spawn(|| {
            // The lock is given back before the pause.
            let late = || {
                let watch = watch();
                let watch = watch.as_ref()?;
                Some((watch.since.elapsed() > LIMIT).then(|| watch.case.clone()))
            };
            while let Some(late) = late() {
                if let Some(case) = late {
                    eprintln!("no end within {LIMIT:?}: {case}");
                    std::process::exit(101);
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self {
            problems: Vec::new(),
            share: match std::env::var_os("MILLRACE_HOSTILE") {
                Some(_) => 1,
                None => SHARE,
            },
            told: 0,
            tried: 0,
            answered: 0,
            most: peak_memory(),
            _turn: turn,
        }
    }

    /// Runs one case, if it is its turn; it tells whether there was an answer.
    fn case(&mut self, name: String, run: impl FnOnce() -> bool) -> bool {
        self.told += 1;
        if !self.told.is_multiple_of(self.share) {
            return false;
        }
        let begun = computed();
        if let Some(watch) = watch().as_mut() {
            watch.case.clone_from(&name);
            watch.since = Instant::now();
        }
        let answered = catch_unwind(AssertUnwindSafe(run)).unwrap_or(false);
        self.tried += 1;
        self.answered += usize::from(answered);
        let took = computed().saturating_sub(begun);
        if took > SLOW {
            self.problems.push(format!("{name}: computed for {took:?}"));
        }
        let peak = peak_memory();
        if peak > self.most + MEMORY {
            let more = (peak - self.most) >> 10;
            self.problems.push(format!("{name}: took {more} MiB more"));
        }
        self.most = self.most.max(peak);
        answered
    }

    /// Fails if anything went wrong, or if hardly anything was tried.
    fn end(self, least: usize) {
        drop(std::panic::take_hook());
        let panics = watch().take().map(|w| w.panics).unwrap_or_default();
        println!(
            "{} cases, {} with an answer, in {:?} of computing",
            self.tried,
            self.answered,
            computed()
        );
        let all = [panics, self.problems].concat();
        assert!(
            all.is_empty(),
            "{} problems:\n{}",
            all.len(),
            all.join("\n")
        );
        assert!(self.told >= least, "only {} cases", self.told);
        assert!(self.answered > 0, "not one case has an answer");
    }
}

/// The time for which this thread has computed, to a hundredth of a second.
fn computed() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // Behind the name in parentheses: state, ten numbers, then ticks in user and kernel mode.
    let (_, numbers) = stat.rsplit_once(')').unwrap();
    let ticks = numbers.split_whitespace().skip(11).take(2);
    Duration::from_millis(10 * ticks.map(|t| t.parse::<u64>().unwrap()).sum::<u64>())
}

/// The most memory in KiB that this process ever held.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let digits = line.unwrap().trim().trim_end_matches(" kB");
    digits.parse().unwrap()
}

/// The blocks with a workflow around each.
fn workflows() -> impl Iterator<Item = (&'static BlockSpec, Json)> {
    registry::all().filter_map(|spec| Some((spec, scene::definition(spec).unwrap()?)))
}

/// Those that do not draw: what a thickness or a size of the picture costs is up to who draws.
fn computing() -> impl Iterator<Item = (&'static BlockSpec, Json)> {
    let draws = |family| {
        matches!(
            family,
            Family::Visualization | Family::ClassicalComputerVision
        )
    };
    workflows().filter(move |(spec, _)| !draws(spec.family))
}

/// The same workflow with all outputs of the block, and two inputs for hostile values: `hostile` for a
/// parameter, `batch` for an element of a batch.
fn open(spec: &BlockSpec, mut definition: Json) -> Json {
    let inputs = definition["inputs"].as_array_mut().unwrap();
    inputs.push(json!({"type": "WorkflowParameter", "name": "hostile"}));
    inputs.push(json!({"type": "WorkflowBatchInput", "name": "batch"}));
    if !spec.outputs.is_empty() {
        definition["outputs"] =
            json!([{"type": "JsonField", "name": "all", "selector": "$steps.block.*"}]);
    }
    definition
}

fn set(definition: &mut Json, field: &Field, value: Json) {
    let step = definition["steps"][0].as_object_mut().unwrap();
    if let Some(alias) = field.alias {
        step.shift_remove(alias);
    }
    step.insert(field.name.to_owned(), value);
}

fn engine(definition: &Json) -> Option<Engine> {
    let plan = Plan::compile(definition).ok()?;
    let services = Services {
        disable_sinks: true,
        ..Services::default()
    };
    let options = InputOptions {
        max_pixels: MAX_PIXELS,
        ..InputOptions::default()
    };
    Engine::new(Arc::new(plan), services, options).ok()
}

/// Runs the inputs and serialises what comes out; tells whether there is an answer.
fn answers(engine: &mut Engine, inputs: &RuntimeInputs) -> bool {
    let options = OutputOptions::new(Timestamp::from_unix_micros(0));
    engine
        .run(inputs, &options)
        .is_ok_and(|rows| serde_json::to_string(&rows).is_ok())
}

fn ordinary(number: i64) -> RuntimeInputs {
    let mut inputs = SCENE.inputs("a", number).unwrap();
    inputs.insert("hostile".into(), RuntimeInput::Value(Value::Int(1)));
    let batch = Value::list(vec![Value::Int(1)]);
    inputs.insert("batch".into(), RuntimeInput::Value(batch));
    inputs
}

/// A text for messages that is not longer than it must be.
fn short(value: &dyn std::fmt::Debug) -> String {
    format!("{value:?}").chars().take(120).collect()
}

#[test]
fn any_literal_in_any_field() {
    let mut trials = Trials::begin();
    let frames = [ordinary(1), ordinary(2)];
    for (spec, definition) in computing() {
        let definition = open(spec, definition);
        let mut accepted: Vec<(&Field, Json)> = Vec::new();
        for field in spec.fields {
            for value in values::literals(field) {
                let mut hostile = definition.clone();
                set(&mut hostile, field, value.clone());
                let name = format!("{} {}={}", spec.type_id(), field.name, short(&value));
                let mut compiled = false;
                trials.case(name, || {
                    let Some(mut engine) = engine(&hostile) else {
                        return false;
                    };
                    compiled = true;
                    let answers = frames.each_ref().map(|inputs| answers(&mut engine, inputs));
                    answers.contains(&true)
                });
                if compiled {
                    accepted.push((field, value));
                }
            }
        }
        let mut random = values::Random(spec.type_id().len() as u64);
        for _ in 0..COMBINATIONS.min(accepted.len()) {
            let mut hostile = definition.clone();
            let mut name = spec.type_id().to_owned();
            for _ in 0..3 {
                let (field, value) = &accepted[random.below(accepted.len())];
                set(&mut hostile, field, value.clone());
                name += &format!(" {}={}", field.name, short(value));
            }
            trials.case(name, || {
                engine(&hostile).is_some_and(|mut engine| answers(&mut engine, &frames[0]))
            });
        }
    }
    trials.end(10_000);
}

#[test]
fn any_value_at_run_time_in_any_field() {
    let mut trials = Trials::begin();
    let mut inputs = ordinary(1);
    for (spec, definition) in computing() {
        let definition = open(spec, definition);
        for field in spec.fields {
            if !field.types.iter().any(|ty| matches!(ty, Ty::Selector(_))) {
                continue;
            }
            for source in ["hostile", "batch"] {
                let mut hostile = definition.clone();
                set(&mut hostile, field, json!(format!("$inputs.{source}")));
                let Some(mut engine) = engine(&hostile) else {
                    continue;
                };
                for value in values::values() {
                    let name = format!("{} {}={}", spec.type_id(), field.name, short(&value));
                    let given = match source {
                        "batch" => Value::list(vec![value]),
                        _ => value,
                    };
                    inputs[source] = RuntimeInput::Value(given);
                    trials.case(name, || answers(&mut engine, &inputs));
                }
                inputs[source] = RuntimeInput::Value(Value::list(vec![Value::Int(1)]));
            }
        }
    }
    trials.end(10_000);
}

#[test]
fn any_frame_at_any_block() {
    let mut trials = Trials::begin();
    let frames = frames::all(&SCENE, &ordinary(1));
    for (spec, definition) in workflows() {
        let definition = open(spec, definition);
        // One engine for all, so that blocks that remember meet each frame after every other.
        let mut engine = engine(&definition).unwrap();
        let text = definition["steps"].to_string();
        for (what, changed, inputs) in &frames {
            if !changed
                .iter()
                .any(|name| text.contains(&format!("$inputs.{name}\"")))
            {
                continue;
            }
            let name = format!("{} on {what}", spec.type_id());
            trials.case(name, || answers(&mut engine, inputs));
        }
    }
    trials.end(3_000);
}
