//! `exact` by Permit2, through the proxy.

use std::sync::atomic::Ordering;
use std::time::Duration;

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolCall as _;
use tollway_devnet::artefacts;
use tollway_devnet::evm::Mining;
use tollway_evm::abi::MULTICALL3;
use tollway_evm::permit2::{EXACT_PROXY, PERMIT2, Permit};
use tollway_ledger::Journal as _;
use tollway_protocol::Reason;
use tollway_protocol::assets::Asset;
use tollway_protocol::door::Amount;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome};

use crate::common::{
    PRICE, Stack, bound, cancellation, key, network, offer_of, payment, reason_of, sign, verify,
};
use crate::paying::{
    STRANGER, approve, by_permit2, is_settled, manual, permit_for, seller, settling, signed, together,
};

alloy_sol_types::sol! {
    function execute(address to, bytes input) external;
    function behave(uint8 mood, uint256 until) external;
    function divert(address to, bool lie) external;
    function mint(address to, uint256 amount) external;
}

async fn stack() -> Stack {
    let stack = Stack::new().await;
    approve(&stack, stack.deployment.usdc, stack.payer.address());
    stack
}

#[tokio::test]
async fn a_payment_by_permit2_settles_and_its_verification_is_one_round_trip() {
    let stack = stack().await;
    let first = stack.permit(2).await;
    verify(&stack.facilitator, first.offer(), first.payment().clone()).await.unwrap();
    let paid = stack.permit(1).await;
    let trips = stack.facilitator.chain().rpc_trips();
    let verdict = verify(&stack.facilitator, paid.offer(), paid.payment().clone()).await;
    assert_eq!((verdict, stack.facilitator.chain().rpc_trips() - trips), (Ok(()), 1));
    let outcome = stack.settle(paid.clone()).await;
    assert_eq!(outcome, Outcome::Settled { transaction: stack.transfers()[0].to_string() });
    assert_eq!(stack.seller_balance(), PRICE);
    assert_eq!(stack.settle(paid).await, outcome, "fa01: the first answer");
    assert_eq!((stack.transfers().len(), stack.transactions_of_signer()), (1, 1));
}

#[tokio::test]
async fn each_flaw_has_its_own_reason() {
    let stack = stack().await;
    let (f, offer) = (&stack.facilitator, by_permit2(stack.deployment.usdc));
    let judge = |payment| verify(f, &offer, payment);
    let owner = stack.payer.address();
    let good = permit_for(&offer, owner, 1);
    assert_eq!(judge(signed(&offer, &good, 7)).await, Ok(()));
    assert_eq!(judge(signed(&offer, &good, 8)).await, Err(Reason::BadSignature), "another's key");

    let to = Permit { to: Address::repeat_byte(9), ..good.clone() };
    assert_eq!(judge(signed(&offer, &to, 7)).await, Err(Reason::RecipientMismatch));
    let more = Permit { amount: good.amount + U256::ONE, ..good.clone() };
    assert_eq!(judge(signed(&offer, &more, 7)).await, Err(Reason::AmountMismatch));
    let token = Permit { token: Address::repeat_byte(9), ..good.clone() };
    assert_eq!(judge(signed(&offer, &token, 7)).await, Err(Reason::AssetMismatch));
    let late = Permit { deadline: U256::from(1u64), ..good.clone() };
    assert_eq!(judge(signed(&offer, &late, 7)).await, Err(Reason::Expired));

    let poor = permit_for(&offer, key(40).address(), 1);
    assert_eq!(judge(signed(&offer, &poor, 40)).await, Err(Reason::InsufficientBalance));
    stack.deployment.mint(key(40).address(), U256::from(PRICE)).unwrap();
    assert_eq!(judge(signed(&offer, &poor, 40)).await, Err(Reason::AllowanceRequired));

    stack.cancel_permit(1);
    assert_eq!(judge(signed(&offer, &good, 7)).await, Err(Reason::AlreadyUsed));
    let foreign = by_permit2(Address::repeat_byte(0x77));
    let of = permit_for(&foreign, owner, 2);
    assert_eq!(verify(f, &foreign, signed(&foreign, &of, 7)).await, Err(Reason::AssetNotAllowed));
}

