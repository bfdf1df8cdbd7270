//! Killed at each point of a settlement.
