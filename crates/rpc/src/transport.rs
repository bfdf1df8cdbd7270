//! How JSON-RPC texts reach a node.

use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use tollway_protocol::{Secret, door};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// The most memory that is set aside for an answer on the node's word alone, in bytes.
const MAX_RESERVED: usize = 256 * 1024;

/// No answer that could be used: nothing is known of what the node did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub &'static str);

/// A way to a node: HTTP as a rule, anything else in simulations.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Gives the node one JSON-RPC text, an object or an array, and returns its answer.
    ///
    /// # Errors
    /// [`Unanswered`]: the node may have acted all the same.
    async fn ask(&self, body: Vec<u8>) -> Result<Vec<u8>, Unanswered>;

    /// For how long the node wants not to be asked, as its last answer said. None unless it said so.
    fn wants_rest(&self) -> Option<Duration> {
        None
    }
}

/// JSON-RPC over HTTP. The URL may hold credentials: it is in no text of ours, and reqwest's own log names the host
/// only.
pub struct Http {
    client: reqwest::Client,
    url: url::Url,
    /// What the last answer's `Retry-After` said.
    rest: Mutex<Option<Duration>>,
}

impl Http {
    /// A way to the node at `url`; no I/O yet.
    ///
    /// # Errors
    /// What is wrong with the URL or the HTTP client, without the URL.
    pub fn new(url: &Secret<String>, timeout: Duration) -> Result<Self, &'static str> {
        let url = url::Url::parse(url.expose()).map_err(|_| "the RPC URL can't be read")?;
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| "the HTTP client can't be made")?;
        Ok(Self { client, url, rest: Mutex::new(None) })
    }
}

#[async_trait]
impl Transport for Http {
    async fn ask(&self, body: Vec<u8>) -> Result<Vec<u8>, Unanswered> {
        let failed = |_| Unanswered("the connection failed");
        *self.rest.lock() = None;
        let request =
            self.client.post(self.url.clone()).header("content-type", "application/json").body(body);
        let mut response = request.send().await.map_err(failed)?;
        *self.rest.lock() = rest(&response);
        match response.status() {
            StatusCode::TOO_MANY_REQUESTS => return Err(Unanswered("it is asked too often (HTTP 429)")),
            StatusCode::SERVICE_UNAVAILABLE => return Err(Unanswered("it is out of service (HTTP 503)")),
            _ => {}
        }
        let length = response.content_length().and_then(|length| usize::try_from(length).ok());
        let mut bytes = Vec::with_capacity(length.unwrap_or_default().min(MAX_RESERVED));
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len().saturating_add(chunk.len()) > MAX_ANSWER {
                return Err(Unanswered("its answer is too long"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn wants_rest(&self) -> Option<Duration> {
        *self.rest.lock()
    }
}

/// For how many seconds an answer wants the node left alone (RFC 9110, section 10.2.3). A date is passed over.
fn rest(response: &reqwest::Response) -> Option<Duration> {
    let told = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    door::decimal_u64(told).ok().map(Duration::from_secs)
}
