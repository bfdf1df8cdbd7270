//! Calls to a network's nodes: one, several in one round trip, or the same to every node.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::answer::{Question, RpcError, UNREADABLE, read, unpacked, written, written_in};
use crate::fault::{self, Fault};
use crate::pool::Pool;
use crate::transport::Transport;

/// What is around the parameters of a call, in bytes, and a little more.
const FRAME: usize = 96;

const NO_NODE: RpcError = RpcError::Unreachable("no node is configured");

/// What the counters are called.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// Counts calls, by `method`.
    pub calls: &'static str,
    /// Counts calls that gave no result, by `method`.
    pub errors: &'static str,
    /// Counts nodes that were asked and passed over for the next, by `node`, its place in the list, and `why`.
    pub passed_over: &'static str,
}

/// An answer that tells of which block or slot it is.
pub trait Dated {
    /// Its number.
    fn height(&self) -> u64;
}

/// A network's nodes.
#[derive(Clone)]
pub struct Rpc {
    pool: Pool,
    names: Names,
}

/// One call of several that are made together.
pub struct Ask {
    method: &'static str,
    /// Written once: the calldata of many payments is long.
    params: Box<RawValue>,
}

impl Ask {
    /// A call of `method`. Parameters that can't be written are null: numbers, bytes and texts always can.
    #[must_use]
    pub fn new(method: &'static str, params: &impl Serialize) -> Self {
        let params = serde_json::value::to_raw_value(params).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self { method, params }
    }
}

/// What one of several calls gave; read as what was asked for.
pub struct Given(Result<Box<RawValue>, RpcError>);

impl Given {
    pub(crate) fn new(raw: Result<Box<RawValue>, RpcError>) -> Self {
        Self(raw)
    }

    /// The refusal, when it speaks of the node.
    fn lacked(&self) -> Option<&RpcError> {
        self.0.as_ref().err().filter(|error| fault::of(error).is_some())
    }

    /// The result.
    ///
    /// # Errors
    /// The node's refusal, or [`RpcError::Unreachable`] when the result is not an `R`.
    pub fn read<R: DeserializeOwned>(self) -> Result<R, RpcError> {
        let raw = self.0?;
        serde_json::from_str(raw.get()).map_err(|_| UNREADABLE)
    }
}

/// What the nodes that were passed over for others said.
struct Passed(RpcError);

impl Passed {
    /// The first refusal says more than silence.
    fn keep(&mut self, error: RpcError) {
        if matches!(self.0, RpcError::Unreachable(_)) {
            self.0 = error;
        }
    }
}

impl Rpc {
    /// The nodes at the ends of `ways`, the preferred one first; each has `timeout` for an answer. No I/O yet.
    #[must_use]
    pub fn new(ways: Vec<Arc<dyn Transport>>, timeout: Duration, names: Names) -> Self {
        Self { pool: Pool::new(ways, timeout), names }
    }

    /// Asks a node last that is more than `lag` blocks or slots behind what was told lately, by it or others; none unless
    /// set. Heights are told by [`Rpc::request_dated`] and [`Rpc::saw`], and count for 30 seconds.
    #[must_use]
    pub fn with_lag(self, lag: u64) -> Self {
        Self { pool: self.pool.with_lag(lag), ..self }
    }

