//! Permit2's allowance at the facilitator's cost: by a permit of the token, or by the payer's own approval.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, Bytes, TxKind, U256};
use alloy_sol_types::SolCall as _;
use serde_json::{Value, json};
use tollway_devnet::evm::Mining;
use tollway_evm::abi::Eip2612;
use tollway_evm::exact::Domain;
use tollway_evm::permit2::{APPROVAL_EXTENSION, Approval, PERMIT_EXTENSION, PERMIT2, Permit2612};
use tollway_evm::signature::Signature;
use tollway_ledger::{Journal as _, SqliteLedger};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome};
use tollway_protocol::{Payment, Reason};

use crate::common::parking::Fault;
use crate::common::{PRICE, Stack, bound, facilitator, key, network, reason_of, sign, verify};
use crate::paying::{STRANGER, by_permit2, in_a_process, is_settled, manual, permit_for, signed};

const GWEI: u128 = 1_000_000_000;

/// A payment by Permit2 of an account that has `PRICE` and no allowance.
fn unallowed(stack: &Stack, seed: u8) -> Payment {
    let owner = key(seed).address();
    stack.deployment.mint(owner, U256::from(PRICE)).unwrap();
    let offer = by_permit2(stack.deployment.usdc);
    signed(&offer, &permit_for(&offer, owner, seed), seed)
}

fn with(mut payment: Payment, extension: &str, info: &Object) -> Payment {
    payment.extensions = payment.extensions.with(extension, json!({ "info": info }));
    payment
}

fn permit2612(stack: &Stack, seed: u8, signer: u8, edit: impl FnOnce(&mut Permit2612)) -> Object {
    let offer = by_permit2(stack.deployment.usdc);
    let payment = permit_for(&offer, key(seed).address(), seed);
    let mut permit = Permit2612 {
        owner: payment.owner,
        token: payment.token,
        spender: PERMIT2,
        value: payment.amount,
        nonce: U256::ZERO,
        deadline: payment.deadline,
        signature: Signature::new(&sign(7, alloy_primitives::B256::repeat_byte(1))).unwrap(),
    };
    edit(&mut permit);
    let domain = Domain::new("USDC", "2", 84532, stack.deployment.usdc);
    permit.signature = Signature::new(&sign(signer, permit.digest(domain))).unwrap();
    permit.info().unwrap()
}

/// The approval of the account whose key is made from `seed`, as it was signed by it.
fn approval(stack: &Stack, seed: u8, edit: impl FnOnce(&mut TxEip1559)) -> Object {
    let mut transaction = TxEip1559 {
        chain_id: 84532,
        nonce: 0,
        gas_limit: 70_000,
        max_fee_per_gas: 2 * GWEI,
        max_priority_fee_per_gas: GWEI / 10,
        to: TxKind::Call(stack.deployment.usdc),
        value: U256::ZERO,
        access_list: alloy_eips::eip2930::AccessList::default(),
        input: Eip2612::approveCall { spender: PERMIT2, amount: U256::MAX }.abi_encode().into(),
    };
    edit(&mut transaction);
    let signature = sign(seed, transaction.signature_hash());
    let signature = alloy_primitives::Signature::from_raw(&signature).unwrap();
    let raw: Bytes = TxEnvelope::from(transaction.into_signed(signature)).encoded_2718().into();
    let (owner, token) = (key(seed).address(), stack.deployment.usdc);
    Approval { owner, token, spender: PERMIT2, amount: U256::MAX, raw }.info().unwrap()
}

async fn settle(stack: &Stack, payment: &Payment) -> Outcome {
    stack.settle(bound(&stack.facilitator, &payment.accepted, payment.clone()).unwrap()).await
}

fn approved(stack: &Stack, seed: u8) -> Payment {
    with(unallowed(stack, seed), APPROVAL_EXTENSION, &approval(stack, seed, |_| {}))
}

#[tokio::test]
async fn a_permit_of_the_token_s_gives_the_allowance_in_the_payment_s_own_transaction() {
    let stack = Stack::new().await;
    let bare = unallowed(&stack, 40);
    let offer = bare.accepted.clone();
    assert_eq!(verify(&stack.facilitator, &offer, bare.clone()).await, Err(Reason::AllowanceRequired));
    let paid = with(bare, PERMIT_EXTENSION, &permit2612(&stack, 40, 40, |_| {}));
    verify(&stack.facilitator, &offer, paid.clone()).await.unwrap();
    let outcome = settle(&stack, &paid).await;
    assert!(is_settled(&outcome), "{outcome:?}");
    assert_eq!((stack.seller_balance(), stack.transactions_of_signer()), (PRICE, 1));
}

