//! What proves a payment's end when no transaction of ours tells of it.

use tollway_ledger::{Ending, LedgerError};
use tollway_protocol::scheme::Outcome;
use tollway_protocol::{Dialect, Reason};

use crate::facilitator::chain::{Finality, MAX_AHEAD_SECONDS};
use crate::facilitator::engine::{Engine, transaction_hash};
use crate::facilitator::job::{Job, pending};
use crate::facilitator::lane::DEAD_AFTER_SECONDS;
use crate::facilitator::payment::Way;
use crate::facilitator::pilot::Pilot;
use crate::facilitator::proof::Fate;
use crate::facilitator::rpc::{Receipt, RpcError};
use crate::facilitator::watch::Told;

/// The most that it is waited after a window.
const MOST_DEAD_AFTER_SECONDS: u64 = 300;

/// What the chain proves of a payment.
pub(crate) enum Proof {
    /// It was made, in this transaction, deep enough.
    Paid(Receipt),
    /// It was cancelled or used otherwise, deep enough: it can never pay.
    Gone(Receipt),
    /// Its time is over on chain and it is unused.
    Over,
    /// Nothing yet.
    Nothing,
}

impl Engine {
    pub(crate) async fn proof(&self, job: &Job) -> Result<Proof, RpcError> {
        let fate = match self.own_fate(job).await? {
            Fate::Untold => self.chain.fate(&job.payment).await?,
            told => told,
        };
        let (fate, head) = match fate {
            Fate::Paid(receipt)
                if self.chain.is_deep(&receipt).await?
                    && (!self.chain.is_dear(&job.payment) || self.chain.is_agreed(&receipt).await?) =>
            {
                return Ok(Proof::Paid(receipt));
            }
            Fate::Gone(receipt) if self.chain.is_deep(&receipt).await? => return Ok(Proof::Gone(receipt)),
            fate => (fate, self.chain.rpc.block().await?),
        };
        self.chain.saw(&head);
        if !matches!(fate, Fate::Untold) {
            return Ok(Proof::Nothing);
        }
        let ends = job.effects.window.closes.plus(self.dead_after_seconds()).0;
        let now = head.timestamp.to::<u64>();
        let credible = now <= self.chain.host_now().plus(MAX_AHEAD_SECONDS).0;
        if credible && ends < now && !self.chain.is_used_at(&job.payment, head.number).await? {
            return Ok(Proof::Over);
        }
        Ok(Proof::Nothing)
    }
}

impl Engine {
    /// Seconds after a payment's window by which no block can hold it any more, not even one of a reorg.
    fn dead_after_seconds(&self) -> u64 {
        let chain = &self.chain;
        let reorg = match chain.config.finality {
            Finality::Blocks(blocks) => blocks,
            Finality::Tag(_) => u64::MAX,
        };
        let reorg =
            reorg.saturating_mul(chain.block_interval().as_millis().try_into().unwrap_or(u64::MAX)) / 1000;
        reorg.clamp(DEAD_AFTER_SECONDS, MOST_DEAD_AFTER_SECONDS)
    }
}

impl Pilot {
    /// Records that the payment was made in this transaction.
    pub(super) async fn settled(&self, receipt: &Receipt) -> Outcome {
        let (hash, block) = (receipt.transaction_hash, receipt.block_number.to());
        self.flight.mined();
        let outcome = self.finish(Ending::Settled { hash: hash.to_string(), block }).await;
        if matches!(outcome, Outcome::Settled { .. }) {
            let told = Told::by(receipt);
            self.engine.watch.state.lock().unfinal.insert(self.flight.key().clone(), told);
            self.engine.look_soon();
        }
        outcome
    }

    /// Records that it can never pay.
    pub(super) async fn gone(&self, receipt: &Receipt) -> Outcome {
        let told = self.flight.hash().or_else(|| Some(receipt.transaction_hash.to_string()));
        let ours = self.flight.hash().as_deref().and_then(transaction_hash);
        if let Way::Delegation(by) = &self.job.payment.way {
            let chain = &self.engine.chain;
            chain.in_vain.note((by.delegation.manager, by.delegation.delegator), chain.host_now());
        }
        let (reason, message) = if !receipt.succeeded() {
            (Reason::TransactionFailed, "the transaction reverted")
        } else if ours == Some(receipt.transaction_hash) {
            (Reason::TransferNotFound, "the transaction does not contain the token's transfer")
        } else {
            (Reason::AlreadyUsed, "the authorization was cancelled, or used for another transfer")
        };
        self.failed(reason, message, told).await
    }

    /// Records that its time is over.
    pub(super) async fn over(&self) -> Outcome {
        let message = "the payment's time passed on chain without its being used";
        self.failed(Reason::TransactionFailed, message, self.flight.hash()).await
    }

    pub(super) async fn failed(&self, reason: Reason, message: &str, hash: Option<String>) -> Outcome {
        let reason = reason.code(Dialect::of(&self.job.effects.scheme, &self.job.effects.network));
        self.finish(Ending::Failed { reason, message: message.to_owned(), hash }).await
    }

    /// Records the end; until the store takes it, it is not told.
    async fn finish(&self, ending: Ending) -> Outcome {
        let (key, engine) = (self.flight.key(), &self.engine);
        let network = &engine.chain.config.network;
        loop {
            let one = [(key.clone(), ending.clone())];
            let answer = engine.journal.finish(network, &[], &one, engine.chain.host_now()).await;
            match answer.map(|mut all| all.pop()) {
                Ok(Some(Ok(()))) => break,
                Ok(Some(Err(LedgerError::Conflict { .. })) | None) => return self.as_recorded(&ending).await,
                Ok(Some(Err(error))) | Err(error) => {
                    tracing::error!(payment = %key, %error, "the end can't be recorded");
                }
            }
            tokio::time::sleep(engine.chain.config.poll).await;
            if !self.still_holds(&ending).await {
                // A reorg came meanwhile: it is looked at anew.
                engine.doubt();
                return pending(self.flight.hash());
            }
        }
        match ending {
            Ending::Settled { hash, .. } => Outcome::Settled { transaction: hash },
            Ending::Failed { reason, message, hash } => Outcome::NotSettled {
                refusal: self.job.effects.refuse(reason.reason(), message),
                transaction: hash,
            },
        }
    }

    /// Whether the chain still proves the end.
    async fn still_holds(&self, ending: &Ending) -> bool {
        match (ending, self.engine.proof(&self.job).await) {
            (Ending::Settled { hash, .. }, Ok(Proof::Paid(receipt))) => {
                receipt.transaction_hash.to_string() == *hash
            }
            (Ending::Failed { .. }, Ok(Proof::Gone(_) | Proof::Over)) => true,
            _ => false,
        }
    }

    /// Another process, or another transaction's look, recorded an end before.
    async fn as_recorded(&self, ending: &Ending) -> Outcome {
        let hash = match ending {
            Ending::Settled { hash, .. } => Some(hash.clone()),
            Ending::Failed { hash, .. } => hash.clone(),
        };
        match self.engine.journal.settlement(self.flight.key()).await {
            Ok(Some(record)) => self.job.ended(&record).unwrap_or_else(|| pending(hash)),
            _ => pending(hash),
        }
    }
}
