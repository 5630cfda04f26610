//! Streams of different greed share a graph, and what got too old is not run.

use std::thread::sleep;

use super::*;
use crate::clock::awake::awake;
use crate::values::Timestamp;

const LONG: Duration = Duration::from_secs(600);

#[test]
fn images_that_are_too_old_are_not_run() {
    let bench = Bench::new(Some(1));
    let claim = Arc::new(Claim::new("late".into(), Some(Duration::ZERO)));
    let first = bench.call(&[1.0], 1);
    let late = {
        let (batcher, claim) = (bench.batcher.clone(), claim.clone());
        let images = Images {
            shape: SHAPE,
            count: 1,
            data: Arc::new(vec![2.0; 2]),
        };
        std::thread::spawn(move || batcher.run(images, 1, Some(&claim)).map(|rows| rows.len()))
    };
    while lock(&bench.batcher.state).queue.is_empty() {
        sleep(Duration::from_millis(1));
    }
    let young = bench.call_for(Some(Claim::new("b".into(), Some(LONG))), &[3.0], 1);
    sleep(Duration::from_millis(5));
    bench.permit(2);
    assert_eq!(done(first), [2.0]);
    assert!(late.join().unwrap().is_err());
    assert_eq!(done(young), [6.0]);
    assert!(claim.is_missed() && claim.waited() >= Duration::from_millis(5));
    let figures = bench.batcher.figures();
    assert_eq!(
        (figures.late, figures.runs),
        (1, 2),
        "no run was spent on it"
    );
}

#[test]
fn a_stream_with_many_threads_takes_no_more_turns_than_others() {
    let bench = Bench::new(Some(1));
    let claim = |name: &str| Some(Claim::new(name.into(), Some(LONG)));
    let first = bench.call(&[0.0], 1);
    let greedy: Vec<Answer> = (10..15)
        .map(|x| bench.call_for(claim("greedy"), &[x as f32], 1))
        .collect();
    let modest = bench.call_for(claim("modest"), &[20.0], 1);
    let other = bench.call_for(claim("other"), &[30.0, 31.0], 1);
    let order: Vec<f32> = (0..9).flat_map(|_| bench.run_next()).collect();
    assert_eq!(order, [0.0, 10.0, 20.0, 30.0, 11.0, 31.0, 12.0, 13.0, 14.0]);
    greedy.into_iter().for_each(|caller| drop(done(caller)));
    for caller in [first, modest, other] {
        done(caller);
    }
}

/// A graph of a steady pace.
struct Paced(Duration);

impl Graph for Paced {
    type Outputs = usize;

    fn run(&mut self, shape: [usize; 4], _data: &[f32]) -> Result<usize, String> {
        sleep(self.0);
        Ok(shape[0])
    }

    fn has_rows(outputs: &usize, images: usize) -> bool {
        *outputs == images
    }
}

/// Images get no older while the whole process stands still: that is not the batcher's doing.
struct Awake;

impl Clock for Awake {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_micros(self.monotonic().as_micros() as i64)
    }

    fn monotonic(&self) -> Duration {
        awake()
    }
}

/// Four streams of different rates want three times what the graph manages: the slow ones get all
/// that they ask for, the fast ones share the rest evenly, and nobody's images get old.
#[test]
fn streams_of_different_rates_share_a_graph_evenly_and_stay_young() {
    const BUDGET: Duration = Duration::from_millis(150);
    let clock: Arc<dyn Clock> = Arc::new(Awake);
    let batcher = Arc::new(Batcher::new(
        Paced(Duration::from_millis(20)),
        Some(1),
        clock.clone(),
    ));
    let over = clock.monotonic() + Duration::from_secs(3);
    // Time between frames; the greedy ones come from two threads each.
    let streams = [
        ("slow", 400, 1),
        ("steady", 150, 1),
        ("fast", 10, 2),
        ("greedy", 1, 4),
    ];
    let played = streams.map(|(name, every, threads)| {
        (0..threads)
            .map(|_| {
                let (batcher, clock) = (batcher.clone(), clock.clone());
                std::thread::spawn(move || {
                    let every = Duration::from_millis(every);
                    let (mut asked, mut ages) = (0, Vec::new());
                    let mut arrives = clock.monotonic();
                    while arrives < over {
                        sleep(arrives.saturating_sub(clock.monotonic()));
                        let claim = Claim::new(name.into(), Some(BUDGET));
                        let images = Images {
                            shape: SHAPE,
                            count: 1,
                            data: Arc::new(vec![0.0; 2]),
                        };
                        asked += 1;
                        match batcher.run(images, 1, Some(&claim)) {
                            Ok(_) => ages.push(clock.monotonic().saturating_sub(arrives)),
                            Err(_) => assert!(claim.is_missed()),
                        }
                        // The newest frame wins: what came meanwhile is gone.
                        arrives = (arrives + every).max(clock.monotonic());
                    }
                    (asked, ages)
                })
            })
            .collect::<Vec<_>>()
    });
    let [slow, steady, fast, greedy] = played.map(|threads| {
        let each = threads.into_iter().map(|t| t.join().unwrap());
        each.fold((0, Vec::new()), |(asked, mut all), (more, ages)| {
            all.extend(ages);
            (asked + more, all)
        })
    });
    assert_eq!(slow.1.len(), slow.0, "the slow one gets all it asks for");
    assert_eq!(steady.1.len(), steady.0, "so does the steady one");
    let (few, many) = (
        fast.1.len().min(greedy.1.len()),
        fast.1.len().max(greedy.1.len()),
    );
    assert!(
        few * 10 >= many * 8,
        "unfair: {} and {}",
        fast.1.len(),
        greedy.1.len()
    );
    assert!(few > steady.1.len(), "{few} of the rest");
    let ages = [&slow.1, &steady.1, &fast.1, &greedy.1];
    let oldest = ages.iter().flat_map(|ages| ages.iter()).max().unwrap();
    // A machine that is busy elsewhere makes single runs longer.
    assert!(*oldest < BUDGET * 3, "{oldest:?}");
}
