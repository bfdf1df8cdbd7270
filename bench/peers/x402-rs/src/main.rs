//! The x402-rs 2.0 facilitator, from its published crates, put together as its own binary does it:
//! multi-threaded tokio, axum, a CORS layer, and one EVM chain with the scheme `v2-eip155-exact`.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use alloy_provider::Provider as _;
use axum::Router;
use axum::http::Method;
use serde_json::{Value, json};
use tower_http::cors::{Any, CorsLayer};
use x402_chain_eip155::V2Eip155Exact;
use x402_chain_eip155::chain::config::Eip155ChainConfig;
use x402_chain_eip155::chain::{
    Eip155ChainProvider, Eip155ChainReference, Eip155MetaTransactionProvider as _,
};
use x402_facilitator_local::{FacilitatorLocal, handlers};
use x402_types::chain::{ChainId, ChainProviderOps, ChainRegistry, FromConfig as _};
use x402_types::scheme::{
    SchemeBlueprints, SchemeConfig, SchemeRegistry, X402SchemeFacilitator, X402SchemeFacilitatorBuilder,
};

type Failure = Box<dyn Error>;

/// Their binary's `ChainProvider`, with its one variant that we need.
struct Chain(Arc<Eip155ChainProvider>);

impl ChainProviderOps for Chain {
    fn signer_addresses(&self) -> Vec<String> {
        ChainProviderOps::signer_addresses(&*self.0)
    }

    fn chain_id(&self) -> ChainId {
        self.0.chain_id()
    }
}

/// Their scheme, registered under a type of ours: its builder takes providers that outlive everything.
struct Exact;

impl x402_types::scheme::X402SchemeId for Exact {
    fn namespace(&self) -> &str {
        "eip155"
    }

    fn scheme(&self) -> &str {
        "exact"
    }
}

impl X402SchemeFacilitatorBuilder<&Chain> for Exact {
    fn build(&self, chain: &Chain, config: Option<Value>) -> Result<Box<dyn X402SchemeFacilitator>, Failure> {
        V2Eip155Exact.build(chain.0.clone(), config)
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "a TLS provider is installed already")?;
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let config = Eip155ChainConfig {
        chain_reference: Eip155ChainReference::new(84532),
        inner: serde_json::from_value(json!({
            "signers": [variable("PRIVATE_KEY")?],
            "rpc": [{ "http": variable("RPC_URL")? }],
        }))?,
    };
    let provider = Arc::new(Eip155ChainProvider::from_config(&config).await?);
    // As shipped it looks for a receipt every 7 s; the bench lets all peers look equally often.
    if let Ok(milliseconds) = variable("POLL_MS") {
        let interval = Duration::from_millis(milliseconds.parse()?);
        provider.inner().client().set_poll_interval(interval);
    }
    let schemes: Vec<SchemeConfig> =
        serde_json::from_value(json!([{ "id": "v2-eip155-exact", "chains": "eip155:84532" }]))?;
    let chains = ChainRegistry::new(HashMap::from([(provider.chain_id(), Chain(provider))]));
    let registry = SchemeRegistry::build(chains, SchemeBlueprints::new().and_register(Exact), &schemes);
    if registry.values().next().is_none() {
        return Err("no scheme was registered".into());
    }
    let cors =
        CorsLayer::new().allow_origin(Any).allow_methods([Method::GET, Method::POST]).allow_headers(Any);
    let app = Router::new()
        .merge(handlers::routes().with_state(Arc::new(FacilitatorLocal::new(registry))))
        .layer(cors);
    let port = variable("PORT").unwrap_or_else(|_| "0".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("{}", json!({ "ready": true, "url": format!("http://{}", listener.local_addr()?) }));
    axum::serve(listener, app).await?;
    Ok(())
}
