//! A Solana cluster, and the engine for it.

mod canon;
mod land;
mod mistakes;
mod node;
mod plan;
mod purse;
mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::time::Instant;
use tollway_devnet::svm::Address;
use tollway_ledger::Journal;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::json::Object;
use tollway_protocol::wire::PaymentRequest;
use tollway_protocol::{IdempotencyKey, Network, Refusal};
use tollway_rpc::Transport;
use tollway_svm::ExactFacilitator;
use tollway_svm::facilitator::{Cluster, ClusterConfig};
use tollway_svm::keys::Key;

pub use canon::Canon;
pub use land::{Land, Life, View};
pub use plan::Own;
pub use purse::{Purse, SELLERS, Terms, Transfer};

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

/// The seeds of the fee payers' keys.
const FEE_PAYERS: [u8; 3] = [0x90, 0x91, 0x92];
/// Failed payments of a payer until it is refused: the engine's own.
const REVERTS: u64 = 10;
/// What two nodes have to say the same of, where that is asked for.
const DEAR: u64 = 20_000;

/// The network of every run.
#[must_use]
pub fn network() -> Network {
    Network::named("solana-devnet").unwrap()
}

fn keys(plan: &PlanOf<Svm>) -> Vec<Key> {
    FEE_PAYERS.iter().take(plan.keys).map(|seed| purse::key(*seed)).collect()
}

/// What a caller names its request by, if it does.
fn asker(chance: &Chance) -> Option<IdempotencyKey> {
    chance.permille(400).then(|| IdempotencyKey::read(&hex::encode(chance.bytes())).unwrap())
}

/// A Solana cluster.
#[derive(Debug, Clone, Copy)]
pub struct Svm;

impl Svm {
    /// A payment of the payer's, written down.
    fn write(
        world: &World<Self>,
        purse: &Purse,
        place: usize,
        fee_payer: Address,
        unique: [u8; 32],
    ) -> Wish<Self> {
        let commitment = *world.chance.pick(&["confirmed", "confirmed", "finalized"]);
        let is_fair = world.land.is_fair.load(Ordering::Relaxed);
        let blockhash = if !is_fair && world.chance.permille(150) {
            world.land.old_blockhash(world.chance.between(60, 145))
        } else {
            world.land.blockhash(commitment)
        };
        let (to, value) = SELLERS[place];
        let (bytes, offer) = purse.sign(&Terms { fee_payer, to, value, blockhash: &blockhash, unique });
        let transfer = Transfer::read(&bytes);
        world.land.signed.lock().push(transfer.clone());
        Wish::new(transfer, bytes, offer)
    }
}

impl Side for Svm {
    type Land = Land;
    type Canon = Canon;
    type Own = Own;
    type Purse = Purse;
    type Transfer = Transfer;
    type Account = Address;
    type Facilitator = ExactFacilitator;
    /// The payments that somebody was told to be settled, and who that was.
    type Notes = BTreeMap<PaymentKey, Option<IdempotencyKey>>;

