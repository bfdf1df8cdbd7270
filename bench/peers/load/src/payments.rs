//! Payments signed beforehand, as requests ready to be sent.

use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, B256, U256, address, hex, keccak256};
use alloy_sol_types::{SolStruct as _, eip712_domain, sol};
use anyhow::{Result, ensure};
use secp256k1::ecdsa::RecoverableSignature;
use secp256k1::{Message, SecretKey};
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

/// A key and the account that it is for.
#[derive(Clone, Copy)]
pub struct Account {
    key: SecretKey,
    pub address: Address,
}

impl Account {
    /// One that nobody had before: from the time and a number.
    pub fn fresh(seed: B256, number: u64) -> Result<Self> {
        let key = keccak256([seed.as_slice(), &number.to_be_bytes()].concat());
        let key = SecretKey::from_secret_bytes(key.0)?;
        let [_, point @ ..] = key.public_key().serialize_uncompressed();
        Ok(Self { key, address: Address::from_raw_public_key(&point) })
    }

    pub fn hex(&self) -> String {
        hex::encode_prefixed(self.key.to_secret_bytes())
    }
}

/// A request that pays.
pub struct Payment {
    pub from: Address,
    /// The whole of it, as it goes over the wire.
    pub request: Vec<u8>,
    /// Where the body begins.
    body: usize,
    /// What a transaction would need to carry it: `transferWithAuthorization`'s arguments.
    pub call: Vec<u8>,
}

impl Payment {
    pub fn body(&self) -> &[u8] {
        &self.request[self.body..]
    }
}

/// Distinct accounts, that take turns.
pub struct Payers {
    accounts: Vec<Account>,
    /// How many of them have money.
    funded: usize,
    domain: B256,
    seed: B256,
    started: u64,
    signed: u64,
}

impl Payers {
    pub fn new(count: usize, seed: B256) -> Result<Self> {
        let domain = eip712_domain! {
            name: "USDC", version: "2", chain_id: 84532, verifying_contract: USDC,
        };
        let accounts = (0..count as u64).map(|number| Account::fresh(seed, number)).collect::<Result<_>>()?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        Ok(Self { accounts, funded: 0, domain: domain.separator(), seed, started, signed: 0 })
    }

    /// The accounts to give money to, so that `count` have some.
    pub fn fund(&mut self, count: usize) -> Vec<Address> {
        let count = count.min(self.accounts.len());
        let next = self.accounts.get(self.funded..count).unwrap_or_default();
        self.funded = self.funded.max(count);
        next.iter().map(|account| account.address).collect()
    }

    /// Requests to `path`, each with a payment of its own for the same offer, from accounts in turn.
    pub fn requests(
        &mut self,
        path: &str,
        pay_to: Address,
        count: usize,
        fault: Fault,
    ) -> Result<Vec<Payment>> {
        ensure!(self.funded > 0, "nobody has money");
        let first = self.signed;
        self.signed += count as u64;
        let (this, last) = (&*self, self.signed);
        let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let part = (count as u64).div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            let parts: Vec<_> = (0..threads)
                .map(|thread| {
                    let from = (first + thread * part).min(last);
                    let to = (from + part).min(last);
                    scope.spawn(move || {
                        (from..to).map(|number| this.request(path, pay_to, number, fault)).collect::<Vec<_>>()
                    })
                })
                .collect();
            Ok(parts.into_iter().flat_map(|part| part.join().unwrap()).collect())
        })
    }

    fn request(&self, path: &str, pay_to: Address, number: u64, fault: Fault) -> Payment {
        let account = &self.accounts[number as usize % self.funded];
        let expired = fault == Fault::Expired;
        let transfer = TransferWithAuthorization {
            from: account.address,
            to: if fault == Fault::Recipient { account.address } else { pay_to },
            value: U256::from(if fault == Fault::Amount { PRICE - 1 } else { PRICE }),
            validAfter: U256::from(self.started - 600),
            validBefore: U256::from(if expired { self.started - 60 } else { self.started + WINDOW }),
            nonce: keccak256([self.seed.as_slice(), b"nonce", &number.to_be_bytes()].concat()),
        };
        let signature = self.sign(account, &transfer);
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
                    "signature": hex::encode_prefixed(signature),
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
        let body = body.to_string();
        let request = http::request(path, body.as_bytes());
        let call = call(&transfer, &signature);
        Payment { from: account.address, body: request.len() - body.len(), request, call }
    }

    fn sign(&self, account: &Account, transfer: &TransferWithAuthorization) -> [u8; 65] {
        let digest = keccak256(
            [[0x19, 0x01].as_slice(), self.domain.as_slice(), transfer.eip712_hash_struct().as_slice()]
                .concat(),
        );
        let signature =
            RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(digest.0), &account.key);
        let (id, rs) = signature.serialize_compact();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&rs);
        bytes[64] = 27 + id.to_u8();
        bytes
    }
}

/// `transferWithAuthorization(…, v, r, s)`, the form that anyone may submit.
fn call(transfer: &TransferWithAuthorization, signature: &[u8; 65]) -> Vec<u8> {
    let name =
        "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)";
    let words = [
        transfer.from.into_word(),
        transfer.to.into_word(),
        transfer.value.into(),
        transfer.validAfter.into(),
        transfer.validBefore.into(),
        transfer.nonce,
        U256::from(signature[64]).into(),
        B256::from_slice(&signature[..32]),
        B256::from_slice(&signature[32..64]),
    ];
    words.iter().fold(keccak256(name)[..4].to_vec(), |mut bytes, word| {
        bytes.extend_from_slice(word.as_slice());
        bytes
    })
}
