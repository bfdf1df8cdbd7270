//! tollway-facilitator
