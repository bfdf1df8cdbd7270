//! Whether a simulated process runs. What leaves it, and what it hears, passes here: a process that stands still or
//! is dead does nothing that anyone could notice, though its tasks are still there.

use tokio::sync::watch;

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

/// Follows a process's life.
#[derive(Debug, Clone)]
pub struct Pulse(pub watch::Receiver<Life>);

impl Pulse {
    /// Goes on when the process runs; never, when it is dead.
    pub async fn passes(&self) {
        let mut life = self.0.clone();
        if life.wait_for(|life| *life == Life::Runs).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// How it is now.
    #[must_use]
    pub fn now(&self) -> Life {
        *self.0.borrow()
    }
}
