//! Who is in a batch with whom, who is next, and what the failure of one does to the others.

mod fairness;

use std::thread::{JoinHandle, sleep};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::*;
use crate::clock::SystemClock;

/// A number that the graph fails on.
const BAD: f32 = -1.0;
/// A number that makes it panic.
const FATAL: f32 = -2.0;
const SHAPE: [usize; 3] = [1, 1, 2];

/// Doubles each image; every run waits for its permit and tells which images it had.
struct Doubling {
    permits: Receiver<()>,
    ran: Sender<Vec<f32>>,
    rows: bool,
}

struct Doubled {
    values: Vec<f32>,
    rows: bool,
}

impl Graph for Doubling {
    type Outputs = Doubled;

    fn run(&mut self, shape: [usize; 4], data: &[f32]) -> Result<Doubled, String> {
        self.permits.recv().unwrap();
        assert_eq!(shape.iter().product::<usize>(), data.len());
        let images: Vec<f32> = data.iter().step_by(2).copied().collect();
        self.ran.send(images.clone()).unwrap();
        assert!(!images.contains(&FATAL), "fatal image");
        if images.contains(&BAD) {
            return Err("bad image".into());
        }
        Ok(Doubled {
            values: images.iter().map(|x| 2.0 * x).collect(),
            rows: self.rows,
        })
    }

    fn has_rows(outputs: &Doubled, images: usize) -> bool {
        outputs.rows && outputs.values.len() == images
    }
}

struct Bench {
    batcher: Arc<Batcher<Doubling>>,
    permits: Sender<()>,
    ran: Receiver<Vec<f32>>,
}

type Answer = JoinHandle<Result<Vec<f32>, String>>;

impl Bench {
    fn new(exact: Option<usize>) -> Self {
        Self::with(exact, true)
    }

    fn with(exact: Option<usize>, rows: bool) -> Self {
        let (permits, due) = unbounded();
        let (tell, ran) = unbounded();
        let graph = Doubling {
            permits: due,
            ran: tell,
            rows,
        };
        Self {
            batcher: Arc::new(Batcher::new(graph, exact, Arc::new(SystemClock::default()))),
            permits,
            ran,
        }
    }

    /// A caller with these images, once it is in the queue or leads.
    fn call(&self, images: &[f32], limit: usize) -> Answer {
        self.call_for(None, images, limit)
    }

    fn call_for(&self, claim: Option<Claim>, images: &[f32], limit: usize) -> Answer {
        let batcher = self.batcher.clone();
        let images = Images {
            shape: SHAPE,
            count: images.len(),
            data: Arc::new(images.iter().flat_map(|x| [*x, *x]).collect()),
        };
        let (before, idle) = {
            let state = lock(&self.batcher.state);
            (state.queue.len(), !state.led)
        };
        let caller = std::thread::spawn(move || {
            let rows = batcher.run(images, limit, claim.as_ref())?;
            Ok(rows.iter().map(|r| r.outputs.values[r.index]).collect())
        });
        while !self.has_come(before, idle) {
            sleep(Duration::from_millis(1));
        }
        caller
    }

    fn has_come(&self, before: usize, idle: bool) -> bool {
        let state = lock(&self.batcher.state);
        match idle {
            // The first is taken from the queue at once and waits for its permit.
            true => state.led && self.batcher.graph.try_lock().is_err(),
            false => state.queue.len() > before,
        }
    }

    fn permit(&self, runs: usize) {
        (0..runs).for_each(|_| self.permits.send(()).unwrap());
    }

    fn run_next(&self) -> Vec<f32> {
        self.permit(1);
        self.ran.recv_timeout(Duration::from_secs(10)).unwrap()
    }
}

fn done(answer: Answer) -> Vec<f32> {
    answer.join().unwrap().unwrap()
}

#[test]
fn what_came_during_a_run_is_the_next_batch() {
    let bench = Bench::new(None);
    let callers = [[1.0], [2.0], [3.0], [4.0]].map(|images| bench.call(&images, 8));
    assert_eq!(bench.run_next(), [1.0]);
    assert_eq!(bench.run_next(), [2.0, 3.0, 4.0]);
    assert_eq!(callers.map(done), [[2.0], [4.0], [6.0], [8.0]]);
    let figures = bench.batcher.figures();
    assert_eq!((figures.runs, figures.images, figures.shared), (2, 4, 1));
    assert_eq!((figures.fill(), figures.largest), (2.0, 3));
    assert!(!lock(&bench.batcher.state).led);
}

