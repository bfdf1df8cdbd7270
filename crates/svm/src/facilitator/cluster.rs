//! What is asked of a cluster's nodes, and what is read of their answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use solana_address::Address;
use tollway_rpc::{Ask, Rpc, RpcError};

/// The most signatures that one `getSignatureStatuses` takes.
pub(super) const MOST_STATUSES: usize = 256;
/// The error of a simulation whose blockhash is unknown or too old.
pub(super) const NO_BLOCKHASH: &str = "BlockhashNotFound";

/// How sure a cluster is of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Commitment {
    /// One node has executed it.
    Processed,
    /// Two thirds of the stake have voted for its block.
    Confirmed,
    /// 31 blocks or more are built on its block: nothing takes it back.
    Finalized,
}

/// What a cluster says of a transaction.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) slot: u64,
    /// Why it failed; the fee was paid all the same.
    #[serde(default)]
    pub(super) err: Option<Value>,
    #[serde(default)]
    confirmation_status: Option<Commitment>,
    /// Old nodes tell finality by null only.
    #[serde(default)]
    confirmations: Option<u64>,
}

impl Status {
    pub(super) fn commitment(&self) -> Commitment {
        match (self.confirmation_status, self.confirmations) {
            (Some(commitment), _) => commitment,
            (None, None) => Commitment::Finalized,
            (None, Some(_)) => Commitment::Processed,
        }
    }
}

/// An answer beside the slot that it is of.
#[derive(Deserialize)]
pub(super) struct InContext<T> {
    pub(super) value: T,
}

/// What came of trying a transaction.
#[derive(Debug, Deserialize)]
pub(super) struct Simulated {
    #[serde(default)]
    pub(super) err: Option<Value>,
    #[serde(default)]
    pub(super) logs: Option<Vec<String>>,
}

/// An account, as far as it is read.
#[derive(Debug, Deserialize)]
pub(super) struct Account {
    pub(super) owner: String,
    data: (String, String),
}

impl Account {
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.data.0).ok()
    }
}

pub(super) async fn genesis_hash(rpc: &Rpc, node: usize) -> Result<String, RpcError> {
    rpc.request_of(node, "getGenesisHash", [(); 0]).await
}

pub(super) async fn accounts(rpc: &Rpc, addresses: &[Address]) -> Result<Vec<Option<Account>>, RpcError> {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let config = json!({"encoding": "base64", "commitment": "confirmed"});
    rpc.request::<_, InContext<_>>("getMultipleAccounts", (texts, config)).await.map(|found| found.value)
}

pub(super) async fn balances(rpc: &Rpc, addresses: &[Address]) -> Result<Vec<u64>, RpcError> {
    let ask = |address: &Address| {
        Ask::new("getBalance", &(address.to_string(), json!({"commitment": "confirmed"})))
    };
    let asks: Vec<Ask> = addresses.iter().map(ask).collect();
    let given = rpc.together(&asks).await?;
    given.into_iter().map(|one| one.read::<InContext<u64>>().map(|found| found.value)).collect()
}

/// Tries a transaction that its fee payer has not signed yet, with the blockhash that it has.
pub(super) async fn simulate(rpc: &Rpc, transaction: &[u8]) -> Result<Simulated, RpcError> {
    let config = json!({
        "encoding": "base64", "sigVerify": false, "replaceRecentBlockhash": false, "commitment": "confirmed",
    });
    let params = (STANDARD.encode(transaction), config);
    rpc.request::<_, InContext<_>>("simulateTransaction", params).await.map(|found| found.value)
}

/// Gives every node the transaction, which is neither tried nor sent again by them.
pub(super) async fn send(rpc: &Rpc, transaction: &[u8]) -> Result<String, RpcError> {
    let config = json!({"encoding": "base64", "skipPreflight": true, "maxRetries": 0});
    rpc.request_all("sendTransaction", (STANDARD.encode(transaction), config)).await
}

/// What the first node that answers says of transactions, by their signatures: in the last minutes, or ever.
pub(super) async fn statuses(
    rpc: &Rpc,
    signatures: &[&str],
    ever: bool,
) -> Result<Vec<Option<Status>>, RpcError> {
    let given = rpc.together(&[ask_statuses(signatures, ever)]).await?;
    let only = given.into_iter().next().ok_or(RpcError::Unreachable("its answer can't be read"))?;
    read_statuses(only.read()?, signatures.len())
}

fn ask_statuses(signatures: &[&str], ever: bool) -> Ask {
    Ask::new("getSignatureStatuses", &(signatures, json!({"searchTransactionHistory": ever})))
}

fn read_statuses(
    found: InContext<Vec<Option<Status>>>,
    count: usize,
) -> Result<Vec<Option<Status>>, RpcError> {
    if found.value.len() == count {
        Ok(found.value)
    } else {
        Err(RpcError::Unreachable("its answer is about something else"))
    }
}

/// What a node says of a transaction that may never land.
pub(super) struct LastLook {
    pub(super) status: Option<Status>,
    /// The height of the last finalized block.
    pub(super) height: u64,
    /// Whether a block after that one could take the transaction.
    pub(super) is_alive: bool,
}

/// Asks for all of it at once, so that one node answers, in this order: whether it could still land is asked before
/// whether it has.
pub(super) async fn last_look(rpc: &Rpc, signature: &str, blockhash: &str) -> Result<LastLook, RpcError> {
    let finalized = json!({"commitment": "finalized"});
    let asks = [
        Ask::new("getBlockHeight", &[&finalized]),
        Ask::new("isBlockhashValid", &(blockhash, &finalized)),
        ask_statuses(&[signature], true),
    ];
    let unreadable = || RpcError::Unreachable("its answer can't be read");
    let mut given = rpc.together(&asks).await?.into_iter();
    let mut next = || given.next().ok_or_else(unreadable);
    let height = next()?.read()?;
    let is_alive = next()?.read::<InContext<bool>>()?.value;
    let status = read_statuses(next()?.read()?, 1)?.into_iter().next().flatten();
    Ok(LastLook { status, height, is_alive })
}

/// The height of the last block that the first node that answers has confirmed.
pub(super) async fn height(rpc: &Rpc) -> Result<u64, RpcError> {
    rpc.request("getBlockHeight", [json!({"commitment": "confirmed"})]).await
}

/// The same, and whether blocks after that one could take transactions with these blockhashes.
pub(super) async fn alive(rpc: &Rpc, blockhashes: &[String]) -> Result<(u64, Vec<bool>), RpcError> {
    let confirmed = json!({"commitment": "confirmed"});
    let ask = |hash: &String| Ask::new("isBlockhashValid", &(hash, &confirmed));
    // The height last: what was valid before it was asked for is so up to then.
    let asks: Vec<Ask> =
        blockhashes.iter().map(ask).chain([Ask::new("getBlockHeight", &[&confirmed])]).collect();
    let mut given = rpc.together(&asks).await?;
    let height = given.pop().ok_or(RpcError::Unreachable("its answer can't be read"))?.read()?;
    let valid = given.into_iter().map(|one| one.read::<InContext<bool>>().map(|found| found.value));
    Ok((height, valid.collect::<Result<_, _>>()?))
}
