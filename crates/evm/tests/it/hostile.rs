//! Payers whose accounts run code that means harm.

use std::time::Duration;

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolCall as _;
use tollway_devnet::artefacts;
use tollway_devnet::evm::Mining;
use tollway_evm::exact::Authorization;
use tollway_evm::permit2::{PERMIT2, Permit2Payment};
use tollway_ledger::Journal as _;
use tollway_protocol::bind::Bound;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome};
use tollway_protocol::{Payment, Reason};

use crate::common::{PRICE, Stack, bound, digest, key, network, payment, reason_of, sign, transfer, verify};
use crate::paying::{STRANGER, by_permit2, is_settled, permit_for};

alloy_sol_types::sol! {
    function behave(uint8 mood, uint256 until) external;
    function execute(address to, bytes input) external;
}

const NO: u8 = 1;
const YES_UNTIL: u8 = 2;
const YES_IN_SIMULATION: u8 = 3;
const BURN_GAS: u8 = 4;
const RETURN_MUCH: u8 = 5;
const REVERT_MUCH: u8 = 6;

const WALLET: Address = Address::repeat_byte(0xe1);

/// A chain on which an account that does what `mood` says has money.
async fn stack(mood: u8, until: u64) -> Stack {
    let stack = Stack::new().await;
    place(&stack, WALLET, mood, until);
    stack
}

fn place(stack: &Stack, wallet: Address, mood: u8, until: u64) {
    stack.chain.set_code(wallet, artefacts::HOSTILE.runtime);
    stack.deployment.mint(wallet, U256::from(PRICE * 100)).unwrap();
    set_mood(stack, wallet, mood, until);
}

fn set_mood(stack: &Stack, wallet: Address, mood: u8, until: u64) {
    let call = behaveCall { mood, until: U256::from(until) };
    stack.chain.call_for_good(STRANGER, wallet, call.abi_encode()).unwrap();
}

/// A payment of the wallet's, which takes any signature or none.
fn by_wallet(stack: &Stack, nonce: u8) -> Payment {
    let payload = Authorization::payload(&transfer(WALLET, PRICE, nonce), &[7; 80]).unwrap();
    payment(&stack.offer(), payload)
}

fn by_wallet_and_permit(stack: &Stack, nonce: u8) -> Payment {
    let offer = by_permit2(stack.deployment.usdc);
    let payload = Permit2Payment::payload(&permit_for(&offer, WALLET, nonce), &[7; 80]).unwrap();
    payment(&offer, payload)
}

/// Lets Permit2 take the wallet's money.
fn allow(stack: &Stack) {
    let approve = tollway_evm::abi::Eip2612::approveCall { spender: PERMIT2, amount: U256::MAX };
    stack.chain.call_for_good(WALLET, stack.deployment.usdc, approve.abi_encode()).unwrap();
}

fn taken(stack: &Stack, payment: Payment) -> Bound {
    bound(&stack.facilitator, &payment.accepted.clone(), payment).unwrap()
}

async fn reverts(stack: &Stack) -> u64 {
    let since = tollway_protocol::door::UnixTime(0);
    stack.ledger.reverts(&network(), &format!("{WALLET:#x}"), since).await.unwrap()
}

#[tokio::test]
async fn a_wallet_that_means_well_pays_by_permit2() {
    let stack = stack(0, 0).await;
    allow(&stack);
    let outcome = stack.settle(taken(&stack, by_wallet_and_permit(&stack, 1))).await;
    assert!(is_settled(&outcome), "{outcome:?}");
    assert_eq!((stack.seller_balance(), stack.transactions_of_signer()), (PRICE, 1));
}

#[tokio::test]
async fn fa15_a_wallet_that_says_yes_in_simulations_only_costs_its_budget_and_no_more() {
    for by_permit in [false, true] {
        let stack = stack(YES_IN_SIMULATION, 0).await;
        allow(&stack);
        for n in 1..=5u8 {
            let payment = if by_permit { by_wallet_and_permit(&stack, n) } else { by_wallet(&stack, n) };
            verify(&stack.facilitator, &payment.accepted.clone(), payment.clone()).await.unwrap();
            let outcome = stack.facilitator.settle(taken(&stack, payment), Duration::from_millis(300)).await;
            match n {
                1..=3 => assert!(matches!(outcome, Outcome::Pending { .. }), "{outcome:?}"),
                _ => assert_eq!(reason_of(&outcome), Some(&Reason::PayerSuspended), "{outcome:?}"),
            }
        }
        assert_eq!(
            (stack.transactions_of_signer(), stack.seller_balance(), reverts(&stack).await),
            (3, 0, 3)
        );
    }
}

