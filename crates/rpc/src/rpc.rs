//! Calls to a network's nodes: one, several in one round trip, or the same to every node.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::answer::{Question, RpcError, UNREADABLE, read, unpacked, written, written_in};
use crate::pool::Pool;
use crate::transport::Transport;

/// What is around the parameters of a call, in bytes, and a little more.
const FRAME: usize = 96;

const NO_NODE: RpcError = RpcError::Unreachable("no node is configured");

/// What the counters of calls are called; each has a label `method`.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// Counts calls.
    pub calls: &'static str,
    /// Counts calls that gave no result.
    pub errors: &'static str,
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

    /// The result.
    ///
    /// # Errors
    /// The node's refusal, or [`RpcError::Unreachable`] when the result is not an `R`.
    pub fn read<R: DeserializeOwned>(self) -> Result<R, RpcError> {
        let raw = self.0?;
        serde_json::from_str(raw.get()).map_err(|_| UNREADABLE)
    }
}

impl Rpc {
    /// The nodes at the ends of `ways`, the preferred one first; each has `timeout` for an answer. No I/O yet.
    #[must_use]
    pub fn new(ways: Vec<Arc<dyn Transport>>, timeout: Duration, names: Names) -> Self {
        Self { pool: Pool::new(ways, timeout), names }
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

    /// Asks the first node that answers. One that didn't, lately, is asked last.
    ///
    /// # Errors
    /// [`RpcError::Refused`] by the first that answers; [`RpcError::Unreachable`] when none does.
    pub async fn request<P: Serialize, R: DeserializeOwned>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, RpcError> {
        let body = written(&Question::new(1, method, params))?;
        let mut last = NO_NODE;
        for node in self.pool.order() {
            match self.one(node, method, body.clone()).await {
                Err(error @ RpcError::Unreachable(_)) => last = error,
                answer => return answer,
            }
        }
        Err(last)
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
    /// All answers are one node's.
    ///
    /// # Errors
    /// [`RpcError::Unreachable`] when no node answers all of them; what is refused is refused in its own [`Given`].
    pub async fn together(&self, asks: &[Ask]) -> Result<Vec<Given>, RpcError> {
        let mut last = NO_NODE;
        for node in self.pool.order() {
            match self.together_at(node, asks).await {
                Err(error @ RpcError::Unreachable(_)) => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }

    async fn together_at(&self, node: usize, asks: &[Ask]) -> Result<Vec<Given>, RpcError> {
        if asks.len() > 1 && self.pool.takes_batches(node) {
            let numbered = asks.iter().enumerate();
            let questions: Vec<_> =
                numbered.map(|(id, ask)| Question::new(id, ask.method, &ask.params)).collect();
            for ask in asks {
                self.count(ask.method);
            }
            let length = asks.iter().map(|ask| ask.params.get().len().saturating_add(FRAME)).sum();
            let body = written_in(Vec::with_capacity(length), &questions)?;
            let bytes = self.pool.ask(node, body).await?;
            match unpacked(&bytes, asks.len()) {
                Some(given) => return Ok(given),
                None if bytes.trim_ascii_start().starts_with(b"[") => return Err(UNREADABLE),
                None => self.pool.refuses_batches(node),
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

    fn count_error(&self, method: &'static str) {
        metrics::counter!(self.names.errors, "method" => method).increment(1);
    }
}
