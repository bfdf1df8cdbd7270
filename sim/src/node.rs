//! An RPC node as one replica reaches it: it loses, delays and doubles what is sent, is behind, and lies.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tollway_rpc::{Transport, Unanswered};

use crate::life::Pulse;
use crate::side::Side;
use crate::weather::Mood;
use crate::world::World;

/// A way from a replica to a node.
pub struct Node<S: Side> {
    /// Where it is.
    pub world: Arc<World<S>>,
    replica: usize,
    node: usize,
    pulse: Pulse,
}

impl<S: Side> Node<S> {
    /// The way from replica number `replica` to its node number `node`.
    #[must_use]
    pub fn new(world: Arc<World<S>>, replica: usize, node: usize, pulse: Pulse) -> Self {
        Self { world, replica, node, pulse }
    }

    /// How it is just now.
    #[must_use]
    pub fn mood(&self) -> Mood {
        self.world.weather.mood(self.replica, self.node)
    }

    fn fault(&self, what: &'static str) -> Result<Vec<u8>, Unanswered> {
        self.world.hurts(self.replica);
        self.world.trace.note(&format!("r{} node{}: {what}", self.replica, self.node));
        Err(Unanswered(what))
    }

    /// Transactions that the replica lets go.
    fn leaving(&self, calls: &Value) {
        let one = std::slice::from_ref(calls);
        for call in calls.as_array().map_or(one, Vec::as_slice) {
            if let Some((hash, raw)) = S::leaves(call) {
                self.world.oracle.lock().left(&self.world, self.replica, &hash, &raw);
            }
        }
    }

    fn answer(&self, calls: &Value) -> Value {
        match calls.as_array() {
            Some(calls) => calls.iter().map(|call| self.answer_one(call)).collect(),
            None => self.answer_one(calls),
        }
    }

    fn answer_one(&self, call: &Value) -> Value {
        let (method, params) = (call["method"].as_str().unwrap(), &call["params"]);
        let told = S::told(self, method, params);
        let shown = match &told {
            Ok(Value::Null) => "null".to_owned(),
            Ok(_) => "ok".to_owned(),
            Err((_, message)) => format!("refused: {message}"),
        };
        self.world.trace.note(&format!("r{} node{} {method}: {shown}", self.replica, self.node));
        match told {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }),
            Err((code, message)) => {
                json!({ "jsonrpc": "2.0", "id": call["id"], "error": { "code": code, "message": message } })
            }
        }
    }

    /// Whether it lies now, where it does so many times in a thousand.
    #[must_use]
    pub fn lies(&self, permille: u64) -> bool {
        let lies = self.world.chance.permille(permille);
        if lies {
            self.world.hurts(self.replica);
        }
        lies
    }
}

#[async_trait]
impl<S: Side> Transport for Node<S> {
    async fn ask(&self, body: Vec<u8>) -> Result<Vec<u8>, Unanswered> {
        let chance = &self.world.chance;
        self.pulse.passes().await;
        let calls: Value = serde_json::from_slice(&body).unwrap();
        self.leaving(&calls);
        let mood = self.mood();
        tokio::time::sleep(chance.millis(0, mood.slow)).await;
        if mood.is_down {
            return self.fault("refused");
        }
        if chance.permille(mood.lost_calls) {
            return self.fault("lost call");
        }
        let mood = self.mood();
        let answer = self.answer(&calls);
        if chance.permille(mood.doubles) {
            let _ = self.answer(&calls);
        }
        tokio::time::sleep(chance.millis(0, mood.slow)).await;
        self.pulse.passes().await;
        if mood.hangs {
            self.world.hurts(self.replica);
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        if chance.permille(mood.lost_answers) {
            return self.fault("lost answer");
        }
        Ok(serde_json::to_vec(&answer).unwrap())
    }
}
