//! The engine's built-in mistakes: `tollway_svm::bug`.

use crate::hunt::{Mistake, mistake};

/// All of them, one for each rule at least.
pub(super) const MISTAKES: &[Mistake] = &[
    mistake(
        "s1-pending-is-success",
        "S1",
        "a deadline is told as success under the signature that was broadcast",
    ),
    mistake("s2-told-to-all", "S2", "whoever presents a settled payment is told that it is settled"),
    mistake("s3-no-claim", "S3", "a payer's memo is not claimed: one payment signed twice is settled twice"),
    mistake(
        "s4-claim-is-success",
        "S4",
        "a payment is told to be settled in the transaction that has its memo",
    ),
    mistake("s5-absent-is-dead", "S5", "a transaction that a node does not know is taken for dead"),
    mistake("s5-timeout-is-failure", "S5", "a deadline is told as failure"),
    mistake("s6-forgets-the-hash", "S6", "whoever asks again is told without the transaction"),
    mistake("s7-verify-takes", "S7", "verification takes the payment for settlement"),
    mistake(
        "s8-one-number",
        "S8",
        "every transaction of a lane has the same count, and the store does not mind",
    ),
    mistake("s8-no-slot", "S8", "a transaction's number does not tell when its blockhash was known"),
    mistake("s9-sent-before-recorded", "S9", "a transaction leaves before it is recorded"),
    mistake("s10-reopens-at-will", "S10", "what is looked at until it is final is taken back, fork or not"),
    mistake("s11-no-budget", "S11", "the day's fees are not bounded"),
    mistake("s11-final-at-once", "S11", "a settlement is final when it is confirmed"),
    mistake("v1-leaves-the-dead", "V1", "nobody takes over what a dead process left"),
    mistake("v3-sends-once", "V3", "a transaction that a leader dropped is not sent again"),
];
