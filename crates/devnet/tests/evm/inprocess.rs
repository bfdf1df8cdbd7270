//! The chain without a socket: the same requests get the same answers, byte for byte.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use alloy_primitives::U256;
use alloy_sol_types::SolCall as _;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tollway_devnet::evm::{Chain, Genesis, Mining};

use crate::{
    abi::*,
    client::{Draft, signer},
};

fn body(method: &str, params: &Value) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string().into_bytes()
}

/// Payments of two payers, a failing one, a reorganisation and what is read of it all. The clock moves on with each block.
async fn story() -> Vec<String> {
    let time = Arc::new(AtomicU64::new(1_800_000_000));
    let clock = time.clone();
    let chain =
        Chain::builder().mining(Mining::Manual).clock(move || clock.load(Ordering::SeqCst)).build().unwrap();
    let deployment = Genesis::base_sepolia().deploy(&chain).unwrap();
    let mut answers = Vec::new();
    for round in 0..3u64 {
        for number in [0x11, 0x12, 0x13] {
            let payer = signer(number);
            deployment.fund(payer.address());
            deployment.mint(payer.address(), U256::from(10)).unwrap();
            let value = U256::from(5 + 10 * u64::from(number == 0x13));
            let call = Token::transferCall { to: signer(1).address(), value }.abi_encode();
            let draft = Draft::of_one_wei(round).with(|tx| {
                (tx.to, tx.value, tx.gas_limit) = (deployment.usdc.into(), U256::ZERO, 90_000);
                tx.input = call.into();
            });
            answers.push(chain.answer(&body("eth_sendRawTransaction", &json!([draft.signed(&payer)]))).await);
        }
        time.fetch_add(2, Ordering::SeqCst);
        answers.push(chain.answer(&body("evm_mine", &json!([]))).await);
        answers.push(chain.answer(&body("eth_getBlockReceipts", &json!(["latest"]))).await);
        answers.push(chain.answer(&body("eth_getBlockByNumber", &json!(["latest", true]))).await);
    }
    answers.push(chain.answer(&body("tollway_reorg", &json!([{ "depth": 2, "keep": true }]))).await);
    answers.push(chain.answer(&body("evm_mine", &json!([]))).await);
    answers.push(chain.answer(&body("eth_getLogs", &json!([{ "fromBlock": "0x0" }]))).await);
    answers.push(chain.answer(&body("eth_getBlockByNumber", &json!(["latest", true]))).await);
    answers
}

#[tokio::test(start_paused = true)]
async fn the_same_requests_get_the_same_answers() {
    let first = story().await;
    assert_eq!(first, story().await);
    assert!(first.iter().all(|answer| answer.contains("result")), "{first:?}");
    let logs: Value = serde_json::from_str(&first[first.len() - 2]).unwrap();
    assert_eq!(logs["result"].as_array().unwrap().len(), 7, "the third payer could pay once");
}

#[tokio::test(start_paused = true)]
async fn an_answer_needs_no_task_and_no_time() {
    let chain = Chain::builder().mining(Mining::Manual).clock(|| 1_800_000_000).build().unwrap();
    let (begin, tasks) = (tokio::time::Instant::now(), Handle::current().metrics().num_alive_tasks());
    let mut answer =
        std::pin::pin!(chain.answer(b"[{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"evm_mine\"}]"));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let ready = answer.as_mut().poll(&mut context);
    assert_eq!(ready, std::task::Poll::Ready(r#"[{"id":7,"jsonrpc":"2.0","result":"0x0"}]"#.to_owned()));
    assert_eq!((begin.elapsed().as_nanos(), Handle::current().metrics().num_alive_tasks()), (0, tasks));
    assert_eq!(
        chain.answer(b"{").await,
        r#"{"error":{"code":-32700,"message":"parse error"},"id":null,"jsonrpc":"2.0"}"#
    );
    assert_eq!(chain.answer(b"{\"jsonrpc\":\"2.0\",\"method\":\"evm_mine\"}").await, "");
    assert_eq!(chain.block_number(), 2);
}
