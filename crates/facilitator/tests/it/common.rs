//! A mechanism that does as its payments say, and a client for the router.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tollway_facilitator::{Api, Registry};
use tollway_protocol::bind::{Bound, Effects, Move, PaymentKey, Presented, Verified, Window};
use tollway_protocol::door::{Address, Amount, UnixTime, hex_array};
use tollway_protocol::reason::{Reason, Refusal};
use tollway_protocol::scheme::{FacilitatorScheme, NotReady, Outcome};
use tollway_protocol::wire::Kind;
use tollway_protocol::{Network, PaymentRequest};
use tower::ServiceExt as _;

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const PAYER: &str = "0x00000000000000000000000000000000000000aa";
pub(crate) const SELLER: &str = "0x00000000000000000000000000000000000000bb";
pub(crate) const TOKEN: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
pub(crate) const RPC: &str = "https://user:pass@rpc.example/v2/SECRETKEY";
pub(crate) const SIGNATURE: &str = "0x5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e1b";

/// What a payment's `fault` member makes the mechanism do.
pub(crate) struct Fake {
    network: Network,
    scheme: &'static str,
    pub(crate) gate: Notify,
    pub(crate) broadcasts: AtomicUsize,
    pub(crate) answered: AtomicUsize,
    pub(crate) ready: Mutex<Option<String>>,
    pub(crate) deadline: Mutex<Option<Duration>>,
    settled: Mutex<HashMap<String, String>>,
}

impl Fake {
    pub(crate) fn new(scheme: &'static str, network: &str) -> Arc<Self> {
        Arc::new(Self {
            network: Network::new(network).unwrap(),
            scheme,
            gate: Notify::new(),
            broadcasts: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            ready: Mutex::new(None),
            deadline: Mutex::new(None),
            settled: Mutex::new(HashMap::new()),
        })
    }

    fn pay(&self, payment: &Bound) -> Outcome {
        let mut settled = self.settled.lock();
        let next = settled.len() + 1;
        let transaction = settled.entry(payment.key().to_string()).or_insert_with(|| {
            self.broadcasts.fetch_add(1, Ordering::SeqCst);
            format!("0x{next:064x}")
        });
        Outcome::Settled { transaction: transaction.clone() }
    }
}

fn fault(payment: &Bound) -> &str {
    payment.payment().payload.str("fault").unwrap_or_default()
}

#[async_trait]
impl FacilitatorScheme for Fake {
    fn kind(&self) -> Kind {
        let kind = json!({ "x402Version": 2, "scheme": self.scheme, "network": self.network });
        serde_json::from_value(kind).unwrap()
    }

    fn network(&self) -> &Network {
        &self.network
    }

    fn signers(&self) -> Vec<String> {
        vec!["0x00000000000000000000000000000000000000ff".to_owned()]
    }

    fn effects(&self, presented: &Presented) -> Result<Effects, Refusal> {
        let payload = &presented.payment().payload;
        let bad = |what: &str| Refusal::new(Reason::InvalidPayload, format!("payload.{what} can't be read"));
        let text = |key: &'static str| payload.str(key).ok_or_else(|| bad(key));
        let address = |key| Address::on(&self.network, text(key)?).map_err(|_| bad(key));
        let time = |key| UnixTime::decimal(text(key)?).map_err(|_| bad(key));
        assert_ne!(payload.str("fault"), Some("panic in effects"), "as asked");
        hex_array::<65>(text("signature")?)
            .map_err(|_| Refusal::new(Reason::SignatureForm, "not 65 bytes"))?;
        let from = address("from")?;
        let nonce = hex_array::<32>(text("nonce")?).map_err(|_| bad("nonce"))?;
        Ok(Effects {
            scheme: self.scheme.to_owned(),
            network: self.network.clone(),
            payer: from.clone(),
            moves: vec![Move {
                asset: Address::on(&self.network, TOKEN).unwrap(),
                to: address("to")?,
                amount: Amount::atomic(text("value")?).map_err(|_| bad("value"))?,
                from,
            }],
            window: Window { opens: time("validAfter")?, closes: time("validBefore")? },
            key: PaymentKey::new(&self.network, &[PAYER, &hex::encode(nonce)]),
        })
    }

