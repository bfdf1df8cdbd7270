//! A payment, decoded: what it calls, and what proves that it was paid.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall as _, SolEvent as _};
use tollway_protocol::assets::Asset;
use tollway_protocol::bind::{Bound, Effects, Presented};
use tollway_protocol::{Reason, Refusal};

use crate::abi::{Eip3009, MULTICALL3, Multicall3, TransferWithAuthorization};
use crate::exact::{Authorization, Domain};
use crate::facilitator::chain::Chain;
use crate::facilitator::rpc::Receipt;
use crate::signature::Signature;

/// The longest signature of a deployed contract wallet, in bytes: it is calldata at our cost.
const MAX_CONTRACT_SIGNATURE: usize = 2 * 1024;

/// A payment, decoded, with what could be told of it without asking the chain.
#[derive(Debug, Clone)]
pub(crate) struct Decoded {
    pub(crate) authorization: Authorization,
    pub(crate) token: Address,
    /// What was signed, in the token's domain.
    pub(crate) digest: B256,
    /// Whether the signature is the payer's own key's.
    pub(crate) by_key: bool,
}

/// What a payment says, without its signature: two payments with one key may differ in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Terms {
    /// An EIP-3009 authorization.
    Transfer(TransferWithAuthorization),
}

impl Chain {
    /// Decodes a payment that was bound, its signer too.
    pub(crate) fn decode(&self, bound: &Bound) -> Result<Decoded, Refusal> {
        let effects = bound.effects();
        let authorization = Authorization::decode(&bound.payment().payload)?;
        let (token, _, domain) = self.token(bound.presented(), effects)?;
        worth_settling(&authorization).map_err(|(reason, message)| effects.refuse(reason, message))?;
        let digest = Authorization::digest(&authorization.transfer, domain);
        let by_key = authorization.signature.recover(&digest) == Some(authorization.transfer.from);
        Ok(Decoded { authorization, token, digest, by_key })
    }

    /// The offer's token, if it is one that is settled here.
    fn token(&self, presented: &Presented, effects: &Effects) -> Result<(Address, &Asset, Domain), Refusal> {
        let token = tollway_protocol::door::hex_array::<20>(&presented.offer().asset).map(Address::from);
        let token = token.map_err(|e| effects.refuse(Reason::InvalidOffer, format!("asset: {e}")))?;
        let Some((asset, domain)) = self.tokens.get(&token) else {
            return Err(effects.refuse(
                Reason::AssetNotAllowed,
                format!("asset {token} is not settled on {}", self.config.network),
            ));
        };
        Ok((token, asset, *domain))
    }

    /// What the payment would do; refuses what needs neither chain nor signature to refuse.
    pub(crate) fn effects(&self, presented: &Presented) -> Result<Effects, Refusal> {
        let (authorization, effects) = Authorization::effects(presented)?;
        let (_, asset, _) = self.token(presented, &effects)?;
        same_domain(presented, asset).map_err(|(reason, message)| effects.refuse(reason, message))?;
        if let Signature::Undeployed { factory, .. } = &authorization.signature
            && !self.config.factories.contains(factory)
        {
            return Err(effects
                .refuse(Reason::FactoryNotAllowed, format!("wallet factory {factory} is not allowed here")));
        }
        Ok(effects)
    }
}

/// Refuses what would only burn gas: nothing, money to oneself, needless calldata.
fn worth_settling(authorization: &Authorization) -> Result<(), (Reason, &'static str)> {
    let Authorization { transfer, signature } = authorization;
    match signature {
        _ if transfer.value.is_zero() => Err((Reason::InvalidOffer, "an amount of 0 is nothing to settle")),
        _ if transfer.from == transfer.to => Err((Reason::UnexpectedEffect, "the payer would pay itself")),
        Signature::Contract(bytes) if bytes.len() > MAX_CONTRACT_SIGNATURE => {
            Err((Reason::SignatureForm, "the wallet's signature is longer than 2048 bytes"))
        }
        _ => Ok(()),
    }
}

fn same_domain(presented: &Presented, asset: &Asset) -> Result<(), (Reason, String)> {
    let extra = &presented.offer().extra;
    let (Some(name), Some(version)) = (extra.str("name"), extra.str("version")) else {
        return Err((Reason::MissingDomain, "extra.name and extra.version are missing".into()));
    };
    match &asset.domain {
        Some((known, _)) if known != name => {
            Err((Reason::DomainName, format!("extra.name is not {known:?}, the token's EIP-712 name")))
        }
        Some((_, known)) if known != version => Err((
            Reason::DomainVersion,
            format!("extra.version is not {known:?}, the token's EIP-712 version"),
        )),
        _ => Ok(()),
    }
}

