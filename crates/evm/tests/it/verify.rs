use serde_json::json;
use tollway_devnet::evm::Mining;
use tollway_protocol::door::Amount;
use tollway_protocol::json::Object;
use tollway_protocol::scheme::FacilitatorScheme as _;
use tollway_protocol::{Offer, Reason};

use crate::common::{PRICE, Stack, digest, payment, sign, transfer, verify};

#[tokio::test]
async fn a_good_payment_costs_one_round_trip_and_a_bad_shape_none() {
    let stack = Stack::new().await;
    let offer = stack.offer();
    verify(&stack.facilitator, &offer, stack.pay(&offer, 1).await).await.unwrap();
    let warm = stack.facilitator.chain().rpc_trips();
    verify(&stack.facilitator, &offer, stack.pay(&offer, 2).await).await.unwrap();
    assert_eq!(stack.facilitator.chain().rpc_trips() - warm, 1);

    let mut dearer = offer.clone();
    dearer.amount = Amount::from(PRICE + 1);
    let mut cheap = stack.pay(&offer, 3).await;
    cheap.accepted = dearer.clone();
    assert_eq!(verify(&stack.facilitator, &dearer, cheap).await, Err(Reason::AmountMismatch));
    assert_eq!(stack.facilitator.chain().rpc_trips() - warm, 1);
}

#[tokio::test]
async fn i09_verify_changes_nothing() {
    let stack = Stack::new().await;
    let offer = stack.offer();
    let payment = stack.pay(&offer, 1).await;
    let block = stack.chain.block_number();
    for _ in 0..3 {
        verify(&stack.facilitator, &offer, payment.clone()).await.unwrap();
    }
    assert_eq!((stack.chain.block_number(), stack.transactions_of_signer()), (block, 0));
    assert_eq!(stack.seller_balance(), 0);
}

#[tokio::test]
async fn rs22_x402rs_07_neither_less_nor_more_than_the_offer_is_taken() {
    let stack = Stack::new().await;
    let offer = stack.offer();
    for wrong in [PRICE - 1, PRICE + 1, 0] {
        let signed = Offer { amount: Amount::from(wrong), ..offer.clone() };
        let mut payment = stack.pay(&signed, 1).await;
        payment.accepted = offer.clone();
        assert_eq!(verify(&stack.facilitator, &offer, payment).await, Err(Reason::AmountMismatch), "{wrong}");
    }
}

#[tokio::test]
async fn each_flaw_has_its_own_reason() {
    let stack = Stack::new().await;
    let offer = stack.offer();
    let f = &stack.facilitator;
    let with = |change: &dyn Fn(&mut Offer)| {
        let mut changed = offer.clone();
        change(&mut changed);
        changed
    };
    let cases: Vec<(Offer, Reason)> = vec![
        (
            with(&|o| o.extra = Object::new().with("name", "USD Coin").with("version", "2")),
            Reason::DomainName,
        ),
        (with(&|o| o.extra = Object::new().with("name", "USDC").with("version", "1")), Reason::DomainVersion),
        (with(&|o| o.extra = Object::new()), Reason::MissingDomain),
        (with(&|o| o.asset = "0x00000000000000000000000000000000000000aa".into()), Reason::AssetNotAllowed),
        (
            with(&|o| o.pay_to = "0x00000000000000000000000000000000000000aa".into()),
            Reason::RecipientMismatch,
        ),
        (
            with(&|o| o.extra = o.extra.clone().with("assetTransferMethod", "erc7710")),
            Reason::TransferNotSupported,
        ),
    ];
    for (changed, reason) in cases {
        let mut paid = stack.pay(&offer, 1).await;
        paid.accepted = changed.clone();
        assert_eq!(verify(f, &changed, paid).await, Err(reason));
    }
}

#[tokio::test]
async fn a_payment_of_too_little_balance_is_refused() {
    let stack = Stack::new().await;
    let mut offer = stack.offer();
    offer.amount = Amount::from(2_000_000);
    let paid = stack.pay(&offer, 1).await;
    assert_eq!(verify(&stack.facilitator, &offer, paid).await, Err(Reason::InsufficientBalance));
}

#[tokio::test]
async fn fa18_a_signature_for_another_chain_or_token_is_refused() {
    let stack = Stack::new().await;
    let offer = stack.offer();
    let transfer = transfer(stack.payer.address(), PRICE, 1);
    for token in [alloy_primitives::Address::repeat_byte(1), stack.payer.address()] {
        let foreign = sign(7, digest(&transfer, token));
        let payload = tollway_evm::exact::Authorization::payload(&transfer, &foreign).unwrap();
        let refused = verify(&stack.facilitator, &offer, payment(&offer, payload)).await;
        assert_eq!(refused, Err(Reason::BadSignature));
    }
}

