//! Payers, and the payments that they sign.

use alloy_primitives::{Address, B256, U256};
use tollway_evm::abi::TransferWithAuthorization;
use tollway_evm::exact::{Authorization, Domain};
use tollway_evm::keys::Key;
use tollway_protocol::door::Amount;
use tollway_protocol::json::Object;
use tollway_protocol::{Offer, Secret};

use super::{Evm, network};
use crate::wish::Wish;

/// Seconds for which a payment is good.
pub(super) const WINDOW: u64 = 60;

/// Two sellers; the second one is dearer.
pub const SELLERS: [(Address, u64); 2] =
    [(Address::repeat_byte(0xc1), 10_000), (Address::repeat_byte(0xc2), 25_000)];

/// A payer.
pub struct Purse {
    key: secp256k1::SecretKey,
    /// Its account.
    pub address: Address,
}

/// A key made from `seed`.
#[must_use]
pub(super) fn key(seed: u8) -> Key {
    Key::from_bytes(&Secret::new([seed; 32])).unwrap()
}

impl Purse {
    /// The payer number `seed`.
    #[must_use]
    pub fn new(seed: u8) -> Self {
        let secret = secp256k1::SecretKey::from_secret_bytes([seed; 32]).unwrap();
        Self { key: secret, address: key(seed).address() }
    }

    /// Signs a digest, as wallets do: r, s, v.
    #[must_use]
    pub fn sign(&self, digest: B256) -> Vec<u8> {
        let message = secp256k1::Message::from_digest(digest.0);
        let signature = secp256k1::ecdsa::RecoverableSignature::sign_ecdsa_recoverable(message, &self.key);
        let (id, compact) = signature.serialize_compact();
        let v = if id == secp256k1::ecdsa::RecoveryId::One { 28 } else { 27 };
        [&compact[..], &[v]].concat()
    }

    /// A payment to the seller at `place`, good from `now` on.
    #[must_use]
    pub fn wish(&self, domain: Domain, usdc: Address, place: usize, now: u64, nonce: B256) -> Wish<Evm> {
        let (to, price) = SELLERS[place];
        let transfer = TransferWithAuthorization {
            from: self.address,
            to,
            value: U256::from(price),
            validAfter: U256::from(now - 600),
            validBefore: U256::from(now + WINDOW),
            nonce,
        };
        let signature = self.sign(Authorization::digest(&transfer, domain));
        let offer = Offer {
            scheme: "exact".into(),
            network: network(),
            amount: Amount::from(price),
            asset: usdc.to_string(),
            pay_to: to.to_string(),
            max_timeout_seconds: WINDOW,
            extra: Object::new().with("name", "USDC").with("version", "2"),
            unknown: Object::new(),
        };
        Wish::new(transfer, signature, offer)
    }
}
