//! What nodes keep of transactions that are over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use solana_address::Address;
use solana_signature::Signature;
use tollway_protocol::door::decimal_u64;
use tollway_rpc::{Ask, Given, Rpc, RpcError};

use crate::facilitator::cluster::{InContext, Status};
use crate::transaction::Transaction;

/// The most signatures that one `getSignaturesForAddress` answers.
pub(super) const MOST_LISTED: usize = 1_000;
/// The longest text of a signature.
const SIGNATURE: usize = 88;

/// A transaction that names an account.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    pub(super) signature: String,
    pub(super) slot: u64,
    /// Why it failed, null when it didn't. A node that does not say is not believed.
    pub(super) err: Value,
    /// In seconds since 1970.
    #[serde(default)]
    pub(super) block_time: Option<i64>,
}

/// A transaction, and what it did.
pub(super) struct Kept {
    pub(super) transaction: Transaction,
    /// Some nodes have the transaction alone.
    meta: Option<Meta>,
}

/// The same, as it comes.
#[derive(Deserialize)]
struct Answer {
    transaction: (String, String),
    #[serde(default)]
    meta: Option<Meta>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    err: Value,
    pre_token_balances: Option<Vec<Held>>,
    post_token_balances: Option<Vec<Held>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Held {
    account_index: usize,
    mint: String,
    #[serde(default)]
    owner: Option<String>,
    ui_token_amount: Units,
}

#[derive(Debug, Deserialize)]
struct Units {
    amount: String,
}

impl Held {
    fn amount(&self) -> Option<i128> {
        decimal_u64(&self.ui_token_amount.amount).ok().map(i128::from)
    }
}

impl Kept {
    /// Reads an answer about the transaction with this signature.
    ///
    /// # Errors
    /// Why it says nothing, for people.
    pub(super) fn read(given: Given, signature: &str) -> Result<Self, String> {
        let answer = given.read::<Option<Answer>>().map_err(|error| untold(&error))?;
        let Answer { transaction: (text, _), meta } =
            answer.ok_or("no node that answers has kept the transaction")?;
        let bytes = STANDARD.decode(text).map_err(|_| "the node's transaction is not base64")?;
        let transaction =
            Transaction::read(bytes).map_err(|error| format!("the node's transaction: {error}"))?;
        let is_it = transaction.signature(0).is_some_and(|it| Signature::from(it).to_string() == signature);
        if is_it {
            Ok(Self { transaction, meta })
        } else {
            Err("the node answers with another one".to_owned())
        }
    }

    /// Whether this account signed it.
    pub(super) fn is_signed_by(&self, account: &Address) -> bool {
        let signers = usize::from(self.transaction.header.signers);
        self.transaction.keys.iter().take(signers).any(|key| key == account)
    }

    /// Whether it succeeded; none when the node does not say.
    pub(super) fn succeeded(&self) -> Option<bool> {
        self.meta.as_ref().map(|meta| meta.err.is_null())
    }

    /// What a token account has more than before, in atomic units. None when the node does not say.
    pub(super) fn gained(&self, account: &Address, mint: &str) -> Option<i128> {
        let place = self.transaction.keys.iter().position(|key| key == account)?;
        let of = |held: &&Held| held.account_index == place && held.mint == mint;
        let amount = |all: &[Held]| all.iter().find(of).map_or(Some(0), Held::amount);
        let (before, after) = self.balances()?;
        amount(after)?.checked_sub(amount(before)?)
    }

    /// Who has more of which token than before, and how much: as far as the node says.
    pub(super) fn gains(&self) -> Vec<(&str, &str, u128)> {
        let Some((before, after)) = self.balances() else { return Vec::new() };
        let gain = |held: &Held| {
            let earlier = before.iter().find(|one| one.account_index == held.account_index);
            let more = held.amount()?.checked_sub(earlier.map_or(Some(0), Held::amount)?)?;
            u128::try_from(more).ok().filter(|more| *more > 0)
        };
        let gains = after.iter().map(|held| Some((held.owner.as_deref()?, held.mint.as_str(), gain(held)?)));
        gains.flatten().collect()
    }

    fn balances(&self) -> Option<(&[Held], &[Held])> {
        let meta = self.meta.as_ref()?;
        Some((meta.pre_token_balances.as_deref()?, meta.post_token_balances.as_deref()?))
    }
}

/// Why an answer says nothing of a transaction.
pub(super) fn untold(error: &RpcError) -> String {
    format!("no node tells of the transaction: {error}")
}

/// What a node says of transactions, ever, and of which slot it says so.
pub(super) struct Look {
    pub(super) slot: u64,
    pub(super) statuses: Vec<Option<Status>>,
}

/// What the first node that answers says of transactions, or one.
pub(super) async fn look(rpc: &Rpc, node: Option<usize>, signatures: &[&str]) -> Result<Look, RpcError> {
    let ask = async |ever: bool| -> Result<InContext<Vec<Option<Status>>>, RpcError> {
        let params = (signatures, json!({"searchTransactionHistory": ever}));
        match node {
            Some(node) => rpc.request_of(node, "getSignatureStatuses", params).await,
            None => rpc.request("getSignatureStatuses", params).await,
        }
    };
    let found = match ask(true).await {
        // It keeps no history.
        Err(RpcError::Refused { .. }) => ask(false).await?,
        found => found?,
    };
    if found.value.len() != signatures.len() {
        return Err(RpcError::Unreachable("its answer is about something else"));
    }
    Ok(Look { slot: found.slot(), statuses: found.value })
}

/// The slot of the first block that a node has.
pub(super) async fn first_block(rpc: &Rpc, node: usize) -> Result<u64, RpcError> {
    rpc.request_of(node, "getFirstAvailableBlock", [(); 0]).await
}

/// Transactions by their signatures, from the first node that answers all.
pub(super) async fn transactions(rpc: &Rpc, signatures: &[&str]) -> Result<Vec<Given>, RpcError> {
    let config =
        json!({"encoding": "base64", "commitment": "confirmed", "maxSupportedTransactionVersion": 0});
    let asks: Vec<Ask> =
        signatures.iter().map(|signature| Ask::new("getTransaction", &(signature, &config))).collect();
    rpc.together(&asks).await
}

/// A page of a node's transactions that name an account, newest first, after the one with signature `before`.
pub(super) async fn page(
    rpc: &Rpc,
    node: usize,
    account: &str,
    before: Option<&str>,
) -> Result<Vec<Listed>, RpcError> {
    let mut config = json!({"limit": MOST_LISTED, "commitment": "confirmed"});
    if let (Some(before), Some(fields)) = (before, config.as_object_mut()) {
        fields.insert("before".to_owned(), before.into());
    }
    let page: Vec<Listed> = rpc.request_of(node, "getSignaturesForAddress", (account, config)).await?;
    let is_odd = page.len() > MOST_LISTED || page.iter().any(|one| one.signature.len() > SIGNATURE);
    if is_odd { Err(RpcError::Unreachable("its answer can't be read")) } else { Ok(page) }
}
