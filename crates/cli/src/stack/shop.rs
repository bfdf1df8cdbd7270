//! An API that sells, through a facilitator over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tollway_evm::{ExactSeller, UptoSeller};
use tollway_facilitator::{Server, serve};
use tollway_ledger::SqliteLedger;
use tollway_protocol::Network;
use tollway_protocol::json::Object;
use tollway_seller::{HttpFacilitator, Paid, Seller, Terms};

use crate::exit::{Doing as _, Failure};

/// The price of the weather.
pub(crate) const PRICE: &str = "$0.01";
/// The price of the forecast.
const FORECAST_PRICE: &str = "$0.05";
/// The price of the tides, which are paid for through Permit2.
const TIDES_PRICE: &str = "$0.02";
/// The most that the report costs.
const REPORT_PRICE: &str = "$0.10";
/// What the report costs, in atomic units of a coin of six decimals: a cent for each of its days.
const REPORT_CHARGE: u64 = 30_000;
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
            .scheme(Arc::new(ExactSeller::new()))
            .scheme(Arc::new(UptoSeller::new()))
            .scheme(Arc::new(tollway_svm::ExactSeller::new()));
        for (network, account) in &accounts {
            builder = builder.pay_to(network.to_string(), account.clone());
        }
        let seller = builder.build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let limits = serve::Limits { drain: super::DRAIN, ..serve::Limits::default() };
        let serving = server.limits(limits).serve(routes(&seller, &accounts)?, async {
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

    /// What costs something, and how much.
    pub(crate) fn paid(&self) -> Vec<(String, String)> {
        MENU.map(|(path, price)| (format!("{}{path}", self.url), price.to_owned())).to_vec()
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

const MENU: [(&str, &str); 4] = [
    ("/weather", PRICE),
    ("/forecast", FORECAST_PRICE),
    ("/tides", "$0.02 through Permit2"),
    ("/report", "up to $0.10, by scheme upto"),
];

fn routes(seller: &Seller, accounts: &[(Network, String)]) -> Result<Router, Failure> {
    let gate = |paid: Paid, description: &str| {
        let paid = paid.description(description).mime_type("application/json");
        seller.gate(paid.service_name("Tollway weather").max_timeout_seconds(TIMEOUT_SECONDS))
    };
    let on_evm = |price: &str, change: &dyn Fn(Terms) -> Terms| {
        let terms = |(network, account): &(Network, String)| Terms::new(network.to_string(), account, price);
        // Permit2 and `upto` are EVM networks' alone.
        let there = accounts.iter().filter(|(network, _)| network.chain_id().is_some());
        Paid::offers(there.map(terms).map(change))
    };
    let permit2 = |terms: Terms| terms.extra(Object::new().with("assetTransferMethod", "permit2"));
    let tides = on_evm(TIDES_PRICE, &permit2);
    let report = on_evm(REPORT_PRICE, &|terms| terms.scheme("upto"));
    let weather = gate(Paid::new(PRICE), "The weather now")?;
    let forecast = gate(Paid::new(FORECAST_PRICE), "The weather of the next three days")?;
    let tides = gate(tides, "High water today")?;
    let report = gate(report, "The weather of the last days, a cent each")?;
    Ok(Router::new()
        .route("/weather", get(|| async { Json(now()) }).route_layer(weather))
        .route("/forecast", get(|| async { Json(days()) }).route_layer(forecast))
        .route("/tides", get(|| async { Json(high_water()) }).route_layer(tides))
        .route("/report", get(past).route_layer(report))
        .route("/", get(|| async { Json(free()) })))
}

fn free() -> Value {
    let paid: Object = Object(MENU.iter().map(|(path, price)| ((*path).to_owned(), json!(price))).collect());
    json!({ "free": "/", "paid": paid })
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

fn high_water() -> Value {
    json!({ "city": "Lisbon", "high": ["04:12", "16:38"] })
}

/// Three days, and what they cost.
async fn past() -> Response {
    let mut response = Json(days()).into_response();
    tollway_seller::charge(response.headers_mut(), REPORT_CHARGE.into());
    response
}
