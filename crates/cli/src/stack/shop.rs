//! An API that sells, through a facilitator over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tollway_evm::ExactSeller;
use tollway_facilitator::{Server, serve};
use tollway_ledger::SqliteLedger;
use tollway_protocol::Network;
use tollway_seller::{HttpFacilitator, Paid, Seller};

use crate::exit::{Doing as _, Failure};

/// The price of the weather.
pub(crate) const PRICE: &str = "$0.01";
/// The price of the forecast.
const FORECAST_PRICE: &str = "$0.05";
/// How long a payment is good for: short, as a development chain's next start knows nothing of it.
const TIMEOUT_SECONDS: u64 = 60;
/// How long the facilitator may take until it says what it supports.
const READY_WITHIN: Duration = Duration::from_secs(15);

/// What a shop needs.
pub(crate) struct ShopConfig {
    /// Where it listens.
    pub(crate) server: Server,
    /// The facilitator's URL.
    pub(crate) facilitator: String,
    /// Its ledger.
    pub(crate) ledger: Arc<SqliteLedger>,
    /// Where it is paid.
    pub(crate) accounts: Vec<(Network, String)>,
}

/// An API that sells the weather.
pub(crate) struct Shop {
    /// Where it is.
    pub(crate) url: String,
    seller: Seller,
    stop: oneshot::Sender<()>,
    task: JoinHandle<serve::Drained>,
}

impl Shop {
    /// Serves, and waits until the facilitator has said what it supports.
    pub(crate) async fn open(config: ShopConfig) -> Result<Self, Failure> {
        let ShopConfig { server, facilitator, ledger, accounts } = config;
        let url = format!("http://{}", server.addr());
        let asked = HttpFacilitator::builder(facilitator.clone())
            .build()
            .doing(|| "--facilitator".to_owned())
            .map_err(|failure| failure.todo("give its base URL, such as https://x402.org/facilitator"))?;
        let mut builder = Seller::builder(url.clone())
            .facilitator(Arc::new(asked))
            .ledger(ledger)
            .scheme(Arc::new(ExactSeller::new()));
        for (network, account) in accounts {
            builder = builder.pay_to(network.to_string(), account);
        }
        let seller = builder.build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let limits = serve::Limits { drain: super::DRAIN, ..serve::Limits::default() };
        let serving = server.limits(limits).serve(routes(&seller)?, async {
            // A dropped handle stops it too.
            let _ = stopped.await;
        });
        let task = tokio::spawn(serving);
        tokio::time::timeout(READY_WITHIN, seller.ready()).await.map_err(|_| {
            Failure::general(format!(
                "the facilitator at {} does not say what it supports",
                shown(&facilitator)
            ))
            .todo("is it running? `curl URL/supported` must answer with kinds")
        })?;
        Ok(Self { url, seller, stop, task })
    }

    /// What costs something.
    pub(crate) fn paid(&self) -> Vec<String> {
        ["/weather", "/forecast"].map(|path| format!("{}{path}", self.url)).to_vec()
    }

    /// Takes no more requests and finishes what is in flight.
    pub(crate) async fn stop(self) -> bool {
        drop(self.stop);
        let served = self.task.await;
        let idle = tokio::time::timeout(super::DRAIN, self.seller.idle()).await;
        idle.is_ok() && served.is_ok_and(|served| served.cut == 0)
    }
}

/// A URL without what may be secret in it.
fn shown(url: &str) -> String {
    url::Url::parse(url).map_or_else(|_| "that URL".to_owned(), |url| url.origin().ascii_serialization())
}

fn routes(seller: &Seller) -> Result<Router, Failure> {
    let weather = Paid::new(PRICE)
        .description("The weather now")
        .mime_type("application/json")
        .service_name("Tollway weather")
        .max_timeout_seconds(TIMEOUT_SECONDS);
    let forecast = Paid::new(FORECAST_PRICE)
        .description("The weather of the next three days")
        .mime_type("application/json")
        .service_name("Tollway weather")
        .max_timeout_seconds(TIMEOUT_SECONDS);
    Ok(Router::new()
        .route("/weather", get(|| async { Json(now()) }).route_layer(seller.gate(weather)?))
        .route("/forecast", get(|| async { Json(days()) }).route_layer(seller.gate(forecast)?))
        .route("/", get(|| async { Json(free()) })))
}

fn free() -> Value {
    json!({ "free": "/", "paid": { "/weather": PRICE, "/forecast": FORECAST_PRICE } })
}

fn now() -> Value {
    json!({ "city": "Lisbon", "sky": "sunny", "celsius": 21 })
}

fn days() -> Value {
    json!({ "city": "Lisbon", "days": [
        { "day": 1, "sky": "sunny", "celsius": 22 },
        { "day": 2, "sky": "cloudy", "celsius": 19 },
        { "day": 3, "sky": "rain", "celsius": 17 },
    ] })
}
