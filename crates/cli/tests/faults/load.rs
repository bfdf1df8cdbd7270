//! Twenty purchases, eight at a time, of every kind that payers come up with, and what they were told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tollway_protocol::Reason;

use crate::rpc::RECEIPT;
use crate::world::{Signed, World, lock};

/// How a purchase is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Normal,
    /// Posted again after the first answer.
    Again,
    /// Another payment with the same nonce is posted at the same moment.
    Rival,
    /// Posted eight times at the same moment.
    Parallel,
    /// Posted by someone who hangs up at once.
    Abort,
    /// Posted with a body that is no payment first.
    Malformed,
}

/// 60 % normal, 15 % again, 10 % with a rival, 5 % each parallel, aborted and malformed.
pub(crate) const MIX: [Manner; 20] = {
    use Manner::{Abort, Again, Malformed, Normal, Parallel, Rival};
    [
        Normal, Again, Normal, Rival, Normal, Parallel, Normal, Normal, Abort, Normal, Again, Normal,
        Malformed, Normal, Rival, Normal, Normal, Again, Normal, Normal,
    ]
};

/// What somebody was told of a payment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// Success, in this transaction; whether the chain had it then.
    Paid { transaction: String, was_made: bool },
    /// Not known yet.
    Pending { transaction: Option<String> },
    /// 503: not now.
    Later { reason: Reason },
    /// No, for good.
    Refused { reason: Reason, transaction: Option<String> },
    /// Nothing that could be read.
    Cut,
}

impl Answer {
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Paid { .. } | Self::Refused { .. })
    }

    pub(crate) fn named(&self) -> Option<&str> {
        match self {
            Self::Paid { transaction, .. } => Some(transaction),
            Self::Pending { transaction } | Self::Refused { transaction, .. } => transaction.as_deref(),
            Self::Later { .. } | Self::Cut => None,
        }
    }
}

/// What a purchase has to come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Must {
    /// One of its payments is paid.
    Pay,
    /// Paid or not, as long as everybody says the same.
    Agree,
    /// It is not paid.
    Fail,
}

/// A purchase: one payment, or two with one nonce, and all answers.
pub(crate) struct Purchase {
    pub(crate) manner: Manner,
    pub(crate) payments: Vec<Signed>,
    pub(crate) answers: Mutex<Vec<(usize, Answer)>>,
    pub(crate) must: Must,
}

impl Purchase {
    pub(crate) async fn new(world: &World, manner: Manner) -> Arc<Self> {
        Self::that_must(world, manner, Must::Pay).await
    }

    pub(crate) async fn that_must(world: &World, manner: Manner, must: Must) -> Arc<Self> {
        let mut payments = vec![world.pay().await];
        if manner == Manner::Rival {
            payments.push(world.rival(&payments[0]).await);
        }
        Self::of(payments, manner, must)
    }

    pub(crate) fn of(payments: Vec<Signed>, manner: Manner, must: Must) -> Arc<Self> {
        Arc::new(Self { manner, payments, answers: Mutex::default(), must })
    }

    pub(crate) fn answers(&self) -> Vec<(usize, Answer)> {
        lock(&self.answers).clone()
    }

    /// The last that was heard of its payment `which`.
    pub(crate) fn last(&self, which: usize) -> Option<Answer> {
        lock(&self.answers).iter().rev().find(|(of, _)| *of == which).map(|(_, answer)| answer.clone())
    }
}

/// Who posts payments to a facilitator, through its front door or directly.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    chain: tollway_devnet::evm::Chain,
}

impl Client {
    pub(crate) fn new(world: &World) -> Self {
        Self::at(world, world.front.url())
    }

    pub(crate) fn at(world: &World, url: String) -> Self {
        // An answer that takes longer than this is as good as none, and fails the test: a server would have given up.
        let patience = Duration::from_secs(world.settings.settle_seconds + 20);
        let http = reqwest::Client::builder().timeout(patience).build().unwrap();
        Self { http, url, chain: world.chain.clone() }
    }

    pub(crate) async fn verify(&self, payment: &Signed) -> Value {
        let sent = self.http.post(format!("{}/verify", self.url)).json(&payment.body).send().await.unwrap();
        sent.json().await.unwrap()
    }

