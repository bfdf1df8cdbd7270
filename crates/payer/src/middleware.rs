//! The payer as a middleware for `reqwest-middleware`.

use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};

use crate::error::PayError;
use crate::http_client::Attempt;
use crate::payer::Payer;

/// Put it first: middleware after it sees the unpaid request only. The paid one goes out through
/// the payer's own client, and what was paid is in the response's extensions as
/// [`crate::Purchased`]. Errors are [`PayError`], inside `reqwest_middleware::Error::Middleware`.
#[async_trait::async_trait]
impl Middleware for Payer {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let attempt = Attempt::new(self, &request).map_err(Error::middleware)?;
        let unpaid = attempt.by_deadline(next.run(request, extensions)).await;
        let response = unpaid.ok_or_else(|| Error::middleware(PayError::TimedOut))?;
        let response = response.map_err(|error| match error {
            // Its text would have the URL's query.
            Error::Reqwest(error) => Error::Reqwest(error.without_url()),
            other => other,
        })?;
        let mut paid = attempt.finish(response).await.map_err(Error::middleware)?;
        if let Some(payment) = paid.payment {
            paid.response.extensions_mut().insert(payment);
        }
        Ok(paid.response)
    }
}
