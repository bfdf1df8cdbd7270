//! Serves a Solana chain that stands for devnet, until it is killed, and prints where: one line of JSON.
//!
//! `SLOT_MS` is how long a slot takes (400), `FINALITY` after how many slots one is final (32).
//!
//! ```sh
//! cargo run -p tollway-devnet --example svm
//! ```

use std::{env, error::Error, future::pending, str::FromStr as _, time::Duration};

use tollway_devnet::svm::{self, Chain};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let slot = Duration::from_millis(number("SLOT_MS", 400)?);
    let chain = Chain::builder().slot_time(slot).finality(number("FINALITY", 32)?).build()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let server = svm::serve(chain.clone(), listener)?;
    let ready = serde_json::json!({
        "ready": true,
        "url": server.url(),
        "websocket": server.websocket_url(),
        "network": chain.network(),
        "usdc": svm::USDC_DEVNET.to_string(),
        "pyusd": svm::PYUSD_DEVNET.to_string(),
    });
    println!("{ready}");
    pending().await
}

/// A number from the environment.
fn number(name: &str, otherwise: u64) -> Result<u64, Box<dyn Error>> {
    env::var(name).map_or(Ok(otherwise), |text| Ok(u64::from_str(&text)?))
}
