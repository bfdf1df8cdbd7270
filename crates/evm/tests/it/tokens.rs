use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolCall as _;
use tollway_devnet::artefacts;
use tollway_devnet::evm::{Mining, Token};
use tollway_protocol::Reason;
use tollway_protocol::assets::Asset;
use tollway_protocol::scheme::Outcome;

use crate::common::{PRICE, Stack, bound, network, offer_of, reason_of, verify};

const ODD: Address = Address::repeat_byte(0xdd);

async fn stack_with(runtime: &'static [u8]) -> Stack {
    let asset = Asset {
        network: network(),
        address: ODD.to_string(),
        symbol: "ODD".into(),
        decimals: 6,
        domain: Some(("USDC".into(), "2".into())),
        eip3009: true,
    };
    let stack = Stack::with(Mining::Auto, Box::new(|_, _| None), |config| config.assets = vec![asset]).await;
    let token = Token { address: ODD, name: "USDC".into(), symbol: "ODD".into(), decimals: 6 };
    token.deploy(&stack.chain).unwrap();
    alloy_sol_types::sol! { function mint(address to, uint256 amount) external returns (bool); }
    let data = mintCall { to: stack.payer.address(), amount: U256::from(1_000_000) }.abi_encode();
    stack.chain.call_for_good(tollway_devnet::evm::MINTER, ODD, Bytes::from(data)).unwrap();
    stack.chain.set_code(ODD, runtime);
    stack
}

#[tokio::test]
async fn fa10_an_asset_without_code_is_refused() {
    let stack = stack_with(&[]).await;
    let offer = offer_of(ODD);
    let payer = stack.payer.clone().with_assets(vec![]);
    let signed =
        tollway_protocol::scheme::PayerScheme::sign(&payer, &offer, crate::common::now(), [1; 32]).await;
    let paid = crate::common::payment(&offer, signed.unwrap().payload);
    assert_eq!(verify(&stack.facilitator, &offer, paid.clone()).await, Err(Reason::AssetNotDeployed));
    let outcome = stack.settle(bound(&stack.facilitator, &offer, paid).unwrap()).await;
    assert_eq!(reason_of(&outcome), Some(&Reason::AssetNotDeployed));
    assert_eq!(stack.transactions_of_signer(), 0);
}

#[tokio::test]
async fn fa11_x402rs_13_a_token_that_takes_a_fee_does_not_count_as_paid() {
    let stack = stack_with(artefacts::FEE_TOKEN.runtime).await;
    let offer = offer_of(ODD);
    let paid = stack.pay(&offer, 1).await;
    let outcome = stack.settle(bound(&stack.facilitator, &offer, paid).unwrap()).await;
    assert_eq!(reason_of(&outcome), Some(&Reason::TransferNotFound), "{outcome:?}");
}

#[tokio::test]
async fn fa11_a_token_that_is_silent_about_used_nonces_pays_once() {
    let stack = stack_with(artefacts::SILENT_TOKEN.runtime).await;
    let offer = offer_of(ODD);
    let payment = bound(&stack.facilitator, &offer, stack.pay(&offer, 1).await).unwrap();
    let first = stack.settle(payment.clone()).await;
    assert!(matches!(first, Outcome::Settled { .. }), "{first:?}");
    assert_eq!(stack.settle(payment).await, first);
    let seller: Address = tollway_protocol::door::hex_array::<20>(crate::common::SELLER).unwrap().into();
    assert_eq!((stack.balance_of(ODD, seller), stack.transactions_of_signer()), (PRICE, 1));
}
