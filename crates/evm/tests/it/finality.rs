//! What was told as settled, until it is final: reorgs, processes that start anew, nodes that answer wrongly.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use alloy_primitives::U256;
use serde_json::{Value, json};
use tollway_devnet::evm::{Chain as DevChain, Mining};
use tollway_evm::ExactPayer;
use tollway_evm::facilitator::{ChainConfig, Finality};
use tollway_ledger::{Journal as _, JournalState, Record};
use tollway_protocol::bind::Bound;
use tollway_protocol::scheme::{FacilitatorScheme as _, PayerScheme as _};

use crate::common::parking::{Fault, Hook};
use crate::common::{PRICE, Stack, bound, facilitator, hash_of, key, now, payment};
use crate::paying::is_settled;

fn soon_final(config: &mut ChainConfig) {
    config.finality = Finality::Blocks(6);
}

async fn record(stack: &Stack, payment: &Bound) -> Record {
    stack.ledger.settlement(payment.key()).await.unwrap().unwrap()
}

/// Mines until it is so.
async fn mined_until(stack: &Stack, is_so: impl AsyncFn() -> bool) {
    while !is_so().await {
        stack.chain.mine();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn fx_x3_i11_a_payment_that_reverts_at_the_same_height_while_no_process_runs_never_becomes_final() {
    let stack = Stack::with(Mining::Auto, Box::new(|_, _| None), |_| {}).await;
    let first = facilitator(&stack.rpc, stack.ledger.clone(), key(9), soon_final);
    // The payer's money comes after this block, outside of any: a branch from before it has none.
    stack.chain.mine();
    let payer = ExactPayer::new(key(40));
    stack.deployment.mint(payer.address(), U256::from(PRICE)).unwrap();
    let offer = stack.offer();
    let signed = payer.sign(&offer, now(), [40; 32]).await.unwrap();
    let paid = bound(&first, &offer, payment(&offer, signed.payload)).unwrap();
    let told = first.settle(paid.clone(), Duration::from_secs(10)).await;
    assert!(is_settled(&told), "{told:?}");
    let before = record(&stack, &paid).await;
    drop(first);
    let raw = before.transaction.unwrap().raw;
    let replaced = json!([2, [[alloy_primitives::Bytes::from(raw), 1]]]);
    stack.chain.request("anvil_reorg", &replaced).unwrap();
    let receipt = stack.chain.request("eth_getTransactionReceipt", &json!([before.hash])).unwrap();
    let height = format!("{:#x}", before.block.unwrap());
    assert_eq!((receipt["status"].as_str(), receipt["blockNumber"].as_str()), (Some("0x0"), Some(&*height)));
    // The process that comes next finds it where it was told, by its number.
    let second = facilitator(&stack.rpc, stack.ledger.clone(), key(9), soon_final);
    second.recover().await;
    mined_until(&stack, async || {
        let now = record(&stack, &paid).await;
        assert!(!now.is_final, "i11: what did not move is not final");
        now.state != JournalState::Settled
    })
    .await;
    assert_eq!(stack.seller_balance(), 0);
    // It is made again as soon as it can be.
    stack.deployment.mint(payer.address(), U256::from(PRICE)).unwrap();
    let again = second.settle(paid.clone(), Duration::from_secs(10)).await;
    assert!(is_settled(&again), "{again:?}");
    assert_ne!(hash_of(&again), hash_of(&told));
    mined_until(&stack, async || record(&stack, &paid).await.is_final).await;
    assert_eq!((stack.seller_balance(), stack.transfers().len()), (PRICE, 1));
}

/// Changes what the node answers for receipts, while it is switched on; counts these answers.
struct Wrong {
    is_on: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
}

impl Wrong {
    fn new(fault: impl Fn(&Value) -> Option<Fault> + Send + Sync + 'static) -> (Self, Hook) {
        let this = Self { is_on: Arc::default(), answers: Arc::default() };
        let (is_on, answers) = (this.is_on.clone(), this.answers.clone());
        let hook = move |method: &str, params: &Value| {
            let is_wrong = method == "eth_getTransactionReceipt" && is_on.load(Ordering::SeqCst);
            let fault = is_wrong.then(|| fault(params)).flatten();
            answers.fetch_add(usize::from(fault.is_some()), Ordering::SeqCst);
            fault
        };
        (this, Box::new(hook))
    }

    fn set(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::SeqCst);
    }

    fn answers(&self) -> usize {
        self.answers.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn fx_x3_i18_a_receipt_that_can_t_be_had_after_a_reorg_keeps_no_other_payment_from_its_end() {
    let of: Arc<OnceLock<String>> = Arc::default();
    let spoiled = of.clone();
    let (wrong, hook) = Wrong::new(move |params| {
        let is_it = spoiled.get().is_some_and(|hash| params[0] == json!(hash));
        is_it.then_some(Fault::Error(-32000, "the shard is being rebuilt"))
    });
    // A fast chain: there is another block at each look.
    let (chain, is_fast) = (Arc::<OnceLock<DevChain>>::default(), wrong.is_on.clone());
    let fast = chain.clone();
    let hook = move |method: &str, params: &Value| {
        if method == "eth_getBlockByNumber" && params[0] == "latest" && is_fast.load(Ordering::SeqCst) {
            fast.get().unwrap().mine();
        }
        hook(method, params)
    };
    let stack = Stack::with(Mining::Auto, Box::new(hook), soon_final).await;
    chain.set(stack.chain.clone()).ok().unwrap();
    let first = stack.bound(1).await;
    let told = stack.settle(first.clone()).await;
    of.set(hash_of(&told).unwrap().to_owned()).unwrap();
    stack.chain.mine();
    stack.chain.reorg(2, true).unwrap();
    wrong.set(true);
    let second = stack.bound(2).await;
    let outcome = stack.settle(second.clone()).await;
    assert!(is_settled(&outcome), "{outcome:?}");
    while !record(&stack, &second).await.is_final {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(wrong.answers() > 0);
    let kept = record(&stack, &first).await;
    assert_eq!((kept.state, kept.is_final), (JournalState::Settled, false), "it was not found again");
    wrong.set(false);
    mined_until(&stack, async || record(&stack, &first).await.is_final).await;
    assert_eq!(record(&stack, &first).await.hash.as_deref(), hash_of(&told));
    assert_eq!((stack.seller_balance(), stack.transfers().len()), (2 * PRICE, 2));
}

#[tokio::test]
async fn fx_n4_i18_a_receipt_without_its_logs_takes_no_told_settlement_back() {
    for by_permit in [false, true] {
        let (wrong, hook) = Wrong::new(|_| {
            Some(Fault::Changed(|mut receipt| {
                if receipt.is_object() {
                    receipt["logs"] = json!([]);
                }
                receipt
            }))
        });
        let stack = Stack::with(Mining::Auto, hook, soon_final).await;
        crate::paying::approve(&stack, stack.deployment.usdc, stack.payer.address());
        let paid = if by_permit { stack.permit(1).await } else { stack.bound(1).await };
        let told = stack.settle(paid.clone()).await;
        assert!(is_settled(&told), "{told:?}");
        stack.chain.mine();
        wrong.set(true);
        stack.chain.reorg(2, true).unwrap();
        mined_until(&stack, async || {
            let now = record(&stack, &paid).await;
            assert_eq!((now.state, now.is_final), (JournalState::Settled, false), "{by_permit}");
            wrong.answers() >= 12
        })
        .await;
        wrong.set(false);
        mined_until(&stack, async || record(&stack, &paid).await.is_final).await;
        assert_eq!(stack.settle(paid).await, told);
        assert_eq!((stack.transfers().len(), stack.sends.load(Ordering::SeqCst)), (1, 1));
    }
}
