//! Payments, posted until everybody knows the outcome, and what was told of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tollway_protocol::Reason;

use crate::patience::{Patience, lasts};
use crate::payment::Signed;
use crate::world::{WITHIN, World, lock};

/// How long a buyer lets pass before it asks again.
const AGAIN: Duration = Duration::from_millis(100);

/// What somebody was told of a payment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// Success, in this transaction.
    Paid { transaction: String },
    /// Not known yet.
    Pending { transaction: Option<String> },
    /// 503: not now.
    Later { reason: Reason },
    /// It was told before that this transaction paid it, or it was refused for good.
    Refused { reason: Reason, transaction: Option<String>, message: String },
    /// Nothing that could be read.
    Cut,
    /// Whoever asked did not wait for it.
    Unheard,
}

impl Answer {
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Paid { .. } | Self::Refused { .. })
    }

    pub(crate) fn is_paid(&self) -> bool {
        matches!(self, Self::Paid { .. })
    }

    /// Whether it says anything.
    pub(crate) fn says(&self) -> bool {
        !matches!(self, Self::Cut | Self::Unheard)
    }

    /// The transaction that it names.
    pub(crate) fn named(&self) -> Option<&str> {
        match self {
            Self::Paid { transaction } => Some(transaction),
            Self::Pending { transaction } | Self::Refused { transaction, .. } => transaction.as_deref(),
            Self::Later { .. } | Self::Cut | Self::Unheard => None,
        }
    }
}

/// What a payment has to come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Must {
    /// It is paid.
    Pay,
    /// It is not paid.
    Fail,
    /// It was paid and told so, and the cluster has taken it back: that is recorded.
    BeTakenBack,
}

/// A payment and all that was told of it.
pub(crate) struct Purchase {
    pub(crate) payment: Signed,
    pub(crate) must: Must,
    answers: Mutex<Vec<Answer>>,
}

impl Purchase {
    pub(crate) async fn new(world: &World) -> Arc<Self> {
        Self::that_must(Must::Pay, world.pay().await)
    }

    pub(crate) fn that_must(must: Must, payment: Signed) -> Arc<Self> {
        Arc::new(Self { payment, must, answers: Mutex::default() })
    }

    pub(crate) fn answers(&self) -> Vec<Answer> {
        lock(&self.answers).clone()
    }
}

/// Who posts payments.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) world: Arc<World>,
    http: reqwest::Client,
}