#[tokio::test]
async fn fa17_signatures_are_taken_in_their_usual_forms_only() {
    let stack = Stack::new().await;
    let offer = stack.offer();
    let transfer = transfer(stack.payer.address(), PRICE, 1);
    let good = sign(7, digest(&transfer, stack.deployment.usdc));
    let judge = |bytes: Vec<u8>| {
        let payload = tollway_evm::exact::Authorization::payload(&transfer, &bytes).unwrap();
        let paid = payment(&offer, payload);
        let (f, offer) = (&stack.facilitator, &offer);
        async move { verify(f, offer, paid).await }
    };
    let with_v = |v: u8| [&good[..64], &[v]].concat();
    let v = good[64];
    assert_eq!(judge(with_v(v)).await, Ok(()));
    assert_eq!(judge(with_v(v - 27)).await, Ok(()));
    assert_eq!(judge(with_v(55 - v)).await, Err(Reason::BadSignature));
    for odd in [2, 26, 29, 255] {
        assert_eq!(judge(with_v(odd)).await, Err(Reason::SignatureForm), "v {odd}");
    }
    let order =
        alloy_primitives::uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
    let s = alloy_primitives::U256::from_be_slice(&good[32..64]);
    let high = [&good[..32], &(order - s).to_be_bytes::<32>(), &[55 - v]].concat();
    assert_eq!(judge(high).await, Err(Reason::SignatureForm), "high s");
    assert_eq!(judge(good[..64].to_vec()).await, Err(Reason::BadSignature), "64 bytes");
    assert_eq!(judge([&good[..], &[0]].concat()).await, Err(Reason::BadSignature), "trailing byte");
    assert_eq!(judge(Vec::new()).await, Err(Reason::SignatureForm), "empty");
}

#[tokio::test]
async fn rs21_x402rs_11_numbers_that_are_not_plain_decimals_are_refused() {
    let stack = Stack::new().await;
    let offer = stack.offer();
    let good = stack.pay(&offer, 1).await;
    for member in ["value", "validAfter", "validBefore"] {
        for bad in [
            "",
            " 10000",
            "+10000",
            "10_000",
            "010000",
            "１００００",
            "10000\n",
            "1e4",
            "0x2710",
            "-1",
            "10000.0",
        ] {
            let mut paid = good.clone();
            let mut payload = serde_json::to_value(&paid.payload).unwrap();
            payload["authorization"][member] = json!(bad);
            paid.payload = serde_json::from_value(payload).unwrap();
            assert_eq!(
                verify(&stack.facilitator, &offer, paid).await,
                Err(Reason::InvalidPayload),
                "{member} {bad:?}"
            );
        }
    }
}

#[tokio::test]
async fn fa23_the_chain_s_time_decides_when_our_clock_is_behind() {
    let stack = Stack::new().await;
    let offer = stack.offer();
    stack.chain.request("evm_increaseTime", &json!([600])).unwrap();
    stack.chain.mine();
    let paid = stack.pay(&offer, 1).await;
    let refused = verify(&stack.facilitator, &offer, paid.clone()).await;
    assert_eq!(refused, Err(Reason::SimulationFailed), "the chain finds it expired");
    assert_eq!(
        verify(&stack.facilitator, &offer, paid).await,
        Err(Reason::Expired),
        "and we have learnt the time"
    );
    assert_eq!(stack.transactions_of_signer(), 0);
}

#[tokio::test]
async fn fa22_a_node_of_another_chain_is_not_used() {
    let hook = |method: &str, _: &serde_json::Value| {
        (method == "eth_chainId").then(|| crate::common::parking::Fault::Result(json!("0x1")))
    };
    let stack = Stack::with(Mining::Auto, Box::new(hook), |_| {}).await;
    let offer = stack.offer();
    let paid = stack.pay(&offer, 1).await;
    assert_eq!(verify(&stack.facilitator, &offer, paid).await, Err(Reason::ChainUnreachable));
    assert!(stack.facilitator.ready().await.is_err());
}

#[tokio::test]
async fn x402rs_05_the_recipient_is_the_seller_s_own_and_not_the_payment_s_word_for_it() {
    let stack = Stack::new().await;
    let offer = stack.offer();
    let mut mine = offer.clone();
    mine.pay_to = stack.payer.address().to_string();
    let to_myself = stack.pay(&mine, 1).await;
    let f = &stack.facilitator;
    assert_eq!(verify(f, &offer, to_myself.clone()).await, Err(Reason::RecipientMismatch));
    let claiming = tollway_protocol::Payment { accepted: offer.clone(), ..to_myself };
    assert_eq!(verify(f, &offer, claiming).await, Err(Reason::RecipientMismatch));
}

#[tokio::test]
async fn x402rs_15_a_node_that_is_away_at_the_start_is_used_once_it_is_there() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let away = std::sync::Arc::new(AtomicBool::new(true));
    let seen = away.clone();
    let hook = move |_: &str, _: &serde_json::Value| {
        seen.load(Ordering::SeqCst).then_some(crate::common::parking::Fault::Error(-32000, "starting"))
    };
    let stack = Stack::with(Mining::Auto, Box::new(hook), |_| {}).await;
    assert!(stack.facilitator.ready().await.is_err());
    away.store(false, Ordering::SeqCst);
    stack.facilitator.ready().await.unwrap();
    let offer = stack.offer();
    verify(&stack.facilitator, &offer, stack.pay(&offer, 1).await).await.unwrap();
}

#[tokio::test]
async fn x402rs_15_a_chain_without_multicall_is_served_all_the_same() {
    let stack = Stack::new().await;
    stack.chain.set_code(tollway_evm::abi::MULTICALL3, Vec::new());
    let offer = stack.offer();
    verify(&stack.facilitator, &offer, stack.pay(&offer, 1).await).await.unwrap();
    let mut dear = offer.clone();
    dear.amount = Amount::from(2_000_000);
    let paid = stack.pay(&dear, 2).await;
    assert_eq!(verify(&stack.facilitator, &dear, paid).await, Err(Reason::InsufficientBalance));
}
