//! The two chains of the demo: who pays on each, and what each says afterwards.

use alloy_primitives::Address;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tollway_evm::ExactPayer;
use tollway_evm::keys::Key;
use tollway_payer::Wallet;
use tollway_protocol::door::Amount;
use tollway_protocol::{Network, Offer, Secret};
use tollway_svm::keys as solana;
use tollway_svm::layout::{Limits, Transfer};
use tollway_svm::node::Nodes;
use tollway_svm::transaction::Transaction;

use super::tell::short;
use crate::exit::{Doing as _, Failure};
use crate::rpc::Rpc;
use crate::stack::{self, Net, Solana};

/// What is seen, by name.
pub(super) type Seen = Vec<(&'static str, Value)>;

/// What both sides have, in atomic units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Balances {
    pub(super) payer: Amount,
    pub(super) seller: Amount,
}

/// A chain, with a payer and a seller on it.
pub(super) enum Side {
    /// On Ethereum's machine.
    Evm { net: Net, payer: Key, seller: Address },
    /// On Solana.
    Solana { cluster: Solana, payer: solana::Key, seller: solana_address::Address },
}

impl Side {
    pub(super) const fn network(&self) -> &Network {
        match self {
            Self::Evm { net, .. } => &net.network,
            Self::Solana { cluster, .. } => &cluster.network,
        }
    }

    pub(super) fn payer(&self) -> String {
        match self {
            Self::Evm { payer, .. } => payer.address().to_string(),
            Self::Solana { payer, .. } => payer.address().to_string(),
        }
    }

    pub(super) fn seller(&self) -> String {
        match self {
            Self::Evm { seller, .. } => seller.to_string(),
            Self::Solana { seller, .. } => seller.to_string(),
        }
    }

    /// A wallet that pays here.
    pub(super) fn wallet(&self) -> Result<Wallet, Failure> {
        match self {
            Self::Evm { payer, .. } => Ok(Wallet::new().with(ExactPayer::new(payer.clone()))),
            Self::Solana { cluster, payer, .. } => {
                let urls = [(cluster.network.clone(), Secret::new(cluster.url()))];
                let nodes = Nodes::new(&urls, stack::DRAIN).map_err(Failure::general)?;
                let exact = tollway_svm::ExactPayer::new(payer.clone());
                Ok(Wallet::new().with(exact.reading(std::sync::Arc::new(nodes))))
            }
        }
    }

    /// What the chain says that both have.
    pub(super) async fn balances(&self) -> Result<Balances, Failure> {
        match self {
            Self::Evm { net, payer, seller } => Ok(Balances {
                payer: net.rpc.token_balance(net.usdc, payer.address()).await?.into(),
                seller: net.rpc.token_balance(net.usdc, *seller).await?.into(),
            }),
            Self::Solana { cluster, payer, seller } => Ok(Balances {
                payer: cluster.token_balance(payer.address()).into(),
                seller: cluster.token_balance(*seller).into(),
            }),
        }
    }

    /// What signing is here.
    pub(super) const fn signing(&self) -> &'static str {
        match self {
            Self::Evm { .. } => {
                "The payer signs one transfer, for this amount, to this account, for one minute; no transaction, no gas"
            }
            Self::Solana { .. } => {
                "The payer signs one transaction with one transfer, which lives for a minute or two; the fee payer's signature is missing"
            }
        }
    }

    /// What the wallet signed, as wallets show it.
    pub(super) fn signed(&self, offer: &Offer, payment: &Value) -> Result<Seen, Failure> {
        let member = |name: &str| {
            payment.get("payload").and_then(|payload| payload.get(name)).cloned().unwrap_or_default()
        };
        match self {
            Self::Evm { .. } => {
                let domain = json!({
                    "name": offer.extra.get("name"),
                    "version": offer.extra.get("version"),
                    "chainId": offer.network.chain_id(),
                    "verifyingContract": offer.asset,
                });
                Ok(vec![
                    ("primaryType", json!("TransferWithAuthorization")),
                    ("domain", domain),
                    ("message", member("authorization")),
                    ("signature", short(&member("signature"))),
                ])
            }
            Self::Solana { .. } => transfer(member("transaction").as_str().unwrap_or_default()),
        }
    }

    /// What the chain says of the transaction.
    pub(super) async fn landed(&self, transaction: Option<&str>) -> Result<Seen, Failure> {
        match self {
            Self::Evm { net, .. } => {
                let receipt: Value = net.rpc.ask("eth_getTransactionReceipt", json!([transaction])).await?;
                let number = |member: &str| {
                    let text = receipt.get(member).and_then(Value::as_str)?;
                    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
                };
                Ok(vec![
                    ("block", json!(number("blockNumber"))),
                    ("gasUsed", json!(number("gasUsed"))),
                    ("gasPaidBy", receipt.get("from").cloned().unwrap_or_default()),
                ])
            }
            Self::Solana { cluster, .. } => {
                let config = json!({ "commitment": "confirmed", "maxSupportedTransactionVersion": 0 });
                let rpc = Rpc::new(&cluster.url())?;
                let found: Value = rpc.ask("getTransaction", json!([transaction, config])).await?;
                let at = |pointer: &str| found.pointer(pointer).cloned().unwrap_or_default();
                Ok(vec![
                    ("slot", at("/slot")),
                    ("feeLamports", at("/meta/fee")),
                    ("feePaidBy", at("/transaction/message/accountKeys/0")),
                ])
            }
        }
    }

    pub(super) async fn stop(self) {
        match self {
            Self::Evm { net, .. } => net.stop().await,
            Self::Solana { cluster, .. } => cluster.stop().await,
        }
    }
}

/// The transfer in a payment's transaction.
fn transfer(transaction: &str) -> Result<Seen, Failure> {
    let bytes = STANDARD.decode(transaction).doing(|| "the payment's transaction".to_owned())?;
    let transaction = Transaction::read(bytes).doing(|| "the payment's transaction".to_owned())?;
    let transfer = Transfer::read(&transaction, &Limits::default())
        .map_err(|(_, why)| Failure::general(format!("the payment's transaction: {why}")))?;
    let is_signed = |index: usize| transaction.signature(index).is_some_and(|bytes| bytes != [0; 64]);
    let memos = transfer.memos.iter().map(|memo| String::from_utf8_lossy(memo).into_owned());
    let message = json!({
        "mint": transfer.mint.to_string(),
        "amount": transfer.amount,
        "authority": transfer.payer.to_string(),
        "source": transfer.source.to_string(),
        "destination": transfer.destination.to_string(),
        "memo": memos.collect::<Vec<_>>(),
        "feePayer": transfer.fee_payer.to_string(),
    });
    Ok(vec![
        ("transferChecked", message),
        ("bytes", json!(transaction.bytes().len())),
        ("signedByThePayer", json!(is_signed(1))),
        ("signedByTheFeePayer", json!(is_signed(0))),
    ])
}