impl Client {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        // An answer that takes longer than this is as good as none, and fails the test: a server would have given up.
        let patience = Duration::from_secs(world.settings().settle_seconds + 20);
        let http = reqwest::Client::builder().timeout(patience).build().unwrap();
        Self { world: world.clone(), http }
    }

    /// The status of `/readyz`, and what it says.
    pub(crate) async fn ready(&self, place: usize) -> (u16, String) {
        let url = format!("http://{}/readyz", self.world.door(place));
        let answer = self.http.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Whether it is found good.
    pub(crate) async fn verify(&self, place: usize, purchase: &Purchase) -> bool {
        let url = format!("http://{}/verify", self.world.door(place));
        let answer = self.http.post(url).json(&purchase.payment.body).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["isValid"] == true
    }

    /// Posts it; the answer comes later.
    pub(crate) fn post(&self, place: usize, purchase: &Arc<Purchase>) -> tokio::task::JoinHandle<Answer> {
        let (client, purchase) = (self.clone(), purchase.clone());
        tokio::spawn(async move { client.settle(place, &purchase).await })
    }

    /// Posts it, and again if its transaction was not ready in time: it is pending, and its transaction is told.
    pub(crate) async fn is_pending(&self, place: usize, purchase: &Purchase) {
        let patience = Patience::for_("its transaction is told");
        loop {
            match self.settle(place, purchase).await {
                Answer::Pending { transaction: None } => patience.again().await,
                Answer::Pending { transaction: Some(named) } => {
                    return assert_eq!(named, purchase.payment.transaction);
                }
                told => panic!("it is neither paid nor refused yet: {told:?}"),
            }
        }
    }

    /// Posts it and hangs up before the answer: what that says is lost.
    async fn hang_up(&self, place: usize, purchase: &Purchase) {
        let address = self.world.door(place);
        let body = purchase.payment.body.to_string();
        let head = format!(
            "POST /settle HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        lock(&purchase.answers).push(Answer::Unheard);
        let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else { return };
        // There may be nobody just now.
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
    }

    /// Posts it to `/settle` of the facilitator in this place; notes what is told.
    pub(crate) async fn settle(&self, place: usize, purchase: &Purchase) -> Answer {
        let answer = self.ask(place, &purchase.payment).await;
        lock(&purchase.answers).push(answer.clone());
        answer
    }

    async fn ask(&self, place: usize, payment: &Signed) -> Answer {
        let url = format!("http://{}/settle", self.world.door(place));
        let answer = match self.http.post(url).json(&payment.body).send().await {
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
        read(status, &body)
    }

    /// Posts it to these places at the same moment; says whether one told the outcome.
    pub(crate) async fn together(&self, places: &[usize], purchase: &Arc<Purchase>) -> bool {
        let mut together = JoinSet::new();
        for place in places {
            let (client, purchase, place) = (self.clone(), purchase.clone(), *place);
            together.spawn(async move { client.settle(place, &purchase).await });
        }
        together.join_all().await.iter().any(Answer::is_final)
    }

    /// Posts it to one place after the other until the outcome is told.
    pub(crate) async fn until_known(&self, places: &[usize], purchase: &Purchase) -> Answer {
        let patience = Patience::for_("a final answer");
        let mut places = places.iter().cycle();
        loop {
            let answer = self.settle(*places.next().unwrap(), purchase).await;
            if answer.is_final() {
                return answer;
            }
            let found = || {
                let (key, answers) = (&purchase.payment.key, purchase.answers());
                format!("{key} (logs in {:?}): {answers:?}", self.world.keep_logs())
            };
            patience.again_or(found).await;
            lasts(AGAIN).await;
        }
    }
}

fn read(status: u16, body: &Value) -> Answer {
    let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let transaction = text("transaction");
    assert!(matches!(status, 200 | 503), "{status}: {body}");
    if body["success"] == true {
        assert_eq!(status, 200, "{body}");
        let transaction = transaction.unwrap_or_else(|| panic!("paid by nothing: {body}"));
        return Answer::Paid { transaction };
    }
    let reason = text("errorReason").unwrap_or_else(|| panic!("no reason: {body}"));
    match tollway_protocol::Code::new(&reason).reason() {
        Reason::SettlementPending => Answer::Pending { transaction },
        reason if status == 503 => Answer::Later { reason },
        reason => Answer::Refused { reason, transaction, message: body.to_string() },
    }
}

/// So many payments, by several buyers at a time.
pub(crate) struct Load {
    pub(crate) client: Client,
    purchases: Arc<Mutex<Vec<Arc<Purchase>>>>,
    known: watch::Sender<usize>,
    buyers: JoinSet<()>,
}

impl Load {
    /// Begins; each payment is posted to all `places` at once, every tenth three times, every tenth by someone who hangs
    /// up, and then to one place after the other until it is known.
    pub(crate) fn begin(
        world: &Arc<World>,
        payments: usize,
        buyers: usize,
        places: &'static [usize],
    ) -> Self {
        let mut load = Self {
            client: Client::new(world),
            purchases: Arc::default(),
            known: watch::Sender::new(0),
            buyers: JoinSet::new(),
        };
        let begun = Arc::new(AtomicUsize::new(0));
        for _ in 0..buyers {
            let (client, purchases) = (load.client.clone(), load.purchases.clone());
            let (known, begun) = (load.known.clone(), begun.clone());
            load.buyers.spawn(async move {
                loop {
                    let number = begun.fetch_add(1, Ordering::SeqCst);
                    if number >= payments {
                        return;
                    }
                    let at_once = places.repeat(if number % 10 == 0 { 3 } else { 1 });
                    let purchase = Purchase::new(&client.world).await;
                    lock(&purchases).push(purchase.clone());
                    if number % 10 == 5 {
                        client.hang_up(places[0], &purchase).await;
                    }
                    if !client.together(&at_once, &purchase).await {
                        client.until_known(places, &purchase).await;
                    }
                    known.send_modify(|known| *known += 1);
                }
            });
        }
        load
    }

    /// Waits until the outcome of so many is known.
    pub(crate) async fn until(&self, many: usize) {
        let mut known = self.known.subscribe();
        // What it gives is a lock: it is let go at once.
        let is_so = tokio::time::timeout(WITHIN, known.wait_for(|known| *known >= many)).await.is_ok();
        assert!(is_so, "{} and not {many}: {:?}", self.known(), self.client.world.keep_logs());
    }

    /// Waits until somebody was told something of each of so many.
    pub(crate) async fn answered(&self, many: usize) {
        let patience = Patience::for_("an answer about each payment");
        let is_told = |purchase: &&Arc<Purchase>| purchase.answers().iter().any(Answer::says);
        while lock(&self.purchases).iter().filter(is_told).count() < many {
            patience.again().await;
        }
    }

    /// Waits until so many were told to come later, or that it is not known yet.
    pub(crate) async fn refused(&self, many: usize) {
        let patience = Patience::for_("somebody is told to come later");
        let is_later = |one: &&Answer| matches!(one, Answer::Later { .. } | Answer::Pending { .. });
        while self.told().iter().filter(is_later).count() < many {
            patience.again().await;
        }
    }

    /// All that was told until now.
    pub(crate) fn told(&self) -> Vec<Answer> {
        let purchases = self.purchases();
        purchases.iter().flat_map(|purchase| purchase.answers()).filter(Answer::says).collect()
    }

    /// How many are known.
    pub(crate) fn known(&self) -> usize {
        *self.known.borrow()
    }

    /// All that were begun until now.
    pub(crate) fn purchases(&self) -> Vec<Arc<Purchase>> {
        lock(&self.purchases).clone()
    }

    /// Waits until all have come to their end.
    pub(crate) async fn end(mut self) -> Vec<Arc<Purchase>> {
        while let Some(done) = self.buyers.join_next().await {
            if let Err(error) = done {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        self.purchases()
    }
}