    /// Posts a body to `/settle`.
    pub(crate) async fn settle(&self, payment: &Signed) -> Answer {
        let sent = self.http.post(format!("{}/settle", self.url)).json(&payment.body).send().await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) => {
                assert!(!error.is_timeout(), "no answer before the caller's deadline");
                return Answer::Cut;
            }
        };
        let status = answer.status().as_u16();
        let Ok(bytes) = answer.bytes().await else { return Answer::Cut };
        let text = || String::from_utf8_lossy(&bytes).into_owned();
        let body: Value =
            serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{status}: {error}: {}", text()));
        read(status, &body, |transaction| self.is_made(transaction))
    }

    fn is_made(&self, transaction: &str) -> bool {
        let receipt = self.chain.request(RECEIPT, &json!([transaction])).unwrap();
        receipt["status"] == "0x1"
    }

    /// Makes a purchase in its manner, once.
    pub(crate) async fn buy(&self, purchase: &Arc<Purchase>) {
        match purchase.manner {
            Manner::Normal => self.ask(purchase, 0).await,
            Manner::Again => {
                self.ask(purchase, 0).await;
                self.ask(purchase, 0).await;
            }
            Manner::Rival => self.ask_together(purchase, &[0, 1]).await,
            Manner::Parallel => self.ask_together(purchase, &[0; 8]).await,
            Manner::Abort => self.abort(&purchase.payments[0]).await,
            Manner::Malformed => {
                self.ask_nonsense(&purchase.payments[0]).await;
                self.ask(purchase, 0).await;
            }
        }
    }

    pub(crate) async fn ask(&self, purchase: &Purchase, which: usize) {
        let answer = self.settle(&purchase.payments[which]).await;
        lock(&purchase.answers).push((which, answer));
    }

    pub(crate) async fn ask_together(&self, purchase: &Arc<Purchase>, which: &[usize]) {
        let mut all = JoinSet::new();
        for which in which {
            let (client, purchase, which) = (self.clone(), purchase.clone(), *which);
            all.spawn(async move { client.ask(&purchase, which).await });
        }
        all.join_all().await;
    }

    /// Sends the whole request and hangs up before the answer.
    async fn abort(&self, payment: &Signed) {
        let url = url::Url::parse(&self.url).unwrap();
        let address = url.socket_addrs(|| None).unwrap()[0];
        let body = payment.body.to_string();
        let head = format!(
            "POST /settle HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else { return };
        // There may be nobody just now.
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
    }

    /// A payment cut short is refused as what it is, or nobody is there to refuse it.
    async fn ask_nonsense(&self, payment: &Signed) {
        let body = payment.body.to_string();
        let cut = body[..body.len() / 2].to_owned();
        let Ok(answer) = self.http.post(format!("{}/settle", self.url)).body(cut).send().await else {
            return;
        };
        let status = answer.status().as_u16();
        let Ok(bytes) = answer.bytes().await else { return };
        let told: Value = serde_json::from_slice(&bytes).unwrap();
        assert!(matches!(status, 400 | 503), "{status}: {told}");
        assert_eq!(told["success"], false, "{told}");
        assert!(!told["errorReason"].as_str().unwrap().is_empty(), "{told}");
    }
}

fn read(status: u16, body: &Value, is_made: impl FnOnce(&str) -> bool) -> Answer {
    let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let transaction = text("transaction");
    assert!(matches!(status, 200 | 503), "{status}: {body}");
    if body["success"] == true {
        assert_eq!(status, 200, "{body}");
        let transaction = transaction.unwrap_or_else(|| panic!("paid by nothing: {body}"));
        let was_made = is_made(&transaction);
        return Answer::Paid { transaction, was_made };
    }
    let reason = text("errorReason").unwrap_or_else(|| panic!("no reason: {body}"));
    match tollway_protocol::Code::new(&reason).reason() {
        Reason::SettlementPending => Answer::Pending { transaction },
        reason if status == 503 => Answer::Later { reason },
        reason => Answer::Refused { reason, transaction },
    }
}

/// The load of one cell.
pub(crate) struct Load {
    pub(crate) purchases: Vec<Arc<Purchase>>,
    client: Client,
}

impl Load {
    pub(crate) async fn new(world: &World) -> Self {
        Self::at(world, world.front.url()).await
    }

    /// The load of one of several facilitators.
    pub(crate) async fn at(world: &World, url: String) -> Self {
        let mut purchases = Vec::new();
        for manner in MIX {
            purchases.push(Purchase::new(world, manner).await);
        }
        Self::of(world, url, purchases)
    }

    /// These purchases, at one of several facilitators.
    pub(crate) fn of(world: &World, url: String, purchases: Vec<Arc<Purchase>>) -> Self {
        Self { purchases, client: Client::at(world, url) }
    }

    /// Starts them all, eight at a time.
    pub(crate) fn begin(&self) -> JoinSet<()> {
        let places = Arc::new(Semaphore::new(8));
        let mut running = JoinSet::new();
        for purchase in &self.purchases {
            let (client, purchase, places) = (self.client.clone(), purchase.clone(), places.clone());
            running.spawn(async move {
                let _place = places.acquire_owned().await.unwrap();
                client.buy(&purchase).await;
            });
        }
        running
    }

    /// One purchase more.
    pub(crate) async fn one_more(&mut self, world: &World) {
        let purchase = Purchase::new(world, Manner::Normal).await;
        self.purchases.push(purchase.clone());
        self.client.buy(&purchase).await;
    }
}

/// Waits for the end of what was begun; what failed in it fails here.
pub(crate) async fn ended(mut running: JoinSet<()>) {
    while let Some(done) = running.join_next().await {
        if let Err(error) = done {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}
