//! tollway-evm
