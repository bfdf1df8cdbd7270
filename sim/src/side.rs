//! What differs between chains: accounts, payments, what goes wrong there, and what the chain says of it all.

use std::fmt::{Debug, Display};
use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;
use tollway_ledger::Journal;
use tollway_protocol::json::Object;
use tollway_protocol::scheme::FacilitatorScheme;
use tollway_protocol::wire::PaymentRequest;
use tollway_protocol::{Network, Refusal};
use tollway_rpc::Transport;

use crate::chance::Chance;
use crate::hunt::Mistake;
use crate::node::Node;
use crate::oracle::{Call, Oracle, Shadow};
use crate::plan::{Plan, Trouble};
use crate::replica::Clock;
use crate::run::Run;
use crate::store::{Row, Tables};
use crate::wish::Wish;
use crate::world::World;

/// A rule that is broken, and how.
pub type Broken = (&'static str, String);

/// A plan of a run on this chain.
pub type PlanOf<S> = Plan<<S as Side>::Own>;

/// A chain in the simulation, and the engine for it.
pub trait Side: Sized + Send + Sync + 'static {
    /// The chain.
    type Land: Send + Sync;
    /// What the chain has and once had.
    type Canon: Canon<Self>;
    /// What a plan decides for this chain alone.
    type Own: Debug + Clone + Send + Sync;
    /// A payer.
    type Purse: Send + Sync;
    /// What a payment says.
    type Transfer: Debug + Clone + PartialEq + Send + Sync;
    /// An account.
    type Account: Debug + Display + Clone + PartialEq + Send + Sync;
    /// The engine.
    type Facilitator: FacilitatorScheme + Clone;
    /// What its rules remember besides.
    type Notes: Default + Send;

    /// As the command line has it.
    const NAME: &'static str;
    /// What may go wrong.
    const TROUBLES: &'static [Trouble];
    /// Milliseconds between blocks, one of them.
    const BLOCKS: &'static [u64];
    /// The engine's built-in mistakes.
    const MISTAKES: &'static [Mistake];

    /// Makes a mistake from now on, on this thread.
    fn set_bug(name: Option<&'static str>);
    /// The network of every run.
    fn network() -> Network;
    /// What the dice say of this chain's part of the plan.
    fn own(chance: &Chance) -> Self::Own;
    /// The most that may be bid in a day, and reverts of a payer until it is refused.
    fn limits(plan: &PlanOf<Self>) -> (u64, u64);
    /// The payer number `seed`.
    fn purse(seed: u8) -> Self::Purse;
    /// The accounts that all replicas send from.
    fn signers(plan: &PlanOf<Self>) -> Vec<Self::Account>;
    /// The chain at the beginning.
    fn land(
        began: Instant,
        plan: &PlanOf<Self>,
        signers: &[Self::Account],
        purses: &[Self::Purse],
    ) -> Self::Land;
    /// A process's engine.
    fn facilitator(
        world: &World<Self>,
        plan: &PlanOf<Self>,
        nodes: Vec<Arc<dyn Transport>>,
        clock: Clock,
        journal: Arc<dyn Journal>,
    ) -> Self::Facilitator;
    /// The next block.
    fn mine(land: &Self::Land);
    /// The chain's own faults stop.
    fn clear_up(land: &Self::Land);
    /// What the chain does to the first payment in fair weather.
    fn tries(land: &Self::Land, plan: &PlanOf<Self>);

    /// A new payment to the seller at `place`.
    fn wish(world: &World<Self>, purse: &Self::Purse, place: usize) -> Wish<Self>;
    /// Another payment in the place of `old`: both can't be made.
    fn twin(world: &World<Self>, purse: &Self::Purse, old: &Wish<Self>) -> Wish<Self>;
    /// What is presented.
    fn payload(wish: &Wish<Self>) -> Object;
    /// What a payment is called.
    fn name(transfer: &Self::Transfer) -> String;
    /// The payment in a request.
    fn decode(request: &PaymentRequest) -> Self::Transfer;

    /// A payer sees to it that its payment can't be made.
    fn spoil(world: &World<Self>, purse: &Self::Purse, wish: &Wish<Self>);
    /// A payer takes all that it has away.
    fn drain(world: &World<Self>, purse: &Self::Purse);
    /// A payer gets more.
    fn refill(world: &World<Self>, purse: &Self::Purse);
    /// A stranger submits a payment.
    fn front_run(run: &Run<Self>, wish: &Wish<Self>) -> bool;
    /// A trouble that is the chain's.
    fn trouble(run: &Run<Self>, trouble: Trouble);

    /// The transaction that a call lets go: its hash and itself.
    fn leaves(call: &Value) -> Option<(String, Vec<u8>)>;
    /// What a node answers.
    ///
    /// # Errors
    /// The code and message with which it refuses.
    fn told(node: &Node<Self>, method: &str, params: &Value) -> Result<Value, (i64, String)>;

    /// S1, S2, S4: what is wrong with telling success.
    fn success(oracle: &mut Oracle<Self>, call: &Call<'_, Self>, transaction: &str) -> Option<Broken>;
    /// Whether a refusal says nothing of failure, the settlement being as in `row`.
    fn is_no_failure(
        call: &Call<'_, Self>,
        refusal: &Refusal,
        transaction: Option<&str>,
        row: Option<&Row>,
    ) -> bool;
    /// S5: what is wrong with recording this end.
    fn end(
        world: &World<Self>,
        oracle: &Oracle<Self>,
        transfer: &Self::Transfer,
        now: &Shadow,
    ) -> Option<Broken>;
    /// S3, S8, S11: what is wrong with the recorded transaction at `at`.
    fn signed(world: &World<Self>, oracle: &Oracle<Self>, tables: &Tables, at: usize) -> Vec<Broken>;
    /// S11: what is wrong with what our accounts paid.
    fn conserves(world: &World<Self>, oracle: &Oracle<Self>, tables: &Tables) -> Option<Broken>;
    /// V3: what is recorded and comes to no end on the chain.
    fn idle(world: &World<Self>, oracle: &Oracle<Self>, tables: &Tables) -> Vec<String>;
    /// S5, S11: how the store and the chain differ at the end.
    fn balances(world: &World<Self>, oracle: &Oracle<Self>, tables: &Tables) -> Vec<Broken>;
}

/// The chain, as it is known without a node in between.
pub trait Canon<S: Side>: Default + Send {
    /// Catches up with the chain.
    fn follow(&mut self, land: &S::Land);
    /// A payment that the chain has twice.
    fn twice(&self) -> Option<String>;
    /// The newest block.
    fn head(&self) -> String;
    /// Whether a reorg took the transaction back.
    fn is_lost(&self, hash: &str) -> bool;
    /// The transaction that made it, or another payment in its place.
    fn paid_in(&self, transfer: &S::Transfer) -> Option<String>;
    /// Whether the chain has just this payment.
    fn has(&self, transfer: &S::Transfer) -> bool;
    /// Whether it ever had this payment in the transaction.
    fn had(&self, transfer: &S::Transfer, hash: &str) -> bool;
    /// Whether the transaction ever was one that made or prevented it.
    fn is_about(&self, transfer: &S::Transfer, hash: &str) -> bool;
}
