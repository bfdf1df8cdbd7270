//! A tiny scheme, a facilitator that can be told to fail, and a shop to send requests to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tollway_protocol::bind::{Effects, Move, PaymentKey, Presented, Window};
use tollway_protocol::door::{Address, Amount, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{Ask, AskError, FacilitatorError, SellerScheme};
use tollway_protocol::wire::{Kind, Version};
use tollway_protocol::*;
use tollway_seller::{Builder, Limits, Paid, Seller};
use tower::ServiceExt as _;

use crate::ledger::Faulty;

pub(crate) const SELLER: &str = "0x209693bc6afc0c5328ba36faf03c514ef312287c";
pub(crate) const OTHER: &str = "0x1111111111111111111111111111111111111111";
pub(crate) const PAYER: &str = "0x857b06519e91e3a54538791bdbb0e22373e36b66";
pub(crate) const NETWORK: &str = "eip155:84532";
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const BASE: &str = "https://shop.example";

/// `exact` without signatures: the payload says what would move.
pub(crate) struct Plain;

impl SellerScheme for Plain {
    fn scheme(&self) -> &str {
        "exact"
    }
    fn supports(&self, network: &Network) -> bool {
        network.namespace() == "eip155"
    }
    fn offer(&self, ask: &Ask, _: &Kind) -> Result<Offer, AskError> {
        let (asset, amount) = ask.price.resolve(&ask.network, &[])?;
        let pay_to = Address::on(&ask.network, &ask.pay_to).map_err(AskError::PayTo)?;
        Ok(Offer {
            scheme: "exact".into(),
            network: ask.network.clone(),
            amount,
            asset: asset.address,
            pay_to: pay_to.as_str().into(),
            max_timeout_seconds: ask.max_timeout_seconds,
            extra: ask.extra.clone(),
            unknown: Object::new(),
        })
    }
    fn effects(&self, presented: &Presented) -> Result<Effects, Refusal> {
        let (offer, payload) = (presented.offer(), &presented.payment().payload);
        let wrong = |what: &str| Refusal::new(Reason::InvalidPayload, format!("payload: {what}"));
        let text = |name| payload.str(name).ok_or_else(|| wrong(name));
        let address = |name| Address::on(&offer.network, text(name)?).map_err(|_| wrong(name));
        let asset = Address::on(&offer.network, &offer.asset).map_err(|_| wrong("asset"))?;
        let (from, to) = (address("from")?, address("to")?);
        let amount = Amount::atomic(text("value")?).map_err(|_| wrong("value"))?;
        let closes = UnixTime::decimal(text("validBefore")?).map_err(|_| wrong("validBefore"))?;
        let nonce = text("nonce")?;
        tollway_protocol::door::hex_bytes(nonce, 32).map_err(|_| wrong("nonce"))?;
        let key = PaymentKey::new(&offer.network, &[asset.as_str(), from.as_str(), nonce]);
        Ok(Effects {
            scheme: "exact".into(),
            network: offer.network.clone(),
            payer: from.clone(),
            moves: vec![Move { asset, from, to, amount }],
            window: Window { opens: UnixTime(0), closes },
            key,
        })
    }
}

/// The same for scheme `upto`: the payload's amount is a ceiling.
pub(crate) struct Metered;

impl SellerScheme for Metered {
    fn scheme(&self) -> &str {
        "upto"
    }
    fn supports(&self, network: &Network) -> bool {
        Plain.supports(network)
    }
    fn offer(&self, ask: &Ask, kind: &Kind) -> Result<Offer, AskError> {
        Ok(Offer { scheme: "upto".into(), ..Plain.offer(ask, kind)? })
    }
    fn effects(&self, presented: &Presented) -> Result<Effects, Refusal> {
        Ok(Effects { scheme: "upto".into(), ..Plain.effects(presented)? })
    }
    fn extensions(&self, _: &Offer, supported: &[String]) -> Object {
        let entries = supported.iter().map(|key| (key.clone(), json!({"info": {"version": "1"}})));
        Object(entries.collect())
    }
}

/// What the facilitator does instead of the honest thing.
#[derive(Clone)]
pub(crate) enum Fault {
    NotAsked,
    Unknown,
    Hang,
    Verdict(Box<Verdict>),
    /// The honest settlement, altered.
    Settlement(fn(&mut Settlement)),
}

#[derive(Default)]
pub(crate) struct Script {
    pub(crate) verify: Mutex<VecDeque<Fault>>,
    pub(crate) settle: Mutex<VecDeque<Fault>>,
    pub(crate) verified: AtomicUsize,
    pub(crate) asked_to_settle: AtomicUsize,
    /// Payments that were charged, by nonce: the money.
    pub(crate) charged: Mutex<BTreeMap<String, String>>,
    /// How much of each metered one, by nonce: what it was first asked for.
    pub(crate) amounts: Mutex<BTreeMap<String, Amount>>,
    /// While set, settlements wait for `go`.
    pub(crate) hold: AtomicBool,
    pub(crate) entered: Notify,
    pub(crate) go: Notify,
    pub(crate) down: AtomicBool,
    pub(crate) kinds: Mutex<Option<Supported>>,
}

/// The transaction of scripted settlements.
pub(crate) const DEAD: &str = "0x00000000000000000000000000000000000000000000000000000000000dead0";

pub(crate) const LEAK: &str = "https://rpc.example/v2/SECRETKEY";

#[async_trait]
impl Facilitator for Script {
    async fn verify(&self, request: &PaymentRequest) -> Result<Verdict, FacilitatorError> {
        self.verified.fetch_add(1, SeqCst);
        let fault = self.verify.lock().unwrap().pop_front();
        let payer = request.payment_payload.payload.str("from").map(str::to_owned);
        match fault {
            None | Some(Fault::Settlement(_)) => Ok(Verdict { is_valid: true, payer, ..Verdict::default() }),
            Some(Fault::Verdict(verdict)) => Ok(*verdict),
            Some(Fault::NotAsked) => Err(FacilitatorError::NotAsked(LEAK.into())),
            Some(Fault::Unknown) => Err(FacilitatorError::Unknown(LEAK.into())),
            Some(Fault::Hang) => std::future::pending().await,
        }
    }
    async fn settle(&self, request: &PaymentRequest) -> Result<Settlement, FacilitatorError> {
        let count = self.asked_to_settle.fetch_add(1, SeqCst);
        self.entered.notify_one();
        if self.hold.load(SeqCst) {
            self.go.notified().await;
        }
        let fault = self.settle.lock().unwrap().pop_front();
        let payload = &request.payment_payload.payload;
        let honest = |charged: &Self| {
            let mut charged = charged.charged.lock().unwrap();
            let nonce = payload.str("nonce").unwrap();
            let transaction = charged.entry(nonce.into()).or_insert(format!("0x{count:064x}"));
            let mut amount = None;
            if request.payment_requirements.scheme == "upto" {
                let asked = request.payment_requirements.amount;
                amount = Some(*self.amounts.lock().unwrap().entry(nonce.into()).or_insert(asked));
            }
            Settlement {
                payer: payload.str("from").map(str::to_owned),
                transaction: (amount != Some(Amount::ZERO)).then(|| transaction.clone()),
                amount,
                ..Settlement::new(true, request.payment_requirements.network.clone())
            }
        };
        match fault {
            None | Some(Fault::Verdict(_)) => Ok(honest(self)),
            Some(Fault::Settlement(alter)) => {
                let mut settlement = Settlement {
                    payer: payload.str("from").map(str::to_owned),
                    transaction: Some(DEAD.into()),
                    ..Settlement::new(true, request.payment_requirements.network.clone())
                };
                alter(&mut settlement);
                Ok(settlement)
            }
            Some(Fault::NotAsked) => Err(FacilitatorError::NotAsked(LEAK.into())),
            Some(Fault::Unknown) => {
                // The answer is lost; the money moves all the same.
                honest(self);
                Err(FacilitatorError::Unknown(LEAK.into()))
            }
            Some(Fault::Hang) => {
                honest(self);
                std::future::pending().await
            }
        }
    }
    async fn supported(&self) -> Result<Supported, FacilitatorError> {
        if self.down.load(SeqCst) {
            return Err(FacilitatorError::NotAsked("down".into()));
        }
        Ok(self.kinds.lock().unwrap().clone().unwrap_or_else(supported))
    }
}

pub(crate) fn supported() -> Supported {
    let kind = |scheme: &str, network: &str| Kind {
        x402_version: 2,
        scheme: scheme.into(),
        network: network.into(),
        extra: Object::new(),
        unknown: Object::new(),
    };
    Supported {
        kinds: vec![kind("exact", NETWORK), kind("exact", "eip155:10143"), kind("upto", NETWORK)],
        ..Supported::default()
    }
}

/// A seller with its doubles.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) script: Arc<Script>,
    pub(crate) ledger: Arc<Faulty>,
    pub(crate) seller: Seller,
}

