//! Wallets and tokens that mean harm (fx-G1): what they cost is bounded, and honest payers don't notice.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall as _, sol};
use tollway_devnet::artefacts;
use tollway_devnet::evm::{MINTER, Token};
use tollway_evm::abi::{Eip3009, TransferWithAuthorization};
use tollway_evm::exact::Authorization;
use tollway_protocol::Reason;
use tollway_protocol::bind::PaymentKey;

use crate::load::{self, Answer, Client, Load, Manner, Must, Purchase};
use crate::matrix::Row;
use crate::oracle::{check, judge, settle_down, transfers};
use crate::world::{Settings, Signed, World, network, now, request, signer};

sol! {
    function behave(uint8 mood, uint256 until) external;
    function callBack(address target, bytes data) external;
    function divert(address to, bool lie) external;
    function muteTransfers(bool muted) external;
    function mint(address to, uint256 amount) external returns (bool);
}

const WALLET: Address = Address::repeat_byte(0x66);
/// The most reverts of one payer's payments that a facilitator pays for in a day.
const REVERTS: u64 = 3;
/// Tries of one hostile wallet.
const TRIES: u64 = 12;

/// A payment out of a wallet that says itself what its signature is.
fn payment_of(world: &World, wallet: Address, asset: Address, number: u64, value: u64) -> Signed {
    let transfer = TransferWithAuthorization {
        from: wallet,
        to: world.seller,
        value: U256::from(value),
        validAfter: U256::from(now().0 - 60),
        validBefore: U256::from(now().0 + 600),
        nonce: B256::from(U256::from(number)),
    };
    let payload = Authorization::payload(&transfer, &[1, 2, 3]).unwrap();
    let body = request(world.offer(asset, value), payload);
    let key = PaymentKey::new(
        &network(),
        &[&asset.to_string().to_lowercase(), &wallet.to_string().to_lowercase(), &transfer.nonce.to_string()],
    );
    Signed { body, key, payer: wallet, nonce: transfer.nonce, value }
}

/// What never comes to an end is waited for by every caller: not long.
fn quick() -> Settings {
    Settings { window: 600, settle_seconds: 2, ..Settings::default() }
}

/// One hostile wallet tries again and again while honest payers pay.
async fn wallet(mood: u8) {
    let world = World::new(quick()).await;
    world.chain.set_code(WALLET, artefacts::HOSTILE.runtime);
    world.deployment.mint(WALLET, U256::from(100_000_000u64)).unwrap();
    let until = U256::from(world.chain.block_number() + 3);
    world.chain.call_for_good(MINTER, WALLET, behaveCall { mood, until }.abi_encode()).unwrap();
    if mood == 7 {
        let data = Bytes::from(Eip3009::balanceOfCall { account: WALLET }.abi_encode());
        let call = callBackCall { target: world.deployment.usdc, data };
        world.chain.call_for_good(MINTER, WALLET, call.abi_encode()).unwrap();
    }
    let facilitator = world.start().await;
    let load = Load::new(&world).await;
    let running = load.begin();
    let (client, before) = (Client::new(&world), world.chain.balance(signer(0).address()));
    let mut tried = Vec::new();
    for number in 0..TRIES {
        let payment = payment_of(&world, WALLET, world.deployment.usdc, 900 + number, 20_000 + number);
        tried.push(Purchase::of(vec![payment], Manner::Normal, Must::Agree));
        client.ask(tried.last().unwrap(), 0).await;
    }
    load::ended(running).await;
    let mined = world.mined_of(signer(0).address());
    let made = transfers(&world).iter().filter(|transfer| transfer.payer == WALLET).count();
    let honest = u64::try_from(load.purchases.len() + made).unwrap();
    assert!(mined <= honest + REVERTS, "{mined} transactions for {honest} payments");
    let spent = before - world.chain.balance(signer(0).address());
    let most = U256::from(mined) * U256::from(300_000u64) * U256::from(4_000_000_000u64);
    assert!(spent <= most, "{spent} wei for {mined} transactions");
    settle_down(&world, &load.purchases).await;
    // What it was told is right too; what it has spoiled may stay open until its time is over.
    tried.extend(load.purchases);
    check(&world, &tried).await;
    facilitator.kill();
}

