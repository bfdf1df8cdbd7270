//! The faults that are on just now.

use parking_lot::Mutex;

/// How a node treats a replica. Numbers are times in a thousand.
#[derive(Debug, Clone, Default)]
pub struct Mood {
    /// It refuses connections.
    pub is_down: bool,
    /// It takes calls and never answers.
    pub hangs: bool,
    /// Milliseconds that an answer takes at most.
    pub slow: u64,
    /// Calls that don't arrive.
    pub lost_calls: u64,
    /// Answers that don't arrive.
    pub lost_answers: u64,
    /// Calls that arrive twice.
    pub doubles: u64,
    /// Blocks that it is behind.
    pub lag: u64,
    /// Receipts and transactions that it denies.
    pub denies: u64,
    /// Receipts that it gives without logs, or another's.
    pub garbles: u64,
    /// Nonces that it tells too low.
    pub low_nonces: u64,
    /// Transactions that it takes and refuses at once, or takes and forgets.
    pub bad_sends: u64,
    /// It serves another chain.
    pub is_elsewhere: bool,
}

/// How the store is.
#[derive(Debug, Clone, Default)]
pub struct Sea {
    /// It can't be reached.
    pub is_down: bool,
    /// Calls that fail before anything happened.
    pub fails: u64,
    /// Calls that happen and fail all the same.
    pub lost_answers: u64,
    /// Milliseconds that a call takes at most.
    pub slow: u64,
}

/// All of it: one mood for each replica and node.
#[derive(Debug, Default)]
pub struct Weather {
    moods: Mutex<Vec<Vec<Mood>>>,
    sea: Mutex<Sea>,
}

impl Weather {
    /// Fair, for so many replicas with so many nodes each.
    #[must_use]
    pub fn fair(replicas: usize, nodes: usize) -> Self {
        let moods = vec![vec![Mood { slow: 20, ..Mood::default() }; nodes]; replicas];
        Self { moods: Mutex::new(moods), sea: Mutex::new(Sea { slow: 3, ..Sea::default() }) }
    }

    /// How a node treats a replica.
    pub fn mood(&self, replica: usize, node: usize) -> Mood {
        self.moods.lock()[replica][node].clone()
    }

    /// Changes that.
    pub fn set_mood(&self, replica: usize, node: usize, mood: Mood) {
        self.moods.lock()[replica][node] = mood;
    }

    /// How the store is.
    pub fn sea(&self) -> Sea {
        self.sea.lock().clone()
    }

    /// Changes that.
    pub fn set_sea(&self, sea: Sea) {
        *self.sea.lock() = sea;
    }

    /// Ends every fault.
    pub fn clear_up(&self) {
        for mood in self.moods.lock().iter_mut().flatten() {
            *mood = Mood { slow: 20, ..Mood::default() };
        }
        *self.sea.lock() = Sea { slow: 3, ..Sea::default() };
    }
}
