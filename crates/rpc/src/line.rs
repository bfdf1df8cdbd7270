//! One connection with any number of subscriptions, as Solana's nodes have them: their ids are numbers.

use futures_util::SinkExt as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::answer::Question;
use crate::socket::{FAILED, Said, Socket, Source, UNREADABLE, text};
use crate::transport::Unanswered;

/// A connection over which a node announces what it is asked for; it ends when this is dropped.
pub struct Line {
    socket: Socket,
    source: Source,
    /// The number of the last call.
    last: usize,
}

/// What a node says over a [`Line`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The answer to a call.
    Answer {
        /// The call, as [`Line::call`] numbered it.
        call: usize,
        /// The subscription that it made; none when it is refused, or was no call for one.
        subscription: Option<u64>,
    },
    /// Something was announced. What, the node has to be asked.
    Notice {
        /// The subscription that it is of.
        subscription: u64,
    },
}

#[derive(Deserialize)]
struct Notice {
    subscription: u64,
}

impl Source {
    /// Connects; nothing is subscribed to yet.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn line(&self) -> Result<Line, Unanswered> {
        let connected = timeout(self.patience(), self.connect()).await;
        let socket = connected.unwrap_or(Err(Unanswered("no answer came in time")))?;
        Ok(Line { socket, source: self.clone(), last: 0 })
    }
}

impl Line {
    /// Calls `method` (as `signatureSubscribe`) with `params`. The answer is heard among the rest, with the number that
    /// this returns.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn call<P: Serialize>(&mut self, method: &'static str, params: P) -> Result<usize, Unanswered> {
        self.last = self.last.saturating_add(1);
        let call = serde_json::to_string(&Question::new(self.last, method, params));
        let call = call.map_err(|_| Unanswered("the call can't be written"))?;
        let sent = timeout(self.source.patience(), self.socket.send(Message::text(call))).await;
        match sent {
            Ok(Ok(())) => Ok(self.last),
            Ok(Err(_)) => Err(FAILED),
            Err(_elapsed) => Err(Unanswered("it takes no calls")),
        }
    }

    /// What the node says next; pings are answered meanwhile. There is no deadline: a silent node is the caller's to give
    /// up. Nothing is lost when this is dropped before it has ended.
    ///
    /// # Errors
    /// Why nothing comes any more; what can't be read is an error, too.
    pub async fn hear(&mut self) -> Result<Heard, Unanswered> {
        loop {
            let text = text(&mut self.socket).await?;
            let said: Said<'_> = serde_json::from_str(&text).map_err(|_| UNREADABLE)?;
            if said.method.is_some() {
                let params = said.params.map_or("null", RawValue::get);
                let Notice { subscription } = serde_json::from_str(params).map_err(|_| UNREADABLE)?;
                return Ok(Heard::Notice { subscription });
            }
            let Some(call) = said.id.and_then(|id| usize::try_from(id).ok()) else { continue };
            let subscription = said.result.and_then(|result| serde_json::from_str(result.get()).ok());
            return Ok(Heard::Answer { call, subscription });
        }
    }
}