impl Decoded {
    pub(crate) fn terms(&self) -> Terms {
        Terms::Transfer(self.authorization.transfer.clone())
    }

    pub(crate) fn payer(&self) -> Address {
        self.authorization.transfer.from
    }

    pub(crate) fn recipient(&self) -> Address {
        self.authorization.transfer.to
    }

    pub(crate) fn value(&self) -> U256 {
        self.authorization.transfer.value
    }

    /// Whether it calls nothing but an allowed token: only then it may share a transaction or a simulation.
    pub(crate) fn is_safe(&self) -> bool {
        self.by_key && matches!(self.authorization.signature, Signature::Ecdsa { .. })
    }

    /// The account that has to send it, if not any may.
    pub(crate) fn sender(&self) -> Option<Address> {
        None
    }

    /// The call that moves the money.
    pub(crate) fn transfer_call(&self) -> (Address, Bytes) {
        let t = &self.authorization.transfer;
        let by_bytes = |signature: Bytes| Eip3009::transferWithAuthorization_1Call {
            from: t.from,
            to: t.to,
            value: t.value,
            validAfter: t.validAfter,
            validBefore: t.validBefore,
            nonce: t.nonce,
            signature,
        };
        let input = match &self.authorization.signature {
            Signature::Ecdsa { r, s, v } => Eip3009::transferWithAuthorization_0Call {
                from: t.from,
                to: t.to,
                value: t.value,
                validAfter: t.validAfter,
                validBefore: t.validBefore,
                nonce: t.nonce,
                v: *v,
                r: *r,
                s: *s,
            }
            .abi_encode(),
            Signature::Contract(bytes) => by_bytes(bytes.clone()).abi_encode(),
            Signature::Undeployed { inner, .. } => by_bytes(inner.clone()).abi_encode(),
        };
        (self.token, input.into())
    }

    /// The call that deploys the payer's wallet.
    pub(super) fn deployment(&self) -> Option<Multicall3::Call3> {
        match &self.authorization.signature {
            Signature::Undeployed { factory, data, .. } => {
                Some(Multicall3::Call3 { target: *factory, allowFailure: true, callData: data.clone() })
            }
            _ => None,
        }
    }

    /// The transaction's target and calldata: the transfer, after the wallet's deployment where it needs one.
    pub(crate) fn submission(&self, deployed: bool) -> (Address, Bytes) {
        let (target, data) = self.transfer_call();
        match self.deployment().filter(|_| !deployed) {
            None => (target, data),
            Some(deploy) => {
                let transfer = Multicall3::Call3 { target, allowFailure: false, callData: data };
                let calls = vec![deploy, transfer];
                (MULTICALL3, Multicall3::aggregate3Call { calls }.abi_encode().into())
            }
        }
    }

    /// The signature as the payer's contract takes it.
    pub(crate) fn wallet_signature(&self) -> Bytes {
        match &self.authorization.signature {
            Signature::Ecdsa { r, s, v } => [r.as_slice(), s.as_slice(), &[*v]].concat().into(),
            Signature::Contract(bytes) => bytes.clone(),
            Signature::Undeployed { inner, .. } => inner.clone(),
        }
    }

    /// Whether a mined transaction contains exactly this payment: the token's `AuthorizationUsed` of its nonce, and
    /// as the token's next log the `Transfer` of it. Anywhere else in the transaction it is another's.
    pub(crate) fn is_paid_by(&self, receipt: &Receipt) -> bool {
        let t = &self.authorization.transfer;
        let amount = B256::from(t.value);
        let used = [Eip3009::AuthorizationUsed::SIGNATURE_HASH, t.from.into_word(), t.nonce];
        let moved = [Eip3009::Transfer::SIGNATURE_HASH, t.from.into_word(), t.to.into_word()];
        let token: Vec<_> = receipt.logs.iter().filter(|log| log.address == self.token).collect();
        receipt.succeeded()
            && token.windows(2).any(|pair| match pair {
                [first, second] => {
                    first.data.topics() == used
                        && first.data.data.is_empty()
                        && second.data.topics() == moved
                        && second.data.data[..] == amount[..]
                }
                _ => false,
            })
    }
}