pub(crate) fn limits() -> Limits {
    Limits { verify: Duration::from_secs(1), settle: Duration::from_secs(1), ..Limits::default() }
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::with(|builder| builder).await
    }
    pub(crate) async fn with(more: impl FnOnce(Builder) -> Builder) -> Self {
        let shop = Self::unready(Script::default(), more);
        shop.seller.ready().await;
        shop
    }
    pub(crate) fn unready(script: Script, more: impl FnOnce(Builder) -> Builder) -> Self {
        let script = Arc::new(script);
        let ledger = Arc::new(Faulty::new());
        let builder = Seller::builder(BASE)
            .facilitator(script.clone())
            .ledger(ledger.clone())
            .scheme(Arc::new(Plain))
            .scheme(Arc::new(Metered))
            .pay_to("base-sepolia", SELLER)
            .limits(limits())
            .clock(|| UnixTime(NOW));
        Self { seller: more(builder).build().unwrap(), script, ledger }
    }
    /// `handler` at `/weather` for a cent.
    pub(crate) fn selling<H, T>(&self, handler: H) -> Client
    where
        H: axum::handler::Handler<T, ()>,
        T: 'static,
    {
        self.route(Paid::new("$0.01"), axum::routing::any(handler))
    }
    pub(crate) fn route(&self, paid: Paid, method: axum::routing::MethodRouter) -> Client {
        let layer = self.seller.gate(paid).unwrap();
        Client(Router::new().route("/weather", method.layer(layer)))
    }
    pub(crate) fn settles(&self) -> usize {
        self.script.asked_to_settle.load(SeqCst)
    }
    pub(crate) fn charged(&self) -> usize {
        self.script.charged.lock().unwrap().len()
    }
    pub(crate) fn fault_settle(&self, faults: impl IntoIterator<Item = Fault>) {
        self.script.settle.lock().unwrap().extend(faults);
    }
    pub(crate) fn fault_verify(&self, faults: impl IntoIterator<Item = Fault>) {
        self.script.verify.lock().unwrap().extend(faults);
    }
}

