//! An account that signs nothing real, a clock that tests own, and a shop on a loopback port.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use serde_json::{Value, json};
use tollway_payer::{Journal, Limits, Payer, PayerBuilder, Policy, Wallet};
use tollway_protocol::bind::{Effects, Move, PaymentKey, Window};
use tollway_protocol::door::{Address, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{PayerScheme, SignError, Signed};
use tollway_protocol::{Network, Offer};

pub(crate) const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
pub(crate) const SEPOLIA: &str = "eip155:84532";
pub(crate) const SELLER: &str = "0x1111111111111111111111111111111111111111";
pub(crate) const MALLORY: &str = "0x6666666666666666666666666666666666666666";
pub(crate) const PAYER: &str = "0x2222222222222222222222222222222222222222";

/// What the account gets wrong.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Lie {
    None,
    Recipient,
    Amount,
    Window,
    Twice,
    Fails,
}

#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) signed: Arc<AtomicUsize>,
    pub(crate) lie: Lie,
}

impl Account {
    pub(crate) fn new() -> Self {
        Self { signed: Arc::default(), lie: Lie::None }
    }

    pub(crate) fn count(&self) -> usize {
        self.signed.load(Ordering::SeqCst)
    }
}

#[async_trait::async_trait]
impl PayerScheme for Account {
    fn scheme(&self) -> &str {
        "exact"
    }

    fn payer(&self, network: &Network) -> Option<Address> {
        Address::on(network, PAYER).ok().filter(|_| network.namespace() == "eip155")
    }

    fn check(&self, offer: &Offer) -> Result<(), SignError> {
        offer.extra.str("name").map(drop).ok_or_else(|| SignError::Offer("extra.name is missing".into()))
    }

    async fn sign(&self, offer: &Offer, now: UnixTime, entropy: [u8; 32]) -> Result<Signed, SignError> {
        self.signed.fetch_add(1, Ordering::SeqCst);
        if self.lie == Lie::Fails {
            return Err(SignError::Signer("the device is locked".into()));
        }
        let on = |text: &str| Address::on(&offer.network, text).unwrap();
        let to = on(if self.lie == Lie::Recipient { MALLORY } else { &offer.pay_to });
        let amount =
            if self.lie == Lie::Amount { offer.amount.checked_add(1.into()).unwrap() } else { offer.amount };
        let seconds = if self.lie == Lie::Window { 86_400 } else { offer.max_timeout_seconds };
        let nonce: String = entropy.iter().map(|byte| format!("{byte:02x}")).collect();
        let one = Move { asset: on(&offer.asset), from: on(PAYER), to, amount };
        let moves = if self.lie == Lie::Twice { vec![one.clone(), one] } else { vec![one] };
        let closes = now.plus(seconds);
        let payload = json!({"nonce": nonce, "value": amount, "to": offer.pay_to, "validBefore": closes.0});
        Ok(Signed {
            payload: serde_json::from_value::<Object>(payload).unwrap(),
            effects: Effects {
                scheme: "exact".into(),
                network: offer.network.clone(),
                payer: on(PAYER),
                moves,
                window: Window { opens: now.minus(600), closes },
                key: PaymentKey::new(&offer.network, &[&nonce]),
            },
        })
    }
}

/// Starts at the real time.
#[derive(Clone)]
pub(crate) struct Clock(pub(crate) Arc<AtomicU64>);

impl Clock {
    pub(crate) fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Self(Arc::new(AtomicU64::new(now.as_secs())))
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

pub(crate) fn limits(sends: u32) -> Limits {
    let mut limits = Limits::default();
    limits.sends = sends;
    limits.pause = std::time::Duration::from_millis(1);
    limits
}

pub(crate) fn builder(account: &Account, journal: &Journal, clock: &Clock) -> PayerBuilder {
    let clock = clock.clone();
    Payer::builder(Wallet::new().with(account.clone()), journal.clone())
        .limits(limits(1))
        .clock(move || UnixTime(clock.0.load(Ordering::SeqCst)))
}

/// A payer with a journal of its own.
pub(crate) fn payer(policy: Policy) -> (Payer, Account) {
    let account = Account::new();
    let journal = Journal::temporary().unwrap();
    (builder(&account, &journal, &Clock::new()).policy(policy).build().unwrap(), account)
}

pub(crate) fn offer(amount: &str) -> Value {
    json!({
        "scheme": "exact", "network": SEPOLIA, "amount": amount, "asset": USDC, "payTo": SELLER,
        "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2", "decimals": 0}, "odd": {"kept": [1]}
    })
}

