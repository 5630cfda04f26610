//! The thread that sends traces to a collector.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use opentelemetry::trace::{SpanContext, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};

use super::frame::Trace;
use super::{Settings, Shared};
use crate::clock::Clock;

/// A failing collector is told of again after so many failures.
const TOLD_EACH: u64 = 100;

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The address or a header makes no sense.
    #[error("traces cannot be sent: {0}; check --otlp and OTEL_EXPORTER_OTLP_ENDPOINT")]
    Collector(String),
    /// The machine refuses a thread.
    #[error("traces cannot be sent: the machine refuses a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// What sends traces.
pub(super) struct Sending {
    exporter: SpanExporter,
    runtime: tokio::runtime::Runtime,
    settings: Settings,
    scope: InstrumentationScope,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    failures: u64,
}

impl Sending {
    pub(super) fn new(
        endpoint: String,
        settings: Settings,
        clock: Arc<dyn Clock>,
        shared: Arc<Shared>,
    ) -> Result<Self, TelemetryError> {
        let address = url::Url::parse(&endpoint).map_err(|e| collector("the address", &e))?;
        if !matches!(address.scheme(), "http" | "https") {
            let wanted = "it is http or https";
            return Err(collector("the address", &wanted));
        }
        let client = reqwest::Client::builder()
            .timeout(settings.timeout)
            .build()
            .map_err(|e| collector("the client", &e.without_url()))?;
        let headers: HashMap<String, String> = settings.headers.iter().cloned().collect();
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(endpoint)
            .with_timeout(settings.timeout)
            .with_headers(headers)
            .build()
            .map_err(|_| collector("the address", &"it cannot be used"))?;
        let attributes = settings.attributes.iter();
        let attributes = attributes.map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let resource = Resource::builder_empty()
            .with_attributes(attributes)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_service_name(settings.service.clone())
            .build();
        exporter.set_resource(&resource);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let scope = InstrumentationScope::builder("millrace")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Ok(Self {
            exporter,
            runtime,
            settings,
            scope,
            clock,
            shared,
            failures: 0,
        })
    }

    /// Starts the thread; what is given back tells when it has ended.
    pub(super) fn start(
        mut self,
        traces: Receiver<Trace>,
    ) -> std::io::Result<Receiver<Infallible>> {
        let (alive, ended) = bounded(0);
        thread::Builder::new()
            .name("traces".into())
            .spawn(move || {
                self.run(&traces);
                drop(alive);
            })?;
        Ok(ended)
    }

    /// Sends what comes until nobody makes traces any more.
    fn run(&mut self, traces: &Receiver<Trace>) {
        let mut batch = Vec::new();
        while let Ok(first) = traces.recv() {
            self.add(&mut batch, first);
            let due = self.clock.monotonic() + self.settings.delay;
            while batch.len() < self.settings.batch {
                let left = due.saturating_sub(self.clock.monotonic());
                match traces.recv_timeout(left) {
                    Ok(next) => self.add(&mut batch, next),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            self.send(std::mem::take(&mut batch));
        }
    }

    fn add(&self, batch: &mut Vec<SpanData>, trace: Trace) {
        // Spans carry times of the monotonic clock; a collector wants the time of day.
        let now = Duration::try_from_secs_f64(self.clock.now().unix_seconds()).unwrap_or_default();
        let offset = now.saturating_sub(self.clock.monotonic());
        let time = |at: Duration| -> SystemTime { UNIX_EPOCH + offset + at };
        let root = trace.root;
        for (i, span) in trace.spans.into_iter().enumerate() {
            let context = SpanContext::new(
                root.trace,
                span.id,
                TraceFlags::SAMPLED,
                false,
                TraceState::NONE,
            );
            batch.push(SpanData {
                span_context: context,
                parent_span_id: span.parent,
                parent_span_is_remote: i == 0
                    && span.parent != opentelemetry::trace::SpanId::INVALID,
                span_kind: match i {
                    0 => root.kind.clone(),
                    _ => opentelemetry::trace::SpanKind::Internal,
                },
                name: span.name,
                start_time: time(span.began),
                end_time: time(span.ended),
                attributes: span.attributes,
                dropped_attributes_count: 0,
                events: SpanEvents::default(),
                links: SpanLinks::default(),
                status: span.error.map_or(Status::Unset, Status::error),
                instrumentation_scope: self.scope.clone(),
            });
        }
    }

    fn send(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        let limit = self.settings.timeout;
        let sent = self
            .runtime
            .block_on(async { tokio::time::timeout(limit, self.exporter.export(batch)).await });
        let counts = &self.shared.counts;
        match sent {
            Ok(Ok(())) => {
                self.failures = 0;
                counts.sent.fetch_add(count, Ordering::Relaxed);
            }
            // The error may show the address, which may hold a key.
            Ok(Err(_)) | Err(_) => {
                if self.failures.is_multiple_of(TOLD_EACH) {
                    tracing::warn!(
                        spans = count,
                        "the collector of traces takes none; check that it runs and its address"
                    );
                }
                self.failures += 1;
                counts.failed.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

fn collector(what: &str, why: &dyn std::fmt::Display) -> TelemetryError {
    TelemetryError::Collector(format!("{what}: {why}"))
}
