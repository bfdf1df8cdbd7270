//! tollway-devnet
