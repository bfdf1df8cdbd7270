//! Payers, and the payments that they sign.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tollway_devnet::svm::{Address, USDC_DEVNET};
use tollway_protocol::door::{Amount, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::PayerScheme as _;
use tollway_protocol::{Offer, Secret};
use tollway_svm::ExactPayer;
use tollway_svm::keys::Key;
use tollway_svm::layout::{self, Limits};
use tollway_svm::programs::{TOKEN, associated_token_account};
use tollway_svm::transaction::Transaction;

use super::{FEE_PAYERS, network};
use crate::world::START;

/// Two sellers; the second one is dearer.
pub const SELLERS: [(Address, u64); 2] =
    [(Address::new_from_array([0xc1; 32]), 10_000), (Address::new_from_array([0xc2; 32]), 25_000)];

/// The bytes of a signature.
const SIGNATURE: usize = 64;
/// Where the message of a transaction with two signatures begins.
const MESSAGE: usize = 1 + 2 * SIGNATURE;

/// What a transaction pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Who pays.
    pub payer: Address,
    /// The token account that is paid.
    pub to: Address,
    /// How much.
    pub value: u64,
    /// What tells it from the payer's other payments.
    pub memo: String,
    /// Until when it can land.
    pub blockhash: String,
    /// The signature that it lands under: its fee payer's, which is always the same.
    pub hash: String,
}

impl Transfer {
    /// What the transaction says. Its fee payer is one of ours.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let transaction = Transaction::read(bytes.to_vec()).unwrap();
        let read = layout::Transfer::read(&transaction, &Limits::NONE).unwrap();
        let ours = FEE_PAYERS.map(key);
        let fee_payer = ours.iter().find(|key| key.address() == read.fee_payer).unwrap();
        Self {
            payer: read.payer,
            to: read.destination,
            value: read.amount,
            memo: String::from_utf8(read.memos[0].clone()).unwrap(),
            blockhash: Address::new_from_array(transaction.blockhash).to_string(),
            hash: bs58::encode(fee_payer.sign(&bytes[MESSAGE..])).into_string(),
        }
    }
}

/// What is signed.
#[derive(Debug, Clone)]
pub struct Terms<'a> {
    /// Who pays for the transaction.
    pub fee_payer: Address,
    /// Who is paid.
    pub to: Address,
    /// How much.
    pub value: u64,
    /// A recent block's.
    pub blockhash: &'a str,
    /// Its first half becomes the memo.
    pub unique: [u8; 32],
}

/// A payer.
pub struct Purse {
    payer: ExactPayer,
    /// Its account.
    pub address: Address,
}

/// A key made from `seed`.
#[must_use]
pub(super) fn key(seed: u8) -> Key {
    Key::from_seed(&Secret::new([seed; 32]))
}

/// A seller's token account.
#[must_use]
pub(super) fn token_account(owner: &Address) -> Address {
    associated_token_account(owner, &USDC_DEVNET, &TOKEN)
}

impl Purse {
    /// The payer number `seed`.
    #[must_use]
    pub fn new(seed: u8) -> Self {
        let payer = ExactPayer::new(key(seed));
        let address = payer.address();
        Self { payer, address }
    }

    /// A transaction that only its fee payer has yet to sign, and the offer that it is for.
    #[must_use]
    pub fn sign(&self, terms: &Terms<'_>) -> (Vec<u8>, Offer) {
        let offer = Offer {
            scheme: "exact".into(),
            network: network(),
            amount: Amount::from(terms.value),
            asset: USDC_DEVNET.to_string(),
            pay_to: terms.to.to_string(),
            max_timeout_seconds: 60,
            extra: Object::new()
                .with("feePayer", terms.fee_payer.to_string())
                .with("recentBlockhash", terms.blockhash),
            unknown: Object::new(),
        };
        let signed = at_once(self.payer.sign(&offer, UnixTime(START), terms.unique)).unwrap();
        let text = signed.payload.str("transaction").unwrap();
        (STANDARD.decode(text).unwrap(), offer)
    }
}

/// The transaction with its fee payer's signature.
#[must_use]
pub(super) fn with_fee_payer(mut bytes: Vec<u8>, fee_payer: &Key) -> Vec<u8> {
    let signature = fee_payer.sign(&bytes[MESSAGE..]);
    bytes[1..=SIGNATURE].copy_from_slice(&signature);
    bytes
}

/// The signature that a signed transaction goes by.
#[must_use]
pub(super) fn signature(bytes: &[u8]) -> String {
    bs58::encode(&bytes[1..=SIGNATURE]).into_string()
}

/// The outcome of what waits for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}
