//! Traces for an OpenTelemetry collector: one for each frame (or request) that is sampled.
//!
//! A trace is gathered in plain memory that travels with its frame, and handed over complete: a frame
//! never waits for the collector. Whole traces wait in a bounded queue for the one thread that sends
//! them by OTLP over HTTP; what finds no room, or cannot be sent, is dropped and counted
//! ([`Tracer::figures`]). Without a collector configured there is no [`Tracer`] and nothing is done.

mod exporter;
mod frame;
mod settings;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample,
};

use self::exporter::Sending;
pub use self::exporter::TelemetryError;
pub use self::frame::{FrameFacts, FrameTrace, RequestTrace};
use self::frame::{Spans, Trace};
pub use self::settings::{Sampling, Settings, SettingsError};
use crate::clock::Clock;

/// Traces that wait to be sent, at most.
const WAITING: usize = 1024;
/// How long the end waits for the last traces to be sent.
const LAST: Duration = Duration::from_secs(1);

/// Makes traces and has them sent.
pub struct Tracer {
    shared: Arc<Shared>,
    traces: Option<Sender<Trace>>,
    /// Tells when the thread that sends them has ended.
    ended: Receiver<Infallible>,
}

/// What the threads that make traces and the one that sends them share.
#[derive(Debug)]
struct Shared {
    sampler: Sampler,
    ids: RandomIdGenerator,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// What became of the traces so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceFigures {
    /// Spans that a collector took.
    pub sent_spans: u64,
    /// Traces that found no room in the queue.
    pub dropped_traces: u64,
    /// Spans that no collector took.
    pub failed_spans: u64,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tracer({:?})", self.figures())
    }
}

impl Tracer {
    /// Starts the thread that sends traces; `None` if the settings name no collector.
    ///
    /// # Errors
    /// If the address of the collector makes no sense, or the machine refuses a thread.
    pub fn start(
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Arc<Self>>, TelemetryError> {
        let Some(endpoint) = settings.endpoint.clone() else {
            return Ok(None);
        };
        let shared = Arc::new(Shared {
            sampler: settings.sampling.sampler(),
            ids: RandomIdGenerator::default(),
            counts: Counts::default(),
        });
        let (traces, waiting) = bounded(WAITING);
        let sending = Sending::new(endpoint, settings, clock, shared.clone())?;
        let ended = sending.start(waiting)?;
        Ok(Some(Arc::new(Self {
            shared,
            traces: Some(traces),
            ended,
        })))
    }

    /// What became of the traces so far.
    pub fn figures(&self) -> TraceFigures {
        let counts = &self.shared.counts;
        TraceFigures {
            sent_spans: counts.sent.load(Ordering::Relaxed),
            dropped_traces: counts.dropped.load(Ordering::Relaxed),
            failed_spans: counts.failed.load(Ordering::Relaxed),
        }
    }

    /// The trace of a frame that began then, if it is sampled.
    pub fn frame(self: &Arc<Self>, began: Duration) -> Option<Box<FrameTrace>> {
        let root = self.root("frame", &SpanKind::Consumer, None)?;
        Some(Box::new(FrameTrace::new(Spans::new(
            self.clone(),
            root,
            began,
        ))))
    }

    /// The trace of a request that began then, if it is sampled. `traceparent` is the header by
    /// which the caller names its own trace (W3C Trace Context); one that cannot be read counts as
    /// none.
    pub fn request(
        self: &Arc<Self>,
        name: &'static str,
        traceparent: Option<&str>,
        began: Duration,
    ) -> Option<RequestTrace> {
        let parent = traceparent.and_then(parent);
        let root = self.root(name, &SpanKind::Server, parent)?;
        Some(RequestTrace::new(Spans::new(self.clone(), root, began)))
    }

    fn root(
        &self,
        name: &'static str,
        kind: &SpanKind,
        parent: Option<SpanContext>,
    ) -> Option<Root> {
        let trace = match &parent {
            Some(parent) => parent.trace_id(),
            None => self.shared.ids.new_trace_id(),
        };
        let known = parent
            .clone()
            .map(|parent| opentelemetry::Context::new().with_remote_span_context(parent));
        let sampler = &self.shared.sampler;
        let sampled = sampler.should_sample(known.as_ref(), trace, name, kind, &[], &[]);
        (sampled.decision == SamplingDecision::RecordAndSample).then(|| Root {
            trace,
            parent: parent.map_or(SpanId::INVALID, |parent| parent.span_id()),
            name,
            kind: kind.clone(),
        })
    }

    fn new_id(&self) -> SpanId {
        self.shared.ids.new_span_id()
    }

    /// Hands a complete trace over.
    fn send(&self, trace: Trace) {
        let taken = self.traces.as_ref().map(|traces| traces.try_send(trace));
        if !matches!(taken, Some(Ok(()))) {
            self.shared.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Tracer {
    /// What is in the queue is still sent if that goes fast.
    fn drop(&mut self) {
        drop(self.traces.take());
        // Nothing is ever received: the other side ends, or time is up.
        let _ = self.ended.recv_timeout(LAST);
    }
}

/// The first span of a trace.
#[derive(Clone, Debug)]
struct Root {
    trace: TraceId,
    /// The caller's span, if it named one.
    parent: SpanId,
    name: &'static str,
    kind: SpanKind,
}

/// The span that a `traceparent` header names: `00-<trace>-<span>-<flags>`, all in lower-case
/// hexadecimal (W3C Trace Context, level 1, section 3.2).
fn parent(header: &str) -> Option<SpanContext> {
    let mut parts = header.trim().split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length: usize| {
        let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        text.len() == length && text.bytes().all(digits)
    };
    let known =
        is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    if !(known && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2)) {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}
