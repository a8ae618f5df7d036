//! What `/metrics` shows, in the text format of Prometheus.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::App;
use super::memory::Memory;
use crate::schedule::{Lane, Scheduler, Snapshot};

/// The content type of the format, with its version.
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The status of requests whose clients went away before there was one, as proxies count them.
pub const VANISHED: u16 = 499;

/// Counters and histograms of requests, and a view of the scheduler.
pub struct Metrics {
    registry: Registry,
    requests: Family<OfRequest, Counter>,
    seconds: Family<OfRoute, Histogram>,
    waits: Family<OfLane, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoute {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLane {
    lane: &'static str,
}

impl From<Lane> for OfLane {
    fn from(lane: Lane) -> Self {
        let lane = match lane {
            Lane::Interactive => "interactive",
            Lane::Bulk => "bulk",
        };
        Self { lane }
    }
}

/// From half a millisecond to 16 s.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}

impl Metrics {
    /// Nothing yet, of a server that started at this Unix time.
    pub fn new(scheduler: Arc<Scheduler>, memory: Memory, started_at: u64) -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        let waits = Family::new_with_constructor(histogram as fn() -> Histogram);
        registry.register(
            "lanewise_requests",
            "Requests by route and status; 499 if the client went away",
            requests.clone(),
        );
        registry.register(
            "lanewise_request_seconds",
            "Time from the header of a request to its answer",
            seconds.clone(),
        );
        registry.register(
            "lanewise_vector_seconds",
            "Time from the tokens of a request to its vectors, waiting included",
            waits.clone(),
        );
        registry.register_collector(Box::new(View {
            scheduler,
            memory,
            started_at,
        }));
        Self {
            registry,
            requests,
            seconds,
            waits,
        }
    }

    /// A request was answered, or its client went away.
    pub fn answered(&self, route: &str, status: u16, time: Duration) {
        let route = route.to_owned();
        let of_request = OfRequest {
            route: route.clone(),
            status,
        };
        self.requests.get_or_create(&of_request).inc();
        let seconds = self.seconds.get_or_create(&OfRoute { route });
        seconds.observe(time.as_secs_f64());
    }

    /// The vectors of a request took so long.
    pub fn waited(&self, lane: Lane, time: Duration) {
        let wait = self.waits.get_or_create(&lane.into());
        wait.observe(time.as_secs_f64());
    }
}

/// What is looked up when it is asked for.
#[derive(Debug)]
struct View {
    scheduler: Arc<Scheduler>,
    memory: Memory,
    started_at: u64,
}

impl Collector for View {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let Snapshot {
            interactive,
            bulk,
            tokens,
            passes,
            embedded,
            embedded_tokens,
            busy,
            hits,
            joined,
            dropped,
            refused,
            cache_bytes,
        } = self.scheduler.snapshot();
        for (name, help, value) in [
            ("lanewise_passes", "Passes of the model", passes),
            (
                "lanewise_embedded_texts",
                "Texts that were embedded",
                embedded,
            ),
            (
                "lanewise_embedded_tokens",
                "Tokens that were embedded",
                embedded_tokens,
            ),
            (
                "lanewise_cache_hits",
                "Texts whose vectors were in the cache",
                hits,
            ),
            (
                "lanewise_joined_texts",
                "Texts that were waited for already",
                joined,
            ),
            (
                "lanewise_dropped_texts",
                "Texts whose clients went away",
                dropped,
            ),
            (
                "lanewise_refused_requests",
                "Requests refused since too much waited",
                refused,
            ),
        ] {
            counter(&mut to, name, help, &ConstCounter::new(value))?;
        }
        let name = "lanewise_pass_seconds";
        let busy = ConstCounter::new(busy.as_secs_f64());
        counter(&mut to, name, "Time that passes took", &busy)?;
        for (name, help, value) in [
            ("lanewise_waiting_tokens", "Tokens that wait", tokens),
            ("lanewise_cache_bytes", "Bytes of the cache", cache_bytes),
            (
                "lanewise_request_bytes",
                "Memory that is reserved for requests and answers",
                self.memory.reserved(),
            ),
        ] {
            gauge(&mut to, name, help, value as u64)?;
        }
        let gauge_type = ConstGauge::new(0u64).metric_type();
        let mut texts = to.encode_descriptor(
            "lanewise_waiting_texts",
            "Texts that wait, by lane",
            None,
            gauge_type,
        )?;
        for (lane, waiting) in [(Lane::Interactive, interactive), (Lane::Bulk, bulk)] {
            let lane = OfLane::from(lane);
            ConstGauge::new(waiting as u64).encode(texts.encode_family(&lane)?)?;
        }
        let help = "When the server started, in Unix time";
        gauge(&mut to, "process_start_time_seconds", help, self.started_at)
    }
}

fn counter(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counter: &impl EncodeMetric,
) -> fmt::Result {
    counter.encode(to.encode_descriptor(name, help, None, counter.metric_type())?)
}

fn gauge(to: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(to.encode_descriptor(name, help, None, gauge.metric_type())?)
}

/// `/metrics`
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &app.metrics.registry) {
        Ok(()) => ([(CONTENT_TYPE, FORMAT)], text).into_response(),
        // Strings take everything.
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