#[tokio::test]
async fn fa15_a_wallet_that_changes_its_mind_before_the_broadcast_costs_nothing() {
    let stack = stack(YES_UNTIL, 0).await;
    let now = stack.chain.block_number();
    set_mood(&stack, WALLET, YES_UNTIL, now + 1);
    let payment = by_wallet(&stack, 1);
    verify(&stack.facilitator, &payment.accepted.clone(), payment.clone()).await.unwrap();
    for _ in 0..3 {
        stack.chain.mine();
    }
    let outcome = stack.settle(taken(&stack, payment)).await;
    assert_eq!(reason_of(&outcome), Some(&Reason::BadSignature), "{outcome:?}");
    assert_eq!(stack.transactions_of_signer(), 0);
}

#[tokio::test]
async fn fa15_a_wallet_that_burns_gas_or_answers_at_length_is_refused_for_nothing() {
    for (mood, what) in [(NO, "no"), (BURN_GAS, "burns"), (RETURN_MUCH, "returns"), (REVERT_MUCH, "reverts")]
    {
        let stack = stack(mood, 0).await;
        allow(&stack);
        for payment in [by_wallet(&stack, 1), by_wallet_and_permit(&stack, 2)] {
            let outcome = stack.settle(taken(&stack, payment)).await;
            assert!(matches!(outcome, Outcome::NotSettled { .. }), "{what}: {outcome:?}");
        }
        assert_eq!((stack.transactions_of_signer(), stack.seller_balance()), (0, 0), "{what}");
    }
}

/// Has the account of a key run the code at `to` (EIP-7702).
fn delegate(stack: &Stack, account: Address, to: Address) {
    let code = [&[0xef, 0x01, 0x00][..], to.as_slice()].concat();
    stack.chain.set_code(account, Bytes::from(code));
}

#[tokio::test]
async fn an_account_with_delegated_code_is_a_contract_whatever_its_key_signs() {
    let stack = Stack::new().await;
    let payer = stack.payer.address();
    place(&stack, WALLET, 0, 0);
    delegate(&stack, payer, WALLET);
    let call = behaveCall { mood: NO, until: U256::ZERO };
    stack.chain.call_for_good(STRANGER, payer, call.abi_encode()).unwrap();
    let paid = stack.bound(1).await;
    let verdict = verify(&stack.facilitator, paid.offer(), paid.payment().clone()).await;
    assert_eq!(verdict, Err(Reason::BadSignature));
    let call = behaveCall { mood: 0, until: U256::ZERO };
    stack.chain.call_for_good(STRANGER, payer, call.abi_encode()).unwrap();
    assert!(is_settled(&stack.settle(paid).await));
}

#[tokio::test]
async fn fa15_delegated_code_that_burns_gas_spoils_no_verification_that_it_shares() {
    let stack = Stack::with(Mining::Auto, Box::new(|_, _| None), |config| config.gas_cap = 300_000).await;
    place(&stack, WALLET, 0, 0);
    let mut all = tokio::task::JoinSet::new();
    for seed in 40..=63u8 {
        let payer = key(seed).address();
        stack.deployment.mint(payer, U256::from(PRICE)).unwrap();
        let is_bad = seed % 4 == 0;
        if is_bad {
            delegate(&stack, payer, WALLET);
            let call = behaveCall { mood: BURN_GAS, until: U256::ZERO };
            stack.chain.call_for_good(STRANGER, payer, call.abi_encode()).unwrap();
        }
        let transfer = transfer(payer, PRICE, seed);
        let signature = sign(seed, digest(&transfer, stack.deployment.usdc));
        let offer = stack.offer();
        let paid = payment(&offer, Authorization::payload(&transfer, &signature).unwrap());
        let f = stack.facilitator.clone();
        all.spawn(async move { (is_bad, verify(&f, &offer, paid).await) });
    }
    for (is_bad, verdict) in all.join_all().await {
        assert_eq!(verdict.is_err(), is_bad, "{verdict:?}");
    }
}

#[tokio::test]
async fn fa15_delegated_code_that_says_yes_goes_alone_so_that_it_can_burn_nobody_else_s_gas() {
    let stack = Stack::with(crate::paying::manual(), Box::new(|_, _| None), |_| {}).await;
    place(&stack, WALLET, 0, 0);
    let payer = stack.payer.address();
    delegate(&stack, payer, WALLET);
    let mut all = Vec::new();
    let start = |payment: Bound| {
        let f = stack.facilitator.clone();
        tokio::spawn(async move { f.settle(payment, Duration::from_secs(20)).await })
    };
    for seed in 30..=33 {
        all.push(start(stack.permit_by(seed).await));
    }
    let bad = start(stack.bound(1).await);
    while stack.sends.load(std::sync::atomic::Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    let call = behaveCall { mood: BURN_GAS, until: U256::ZERO };
    stack.chain.call_for_good(STRANGER, payer, call.abi_encode()).unwrap();
    for settling in all {
        while !settling.is_finished() {
            stack.chain.mine();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(is_settled(&settling.await.unwrap()));
    }
    bad.abort();
    assert_eq!(stack.seller_balance(), 4 * PRICE);
}