#[derive(Clone)]
pub(crate) struct Client(pub(crate) Router);

/// A response, read.
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) async fn send(&self, request: Request<Body>) -> Got {
        let response = self.0.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Got { status: parts.status, headers: parts.headers, body }
    }
    pub(crate) async fn get(&self, uri: &str) -> Got {
        self.send(get(uri)).await
    }
    /// The offer that an unpaid GET gets.
    pub(crate) async fn offer(&self, uri: &str) -> Offer {
        self.get(uri).await.challenge().accepts.remove(0)
    }
    pub(crate) async fn pay(&self, nonce: &str) -> Got {
        let offer = self.offer("/weather").await;
        self.send(paid("/weather", &payment(&offer, nonce))).await
    }
}

impl Got {
    pub(crate) fn challenge(&self) -> Challenge {
        header::decode(self.headers[header::PAYMENT_REQUIRED].as_bytes()).unwrap()
    }
    pub(crate) fn receipt(&self) -> Option<Settlement> {
        self.headers.get(header::PAYMENT_RESPONSE).map(|value| header::decode(value.as_bytes()).unwrap())
    }
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
    /// Everything that a client could read.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.body).into_owned();
        for value in self.headers.values() {
            text.push_str(&String::from_utf8_lossy(value.as_bytes()));
            if let Ok(decoded) = header::decode_base64(value.as_bytes()) {
                text.push_str(&String::from_utf8_lossy(&decoded));
            }
        }
        text
    }
}

pub(crate) fn get(uri: &str) -> Request<Body> {
    Request::get(uri).body(Body::empty()).unwrap()
}

pub(crate) fn payload(offer: &Offer, nonce: &str) -> Value {
    json!({"from": PAYER, "to": offer.pay_to, "value": offer.amount.to_string(), "nonce": nonce,
           "validBefore": (NOW + 300).to_string()})
}

pub(crate) fn payment(offer: &Offer, nonce: &str) -> Payment {
    Payment {
        x402_version: Version,
        resource: None,
        accepted: offer.clone(),
        payload: Object::of(&payload(offer, nonce)).unwrap(),
        extensions: Object::new(),
        unknown: Object::new(),
    }
}

pub(crate) fn paid(uri: &str, payment: &Payment) -> Request<Body> {
    Request::get(uri).header(header::PAYMENT_SIGNATURE, header::encode(payment)).body(Body::empty()).unwrap()
}

/// Counts its calls.
pub(crate) fn counting(
    count: &Arc<AtomicU64>,
) -> impl Fn() -> std::future::Ready<&'static str> + Clone + Send + use<> {
    let count = count.clone();
    move || {
        count.fetch_add(1, SeqCst);
        std::future::ready("sunny")
    }
}
