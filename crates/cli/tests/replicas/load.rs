//! Purchases, one after the other by each of several buyers, at one replica or both, until everybody knows the outcome.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tollway_protocol::Reason;

use crate::world::{Patience, Signed, World, lock};

/// What somebody was told of a payment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// Success, in this transaction, when the chain was so high.
    Paid { transaction: String, head: u64 },
    /// Not known yet.
    Pending { transaction: Option<String> },
    /// 503: not now.
    Later { reason: Reason },
    /// No, for good.
    Refused { reason: Reason, message: String },
    /// Nothing that could be read.
    Cut,
}

impl Answer {
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Paid { .. } | Self::Refused { .. })
    }
}

/// Which replicas a payment is posted to first; it is asked for again at the others in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    To(usize),
    /// To both at the same moment.
    Both,
    /// To one, three times at the same moment, and to the other.
    Crowd,
}

pub(crate) const MIX: &[Manner] =
    &[Manner::To(0), Manner::To(1), Manner::Both, Manner::To(1), Manner::To(0), Manner::Crowd];

/// A payment and all that was told of it.
pub(crate) struct Purchase {
    pub(crate) payment: Signed,
    pub(crate) manner: Manner,
    pub(crate) answers: Mutex<Vec<(usize, Answer)>>,
}

impl Purchase {
    pub(crate) async fn new(world: &World, manner: Manner) -> Arc<Self> {
        Arc::new(Self { payment: world.pay().await, manner, answers: Mutex::default() })
    }

    pub(crate) fn answers(&self) -> Vec<(usize, Answer)> {
        lock(&self.answers).clone()
    }
}

/// Who posts payments to replicas.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) world: Arc<World>,
    pub(crate) http: reqwest::Client,
}

impl Client {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        Self { world: world.clone(), http }
    }

    pub(crate) fn url(&self, replica: usize, path: &str) -> String {
        format!("http://{}{path}", self.world.door(replica))
    }

    /// The status of a GET, and what it says.
    pub(crate) async fn get(&self, replica: usize, path: &str) -> (u16, Value) {
        let answer = self.http.get(self.url(replica, path)).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap())
    }

    /// Waits until the replica says that it is ready.
    pub(crate) async fn until_ready(&self, replica: usize) {
        let patience = Patience::for_("a replica is ready");
        while self.get(replica, "/readyz").await.0 != 200 {
            patience.again().await;
        }
    }

    pub(crate) async fn verify(&self, replica: usize, body: &Value) -> (u16, Value) {
        let answer = self.http.post(self.url(replica, "/verify")).json(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap())
    }

    /// Posts it to `/settle`; notes what is told.
    pub(crate) async fn settle(&self, replica: usize, purchase: &Purchase) -> Answer {
        let answer = self.post(replica, &purchase.payment).await;
        lock(&purchase.answers).push((replica, answer.clone()));
        answer
    }

    async fn post(&self, replica: usize, payment: &Signed) -> Answer {
        let sent = self.http.post(self.url(replica, "/settle")).json(&payment.body).send().await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) => {
                assert!(!error.is_timeout(), "no answer before the caller's deadline");
                return Answer::Cut;
            }
        };
        let status = answer.status().as_u16();
        let Ok(bytes) = answer.bytes().await else { return Answer::Cut };
        let text = String::from_utf8_lossy(&bytes);
        let body: Value =
            serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{status}: {error}: {text}"));
        read(status, &body, self.world.chain.block_number())
    }

    /// Posts it in its manner, then asks for it at one replica after the other until the outcome is known, and then at
    /// each of them once more.
    pub(crate) async fn buy(&self, purchase: &Arc<Purchase>) {
        let (places, next): (&[usize], _) = match purchase.manner {
            Manner::To(0) => (&[0], 1),
            Manner::To(_) => (&[1], 0),
            Manner::Both => (&[0, 1], 0),
            Manner::Crowd => (&[1, 0, 1, 1], 1),
        };
        let mut together = JoinSet::new();
        for place in places {
            let (client, purchase, place) = (self.clone(), purchase.clone(), *place);
            together.spawn(async move { client.settle(place, &purchase).await });
        }
        let told = together.join_all().await;
        if !told.iter().any(Answer::is_final) {
            self.until_known(purchase, next).await;
        }
    }

    /// Asks at `first`, the other, and so on.
    pub(crate) async fn until_known(&self, purchase: &Purchase, first: usize) {
        let patience = Patience::for_("a final answer");
        let mut place = first;
        while !self.settle(place, purchase).await.is_final() {
            if patience.is_over() {
                let (key, answers) = (&purchase.payment.key, purchase.answers());
                panic!("no final answer for {key} (logs in {:?}): {answers:?}", self.world.keep_logs());
            }
            place = 1 - place;
            patience.again().await;
        }
    }
}

fn read(status: u16, body: &Value, head: u64) -> Answer {
    let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let transaction = text("transaction");
    assert!(matches!(status, 200 | 503), "{status}: {body}");
    if body["success"] == true {
        assert_eq!(status, 200, "{body}");
        let transaction = transaction.unwrap_or_else(|| panic!("paid by nothing: {body}"));
        return Answer::Paid { transaction, head };
    }
    let reason = text("errorReason").unwrap_or_else(|| panic!("no reason: {body}"));
    match tollway_protocol::Code::new(&reason).reason() {
        Reason::SettlementPending => Answer::Pending { transaction },
        reason if status == 503 => Answer::Later { reason },
        reason => Answer::Refused { reason, message: body.to_string() },
    }
}

/// Buyers at work.
pub(crate) struct Load {
    pub(crate) client: Client,
    purchases: Arc<Mutex<Vec<Arc<Purchase>>>>,
    known: watch::Sender<usize>,
    is_over: Arc<AtomicBool>,
    buyers: JoinSet<()>,
}

impl Load {
    /// So many buyers, until [`Load::end`], who post in these manners in turn.
    pub(crate) fn begin(world: &Arc<World>, buyers: usize, mix: &'static [Manner]) -> Self {
        let client = Client::new(world);
        let mut load = Self {
            client,
            purchases: Arc::default(),
            known: watch::Sender::new(0),
            is_over: Arc::default(),
            buyers: JoinSet::new(),
        };
        for buyer in 0..buyers {
            let (client, purchases) = (load.client.clone(), load.purchases.clone());
            let (known, is_over) = (load.known.clone(), load.is_over.clone());
            load.buyers.spawn(async move {
                for manner in mix.iter().cycle().skip(buyer) {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let purchase = Purchase::new(&client.world, *manner).await;
                    lock(&purchases).push(purchase.clone());
                    client.buy(&purchase).await;
                    known.send_modify(|known| *known += 1);
                }
            });
        }
        load
    }

    /// Those that were begun.
    pub(crate) fn purchases(&self) -> Vec<Arc<Purchase>> {
        lock(&self.purchases).clone()
    }

    /// Waits until so many purchases more have come to their end.
    pub(crate) async fn until_more(&self, more: usize) {
        let mut known = self.known.subscribe();
        let until = *known.borrow_and_update() + more;
        let enough = known.wait_for(|known| *known >= until);
        let waited = tokio::time::timeout(crate::world::WITHIN, enough).await;
        assert!(waited.is_ok(), "no {more} purchases come to their end");
    }

    /// Begins no more, and waits until all have come to their end.
    pub(crate) async fn end(mut self) -> Vec<Arc<Purchase>> {
        self.is_over.store(true, Ordering::SeqCst);
        while let Some(done) = self.buyers.join_next().await {
            if let Err(error) = done {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        lock(&self.purchases).clone()
    }
}
