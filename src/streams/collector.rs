//! The last thread of a stream: takes the rounds from the last stage, counts them, and hands the
//! results out.

use crossbeam_channel::{Receiver, Sender};

use super::canary::Comparable;
use super::item::{Item, Miss};
use super::pipeline::Common;
use super::{FrameResult, Generation};
use crate::sources::{DropCause, Frame};
use crate::telemetry::FrameFacts;

/// Takes the rounds of one definition after the other, until there are no more or nobody takes
/// results.
pub(super) fn collect(
    chains: &Receiver<Receiver<Item>>,
    out: &Sender<FrameResult>,
    common: &Common,
) {
    for chain in chains {
        for item in chain {
            if !pass(item, out, common) {
                return;
            }
        }
    }
}

/// Hands the result of a round out; false if nobody takes it.
fn pass(item: Item, out: &Sender<FrameResult>, common: &Common) -> bool {
    let Item {
        frames,
        sources,
        fed,
        generation,
        run,
        permit,
        trace,
        spent,
        ..
    } = item;
    let Some((_, first)) = frames.first() else {
        return true;
    };
    let now = common.clock.monotonic();
    let trace = trace.map(|trace| (trace, facts(first, frames.len(), &generation, common)));
    let run = match run {
        Ok(run) => Ok(run),
        Err(Miss::Failed(error)) => Err(error),
        Err(Miss::Stale) => {
            common.figures.dropped(frames.len());
            if let Some((trace, facts)) = trace {
                trace.finish(now, &facts, None, Some(DropCause::Stale.name()));
            }
            return true;
        }
    };
    let error = run.as_ref().err().filter(|_| trace.is_some());
    let error = error.map(ToString::to_string);
    let mut frames = frames.into_iter();
    let Some((source, frame)) = frames.next() else {
        return true;
    };
    let result = FrameResult {
        latency: now.saturating_sub(frame.arrived),
        waited: fed.saturating_sub(frame.arrived),
        source,
        frame,
        others: frames.collect(),
        sources,
        generation,
        run,
    };
    common.figures.result(&result, spent);
    // The result is written as JSON for the comparison, so the lock is given back before.
    let watch = common.watch().clone();
    if let Some(watch) = watch {
        // A comparison that is behind misses a frame, the stream does not.
        let _ = watch.try_send(Comparable::of_result(&result));
    }
    let taken = out.send(result).is_ok();
    drop(permit);
    if let Some((mut trace, facts)) = trace {
        let end = common.clock.monotonic();
        trace.outputs(now, end);
        trace.finish(end, &facts, error, None);
    }
    taken
}

fn facts(first: &Frame, frames: usize, generation: &Generation, common: &Common) -> FrameFacts {
    FrameFacts {
        stream: common.id.clone(),
        source: first.video.video_identifier.clone(),
        number: first.number,
        frames,
        definition: generation.provenance.hash().to_string(),
    }
}