#[tokio::test]
async fn without_the_proxy_on_the_chain_it_is_not_served() {
    let stack = stack().await;
    stack.chain.set_code(EXACT_PROXY, Bytes::new());
    let paid = stack.permit(1).await;
    let verdict = verify(&stack.facilitator, paid.offer(), paid.payment().clone()).await;
    assert_eq!(verdict, Err(Reason::TransferNotSupported));
    assert_eq!(reason_of(&stack.settle(paid).await), Some(&Reason::TransferNotSupported));
}

#[tokio::test]
async fn a_missing_allowance_is_told_by_its_own_code_and_nothing_is_taken() {
    let stack = Stack::new().await;
    let outcome = stack.settle(stack.permit(1).await).await;
    let Outcome::NotSettled { refusal, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(refusal.code().as_str(), "permit2_allowance_required");
    assert_eq!(stack.transactions_of_signer(), 0);
    assert!(stack.ledger.open(&network()).await.unwrap().is_empty());
}

#[tokio::test]
async fn fa13_a_permit_that_a_stranger_submitted_is_settled_by_that_transaction() {
    let stack = stack().await;
    let paid = stack.permit(1).await;
    verify(&stack.facilitator, paid.offer(), paid.payment().clone()).await.unwrap();
    let (to, data) = settling(paid.payment());
    let theirs = stack.submit(STRANGER, to, &data);
    let outcome = stack.settle(paid.clone()).await;
    assert_eq!(outcome, Outcome::Settled { transaction: theirs.to_string() });
    assert_eq!(stack.settle(paid).await, outcome);
    assert_eq!((stack.transfers().len(), stack.transactions_of_signer()), (1, 0));
}

#[tokio::test]
async fn fa13_a_permit_in_another_facilitator_s_batch_is_settled_by_that_batch() {
    let stack = stack().await;
    let (mine, other) = (stack.permit(1).await, stack.permit_by(30).await);
    verify(&stack.facilitator, mine.offer(), mine.payment().clone()).await.unwrap();
    let batch = together(vec![settling(other.payment()), settling(mine.payment())]);
    let theirs = stack.submit(STRANGER, MULTICALL3, &batch);
    assert_eq!(stack.settle(mine).await, Outcome::Settled { transaction: theirs.to_string() });
    assert_eq!(stack.transactions_of_signer(), 0);
}

#[tokio::test]
async fn fa13_a_front_run_permit_in_flight_is_settled_by_the_transaction_that_carried_it() {
    let stack = Stack::with(manual(), Box::new(|_, _| None), |_| {}).await;
    approve(&stack, stack.deployment.usdc, stack.payer.address());
    let paid = stack.permit(1).await;
    let (f, payment) = (stack.facilitator.clone(), paid.clone());
    let settled = tokio::spawn(async move { f.settle(payment, Duration::from_secs(20)).await });
    while stack.sends.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // A higher bid, so that it comes first in the block.
    let (to, data) = settling(paid.payment());
    stack.deployment.fund(STRANGER);
    stack.chain.request("anvil_impersonateAccount", &serde_json::json!([STRANGER])).unwrap();
    let sent = serde_json::json!([{"from": STRANGER, "to": to, "data": data, "gas": "0x493e0",
        "maxFeePerGas": "0x174876e800", "maxPriorityFeePerGas": "0x174876e800"}]);
    let theirs = stack.chain.request("eth_sendTransaction", &sent).unwrap();
    stack.chain.mine();
    assert_eq!(settled.await.unwrap(), Outcome::Settled { transaction: theirs.as_str().unwrap().into() });
    assert_eq!((stack.seller_balance(), stack.transfers().len()), (PRICE, 1));
}

#[tokio::test]
async fn fa12_a_cancelled_permit_is_not_paid() {
    let stack = stack().await;
    let paid = stack.permit(1).await;
    verify(&stack.facilitator, paid.offer(), paid.payment().clone()).await.unwrap();
    stack.cancel_permit(1);
    assert_eq!(reason_of(&stack.settle(paid).await), Some(&Reason::AlreadyUsed));
    assert_eq!((stack.seller_balance(), stack.transactions_of_signer()), (0, 0));
}

#[tokio::test]
async fn fa12_a_permit_that_was_paid_and_then_cancelled_is_paid() {
    let stack = stack().await;
    let paid = stack.permit(1).await;
    verify(&stack.facilitator, paid.offer(), paid.payment().clone()).await.unwrap();
    let (to, data) = settling(paid.payment());
    let theirs = stack.submit(STRANGER, to, &data);
    stack.cancel_permit(1);
    assert_eq!(stack.settle(paid).await, Outcome::Settled { transaction: theirs.to_string() });
}

#[tokio::test]
async fn fa13_one_transfer_is_not_counted_for_two_permits() {
    let stack = stack().await;
    let (one, two) = (stack.permit(1).await, stack.permit(2).await);
    for paid in [&one, &two] {
        verify(&stack.facilitator, paid.offer(), paid.payment().clone()).await.unwrap();
    }
    // A contract of the payer's executes the one, beside a call for the other that fails, its nonce being cancelled.
    let puppet = Address::repeat_byte(0xee);
    stack.chain.set_code(puppet, artefacts::HOSTILE.runtime);
    stack.cancel_permit(2);
    let (to, input) = settling(one.payment());
    let hidden = (puppet, Bytes::from(executeCall { to, input }.abi_encode()));
    stack.submit(STRANGER, MULTICALL3, &together(vec![hidden, settling(two.payment())]));
    assert_eq!(stack.seller_balance(), PRICE);
    // Nobody can tell which of them it was: neither paid nor not paid.
    for paid in [two, one] {
        let outcome = stack.settle(paid).await;
        assert_eq!(
            outcome,
            tollway_protocol::scheme::Outcome::Pending {
                transaction: None,
                message: "waiting for the chain: send the same payment again".into()
            }
        );
    }
    assert!(stack.ledger.open(&network()).await.unwrap().is_empty());
}

#[tokio::test]
async fn fa13_two_permits_alike_in_one_foreign_batch_are_not_told_apart() {
    let stack = stack().await;
    let (one, two) = (stack.permit(1).await, stack.permit(2).await);
    for paid in [&one, &two] {
        verify(&stack.facilitator, paid.offer(), paid.payment().clone()).await.unwrap();
    }
    stack.cancel_permit(2);
    let batch = together(vec![settling(one.payment()), settling(two.payment())]);
    stack.submit(STRANGER, MULTICALL3, &batch);
    let outcome = stack.settle(two).await;
    assert!(!is_settled(&outcome), "{outcome:?}");
    assert_eq!(stack.seller_balance(), PRICE);
}

#[tokio::test]
async fn i11_payments_by_both_methods_share_a_transaction_and_those_that_fail_cost_the_others_nothing() {
    let stack = Stack::with(manual(), Box::new(|_, _| None), |_| {}).await;
    approve(&stack, stack.deployment.usdc, stack.payer.address());
    let first = start(&stack, stack.bound(99).await);
    until_sent(&stack, 1).await;
    let mut all = vec![first];
    // Learns what the method costs, in a transaction of its own or not.
    for seed in 30..=33 {
        all.push(start(&stack, stack.permit_by(seed).await));
    }
    all.push(start(&stack, stack.permit(1).await));
    all.push(start(&stack, stack.bound(2).await));
    all.push(start(&stack, stack.bound(3).await));
    until_sent(&stack, 2).await;
    // While they are on their way the payer takes back two of them.
    stack.cancel_at_once(1);
    stack.chain.call_for_good(STRANGER, stack.deployment.usdc, cancellation(&stack, 3)).unwrap();
    let mut settled = 0;
    for settling in all {
        while !settling.is_finished() && settled < 6 {
            stack.chain.mine();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if settling.is_finished() && is_settled(&settling.await.unwrap()) {
            settled += 1;
        }
    }
    assert_eq!((settled, stack.seller_balance()), (6, 6 * PRICE));
    assert!(stack.transactions_of_signer() <= 4, "{}", stack.transactions_of_signer());
}

type Settling = tokio::task::JoinHandle<Outcome>;

fn start(stack: &Stack, payment: tollway_protocol::bind::Bound) -> Settling {
    let f = stack.facilitator.clone();
    tokio::spawn(async move { f.settle(payment, Duration::from_secs(20)).await })
}

async fn until_sent(stack: &Stack, n: usize) {
    while stack.sends.load(Ordering::SeqCst) < n {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn fa13_permits_alike_never_share_a_transaction() {
    let stack = Stack::with(manual(), Box::new(|_, _| None), |_| {}).await;
    approve(&stack, stack.deployment.usdc, stack.payer.address());
    let mut all = Vec::new();
    for nonce in 1..=4 {
        all.push(start(&stack, stack.permit(nonce).await));
    }
    all.push(start(&stack, stack.bound(5).await));
    for settling in all {
        while !settling.is_finished() {
            stack.chain.mine();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(is_settled(&settling.await.unwrap()));
    }
    let transfers = stack.transfers();
    let each: std::collections::BTreeSet<_> = transfers.iter().collect();
    assert_eq!((transfers.len(), each.len(), stack.seller_balance()), (5, 5, 5 * PRICE));
}

#[tokio::test]
async fn an_allowance_is_promised_once() {
    let stack = Stack::with(manual(), Box::new(|_, _| None), |_| {}).await;
    let call = tollway_evm::abi::Eip2612::approveCall { spender: PERMIT2, amount: U256::from(PRICE) };
    stack.chain.call_for_good(stack.payer.address(), stack.deployment.usdc, call.abi_encode()).unwrap();
    let first = start(&stack, stack.permit(1).await);
    until_sent(&stack, 1).await;
    let second = stack.settle(stack.permit(2).await).await;
    assert_eq!(reason_of(&second), Some(&Reason::InsufficientBalance), "{second:?}");
    stack.chain.mine();
    assert!(is_settled(&first.await.unwrap()));
}

pub(crate) const ODD: Address = Address::repeat_byte(0xdd);

/// A chain with a token that has no EIP-3009, and of which the payer has enough.
pub(crate) async fn odd(runtime: &'static [u8], eip3009: bool) -> Stack {
    let asset = Asset {
        network: network(),
        address: ODD.to_string(),
        symbol: "ODD".into(),
        decimals: 6,
        domain: eip3009.then(|| ("USDC".into(), "2".into())),
        eip3009,
    };
    let stack = Stack::with(Mining::Auto, Box::new(|_, _| None), |config| config.assets = vec![asset]).await;
    if eip3009 {
        let token = tollway_devnet::evm::Token {
            address: ODD,
            name: "USDC".into(),
            symbol: "ODD".into(),
            decimals: 6,
        };
        token.deploy(&stack.chain).unwrap();
    } else {
        stack.chain.set_code(ODD, runtime);
    }
    let to = stack.payer.address();
    let data = mintCall { to, amount: U256::from(1_000_000u64) }.abi_encode();
    stack.chain.call_for_good(tollway_devnet::evm::MINTER, ODD, data).unwrap();
    stack.chain.set_code(ODD, runtime);
    approve(&stack, ODD, to);
    stack
}

#[tokio::test]
async fn a_token_without_eip_3009_is_paid_by_permit2_alone() {
    let stack = odd(artefacts::PLAIN_TOKEN.runtime, false).await;
    let offer = by_permit2(ODD);
    let paid = signed(&offer, &permit_for(&offer, stack.payer.address(), 1), 7);
    let outcome = stack.settle(bound(&stack.facilitator, &offer, paid).unwrap()).await;
    assert!(is_settled(&outcome), "{outcome:?}");
    assert_eq!(stack.balance_of(ODD, seller()), PRICE);
    let transfer = crate::common::transfer(stack.payer.address(), PRICE, 2);
    let signature = sign(7, crate::common::digest(&transfer, ODD));
    let payload = tollway_evm::exact::Authorization::payload(&transfer, &signature).unwrap();
    let offer = offer_of(ODD);
    let verdict = verify(&stack.facilitator, &offer, payment(&offer, payload)).await;
    assert_eq!(verdict, Err(Reason::TransferNotSupported));
}

#[tokio::test]
async fn fa10_fa16_a_token_without_code_is_refused_by_permit2_too() {
    let stack = odd(artefacts::PLAIN_TOKEN.runtime, false).await;
    stack.chain.set_code(ODD, Bytes::new());
    let offer = by_permit2(ODD);
    let paid = signed(&offer, &permit_for(&offer, stack.payer.address(), 1), 7);
    assert_eq!(verify(&stack.facilitator, &offer, paid).await, Err(Reason::AssetNotDeployed));
}

#[tokio::test]
async fn fa11_a_token_that_takes_a_fee_does_not_count_as_paid_by_permit2() {
    let stack = odd(artefacts::FEE_TOKEN.runtime, true).await;
    let offer = by_permit2(ODD);
    let paid = signed(&offer, &permit_for(&offer, stack.payer.address(), 1), 7);
    let payment = bound(&stack.facilitator, &offer, paid).unwrap();
    let outcome = stack.settle(payment).await;
    assert_eq!(reason_of(&outcome), Some(&Reason::TransferNotFound), "{outcome:?}");
}

#[tokio::test]
async fn fa11_a_token_that_pays_someone_else_does_not_count_as_paid_by_permit2() {
    let stack = odd(artefacts::DIVERT_TOKEN.runtime, true).await;
    stack.submit(STRANGER, ODD, &divertCall { to: STRANGER, lie: false }.abi_encode());
    let offer = by_permit2(ODD);
    let paid = signed(&offer, &permit_for(&offer, stack.payer.address(), 1), 7);
    let payment = bound(&stack.facilitator, &offer, paid).unwrap();
    let outcome = stack.settle(payment).await;
    assert_eq!(reason_of(&outcome), Some(&Reason::TransferNotFound), "{outcome:?}");
    assert_eq!(stack.balance_of(ODD, seller()), 0);
}

#[tokio::test]
async fn fa17_a_compact_signature_of_an_account_without_code_is_refused() {
    let stack = stack().await;
    let offer = by_permit2(stack.deployment.usdc);
    let permit = permit_for(&offer, stack.payer.address(), 1);
    let whole = sign(7, permit.digest(84532));
    let mut compact = whole[..64].to_vec();
    compact[32] |= (whole[64] - 27) << 7;
    let payload = tollway_evm::permit2::Permit2Payment::payload(&permit, &compact).unwrap();
    let verdict = verify(&stack.facilitator, &offer, payment(&offer, payload)).await;
    assert_eq!(verdict, Err(Reason::BadSignature));
}

#[tokio::test]
async fn an_offer_for_another_amount_is_not_what_was_permitted() {
    let stack = stack().await;
    let paid = stack.permit(1).await;
    let mut offer = paid.offer().clone();
    offer.amount = Amount::from(PRICE - 1);
    let mut cheaper = paid.payment().clone();
    cheaper.accepted = offer.clone();
    assert_eq!(verify(&stack.facilitator, &offer, cheaper).await, Err(Reason::AmountMismatch));
}
