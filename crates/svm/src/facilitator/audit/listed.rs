//! From the chain's side: each transaction that a fee payer of ours signed is in the ledger.

use tollway_protocol::door::UnixTime;
use tollway_rpc::{Given, Rpc, RpcError};

use super::compare::Comparison;
use super::told::{self, Kept, Listed, MOST_LISTED, untold};
use super::{DifferenceKind, Stopped};
use crate::payload;

/// The most transactions of one fee payer that are listed.
const MOST: usize = 1_000_000;
/// The most unknown ones that are looked at, and how many are asked for together.
const MOST_LOOKED_AT: usize = 1_000;
const TOGETHER: usize = 32;

/// How far back a node listed a fee payer's transactions.
pub(super) struct Walk {
    account: String,
    /// The slot of the node's first block, when it says.
    first: Option<u64>,
    /// Back to the time that was asked for.
    is_whole: bool,
    /// The slot of the oldest.
    oldest: Option<u64>,
}

impl Comparison<'_> {
    /// Lists the transactions that name our fee payers, newest first, back to `since`.
    pub(super) async fn walk(&mut self, since: UnixTime) -> Result<Vec<Walk>, Stopped> {
        let rpc = &self.engine.cluster.rpc;
        let mut nodes = Vec::new();
        for node in 0..rpc.nodes() {
            nodes.push((told::first_block(rpc, node).await.ok(), node));
        }
        // The longest history first, silence last.
        nodes.sort_by_key(|(first, _)| first.unwrap_or(u64::MAX));
        let mut walks = Vec::new();
        for lane in &self.engine.lanes {
            walks.push(self.walk_one(&nodes, &lane.key.address().to_string(), since).await?);
        }
        Ok(walks)
    }

    /// By the first node that lists all of it.
    async fn walk_one(
        &mut self,
        nodes: &[(Option<u64>, usize)],
        account: &str,
        since: UnixTime,
    ) -> Result<Walk, Stopped> {
        let mut last = RpcError::Unreachable("no node is configured");
        for (first, node) in nodes.iter().copied() {
            match list(&self.engine.cluster.rpc, node, account, since).await {
                Ok((listed, is_whole)) => {
                    let oldest = listed.iter().map(|one| one.slot).min();
                    let walk = Walk { account: account.to_owned(), first, is_whole, oldest };
                    let count = u64::try_from(listed.len()).unwrap_or(u64::MAX);
                    self.audit.transactions = self.audit.transactions.saturating_add(count);
                    let all = listed.into_iter().map(|one| (one.signature, one.err.is_null()));
                    self.listed.extend(all);
                    return Ok(walk);
                }
                Err(error) => last = error,
            }
        }
        match last {
            // None keeps a history: that is known, and all that is.
            RpcError::Refused { .. } => {
                Ok(Walk { account: account.to_owned(), first: None, is_whole: false, oldest: None })
            }
            unreachable => Err(unreachable.into()),
        }
    }

    /// Looks at what was listed and is in no record: whoever likes can name our fee payers in a transaction, and only with
    /// their keys can they be made to sign one.
    pub(super) async fn look_at_strangers(&mut self) -> Result<(), Stopped> {
        let listed = std::mem::take(&mut self.listed);
        // Those that are listed no more are no news either.
        self.memory.harmless.retain(|signature| listed.contains_key(signature));
        let strangers: Vec<(String, bool)> =
            listed.into_iter().filter(|(signature, _)| !self.memory.harmless.contains(signature)).collect();
        let (looked_at, left) = strangers.split_at(strangers.len().min(MOST_LOOKED_AT));
        if !left.is_empty() {
            let detail = format!("{} more transactions name a fee payer and were not looked at", left.len());
            self.audit.note_unknown(None, None, &detail);
        }
        for part in looked_at.chunks(TOGETHER) {
            let hashes: Vec<&str> = part.iter().map(|(signature, _)| signature.as_str()).collect();
            match told::transactions(&self.engine.cluster.rpc, &hashes).await {
                Ok(given) => {
                    for ((signature, _), given) in part.iter().zip(given) {
                        self.look_at_stranger(signature, given).await?;
                    }
                }
                Err(error) => {
                    for (signature, _) in part {
                        self.audit.note_unknown(None, Some(signature), &untold(&error));
                    }
                }
            }
        }
        Ok(())
    }

    async fn look_at_stranger(&mut self, signature: &str, given: Given) -> Result<(), Stopped> {
        let kept = match Kept::read(given, signature) {
            Ok(kept) => kept,
            Err(why) => {
                self.audit.note_unknown(None, Some(signature), &format!("it names a fee payer, and {why}"));
                return Ok(());
            }
        };
        let signers = self.engine.lanes.iter().map(|lane| lane.key.address());
        let Some(signer) = signers.into_iter().find(|account| kept.is_signed_by(account)) else {
            self.memory.harmless.insert(signature.to_owned());
            return Ok(());
        };
        // A payment that was taken much earlier.
        let key = payload::key(self.engine.network(), kept.transaction.message_hash());
        if self.engine.journal.settlement(&key).await?.is_some() {
            return Ok(());
        }
        let mut paid = String::new();
        let has_moved = kept.succeeded() == Some(true);
        for (owner, mint, amount) in kept.gains().into_iter().filter(|_| has_moved) {
            let sum = self.sum(owner, mint);
            sum.chain = sum.chain.saturating_add(amount);
            paid.push_str(&format!("; it brought {owner} {amount} of {mint}"));
        }
        let detail = format!(
            "{signer} has signed it, and it is not in the ledger: was the ledger restored from an older copy, or does another \
             program use this key?{paid}"
        );
        self.audit.differ(DifferenceKind::UnknownTransaction, None, Some(signature), &detail);
        Ok(())
    }

    /// Whether the lists go back to the first settled payment: only then is nothing of what the fee payers did left out.
    pub(super) fn judge_reach(&mut self, walks: &[Walk]) {
        for Walk { account, first, is_whole, oldest } in walks {
            let Some(settled) = self.first.get(account).copied() else { continue };
            let reaches = |slot: &Option<u64>| slot.is_some_and(|slot| slot <= settled);
            if *is_whole || reaches(oldest) || reaches(first) {
                continue;
            }
            let detail = format!(
                "what {account} signed from slot {settled} to {} is not listed by a node",
                oldest.map_or_else(|| "now".to_owned(), |oldest| oldest.to_string())
            );
            self.audit.note_unknown(None, None, &detail);
        }
    }
}

/// A node's list, and whether it goes back to `since`.
async fn list(
    rpc: &Rpc,
    node: usize,
    account: &str,
    since: UnixTime,
) -> Result<(Vec<Listed>, bool), RpcError> {
    let since = i64::try_from(since.0).unwrap_or(i64::MAX);
    let mut all: Vec<Listed> = Vec::new();
    let is_whole = loop {
        let before = all.last().map(|one| one.signature.as_str());
        let page = told::page(rpc, node, account, before).await?;
        let count = page.len();
        let is_older = |one: &Listed| one.block_time.is_some_and(|time| time < since);
        let reached = page.iter().any(is_older);
        all.extend(page.into_iter().filter(|one| !is_older(one)));
        if reached || count < MOST_LISTED || all.len() >= MOST {
            break reached;
        }
    };
    Ok((all, is_whole))
}
