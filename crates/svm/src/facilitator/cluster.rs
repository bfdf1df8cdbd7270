//! What is asked of a cluster's nodes, and what is read of their answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use serde_json::{Value, json};
use solana_address::Address;
use tollway_rpc::{Ask, Dated, Rpc, RpcError};

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
    /// Why it failed, null when it didn't; the fee was paid in either case. A node that does not say is not believed.
    pub(super) err: Value,
    #[serde(default)]
    confirmation_status: Option<Commitment>,
}

impl Status {
    /// A node that does not say how sure it is has only executed it.
    pub(super) fn commitment(&self) -> Commitment {
        self.confirmation_status.unwrap_or(Commitment::Processed)
    }
}

/// An answer beside the slot that it is of.
#[derive(Debug, Deserialize)]
pub(super) struct InContext<T> {
    context: Context,
    pub(super) value: T,
}

#[derive(Debug, Deserialize)]
struct Context {
    slot: u64,
}

impl<T> InContext<T> {
    pub(super) fn slot(&self) -> u64 {
        self.context.slot
    }
}

impl<T> Dated for InContext<T> {
    fn height(&self) -> u64 {
        self.context.slot
    }
}

/// What came of trying a transaction.
#[derive(Debug, Deserialize)]
pub(super) struct Simulated {
    #[serde(default)]
    pub(super) err: Option<Value>,
    #[serde(default)]
    pub(super) logs: Option<Vec<String>>,
    /// The payer's token account, as it would be afterwards.
    #[serde(default)]
    accounts: Option<Vec<Option<Account>>>,
}

/// Where a token account has its balance.
const BALANCE: std::ops::Range<usize> = 64..72;

impl Simulated {
    /// What the payer would have afterwards, in atomic units.
    pub(super) fn left(&self) -> Option<u64> {
        let account = self.accounts.as_ref()?.first()?.as_ref()?;
        let bytes = account.bytes()?.get(BALANCE)?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    }
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

/// Asks every node for its slot, so that those that are behind are known.
pub(super) async fn measure(rpc: &Rpc) {
    let ask = |node| async move {
        let config = [json!({"commitment": "processed"})];
        if let Ok(slot) = rpc.request_of(node, "getSlot", config).await {
            rpc.saw(node, slot);
        }
    };
    futures_util::future::join_all((0..rpc.nodes()).map(ask)).await;
}

pub(super) async fn accounts(rpc: &Rpc, addresses: &[Address]) -> Result<Vec<Option<Account>>, RpcError> {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let config = json!({"encoding": "base64", "commitment": "confirmed"});
    let found: InContext<_> = rpc.request_dated("getMultipleAccounts", (texts, config)).await?;
    Ok(found.value)
}

pub(super) async fn balances(rpc: &Rpc, addresses: &[Address]) -> Result<Vec<u64>, RpcError> {
    let ask = |address: &Address| {
        Ask::new("getBalance", &(address.to_string(), json!({"commitment": "confirmed"})))
    };
    let asks: Vec<Ask> = addresses.iter().map(ask).collect();
    let given = rpc.together(&asks).await?;
    given.into_iter().map(|one| one.read::<InContext<u64>>().map(|found| found.value)).collect()
}

/// Tries a transaction that its fee payer has not signed yet, with the blockhash that it has; tells also what `source`
/// would have afterwards.
pub(super) async fn simulate(
    rpc: &Rpc,
    transaction: &[u8],
    source: &Address,
) -> Result<InContext<Simulated>, RpcError> {
    rpc.request_dated("simulateTransaction", trial(transaction, source)).await
}

/// The same by one node.
pub(super) async fn simulate_at(
    rpc: &Rpc,
    node: usize,
    transaction: &[u8],
    source: &Address,
) -> Result<InContext<Simulated>, RpcError> {
    rpc.request_of(node, "simulateTransaction", trial(transaction, source)).await
}

fn trial(transaction: &[u8], source: &Address) -> (String, Value) {
    let config = json!({
        "encoding": "base64", "sigVerify": false, "replaceRecentBlockhash": false, "commitment": "confirmed",
        "accounts": {"encoding": "base64", "addresses": [source.to_string()]},
    });
    (STANDARD.encode(transaction), config)
}

/// The slot of the last block that nothing takes back any more, says a node.
pub(super) async fn finalized(rpc: &Rpc, node: usize) -> Result<u64, RpcError> {
    rpc.request_of(node, "getSlot", [json!({"commitment": "finalized"})]).await
}

/// The ids of the latest thousand transactions with this account that did not fail.
pub(super) async fn succeeded(rpc: &Rpc, account: &Address) -> Result<Vec<String>, RpcError> {
    #[derive(Deserialize)]
    struct Listed {
        signature: String,
        err: Value,
    }
    let params = (account.to_string(), json!({"commitment": "confirmed", "limit": 1000}));
    let all: Vec<Listed> = rpc.request("getSignaturesForAddress", params).await?;
    Ok(all.into_iter().filter(|one| one.err.is_null()).map(|one| one.signature).collect())
}

/// Gives every node the transaction, which is neither tried nor sent again by them. Returns with the first that takes it.
pub(super) async fn send(rpc: &Rpc, transaction: &[u8]) -> Result<(), RpcError> {
    let config = json!({"encoding": "base64", "skipPreflight": true, "maxRetries": 0});
    let params = (STANDARD.encode(transaction), config);
    let mut answers: FuturesUnordered<_> = (0..rpc.nodes())
        .map(|node| {
            let (rpc, params) = (rpc.clone(), params.clone());
            // In tasks of their own: a node that hangs keeps nobody waiting, and is told all the same.
            tokio::spawn(async move { rpc.request_of::<_, String>(node, "sendTransaction", params).await })
        })
        .collect();
    let mut last = RpcError::Unreachable("no node is configured");
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(Ok(_signature)) => return Ok(()),
            Ok(Err(error)) => last = error,
            Err(_) => last = RpcError::Unreachable("the call was cut off"),
        }
    }
    Err(last)
}

