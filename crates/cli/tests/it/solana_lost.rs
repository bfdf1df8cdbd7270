//! A facilitator's answer that gets lost on its way to a seller.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::routing::get;
use tollway_ledger::SqliteLedger;
use tollway_protocol::scheme::FacilitatorError;
use tollway_protocol::{Facilitator, PaymentRequest, Settlement, Supported, Verdict};
use tollway_seller::{HttpFacilitator, Paid, Seller};
use tollway_svm::ExactSeller;

use crate::common::{Dev, run};
use crate::solana::{node, payer, paying, usdc};

/// Dev's own facilitator, of whose answers to settle the first ones don't arrive.
struct Losing {
    facilitator: HttpFacilitator,
    losses: AtomicU32,
    settled: AtomicU32,
}

#[async_trait]
impl Facilitator for Losing {
    async fn verify(&self, request: &PaymentRequest) -> Result<Verdict, FacilitatorError> {
        self.facilitator.verify(request).await
    }

    async fn settle(&self, request: &PaymentRequest) -> Result<Settlement, FacilitatorError> {
        let answer = self.facilitator.settle(request).await?;
        self.settled.fetch_add(u32::from(answer.success), Ordering::SeqCst);
        let loses = self.losses.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if loses.is_ok() { Err(FacilitatorError::Unknown("it was lost".to_owned())) } else { Ok(answer) }
    }

    async fn supported(&self) -> Result<Supported, FacilitatorError> {
        self.facilitator.supported().await
    }
}

#[tokio::test]
async fn i03_a_settled_solana_payment_is_delivered_though_the_facilitator_s_answer_was_lost() {
    let dev = Dev::start().await;
    let plan = run(paying(&dev, &["pay", "--dry-run", "--json", &dev.weather()])).await.ended_with(0);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    let merchant = plan["payTo"].as_str().unwrap();
    let facilitator = HttpFacilitator::builder(dev.running.text("/facilitator")).build().unwrap();
    let losing = Arc::new(Losing { facilitator, losses: AtomicU32::new(1), settled: AtomicU32::new(0) });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seller = Seller::builder(&url)
        .facilitator(losing.clone())
        .ledger(Arc::new(SqliteLedger::memory().unwrap()))
        .scheme(Arc::new(ExactSeller::new()))
        .pay_to("solana-devnet", merchant)
        .build()
        .unwrap();
    seller.ready().await;
    let router = Router::new()
        .route("/song", get(|| async { "la la" }))
        .route_layer(seller.gate(Paid::new("$0.01")).unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let before = usdc(&dev, &payer(&dev)).await;
    let url = format!("{url}/song");
    let done = run(paying(&dev, &["pay", "--rpc", &node(&dev), &url])).await.ended_with(0);
    assert_eq!(done.stdout, "la la");
    // The same payment was settled once, and told twice.
    assert_eq!(before - usdc(&dev, &payer(&dev)).await, 10_000);
    assert_eq!(losing.settled.load(Ordering::SeqCst), 2);
}