pub(crate) fn with(mut offer: Value, member: &str, value: impl Into<Value>) -> Value {
    offer[member] = value.into();
    offer
}

pub(crate) fn encode(document: &Value) -> String {
    base64::engine::general_purpose::STANDARD.encode(document.to_string())
}

pub(crate) fn decode(header: &str) -> Value {
    serde_json::from_slice(&base64::engine::general_purpose::STANDARD.decode(header).unwrap()).unwrap()
}

/// A request as the shop saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    pub(crate) fn payment(&self) -> Option<String> {
        self.header("payment-signature").or_else(|| self.header("x-payment"))
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

pub(crate) fn reply(status: u16) -> Reply {
    Reply { status, headers: Vec::new(), body: Vec::new() }
}

impl Reply {
    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn settled(self, transaction: &str) -> Self {
        let settlement =
            json!({"success": true, "transaction": transaction, "network": SEPOLIA, "payer": PAYER});
        self.header("payment-response", encode(&settlement))
    }
}

/// A 402 for the URL that was asked.
pub(crate) fn ask(seen: &Seen, offers: &[Value]) -> Reply {
    let challenge = json!({
        "x402Version": 2, "error": "Payment required", "resource": {"url": seen.url, "novel": 7},
        "accepts": offers,
        "extensions": {"payment-identifier": {"info": {"required": false}}, "mystery": {"info": {"a": 1}}}
    });
    reply(402).header("payment-required", encode(&challenge))
}

pub(crate) fn v1_offer(url: &str) -> Value {
    json!({"scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "1", "resource": url,
           "description": "", "mimeType": "", "payTo": SELLER, "maxTimeoutSeconds": 60, "asset": USDC,
           "extra": {"name": "USDC", "version": "2"}})
}

/// A 402 in version 1.
pub(crate) fn ask_v1(offer: &Value) -> Reply {
    reply(402).body(json!({"x402Version": 1, "error": "pay", "accepts": [offer]}).to_string())
}

/// A challenge for `url`.
pub(crate) fn asked(url: &str) -> tollway_payer::Asked {
    let challenge = json!({"x402Version": 2, "resource": {"url": url}, "accepts": [offer("10000")]});
    serde_json::from_value::<tollway_protocol::Challenge>(challenge).unwrap().into()
}

pub(crate) fn purchase(url: &str) -> tollway_payer::Purchase {
    tollway_payer::Purchase::new("GET", &url::Url::parse(url).unwrap(), b"")
}

/// A server on a loopback port.
pub(crate) struct Shop {
    pub(crate) origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Shop {
    /// Answers as `script` says; its second argument is the number of requests before.
    pub(crate) async fn open(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, base, script) = (Arc::clone(&seen), origin.clone(), Arc::new(script));
        let handle = move |request: axum::extract::Request| {
            let (log, base, script) = (Arc::clone(&log), base.clone(), Arc::clone(&script));
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec();
                let url = format!("{base}{}", parts.uri);
                let seen = Seen { method: parts.method.to_string(), url, headers: parts.headers, body };
                let before = {
                    let mut log = log.lock().unwrap();
                    log.push(seen.clone());
                    log.len() - 1
                };
                let reply = script(&seen, before);
                let mut response = axum::response::Response::builder().status(reply.status);
                for (name, value) in reply.headers {
                    response = response.header(name, value);
                }
                response.body(axum::body::Body::from(reply.body)).unwrap()
            }
        };
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(handle)).await });
        Self { origin, seen }
    }

    /// Asks for `offers`, and serves whoever pays.
    pub(crate) async fn selling(offers: Vec<Value>) -> Self {
        Self::open(move |seen, _| match seen.payment() {
            None => ask(seen, &offers),
            Some(_) => reply(200).settled("0xabc").body("goods"),
        })
        .await
    }

    /// Asks for a cent, and answers payments as `script` says; its second argument is the number of
    /// payments before.
    pub(crate) async fn answering(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let paid = AtomicUsize::new(0);
        Self::open(move |seen, _| match seen.payment() {
            None => ask(seen, &[offer("10000")]),
            Some(_) => script(seen, paid.fetch_add(1, Ordering::SeqCst)),
        })
        .await
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn payments(&self) -> Vec<String> {
        self.seen().iter().filter_map(Seen::payment).collect()
    }

    pub(crate) fn get(&self, path: &str) -> reqwest::Request {
        reqwest::Request::new(
            reqwest::Method::GET,
            url::Url::parse(&format!("{}{path}", self.origin)).unwrap(),
        )
    }
}

pub(crate) fn money(text: &str) -> tollway_protocol::money::Money {
    tollway_protocol::money::Money::new(text).unwrap()
}
