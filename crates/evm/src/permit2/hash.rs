//! EIP-712 hashes, with the hashes of the types made once.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, FixedBytesSliceExt as _, U256, keccak256};

use super::{PERMIT2, Permit};
use crate::exact::Domain;

const TOKEN_PERMISSIONS: &str = "TokenPermissions(address token,uint256 amount)";
const EXACT_WITNESS: &str = "Witness(address to,uint256 validAfter)";
const UPTO_WITNESS: &str = "Witness(address to,address facilitator,uint256 validAfter)";
const PERMIT: &str = "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)";
const PERMIT_2612: &str =
    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)";
const DOMAIN: &str = "EIP712Domain(string name,uint256 chainId,address verifyingContract)";

struct Types {
    domain: B256,
    name: B256,
    token: B256,
    permit: B256,
    witness: B256,
    upto_permit: B256,
    upto_witness: B256,
    permit_2612: B256,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| Types {
    domain: keccak256(DOMAIN),
    name: keccak256("Permit2"),
    token: keccak256(TOKEN_PERMISSIONS),
    permit: keccak256([PERMIT, TOKEN_PERMISSIONS, EXACT_WITNESS].concat()),
    witness: keccak256(EXACT_WITNESS),
    upto_permit: keccak256([PERMIT, TOKEN_PERMISSIONS, UPTO_WITNESS].concat()),
    upto_witness: keccak256(UPTO_WITNESS),
    permit_2612: keccak256(PERMIT_2612),
});

fn words<const N: usize>(words: [B256; N]) -> B256 {
    keccak256(words.as_flattened())
}

trait Word {
    fn word(self) -> B256;
}

impl Word for U256 {
    fn word(self) -> B256 {
        self.to_be_bytes::<32>().into()
    }
}

impl Word for Address {
    fn word(self) -> B256 {
        self.into_word()
    }
}

/// Permit2's EIP-712 domain on the chain `chain_id`: it has no version.
#[must_use]
pub fn domain(chain_id: u64) -> Domain {
    Domain(words([TYPES.domain, TYPES.name, U256::from(chain_id).word(), PERMIT2.word()]))
}

/// The struct hash of `permit`.
pub(super) fn permit(permit: &Permit) -> B256 {
    let (kind, witness) = match permit.facilitator {
        None => (TYPES.permit, words([TYPES.witness, permit.to.word(), permit.valid_after.word()])),
        Some(facilitator) => (
            TYPES.upto_permit,
            words([TYPES.upto_witness, permit.to.word(), facilitator.word(), permit.valid_after.word()]),
        ),
    };
    let permitted = words([TYPES.token, permit.token.word(), permit.amount.word()]);
    let (nonce, deadline) = (permit.nonce.word(), permit.deadline.word());
    words([kind, permitted, permit.spender().word(), nonce, deadline, witness])
}

/// What is signed of a struct, in a domain.
pub(super) fn digest(domain: Domain, structure: B256) -> B256 {
    let mut preimage = [0u8; 66];
    preimage[..2].copy_from_slice(b"\x19\x01");
    preimage[2..34].copy_from_slice(domain.0.as_slice());
    preimage[34..].copy_from_slice(structure.as_slice());
    keccak256(preimage)
}

/// The digest of an EIP-2612 permit for Permit2, in the token's domain.
#[must_use]
pub fn permit2612_digest(domain: Domain, owner: Address, value: U256, nonce: U256, deadline: U256) -> B256 {
    let fields =
        [TYPES.permit_2612, owner.word(), PERMIT2.word(), value.word(), nonce.word(), deadline.word()];
    digest(domain, words(fields))
}
