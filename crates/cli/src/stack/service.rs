//! A facilitator that serves, and how it stops without losing what is in flight.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tollway_facilitator::config::Limits;
use tollway_facilitator::serve::Drained;
use tollway_facilitator::{Api, Registry, Server};
use tollway_ledger::Ledger;

/// A facilitator's HTTP API, being served.
pub(crate) struct Service {
    /// Where it is.
    pub(crate) url: String,
    registry: Arc<Registry>,
    drain: Duration,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Drained>,
}

/// The limits of a development stack.
pub(crate) fn registry_limits() -> Limits {
    Limits { drain_seconds: super::DRAIN.as_secs(), ..Limits::default() }
}

impl Service {
    /// Serves `registry` on `server`, after it has taken up what an earlier process left. `dress` makes the router:
    /// `Api::router`, or more.
    pub(crate) async fn start(
        server: Server,
        registry: Registry,
        ledger: Arc<dyn Ledger>,
        limits: &Limits,
        metrics: Option<PrometheusHandle>,
        dress: impl FnOnce(Api) -> Router,
    ) -> Self {
        let registry = Arc::new(registry);
        for left in registry.recover().await {
            tracing::error!(network = %left.network, problem = left.problem, "recovery failed");
        }
        let healthy = move || {
            let ledger = ledger.clone();
            async move { ledger.healthy().await.map_err(|error| error.to_string()) }
        };
        let mut api = Api::new(registry.clone()).limits(limits.api()).ledger(healthy);
        if let Some(handle) = metrics {
            api = api.metrics(handle);
        }
        let url = format!("http://{}", server.addr());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = server.limits(limits.serve()).serve(dress(api), async {
            // A dropped handle stops it too.
            let _ = stopped.await;
        });
        let drain = Duration::from_secs(limits.drain_seconds);
        Self { url, registry, drain, stop, task: tokio::spawn(serving) }
    }

    /// What it serves with.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Takes no more requests and finishes what is in flight. Says whether it could.
    pub(crate) async fn stop(self) -> bool {
        drop(self.stop);
        let (served, drained) = tokio::join!(self.task, self.registry.drain(self.drain));
        if let Err(left) = &drained {
            tracing::warn!(%left, "stopped with work in flight");
        }
        drained.is_ok() && served.is_ok_and(|served| served.cut == 0)
    }
}
