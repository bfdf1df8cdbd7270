//! The chain: the real EVM, mined by hand, and what others than the facilitator do on it.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall as _, SolStruct as _, sol};
use serde_json::{Value, json};
use tokio::time::Instant;
use tollway_devnet::evm::{Chain, Deployment, Genesis, Mining};
use tollway_evm::abi::Eip3009;
use tollway_evm::exact::Domain;

use super::{CHAIN_ID, Evm};
use crate::evm::purse::Purse;
use crate::wish::Wish;
use crate::world::START;

sol! {
    struct CancelAuthorization { address authorizer; bytes32 nonce; }
    function cancelAuthorization(address authorizer, bytes32 nonce, uint8 v, bytes32 r, bytes32 s);
    function transfer(address to, uint256 value) returns (bool);
}

/// Who submits what isn't the facilitator's to submit, and refills drained payers.
pub const STRANGER: Address = Address::repeat_byte(0x5a);
/// What strangers bid for gas: more than the facilitator, so that they come first in a block.
const TIP: u64 = 5_000_000_000;
/// Blocks before the first action: no reorg reaches what was there from the beginning.
const FIRST: u64 = 8;

/// The chain.
pub struct Land {
    /// Itself.
    pub chain: Chain,
    /// What is deployed on it.
    pub deployment: Deployment,
    /// The token's EIP-712 domain.
    pub domain: Domain,
}

impl Land {
    /// A chain on which these accounts have gas and these payers have tokens.
    #[must_use]
    pub fn new(began: Instant, signers: &[Address], payers: &[(Address, u64)]) -> Self {
        let clock = move || START + began.elapsed().as_secs();
        let chain = Chain::builder().chain_id(CHAIN_ID).mining(Mining::Manual).clock(clock).build().unwrap();
        let deployment = Genesis::base_sepolia().deploy(&chain).unwrap();
        for account in signers.iter().chain([&STRANGER]) {
            deployment.fund(*account);
        }
        for (payer, tokens) in payers {
            deployment.fund(*payer);
            deployment.mint(*payer, U256::from(*tokens)).unwrap();
        }
        deployment.mint(STRANGER, U256::from(1_000_000_000u64)).unwrap();
        let domain = Domain::new("USDC", "2", CHAIN_ID, deployment.usdc);
        let land = Self { chain, deployment, domain };
        land.ask("anvil_autoImpersonateAccount", &json!([true]));
        (0..FIRST).for_each(|_| land.chain.mine());
        land
    }

    /// The answer to a request that the chain doesn't refuse.
    pub fn ask(&self, method: &str, params: &Value) -> Value {
        self.chain.request(method, params).unwrap()
    }

    fn send(&self, from: Address, data: Vec<u8>) -> bool {
        let fee = json!(U256::from(TIP.saturating_mul(400)));
        let sent = json!([{
            "from": from, "to": self.deployment.usdc, "data": Bytes::from(data), "gas": "0x493e0",
            "maxFeePerGas": fee, "maxPriorityFeePerGas": json!(U256::from(TIP)),
        }]);
        self.chain.request("eth_sendTransaction", &sent).is_ok()
    }

    /// Submits a payer's authorization, as anybody may.
    pub fn front_run(&self, wish: &Wish<Evm>) -> bool {
        let t = &wish.transfer;
        let call = Eip3009::transferWithAuthorization_0Call {
            from: t.from,
            to: t.to,
            value: t.value,
            validAfter: t.validAfter,
            validBefore: t.validBefore,
            nonce: t.nonce,
            v: wish.signed[64],
            r: B256::from_slice(&wish.signed[..32]),
            s: B256::from_slice(&wish.signed[32..64]),
        };
        self.send(STRANGER, call.abi_encode())
    }

    /// Cancels a payer's authorization.
    pub fn cancel(&self, purse: &Purse, nonce: B256) -> bool {
        let cancel = CancelAuthorization { authorizer: purse.address, nonce };
        let preimage =
            [&[0x19, 1][..], self.domain.0.as_slice(), cancel.eip712_hash_struct().as_slice()].concat();
        let signature = purse.sign(alloy_primitives::keccak256(preimage));
        let call = cancelAuthorizationCall {
            authorizer: purse.address,
            nonce,
            v: signature[64],
            r: B256::from_slice(&signature[..32]),
            s: B256::from_slice(&signature[32..64]),
        };
        self.send(STRANGER, call.abi_encode())
    }

    /// Moves tokens.
    pub fn pass(&self, from: Address, to: Address, value: U256) -> bool {
        self.send(from, transferCall { to, value }.abi_encode())
    }

    /// An account's tokens.
    pub fn tokens(&self, account: Address) -> U256 {
        let data = Bytes::from(Eip3009::balanceOfCall { account }.abi_encode());
        let call = json!([{ "to": self.deployment.usdc, "data": data }, "latest"]);
        serde_json::from_value(self.ask("eth_call", &call)).unwrap()
    }

    /// How many of an account's transactions are mined.
    pub fn nonce(&self, account: Address) -> u64 {
        let count = self.ask("eth_getTransactionCount", &json!([account, "latest"]));
        serde_json::from_value::<U256>(count).unwrap().to()
    }
}