#[test]
fn a_caller_with_many_images_leaves_room_for_the_others() {
    let bench = Bench::new(None);
    let first = bench.call(&[1.0], 4);
    let many = bench.call(&[10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0], 4);
    let few = bench.call(&[20.0], 4);
    bench.run_next();
    while lock(&bench.batcher.state).queue.len() > 1 {
        sleep(Duration::from_millis(1));
    }
    let late = bench.call(&[30.0, 31.0], 4);
    assert_eq!(bench.run_next(), [10.0, 11.0, 12.0, 20.0]);
    assert_eq!(bench.run_next(), [13.0, 14.0, 30.0, 31.0]);
    assert_eq!(bench.run_next(), [15.0, 16.0]);
    assert_eq!(done(first), [2.0]);
    assert_eq!(done(few), [40.0]);
    assert_eq!(done(late), [60.0, 62.0]);
    assert_eq!(
        done(many),
        [20.0, 22.0, 24.0, 26.0, 28.0, 30.0, 32.0],
        "rows of several runs in the order of the images"
    );
}

#[test]
fn with_a_fixed_batch_of_one_callers_take_turns() {
    let bench = Bench::new(Some(1));
    let callers = [[1.0, 2.0, 3.0], [10.0, 11.0, 12.0], [20.0, 21.0, 22.0]]
        .map(|images| bench.call(&images, 1));
    let order: Vec<f32> = (0..9).flat_map(|_| bench.run_next()).collect();
    // The first had its first run, and was put behind nobody, before the others came.
    assert_eq!(order, [1.0, 2.0, 10.0, 20.0, 3.0, 11.0, 21.0, 12.0, 22.0]);
    callers.into_iter().for_each(|caller| drop(done(caller)));
}

