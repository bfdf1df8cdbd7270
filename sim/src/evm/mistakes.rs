//! The engine's built-in mistakes: `tollway_evm::bug`.

use crate::hunt::{Mistake, mistake};

/// All of them, one for each rule at least.
pub(super) const MISTAKES: &[Mistake] = &[
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
