//! A node as a test plays it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tollway_rpc::{Names, Rpc, Transport, Unanswered};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);
pub(crate) const NAMES: Names =
    Names { calls: "test_calls_total", errors: "test_errors_total", passed_over: "test_passed_over_total" };

/// What a node answers to a text; nothing when it hangs.
type Play = Box<dyn Fn(&Value) -> Option<Result<String, Unanswered>> + Send + Sync>;

pub(crate) struct Node {
    play: Play,
    asked: Mutex<Vec<Value>>,
}

impl Node {
    pub(crate) fn new(
        play: impl Fn(&Value) -> Option<Result<String, Unanswered>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { play: Box::new(play), asked: Mutex::default() })
    }

    /// One that takes any text, alone or with others, and gives each call this result.
    pub(crate) fn giving(result: Value) -> Arc<Self> {
        Self::new(move |text| {
            let answer = |call: &Value| json!({"jsonrpc": "2.0", "id": call["id"], "result": result});
            let answers = match text {
                Value::Array(calls) => calls.iter().rev().map(answer).collect(),
                call => answer(call),
            };
            Some(Ok(answers.to_string()))
        })
    }

    /// One that answers every text with this.
    pub(crate) fn saying(answer: &Value) -> Arc<Self> {
        let answer = answer.to_string();
        Self::new(move |_| Some(Ok(answer.clone())))
    }

    /// One that can't be reached.
    pub(crate) fn away() -> Arc<Self> {
        Self::new(|_| Some(Err(Unanswered("away"))))
    }

    /// One that never answers.
    pub(crate) fn hanging() -> Arc<Self> {
        Self::new(|_| None)
    }

    /// What it answers to a text.
    pub(crate) fn answer(&self, text: &Value) -> Option<Result<String, Unanswered>> {
        (self.play)(text)
    }

    /// The texts that it was given.
    pub(crate) fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Transport for Node {
    async fn ask(&self, body: Vec<u8>) -> Result<Vec<u8>, Unanswered> {
        let text = serde_json::from_slice(&body).unwrap();
        let answer = (self.play)(&text);
        self.asked.lock().unwrap().push(text);
        match answer {
            Some(answer) => answer.map(String::into_bytes),
            None => std::future::pending().await,
        }
    }
}

pub(crate) fn rpc(nodes: &[&Arc<Node>]) -> Rpc {
    let ways = nodes.iter().map(|node| -> Arc<dyn Transport> { Arc::clone(node) as _ });
    Rpc::new(ways.collect(), TIMEOUT, NAMES)
}