/// What a node says of transactions, and of which slot it says so.
#[derive(Debug)]
pub(super) struct Statuses {
    pub(super) slot: u64,
    pub(super) all: Vec<Option<Status>>,
}

/// What the first node that answers and is not behind says of transactions, by their signatures: in the last minutes, or
/// ever.
pub(super) async fn statuses(rpc: &Rpc, signatures: &[&str], ever: bool) -> Result<Statuses, RpcError> {
    let params = (signatures, json!({"searchTransactionHistory": ever}));
    read_statuses(rpc.request_dated("getSignatureStatuses", params).await?, signatures.len())
}

/// What one node says of transactions: in the last minutes, or ever.
pub(super) async fn statuses_at(
    rpc: &Rpc,
    node: usize,
    signatures: &[&str],
    ever: bool,
) -> Result<Statuses, RpcError> {
    let params = (signatures, json!({"searchTransactionHistory": ever}));
    read_statuses(rpc.request_of(node, "getSignatureStatuses", params).await?, signatures.len())
}

fn read_statuses(found: InContext<Vec<Option<Status>>>, count: usize) -> Result<Statuses, RpcError> {
    if found.value.len() == count {
        Ok(Statuses { slot: found.slot(), all: found.value })
    } else {
        Err(RpcError::Unreachable("its answer is about something else"))
    }
}

/// What one node says, all at once, of transactions with one blockhash.
pub(super) struct LastLook {
    /// The slot of its last finalized block.
    pub(super) finalized: u64,
    /// Whether a block after that one could take them.
    pub(super) is_alive: bool,
    pub(super) statuses: Statuses,
}

/// Asks a node, or the first that answers, whether transactions can land any more and whether they have, in this order.
pub(super) async fn last_look(
    rpc: &Rpc,
    node: Option<usize>,
    blockhash: &str,
    signatures: &[&str],
) -> Result<LastLook, RpcError> {
    let unreadable = || RpcError::Unreachable("its answer can't be read");
    let valid = (blockhash, json!({"commitment": "finalized"}));
    let ever = (signatures, json!({"searchTransactionHistory": node.is_some()}));
    let (valid, found): (InContext<bool>, InContext<Vec<Option<Status>>>) = match node {
        Some(node) => (
            rpc.request_of(node, "isBlockhashValid", valid).await?,
            rpc.request_of(node, "getSignatureStatuses", ever).await?,
        ),
        None => {
            let asks = [Ask::new("isBlockhashValid", &valid), Ask::new("getSignatureStatuses", &ever)];
            let mut given = rpc.together(&asks).await?.into_iter();
            let mut next = || given.next().ok_or_else(unreadable);
            (next()?.read()?, next()?.read()?)
        }
    };
    let statuses = read_statuses(found, signatures.len())?;
    Ok(LastLook { finalized: valid.slot(), is_alive: valid.value, statuses })
}
