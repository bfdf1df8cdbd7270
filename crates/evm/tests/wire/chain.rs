//! What our payer signs executes on the chain, through Permit2 and the proxies, and does what its effects say.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolCall;
use serde_json::json;
use tollway_devnet::evm::{Chain, Deployment, Genesis, Mining, RpcError};
use tollway_evm::abi::{Eip2612, Permit2};
use tollway_evm::permit2::{
    Approval, PERMIT2, Permit2Payment, Permit2612, RpcReader, Sponsoring, declaration, reason_of_revert,
};
use tollway_evm::{ExactPayer, UptoPayer};
use tollway_protocol::door::UnixTime;
use tollway_protocol::json::Object;
use tollway_protocol::scheme::PayerScheme;
use tollway_protocol::{Network, Offer, Payment, Reason};

use crate::samples::{FACILITATOR, SELLER, exact, key, payment, upto};

struct World {
    chain: Chain,
    deployment: Deployment,
    server: tollway_devnet::evm::Server,
}

fn address(text: &str) -> Address {
    tollway_protocol::door::hex_array::<20>(text).unwrap().into()
}

impl World {
    async fn new() -> Self {
        let chain = Chain::builder().chain_id(84532).mining(Mining::Auto).build().unwrap();
        let deployment = Genesis::base_sepolia().deploy(&chain).unwrap();
        deployment.mint(key().address(), U256::from(1_000_000)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = tollway_devnet::evm::serve(chain.clone(), listener).unwrap();
        Self { chain, deployment, server }
    }

    fn now(&self) -> UnixTime {
        let block = self.chain.request("eth_getBlockByNumber", &json!(["latest", false])).unwrap();
        let time: alloy_primitives::U64 = serde_json::from_value(block["timestamp"].clone()).unwrap();
        UnixTime(time.to())
    }

    fn read<C: SolCall<Return = U256>>(&self, to: Address, call: &C) -> U256 {
        let data = Bytes::from(call.abi_encode());
        let out = self.chain.request("eth_call", &json!([{"to": to, "data": data}, "latest"])).unwrap();
        let bytes: Bytes = serde_json::from_value(out).unwrap();
        C::abi_decode_returns(&bytes).unwrap()
    }

    fn allowance(&self) -> U256 {
        let call = Eip2612::allowanceCall { owner: key().address(), spender: PERMIT2 };
        self.read(self.deployment.usdc, &call)
    }

    fn paid(&self) -> U256 {
        let call = tollway_evm::abi::Eip3009::balanceOfCall { account: address(SELLER) };
        self.read(self.deployment.usdc, &call)
    }

    fn approve(&self) {
        let call = Eip2612::approveCall { spender: PERMIT2, amount: U256::MAX }.abi_encode();
        self.chain.call_for_good(key().address(), self.deployment.usdc, call).unwrap();
    }

    /// What the payer sends for `offer`, with every extension declared.
    async fn pay(&self, offer: &Offer, unlimited: bool) -> (Permit2Payment, Payment) {
        let url = url::Url::parse(&self.server.url()).unwrap();
        let reader = RpcReader::new([(Network::eip155(84532), url)]).unwrap();
        let mut sponsoring = Sponsoring::new(Arc::new(reader));
        if unlimited {
            sponsoring = sponsoring.allow_unlimited_approvals(u128::MAX);
        }
        let payer: Box<dyn PayerScheme> = match offer.scheme.as_str() {
            "upto" => Box::new(UptoPayer::new(key()).sponsored(sponsoring)),
            _ => Box::new(ExactPayer::new(key()).sponsored(sponsoring)),
        };
        let keys: &[&str] =
            if unlimited { &["erc20ApprovalGasSponsoring"] } else { &["eip2612GasSponsoring"] };
        let advertised =
            Object(keys.iter().map(|key| ((*key).to_owned(), declaration(key).unwrap())).collect());
        let signed = payer.sign(offer, self.now(), rand_bytes()).await.unwrap();
        let added = payer.extend(offer, &signed, &advertised).await.unwrap();
        let extensions = added.0.into_iter().map(|(key, info)| (key, json!({ "info": info }))).collect();
        let payment = Payment { extensions: Object(extensions), ..payment(offer, signed.payload) };
        (Permit2Payment::decode(offer, &payment.payload).unwrap(), payment)
    }

    /// Executes the payment as the facilitator.
    fn settle(
        &self,
        payment: &Permit2Payment,
        sponsor: Option<&Permit2612>,
        amount: u64,
    ) -> Result<(), RpcError> {
        let (to, data) = payment.settle_call(sponsor, U256::from(amount));
        self.chain.call_for_good(address(FACILITATOR), to, data).map(drop)
    }
}

/// Nonces of one test must differ, and nothing else depends on them.
fn rand_bytes() -> [u8; 32] {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(1);
    [NEXT.fetch_add(1, Ordering::SeqCst); 32]
}

fn reason(refused: Result<(), RpcError>) -> Option<Reason> {
    let data = refused.unwrap_err().data.unwrap();
    let bytes: Bytes = serde_json::from_value(json!(data)).unwrap();
    reason_of_revert(&bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_allowance_the_payment_moves_what_was_signed_and_once() {
    let world = World::new().await;
    world.approve();
    let (payment, sent) = world.pay(&exact(), false).await;
    assert_eq!(Permit2612::of(&sent), Ok(None), "nothing is signed that isn't needed");
    world.settle(&payment, None, 0).unwrap();
    assert_eq!(world.paid(), U256::from(10_000), "exact moves all of it, whatever amount is named");
    let (word, bit) = payment.permit.nonce_word_and_bit();
    let bitmap = Permit2::nonceBitmapCall { owner: key().address(), word };
    assert_eq!(world.read(PERMIT2, &bitmap) & bit, bit);
    assert_eq!(reason(world.settle(&payment, None, 0)), Some(Reason::AlreadyUsed));
}

#[tokio::test(flavor = "multi_thread")]
async fn upto_moves_what_is_charged_and_its_nonce_is_the_one_of_exact() {
    let world = World::new().await;
    world.approve();
    let (payment, _) = world.pay(&upto(), false).await;
    assert_eq!(reason(world.settle(&payment, None, 10_001)), Some(Reason::ExceedsPermitted));
    assert_eq!(reason(world.settle(&payment, None, 0)), Some(Reason::AmountMismatch));
    let (to, data) = payment.settle_call(None, U256::ONE);
    let stranger = world.chain.call_for_good(address(SELLER), to, data).map(drop);
    assert_eq!(reason(stranger), Some(Reason::FacilitatorMismatch));
    world.settle(&payment, None, 1_858).unwrap();
    assert_eq!(world.paid(), U256::from(1_858));
    assert_eq!(reason(world.settle(&payment, None, 1)), Some(Reason::AlreadyUsed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sponsored_permit_leaves_no_allowance_behind() {
    let world = World::new().await;
    for offer in [exact(), upto()] {
        let before = world.paid();
        let (payment, sent) = world.pay(&offer, false).await;
        assert!(world.settle(&payment, None, 10_000).is_err(), "Permit2 has no allowance");
        let permit = Permit2612::of(&sent).unwrap().unwrap();
        permit.check(&payment.permit, world.now()).unwrap();
        world.settle(&payment, Some(&permit), 10_000).unwrap();
        assert_eq!(world.paid() - before, U256::from(10_000));
        assert_eq!(world.allowance(), U256::ZERO);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_for_another_amount_is_refused_by_the_proxy() {
    let world = World::new().await;
    let (payment, sent) = world.pay(&exact(), false).await;
    let permit = Permit2612::of(&sent).unwrap().unwrap();
    let more = Permit2612 { value: U256::MAX, ..permit };
    assert_eq!(reason(world.settle(&payment, Some(&more), 10_000)), Some(Reason::PermitAmount));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_a_transaction_that_anyone_may_send() {
    let world = World::new().await;
    world.deployment.fund(key().address());
    let (payment, sent) = world.pay(&exact(), true).await;
    let approval = Approval::of(&sent).unwrap().unwrap().check(&payment.permit, 84532).unwrap();
    let hash = world.chain.request("eth_sendRawTransaction", &json!([approval.raw])).unwrap();
    assert_eq!(hash, json!(approval.hash));
    assert_eq!(world.allowance(), U256::MAX);
    world.settle(&payment, None, 10_000).unwrap();
    assert_eq!(world.paid(), U256::from(10_000));
    let (_, sent) = world.pay(&exact(), true).await;
    assert_eq!(Approval::of(&sent), Ok(None), "once is enough");
}
