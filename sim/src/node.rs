//! An RPC node as one replica reaches it: it loses, delays and doubles what is sent, is behind, and lies.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::U64;
use async_trait::async_trait;
use serde_json::{Value, json};
use tollway_evm::facilitator::{Transport, Unanswered};

use crate::life::Pulse;
use crate::weather::Mood;
use crate::world::World;

/// A way from a replica to a node.
pub struct Node {
    world: Arc<World>,
    replica: usize,
    node: usize,
    pulse: Pulse,
}

impl Node {
    /// The way from replica number `replica` to its node number `node`.
    #[must_use]
    pub fn new(world: Arc<World>, replica: usize, node: usize, pulse: Pulse) -> Self {
        Self { world, replica, node, pulse }
    }

    fn mood(&self) -> Mood {
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
            if call["method"] == "eth_sendRawTransaction" {
                let raw: alloy_primitives::Bytes = serde_json::from_value(call["params"][0].clone()).unwrap();
                self.world.oracle.lock().left(&self.world, self.replica, &raw);
            }
        }
    }

    fn answer(&self, calls: &Value, mood: &Mood) -> Value {
        match calls.as_array() {
            Some(calls) => calls.iter().map(|call| self.answer_one(call, mood)).collect(),
            None => self.answer_one(calls, mood),
        }
    }

    fn answer_one(&self, call: &Value, mood: &Mood) -> Value {
        let (method, params) = (call["method"].as_str().unwrap(), &call["params"]);
        let told = self.told(method, params, mood);
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

    fn lies(&self, permille: u64) -> bool {
        let lies = self.world.chance.permille(permille);
        if lies {
            self.world.hurts(self.replica);
        }
        lies
    }

    /// The truth, or what the node makes of it.
    fn told(&self, method: &str, params: &Value, mood: &Mood) -> Result<Value, (i64, String)> {
        let world = &self.world;
        let ask = |params: &Value| {
            let answer = world.land.chain.request(method, params);
            answer.map_err(|error| (error.code, error.message))
        };
        let head = world.land.chain.block_number();
        let behind = json!(U64::from(head.saturating_sub(mood.lag)));
        let old = |at: usize| {
            let mut params = params.clone();
            if mood.lag > 0 && params.get(at) == Some(&json!("latest")) {
                params[at] = behind.clone();
            }
            params
        };
        match method {
            "eth_chainId" if mood.is_elsewhere => Ok(json!("0x1")),
            "eth_sendRawTransaction" if self.lies(mood.bad_sends) => self.bad_send(params),
            "eth_getTransactionReceipt" => self.receipt(ask(params)?, mood),
            "eth_getTransactionByHash" if self.lies(mood.denies) => Ok(Value::Null),
            "eth_getTransactionCount" => {
                let count: U64 = serde_json::from_value(ask(&old(1))?).unwrap();
                let less = if self.lies(mood.low_nonces) { world.chance.between(1, 3) } else { 0 };
                Ok(json!(count.saturating_sub(U64::from(less))))
            }
            "eth_getBlockByNumber" => ask(&old(0)),
            "eth_call" | "eth_getBalance" | "eth_getCode" => ask(&old(1)),
            "eth_getLogs" if mood.lag > 0 => {
                let mut params = params.clone();
                params[0]["toBlock"] = behind;
                ask(&params)
            }
            _ => ask(params),
        }
    }

    fn receipt(&self, truth: Value, mood: &Mood) -> Result<Value, (i64, String)> {
        if truth.is_null() {
            return Ok(truth);
        }
        let block: U64 = serde_json::from_value(truth["blockNumber"].clone()).unwrap();
        let head = self.world.land.chain.block_number();
        if block.to::<u64>() + mood.lag > head || self.lies(mood.denies) {
            return Ok(Value::Null);
        }
        if self.lies(mood.garbles) {
            let mut lie = truth;
            if self.world.chance.permille(500) {
                lie["logs"] = json!([]);
            } else {
                lie["transactionHash"] = json!(alloy_primitives::B256::repeat_byte(0xee));
            }
            return Ok(lie);
        }
        Ok(truth)
    }

    fn bad_send(&self, params: &Value) -> Result<Value, (i64, String)> {
        let send = || self.world.land.chain.request("eth_sendRawTransaction", params);
        let refuse = |message: &str| Err((-32000, message.to_owned()));
        match self.world.chance.below(6) {
            0 => {
                let _ = send();
                refuse("already known")
            }
            1 => {
                let _ = send();
                refuse("nonce too low")
            }
            2 => {
                let _ = send();
                refuse("replacement transaction underpriced")
            }
            3 => refuse("already known"),
            4 => refuse("internal error"),
            _ => {
                let raw: alloy_primitives::Bytes = serde_json::from_value(params[0].clone()).unwrap();
                Ok(json!(alloy_primitives::keccak256(&raw)))
            }
        }
    }
}

#[async_trait]
impl Transport for Node {
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
        let answer = self.answer(&calls, &mood);
        if chance.permille(mood.doubles) {
            let _ = self.answer(&calls, &mood);
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
