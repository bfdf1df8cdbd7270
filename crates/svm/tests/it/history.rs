//! A node whose short memory has nothing of a transaction, and whose history has.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tollway_protocol::scheme::Outcome;
use tollway_rpc::{Transport, Unanswered};

use crate::common::{Node, facilitator, settle, world};

#[tokio::test]
async fn fa22_what_landed_while_nobody_looked_is_found_in_one_node_s_history() {
    let world = world();
    let node = Arc::new(Shortly(world.node.clone()));
    let facilitator = facilitator(vec![node], vec![world.fee_payer.clone()], world.journal.clone());
    let outcome = settle(&facilitator, &world.request(&world.draft())).await;
    assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
}

/// A node that knows transactions by its history only, and is far on.
struct Shortly(Arc<Node>);

#[async_trait]
impl Transport for Shortly {
    async fn ask(&self, body: Vec<u8>) -> Result<Vec<u8>, Unanswered> {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let mut answered: Value = serde_json::from_slice(&self.0.ask(body).await?).unwrap();
        let bend = |asked: &Value, answered: &mut Value| {
            if asked["method"] != "getSignatureStatuses" {
                return;
            }
            let slot = answered["result"]["context"]["slot"].as_u64().unwrap();
            answered["result"]["context"]["slot"] = (slot + 1_000).into();
            if asked["params"][1]["searchTransactionHistory"] != true {
                answered["result"]["value"] = serde_json::json!([null]);
            }
        };
        match (&asked, &mut answered) {
            (Value::Array(asked), Value::Array(answered)) => {
                asked.iter().zip(answered).for_each(|(asked, answered)| bend(asked, answered));
            }
            (asked, answered) => bend(asked, answered),
        }
        Ok(answered.to_string().into_bytes())
    }
}
