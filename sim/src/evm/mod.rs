//! An EVM chain, and the engine for it.

mod canon;
mod land;
mod mistakes;
mod node;
mod plan;
mod purse;
mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::{Address, B256, U256, keccak256};
use serde_json::{Value, json};
use tokio::time::Instant;
use tollway_evm::abi::TransferWithAuthorization;
use tollway_evm::exact::Authorization;
use tollway_evm::facilitator::ChainConfig;
use tollway_evm::{Chain, ExactFacilitator};
use tollway_ledger::Journal;
use tollway_protocol::json::Object;
use tollway_protocol::wire::PaymentRequest;
use tollway_protocol::{Network, Refusal};
use tollway_rpc::Transport;

pub use canon::Canon;
use canon::Id;
pub use land::{Land, STRANGER};
pub use plan::Own;
pub use purse::{Purse, SELLERS};

use crate::chance::Chance;
use crate::hunt::Mistake;
use crate::node::Node;
use crate::oracle::{Call, Oracle, Shadow};
use crate::plan::Trouble;
use crate::replica::Clock;
use crate::run::Run;
use crate::side::{Broken, PlanOf, Side};
use crate::store::{Row, Tables};
use crate::wish::Wish;
use crate::world::World;

/// The chain's id: Base Sepolia, whose token the engine knows.
pub const CHAIN_ID: u64 = 84_532;
/// The first byte of the senders' keys.
const FIRST_KEY: u8 = 0x90;

/// The network of every run.
#[must_use]
pub fn network() -> Network {
    Network::eip155(CHAIN_ID)
}

fn keys(plan: &PlanOf<Evm>) -> Vec<tollway_evm::keys::Key> {
    (0..plan.keys).map(|n| purse::key(FIRST_KEY + u8::try_from(n).unwrap())).collect()
}

/// An EVM chain.
#[derive(Debug, Clone, Copy)]
pub struct Evm;

impl Side for Evm {
    type Land = Land;
    type Canon = Canon;
    type Own = Own;
    type Purse = Purse;
    type Transfer = TransferWithAuthorization;
    type Account = Address;
    type Facilitator = ExactFacilitator;
    /// What each transfer was delivered for.
    type Notes = BTreeMap<(Id, B256), (Address, U256)>;

