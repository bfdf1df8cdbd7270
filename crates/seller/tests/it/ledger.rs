//! A ledger that can be told to fail.

use std::sync::Mutex;

use async_trait::async_trait;
use tollway_ledger::{
    Claim, Claimed, Claims, Delivery, LedgerError, Paid as PaidToken, Recalled, RequestId, SqliteLedger, Turn,
};
use tollway_protocol::Settlement;
use tollway_protocol::bind::{Bound, PaymentKey};
use tollway_protocol::door::UnixTime;

/// The real ledger, with calls that can be made to fail once.
pub(crate) struct Faulty {
    inner: SqliteLedger,
    pub(crate) fail: Mutex<Vec<&'static str>>,
    pub(crate) forgotten: Mutex<Vec<UnixTime>>,
}

impl Faulty {
    pub(crate) fn new() -> Self {
        let inner = SqliteLedger::memory().unwrap();
        Self { inner, fail: Mutex::default(), forgotten: Mutex::default() }
    }
    fn check(&self, call: &'static str) -> Result<(), LedgerError> {
        let mut fail = self.fail.lock().unwrap();
        match fail.iter().position(|name| *name == call) {
            None => Ok(()),
            Some(at) => {
                fail.remove(at);
                Err(LedgerError::Unavailable("disk full at /var/lib/SECRETKEY".into()))
            }
        }
    }
}

#[async_trait]
impl Claims for Faulty {
    async fn claim(&self, payment: Bound, request: RequestId, keep: UnixTime) -> Result<Claim, LedgerError> {
        self.check("claim")?;
        self.inner.claim(payment, request, keep).await
    }
    async fn recall(&self, key: &PaymentKey) -> Result<Option<Recalled>, LedgerError> {
        self.check("recall")?;
        self.inner.recall(key).await
    }
    async fn settling(&self, claimed: &Claimed) -> Result<(), LedgerError> {
        self.check("settling")?;
        self.inner.settling(claimed).await
    }
    async fn pending(&self, claimed: Claimed, transaction: Option<&str>) -> Result<(), LedgerError> {
        self.inner.pending(claimed, transaction).await
    }
    async fn settled(&self, claimed: Claimed, settlement: Settlement) -> Result<PaidToken, LedgerError> {
        if let Err(error) = self.check("settled") {
            // As the trait says: the payment goes back in the state it is in.
            self.inner.pending(claimed, None).await.unwrap();
            return Err(error);
        }
        self.inner.settled(claimed, settlement).await
    }
    async fn deliver(&self, paid: PaidToken) -> Result<Delivery, LedgerError> {
        if let Err(error) = self.check("deliver") {
            self.inner.undelivered(paid).await.unwrap();
            return Err(error);
        }
        self.inner.deliver(paid).await
    }
    async fn undelivered(&self, paid: PaidToken) -> Result<(), LedgerError> {
        self.inner.undelivered(paid).await
    }
    async fn release(&self, claimed: Claimed) -> Result<(), LedgerError> {
        self.inner.release(claimed).await
    }
    async fn abandon(&self, turn: &Turn) -> Result<(), LedgerError> {
        // As the trait says: what fails is done when the store is back.
        self.inner.abandon(turn).await?;
        self.check("abandon")
    }
    async fn forget(&self, now: UnixTime) -> Result<u64, LedgerError> {
        self.forgotten.lock().unwrap().push(now);
        self.inner.forget(now).await
    }
}
