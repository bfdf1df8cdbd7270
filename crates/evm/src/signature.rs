//! The forms that a payer's signature takes on EVM chains.

use alloy_primitives::{Address, B256, Bytes, U256, b256};
use alloy_sol_types::SolValue as _;

use crate::abi::Erc6492;

/// The longest signature that is read, in bytes: an undeployed wallet's carries its creation code.
pub const MAX_SIGNATURE: usize = 8 * 1024;

const ERC6492_SUFFIX: B256 = b256!("6492649264926492649264926492649264926492649264926492649264926492");

/// Half the order of secp256k1: an `s` above it is the other form of the same signature.
const HALF_ORDER: U256 = U256::from_limbs([
    0xdfe9_2f46_681b_20a0,
    0x5d57_6e73_57a4_501d,
    0xffff_ffff_ffff_ffff,
    0x7fff_ffff_ffff_ffff,
]);

/// A signature by its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// 65 bytes, normalised: `v` is 27 or 28 and `s` is low.
    Ecdsa {
        /// r.
        r: B256,
        /// s.
        s: B256,
        /// 27 or 28.
        v: u8,
    },
    /// Whatever a deployed contract wallet takes (ERC-1271).
    Contract(Bytes),
    /// A wallet that is not deployed yet (ERC-6492).
    Undeployed {
        /// Who deploys it.
        factory: Address,
        /// How.
        data: Bytes,
        /// What the wallet takes once it is there.
        inner: Bytes,
    },
}

/// The bytes have no form that could be a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No bytes.
    #[error("the signature is empty")]
    Empty,
    /// 65 bytes whose last is none of 0, 1, 27, 28.
    #[error("the signature's v is {0}, expected 0, 1, 27 or 28")]
    V(u8),
    /// `s` in the upper half, or `r` or `s` zero.
    #[error("the signature's s is not in the lower half of the curve's order")]
    HighS,
    /// Marked as ERC-6492, but not its encoding.
    #[error("the signature ends as ERC-6492 does but is not encoded so")]
    Erc6492,
}

impl Signature {
    /// Reads a signature's form.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn new(bytes: &[u8]) -> Result<Self, SignatureError> {
        if let Some(wrapped) = bytes.strip_suffix(ERC6492_SUFFIX.as_slice()) {
            let parts = Erc6492::abi_decode_params(wrapped).map_err(|_| SignatureError::Erc6492)?;
            return Ok(Self::Undeployed { factory: parts.factory, data: parts.data, inner: parts.signature });
        }
        match bytes {
            [] => Err(SignatureError::Empty),
            [rs @ .., v] if rs.len() == 64 => {
                let (r, s) = rs.split_at(32);
                let (r, s) = (B256::from_slice(r), B256::from_slice(s));
                let v = match v {
                    0 | 1 => v + 27,
                    27 | 28 => *v,
                    other => return Err(SignatureError::V(*other)),
                };
                let number = U256::from_be_bytes(s.0);
                if number > HALF_ORDER || number.is_zero() || r.is_zero() {
                    return Err(SignatureError::HighS);
                }
                Ok(Self::Ecdsa { r, s, v })
            }
            other => Ok(Self::Contract(Bytes::copy_from_slice(other))),
        }
    }

    /// The bytes that a contract takes: 65 normalised ones, or the wallet's own without ERC-6492's wrapping.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Ecdsa { r, s, v } => [r.as_slice(), s.as_slice(), &[*v]].concat().into(),
            Self::Contract(bytes) => bytes.clone(),
            Self::Undeployed { inner, .. } => inner.clone(),
        }
    }

    /// The account whose key made this signature of `digest`, for a 65-byte one.
    #[cfg(feature = "facilitator")]
    #[must_use]
    pub fn recover(&self, digest: &B256) -> Option<Address> {
        use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
        let Self::Ecdsa { r, s, v } = self else { return None };
        let id = if *v == 28 { RecoveryId::One } else { RecoveryId::Zero };
        let mut compact = [0u8; 64];
        let (left, right) = compact.split_at_mut(32);
        left.copy_from_slice(r.as_slice());
        right.copy_from_slice(s.as_slice());
        let signature = RecoverableSignature::from_compact(&compact, id).ok()?;
        let key = signature.recover_ecdsa(secp256k1::Message::from_digest(digest.0)).ok()?;
        let [_, point @ ..] = key.serialize_uncompressed();
        Some(Address::from_raw_public_key(&point))
    }
}
