//! Payments signed beforehand, as requests ready to be sent.

use alloy_primitives::{Address, B256, U256, address, hex, keccak256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::{Eip712Domain, SolStruct as _, eip712_domain, sol};
use anyhow::Result;
use serde_json::json;

use crate::http;

pub const NETWORK: &str = "eip155:84532";
pub const USDC: Address = address!("0x036CbD53842c5426634e7929541eC2318f3dCF7e");
pub const PRICE: u64 = 10_000;

const WINDOW: u64 = 7_200;

sol! {
    struct TransferWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }
}

/// What is the matter with a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Its time has passed.
    Expired,
    /// It pays someone else.
    Recipient,
    /// It pays less.
    Amount,
}

/// The one payer.
pub struct Payer {
    key: PrivateKeySigner,
    domain: Eip712Domain,
    started: u64,
    signed: u64,
}

impl Payer {
    pub fn new(key: PrivateKeySigner, now: u64) -> Self {
        let domain = eip712_domain! {
            name: "USDC", version: "2", chain_id: 84532, verifying_contract: USDC,
        };
        Self { key, domain, started: now, signed: 0 }
    }

    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// Requests to `path`, each with a payment of its own for the same offer.
    pub fn requests(
        &mut self,
        path: &str,
        pay_to: Address,
        count: usize,
        fault: Fault,
    ) -> Result<Vec<Vec<u8>>> {
        (0..count).map(|_| self.request(path, pay_to, fault)).collect()
    }

    fn request(&mut self, path: &str, pay_to: Address, fault: Fault) -> Result<Vec<u8>> {
        self.signed += 1;
        let expired = fault == Fault::Expired;
        let transfer = TransferWithAuthorization {
            from: self.address(),
            to: if fault == Fault::Recipient { self.address() } else { pay_to },
            value: U256::from(if fault == Fault::Amount { PRICE - 1 } else { PRICE }),
            validAfter: U256::from(self.started - 600),
            validBefore: U256::from(if expired { self.started - 60 } else { self.started + WINDOW }),
            nonce: nonce(self.started, self.signed),
        };
        let digest = transfer.eip712_signing_hash(&self.domain);
        let signature = self.key.sign_hash_sync(&digest)?;
        let offer = json!({
            "scheme": "exact",
            "network": NETWORK,
            "amount": PRICE.to_string(),
            "asset": USDC.to_string(),
            "payTo": pay_to.to_string(),
            "maxTimeoutSeconds": WINDOW,
            "extra": { "name": "USDC", "version": "2" },
        });
        let body = json!({
            "x402Version": 2,
            "paymentPayload": {
                "x402Version": 2,
                "resource": {
                    "url": "https://shop.example/weather",
                    "description": "The weather",
                    "mimeType": "application/json",
                },
                "accepted": offer,
                "payload": {
                    "signature": hex::encode_prefixed(signature.as_bytes()),
                    "authorization": {
                        "from": transfer.from.to_string(),
                        "to": transfer.to.to_string(),
                        "value": transfer.value.to_string(),
                        "validAfter": transfer.validAfter.to_string(),
                        "validBefore": transfer.validBefore.to_string(),
                        "nonce": transfer.nonce.to_string(),
                    },
                },
            },
            "paymentRequirements": offer,
        });
        Ok(http::request(path, body.to_string().as_bytes()))
    }
}

fn nonce(seed: u64, count: u64) -> B256 {
    keccak256([seed.to_be_bytes(), count.to_be_bytes()].concat())
}
