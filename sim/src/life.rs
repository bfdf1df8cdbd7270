//! Whether a simulated process runs. What leaves it, and what it hears, passes here: a process that stands still or
//! is dead does nothing that anyone could notice, though its tasks are still there.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Runs,
    /// It stands still, and may go on later.
    Stands,
    /// It is gone.
    Dead,
}

/// A process's life. Clones are the same process's.
///
/// Not tokio's `watch`: that wakes those who wait in an order by chance.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<(Mutex<Life>, Notify)>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new((Mutex::new(Life::Runs), Notify::new())))
    }
}

impl Pulse {
    /// Goes on when the process runs; never, when it is dead.
    pub async fn passes(&self) {
        let (life, changes) = &*self.0;
        loop {
            let changed = changes.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if *life.lock() == Life::Runs {
                return;
            }
            changed.await;
        }
    }

    /// How it is now.
    #[must_use]
    pub fn now(&self) -> Life {
        *self.0.0.lock()
    }

    /// Changes that.
    pub fn set(&self, life: Life) {
        *self.0.0.lock() = life;
        self.0.1.notify_waiters();
    }
}
