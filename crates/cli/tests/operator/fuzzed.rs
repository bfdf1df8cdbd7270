//! The API against its own OpenAPI document, by a fuzzer: schemathesis, from `e2e/requirements.txt`.

use std::time::Duration;

use tokio::process::Command;

use crate::common::Running;
use crate::world::{World, installed};

/// Cases for each operation and phase, at most; and the seed, so that every run is the same.
const CASES: &str = "60";
const SEED: &str = "402";

async fn fuzz(running: &Running, world: &World, more: &[&str]) {
    let url = running.text("/url");
    let mut command = Command::new(installed(".venv/bin/schemathesis"));
    command.current_dir(world.home.path()).kill_on_drop(true);
    command.args(["run", &format!("{url}/openapi.json"), "--url", &url, "--checks", "all", "--no-color"]);
    command.args(["--max-examples", CASES, "--seed", SEED, "--generation-deterministic"]).args(more);
    let output =
        tokio::time::timeout(Duration::from_secs(300), command.output()).await.expect("it does not end");
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("No issues found"), "{said}");
}

#[tokio::test]
async fn i15_no_request_that_a_fuzzer_makes_is_answered_other_than_as_documented() {
    let world = World::new().await;
    let running = world.start("").await;
    fuzz(&running, &world, &[]).await;
    let (status, _) = running.terminate().await;
    assert!(status.success());
}
