//! The trace of one frame or request, as it is gathered.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanId;

use super::{Root, Tracer};

/// A span of a trace, in times of the clock.
#[derive(Debug)]
pub(super) struct Span {
    pub id: SpanId,
    pub parent: SpanId,
    pub name: Cow<'static, str>,
    pub began: Duration,
    pub ended: Duration,
    pub attributes: Vec<KeyValue>,
    pub error: Option<String>,
}

/// A trace; the first span is its root.
#[derive(Debug)]
pub(super) struct Trace {
    pub root: Root,
    pub spans: Vec<Span>,
}

/// A trace that is being gathered.
#[derive(Debug)]
pub(super) struct Spans {
    trace: Trace,
    tracer: Arc<Tracer>,
}

impl Spans {
    pub(super) fn new(tracer: Arc<Tracer>, root: Root, began: Duration) -> Self {
        let first = Span {
            id: tracer.new_id(),
            parent: root.parent,
            name: root.name.into(),
            began,
            ended: began,
            attributes: Vec::new(),
            error: None,
        };
        let spans = vec![first];
        Self {
            trace: Trace { root, spans },
            tracer,
        }
    }

    fn first(&self) -> SpanId {
        let first = self.trace.spans.first();
        first.map_or(SpanId::INVALID, |root| root.id)
    }

    fn add(
        &mut self,
        parent: SpanId,
        name: impl Into<Cow<'static, str>>,
        (began, ended): (Duration, Duration),
    ) -> &mut Span {
        let id = self.tracer.new_id();
        let spans = &mut self.trace.spans;
        spans.push(Span {
            id,
            parent,
            name: name.into(),
            began,
            ended,
            attributes: Vec::new(),
            error: None,
        });
        let last = spans.len() - 1;
        &mut spans[last]
    }

    fn finish(mut self, ended: Duration, attributes: Vec<KeyValue>, error: Option<String>) {
        if let Some(root) = self.trace.spans.first_mut() {
            root.ended = ended;
            root.attributes = attributes;
            root.error = error;
        }
        self.tracer.send(self.trace);
    }
}

/// What a frame was, for its trace.
#[derive(Clone, Debug)]
pub struct FrameFacts {
    /// The stream.
    pub stream: Arc<str>,
    /// The source that it came from.
    pub source: Arc<str>,
    /// Its number in the source.
    pub number: i64,
    /// Frames of its round.
    pub frames: usize,
    /// Hash of the definition that ran on it.
    pub definition: String,
}

/// The trace of a frame on its way through a stream.
#[derive(Debug)]
pub struct FrameTrace {
    spans: Spans,
    stage: SpanId,
}

impl FrameTrace {
    pub(super) fn new(spans: Spans) -> Self {
        let stage = spans.first();
        Self { spans, stage }
    }

    /// The decoder had it from then to then.
    pub fn decoded(&mut self, began: Duration, ended: Duration) {
        if let Some(root) = self.spans.trace.spans.first_mut() {
            root.began = root.began.min(began);
        }
        let root = self.spans.first();
        self.spans.add(root, "decode", (began, ended));
    }

    /// It waited for the first stage from then to then.
    pub fn waited(&mut self, began: Duration, ended: Duration) {
        let root = self.spans.first();
        self.spans.add(root, "wait", (began, ended));
    }

    /// A stage had it; `waited` of that time it waited for its turn at a model.
    pub fn stage(
        &mut self,
        name: &str,
        is_model: bool,
        times: (Duration, Duration),
        waited: Duration,
        error: Option<String>,
    ) {
        let root = self.spans.first();
        let kind = if is_model { "inference" } else { "steps" };
        let span = self.spans.add(root, format!("stage {name}"), times);
        span.attributes = vec![KeyValue::new("millrace.stage.kind", kind)];
        if is_model {
            let seconds = waited.as_secs_f64();
            let turn = KeyValue::new("millrace.model.wait_seconds", seconds);
            span.attributes.push(turn);
        }
        span.error = error;
        self.stage = span.id;
    }

    /// A step of the stage that was told last.
    pub fn step(&mut self, name: &str, block: &str, times: (Duration, Duration), failed: bool) {
        let span = self.spans.add(self.stage, format!("step {name}"), times);
        span.attributes = vec![KeyValue::new("millrace.block", block.to_owned())];
        span.error = failed.then(|| "the step failed".to_owned());
    }

    /// Its result waited to be taken from then to then.
    pub fn outputs(&mut self, began: Duration, ended: Duration) {
        let root = self.spans.first();
        self.spans.add(root, "outputs", (began, ended));
    }

    /// It is at its end: with a result, with an error of a step, or dropped for a cause.
    pub fn finish(
        self,
        ended: Duration,
        facts: &FrameFacts,
        error: Option<String>,
        dropped: Option<&'static str>,
    ) {
        let mut attributes = vec![
            KeyValue::new("millrace.stream", facts.stream.clone()),
            KeyValue::new("millrace.source", facts.source.clone()),
            KeyValue::new("millrace.frame.number", facts.number),
            KeyValue::new("millrace.round.frames", facts.frames as i64),
            KeyValue::new("millrace.definition.hash", facts.definition.clone()),
        ];
        let cause = dropped.map(|cause| KeyValue::new("millrace.drop.cause", cause));
        attributes.extend(cause);
        let error = error.or_else(|| dropped.map(|cause| format!("dropped: {cause}")));
        self.spans.finish(ended, attributes, error);
    }
}

/// The trace of a request.
#[derive(Debug)]
pub struct RequestTrace(Spans);

impl RequestTrace {
    pub(super) fn new(spans: Spans) -> Self {
        Self(spans)
    }

    /// The request was answered: its method, the route that took it, and the status. Answers from 500
    /// on are errors.
    pub fn finish(self, ended: Duration, method: &str, route: &str, status: u16) {
        let attributes = vec![
            KeyValue::new("http.request.method", method.to_owned()),
            KeyValue::new("http.route", route.to_owned()),
            KeyValue::new("http.response.status_code", i64::from(status)),
        ];
        let error = (status >= 500).then(|| format!("status {status}"));
        self.0.finish(ended, attributes, error);
    }
}