#[tokio::test]
async fn a_permit_that_is_not_what_the_payment_needs_is_refused_when_settling_too() {
    let stack = Stack::new().await;
    let (owner, token) = (Address::repeat_byte(9), Address::repeat_byte(8));
    let flaws: [(&str, Object, Reason); 6] = [
        ("owner", permit2612(&stack, 40, 40, |p| p.owner = owner), Reason::PermitOwner),
        ("token", permit2612(&stack, 40, 40, |p| p.token = token), Reason::PermitAsset),
        ("spender", permit2612(&stack, 40, 40, |p| p.spender = owner), Reason::PermitSpender),
        ("amount", permit2612(&stack, 40, 40, |p| p.value += U256::ONE), Reason::PermitAmount),
        ("deadline", permit2612(&stack, 40, 40, |p| p.deadline = U256::from(1u64)), Reason::PermitExpired),
        ("signer", permit2612(&stack, 40, 41, |_| {}), Reason::AllowanceRequired),
    ];
    for (what, info, reason) in flaws {
        let paid = with(unallowed(&stack, 40), PERMIT_EXTENSION, &info);
        let verdict = verify(&stack.facilitator, &paid.accepted.clone(), paid.clone()).await;
        assert_eq!(verdict, Err(reason.clone()), "{what}");
        assert_eq!(reason_of(&settle(&stack, &paid).await), Some(&reason), "{what}");
    }
    assert_eq!(stack.transactions_of_signer(), 0);
}

#[tokio::test]
async fn a_payer_with_gas_money_has_its_approval_sent_and_then_pays() {
    let stack = Stack::new().await;
    stack.deployment.fund(key(40).address());
    let paid = approved(&stack, 40);
    verify(&stack.facilitator, &paid.accepted.clone(), paid.clone()).await.unwrap();
    let outcome = settle(&stack, &paid).await;
    assert_eq!(outcome, Outcome::Settled { transaction: stack.transfers()[0].to_string() });
    assert_eq!((stack.seller_balance(), stack.transactions_of_signer()), (PRICE, 1));
    assert_eq!(settle(&stack, &paid).await, outcome);
}

#[tokio::test]
async fn a_payer_without_gas_money_is_given_what_its_approval_may_cost_and_no_more() {
    let stack = Stack::new().await;
    let paid = approved(&stack, 40);
    assert_eq!(stack.chain.balance(key(40).address()), U256::ZERO);
    let outcome = settle(&stack, &paid).await;
    assert!(is_settled(&outcome), "{outcome:?}");
    assert_eq!((stack.seller_balance(), stack.transactions_of_signer()), (PRICE, 2));
    assert!(stack.chain.balance(key(40).address()) < U256::from(70_000 * 2 * GWEI));
    let history = stack
        .ledger
        .history(bound(&stack.facilitator, &paid.accepted, paid.clone()).unwrap().key())
        .await
        .unwrap();
    assert_eq!(history.len(), 2, "the gift and the payment");
}

#[tokio::test]
async fn an_approval_that_is_anything_else_is_refused_when_settling_too() {
    let stack = Stack::new().await;
    stack.deployment.fund(key(40).address());
    let other = Address::repeat_byte(9);
    let to_other = Eip2612::approveCall { spender: other, amount: U256::MAX }.abi_encode();
    let too_little = Eip2612::approveCall { spender: PERMIT2, amount: U256::from(1u64) }.abi_encode();
    let flaws: [(&str, Object, Reason); 9] = [
        ("value", approval(&stack, 40, |t| t.value = U256::from(1u64)), Reason::ApprovalUnreadable),
        ("chain", approval(&stack, 40, |t| t.chain_id = 1), Reason::ApprovalUnreadable),
        ("target", approval(&stack, 40, |t| t.to = TxKind::Call(other)), Reason::ApprovalTarget),
        ("spender", approval(&stack, 40, |t| t.input = to_other.into()), Reason::ApprovalCallee),
        ("amount", approval(&stack, 40, |t| t.input = too_little.into()), Reason::ApprovalCalldata),
        ("gas", approval(&stack, 40, |t| t.gas_limit = 100_001), Reason::ApprovalFailed),
        ("fee", approval(&stack, 40, |t| t.max_fee_per_gas = 501 * GWEI), Reason::ApprovalFailed),
        ("price", approval(&stack, 40, |t| t.max_fee_per_gas = 1), Reason::ApprovalFailed),
        ("nonce", approval(&stack, 40, |t| t.nonce = 1), Reason::ApprovalFailed),
    ];
    for (what, info, reason) in flaws {
        let paid = with(unallowed(&stack, 40), APPROVAL_EXTENSION, &info);
        let settled = match bound(&stack.facilitator, &paid.accepted, paid.clone()) {
            Ok(bound) => stack.settle(bound).await,
            Err(refusal) => Outcome::NotSettled { refusal, transaction: None },
        };
        assert_eq!(reason_of(&settled), Some(&reason), "{what}");
    }
    assert_eq!((stack.transactions_of_signer(), stack.sends.load(Ordering::SeqCst)), (0, 0));
    assert!(stack.ledger.open(&network()).await.unwrap().is_empty());
}

