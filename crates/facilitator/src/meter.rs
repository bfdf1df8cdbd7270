//! Metrics, by the `metrics` facade: nothing is recorded until a recorder is installed.
//!
//! | name | kind | labels |
//! |---|---|---|
//! | `tollway_facilitator_payments_total` | counter | `operation` (verify, settle), `network`, `scheme`, `outcome`, `reason` |
//! | `tollway_facilitator_payment_seconds` | histogram | `operation`, `network`, `scheme`, `outcome` |
//! | `tollway_facilitator_in_flight` | gauge | `operation` |
//! | `tollway_facilitator_http_responses_total` | counter | `path`, `status` |
//! | `tollway_facilitator_screened_total` | counter | `operation`, `by` (policy, hook, broken) |
//! | `tollway_facilitator_turned_away_total` | counter | `why` (key, rate, quota, address, connections) |
//!
//! `outcome` is `valid`, `invalid`, `settled`, `failed`, `pending` or `unavailable`; `reason` is the
//! reason table's core code. Every label has few values: networks and schemes that are not served
//! count as `other`.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use metrics::{Counter, Gauge, Histogram, SharedString};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};
use tollway_protocol::{Code, Reason};

const PAYMENTS: &str = "tollway_facilitator_payments_total";
const SECONDS: &str = "tollway_facilitator_payment_seconds";
const IN_FLIGHT: &str = "tollway_facilitator_in_flight";
const RESPONSES: &str = "tollway_facilitator_http_responses_total";
const SCREENED: &str = "tollway_facilitator_screened_total";
const TURNED_AWAY: &str = "tollway_facilitator_turned_away_total";
const BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0];

/// A Prometheus recorder with buckets for every `*_seconds` histogram. Whoever installs it must
/// call its handle's `run_upkeep` now and then.
///
/// # Errors
/// When the builder refuses the buckets.
pub fn prometheus() -> Result<PrometheusBuilder, BuildError> {
    let builder =
        PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), BUCKETS)?;
    metrics::describe_counter!(PAYMENTS, "Payments verified and settled, by outcome and reason");
    metrics::describe_histogram!(SECONDS, metrics::Unit::Seconds, "Time to an answer");
    metrics::describe_gauge!(IN_FLIGHT, "Verifications and settlements in progress");
    metrics::describe_counter!(RESPONSES, "HTTP answers");
    metrics::describe_counter!(SCREENED, "Payments refused by lists and hooks");
    metrics::describe_counter!(TURNED_AWAY, "Requests and connections refused before they were read");
    Ok(builder)
}

/// The names of this crate's metrics.
pub const NAMES: [&str; 6] = [PAYMENTS, SECONDS, IN_FLIGHT, RESPONSES, SCREENED, TURNED_AWAY];

/// What is being measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Verify,
    Settle,
}

impl Operation {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Settle => "settle",
        }
    }

    /// The outcome of a payment that ends well.
    const fn good(self) -> &'static str {
        match self {
            Self::Verify => "valid",
            Self::Settle => "settled",
        }
    }
}

/// The metrics of one operation for one mechanism; those of a payment that ends well are looked up once.
pub(crate) struct Series {
    operation: Operation,
    network: SharedString,
    scheme: SharedString,
    good: OnceLock<(Counter, Histogram)>,
    in_flight: OnceLock<Gauge>,
}

impl Series {
    pub(crate) fn new(operation: Operation, scheme: &str, network: &str) -> Self {
        let shared = |text: &str| SharedString::from_shared(Arc::from(text));
        let (network, scheme) = (shared(network), shared(scheme));
        Self { operation, network, scheme, good: OnceLock::new(), in_flight: OnceLock::new() }
    }

    pub(crate) fn network(&self) -> &str {
        &self.network
    }

    /// Begins to measure a payment.
    pub(crate) fn start(&self) -> Meter<'_> {
        Meter { series: self, started: Instant::now() }
    }

    /// Counts as in flight until it is dropped.
    pub(crate) fn in_flight(&self) -> InFlight {
        let name = self.operation.name();
        let gauge = self.in_flight.get_or_init(|| metrics::gauge!(IN_FLIGHT, "operation" => name));
        gauge.increment(1.0);
        InFlight(gauge.clone())
    }

    fn ended(&self, outcome: &'static str, reason: &'static str) -> (Counter, Histogram) {
        let operation = self.operation.name();
        let payments = metrics::counter!(PAYMENTS, "operation" => operation, "network" => self.network.clone(),
            "scheme" => self.scheme.clone(), "outcome" => outcome, "reason" => reason);
        let seconds = metrics::histogram!(SECONDS, "operation" => operation, "network" => self.network.clone(),
            "scheme" => self.scheme.clone(), "outcome" => outcome);
        (payments, seconds)
    }
}

/// One payment's way through an operation.
pub(crate) struct Meter<'a> {
    series: &'a Series,
    started: Instant,
}

impl Meter<'_> {
    pub(crate) fn finish(self, outcome: &'static str, reason: &'static str) {
        let took = self.started.elapsed().as_secs_f64();
        let record = |(payments, seconds): &(Counter, Histogram)| {
            payments.increment(1);
            seconds.record(took);
        };
        if reason.is_empty() && outcome == self.series.operation.good() {
            record(self.series.good.get_or_init(|| self.series.ended(outcome, reason)));
        } else {
            record(&self.series.ended(outcome, reason));
        }
    }
}

/// Counts as in flight until dropped.
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

pub(crate) fn screened(operation: Operation, by: &'static str) {
    metrics::counter!(SCREENED, "operation" => operation.name(), "by" => by).increment(1);
}

pub(crate) fn turned_away(why: &'static str) {
    metrics::counter!(TURNED_AWAY, "why" => why).increment(1);
}

pub(crate) fn response(path: &'static str, status: u16) {
    let status = if status == 200 { "200".into() } else { SharedString::from_owned(status.to_string()) };
    metrics::counter!(RESPONSES, "path" => path, "status" => status).increment(1);
}

/// The reason as a label: one of the table's, never a foreign text.
pub(crate) fn label(code: Option<&Code>) -> &'static str {
    match code.map(Code::reason) {
        None => "",
        Some(Reason::Other(_)) => "other",
        Some(reason) => reason.row().core,
    }
}