    const NAME: &'static str = "evm";
    const TROUBLES: &'static [Trouble] = &[
        Trouble::FrontRuns,
        Trouble::Payers,
        Trouble::Reorgs,
        Trouble::Drops,
        Trouble::Fees,
        Trouble::Stalls,
        Trouble::Clocks,
        Trouble::Crashes,
        Trouble::Pauses,
        Trouble::Store,
        Trouble::Network,
        Trouble::Lies,
    ];
    const BLOCKS: &'static [u64] = &[1_000, 2_000];
    const MISTAKES: &'static [Mistake] = mistakes::MISTAKES;

    fn set_bug(name: Option<&'static str>) {
        tollway_evm::bug::set(name);
    }

    fn network() -> Network {
        network()
    }

    fn own(chance: &Chance) -> Own {
        Own::draw(chance)
    }

    fn limits(plan: &PlanOf<Self>) -> (u64, u64) {
        (plan.own.gas_gwei, plan.own.config().reverts_per_day)
    }

    fn purse(seed: u8) -> Purse {
        Purse::new(seed)
    }

    fn signers(plan: &PlanOf<Self>) -> Vec<Address> {
        keys(plan).iter().map(tollway_evm::keys::Key::address).collect()
    }

    fn land(began: Instant, _plan: &PlanOf<Self>, signers: &[Address], purses: &[Purse]) -> Land {
        let funds = purses.iter().map(|purse| (purse.address, 600_000)).collect::<Vec<_>>();
        Land::new(began, signers, &funds)
    }

    fn facilitator(
        _world: &World<Self>,
        plan: &PlanOf<Self>,
        nodes: Vec<Arc<dyn Transport>>,
        clock: Clock,
        journal: Arc<dyn Journal>,
    ) -> ExactFacilitator {
        let config = ChainConfig { transports: nodes, clock, ..plan.own.config() };
        ExactFacilitator::with_keys(Chain::new(config).unwrap(), keys(plan), journal)
    }

    fn mine(land: &Land) {
        land.chain.mine();
    }

    fn clear_up(land: &Land) {
        land.ask("anvil_setNextBlockBaseFeePerGas", &json!(["0x3b9aca00"]));
    }

    fn tries(_land: &Land, _plan: &PlanOf<Self>) {}

    fn wish(world: &World<Self>, purse: &Purse, place: usize) -> Wish<Self> {
        let (land, nonce) = (&world.land, world.chance.bytes());
        purse.wish(land.domain, land.deployment.usdc, place, world.now(), nonce.into())
    }

    fn twin(world: &World<Self>, purse: &Purse, old: &Wish<Self>) -> Wish<Self> {
        let land = &world.land;
        let place = usize::from(old.transfer.to == SELLERS[0].0);
        purse.wish(land.domain, land.deployment.usdc, place, world.now(), old.transfer.nonce)
    }

    fn payload(wish: &Wish<Self>) -> Object {
        Authorization::payload(&wish.transfer, &wish.signed).unwrap()
    }

    fn name(transfer: &TransferWithAuthorization) -> String {
        transfer.nonce.to_string()
    }

    fn decode(request: &PaymentRequest) -> TransferWithAuthorization {
        Authorization::decode(&request.payment_payload.payload).unwrap().transfer
    }

    fn spoil(world: &World<Self>, purse: &Purse, wish: &Wish<Self>) {
        let nonce = wish.transfer.nonce;
        world.trace.note(&format!("cancels {nonce}: {}", world.land.cancel(purse, nonce)));
    }

    fn drain(world: &World<Self>, purse: &Purse) {
        let land = &world.land;
        let done = land.pass(purse.address, STRANGER, land.tokens(purse.address));
        world.trace.note(&format!("{} takes all away: {done}", purse.address));
    }

    fn refill(world: &World<Self>, purse: &Purse) {
        let done = world.land.pass(STRANGER, purse.address, U256::from(300_000));
        world.trace.note(&format!("{} gets more: {done}", purse.address));
    }

    fn front_run(run: &Run<Self>, wish: &Wish<Self>) -> bool {
        run.world.land.front_run(wish)
    }

    fn trouble(run: &Run<Self>, trouble: Trouble) {
        let (world, chance) = (&run.world, &run.world.chance);
        match trouble {
            Trouble::Reorgs => {
                let (depth, keeps) = (chance.between(1, 3), chance.permille(500));
                world.trace.note(&format!("reorg of {depth}, keeps {keeps}"));
                world.land.chain.reorg(depth, keeps).unwrap();
            }
            Trouble::Fees => {
                let gwei = *chance.pick(&[0, 3, 20, 120]);
                world.trace.note(&format!("gas costs {gwei} gwei"));
                world.land.ask("anvil_setNextBlockBaseFeePerGas", &json!([gwei * 1_000_000_000u64]));
            }
            _ => drop_transaction(world),
        }
    }

    fn leaves(call: &Value) -> Option<(String, Vec<u8>)> {
        if call["method"] != "eth_sendRawTransaction" {
            return None;
        }
        let raw: alloy_primitives::Bytes = serde_json::from_value(call["params"][0].clone()).unwrap();
        Some((keccak256(&raw).to_string(), raw.to_vec()))
    }

    fn told(node: &Node<Self>, method: &str, params: &Value) -> Result<Value, (i64, String)> {
        node::told(node, method, params)
    }

    fn success(oracle: &mut Oracle<Self>, call: &Call<'_, Self>, transaction: &str) -> Option<Broken> {
        rules::success(oracle, call, transaction)
    }

    fn is_no_failure(
        _call: &Call<'_, Self>,
        _refusal: &Refusal,
        _transaction: Option<&str>,
        _row: Option<&Row>,
    ) -> bool {
        false
    }

    fn end(
        _world: &World<Self>,
        _oracle: &Oracle<Self>,
        _transfer: &TransferWithAuthorization,
        _now: &Shadow,
    ) -> Option<Broken> {
        None
    }

    fn signed(world: &World<Self>, oracle: &Oracle<Self>, tables: &Tables, at: usize) -> Vec<Broken> {
        rules::signed(world, oracle, tables, at)
    }

    fn conserves(_world: &World<Self>, oracle: &Oracle<Self>, tables: &Tables) -> Option<Broken> {
        rules::conserves(oracle, tables)
    }

    fn idle(world: &World<Self>, oracle: &Oracle<Self>, tables: &Tables) -> Vec<String> {
        rules::idle(world, oracle, tables)
    }

    fn balances(world: &World<Self>, oracle: &Oracle<Self>, tables: &Tables) -> Vec<Broken> {
        rules::balances(world, oracle, tables)
    }
}

fn drop_transaction(world: &World<Evm>) {
    let hashes: Vec<_> = {
        let tables = world.tables.lock();
        tables.txs.iter().rev().take(6).map(|tx| tx.signed.hash.clone()).collect()
    };
    if !hashes.is_empty() {
        let hash = world.chance.pick(&hashes);
        let done = world.land.chain.request("anvil_dropTransaction", &json!([hash]));
        world.trace.note(&format!("the nodes forget {hash}: {done:?}"));
    }
}
