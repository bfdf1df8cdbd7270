//! The payer's side: an offer by Permit2 is signed, and Permit2's allowance where the facilitator pays for it.

use std::sync::Arc;

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_signer::SignerSync as _;
use alloy_sol_types::SolCall as _;
use tollway_protocol::assets::Asset;
use tollway_protocol::door::{self, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{SignError, Signed};
use tollway_protocol::wire::Offer;

use super::reader::{ChainReader, ReadError};
use super::{
    APPROVAL_EXTENSION, APPROVAL_GAS, Approval, METHOD, PERMIT_EXTENSION, PERMIT2, Permit, Permit2Payment,
    Permit2612,
};
use crate::abi::Eip2612::approveCall;
use crate::exact::{CLOCK_SKEW_SECONDS, Domain};
use crate::keys::Key;
use crate::signature::Signature;

/// Which of Permit2's allowances a payer signs, when the seller declares that the facilitator pays for them and the
/// allowance that is there does not suffice.
///
/// By itself: a permit (EIP-2612) for exactly the amount of the payment that it comes with, good for as long. It leaves
/// no allowance behind.
#[derive(Clone)]
pub struct Sponsoring {
    reader: Arc<dyn ChainReader>,
    unlimited: Option<u128>,
}

impl std::fmt::Debug for Sponsoring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sponsoring").field("unlimited", &self.unlimited).finish_non_exhaustive()
    }
}

impl Sponsoring {
    /// Signs permits, with what `reader` says of the chain.
    #[must_use]
    pub fn new(reader: Arc<dyn ChainReader>) -> Self {
        Self { reader, unlimited: None }
    }

    /// Also signs approvals, where the token has no permits: a transaction of the payer's own account that approves
    /// Permit2 **for all of the token, for good**, and that whoever has it may send. From then on every signature of
    /// the account for Permit2 can move that token; nothing but another approval takes it back. It costs the account at
    /// most `max_fee_wei`; while the network asks for more, none is signed.
    #[must_use]
    pub fn allow_unlimited_approvals(mut self, max_fee_wei: u128) -> Self {
        self.unlimited = Some(max_fee_wei);
        self
    }
}

/// Signs a permit for `offer` with `key`; `facilitator` for `upto`.
pub(crate) fn sign(
    key: &Key,
    offer: &Offer,
    facilitator: Option<Address>,
    now: UnixTime,
    entropy: [u8; 32],
) -> Result<Signed, SignError> {
    let wrong = |error: door::DoorError| SignError::Offer(error.to_string());
    let failed = |error: &dyn std::fmt::Display| SignError::Signer(error.to_string());
    let address = |text: &str| door::hex_array::<20>(text).map(Address::from).map_err(wrong);
    let chain_id = chain_id(offer)?;
    let permit = Permit {
        owner: key.address(),
        token: address(&offer.asset)?,
        amount: offer.amount.get(),
        nonce: U256::from_be_bytes(entropy),
        // Its second still counts: it can execute for maxTimeoutSeconds and no longer.
        deadline: U256::from(now.plus(offer.max_timeout_seconds).minus(1).0),
        to: address(&offer.pay_to)?,
        valid_after: U256::from(now.minus(CLOCK_SKEW_SECONDS).0),
        facilitator,
    };
    let signature = key.signer().sign_hash_sync(&permit.digest(chain_id)).map_err(|e| failed(&e))?;
    Ok(Signed {
        payload: Permit2Payment::payload(&permit, &signature.as_bytes()).map_err(|e| failed(&e))?,
        effects: permit.effects(&offer.network).map_err(wrong)?,
    })
}

