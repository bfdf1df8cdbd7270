//! Payments by Permit2, of `exact` and `upto` alike: what is on the wire, what the payer signs, what it would do.
//!
//! The payer permits one of x402's two proxies to move a token through Permit2, and binds in a witness who is paid.
//! A nonce is good for one transfer of its owner, whatever the token or the proxy.

mod calls;
mod hash;
#[cfg(feature = "payer")]
mod pay;
mod payload;
#[cfg(feature = "payer")]
mod reader;
#[cfg(feature = "payer-rpc")]
mod rpc;
mod sponsor;

use alloy_primitives::{Address, B256, U256, address};
use tollway_protocol::Network;
use tollway_protocol::bind::{Effects, Move, PaymentKey, Window};
use tollway_protocol::door::{self, Amount, DoorError};

use crate::signature::Signature;
pub use calls::{nonce_word_and_bit, reason_of_revert};
pub use hash::{domain, permit2612_digest};
#[cfg(feature = "payer")]
pub use pay::Sponsoring;
#[cfg(feature = "payer")]
pub(crate) use pay::{extend, is_asked, sign};
#[cfg(feature = "payer")]
pub use reader::{ChainReader, Fees, ReadError};
#[cfg(feature = "payer-rpc")]
pub use rpc::{RpcReader, RpcReaderError};
pub(crate) use sponsor::declared;
pub use sponsor::{APPROVAL_EXTENSION, PERMIT_EXTENSION, Permit2612, declaration};
#[cfg(feature = "payer")]
pub use sponsor::{APPROVAL_GAS, Approval, ApprovalTransaction};

/// Permit2, at the same address on every chain that has it.
pub const PERMIT2: Address = address!("000000000022D473030F116dDEE9F6B43aC78BA3");

/// x402's proxy for `exact`, at the same address on every chain that has it.
pub const EXACT_PROXY: Address = address!("402085c248EeA27D92E8b30b2C58ed07f9E20001");

/// x402's proxy for `upto`, at the same address on every chain that has it.
pub const UPTO_PROXY: Address = address!("4020A4f3b7b90ccA423B9fabCc0CE57C6C240002");

/// The name of this transfer method in an offer's `extra.assetTransferMethod`.
pub const METHOD: &str = "permit2";

/// What a payer permits: to one of the proxies, for one transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// Who pays.
    pub owner: Address,
    /// In what.
    pub token: Address,
    /// Atomic units: exactly (`exact`), or at most (`upto`).
    pub amount: U256,
    /// Which transfer of the owner's this is.
    pub nonce: U256,
    /// The last second at which it can execute.
    pub deadline: U256,
    /// Who is paid.
    pub to: Address,
    /// The first second at which it can execute.
    pub valid_after: U256,
    /// The only account that may execute it: with `upto` alone.
    pub facilitator: Option<Address>,
}

/// A permit with its signature, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit2Payment {
    /// What was signed.
    pub permit: Permit,
    /// The payer's signature of it.
    pub signature: Signature,
}

impl Permit {
    /// The proxy that is permitted to spend.
    #[must_use]
    pub const fn spender(&self) -> Address {
        match self.facilitator {
            None => EXACT_PROXY,
            Some(_) => UPTO_PROXY,
        }
    }

    /// The digest that the payer signs, on the chain `chain_id`.
    #[must_use]
    pub fn digest(&self, chain_id: u64) -> B256 {
        hash::digest(domain(chain_id), hash::permit(self))
    }

    /// What makes a payment by this permit unique: its owner's nonce. The same for `exact` and `upto`, and for any
    /// token, because Permit2 spends the nonce and not the terms.
    ///
    /// # Errors
    /// Never on an EVM network.
    pub fn key(&self, network: &Network) -> Result<PaymentKey, DoorError> {
        let canonical = |address: Address| door::Address::on(network, &format!("{address:#x}"));
        let (permit2, owner) = (canonical(PERMIT2)?, canonical(self.owner)?);
        Ok(PaymentKey::new(network, &[METHOD, permit2.as_str(), owner.as_str(), &self.nonce.to_string()]))
    }

    /// What executing it does, to the full amount.
    ///
    /// # Errors
    /// Never on an EVM network.
    pub fn effects(&self, network: &Network) -> Result<Effects, DoorError> {
        // Lower case: the checksummed form costs a hash.
        let canonical = |address: Address| door::Address::on(network, &format!("{address:#x}"));
        let payer = canonical(self.owner)?;
        Ok(Effects {
            scheme: self.scheme().to_owned(),
            network: network.clone(),
            key: self.key(network)?,
            moves: vec![Move {
                asset: canonical(self.token)?,
                from: payer.clone(),
                to: canonical(self.to)?,
                amount: Amount::from(self.amount),
            }],
            // Permit2 still takes it in the second of its deadline.
            window: Window {
                opens: crate::exact::seconds(self.valid_after),
                closes: crate::exact::seconds(self.deadline.saturating_add(U256::ONE)),
            },
            payer,
        })
    }

    const fn scheme(&self) -> &'static str {
        match self.facilitator {
            None => crate::exact::SCHEME,
            Some(_) => crate::upto::SCHEME,
        }
    }
}