    async fn verify(&self, payment: &Verified) -> Result<(), Refusal> {
        let refuse = |reason, message: &str| Err(payment.effects().refuse(reason, message));
        match fault(payment) {
            "panic" => panic!("as asked, with {SIGNATURE}"),
            "unreachable" => refuse(Reason::ChainUnreachable, &format!("POST {RPC}: connection refused")),
            "poor" => refuse(Reason::InsufficientBalance, "has 0, needs 10000"),
            "nameless" => refuse(Reason::Other("".into()), ""),
            "slow" => std::future::pending().await,
            _ => Ok(()),
        }
    }

    async fn settle(&self, payment: Bound, deadline: Duration) -> Outcome {
        *self.deadline.lock() = Some(deadline);
        let transaction = Some(format!("0x{:064x}", 7));
        let failed = |reason, message: &str, transaction| Outcome::NotSettled {
            refusal: Refusal::new(reason, message),
            transaction,
        };
        let outcome = match fault(&payment) {
            "panic" => panic!("as asked, with {SIGNATURE}"),
            "unreachable" => {
                failed(Reason::ChainUnreachable, &format!("POST {RPC}: connection refused"), None)
            }
            "store" => failed(Reason::StoreUnavailable, "disk full", None),
            "gas" => failed(Reason::FacilitatorUnavailable, "no gas", None),
            "reverted" => failed(Reason::TransactionFailed, "reverted", transaction),
            "nameless" => failed(Reason::Other("".into()), "", None),
            "pending" => Outcome::Pending { transaction, message: "waiting for a block".to_owned() },
            "slow" => std::future::pending().await,
            "gated" => {
                self.gate.notified().await;
                self.pay(&payment)
            }
            _ => self.pay(&payment),
        };
        self.answered.fetch_add(1, Ordering::SeqCst);
        outcome
    }

    async fn recover(&self) {
        assert!(self.ready.lock().as_deref() != Some("panic in recover"), "as asked");
    }

    async fn ready(&self) -> Result<(), NotReady> {
        let problem = self.ready.lock().clone();
        problem.map_or(Ok(()), |problem| Err(NotReady { network: self.network.clone(), problem }))
    }

    async fn drain(&self) {}
}

pub(crate) struct World {
    pub(crate) fake: Arc<Fake>,
    pub(crate) registry: Arc<Registry>,
}

pub(crate) fn world() -> World {
    let fake = Fake::new("exact", "eip155:84532");
    let registry = Registry::builder().mechanism(fake.clone()).clock(|| UnixTime(NOW)).build().unwrap();
    World { fake, registry: Arc::new(registry) }
}

impl World {
    pub(crate) fn client(&self) -> TestClient {
        TestClient(Api::new(self.registry.clone()).router())
    }
}

/// A payment's request body in version 2, as JSON.
pub(crate) fn v2(fault: &str) -> Value {
    let offer = json!({
        "scheme": "exact", "network": "eip155:84532", "amount": "10000", "asset": TOKEN,
        "payTo": SELLER, "maxTimeoutSeconds": 60, "extra": { "name": "USDC", "version": "2" },
    });
    json!({
        "x402Version": 2,
        "paymentPayload": { "x402Version": 2, "accepted": offer, "payload": payload(fault) },
        "paymentRequirements": offer,
    })
}

/// The same in version 1.
pub(crate) fn v1(fault: &str) -> Value {
    json!({
        "x402Version": 1,
        "paymentPayload": {
            "x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": payload(fault),
        },
        "paymentRequirements": {
            "scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "10000", "asset": TOKEN,
            "payTo": SELLER, "maxTimeoutSeconds": 60, "resource": "https://seller.example/", "description": "",
            "mimeType": "", "outputSchema": null, "extra": { "name": "USDC", "version": "2" },
        },
    })
}

fn payload(fault: &str) -> Value {
    json!({
        "from": PAYER, "to": SELLER, "value": "10000", "nonce": format!("0x{:064x}", 1), "fault": fault,
        "validAfter": "0", "validBefore": (NOW + 60).to_string(), "signature": SIGNATURE,
    })
}

pub(crate) fn request(fault: &str) -> PaymentRequest {
    serde_json::from_value(v2(fault)).unwrap()
}

/// Sends requests to a router and reads the answers whole.
#[derive(Clone)]
pub(crate) struct TestClient(pub(crate) Router);

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {:?}", self.text))
    }
}

impl TestClient {
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (head, body) = self.0.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(Request::post(path).body(body.into()).unwrap()).await
    }

    pub(crate) async fn ask(&self, path: &str, body: &Value) -> Answer {
        self.post(path, body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }
}