#[tokio::test]
async fn fa27_no_more_is_given_than_the_operator_allows() {
    let none = |config: &mut tollway_evm::facilitator::ChainConfig| config.approval_funding = U256::ZERO;
    let stack = Stack::with(Mining::Auto, Box::new(|_, _| None), none).await;
    let outcome = settle(&stack, &approved(&stack, 40)).await;
    assert_eq!(reason_of(&outcome), Some(&Reason::ApprovalFailed), "{outcome:?}");
    assert_eq!(stack.transactions_of_signer(), 0);

    let some = |config: &mut tollway_evm::facilitator::ChainConfig| {
        config.approval_funding_per_day = U256::from(70_000 * 2 * GWEI);
    };
    let stack = Stack::with(Mining::Auto, Box::new(|_, _| None), some).await;
    assert!(is_settled(&settle(&stack, &approved(&stack, 40)).await));
    let second = settle(&stack, &approved(&stack, 41)).await;
    assert_eq!(reason_of(&second), Some(&Reason::FacilitatorUnavailable), "{second:?}");
    // Counted in the ledger: another process on it gives no more.
    let again = facilitator(&stack.rpc, stack.ledger.clone(), key(9), some);
    let third = approved(&stack, 42);
    let third = bound(&again, &third.accepted, third.clone()).unwrap();
    let third = again.settle(third, Duration::from_secs(10)).await;
    assert_eq!(reason_of(&third), Some(&Reason::FacilitatorUnavailable), "{third:?}");
    assert_eq!(stack.transactions_of_signer(), 2);
}

#[tokio::test]
async fn fa15_a_payer_that_spends_the_gift_otherwise_costs_its_budget_and_no_more() {
    // Whenever the approval is broadcast, the payer has something else under its nonce in the block before.
    let raws = Arc::new(parking_lot::Mutex::new(Vec::<(String, String)>::new()));
    let seen = raws.clone();
    let hook = move |method: &str, params: &Value| {
        if method != "eth_sendRawTransaction" {
            return None;
        }
        let raws = seen.lock();
        let swapped = raws.iter().find(|(approval, _)| params[0] == *approval)?;
        Some(Fault::Instead(method.to_owned(), json!([swapped.1])))
    };
    let stack = Stack::hooked(Box::new(hook)).await;
    let mut reasons = Vec::new();
    for n in 0..5u64 {
        let offer = by_permit2(stack.deployment.usdc);
        let owner = key(40).address();
        stack.deployment.mint(owner, U256::from(PRICE)).unwrap();
        let bare = signed(&offer, &permit_for(&offer, owner, 100 + u8::try_from(n).unwrap()), 40);
        let good = approval(&stack, 40, |t| t.nonce = n);
        let evil = approval(&stack, 40, |t| {
            t.nonce = n;
            t.to = TxKind::Call(STRANGER);
            t.input = Bytes::from(vec![1u8; 600]);
        });
        raws.lock().push((
            good.str("signedTransaction").unwrap().to_owned(),
            evil.str("signedTransaction").unwrap().to_owned(),
        ));
        let paid = with(bare, APPROVAL_EXTENSION, &good);
        let outcome = settle(&stack, &paid).await;
        reasons.push(reason_of(&outcome).cloned().unwrap_or_else(|| panic!("{outcome:?}")));
        stack.chain.set_balance(owner, U256::ZERO);
    }
    let (failed, suspended) = (Reason::ApprovalFailed, Reason::PayerSuspended);
    assert_eq!(reasons, [failed.clone(), failed.clone(), failed, suspended.clone(), suspended]);
    assert_eq!((stack.transactions_of_signer(), stack.seller_balance()), (3, 0));
}

#[tokio::test]
async fn fa03_gift_approval_and_payment_go_on_where_a_dead_process_left_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let stack = Stack::with(manual(), Box::new(|_, _| None), |_| {}).await;
    let paid = approved(&stack, 40);
    let payment = bound(&stack.facilitator, &paid.accepted, paid.clone()).unwrap();
    let mut lives = 0;
    let outcome = loop {
        let asked = payment.clone();
        let outcome = in_a_process(&stack.rpc, &path, Duration::from_millis(600), async move |f, lives| {
            f.settle(asked, lives).await
        })
        .await;
        if !matches!(outcome, Outcome::Pending { .. }) {
            break outcome;
        }
        lives += 1;
        assert!(lives < 10, "{outcome:?}");
        stack.chain.mine();
    };
    assert_eq!(outcome, Outcome::Settled { transaction: stack.transfers()[0].to_string() });
    assert_eq!(lives, 3, "one each for the gift, the approval and the payment");
    assert_eq!((stack.transfers().len(), stack.transactions_of_signer()), (1, 2));
    let ledger = SqliteLedger::open(&path).unwrap();
    assert_eq!(ledger.history(payment.key()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn both_extensions_are_advertised() {
    let stack = Stack::new().await;
    assert_eq!(stack.facilitator.extensions(), [PERMIT_EXTENSION, APPROVAL_EXTENSION]);
    assert_eq!(stack.facilitator.upto().extensions(), [PERMIT_EXTENSION, APPROVAL_EXTENSION]);
}
