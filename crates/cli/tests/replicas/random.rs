//! Moments that nobody chose.

use std::time::Duration;

use tollway_protocol::door::decimal_u64;

/// SplitMix64: one seed, one run of moments.
pub(crate) struct Random(u64);

impl Random {
    /// `TOLLWAY_SEED`, or one that no other run had.
    pub(crate) fn new() -> Self {
        let given = std::env::var("TOLLWAY_SEED").ok().map(|seed| decimal_u64(&seed).unwrap());
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = given.unwrap_or_else(|| u64::from(since.subsec_nanos()));
        eprintln!("TOLLWAY_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Waits for a while below `millis`, so that kills come at no particular moment: there is no event to wait for.
    pub(crate) async fn moment(&mut self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(self.below(millis))).await;
    }
}