/// What is added to the extensions that are `advertised`, so that Permit2 may move what was `signed` for. Where the
/// chain can't be asked nothing is added: the allowance may be there.
pub(crate) async fn extend(
    key: &Key,
    sponsoring: &Sponsoring,
    asset: &Asset,
    offer: &Offer,
    signed: &Signed,
    advertised: &Object,
) -> Result<Object, SignError> {
    let none = Ok(Object::new());
    let has = |extension: &str| advertised.get(extension).is_some();
    let approves = sponsoring.unlimited.is_some() && has(APPROVAL_EXTENSION);
    if !has(PERMIT_EXTENSION) && !approves {
        return none;
    }
    let Ok(Permit2Payment { permit, .. }) = Permit2Payment::decode(offer, &signed.payload) else {
        return none;
    };
    let reader = &sponsoring.reader;
    match reader.allowance(&offer.network, permit.token, permit.owner, PERMIT2).await {
        Ok(allowance) if allowance >= permit.amount => return none,
        Ok(_) => {}
        Err(_) => return none,
    }
    if has(PERMIT_EXTENSION)
        && let Some(domain) = Domain::of(asset)
    {
        match reader.permit_nonce(&offer.network, permit.token, permit.owner).await {
            Ok(nonce) => return permit_for(key, &permit, domain, nonce),
            // The token has no permits.
            Err(ReadError::Refused) => {}
            Err(ReadError::Unreachable(_)) => return none,
        }
    }
    match sponsoring.unlimited.filter(|_| approves) {
        Some(max_fee_wei) => approval_for(key, reader.as_ref(), &permit, offer, max_fee_wei).await,
        None => none,
    }
}

/// A permit for exactly what the payment may move, and for as long.
fn permit_for(key: &Key, permit: &Permit, domain: Domain, nonce: U256) -> Result<Object, SignError> {
    let failed = |error: &dyn std::fmt::Display| SignError::Signer(error.to_string());
    let digest = super::permit2612_digest(domain, permit.owner, permit.amount, nonce, permit.deadline);
    let signature = key.signer().sign_hash_sync(&digest).map_err(|e| failed(&e))?;
    let signed = Permit2612 {
        owner: permit.owner,
        token: permit.token,
        spender: PERMIT2,
        value: permit.amount,
        nonce,
        deadline: permit.deadline,
        signature: Signature::new(&signature.as_bytes()).map_err(|e| failed(&e))?,
    };
    Ok(Object::new().with(PERMIT_EXTENSION, signed.info().map_err(|e| failed(&e))?.0))
}

/// A transaction that approves Permit2 for good, unless the network's fees are above what is allowed.
async fn approval_for(
    key: &Key,
    reader: &dyn ChainReader,
    permit: &Permit,
    offer: &Offer,
    max_fee_wei: u128,
) -> Result<Object, SignError> {
    let failed = |error: &dyn std::fmt::Display| SignError::Signer(error.to_string());
    let read = async {
        let nonce = reader.account_nonce(&offer.network, permit.owner).await?;
        Ok::<_, ReadError>((nonce, reader.fees(&offer.network).await?))
    };
    let Ok((nonce, fees)) = read.await else { return Ok(Object::new()) };
    let most = fees.max_fee_per_gas.checked_mul(u128::from(APPROVAL_GAS));
    if most.is_none_or(|most| most > max_fee_wei) || fees.max_priority_fee_per_gas > fees.max_fee_per_gas {
        return Ok(Object::new());
    }
    let transaction = TxEip1559 {
        chain_id: chain_id(offer)?,
        nonce,
        gas_limit: APPROVAL_GAS,
        max_fee_per_gas: fees.max_fee_per_gas,
        max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
        to: TxKind::Call(permit.token),
        value: U256::ZERO,
        access_list: alloy_eips::eip2930::AccessList::default(),
        input: approveCall { spender: PERMIT2, amount: U256::MAX }.abi_encode().into(),
    };
    let hash: B256 = transaction.signature_hash();
    let signature = key.signer().sign_hash_sync(&hash).map_err(|e| failed(&e))?;
    let raw: Bytes = TxEnvelope::from(transaction.into_signed(signature)).encoded_2718().into();
    let approval =
        Approval { owner: permit.owner, token: permit.token, spender: PERMIT2, amount: U256::MAX, raw };
    Ok(Object::new().with(APPROVAL_EXTENSION, approval.info().map_err(|e| failed(&e))?.0))
}

fn chain_id(offer: &Offer) -> Result<u64, SignError> {
    let wrong = || SignError::Offer(format!("{} is no EVM network", offer.network));
    offer.network.chain_id().ok_or_else(wrong)
}

/// Whether `offer` asks for this transfer method.
pub(crate) fn is_asked(offer: &Offer) -> bool {
    offer.extra.str("assetTransferMethod") == Some(METHOD)
}
