use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall as _, SolValue as _};
use serde_json::json;
use tollway_devnet::artefacts;
use tollway_devnet::evm::Mining;
use tollway_protocol::scheme::Outcome;
use tollway_protocol::{Payment, Reason};

use crate::common::{PRICE, Stack, bound, digest, key, payment, sign, transfer, verify};

alloy_sol_types::sol! {
    function deploy(address owner, bytes32 salt) external returns (address);
    function addressOf(address owner, bytes32 salt) external view returns (address);
}

const FACTORY: Address = Address::repeat_byte(0xfa);

async fn stack(allowed: bool) -> Stack {
    let factories = if allowed { vec![FACTORY] } else { Vec::new() };
    let stack = Stack::with(Mining::Auto, Box::new(|_, _| None), |config| {
        config.factories = factories;
        config.gas_cap = 1_000_000;
    })
    .await;
    stack.chain.set_code(FACTORY, artefacts::WALLET_FACTORY.runtime);
    stack
}

/// The wallet of key 7's account, funded, deployed or not.
fn wallet(stack: &Stack, deployed: bool) -> Address {
    let (owner, salt) = (key(7).address(), B256::ZERO);
    let data = Bytes::from(addressOfCall { owner, salt }.abi_encode());
    let out = stack.chain.request("eth_call", &json!([{"to": FACTORY, "data": data}, "latest"])).unwrap();
    let word: B256 = serde_json::from_value(out).unwrap();
    let wallet = Address::from_word(word);
    if deployed {
        stack.chain.call_for_good(owner, FACTORY, deployCall { owner, salt }.abi_encode()).unwrap();
    }
    stack.deployment.mint(wallet, U256::from(PRICE * 10)).unwrap();
    wallet
}

fn pay(stack: &Stack, wallet: Address, seed: u8, wrap: bool) -> Payment {
    let transfer = transfer(wallet, PRICE, 1);
    let mut signature = sign(seed, digest(&transfer, stack.deployment.usdc));
    if wrap {
        let data = deployCall { owner: key(7).address(), salt: B256::ZERO }.abi_encode();
        let parts = (FACTORY, Bytes::from(data), Bytes::from(signature));
        signature = [parts.abi_encode_params(), [0x64, 0x92].repeat(16)].concat();
    }
    let payload = tollway_evm::exact::Authorization::payload(&transfer, &signature).unwrap();
    payment(&stack.offer(), payload)
}

#[tokio::test]
async fn a_deployed_contract_wallet_pays_by_erc_1271() {
    let stack = stack(false).await;
    let wallet = wallet(&stack, true);
    let offer = stack.offer();
    let good = pay(&stack, wallet, 7, false);
    verify(&stack.facilitator, &offer, good.clone()).await.unwrap();
    let forged = pay(&stack, wallet, 8, false);
    assert_eq!(verify(&stack.facilitator, &offer, forged).await, Err(Reason::BadSignature));
    let outcome = stack.settle(bound(&stack.facilitator, &offer, good).unwrap()).await;
    assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
    assert_eq!(stack.seller_balance(), PRICE);
}

#[tokio::test]
async fn fa14_an_undeployed_wallet_is_refused_unless_its_factory_is_allowed() {
    let stack = stack(false).await;
    let wallet = wallet(&stack, false);
    let refused = verify(&stack.facilitator, &stack.offer(), pay(&stack, wallet, 7, true)).await;
    assert_eq!(refused, Err(Reason::FactoryNotAllowed));
}

#[tokio::test]
async fn an_undeployed_wallet_of_an_allowed_factory_is_deployed_and_pays_in_one_transaction() {
    let stack = stack(true).await;
    let wallet = wallet(&stack, false);
    let offer = stack.offer();
    let good = pay(&stack, wallet, 7, true);
    verify(&stack.facilitator, &offer, good.clone()).await.unwrap();
    assert_eq!(
        verify(&stack.facilitator, &offer, pay(&stack, wallet, 8, true)).await,
        Err(Reason::BadSignature)
    );
    let outcome = stack.settle(bound(&stack.facilitator, &offer, good).unwrap()).await;
    assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
    assert_eq!((stack.seller_balance(), stack.transactions_of_signer()), (PRICE, 1));
    assert!(!stack.chain.code(wallet).is_empty());
}

#[tokio::test]
async fn a_wrapped_signature_of_a_deployed_wallet_still_works() {
    let stack = stack(true).await;
    let wallet = wallet(&stack, true);
    let good = pay(&stack, wallet, 7, true);
    verify(&stack.facilitator, &stack.offer(), good).await.unwrap();
}