    const NAME: &'static str = "svm";
    const TROUBLES: &'static [Trouble] = &[
        Trouble::FrontRuns,
        Trouble::Payers,
        Trouble::Reorgs,
        Trouble::Drops,
        Trouble::Stalls,
        Trouble::Clocks,
        Trouble::Crashes,
        Trouble::Pauses,
        Trouble::Store,
        Trouble::Network,
        Trouble::Lies,
    ];
    const BLOCKS: &'static [u64] = &[400];
    const MISTAKES: &'static [Mistake] = mistakes::MISTAKES;

    fn set_bug(name: Option<&'static str>) {
        tollway_svm::bug::set(name);
    }

    fn network() -> Network {
        network()
    }

    fn own(chance: &Chance) -> Own {
        Own::draw(chance)
    }

    fn limits(plan: &PlanOf<Self>) -> (u64, u64) {
        (plan.own.lamports, REVERTS)
    }

    fn purse(seed: u8) -> Purse {
        Purse::new(seed)
    }

    fn signers(plan: &PlanOf<Self>) -> Vec<Address> {
        keys(plan).iter().map(Key::address).collect()
    }

    fn land(began: Instant, plan: &PlanOf<Self>, signers: &[Address], purses: &[Purse]) -> Land {
        Land::new(began, plan.own.finality, signers, purses)
    }

    fn facilitator(
        world: &World<Self>,
        plan: &PlanOf<Self>,
        nodes: Vec<Arc<dyn Transport>>,
        clock: Clock,
        journal: Arc<dyn Journal>,
    ) -> ExactFacilitator {
        let process = world.chance.below(u64::MAX);
        let agrees = plan.own.agrees && plan.nodes > 1;
        let config = ClusterConfig {
            transports: nodes,
            clock,
            process,
            agree_above: agrees.then_some(DEAR),
            ..plan.own.config()
        };
        ExactFacilitator::new(Cluster::new(config).unwrap(), keys(plan), journal).unwrap()
    }

    fn mine(land: &Land) {
        land.mine();
    }

    fn clear_up(land: &Land) {
        land.clear_up();
    }

    /// A leader drops it: it has to be sent again.
    fn tries(land: &Land, plan: &PlanOf<Self>) {
        land.chain.drop_next(plan.nodes as u64);
    }

    fn wish(world: &World<Self>, purse: &Purse, place: usize) -> Wish<Self> {
        let fee_payer = *world.chance.pick(&world.land.signers);
        let mut wish = Self::write(world, purse, place, fee_payer, world.chance.bytes());
        wish.asker = asker(&world.chance);
        wish
    }

    /// The same memo, signed anew: with another blockhash, as a rule.
    fn twin(world: &World<Self>, purse: &Purse, old: &Wish<Self>) -> Wish<Self> {
        let fee_payer = *world.chance.pick(&world.land.signers);
        let mut unique = [0; 32];
        hex::decode_to_slice(&old.transfer.memo, &mut unique[..16]).unwrap();
        Self::write(world, purse, world.chance.index(SELLERS.len()), fee_payer, unique)
    }

    fn payload(wish: &Wish<Self>) -> Object {
        Object::new().with("transaction", STANDARD.encode(&wish.signed))
    }

    fn name(transfer: &Transfer) -> String {
        transfer.hash.clone()
    }

    fn decode(request: &PaymentRequest) -> Transfer {
        let text = request.payment_payload.payload.str("transaction").unwrap();
        Transfer::read(&STANDARD.decode(text).unwrap())
    }

    /// What it has goes elsewhere before the payment lands.
    fn spoil(world: &World<Self>, purse: &Purse, _wish: &Wish<Self>) {
        Self::drain(world, purse);
    }

    fn drain(world: &World<Self>, purse: &Purse) {
        let done = world.land.drain(purse, world.chance.bytes());
        world.trace.note(&format!("{} takes all away: {done}", purse.address));
    }

    fn refill(world: &World<Self>, purse: &Purse) {
        world.land.refill(purse);
        world.trace.note(&format!("{} gets more", purse.address));
    }

    /// What our fee payer has signed can be read by anybody, and sent again, or presented.
    fn front_run(run: &Run<Self>, wish: &Wish<Self>) -> bool {
        let (world, chance) = (&run.world, &run.world.chance);
        let raw = {
            let tables = world.tables.lock();
            tables.txs.iter().find(|tx| tx.signed.hash == wish.transfer.hash).map(|tx| tx.signed.raw.clone())
        };
        let Some(raw) = raw else { return false };
        if chance.permille(500) {
            return world.land.send(&raw);
        }
        let mut copy = wish.clone();
        copy.asker = asker(chance);
        run.present(&copy);
        true
    }

    fn trouble(run: &Run<Self>, trouble: Trouble) {
        let (land, chance, trace) = (&run.world.land, &run.world.chance, &run.world.trace);
        match trouble {
            Trouble::Reorgs => {
                let most = *chance.pick(&[2, 4, 32]);
                let depth = land.fork(chance.between(1, most));
                trace.note(&format!("a fork undoes {depth} slots"));
            }
            _ if chance.permille(500) => {
                let count = chance.between(1, 4);
                trace.note(&format!("leaders drop {count} transactions"));
                land.chain.drop_next(count);
            }
            _ => {
                let slots = chance.between(2, 60);
                trace.note(&format!("transactions wait for {slots} slots"));
                land.hold(slots);
            }
        }
    }

    fn leaves(call: &Value) -> Option<(String, Vec<u8>)> {
        if call["method"] != "sendTransaction" {
            return None;
        }
        let raw = STANDARD.decode(call["params"][0].as_str().unwrap()).unwrap();
        Some((purse::signature(&raw), raw))
    }

    fn told(node: &Node<Self>, method: &str, params: &Value) -> Result<Value, (i64, String)> {
        node::told(node, method, params)
    }

    fn success(oracle: &mut Oracle<Self>, call: &Call<'_, Self>, transaction: &str) -> Option<Broken> {
        rules::success(oracle, call, transaction)
    }

    fn is_no_failure(
        call: &Call<'_, Self>,
        refusal: &Refusal,
        transaction: Option<&str>,
        row: Option<&Row>,
    ) -> bool {
        rules::is_no_failure(call, refusal, transaction, row)
    }

    fn end(world: &World<Self>, oracle: &Oracle<Self>, transfer: &Transfer, now: &Shadow) -> Option<Broken> {
        rules::end(world, oracle, transfer, now)
    }

    fn signed(world: &World<Self>, oracle: &Oracle<Self>, tables: &Tables, at: usize) -> Vec<Broken> {
        rules::signed(world, oracle, tables, at)
    }

    fn conserves(_world: &World<Self>, oracle: &Oracle<Self>, tables: &Tables) -> Option<Broken> {
        rules::conserves(oracle, tables)
    }

    fn idle(_world: &World<Self>, _oracle: &Oracle<Self>, _tables: &Tables) -> Vec<String> {
        Vec::new()
    }

    fn balances(world: &World<Self>, oracle: &Oracle<Self>, tables: &Tables) -> Vec<Broken> {
        rules::balances(world, oracle, tables)
    }
}
