//! What was left behind by calls that nobody waits for.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tollway_protocol::bind::PaymentKey;

use super::session::Backend;
use crate::Turn;

/// How many server processes are kept in mind.
const BACKENDS: usize = 1024;

/// A claim whose holder is gone: its future was dropped, or its call failed.
#[derive(Debug, Clone)]
pub(super) struct Left {
    /// The payment.
    pub(super) key: PaymentKey,
    /// The claim.
    pub(super) turn: i64,
    /// Whether it was being delivered. The permission never reached anyone, so nothing left.
    pub(super) delivering: bool,
}

impl From<Turn> for Left {
    fn from(Turn { key, number }: Turn) -> Self {
        Self { key, turn: number, delivering: false }
    }
}

/// What has to be cleared up as soon as the store can be used.
#[derive(Debug, Default)]
pub(super) struct Mess {
    /// Server processes that may still be at work on a call that was given up: to be ended first.
    pub(super) backends: Vec<Backend>,
    /// Claims to give back.
    pub(super) left: Vec<Left>,
}

impl Mess {
    fn is_empty(&self) -> bool {
        self.backends.is_empty() && self.left.is_empty()
    }
}

/// Collects the mess.
#[derive(Default)]
pub(super) struct Lost {
    mess: Mutex<Mess>,
    /// Wakes whoever clears up.
    pub(super) wake: Notify,
}

impl Lost {
    /// All of it, if there is any.
    pub(super) fn take(&self) -> Option<Mess> {
        let mess = std::mem::take(&mut *self.mess.lock().unwrap_or_else(PoisonError::into_inner));
        (!mess.is_empty()).then_some(mess)
    }

    pub(super) fn put_back(&self, mut mess: Mess) {
        let mut all = self.mess.lock().unwrap_or_else(PoisonError::into_inner);
        all.backends.append(&mut mess.backends);
        all.left.append(&mut mess.left);
    }

    /// A connection was given up in the middle of something.
    pub(super) fn bury(&self, backend: Backend) {
        let mut mess = self.mess.lock().unwrap_or_else(PoisonError::into_inner);
        // Far more than a pool holds; the server gives idle transactions up by itself.
        if mess.backends.len() < BACKENDS {
            mess.backends.push(backend);
        }
        drop(mess);
        self.wake.notify_one();
    }

    /// Watches over a claim while a call has it.
    pub(super) fn guard(self: &Arc<Self>, left: Left) -> Guard {
        Guard { lost: Arc::clone(self), left: Some(left), armed: true }
    }

    /// The same for the call that makes the claim: until it runs there is nothing to give back.
    pub(super) fn guard_unmade(self: &Arc<Self>, left: Left) -> Guard {
        Guard { lost: Arc::clone(self), left: Some(left), armed: false }
    }
}

/// Gives its claim back when it is dropped, unless someone has it.
pub(super) struct Guard {
    lost: Arc<Lost>,
    left: Option<Left>,
    /// Whether the claim may be in the store.
    armed: bool,
}

impl Guard {
    /// Someone has it, or nobody has to.
    pub(super) fn disarm(&mut self) {
        self.left = None;
    }

    /// The call that makes the claim runs; says whether it is such a call.
    pub(super) fn made(&mut self) -> bool {
        !std::mem::replace(&mut self.armed, true)
    }

    /// The claim.
    pub(super) fn left(&self) -> Option<&Left> {
        self.left.as_ref()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(left) = self.left.take().filter(|_| self.armed) else { return };
        self.lost.put_back(Mess { backends: Vec::new(), left: vec![left] });
        self.lost.wake.notify_one();
    }
}