#[test]
fn a_fixed_batch_is_filled_with_zeros() {
    let bench = Bench::new(Some(4));
    let first = bench.call(&[1.0], 4);
    let others = [[2.0], [3.0]].map(|images| bench.call(&images, 4));
    assert_eq!(bench.run_next(), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(bench.run_next(), [2.0, 3.0, 0.0, 0.0]);
    assert_eq!(done(first), [2.0]);
    assert_eq!(others.map(done), [[4.0], [6.0]]);
}

#[test]
fn the_smallest_limit_of_a_batch_counts() {
    let bench = Bench::new(None);
    let first = bench.call(&[1.0], 8);
    let callers = [(2.0, 8), (3.0, 2), (4.0, 8)].map(|(x, limit)| bench.call(&[x], limit));
    bench.run_next();
    assert_eq!(bench.run_next(), [2.0, 3.0]);
    assert_eq!(bench.run_next(), [4.0]);
    done(first);
    callers.into_iter().for_each(|caller| drop(done(caller)));
}

#[test]
fn nobody_gets_the_error_of_another() {
    let bench = Bench::new(None);
    let first = bench.call(&[1.0], 8);
    let good = bench.call(&[2.0], 8);
    let bad = bench.call(&[BAD], 8);
    let also_good = bench.call(&[3.0], 8);
    bench.permit(5);
    assert_eq!(done(first), [2.0]);
    assert_eq!(done(good), [4.0]);
    assert_eq!(done(also_good), [6.0]);
    assert_eq!(bad.join().unwrap().unwrap_err(), "bad image");
}

#[test]
fn a_job_of_several_runs_ends_with_its_first_error() {
    let bench = Bench::new(Some(1));
    let bad = bench.call(&[BAD, 1.0, 2.0], 1);
    let good = bench.call(&[5.0, 6.0], 1);
    bench.permit(3);
    assert!(bad.join().unwrap().is_err());
    assert_eq!(done(good), [10.0, 12.0]);
    let ran: Vec<Vec<f32>> = bench.ran.try_iter().collect();
    assert_eq!(ran, [vec![BAD], vec![5.0], vec![6.0]]);
}

#[test]
fn a_run_that_panics_fails_only_whose_image_it_was() {
    let bench = Bench::new(None);
    let first = bench.call(&[1.0], 8);
    let fatal = bench.call(&[FATAL], 8);
    let beside = bench.call(&[2.0], 8);
    let behind = bench.call(&[3.0], 8);
    bench.permit(6);
    assert_eq!(done(first), [2.0]);
    assert!(fatal.join().unwrap().unwrap_err().contains("panicked"));
    assert_eq!(done(beside), [4.0]);
    assert_eq!(done(behind), [6.0]);
    let ran: Vec<Vec<f32>> = bench.ran.try_iter().collect();
    let apart = [vec![FATAL], vec![2.0], vec![3.0]];
    assert_eq!(ran[0], [1.0]);
    assert_eq!(ran[1], [FATAL, 2.0, 3.0]);
    assert_eq!(ran[2..], apart);
    assert_eq!(done(bench.call_ready(&[4.0])), [8.0], "the graph goes on");
    assert_eq!(bench.batcher.figures().failures, 2);
}

#[test]
fn a_leader_that_panics_leaves_nobody_waiting() {
    let bench = Bench::new(None);
    let first = bench.call(&[1.0], 8);
    let followers = [[2.0], [3.0]].map(|images| bench.call(&images, 8));
    // Without permits to come, the next run panics outside of the graph's own answer.
    let broken = {
        let batcher = bench.batcher.clone();
        std::thread::spawn(move || {
            let mut lead = Lead {
                batcher: &batcher,
                parts: Vec::new(),
            };
            lead.parts = lock(&batcher.state).take(Duration::ZERO);
            panic!("the leader dies");
        })
    };
    assert!(broken.join().is_err());
    for follower in followers {
        let reason = follower.join().unwrap().unwrap_err();
        assert!(reason.contains("leader"), "{reason}");
    }
    bench.permit(2);
    assert_eq!(done(first), [2.0]);
    assert_eq!(done(bench.call_ready(&[4.0])), [8.0]);
}

#[test]
fn whose_run_failed_is_alone_until_one_succeeds() {
    let bench = Bench::new(None);
    let claim = |name: &str| Some(Claim::new(name.into(), None));
    let round = |image: f32| {
        let held = bench.call_for(claim("held"), &[1.0], 8);
        let bad = bench.call_for(claim("bad"), &[image], 8);
        let good = bench.call_for(claim("good"), &[3.0], 8);
        let also = bench.call_for(claim("also"), &[4.0], 8);
        bench.permit(8);
        done(held);
        let failed = bad.join().unwrap().is_err();
        done(good);
        done(also);
        bench
            .batcher
            .graph
            .lock()
            .unwrap()
            .permits
            .try_iter()
            .count();
        let mut ran: Vec<usize> = bench.ran.try_iter().map(|images| images.len()).collect();
        ran.sort();
        (failed, ran)
    };
    assert_eq!(
        round(BAD),
        (true, vec![1, 1, 1, 1, 3]),
        "all fail, then each alone"
    );
    assert_eq!(round(BAD), (true, vec![1, 1, 2]), "it fails by itself");
    assert_eq!(round(2.0), (false, vec![1, 1, 2]), "it is still alone");
    assert_eq!(round(2.0), (false, vec![1, 3]), "it is one of them again");
}

impl Bench {
    /// A caller whose run needs no further permit.
    fn call_ready(&self, images: &[f32]) -> Answer {
        let batcher = self.batcher.clone();
        let images = Images {
            shape: SHAPE,
            count: images.len(),
            data: Arc::new(images.iter().flat_map(|x| [*x, *x]).collect()),
        };
        std::thread::spawn(move || {
            let rows = batcher.run(images, 8, None)?;
            Ok(rows.iter().map(|r| r.outputs.values[r.index]).collect())
        })
    }
}

#[test]
fn outputs_without_rows_are_asked_for_one_caller_at_a_time() {
    let bench = Bench::with(None, false);
    let first = bench.call(&[1.0], 8);
    let others = [[2.0], [3.0]].map(|images| bench.call(&images, 8));
    bench.permit(4);
    assert_eq!(done(first), [2.0]);
    assert_eq!(others.map(done), [[4.0], [6.0]]);
    let held = bench.call(&[4.0], 8);
    let more = [[5.0], [6.0]].map(|images| bench.call(&images, 8));
    bench.permit(3);
    done(held);
    more.into_iter().for_each(|caller| drop(done(caller)));
    let ran: Vec<usize> = bench.ran.try_iter().map(|images| images.len()).collect();
    assert_eq!(ran, [1, 2, 1, 1, 1, 1, 1], "tried together once");
}

#[test]
fn images_of_another_size_are_not_mixed_in() {
    let bench = Bench::new(None);
    let first = bench.call(&[1.0], 8);
    let small = bench.call(&[2.0], 8);
    let batcher = bench.batcher.clone();
    let large = std::thread::spawn(move || {
        let images = Images {
            shape: [1, 2, 2],
            count: 1,
            data: Arc::new(vec![7.0; 4]),
        };
        batcher.run(images, 8, None).map(|rows| rows.len())
    });
    while lock(&bench.batcher.state).queue.len() < 2 {
        sleep(Duration::from_millis(1));
    }
    bench.run_next();
    assert_eq!(bench.run_next(), [2.0]);
    assert_eq!(bench.run_next(), [7.0, 7.0]);
    done(first);
    done(small);
    assert_eq!(large.join().unwrap(), Ok(1));
}

#[test]
fn a_leader_waits_for_callers_that_are_known_if_batches_pay() {
    let bench = Bench::new(None);
    {
        let mut state = lock(&bench.batcher.state);
        state.times.note(1, Duration::from_secs(8));
        state.times.note(2, Duration::from_secs(8));
    }
    bench.permit(2);
    // Nobody else is known: no wait, though batches would pay.
    done(bench.call_ready(&[1.0]));
    assert!(bench.batcher.figures().waiting < Duration::from_secs(1));
    // Two callers are known; who comes first waits for the other.
    let (go, due) = bounded::<()>(0);
    let batcher = bench.batcher.clone();
    let now = bench.batcher.clock.monotonic();
    lock(&bench.batcher.state)
        .times
        .note(1, Duration::from_secs(8));
    lock(&bench.batcher.state).callers.saw(&Who::of(None), now);
    let one = bench.call_ready(&[2.0]);
    let two = std::thread::spawn(move || {
        due.recv().unwrap();
        let images = Images {
            shape: SHAPE,
            count: 1,
            data: Arc::new(vec![3.0; 2]),
        };
        batcher.run(images, 8, None).map(|rows| rows.len())
    });
    while !lock(&bench.batcher.state).led {
        sleep(Duration::from_millis(1));
    }
    go.send(()).unwrap();
    done(one);
    assert_eq!(two.join().unwrap(), Ok(1));
    let ran: Vec<Vec<f32>> = bench.ran.try_iter().collect();
    assert_eq!(ran, [vec![1.0], vec![2.0, 3.0]]);
}

#[test]
fn many_callers_all_get_their_own_rows_and_none_starves() {
    let bench = Bench::new(None);
    bench.permit(2000);
    let callers: Vec<_> = (0..12)
        .map(|caller: usize| {
            let batcher = bench.batcher.clone();
            std::thread::spawn(move || {
                for turn in 0..60 {
                    let images: Vec<f32> = (0..1 + (caller + turn) % 3)
                        .map(|i| (1000 * caller + 10 * turn + i) as f32)
                        .collect();
                    let data = images.iter().flat_map(|x| [*x, *x]).collect();
                    let rows = batcher.run(
                        Images {
                            shape: SHAPE,
                            count: images.len(),
                            data: Arc::new(data),
                        },
                        5,
                        None,
                    );
                    let rows = rows.unwrap();
                    let got: Vec<f32> = rows
                        .iter()
                        .map(|r| r.outputs.values[r.index] / 2.0)
                        .collect();
                    assert_eq!(got, images);
                }
            })
        })
        .collect();
    callers.into_iter().for_each(|c| c.join().unwrap());
    let figures = bench.batcher.figures();
    assert_eq!(figures.images, 12 * 60 * 2);
    assert!(figures.largest <= 5, "{figures:?}");
    assert!(lock(&bench.batcher.state).queue.is_empty());
}
