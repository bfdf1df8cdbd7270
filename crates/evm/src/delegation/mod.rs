//! Scheme `exact` by ERC-7710: the payer's account has delegated, and the facilitator redeems the delegation for a
//! transfer that it builds itself. Nothing in the payload can be checked but by trying it on the chain.

#[cfg(feature = "payer")]
mod pay;

use alloy_primitives::{Address, Bytes, U256, keccak256};
use alloy_sol_types::SolCall as _;
use serde::{Deserialize, Serialize};
use tollway_protocol::bind::{Effects, Move, PaymentKey, Presented, Window};
use tollway_protocol::door;
use tollway_protocol::json::Object;
use tollway_protocol::{Dialect, Network, Offer, Reason, Refusal};

use crate::abi::{DelegationManager, SINGLE_CALL_MODE};
use crate::exact::{SCHEME, same_method};

#[cfg(feature = "payer")]
pub use pay::{DelegatedPayer, Granted};

/// The name of this transfer method in an offer's `extra.assetTransferMethod`.
pub const METHOD: &str = "erc7710";

/// The longest permission context that is read, in bytes: it is calldata at the facilitator's cost.
pub const MAX_CONTEXT: usize = 8 * 1024;

/// A delegation, as its payer presents it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The contract that judges the delegation: any, chosen by the payer.
    pub manager: Address,
    /// What proves the delegation to it.
    pub context: Bytes,
    /// The account that pays.
    pub delegator: Address,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    delegation_manager: String,
    permission_context: String,
    delegator: String,
}

impl Delegation {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`Reason::InvalidPayload`], naming the member.
    pub fn decode(payload: &Object) -> Result<Self, Refusal> {
        let wrong = |member: &str, error: &dyn std::fmt::Display| {
            Refusal::new(Reason::InvalidPayload, format!("payload{member}: {error}"))
                .dialect(Dialect::ExactEvm)
        };
        let read: Payload = payload.read().map_err(|e| wrong("", &e))?;
        let address = |member: &str, text: &str| -> Result<Address, Refusal> {
            door::hex_array::<20>(text).map(Into::into).map_err(|e| wrong(member, &e))
        };
        let context = door::hex_bytes(&read.permission_context, MAX_CONTEXT);
        Ok(Self {
            manager: address(".delegationManager", &read.delegation_manager)?,
            context: context.map_err(|e| wrong(".permissionContext", &e))?.into(),
            delegator: address(".delegator", &read.delegator)?,
        })
    }

    /// The payload on the wire.
    ///
    /// # Errors
    /// Never in practice: what serde says.
    pub fn payload(&self) -> Result<Object, serde_json::Error> {
        Object::of(&Payload {
            delegation_manager: self.manager.to_string(),
            permission_context: self.context.to_string(),
            delegator: self.delegator.to_string(),
        })
    }

    /// What the payment presented would do, if the chain takes it: the transfer that [`Delegation::redeem_call`] builds
    /// for the offer. It has no time of its own: see [`Window::ALWAYS`].
    ///
    /// # Errors
    /// As [`Delegation::decode`]; [`Reason::TransferNotSupported`] when the offer doesn't ask for this transfer method
    /// by name, [`Reason::InvalidOffer`] when its addresses can't be read.
    pub fn effects(presented: &Presented) -> Result<(Self, Effects), Refusal> {
        let offer = presented.offer();
        if offer.extra.get("assetTransferMethod").is_none() {
            let message = "the offer does not ask for transfer method erc7710";
            return Err(Refusal::new(Reason::TransferNotSupported, message).dialect(Dialect::of_offer(offer)));
        }
        same_method(offer, METHOD)?;
        let this = Self::decode(&presented.payment().payload)?;
        let effects = this.effects_for(offer).map_err(|e| {
            Refusal::new(Reason::InvalidOffer, e.to_string()).dialect(Dialect::of_offer(offer))
        })?;
        Ok((this, effects))
    }

    /// What redeeming the delegation for `offer` does.
    pub(crate) fn effects_for(&self, offer: &Offer) -> Result<Effects, door::DoorError> {
        let network = &offer.network;
        let canonical = |address: Address| door::Address::on(network, &format!("{address:#x}"));
        let (asset, to) =
            (door::Address::on(network, &offer.asset)?, door::Address::on(network, &offer.pay_to)?);
        let payer = canonical(self.delegator)?;
        Ok(Effects {
            scheme: SCHEME.to_owned(),
            network: network.clone(),
            key: self.key(network, &asset, &to, &offer.amount.to_string())?,
            moves: vec![Move { asset, from: payer.clone(), to, amount: offer.amount }],
            window: Window::ALWAYS,
            payer,
        })
    }

    /// What makes the payment unique. A context says neither who is paid nor how much, and may be good for many
    /// payments; so the transfer is part of the key. With the context alone, a seller who shows a context that was used
    /// at another's would be told of that payment as of its own. The price: one context pays the same seller the same
    /// amount once. A payer that pays again needs another context, which a delegation's salt gives.
    fn key(
        &self,
        network: &Network,
        asset: &door::Address,
        to: &door::Address,
        amount: &str,
    ) -> Result<PaymentKey, door::DoorError> {
        let canonical = |address: Address| door::Address::on(network, &format!("{address:#x}"));
        let (manager, delegator) = (canonical(self.manager)?, canonical(self.delegator)?);
        let context = keccak256(&self.context).to_string();
        let parts =
            [METHOD, manager.as_str(), delegator.as_str(), &context, asset.as_str(), to.as_str(), amount];
        Ok(PaymentKey::new(network, &parts))
    }

    /// The call that moves the money: the manager executes `token.transfer(to, amount)` as the delegator.
    #[must_use]
    pub fn redeem_call(&self, token: Address, to: Address, amount: U256) -> (Address, Bytes) {
        alloy_sol_types::sol! {
            function transfer(address to, uint256 amount) external returns (bool);
        }
        let transfer = transferCall { to, amount }.abi_encode();
        // ERC-7579's packed form of one call: target, value, data.
        let execution = [token.as_slice(), &[0u8; 32], &transfer].concat();
        let call = DelegationManager::redeemDelegationsCall {
            permissionContexts: vec![self.context.clone()],
            modes: vec![SINGLE_CALL_MODE],
            executionCallDatas: vec![execution.into()],
        };
        (self.manager, call.abi_encode().into())
    }
}