/// What a token does to payments.
#[derive(Debug, Clone, Copy)]
enum Mean {
    /// Pays somebody else, and says so.
    Diverts,
    /// Keeps a part.
    TakesAFee,
    /// Says nothing of its transfers.
    IsMute,
}

/// A token that the operator vouches for and that does not do what it should: never is anything told paid that is not.
async fn token(mean: Mean) {
    let address = Address::repeat_byte(0x77);
    let mut world = World::new(quick()).await;
    let mark = Token { address, name: "Mean".into(), symbol: "MEAN".into(), decimals: 6 };
    mark.deploy(&world.chain).unwrap();
    let code = match mean {
        Mean::Diverts => artefacts::DIVERT_TOKEN.runtime,
        Mean::TakesAFee => artefacts::FEE_TOKEN.runtime,
        Mean::IsMute => artefacts::SILENT_TOKEN.runtime,
    };
    world.chain.set_code(address, code);
    let thief = Address::repeat_byte(0x78);
    let spoil = match mean {
        Mean::Diverts => Some(divertCall { to: thief, lie: false }.abi_encode()),
        Mean::TakesAFee => None,
        Mean::IsMute => Some(muteTransfersCall { muted: true }.abi_encode()),
    };
    let payer = world.payers[0].address();
    let mint = mintCall { to: payer, amount: U256::from(1_000_000u64) };
    world.chain.call_for_good(MINTER, address, mint.abi_encode()).unwrap();
    if let Some(call) = spoil {
        world.chain.call_for_good(MINTER, address, call).unwrap();
    }
    world.settings.network = format!(
        "[[network.assets]]\naddress = \"{address}\"\nsymbol = \"MEAN\"\ndecimals = 6\nname = \"Mean\"\nversion = \"2\"\n"
    );
    let facilitator = world.start().await;
    let load = Load::new(&world).await;
    let running = load.begin();
    let client = Client::new(&world);
    for number in 0..TRIES {
        let payment = world.sign_in(address, "Mean", 0, 700 + number, 10_000).await;
        let answer = client.settle(&payment).await;
        assert!(!matches!(answer, Answer::Paid { .. }), "U: {answer:?}");
    }
    load::ended(running).await;
    let (mined, honest) = (world.mined_of(signer(0).address()), u64::try_from(load.purchases.len()).unwrap());
    assert!(mined <= honest + REVERTS, "{mined} transactions for {honest} payments");
    judge(&world, &load.purchases).await;
    // What can't be told of some payments may stay open.
    facilitator.kill();
}

/// A token that the operator does not vouch for costs nothing.
async fn unknown_token() {
    let world = World::new(Settings::default()).await;
    let facilitator = world.start().await;
    let address = Address::repeat_byte(0x79);
    world.chain.set_code(address, artefacts::HOSTILE.runtime);
    let client = Client::new(&world);
    let purchase: Arc<Purchase> = Purchase::new(&world, Manner::Normal).await;
    for number in 0..3 {
        let answer = client.settle(&world.sign_in(address, "USDC", 0, 700 + number, 10_000).await).await;
        let refused = matches!(answer, Answer::Refused { reason: Reason::AssetNotAllowed, .. });
        assert!(refused, "{answer:?}");
    }
    assert!(world.node.given().is_empty(), "nothing is broadcast");
    judge(&world, &[purchase]).await;
    facilitator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_g1_hostile_wallets_cost_a_bounded_number_of_transactions() {
    let moods = [
        (0, "says yes to everything"),
        (1, "says no"),
        (2, "says yes up to a block"),
        (3, "says yes in simulations only"),
        (4, "burns all gas"),
        (5, "returns a megabyte"),
        (6, "reverts with a megabyte"),
        (7, "calls back"),
    ];
    let mut row = Row::new("fx-G1 hostile wallet");
    for (mood, does) in moods {
        // Those that pass the simulation cost something.
        row = if matches!(mood, 2..=4) { row.cell(does, wallet(mood)) } else { row.long(does, wallet(mood)) };
    }
    row.run(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_g1_fa10_fa11_fa16_a_token_that_does_not_pay_is_never_told_paid() {
    Row::new("fx-G1 hostile token")
        .cell("pays somebody else", token(Mean::Diverts))
        .cell("takes a fee", token(Mean::TakesAFee))
        .cell("has no transfer in its logs", token(Mean::IsMute))
        .cell("is not vouched for", unknown_token())
        .run(4)
        .await;
}
