//! Every rule is proven by a mistake that breaks it: the simulation has to find each.

use tollway_evm::bug;

use crate::run::run;

/// A mistake of the engine's, and the rule that it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mistake {
    /// Its name in `tollway_evm::bug`.
    pub name: &'static str,
    /// The rule by which it is to be found.
    pub rule: &'static str,
    /// What it does.
    pub what: &'static str,
}

const fn mistake(name: &'static str, rule: &'static str, what: &'static str) -> Mistake {
    Mistake { name, rule, what }
}

/// All of them, one for each rule at least.
pub const MISTAKES: &[Mistake] = &[
    mistake("s1-pending-is-success", "S1", "a deadline is told as success under the hash that was broadcast"),
    mistake("s2-join-by-key", "S2", "a payment joins a flight of its nonce, whatever its terms"),
    mistake(
        "s3-bids-more-under-another-nonce",
        "S3",
        "more is bid for a payment under another nonce while the first may be mined",
    ),
    mistake("s4-any-terms", "S4", "a payment gets the answer of another one with its nonce"),
    mistake("s5-timeout-is-failure", "S5", "a deadline is told as failure"),
    mistake("s6-forgets-the-hash", "S6", "whoever asks again is told without the transaction"),
    mistake("s7-verify-takes", "S7", "verification takes the payment for settlement"),
    mistake("s8-skips-a-nonce", "S8", "every other nonce is left out"),
    mistake("s8-nonce-from-chain", "S8", "the next nonce is what the node says, and the store does not mind"),
    mistake("s9-broadcast-before-commit", "S9", "a transaction leaves before it is recorded"),
    mistake("s9-told-before-recorded", "S9", "an end is told though the store did not take it"),
    mistake("s10-reopens-at-will", "S10", "what is looked at again is taken back, reorg or not"),
    mistake("s11-no-gas-budget", "S11", "the day's gas is not bounded"),
    mistake("s11-no-revert-limit", "S11", "a payer may cost gas as often as it likes"),
    mistake("s11-final-at-once", "S11", "a settlement is final in its first block"),
    mistake("v1-leaves-the-dead", "V1", "nobody takes over what a dead process left"),
    mistake("v3-sends-once", "V3", "a transaction that the nodes have forgotten is not sent again"),
];

/// What came of a hunt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Catch {
    /// The seed that broke the rule.
    pub seed: u64,
    /// How many were run for it.
    pub seeds: u64,
    /// How many of them broke another rule by it.
    pub others: u64,
}

/// Runs seeds with the mistake until its rule is broken; None after `most` seeds.
#[must_use]
pub fn hunt(mistake: Mistake, from: u64, most: u64) -> Option<Catch> {
    bug::set(Some(mistake.name));
    let mut others = 0;
    let mut found = None;
    for n in 0..most {
        match run(from.wrapping_add(n), false).broken {
            Some(broken) if broken.rule == mistake.rule => {
                found = Some(Catch { seed: from.wrapping_add(n), seeds: n + 1, others });
                break;
            }
            Some(_) => others += 1,
            None => {}
        }
    }
    bug::set(None);
    found
}
