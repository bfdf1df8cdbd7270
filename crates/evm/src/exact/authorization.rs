//! The payload: what is on the wire, what it means, and what it would do.

use std::borrow::Cow;

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{SolStruct as _, SolValue as _};
use serde::{Deserialize, Serialize};
use tollway_protocol::assets::Asset;
use tollway_protocol::bind::{Effects, Move, PaymentKey, Presented, Window};
use tollway_protocol::door::{self, Amount, DoorError};
use tollway_protocol::json::Object;
use tollway_protocol::{Dialect, Network, Reason, Refusal};

use crate::abi::TransferWithAuthorization;
use crate::exact::SCHEME;
use crate::signature::{MAX_SIGNATURE, Signature};

/// The name of this transfer method in an offer's `extra.assetTransferMethod`.
pub(crate) const METHOD: &str = "eip3009";

/// A contract's EIP-712 domain separator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Domain(pub B256);

impl Domain {
    /// The domain of a token named `name`, `version` at `contract` on the chain `chain_id`.
    #[must_use]
    pub fn new(name: &str, version: &str, chain_id: u64, contract: Address) -> Self {
        let kind =
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        let fields = (kind, keccak256(name), keccak256(version), U256::from(chain_id), contract).abi_encode();
        Self(keccak256(fields))
    }

    /// The domain of a known asset.
    #[must_use]
    pub fn of(asset: &Asset) -> Option<Self> {
        let (name, version) = asset.domain.as_ref()?;
        let contract = door::hex_array::<20>(&asset.address).ok()?;
        Some(Self::new(name, version, asset.network.chain_id()?, contract.into()))
    }
}

/// A signed `transferWithAuthorization`, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// What was signed.
    pub transfer: TransferWithAuthorization,
    /// The payer's signature of it.
    pub signature: Signature,
}

#[derive(Serialize, Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    signature: Cow<'a, str>,
    #[serde(borrow)]
    authorization: Fields<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    from: Cow<'a, str>,
    #[serde(borrow)]
    to: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
    #[serde(borrow)]
    valid_after: Cow<'a, str>,
    #[serde(borrow)]
    valid_before: Cow<'a, str>,
    #[serde(borrow)]
    nonce: Cow<'a, str>,
}

impl Authorization {
    /// Reads a payment's payload.
    ///
    /// # Errors
    /// [`Reason::InvalidPayload`] or [`Reason::SignatureForm`], naming the member.
    pub fn decode(payload: &Object) -> Result<Self, Refusal> {
        let refuse = |reason, message: String| Refusal::new(reason, message).dialect(Dialect::ExactEvm);
        let invalid = |member: &str, error: &dyn std::fmt::Display| {
            refuse(Reason::InvalidPayload, format!("payload.{member}: {error}"))
        };
        if payload.get("permit2Authorization").is_some() {
            return Err(refuse(
                Reason::TransferNotSupported,
                "payload is for transfer method permit2; eip3009 is served".into(),
            ));
        }
        let Payload { signature, authorization: fields } =
            payload.read().map_err(|error| refuse(Reason::InvalidPayload, format!("payload: {error}")))?;
        let number = |member: &str, text: &str| {
            door::decimal_u256(text).map_err(|e| invalid(&format!("authorization.{member}"), &e))
        };
        let address = |member: &str, text: &str| -> Result<Address, Refusal> {
            let bytes = door::hex_array::<20>(text);
            bytes.map(Into::into).map_err(|e: DoorError| invalid(&format!("authorization.{member}"), &e))
        };
        let transfer = TransferWithAuthorization {
            from: address("from", &fields.from)?,
            to: address("to", &fields.to)?,
            value: number("value", &fields.value)?,
            validAfter: number("validAfter", &fields.valid_after)?,
            validBefore: number("validBefore", &fields.valid_before)?,
            nonce: door::hex_array::<32>(&fields.nonce)
                .map_err(|e| invalid("authorization.nonce", &e))?
                .into(),
        };
        let bytes = door::hex_bytes(&signature, MAX_SIGNATURE).map_err(|e| invalid("signature", &e))?;
        let signature = Signature::new(&bytes).map_err(|error| {
            refuse(Reason::SignatureForm, format!("payload.signature: {error}"))
                .payer(&transfer.from.to_string().to_lowercase())
        })?;
        Ok(Self { transfer, signature })
    }

    /// The payload for a signature of `transfer`.
    ///
    /// # Errors
    /// Never in practice: what serde says.
    pub fn payload(
        transfer: &TransferWithAuthorization,
        signature: &[u8],
    ) -> Result<Object, serde_json::Error> {
        Object::of(&Payload {
            signature: alloy_primitives::hex::encode_prefixed(signature).into(),
            authorization: Fields {
                from: transfer.from.to_string().into(),
                to: transfer.to.to_string().into(),
                value: transfer.value.to_string().into(),
                valid_after: transfer.validAfter.to_string().into(),
                valid_before: transfer.validBefore.to_string().into(),
                nonce: transfer.nonce.to_string().into(),
            },
        })
    }

    /// The digest that the payer signed, in a token's domain.
    #[must_use]
    pub fn digest(transfer: &TransferWithAuthorization, domain: Domain) -> B256 {
        let mut preimage = [0u8; 66];
        preimage[..2].copy_from_slice(b"\x19\x01");
        preimage[2..34].copy_from_slice(domain.0.as_slice());
        preimage[34..].copy_from_slice(transfer.eip712_hash_struct().as_slice());
        keccak256(preimage)
    }

    /// What the payment presented would do, if its signature is good.
    ///
    /// # Errors
    /// As [`Authorization::decode`]; [`Reason::TransferNotSupported`] for another transfer method.
    pub fn effects(presented: &Presented) -> Result<(Self, Effects), Refusal> {
        let offer = presented.offer();
        crate::exact::same_method(offer, METHOD)?;
        let this = Self::decode(&presented.payment().payload)?;
        let effects = effects(&this.transfer, &offer.network, &offer.asset)
            .map_err(|error| Refusal::new(Reason::InvalidOffer, error.to_string()))?;
        Ok((this, effects))
    }
}

/// The effects of `transfer` on the token `asset`.
pub(crate) fn effects(
    transfer: &TransferWithAuthorization,
    network: &Network,
    asset: &str,
) -> Result<Effects, DoorError> {
    let canonical = |address: Address| door::Address::evm(address.into_array());
    let (payer, asset) = (canonical(transfer.from), door::Address::on(network, asset)?);
    let seconds = crate::exact::seconds;
    let nonce = transfer.nonce.to_string();
    Ok(Effects {
        scheme: SCHEME.to_owned(),
        network: network.clone(),
        key: PaymentKey::new(network, &[asset.as_str(), payer.as_str(), &nonce]),
        moves: vec![Move {
            asset,
            from: payer.clone(),
            to: canonical(transfer.to),
            amount: Amount::from(transfer.value),
        }],
        window: Window { opens: seconds(transfer.validAfter), closes: seconds(transfer.validBefore) },
        payer,
    })
}
