//! `eip2612GasSponsoring`: the token's own permit, for Permit2 as the spender.

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize};
use tollway_protocol::bind::MIN_REMAINING_SECONDS;
use tollway_protocol::door::{self, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::{Payment, Reason, Refusal};

use super::{PERMIT_EXTENSION, VERSION, address, answer, number, unread};
use crate::abi::Eip2612Permit;
use crate::exact::Domain;
use crate::permit2::{PERMIT2, Permit, permit2612_digest};
use crate::signature::Signature;

/// An EIP-2612 permit for Permit2, with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit2612 {
    /// Whose token.
    pub owner: Address,
    /// Which token.
    pub token: Address,
    /// Who may spend it: good only when it is Permit2.
    pub spender: Address,
    /// Atomic units.
    pub value: U256,
    /// The owner's nonce in the token.
    pub nonce: U256,
    /// The last second at which the token takes it.
    pub deadline: U256,
    /// The owner's signature: always of 65 bytes.
    pub signature: Signature,
}

#[derive(Serialize, Deserialize)]
struct Info {
    from: String,
    asset: String,
    spender: String,
    amount: String,
    nonce: String,
    deadline: String,
    signature: String,
}

impl Permit2612 {
    /// Reads the extension from a payment; `None` when the payer added nothing to what the seller declared.
    ///
    /// # Errors
    /// [`Reason::PermitForm`], naming the member.
    pub fn of(payment: &Payment) -> Result<Option<Self>, Refusal> {
        let Some(info) = answer::<Info>(payment, PERMIT_EXTENSION, &Reason::PermitForm)? else {
            return Ok(None);
        };
        let wrong = |member, error: &dyn std::fmt::Display| {
            unread(payment, PERMIT_EXTENSION, &Reason::PermitForm, member, error)
        };
        let bytes = door::hex_array::<65>(&info.signature).map_err(|e| wrong("signature", &e))?;
        Ok(Some(Self {
            owner: address(&info.from).map_err(|e| wrong("from", &e))?,
            token: address(&info.asset).map_err(|e| wrong("asset", &e))?,
            spender: address(&info.spender).map_err(|e| wrong("spender", &e))?,
            value: number(&info.amount).map_err(|e| wrong("amount", &e))?,
            nonce: number(&info.nonce).map_err(|e| wrong("nonce", &e))?,
            deadline: number(&info.deadline).map_err(|e| wrong("deadline", &e))?,
            signature: Signature::new(&bytes).map_err(|e| wrong("signature", &e))?,
        }))
    }

    /// Whether it gives Permit2 the allowance that `permit` needs, as far as can be told without the chain.
    ///
    /// # Errors
    /// [`Reason::PermitOwner`], [`Reason::PermitAsset`], [`Reason::PermitSpender`], [`Reason::PermitAmount`]: the
    /// proxies take no other amount than the permitted one; [`Reason::PermitExpired`].
    pub fn check(&self, permit: &Permit, now: UnixTime) -> Result<(), (Reason, String)> {
        let least = now.plus(MIN_REMAINING_SECONDS);
        if self.owner != permit.owner {
            Err((Reason::PermitOwner, format!("the permit is {}'s", self.owner)))
        } else if self.token != permit.token {
            Err((Reason::PermitAsset, format!("the permit is of {}", self.token)))
        } else if self.spender != PERMIT2 {
            Err((Reason::PermitSpender, format!("the permit is for {}", self.spender)))
        } else if self.value != permit.amount {
            Err((
                Reason::PermitAmount,
                format!("the permit is for {}, the payment for {}", self.value, permit.amount),
            ))
        } else if self.deadline < U256::from(least.0) {
            Err((Reason::PermitExpired, format!("the permit ends at {}, it is {now}", self.deadline)))
        } else {
            Ok(())
        }
    }

    /// The digest that its owner signs, in the token's domain.
    #[must_use]
    pub fn digest(&self, domain: Domain) -> B256 {
        permit2612_digest(domain, self.owner, self.value, self.nonce, self.deadline)
    }

    /// As the proxies take it.
    pub(crate) fn argument(&self) -> Eip2612Permit {
        let (r, s, v) = match &self.signature {
            Signature::Ecdsa { r, s, v } => (*r, *s, *v),
            // Not made by `of`; the token refuses it, and Permit2 then goes by the allowance that is there.
            Signature::Contract(_) | Signature::Undeployed { .. } => (B256::ZERO, B256::ZERO, 0),
        };
        Eip2612Permit { value: self.value, deadline: self.deadline, r, s, v }
    }

    /// The extension's `info` with this permit.
    ///
    /// # Errors
    /// Never in practice: what serde says.
    pub fn info(&self) -> Result<Object, serde_json::Error> {
        let signature: Bytes = self.signature.to_bytes();
        let info = Object::of(&Info {
            from: self.owner.to_string(),
            asset: self.token.to_string(),
            spender: self.spender.to_string(),
            amount: self.value.to_string(),
            nonce: self.nonce.to_string(),
            deadline: self.deadline.to_string(),
            signature: signature.to_string(),
        })?;
        Ok(info.with("version", VERSION))
    }
}
