//! viem, unchanged, against the embedded chain.

use std::path::PathBuf;

use alloy_primitives::hex;
use tokio::process::Command;

use crate::nodes::Node;

#[tokio::test]
async fn viem_pays_and_finds_its_payment() {
    let node = Node::embedded().await;
    let (payer, relayer) = (node.payer().await, node.account(0x22).await);
    let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/viem.mjs"));
    let output = Command::new("node")
        .arg(script)
        .arg(&node.client.url)
        .args([payer, relayer].map(|signer| hex::encode_prefixed(signer.to_bytes())))
        .output()
        .await
        .expect("node runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
}
