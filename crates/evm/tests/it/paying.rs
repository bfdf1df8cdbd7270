//! Payments by Permit2 and delegations, and what else its tests do to the chain.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall as _;
use serde_json::json;
use tollway_devnet::evm::Mining;
use tollway_evm::ExactPayer;
use tollway_evm::abi::{Eip2612, Multicall3, Permit2};
use tollway_evm::permit2::{PERMIT2, Permit, Permit2Payment};
use tollway_protocol::bind::Bound;
use tollway_protocol::scheme::{Outcome, PayerScheme as _};
use tollway_protocol::{Offer, Payment};

use crate::common::{PRICE, ParseAddress as _, SELLER, Stack, bound, key, now, offer_of, payment, sign};

pub(crate) const STRANGER: Address = Address::repeat_byte(0x57);

pub(crate) fn by_permit2(asset: Address) -> Offer {
    let mut offer = offer_of(asset);
    offer.extra = offer.extra.with("assetTransferMethod", "permit2");
    offer
}

pub(crate) fn seller() -> Address {
    SELLER.to_lowercase().parse_address()
}

/// Mining by hand.
pub(crate) fn manual() -> Mining {
    Mining::Interval(Duration::from_secs(3600))
}

/// Lets Permit2 take what it likes of the owner's.
pub(crate) fn approve(stack: &Stack, token: Address, owner: Address) {
    let call = Eip2612::approveCall { spender: PERMIT2, amount: U256::MAX };
    stack.chain.call_for_good(owner, token, call.abi_encode()).unwrap();
}

impl Stack {
    /// Signs for the payer with Permit2.
    pub(crate) async fn permit(&self, nonce: u8) -> Bound {
        let offer = by_permit2(self.deployment.usdc);
        let signed = self.payer.sign(&offer, now(), [nonce; 32]).await.unwrap();
        bound(&self.facilitator, &offer, payment(&offer, signed.payload)).unwrap()
    }

    /// A payment of `PRICE` by Permit2, of another payer who has just that.
    pub(crate) async fn permit_by(&self, seed: u8) -> Bound {
        let payer = ExactPayer::new(key(seed));
        self.deployment.mint(payer.address(), U256::from(PRICE)).unwrap();
        approve(self, self.deployment.usdc, payer.address());
        let offer = by_permit2(self.deployment.usdc);
        let signed = payer.sign(&offer, now(), [seed; 32]).await.unwrap();
        bound(&self.facilitator, &offer, payment(&offer, signed.payload)).unwrap()
    }

    /// A stranger's transaction; mined at once or not, as the chain mines.
    pub(crate) fn submit(&self, from: Address, to: Address, data: &[u8]) -> B256 {
        self.deployment.fund(from);
        self.chain.request("anvil_impersonateAccount", &json!([from])).unwrap();
        let data = Bytes::copy_from_slice(data);
        let sent = json!([{"from": from, "to": to, "data": data, "gas": "0x1e8480"}]);
        let hash = self.chain.request("eth_sendTransaction", &sent).unwrap();
        serde_json::from_value(hash).unwrap()
    }

    /// The payer cancels the nonce of Permit2 that is all `nonce`s.
    pub(crate) fn cancel_permit(&self, nonce: u8) -> B256 {
        self.submit(self.payer.address(), PERMIT2, &cancelling(nonce))
    }

    /// As [`Stack::cancel_permit`], outside of any block.
    pub(crate) fn cancel_at_once(&self, nonce: u8) {
        self.chain.call_for_good(self.payer.address(), PERMIT2, cancelling(nonce)).unwrap();
    }
}

fn cancelling(nonce: u8) -> Vec<u8> {
    let (word, mask) = tollway_evm::permit2::nonce_word_and_bit(U256::from_be_bytes([nonce; 32]));
    Permit2::invalidateUnorderedNoncesCall { wordPos: word, mask }.abi_encode()
}

pub(crate) fn permit_of(payment: &Payment) -> Permit2Payment {
    Permit2Payment::decode(&payment.accepted, &payment.payload).unwrap()
}

/// What anyone can submit to make the payment.
pub(crate) fn settling(payment: &Payment) -> (Address, Bytes) {
    permit_of(payment).settle_call(None, payment.accepted.amount.get())
}

pub(crate) fn together(calls: Vec<(Address, Bytes)>) -> Vec<u8> {
    let call = |(target, data)| Multicall3::Call3 { target, allowFailure: true, callData: data };
    Multicall3::aggregate3Call { calls: calls.into_iter().map(call).collect() }.abi_encode()
}

/// A permit of `owner` for the offer.
pub(crate) fn permit_for(offer: &Offer, owner: Address, nonce: u8) -> Permit {
    Permit {
        owner,
        token: offer.asset.to_lowercase().parse_address(),
        amount: offer.amount.get(),
        nonce: U256::from_be_bytes([nonce; 32]),
        deadline: U256::from(now().0 + 299),
        to: seller(),
        valid_after: U256::from(now().0 - 60),
        facilitator: None,
    }
}

/// A payment of `permit`, signed with a key made from `seed`.
pub(crate) fn signed(offer: &Offer, permit: &Permit, seed: u8) -> Payment {
    let signature = sign(seed, permit.digest(84532));
    payment(offer, Permit2Payment::payload(permit, &signature).unwrap())
}

pub(crate) fn is_settled(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Settled { .. })
}

/// Settles in a process of its own, as far as a test can have one: all of its tasks end with it, after `lives`.
pub(crate) async fn in_a_process<F>(
    rpc: &str,
    ledger: &std::path::Path,
    lives: Duration,
    settle: impl FnOnce(tollway_evm::ExactFacilitator, Duration) -> F + Send + 'static,
) -> Outcome
where
    F: Future<Output = Outcome>,
{
    let (rpc, ledger) = (rpc.to_owned(), ledger.to_owned());
    let dies = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ledger = std::sync::Arc::new(tollway_ledger::SqliteLedger::open(&ledger).unwrap());
            let f = crate::common::facilitator(&rpc, ledger, key(9), |_| {});
            settle(f, lives).await
        })
    });
    dies.await.unwrap()
}