    /// Round trips made so far.
    #[must_use]
    pub fn trips(&self) -> u64 {
        self.pool.trips()
    }

    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.pool.len()
    }

    /// Asks the first node that answers. One that says that it can't, since it is asked too often, is behind, has no history
    /// or has failed itself, is passed over like one that doesn't answer; both are asked last for a while.
    ///
    /// # Errors
    /// [`RpcError::Refused`] by the first that answers, or by the first that says it can't when no other answers;
    /// [`RpcError::Unreachable`] when none says anything.
    pub async fn request<P: Serialize, R: DeserializeOwned>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, RpcError> {
        let body = written(&Question::new(1, method, params))?;
        let mut passed = Passed(NO_NODE);
        for node in self.pool.order() {
            match self.one(node, method, body.clone()).await {
                Err(error) => passed.keep(self.pass_over(node, error)?),
                answer => return answer,
            }
        }
        Err(passed.0)
    }

    /// As [`Rpc::request`], of what tells its height: a node that is too far behind (see [`Rpc::with_lag`]) is passed over,
    /// too, and is believed only when no node answers that is not.
    ///
    /// # Errors
    /// As [`Rpc::request`].
    pub async fn request_dated<P: Serialize, R: DeserializeOwned + Dated>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, RpcError> {
        let body = written(&Question::new(1, method, params))?;
        let mut passed = Passed(NO_NODE);
        let mut latest: Option<R> = None;
        for node in self.pool.order() {
            match self.one::<R>(node, method, body.clone()).await {
                Err(error) => passed.keep(self.pass_over(node, error)?),
                Ok(answer) if self.pool.saw(node, answer.height()) => {
                    self.count_passed(node, "behind");
                    if latest.as_ref().is_none_or(|latest| latest.height() < answer.height()) {
                        latest = Some(answer);
                    }
                }
                answer => return answer,
            }
        }
        latest.ok_or(passed.0)
    }

    /// A node told its height, in whatever answer.
    pub fn saw(&self, node: usize, height: u64) {
        self.pool.saw(node, height);
    }

    /// Asks one node alone, by its place in the list that [`Rpc::new`] was given.
    ///
    /// # Errors
    /// [`RpcError`], of this node.
    pub async fn request_of<P: Serialize, R: DeserializeOwned>(
        &self,
        node: usize,
        method: &'static str,
        params: P,
    ) -> Result<R, RpcError> {
        let body = written(&Question::new(1, method, params))?;
        self.one(node, method, body).await
    }

    /// Asks every node at once, and waits for all; that one did it is enough. For what is broadcast.
    ///
    /// # Errors
    /// [`RpcError`] of the last node in the list, when none gave a result.
    pub async fn request_all<P: Serialize, R: DeserializeOwned>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, RpcError> {
        self.count(method);
        let body = written(&Question::new(1, method, params))?;
        let mut last = NO_NODE;
        for answer in self.pool.tell_all(&body).await {
            match answer.map_err(RpcError::from).and_then(|bytes| read(&bytes)) {
                Ok(result) => return Ok(result),
                Err(error) => last = error,
            }
        }
        self.count_error(method);
        Err(last)
    }

    /// Makes several calls in one round trip, where the node takes them so, and one after another where it doesn't.
    /// All answers are one node's: of the first that gives none of them as [`Rpc::request`] passes it over for.
    ///
    /// # Errors
    /// [`RpcError::Unreachable`] when no node answers all of them; what is refused is refused in its own [`Given`].
    pub async fn together(&self, asks: &[Ask]) -> Result<Vec<Given>, RpcError> {
        let mut passed = Passed(NO_NODE);
        let mut lacking: Option<Vec<Given>> = None;
        for node in self.pool.order() {
            match self.together_at(node, asks).await {
                Err(error) => passed.keep(self.pass_over(node, error)?),
                Ok(given) => match given.iter().find_map(Given::lacked).cloned() {
                    Some(error) => {
                        self.pass_over(node, error)?;
                        lacking.get_or_insert(given);
                    }
                    None => return Ok(given),
                },
            }
        }
        lacking.ok_or(passed.0)
    }

    async fn together_at(&self, node: usize, asks: &[Ask]) -> Result<Vec<Given>, RpcError> {
        if asks.len() > 1 && self.pool.takes_batches(node) {
            for ask in asks {
                self.count(ask.method);
            }
            let bytes = self.pool.ask(node, batch(asks)?).await?;
            match unpacked(&bytes, asks.len()) {
                Some(given) => return Ok(given),
                None if bytes.trim_ascii_start().starts_with(b"[") => return Err(UNREADABLE),
                None => match read::<Box<RawValue>>(&bytes) {
                    // It would not have answered one, either.
                    Err(error @ RpcError::Refused { .. }) if fault::of(&error).is_some() => {
                        return Err(error);
                    }
                    _ => self.pool.refuses_batches(node),
                },
            }
        }
        let mut given = Vec::with_capacity(asks.len());
        for ask in asks {
            match self.request_of::<_, Box<RawValue>>(node, ask.method, &ask.params).await {
                Err(error @ RpcError::Unreachable(_)) => return Err(error),
                answer => given.push(Given::new(answer)),
            }
        }
        Ok(given)
    }

    /// # Errors
    /// The node's verdict on what it was asked: no other node is.
    fn pass_over(&self, node: usize, error: RpcError) -> Result<RpcError, RpcError> {
        let why = match (fault::of(&error), &error) {
            (None, _) => return Err(error),
            // If it gave no answer at all, the pool knows already.
            (_, RpcError::Unreachable(_)) => "no_answer",
            (Some(Fault::Unwell), _) => {
                self.pool.rest(node);
                "unwell"
            }
            (Some(Fault::Lacks), _) => "lacks",
        };
        self.count_passed(node, why);
        Ok(error)
    }

    async fn one<R: DeserializeOwned>(
        &self,
        node: usize,
        method: &'static str,
        body: Vec<u8>,
    ) -> Result<R, RpcError> {
        self.count(method);
        let answer = self.pool.ask(node, body).await.map_err(RpcError::from);
        answer.and_then(|bytes| read(&bytes)).inspect_err(|error| {
            self.count_error(method);
            tracing::debug!(method, node, %error, "rpc");
        })
    }

    fn count(&self, method: &'static str) {
        metrics::counter!(self.names.calls, "method" => method).increment(1);
    }

    /// A node alone is passed over for no other.
    fn count_passed(&self, node: usize, why: &'static str) {
        if self.nodes() > 1 {
            let node = node.to_string();
            metrics::counter!(self.names.passed_over, "node" => node, "why" => why).increment(1);
        }
    }

    fn count_error(&self, method: &'static str) {
        metrics::counter!(self.names.errors, "method" => method).increment(1);
    }
}

/// All calls in one text.
fn batch(asks: &[Ask]) -> Result<Vec<u8>, RpcError> {
    let questions: Vec<_> =
        asks.iter().enumerate().map(|(id, ask)| Question::new(id, ask.method, &ask.params)).collect();
    let length = asks.iter().map(|ask| ask.params.get().len().saturating_add(FRAME)).sum();
    written_in(Vec::with_capacity(length), &questions)
}
