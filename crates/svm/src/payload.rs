//! A payment as it comes: its payload, and what it would do.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use solana_address::Address;
use tollway_protocol::bind::{Effects, Move, PaymentKey, Presented, Window};
use tollway_protocol::door::{self, Amount};
use tollway_protocol::json::Object;
use tollway_protocol::{Dialect, Network, Offer, Reason, Refusal};

use crate::SCHEME;
use crate::layout::{Limits, MAX_MEMO, Transfer, Wrong};
use crate::programs::{self, associated_token_account};
use crate::transaction::{MAX_BYTES, Transaction};

/// The payload's member.
const TRANSACTION: &str = "transaction";

/// A payment: a transaction that the payer signed and its fee payer has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SvmPayment {
    /// The transaction.
    pub transaction: Transaction,
    /// The one transfer in it.
    pub transfer: Transfer,
    /// SHA-256 of what is signed: what makes the payment unique.
    pub hash: [u8; 32],
}

impl SvmPayment {
    /// Reads the payload of a payment for `offer`, by all rules that need neither the chain nor a signature.
    ///
    /// # Errors
    /// The first rule that it breaks, in the scheme's order.
    pub fn decode(offer: &Offer, payload: &Object, limits: &Limits) -> Result<Self, Refusal> {
        let refuse =
            |(reason, message): Wrong| Refusal::new(reason, message).dialect(Dialect::of_offer(offer));
        let fee_payer = fee_payer(offer).map_err(refuse)?;
        let transaction = transaction(payload).map_err(refuse)?;
        if transaction.fee_payer() != Some(&fee_payer) {
            let message = format!("the transaction's fee payer is not the offer's, {fee_payer}");
            return Err(refuse((Reason::FeePayerMismatch, message)));
        }
        let transfer = Transfer::read(&transaction, limits).map_err(refuse)?;
        let payer = transfer.payer.to_string();
        let refuse = |wrong| refuse(wrong).payer(&payer);
        remember(offer, &transfer).map_err(refuse)?;
        if transfer.amount == 0 {
            return Err(refuse((Reason::AmountMismatch, "an amount of 0 is nothing to settle".to_owned())));
        }
        let hash = transaction.message_hash();
        Ok(Self { transaction, transfer, hash })
    }

    /// What the payment presented would do, if it is good. Without I/O.
    ///
    /// # Errors
    /// As [`SvmPayment::decode`]; [`Reason::InvalidOffer`] when the offer's addresses are none.
    pub fn effects(presented: &Presented, limits: &Limits) -> Result<(Self, Effects), Refusal> {
        let offer = presented.offer();
        let this = Self::decode(offer, &presented.payment().payload, limits)?;
        let effects =
            effects(&this.transfer, this.hash, offer, Window::ALWAYS).map_err(|(reason, message)| {
                Refusal::new(reason, message)
                    .dialect(Dialect::of_offer(offer))
                    .payer(&this.transfer.payer.to_string())
            })?;
        Ok((this, effects))
    }
}

/// The payload of a transaction.
#[cfg(feature = "payer")]
pub(crate) fn payload(transaction: &[u8]) -> Object {
    Object::new().with(TRANSACTION, STANDARD.encode(transaction))
}

/// What makes a payment unique, by the hash of its transaction's message.
pub(crate) fn key(network: &Network, hash: [u8; 32]) -> PaymentKey {
    PaymentKey::new(network, &[&hex::encode(hash)])
}

/// The effects of `transfer` for `offer`, which it can have within `window`.
pub(crate) fn effects(
    transfer: &Transfer,
    hash: [u8; 32],
    offer: &Offer,
    window: Window,
) -> Result<Effects, Wrong> {
    let network = &offer.network;
    let pay_to = member("payTo", &offer.pay_to)?;
    if transfer.mint != member("asset", &offer.asset)? {
        let message = format!("the transfer is of {}, the offer's asset is {}", transfer.mint, offer.asset);
        return Err((Reason::AssetMismatch, message));
    }
    if transfer.destination != associated_token_account(&pay_to, &transfer.mint, &transfer.program) {
        let message = format!("{} is not the token account of the offer's payTo", transfer.destination);
        return Err((Reason::RecipientMismatch, message));
    }
    let text = |address: Address| {
        door::Address::on(network, &address.to_string())
            .map_err(|error| (Reason::InvalidOffer, format!("network: {error}")))
    };
    let payer = text(transfer.payer)?;
    if transfer.payer == pay_to {
        return Err((Reason::UnexpectedEffect, "the payer would pay itself".to_owned()));
    }
    Ok(Effects {
        scheme: SCHEME.to_owned(),
        network: network.clone(),
        key: key(network, hash),
        moves: vec![Move {
            asset: text(transfer.mint)?,
            from: payer.clone(),
            to: text(pay_to)?,
            amount: Amount::from(transfer.amount),
        }],
        window,
        payer,
    })
}

/// The fee payer that the offer names.
pub(crate) fn fee_payer(offer: &Offer) -> Result<Address, Wrong> {
    let missing = || (Reason::FeePayerMissing, "extra.feePayer is missing".to_owned());
    let text = offer.extra.str("feePayer").ok_or_else(missing)?;
    programs::address(text).map_err(|error| (Reason::FeePayerMissing, format!("extra.feePayer: {error}")))
}

/// The memo that the offer asks for.
pub(crate) fn memo(offer: &Offer) -> Result<Option<&str>, Wrong> {
    match offer.extra.get("memo") {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(serde_json::Value::String(memo)) if memo.len() <= MAX_MEMO => Ok(Some(memo)),
        Some(_) => {
            Err((Reason::InvalidOffer, format!("extra.memo is not a text of at most {MAX_MEMO} bytes")))
        }
    }
}

/// Checks that the offer's memo, if it asks for one, is the only one.
fn remember(offer: &Offer, transfer: &Transfer) -> Result<(), Wrong> {
    let Some(asked) = memo(offer)? else { return Ok(()) };
    match transfer.memos.as_slice() {
        [memo] if memo == asked.as_bytes() => Ok(()),
        [_] => Err((Reason::MemoMismatch, "the memo is not the offer's extra.memo".to_owned())),
        memos => {
            Err((Reason::MemoCount, format!("{} memos, expected the offer's and no other", memos.len())))
        }
    }
}

fn transaction(payload: &Object) -> Result<Transaction, Wrong> {
    let text = payload.str(TRANSACTION).ok_or_else(|| {
        (Reason::InvalidPayload, "payload.transaction is missing: base64 of a transaction".to_owned())
    })?;
    let form = |why: &dyn std::fmt::Display| (Reason::TransactionForm, format!("payload.transaction: {why}"));
    if text.len() > MAX_BYTES.div_ceil(3).saturating_mul(4) {
        return Err(form(&crate::transaction::Malformed::TooLong));
    }
    let bytes = STANDARD.decode(text).map_err(|_| form(&"not base64"))?;
    Transaction::read(bytes).map_err(|malformed| form(&malformed))
}

/// A member of the offer that is to be an address.
pub(crate) fn member(name: &str, text: &str) -> Result<Address, Wrong> {
    programs::address(text).map_err(|error| (Reason::InvalidOffer, format!("{name}: {error}")))
}
