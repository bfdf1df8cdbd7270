//! `erc20ApprovalGasSponsoring`: a signed transaction that approves Permit2, for anyone to send.

use alloy_consensus::transaction::SignerRecoverable as _;
use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::Decodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall as _;
use serde::{Deserialize, Serialize};
use tollway_protocol::door;
use tollway_protocol::json::Object;
use tollway_protocol::{Payment, Reason, Refusal};

use super::{APPROVAL_EXTENSION, VERSION, address, answer, number, unread};
use crate::abi::Eip2612::approveCall;
use crate::permit2::{PERMIT2, Permit};

/// The gas limit of the approvals that a payer of ours signs: the published SDK's.
pub const APPROVAL_GAS: u64 = 70_000;

/// The longest transaction that is read, in bytes: an approval has less than 200, without an access list.
const MAX_TRANSACTION: usize = 1_024;

/// What the extension says: a description, and the transaction's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Whose token.
    pub owner: Address,
    /// Which token.
    pub token: Address,
    /// Who is approved: good only when it is Permit2.
    pub spender: Address,
    /// Atomic units.
    pub amount: U256,
    /// The signed transaction, as it is sent.
    pub raw: Bytes,
}

/// An approval's transaction that was checked: it approves Permit2 of the payment's token and does nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalTransaction {
    /// Its hash.
    pub hash: B256,
    /// Who sends it, and pays for its gas: the payer.
    pub signer: Address,
    /// The sender's nonce: it must be the account's next one.
    pub nonce: u64,
    /// The gas it may use.
    pub gas_limit: u64,
    /// The most that it pays per gas, in wei.
    pub max_fee_per_gas: u128,
    /// The most of it that goes to the block's producer, in wei; for a legacy transaction the price.
    pub max_priority_fee_per_gas: u128,
    /// The bytes to send.
    pub raw: Bytes,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    from: String,
    asset: String,
    spender: String,
    amount: String,
    signed_transaction: String,
}

impl Approval {
    /// Reads the extension from a payment; `None` when the payer added nothing to what the seller declared.
    ///
    /// # Errors
    /// [`Reason::ApprovalForm`], naming the member.
    pub fn of(payment: &Payment) -> Result<Option<Self>, Refusal> {
        let Some(info) = answer::<Info>(payment, APPROVAL_EXTENSION, &Reason::ApprovalForm)? else {
            return Ok(None);
        };
        let wrong = |member, error: &dyn std::fmt::Display| {
            unread(payment, APPROVAL_EXTENSION, &Reason::ApprovalForm, member, error)
        };
        Ok(Some(Self {
            owner: address(&info.from).map_err(|e| wrong("from", &e))?,
            token: address(&info.asset).map_err(|e| wrong("asset", &e))?,
            spender: address(&info.spender).map_err(|e| wrong("spender", &e))?,
            amount: number(&info.amount).map_err(|e| wrong("amount", &e))?,
            raw: door::hex_bytes(&info.signed_transaction, MAX_TRANSACTION)
                .map_err(|e| wrong("signedTransaction", &e))?
                .into(),
        }))
    }

    /// Decodes the transaction and checks every field against the payment, as far as can be told without the chain:
    /// what is left are its nonce, its fees, and the payer's funds.
    ///
    /// # Errors
    /// The first field that is not as it must be, as one of the `Approval…` reasons.
    pub fn check(&self, permit: &Permit, chain_id: u64) -> Result<ApprovalTransaction, (Reason, String)> {
        self.check_description(permit)?;
        let mut bytes = &self.raw[..];
        let unreadable = |message: &str| (Reason::ApprovalUnreadable, message.to_owned());
        let transaction = TxEnvelope::decode_2718(&mut bytes)
            .map_err(|_| unreadable("the approval is no signed transaction"))?;
        if !bytes.is_empty() {
            return Err(unreadable("there are bytes after the approval's transaction"));
        }
        // The other kinds carry blobs or delegations: they would do something besides.
        if !matches!(transaction, TxEnvelope::Legacy(_) | TxEnvelope::Eip2930(_) | TxEnvelope::Eip1559(_)) {
            return Err(unreadable("the approval's transaction is of a kind that is not relayed"));
        }
        if transaction.chain_id() != Some(chain_id) {
            return Err(unreadable("the approval's transaction is not for this network"));
        }
        if !transaction.value().is_zero() {
            return Err(unreadable("the approval's transaction has a value"));
        }
        if transaction.to() != Some(permit.token) {
            return Err((
                Reason::ApprovalTarget,
                "the approval's transaction does not go to the asset".into(),
            ));
        }
        self.check_call(permit, transaction.input())?;
        let signer = transaction.recover_signer().map_err(|_| {
            (Reason::ApprovalSignature, "the approval's transaction has no good signature".to_owned())
        })?;
        if signer != permit.owner {
            return Err((
                Reason::ApprovalSigner,
                format!("the approval's transaction is signed by {signer}"),
            ));
        }
        Ok(ApprovalTransaction {
            hash: *transaction.tx_hash(),
            signer,
            nonce: transaction.nonce(),
            gas_limit: transaction.gas_limit(),
            max_fee_per_gas: transaction.max_fee_per_gas(),
            max_priority_fee_per_gas: transaction
                .max_priority_fee_per_gas()
                .unwrap_or_else(|| transaction.max_fee_per_gas()),
            raw: self.raw.clone(),
        })
    }

    fn check_description(&self, permit: &Permit) -> Result<(), (Reason, String)> {
        if self.owner != permit.owner {
            Err((Reason::ApprovalOwner, format!("the approval is {}'s", self.owner)))
        } else if self.token != permit.token {
            Err((Reason::ApprovalAsset, format!("the approval is of {}", self.token)))
        } else if self.spender != PERMIT2 {
            Err((Reason::ApprovalSpender, format!("the approval is for {}", self.spender)))
        } else {
            Ok(())
        }
    }

    fn check_call(&self, permit: &Permit, input: &[u8]) -> Result<(), (Reason, String)> {
        let calldata = |message: &str| (Reason::ApprovalCalldata, message.to_owned());
        if !input.starts_with(&approveCall::SELECTOR) {
            return Err((Reason::ApprovalSelector, "the transaction does not call approve".into()));
        }
        let call = approveCall::abi_decode_validate(input)
            .map_err(|_| calldata("approve's arguments can't be read"))?;
        if call.abi_encode() != input {
            return Err(calldata("there is more in the transaction's data than approve's arguments"));
        }
        if call.spender != PERMIT2 {
            return Err((Reason::ApprovalCallee, format!("the transaction approves {}", call.spender)));
        }
        if call.amount != self.amount {
            return Err(calldata("the transaction approves another amount than described"));
        }
        if call.amount < permit.amount {
            return Err(calldata("the transaction approves less than the payment permits"));
        }
        Ok(())
    }

    /// The extension's `info` with this approval.
    ///
    /// # Errors
    /// Never in practice: what serde says.
    pub fn info(&self) -> Result<Object, serde_json::Error> {
        let info = Object::of(&Info {
            from: self.owner.to_string(),
            asset: self.token.to_string(),
            spender: self.spender.to_string(),
            amount: self.amount.to_string(),
            signed_transaction: self.raw.to_string(),
        })?;
        Ok(info.with("version", VERSION))
    }
}
