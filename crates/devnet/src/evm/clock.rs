//! What time a block gets.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Seconds since 1970, from outside.
#[derive(Clone)]
pub(crate) struct Wall(pub(crate) Arc<dyn Fn() -> u64 + Send + Sync>);

impl Default for Wall {
    fn default() -> Self {
        Self(Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())))
    }
}

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wall")
    }
}

/// The wall's clock, shifted by what tests ask for.
#[derive(Clone)]
pub(crate) struct Clock {
    wall: Wall,
    offset: i64,
    next: Option<u64>,
}

impl Clock {
    pub(crate) fn new(wall: Wall) -> Self {
        Self { wall, offset: 0, next: None }
    }

    /// The time of a block made now on a parent of that time: always later than the parent.
    pub(crate) fn next(&self, parent: u64) -> u64 {
        let now = (self.wall.0)().saturating_add_signed(self.offset);
        self.next.unwrap_or(now).max(parent.saturating_add(1))
    }

    /// A block got this time.
    pub(crate) fn passed(&mut self, time: u64) {
        if self.next.take().is_some() {
            let wall = (self.wall.0)();
            self.offset = time.checked_signed_diff(wall).unwrap_or(0);
        }
    }

    pub(crate) fn set_next(&mut self, time: u64) {
        self.next = Some(time);
    }

    /// Moves the clock ahead and says how far it is from the wall's by now.
    pub(crate) fn advance(&mut self, seconds: u64) -> i64 {
        self.offset = self.offset.saturating_add_unsigned(seconds);
        self.next = self.next.map(|time| time.saturating_add(seconds));
        self.offset
    }
}
